"""Cells as sums of differences: what is added step by step is what a count from the beginning gives."""

import json
import zlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.records.history import History
from creditshare.records.rules import Coded, Happened, Report
from creditshare.reports.cells import Cell, Cells, Holding, Part, Share, add_difference, added, read, spelled
from creditshare.reports.tables import DEFAULTS, MULTIPLE, QUALITY, ROLLS, VINTAGES, is_over
from creditshare.reports.views import industry_of, next_change, region_of, share_of

START = datetime(2025, 3, 1, 12, tzinfo=UTC)
LENDERS = [UUID(int=number) for number in range(1, 6)]


def a_report(**changes: object) -> Report:
    values: dict[str, object] = {
        "role": "borrower",
        "account_ref": "a",
        "product": "term_loan",
        "currency": "CNY",
        "original_amount": Decimal("500000.00"),
        "opened_on": date(2021, 5, 10),
        "default_on": date(2025, 1, 31),
        "default_reason": "days_past_due",
        "region": Coded("GB/T 2260", "350102"),
        "lawful_basis": "consent",
        "outstanding_principal": Decimal("310000.5"),
        "days_past_due": 95,
        "size_class": "micro",
        "industry": Coded("GB/T 4754-2017", "C1311"),
    }
    return Report(**(values | changes))  # type: ignore[arg-type]


def history(number: int, *events: Happened, lender: UUID = LENDERS[0], visible: datetime = START) -> History:
    return History(UUID(int=number), lender, visible, tuple(enumerate(events, start=1)))


def submitted(report: Report, at: datetime = START) -> Happened:
    return Happened("submitted", at, report=report)


def shares(one: Share, family: str) -> dict[tuple[str, ...], dict[UUID, Holding]]:
    return {key: dict(held) for (part, key), held in one.items() if part[0] == family}


def difference(before: Share, now: Share, *, who: str | None) -> dict[Part, Cells]:
    parts: dict[Part, Cells] = {}
    add_difference(parts, before, now, who=who)
    return parts


def test_a_record_stands_in_each_table_once() -> None:
    share = share_of([history(1, submitted(a_report()))], version=None, at=START)
    held = {LENDERS[0]: Holding(1, 3_100_005_000)}
    assert shares(share, DEFAULTS) == {
        ("month", "CNY", "2025-01"): held,
        ("month,region", "CNY", "2025-01", "350000"): held,
        ("month,industry", "CNY", "2025-01", "GB/T 4754-2017 C"): held,
        ("month,size", "CNY", "2025-01", "micro"): held,
        ("year", "CNY", "2025"): held,
        ("year,region", "CNY", "2025", "350000"): held,
        ("year,industry", "CNY", "2025", "GB/T 4754-2017 C"): held,
        ("year,size", "CNY", "2025", "micro"): held,
        ("year,region,industry", "CNY", "2025", "350000", "GB/T 4754-2017 C"): held,
    }
    assert set(shares(share, VINTAGES)) == {("opened", "2021"), ("opened,age", "2021", "03")}
    assert set(shares(share, ROLLS)) == {
        ("year", "2025"),
        ("year,from", "2025", "d90"),
        ("year,to", "2025", "default"),
        ("year,from,to", "2025", "d90", "default"),
    }
    assert set(shares(share, MULTIPLE)) == {("month,lenders", "2025-01", "1", "came")}
    assert set(shares(share, QUALITY)) == {
        ("2025-03", "records"),
        ("2025-03", "within_30"),
        ("2025-03", "open"),
    }


@pytest.mark.parametrize(
    ("days", "measure"),
    [(30, "within_30"), (31, "within_90"), (90, "within_90"), (180, "within_180"), (181, "after_180")],
)
def test_how_late_a_report_came(days: int, measure: str) -> None:
    report = a_report(default_on=START.date() - timedelta(days=days))
    share = share_of([history(1, submitted(report))], version=None, at=START)
    assert ("2025-03", measure) in shares(share, QUALITY)


@pytest.mark.parametrize(
    ("opened", "age"),
    [(date(2024, 1, 31), "01"), (date(2024, 2, 1), "00"), (date(2015, 1, 31), "10"), (date(1990, 1, 1), "10")],
)
def test_how_old_a_loan_was(opened: date, age: str) -> None:
    share = share_of([history(1, submitted(a_report(opened_on=opened)))], version=None, at=START)
    assert ("opened,age", str(opened.year), age) in shares(share, VINTAGES)


def test_a_year_that_nobody_meant_has_four_digits_too() -> None:
    """A typing error of one lender must not stop what is told of all."""
    share = share_of([history(1, submitted(a_report(opened_on=date(202, 4, 1))))], version=None, at=START)
    assert {part for part, _ in share if part[0] == VINTAGES} == {(VINTAGES, "0202")}
    assert is_over("0202-12", on=START.date(), closes_after_days=45)


def test_what_is_not_visible_yet_or_was_withdrawn_counts_for_its_lender_alone() -> None:
    later = START + timedelta(days=15)
    pending = history(1, submitted(a_report()), visible=later)
    withdrawn = history(2, submitted(a_report()), Happened("withdrawn", START), lender=LENDERS[1])
    for one, at in ((pending, START), (withdrawn, START)):
        share = share_of([one], version=None, at=at)
        assert {part[0] for part, _ in share} == {QUALITY}
    assert ("2025-03", "withdrawn") in shares(share, QUALITY)
    assert next_change([pending, withdrawn], START) == later
    assert next_change([pending], later) is None
    assert shares(share_of([pending], version=None, at=later), DEFAULTS)


def test_an_earlier_version_is_as_it_was() -> None:
    corrected = a_report(region=Coded("ISO 3166-2", "US-CA"))
    one = history(1, submitted(a_report()), Happened("corrected", START + timedelta(days=1), report=corrected))
    assert ("year,region", "CNY", "2025", "350000") in shares(share_of([one], version=1, at=START), DEFAULTS)
    now = shares(share_of([one], version=2, at=START), DEFAULTS)
    assert ("year,region", "CNY", "2025", "US-CA") in now
    assert ("year,region", "CNY", "2025", "350000") not in now
    assert share_of([one], version=0, at=START) == {}


def test_months_in_which_a_borrower_comes_to_another_number_of_lenders() -> None:
    days = [date(2024, 11, 3), date(2024, 11, 20), date(2025, 1, 5)]
    several = [
        history(number, submitted(a_report(default_on=day, opened_on=date(2020, 1, 1))), lender=LENDERS[number])
        for number, day in enumerate(days)
    ]
    paid = history(
        9,
        submitted(a_report(default_on=date(2025, 1, 9)), START),
        Happened("settled_full", START + timedelta(days=3), on=date(2025, 3, 3)),
        lender=LENDERS[4],
    )
    moves = shares(share_of([*several, paid], version=None, at=START + timedelta(days=9)), MULTIPLE)
    assert {key[1:]: set(held) for key, held in moves.items()} == {
        ("2024-11", "2", "came"): set(LENDERS[:2]),
        ("2025-01", "2", "left"): set(LENDERS[:2]),
        ("2025-01", "4", "came"): {*LENDERS[:3], LENDERS[4]},
        ("2025-03", "4", "left"): {*LENDERS[:3], LENDERS[4]},
        ("2025-03", "3", "came"): set(LENDERS[:3]),
    }


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (Coded("GB/T 2260", "110101"), "110000"),
        (Coded("ISO 3166-2", "US-CA"), "US-CA"),
        (Coded("ISO 3166-2", "US"), "US"),
    ],
)
def test_regions_are_told_by_their_first_level(code: Coded, told: str) -> None:
    assert region_of(code) == told


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (Coded("NAICS", "722511"), "NAICS 72"),
        (Coded("NACE", "G47.11"), "NACE G"),
        (Coded("GB/T 4754-2017", "5137"), "GB/T 4754-2017 51"),
        (None, "unknown"),
    ],
)
def test_industries_are_told_by_their_section(code: Coded | None, told: str) -> None:
    assert industry_of(code) == told


holdings = st.builds(Holding, st.integers(1, 3), st.integers(0, 10**12))
a_share = st.dictionaries(
    st.tuples(st.tuples(st.sampled_from("ab"), st.just("2025")), st.tuples(st.sampled_from("xyz"))),
    st.dictionaries(st.sampled_from(LENDERS), holdings, min_size=1),
)


@given(st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), a_share), max_size=12))
def test_differences_add_up_to_what_stands(steps: list[tuple[str, Share]]) -> None:
    parts: dict[Part, list[Cells]] = {}
    stands: dict[str, Share] = {}
    for who, share in steps:
        for part, cells in difference(stands.get(who, {}), share, who=None).items():
            parts.setdefault(part, []).append(read(spelled(cells)))
        stands[who] = share
    once: dict[Part, list[Cells]] = {}
    for share in stands.values():
        for part, cells in difference({}, share, who=None).items():
            once.setdefault(part, []).append(cells)
    assert {part: sums for part, several in parts.items() if (sums := added(several))} == {
        part: added(several) for part, several in once.items()
    }


@given(a_share, a_share)
def test_a_difference_names_who_and_at_which_lenders(before: Share, now: Share) -> None:
    for part, cells in difference(before, now, who="one").items():
        for key, cell in cells.items():
            old, new = before.get((part, key), {}), now.get((part, key), {})
            assert set(cell.touched["one"]) == {lender for lender in LENDERS if old.get(lender) != new.get(lender)}
            assert read(spelled({key: cell})) == {key: cell}
            assert old != new


def test_cells_of_before_sums_were_weighed_say_how_they_changed() -> None:
    who, lender = "one", LENDERS[0]
    rows = [[["x"], 3, [[0, 3, 700]], [[who, [[0, 1, 200]]]]]]
    kept = zlib.compress(json.dumps([[lender.hex], rows]).encode())
    cell = read(kept)["x",]
    assert (cell.touched[who], cell.moved, cell.sum_told) == ({lender: Holding(1, 200)}, {lender: 200}, False)
    cell.sum_told = True
    assert read(spelled({("x",): cell})) == {("x",): cell}


def test_what_came_and_went_leaves_who_it_was() -> None:
    """Else the difference of two releases could be of one borrower who came and another who went."""
    name: tuple[Part, tuple[str, ...]] = (("a", "2025"), ("x",))
    came = difference({}, {name: {LENDERS[0]: Holding(1, 5)}}, who="one")[name[0]]
    went = difference({name: {LENDERS[0]: Holding(1, 5)}}, {}, who="two")[name[0]]
    (cell,) = added([came, went]).values()
    assert cell == Cell(0, {}, {"one": {LENDERS[0]: Holding(1, 5)}, "two": {LENDERS[0]: Holding(-1, -5)}})


def test_who_came_and_went_again_is_nobody_who_changed() -> None:
    """Else five of those would cover for one who stayed."""
    name: tuple[Part, tuple[str, ...]] = (("a", "2025"), ("x",))
    share: Share = {name: {LENDERS[0]: Holding(1, 5)}}
    came = difference({}, share, who="one")[name[0]]
    went = difference(share, {}, who="one")[name[0]]
    assert added([came, went]) == {}
