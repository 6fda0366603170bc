"""What an answer says, byte for byte, and what it must not let anyone conclude."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.records.grid import SEVERITY
from creditshare.records.history import History
from creditshare.records.rules import Coded, Happened, Report, fold
from creditshare.sharing.answer import AMOUNT_BANDS, TOP_BAND, Asking, band, compose, exposure
from creditshare.sharing.rules import Grant, Question, grant

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
DAY, INSTANT = timedelta(days=1), timedelta(microseconds=1)
ME, BEE, CAT = UUID(int=1), UUID(int=2), UUID(int=3)
KEY = b"h" * 32
REPORT = Report(
    role="borrower",
    account_ref="A-1",
    product="term_loan",
    currency="USD",
    original_amount=Decimal("150000.00"),
    outstanding_principal=Decimal("98000.00"),
    opened_on=date(2020, 1, 1),
    default_on=date(2025, 6, 30),
    default_reason="days_past_due",
    days_past_due=200,
    region=Coded("ISO 3166-2", "US-CA"),
    lawful_basis="public_record",
    public_ref="case 1",
)


def told(
    owner: UUID = BEE, *later: Happened, number: int = 100, seen_from: datetime = NOW - 9 * DAY, **changes: Any
) -> History:
    """A record reported ten days ago and what was told of it later."""
    first = Happened("submitted", NOW - 10 * DAY, report=replace(REPORT, **changes))
    return History(UUID(int=number), owner, seen_from, tuple(enumerate((first, *later), start=2)))


def step(kind: str, *, days_ago: int = 5) -> Happened:
    return Happened(kind, NOW - days_ago * DAY, on=(NOW - days_ago * DAY).date())


def asking(*scopes: str, as_of: datetime | None = None, asker: UUID = ME) -> Asking:
    question = Question("pre_loan", UUID(int=50), ("defaults", *scopes), as_of)
    return Asking(UUID(int=60), asker, question, grant(question), NOW, 99, "pol-1")


def answer(*histories: History, ask: Asking | None = None) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(compose(ask or asking(), histories, handle_key=KEY))
    return body


NOTHING = {"exposure_band": "none", "lenders": 0, "open_defaults": 0, "worst_bucket": "current"}
CENT = Decimal("0.01")


@pytest.mark.parametrize(
    ("edge", "below", "above"),
    [
        (edge, name, (*(name for _, name in AMOUNT_BANDS[1:]), TOP_BAND)[position])
        for position, (edge, name) in enumerate(AMOUNT_BANDS)
    ],
)
def test_each_edge_of_a_band_belongs_to_the_band_above(edge: int, below: str, above: str) -> None:
    assert [band(edge - CENT / 100), band(Decimal(edge)), band(edge + CENT / 100)] == [below, above, above]


def test_the_names_of_bands_say_their_edges() -> None:
    spelled = {10_000: "10k", 50_000: "50k", 200_000: "200k", 1_000_000: "1m", 5_000_000: "5m", 20_000_000: "20m"}
    edges = [spelled[edge] for edge, _ in AMOUNT_BANDS]
    between = [f"{low}_to_{high}" for low, high in pairwise(edges)]
    assert [name for _, name in AMOUNT_BANDS] == [f"under_{edges[0]}", *between]
    assert f"{edges[-1]}_and_more" == TOP_BAND
    assert band(Decimal(0)) == "under_10k"


@given(st.decimals(min_value=0, max_value=10**12, places=4), st.decimals(min_value=0, max_value=10**12, places=4))
def test_more_is_never_in_a_lower_band(one: Decimal, other: Decimal) -> None:
    order = [name for _, name in AMOUNT_BANDS] + [TOP_BAND]
    assert order.index(band(min(one, other))) <= order.index(band(max(one, other)))


@pytest.mark.parametrize(
    ("changes", "later", "expected"),
    [
        ({}, [], "98000.00"),
        ({"outstanding_principal": Decimal(0)}, [], "0"),
        ({"outstanding_principal": None}, [], "150000.00"),
        ({"outstanding_principal": None, "overdue_principal": Decimal(7)}, [], "7"),
        ({"outstanding_principal": None, "overdue_interest": Decimal(3)}, [], "3"),
        ({"outstanding_principal": None, "overdue_principal": Decimal(7), "overdue_interest": Decimal(3)}, [], "10"),
        ({"overdue_principal": Decimal(7)}, [], "98000.00"),
        ({"written_off_on": date(2025, 7, 1), "written_off_amount": Decimal(5)}, [], "5"),
        ({"written_off_on": date(2025, 7, 1), "written_off_amount": Decimal(5)}, ["legal"], "5"),
        ({}, ["written_off"], "98000.00"),
        ({}, ["settled_full"], "0"),
        ({}, ["sold"], "0"),
        ({}, ["withdrawn"], "0"),
    ],
)
def test_exposure_is_the_closest_amount_given_for_what_is_owed(
    changes: dict[str, Any], later: list[str], expected: str
) -> None:
    history = told(BEE, *(step(kind) for kind in later), **changes)
    state = fold([event for _, event in history.events])
    assert state is not None
    assert exposure(state) == Decimal(expected)


def test_an_answer_has_exactly_the_published_members() -> None:
    body = answer(told())
    assert body == {
        "as_of": "2026-03-15T12:00:00.000Z",
        "consent": {"id": f"cns_{UUID(int=50)}"},
        "match": "records",
        "policy_version": "pol-1",
        "query_id": f"qry_{UUID(int=60)}",
        "records": [
            {
                "amount_band": "50k_to_200k",
                "as_of": "2026-03-05",
                "bucket": "d180",
                "classification": "substandard",
                "days_past_due": 200,
                "default_on": "2025-06-30",
                "disputed": False,
                "freshness_days": 10,
                "handle": body["records"][0]["handle"],
                "own": False,
                "product": "term_loan",
                "role": "borrower",
                "status": "default",
            }
        ],
        "summary": {"exposure_band": "50k_to_200k", "lenders": 1, "open_defaults": 1, "worst_bucket": "d180"},
        "withheld": [],
    }


def test_sums_are_told_only_where_the_scope_was_granted() -> None:
    assert "amounts" not in answer(told())["records"][0]
    assert answer(told(), ask=asking("amounts"))["records"][0]["amounts"] == {
        "currency": "USD",
        "original_amount": "150000.00",
        "outstanding_principal": "98000.00",
    }
    withheld = replace(asking("amounts"), grant=Grant(("defaults",), ()))
    assert "amounts" not in answer(told(), ask=withheld)["records"][0]


def test_what_is_not_offered_yet_is_named() -> None:
    assert answer(ask=asking("legal", "inquiries"))["withheld"] == [
        {"what": "legal", "why": "not_offered_yet"},
        {"what": "inquiries", "why": "not_offered_yet"},
    ]


def test_handles_are_stable_for_one_member_and_unlinkable_between_members() -> None:
    records = [told(number=n) for n in range(100, 110)]

    def handles(asker: UUID, key: bytes = KEY) -> list[str]:
        body = json.loads(compose(replace(asking(asker=asker), query_id=UUID(int=61)), records, handle_key=key))
        return [row["handle"] for row in body["records"]]

    mine = handles(ME)
    assert mine == [row["handle"] for row in answer(*records)["records"]]
    assert len({*mine, *handles(BEE), *handles(CAT), *handles(ME, b"i" * 32)}) == 40
    for history, handle in zip(records, mine, strict=True):
        assert handle.startswith("hnd_")
        assert history.record_id.hex not in handle.replace("-", "")
        assert ME.hex not in handle.replace("-", "")


def test_own_records_are_shown_and_marked_and_not_counted() -> None:
    body = answer(told(ME, days_past_due=400, outstanding_principal=Decimal(30_000_000)), told(BEE, number=101))
    assert [row["own"] for row in body["records"]] == [True, False]
    assert body["summary"] == answer(told(BEE))["summary"]
    alone = answer(told(ME))
    assert (alone["match"], alone["summary"]) == ("records", NOTHING)


def test_lenders_are_counted_once_and_sums_add_up() -> None:
    three = [told(BEE), told(BEE, number=101), told(CAT, number=102, days_past_due=361)]
    assert answer(*three)["summary"] == {
        "exposure_band": "200k_to_1m",
        "lenders": 2,
        "open_defaults": 3,
        "worst_bucket": "d361",
    }


def test_sums_of_different_currencies_are_not_added() -> None:
    mixed = [told(BEE), told(CAT, number=101, currency="CNY")]
    assert answer(*mixed)["summary"]["exposure_band"] == "mixed_currencies"
    ended = [told(BEE), told(CAT, step("settled_full"), number=101, currency="CNY")]
    assert answer(*ended)["summary"]["exposure_band"] == "50k_to_200k"
    own = [told(BEE), told(ME, number=101, currency="CNY")]
    assert answer(*own)["summary"]["exposure_band"] == "50k_to_200k"


@pytest.mark.parametrize("kind", ["cured", "recovered", "settled_full", "settled_partial", "sold"])
def test_an_ended_record_is_told_as_ended_and_not_counted(kind: str) -> None:
    body = answer(told(BEE, step(kind)))
    (row,) = body["records"]
    assert {name: row[name] for name in ("status", "bucket", "classification", "amount_band")} == {
        "status": kind,
        "bucket": "current",
        "classification": "normal",
        "amount_band": "none",
    }
    assert body["summary"] == NOTHING


@pytest.mark.parametrize("kind", ["forbearance", "legal", "written_off"])
def test_a_step_that_does_not_end_the_debt_keeps_it_open(kind: str) -> None:
    body = answer(told(BEE, step(kind)))
    assert body["records"][0]["status"] == kind
    assert body["summary"]["open_defaults"] == 1
    assert body["records"][0]["bucket"] == ("written_off" if kind == "written_off" else "d180")


def test_a_written_off_loan_in_court_stays_written_off() -> None:
    (row,) = answer(told(BEE, step("written_off"), step("legal", days_ago=4)))["records"]
    assert (row["status"], row["bucket"], row["classification"]) == ("legal", "written_off", "loss")


def test_unknown_pending_withdrawn_and_paid_in_time_give_the_same_bytes() -> None:
    pending = told(seen_from=NOW + INSTANT)
    withdrawn = told(BEE, step("withdrawn"))
    paid = told(BEE, step("settled_full"), seen_from=NOW - 4 * DAY)
    bodies = {
        compose(asking(), histories, handle_key=KEY)
        for histories in ([], [pending], [withdrawn], [paid], [pending, withdrawn, paid])
    }
    assert len(bodies) == 1
    assert json.loads(bodies.pop())["summary"] == NOTHING


def test_a_record_appears_from_the_very_instant_its_window_ended() -> None:
    assert answer(told(seen_from=NOW))["match"] == "records"
    assert answer(told(seen_from=NOW + INSTANT))["match"] == "none"
    turn = NOW - 3 * DAY
    for as_of, match in [(turn, "records"), (turn - INSTANT, "none")]:
        assert answer(told(seen_from=turn), ask=asking("history", as_of=as_of))["match"] == match


def test_payment_counts_as_in_time_until_just_before_the_window_ended() -> None:
    paid_at = NOW - 5 * DAY
    paid = step("cured", days_ago=5)
    assert answer(told(BEE, paid, seen_from=paid_at))["match"] == "records"
    assert answer(told(BEE, paid, seen_from=paid_at + INSTANT))["match"] == "none"
    sold = answer(told(BEE, step("sold", days_ago=5), seen_from=paid_at + INSTANT))
    assert sold["match"] == "records"


def test_the_past_is_told_as_it_was_but_never_what_was_wrong() -> None:
    corrected = Happened("corrected", NOW - 2 * DAY, report=replace(REPORT, days_past_due=95), reason="other")
    record = told(BEE, step("written_off"), corrected)
    before = answer(record, ask=asking("history", as_of=NOW - 6 * DAY))
    assert before["as_of"] == "2026-03-09T12:00:00.000Z"
    assert [(row["status"], row["days_past_due"]) for row in before["records"]] == [("default", 95)]
    withdrawn = told(BEE, step("withdrawn", days_ago=1))
    assert answer(withdrawn, ask=asking("history", as_of=NOW - 6 * DAY))["match"] == "none"
    assert answer(record, ask=asking("history", as_of=NOW - 11 * DAY))["match"] == "none"


def test_a_version_hides_what_came_later() -> None:
    corrected = Happened("corrected", NOW - 2 * DAY, report=replace(REPORT, days_past_due=95), reason="other")
    record = told(BEE, corrected)
    days = [answer(record, ask=replace(asking(), version=version))["records"] for version in (1, 2, 3)]
    assert [[row["days_past_due"] for row in rows] for rows in days] == [[], [200], [95]]


@given(st.lists(st.sampled_from([*range(91, 400), None]), min_size=1, max_size=8))
def test_the_worst_bucket_is_one_of_the_shown_and_none_is_worse(days: list[int | None]) -> None:
    body = answer(*(told(BEE, number=n, days_past_due=d) for n, d in enumerate(days, start=100)))
    shown = [SEVERITY.index(row["bucket"]) for row in body["records"]]
    assert SEVERITY.index(body["summary"]["worst_bucket"]) == max(shown)


@given(st.permutations(range(5)))
def test_the_same_histories_give_the_same_bytes(order: list[int]) -> None:
    histories = [told(BEE if n % 2 else CAT, number=100 + n, days_past_due=91 + n * 40) for n in range(5)]
    summary = answer(*histories)["summary"]
    assert answer(*(histories[n] for n in order))["summary"] == summary
    assert compose(asking(), histories, handle_key=KEY) == compose(asking(), list(histories), handle_key=KEY)
