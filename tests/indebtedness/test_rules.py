"""The 20 % test: which month, whose figures, on both sides of each edge; and what an attacker can make of it."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.indebtedness.rules import (
    Debt,
    Statement,
    Terms,
    Verdict,
    closed_month,
    coverage,
    cut_off,
    in_force,
    next_month,
    objections,
    verdict,
)
from creditshare.records.history import History
from creditshare.records.rules import Coded, Happened, Report

TERMS = Terms(
    overdue_percent=20,
    overdue_days=90,
    other_lenders=3,
    cut_off_days=15,
    remembered_months=12,
    currency="CNY",
    zone=ZoneInfo("Asia/Shanghai"),
)
SEPTEMBER = date(2026, 9, 1)
CUT_OFF = datetime(2026, 10, 15, 16, tzinfo=UTC)  # the 16th begins in China
IN_TIME = CUT_OFF - timedelta(days=3)
A, B, C, D, E, F = (UUID(int=number) for number in range(1, 7))


def stated(member: UUID, total: int, overdue: int = 0, *, month: date = SEPTEMBER, at: datetime = IN_TIME) -> Statement:
    debt = Debt(month, "CNY", Decimal(total), Decimal(overdue), "legal_duty", None)
    return Statement(UUID(int=0), member, at, debt)


def told(*statements: Statement, histories: tuple[History, ...] = ()) -> Verdict:
    return verdict(SEPTEMBER, statements, histories, TERMS)


def four(overdue: int) -> list[Statement]:
    return [stated(A, 400, overdue), stated(B, 300), stated(C, 200), stated(D, 100)]


def test_more_than_a_fifth_flips_and_a_fifth_does_not() -> None:
    assert told(*four(200)) == Verdict(flipped=False, coverage="all", reason=None)
    assert told(*four(201)) == Verdict(flipped=True, coverage="all", reason=None)


def test_three_lenders_are_too_few_for_any_answer() -> None:
    assert told(*four(400)[:3]) == Verdict(None, None, "too_few_lenders")
    assert told() == Verdict(None, None, "too_few_lenders")


def test_who_owes_nothing_makes_no_lender_more() -> None:
    """Or an attacker would fill up the number with lenders that have no part in it."""
    assert told(*four(400)[:3], stated(D, 0)).reason == "too_few_lenders"


def test_the_last_statement_before_the_cut_off_counts() -> None:
    sooner, later = IN_TIME + timedelta(hours=1), CUT_OFF
    assert told(*four(400), stated(A, 400, 0, at=sooner)).flipped is False
    assert told(*four(0), stated(A, 400, 400, at=later)).flipped is False
    assert told(stated(A, 400, 0, at=sooner), *four(400)).flipped is False  # whatever order they are read in
    assert in_force(four(400), IN_TIME) == {}


def test_statements_of_other_months_do_not_count() -> None:
    assert told(*four(0)[:3], stated(D, 9_000, 9_000, month=date(2026, 8, 1))).reason == "too_few_lenders"


@pytest.mark.parametrize(
    ("now", "month"),
    [
        (CUT_OFF - timedelta(seconds=1), date(2026, 8, 1)),
        (CUT_OFF, SEPTEMBER),
        (datetime(2026, 11, 15, 15, 59, tzinfo=UTC), SEPTEMBER),
        (datetime(2027, 1, 3, tzinfo=UTC), date(2026, 11, 1)),
    ],
)
def test_the_month_that_is_told_is_the_last_one_closed(now: datetime, month: date) -> None:
    assert closed_month(now, TERMS) == month


@given(st.datetimes(datetime(2026, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  hypothesis takes naive bounds
def test_one_month_is_told_at_any_time_and_at_most_one_can_be_stated(now: datetime) -> None:
    month = closed_month(now, TERMS)
    assert cut_off(month, TERMS) <= now < cut_off(next_month(month), TERMS)
    debts = [
        stated(A, 1, month=date(year, number, 1)).debt for year in (now.year - 1, now.year) for number in range(1, 13)
    ]
    open_ = [debt.month for debt in debts if not objections(debt, TERMS, now)]
    assert open_ in ([], [next_month(month)])


@pytest.mark.parametrize(
    ("debt", "now", "pointer"),
    [
        (stated(A, 1).debt, datetime(2026, 9, 30, 15, 59, tzinfo=UTC), "/month"),  # the last day in China
        (stated(A, 1).debt, CUT_OFF, "/month"),
        (stated(A, 1, 2).debt, IN_TIME, "/overdue_debt"),
        (Debt(SEPTEMBER, "USD", Decimal(1), Decimal(0), "legal_duty", None), IN_TIME, "/currency"),
        (Debt(SEPTEMBER, "CNY", Decimal(1), Decimal(0), "consent", None), IN_TIME, "/provide_consent_id"),
        (Debt(SEPTEMBER, "CNY", Decimal(1), Decimal(0), "legal_duty", A), IN_TIME, "/provide_consent_id"),
    ],
    ids=["not over", "closed", "more than all", "other currency", "no consent", "needless consent"],
)
def test_what_is_wrong_is_named(debt: Debt, now: datetime, pointer: str) -> None:
    assert [one.pointer for one in objections(debt, TERMS, now)] == [pointer]


def test_a_statement_may_be_made_from_the_first_to_the_last_moment() -> None:
    for now in (datetime(2026, 9, 30, 16, tzinfo=UTC), CUT_OFF - timedelta(microseconds=1)):
        assert objections(stated(A, 1, 1).debt, TERMS, now) == []


@pytest.mark.parametrize(
    ("stating", "known", "band"),
    [(4, 4, "all"), (99, 100, "most"), (6, 8, "most"), (5, 7, "half"), (4, 8, "half"), (4, 9, "few")],
)
def test_coverage_is_a_band(stating: int, known: int, band: str) -> None:
    lenders = [UUID(int=number) for number in range(known)]
    assert coverage(lenders[:stating], lenders) == band


def record(member: UUID, *, visible: datetime, role: str = "borrower", ended: datetime | None = None) -> History:
    report = Report(
        role=role,  # type: ignore[arg-type]
        account_ref="x",
        product="term_loan",
        currency="CNY",
        original_amount=Decimal(1),
        outstanding_principal=None,
        overdue_principal=None,
        overdue_interest=None,
        opened_on=date(2020, 1, 1),
        due_on=None,
        first_overdue_on=None,
        default_on=date(2026, 1, 1),
        days_past_due=None,
        written_off_on=None,
        written_off_amount=None,
        default_reason="unlikely_to_pay",
        cause=None,
        guarantee=None,
        size_class=None,
        industry=None,
        region=Coded("GB/T 2260", "110000"),
        lawful_basis="consent",
        public_ref=None,
        provide_consent_id=None,
        notice=None,
    )
    events = [(1, Happened("submitted", IN_TIME - timedelta(days=60), report=report))]
    if ended is not None:
        events.append((2, Happened("settled_full", ended, on=ended.date())))
    return History(UUID(int=9), member, visible, tuple(events))


def test_lenders_with_open_defaults_are_expected_to_state() -> None:
    """One that is not visible yet, that a guarantor has, or that ended expects nothing; what comes later neither."""
    assert told(*four(0), histories=(record(E, visible=IN_TIME),)).coverage == "most"
    for other in (
        record(E, visible=CUT_OFF + timedelta(days=1)),
        record(E, visible=IN_TIME, role="guarantor"),
        record(E, visible=IN_TIME, ended=IN_TIME),
    ):
        assert told(*four(0), histories=(other,)).coverage == "all"
    assert told(*four(0), histories=(record(E, visible=IN_TIME, ended=CUT_OFF),)).coverage == "most"


def test_lenders_that_stated_within_a_year_are_expected_to_state_again() -> None:
    assert (
        told(*four(0), stated(E, 5, month=date(2025, 10, 1)), stated(F, 5, month=date(2025, 9, 1))).coverage == "most"
    )
    repaid = (stated(E, 5, month=date(2026, 7, 1)), stated(E, 0, month=date(2026, 8, 1)))
    assert told(*four(0), *repaid).coverage == "all"


FIGURES = st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(lambda pair: (max(pair), min(pair)))


@given(st.lists(FIGURES, min_size=2, max_size=6), st.lists(FIGURES, max_size=12), st.data())
def test_two_who_ask_again_and_again_get_one_answer_a_month(
    others: list[tuple[int, int]], tries: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Two colluding lenders restate whatever they like before and after the cut-off, and ask after each."""
    honest = [stated(UUID(int=10 + number), *figures) for number, figures in enumerate(others)]
    at = IN_TIME
    attack, answers = [stated(A, 1, at=at), stated(B, 1, at=at)], set()
    before = verdict(SEPTEMBER, [*honest, *attack], (), TERMS)
    for total, overdue in tries:
        at += timedelta(days=data.draw(st.integers(0, 2)), seconds=1)
        attack.append(stated(data.draw(st.sampled_from([A, B])), total, overdue, at=at))
        if at >= CUT_OFF:
            answers.add(verdict(SEPTEMBER, [*honest, *attack], (), TERMS))
    last = in_force([*honest, *attack], CUT_OFF).values()
    owed = sum((debt.total for debt in last), Decimal(0))
    late = sum((debt.overdue for debt in last), Decimal(0))
    assert len(answers) <= 1
    if sum(debt.total > 0 for debt in last) <= 3:
        assert answers <= {Verdict(None, None, "too_few_lenders")}
    else:
        assert answers <= {Verdict(flipped=late * 5 > owed, coverage="all", reason=None)} | {before}


def searched(oracle: Callable[[int], bool | None], *, rounds: int) -> int:
    """Return an attacker's best guess of a balance: bisect over its own overdue debt, as long as anything is told."""
    low, high = 0, 1 << 20
    for _ in range(rounds):
        middle = (low + high) // 2
        answer = oracle(middle)
        if answer is None:
            break
        low, high = (low, middle) if answer else (middle, high)
    return high - low


def test_bisecting_another_balance_ends_after_one_bit() -> None:
    """Were the test answered at once, twenty questions would give the others' sum away; each month gives one bit."""
    honest = [stated(B, 500_000), stated(C, 300_000), stated(D, 200_000)]
    history = list(honest)
    at = IN_TIME

    def asked_at_once(own: int) -> bool | None:
        return told(*honest, stated(A, own + 1, own)).flipped

    def as_it_is(own: int) -> bool | None:
        nonlocal at
        at += timedelta(hours=1)
        history.append(stated(A, own + 1, own, at=at))
        return verdict(date(2026, 8, 1), history, (), TERMS).flipped  # what is told while September can be stated

    assert searched(asked_at_once, rounds=20) == 1
    assert searched(as_it_is, rounds=20) == 1 << 20
