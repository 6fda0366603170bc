"""What is told over time: months as they end, years when they are over, changes only where enough came together."""

import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

import pytest

from creditshare.disclosure.rules import Rules, concentrated
from creditshare.reports.cells import Cells, Holding, Share, add_difference, added
from creditshare.reports.documents import Row, Told
from creditshare.reports.stocks import tell_stocks
from creditshare.reports.tables import DEFAULTS, MULTIPLE, ROLLS, VINTAGES, is_over
from creditshare.reports.telling import WHOLE, Telling, tell_cohort, tell_conduct, tell_year

RULES = Rules(min_borrowers=5, min_lenders=3, dominance=((1, 75), (2, 90)), p_percent=10)
LENDERS = [UUID(int=number) for number in range(1, 9)]


@dataclass
class Year:
    """Cells of a year that borrowers are counted into one by one, and what was told of them so far."""

    cells: dict[str, Cells] = field(default_factory=lambda: {DEFAULTS: {}, ROLLS: {}})
    told: dict[str, Told] = field(default_factory=dict)
    borrowers: dict[int, tuple[str, str, str, int, int]] = field(default_factory=dict)

    def count(
        self, who: int, month: str, region: str = "A", industry: str = "I", lender: int = 0, amount: int = 1_000
    ) -> None:
        now = (month, region, industry, lender, amount)
        parts: dict[tuple[str, str], Cells] = {}
        before = share(*self.borrowers[who]) if who in self.borrowers else {}
        add_difference(parts, before, share(*now), who=f"{who:012}" if self.told else None)
        for (family, _), cells in parts.items():
            self.cells[family] = added([self.cells[family], cells])
        self.borrowers[who] = now

    def many(self, count: int, month: str, region: str = "A", industry: str = "I") -> None:
        for lender in range(count):
            self.count(len(self.borrowers), month, region, industry, lender % 5)

    def tell(self, until: str) -> Telling:
        telling = tell_year(
            self.cells[DEFAULTS],
            self.cells[ROLLS],
            self.told,
            year="2025",
            over=lambda month: month <= until,
            rules=RULES,
        )
        for family, cells in self.cells.items():
            for key, cell in cells.items():
                if (family, *key) in telling.settled:
                    telling.settle((family, *key), cell)
        self.told |= telling.documents
        return telling

    def row(self, *key: str) -> Row:
        (row,) = (row for told in self.told.values() for row in told.rows if row.key == key)
        return row


def share(month: str, region: str, industry: str, lender: int, amount: int) -> Share:
    year = month[:4]
    held = {LENDERS[lender]: Holding(1, amount)}
    keys = (
        ("month", "CNY", month),
        ("month,region", "CNY", month, region),
        ("month,industry", "CNY", month, industry),
        ("month,size", "CNY", month, "micro"),
        ("year", "CNY", year),
        ("year,region", "CNY", year, region),
        ("year,industry", "CNY", year, industry),
        ("year,size", "CNY", year, "micro"),
        ("year,region,industry", "CNY", year, region, industry),
    )
    rolls = (
        ("year", year),
        ("year,from", year, "d90"),
        ("year,to", year, "default"),
        ("year,from,to", year, "d90", "default"),
    )
    return {((DEFAULTS, year), key): held for key in keys} | {((ROLLS, year), key): held for key in rolls}


def test_a_month_is_told_when_it_is_over_and_the_year_with_its_last() -> None:
    year = Year()
    for month in ("2025-01", "2025-02", "2025-12"):
        year.many(10, month)
    telling = year.tell("2025-01")
    assert not telling.complete
    assert {row.values[1] for row in year.told[DEFAULTS].rows} == {"2025-01"}
    assert ROLLS not in year.told
    telling = year.tell("2025-12")
    assert telling.complete
    assert year.row("year", "CNY", "2025").records == 30
    assert year.row("year", "2025").records == 30


@pytest.mark.parametrize(
    ("month", "on", "over"),
    [
        ("2025-01", "2025-03-17", False),
        ("2025-01", "2025-03-18", True),
        ("2025-12", "2026-02-14", False),
        ("2025-12", "2026-02-15", True),
    ],
)
def test_a_month_is_over_when_its_late_reports_are_in(month: str, on: str, over: bool) -> None:  # noqa: FBT001  a case
    assert is_over(month, on=date.fromisoformat(on), closes_after_days=45) is over


def test_a_late_report_is_held_back_until_others_come_with_it() -> None:
    year = Year()
    year.many(12, "2025-01")
    year.many(12, "2025-02")
    year.tell("2025-02")
    for late in range(4):
        year.count(1_000 + late, "2025-01", lender=late)
        assert year.tell("2025-02").documents[DEFAULTS].held == ("2025-01",)
        assert year.row("month", "CNY", "2025-01").records == 12
        assert year.row("month", "CNY", "2025-02").records == 12
    year.count(1_004, "2025-01", lender=4)
    assert year.tell("2025-02").documents[DEFAULTS].held == ()
    assert year.row("month", "CNY", "2025-01").records == 17


def test_one_lenders_file_is_told_if_enough_borrowers_are_in_it_and_no_sum_tells_of_it() -> None:
    year = Year()
    year.many(12, "2025-01")
    year.tell("2025-01")
    for late in range(4):
        year.count(1_000 + late, "2025-01", lender=7, amount=0)
    assert year.tell("2025-01").documents[DEFAULTS].held == ("2025-01",)
    year.count(1_004, "2025-01", lender=7, amount=0)
    assert year.tell("2025-01").documents[DEFAULTS].held == ()


def test_what_a_sum_changes_by_is_no_one_or_two_lenders() -> None:
    year = Year()
    year.many(12, "2025-01")
    year.tell("2025-01")
    for lender in (7, 6):
        for late in range(5):
            year.count(1_000 * lender + late, "2025-01", lender=lender)
        assert year.tell("2025-01").documents[DEFAULTS].held == ("2025-01",)
        assert year.row("month", "CNY", "2025-01").amount == 12_000
    year.count(5_000, "2025-01", lender=5, amount=1_500)
    assert year.tell("2025-01").documents[DEFAULTS].held == ()
    assert year.row("month", "CNY", "2025-01").amount == 23_500


def test_two_lenders_whose_changes_cancel_are_two_lenders() -> None:
    """Each would know the other's."""
    year = Year()
    year.many(15, "2025-01")
    year.tell("2025-01")
    for who in (0, 5, 10):
        year.count(who, "2025-01", lender=0, amount=2_000)
    for who in (1, 6, 11):
        year.count(who, "2025-01", lender=1, amount=0)
    assert year.tell("2025-01").documents[DEFAULTS].held == ("2025-01",)


def test_one_who_came_and_one_who_went_do_not_cancel() -> None:
    year = Year()
    year.many(12, "2025-01")
    year.many(12, "2025-02")
    year.tell("2025-02")
    year.count(0, "2025-02", lender=0)  # corrected: it was the month after
    year.count(1_000, "2025-01", lender=0)
    assert year.tell("2025-02").documents[DEFAULTS].held == ("2025-01", "2025-02")


def test_a_year_that_was_told_is_held_as_a_whole() -> None:
    year = Year()
    for month in ("2025-01", "2025-12"):
        year.many(12, month)
    year.tell("2025-12")
    year.count(1_000, "2025-01")
    telling = year.tell("2025-12")
    assert telling.documents[DEFAULTS].held == telling.documents[ROLLS].held == ("2025",)
    assert not telling.complete
    assert year.row("year", "CNY", "2025").records == 24


def test_a_year_that_was_told_whole_stays_bound_whatever_the_calendar_says() -> None:
    year = Year()
    for month in ("2025-01", "2025-12"):
        year.many(12, month)
    year.tell("2025-12")
    year.count(1_000, "2025-01")
    for until in ("2025-06", "2025-12"):  # months close later now, and then as before
        assert year.tell(until).documents[DEFAULTS].held == ("2025",)
        assert year.row("year", "CNY", "2025").records == 24


def test_what_a_month_withheld_stays_withheld_in_its_year() -> None:
    year = Year()
    year.many(12, "2025-01", "A")
    year.many(3, "2025-01", "B")
    year.many(9, "2025-01", "C")
    year.tell("2025-01")
    withheld = {row.key for row in year.told[DEFAULTS].rows if row.status != "s"}
    assert ("month,region", "CNY", "2025-01", "B") in withheld
    year.many(40, "2025-12", "B")
    year.tell("2025-12")
    assert all(year.row(*key).status != "s" for key in withheld)


def test_what_was_withheld_is_told_once_enough_came() -> None:
    """Else whoever reports first would hide a year for ever: alone, one lender's defaults are all withheld."""
    year = Year()
    for one in range(9):
        year.count(one, "2025-01", lender=0)
    assert year.tell("2025-01").documents[DEFAULTS].units == ()
    assert year.row("month", "CNY", "2025-01").status == "u"
    for lender in range(1, 3):
        year.count(100 + lender, "2025-01", lender=lender)
    assert year.tell("2025-01").documents[DEFAULTS].units == ("2025-01",)
    assert year.row("month", "CNY", "2025-01").records == 11


def test_a_withheld_cell_in_which_enough_changed_is_told() -> None:
    year = Year()
    for region, count in {"A": 12, "B": 3, "C": 3, "D": 3, "E": 12}.items():
        year.many(count, "2025-01", region)
    year.tell("2025-01")
    assert {region: year.row("month,region", "CNY", "2025-01", region).status for region in "ABCD"} == {
        "A": "s",
        "B": "u",
        "C": "u",
        "D": "u",
    }
    year.many(8, "2025-01", "B")
    year.tell("2025-01")
    assert year.row("month,region", "CNY", "2025-01", "B").records == 11
    assert year.row("month,region", "CNY", "2025-01", "C").status == "u"


def test_what_was_told_is_no_partner_for_what_is_withheld_later() -> None:
    """It would hide nothing: everybody knows it."""
    for seed in range(40):
        year, draw = Year(), random.Random(seed)  # noqa: S311  cases, the same each time
        for month in ("2025-01", "2025-02"):
            for region in "ABC":
                year.many(draw.randrange(0, 14), month, region, draw.choice("IJK"))
        year.tell("2025-02")
        known = {row.key: row for row in year.told[DEFAULTS].rows if row.status == "s"}
        for region in "ABC":
            year.many(draw.randrange(0, 9), "2025-12", region, draw.choice("IJK"))
        year.tell("2025-12")
        assert all(year.row(*key) == row for key, row in known.items())


def test_differences_of_all_releases_are_of_nobody_or_of_enough() -> None:
    """Whoever keeps every release subtracts any two: nobody is left alone in a difference."""
    for seed in range(25):
        year, draw = Year(), random.Random(seed)  # noqa: S311  cases, the same each time
        seen: dict[tuple[str, ...], list[tuple[Row, frozenset[tuple[int, tuple[str, str, str, int, int]]]]]] = {}
        for release in range(12):
            for _ in range(draw.randrange(0, 12)):
                who = draw.randrange(400)
                year.count(
                    who, f"2025-{draw.choice('123'):0>2}", draw.choice("AAB"), draw.choice("IJ"), draw.randrange(6)
                )
            year.tell("2025-12" if release > 7 else "2025-03")
            for row in year.told.get(DEFAULTS, Told()).rows:
                if row.status == "s" and row.table == "month":
                    inside = frozenset((w, b) for w, b in year.borrowers.items() if b[0] == row.values[1])
                    earlier = seen.setdefault(row.key, [])
                    if not earlier or earlier[-1][0] != row:
                        earlier.append((row, inside))
        for told in seen.values():
            for (first, then), (last, now) in itertools.pairwise(told):
                moved = {who for who, _ in then ^ now}
                assert first.records != last.records or moved
                assert len(moved) == 0 or len(moved) >= 5


def test_differences_of_sums_of_all_releases_tell_of_no_lenders_business() -> None:
    """Whoever keeps every release subtracts any sum from what it was told as before, and what relations leave of it."""
    subtracted = 0
    for seed in range(25):
        year, draw = Year(), random.Random(seed)  # noqa: S311  cases, the same each time
        seen: dict[tuple[str, ...], tuple[int, dict[UUID, int]]] = {}
        for release in range(8):
            for _ in range(draw.randrange(60, 120) if release == 0 else draw.randrange(0, 40)):
                amount = draw.choice((0, 500, 1_000, 2_000, 40_000))
                lender = draw.choice((0, 1, 2, 3, 4, 5, draw.randrange(8)))
                place = f"2025-{draw.choice('12'):0>2}", draw.choice("AAB"), draw.choice("IJ")
                year.count(draw.randrange(160), *place, lender, amount)
            year.tell("2025-12" if release > 5 else "2025-02")
            for name, (amount, by_lender) in sums_told(year).items():
                before = seen.get(name)
                if before is not None and before[0] == amount:  # held, or nothing changed
                    continue
                seen[name] = amount, by_lender
                if before is None:
                    continue
                changed = {one: by_lender.get(one, 0) - before[1].get(one, 0) for one in {*by_lender, *before[1]}}
                subtracted += 1
                assert not concentrated([abs(one) for one in changed.values()], RULES), (seed, release, name)
    assert subtracted > 50


def sums_told(year: Year) -> dict[tuple[str, ...], tuple[int, dict[UUID, int]]]:
    """Every sum that is told now, and what a month's withholds of its regions and industries; by lender as it is."""
    told: dict[tuple[str, ...], tuple[int, dict[UUID, int]]] = {}
    rows = {row.key: row for row in year.told.get(DEFAULTS, Told()).rows}
    for key, row in rows.items():
        if row.sum_status == "s" and row.amount is not None:
            told[key] = row.amount, by_lender_of(year, [key])
    for month in ("2025-01", "2025-02"):
        total = ("month", "CNY", month)
        for table in ("month,region", "month,industry"):
            hidden = [key for key in rows if key[:3] == (table, *total[1:]) and key not in told]
            if total in told and hidden:
                shown = [told[key][0] for key in told if key[:3] == (table, *total[1:])]
                told["rest", table, month, *(key[3] for key in hidden)] = (
                    told[total][0] - sum(shown),
                    by_lender_of(year, hidden),
                )
    return told


def by_lender_of(year: Year, keys: Iterable[tuple[str, ...]]) -> dict[UUID, int]:
    amounts: dict[UUID, int] = {}
    for key in keys:
        for borrower in year.borrowers.values():
            for (_, name), held in share(*borrower).items():
                if name == key:
                    for lender, one in held.items():
                        amounts[lender] = amounts.get(lender, 0) + one.amount
    return amounts


def test_a_cohort_is_held_and_told_like_a_year() -> None:
    cells: Cells = {}
    held = {}
    for number in range(12):
        held[number] = {LENDERS[number % 5]: Holding(1, 0)}
        parts: dict[tuple[str, str], Cells] = {}
        add_difference(parts, {}, cohort(held[number]), who=None)
        cells = added([cells, *parts.values()])
    first = tell_cohort(cells, {}, year="2020", rules=RULES)
    assert [row.records for row in first.documents[VINTAGES].rows] == [12, 12]
    one: dict[tuple[str, str], Cells] = {}
    add_difference(one, {}, cohort({LENDERS[0]: Holding(1, 0)}), who="late")
    late = tell_cohort(added([cells, *one.values()]), first.documents, year="2020", rules=RULES)
    assert late.documents[VINTAGES].held == ("2020",)
    assert [row.records for row in late.documents[VINTAGES].rows] == [12, 12]


def cohort(held: Mapping[UUID, Holding]) -> Share:
    part = (VINTAGES, "2020")
    return {(part, ("opened", "2020")): held, (part, ("opened,age", "2020", "03")): held}


def moved(month: str, who: Iterable[int], number: str = "1", way: str = "came", *, told: bool = False) -> Cells:
    parts: dict[tuple[str, str], Cells] = {}
    for one in who:
        step: Share = {((MULTIPLE, "all"), ("month,lenders", month, number, way)): {LENDERS[one % 5]: Holding(1)}}
        add_difference(parts, {}, step, who=f"{one:012}" if told else None)
    return added(parts.values())


def test_ends_of_months_between_which_few_moved_are_left_out() -> None:
    cells = added(
        [
            moved("2025-01", range(8)),
            moved("2025-02", range(8, 10)),
            moved("2025-03", range(10, 14)),
            moved("2025-04", [14]),
        ]
    )
    told, settled = tell_stocks(cells, None, over=lambda month: month <= "2025-03", rules=RULES)
    assert [(row.values, row.borrowers) for row in told.rows] == [(("2025-01", "1"), 8), (("2025-03", "1"), 14)]
    assert settled


def test_ends_of_months_are_told_anew_only_where_enough_changed() -> None:
    cells = moved("2025-01", range(8))
    told, _ = tell_stocks(cells, None, over=lambda _: True, rules=RULES)
    for late, held in ((range(20, 23), ("all",)), (range(20, 26), ())):
        changed = added([cells, moved("2025-01", late, told=True)])
        again, settled = tell_stocks(changed, told, over=lambda _: True, rules=RULES)
        assert again.held == held
        assert bool(settled) == (not held)
        assert again.rows[0].borrowers == (8 if held else 14)


def test_single_late_reports_in_many_months_are_held_together() -> None:
    """Five changed in all, but each month's end would show one more of them."""
    months = [f"2025-{number:02}" for number in range(1, 6)]
    cells = added([moved(month, range(100 * place, 100 * place + 8)) for place, month in enumerate(months)])
    told, _ = tell_stocks(cells, None, over=lambda _: True, rules=RULES)
    late = [moved(month, [900 + place], told=True) for place, month in enumerate(months)]
    again, _ = tell_stocks(added([cells, *late]), told, over=lambda _: True, rules=RULES)
    assert again.held == ("all",)
    assert again.rows == told.rows


def test_conduct_names_lenders_and_is_told_as_it_is() -> None:
    cells = moved("2025-01", [1, 2])
    told = tell_conduct("quality", cells).documents["quality"]
    assert told.units == (WHOLE,)
    assert [row.records for row in told.rows] == [1, 1]
    assert {row.values[-1] for row in told.rows} == {str(LENDERS[1]), str(LENDERS[2])}


def test_a_document_is_read_as_it_was_kept() -> None:
    year = Year()
    year.many(12, "2025-01")
    year.many(2, "2025-01", "B")
    told = year.tell("2025-01").documents[DEFAULTS]
    assert Told.of_json(told.as_json()) == told
