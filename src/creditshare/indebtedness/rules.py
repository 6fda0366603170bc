"""Pure rules of the 20 % test: which month is told, whose statements count, what they come to."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from creditshare.errors import FieldError
from creditshare.policy.service import Policy
from creditshare.records.history import History
from creditshare.records.rules import fold

JURISDICTION: Final = "CN"
"""Only there the test is law. Elsewhere a bank looks at its own 20 % (the EBA's pulling effect), and needs nobody."""
Purpose = Literal["post_loan_monitoring", "restructuring"]
Basis = Literal["consent", "legal_duty"]
Coverage = Literal["all", "most", "half", "few"]
TOO_FEW: Final = "too_few_lenders"
COVERAGES: Final[tuple[tuple[Coverage, int], ...]] = (("all", 100), ("most", 75), ("half", 50), ("few", 0))
"""Bands of how many per cent of the lenders that are known to have a claim stated one."""
FIRST_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Terms:
    """The numbers of the policy table, in force on a day."""

    overdue_percent: int
    overdue_days: int
    other_lenders: int
    cut_off_days: int
    remembered_months: int
    currency: str
    zone: ZoneInfo

    @classmethod
    def of(cls, policy: Policy, on: date) -> "Terms":
        """Read them."""

        def number(name: str) -> int:
            return policy.number(JURISDICTION, f"indebtedness.{name}", on)

        return cls(
            overdue_percent=number("overdue_percent"),
            overdue_days=number("overdue_days"),
            other_lenders=number("other_lenders"),
            cut_off_days=number("cut_off_days"),
            remembered_months=number("remembered_months"),
            currency=policy.text(JURISDICTION, "indebtedness.currency", on),
            zone=policy.timezone(JURISDICTION, on),
        )


@dataclass(frozen=True, slots=True)
class Debt:
    """What one lender states: the debt at a month's end, and the part of it that is overdue for too long."""

    month: date
    currency: str
    total: Decimal
    overdue: Decimal
    basis: Basis
    provide_consent_id: UUID | None


@dataclass(frozen=True, slots=True)
class Statement:
    """A debt as it was stated, by whom and when; a later one of the same member and month takes its place."""

    statement_id: UUID
    member_id: UUID
    recorded_at: datetime
    debt: Debt


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer: a bit and a band, or neither, and why."""

    flipped: bool | None
    coverage: Coverage | None
    reason: str | None


def month_of(day: date) -> date:
    """Return a month by its first day."""
    return day.replace(day=1)


def next_month(month: date) -> date:
    """Return the month that follows."""
    return month_of(month + timedelta(days=31))


def cut_off(month: date, terms: Terms) -> datetime:
    """Return the instant from which nothing is stated for a month any more."""
    day = next_month(month) + timedelta(days=terms.cut_off_days)
    return datetime.combine(day, time.min, terms.zone).astimezone(UTC)


def closed_month(now: datetime, terms: Terms) -> date:
    """Return the last month whose cut-off has passed: the only one that is told."""
    month = month_of(now.astimezone(terms.zone).date())
    while cut_off(month, terms) > now:
        month = month_of(month - FIRST_DAY)
    return month


def objections(debt: Debt, terms: Terms, now: datetime) -> list[FieldError]:
    """Return what is wrong with a statement that is made now."""
    wrong = []
    if month_of(now.astimezone(terms.zone).date()) <= debt.month:
        wrong.append(FieldError("/month", "not_over", "a month that has ended"))
    elif cut_off(debt.month, terms) <= now:
        wrong.append(FieldError("/month", "closed", f"a month that ended less than {terms.cut_off_days} days ago"))
    if debt.currency != terms.currency:
        wrong.append(FieldError("/currency", "unknown_code", f"{terms.currency}: sums are of one currency"))
    if debt.overdue > debt.total:
        wrong.append(FieldError("/overdue_debt", "above_total", "at most total_debt, of which it is a part"))
    if debt.basis == "consent" and debt.provide_consent_id is None:
        wrong.append(FieldError("/provide_consent_id", "required", "the consent that lawful_basis says there is"))
    if debt.basis != "consent" and debt.provide_consent_id is not None:
        wrong.append(FieldError("/provide_consent_id", "unexpected", "nothing, where the basis is no consent"))
    return wrong


def in_force(statements: Iterable[Statement], before: datetime) -> dict[tuple[UUID, date], Debt]:
    """Return by member and month what was stated last before an instant."""
    found: dict[tuple[UUID, date], Statement] = {}
    for one in statements:
        name = (one.member_id, one.debt.month)
        if one.recorded_at < before and (name not in found or found[name].recorded_at < one.recorded_at):
            found[name] = one
    return {name: one.debt for name, one in found.items()}


def verdict(month: date, statements: Sequence[Statement], histories: Iterable[History], terms: Terms) -> Verdict:
    """Decide the test of a month from all that was on file at its cut-off, whoever asks and whenever.

    A lender that states no debt is none of the borrower's lenders: it does not count.
    """
    before = cut_off(month, terms)
    debts = in_force(statements, before)
    counted = {member: debt for (member, of), debt in debts.items() if of == month and debt.total > 0}
    if len(counted) <= terms.other_lenders:
        return Verdict(None, None, TOO_FEW)
    total = sum((debt.total for debt in counted.values()), Decimal(0))
    overdue = sum((debt.overdue for debt in counted.values()), Decimal(0))
    known = _remembered(debts, month, terms) | _with_records(histories, before) | counted.keys()
    return Verdict(overdue * 100 > total * terms.overdue_percent, coverage(counted, known), None)


def coverage(stated: Collection[UUID], known: Collection[UUID]) -> Coverage:
    """Return the band of how many of the lenders that are known stated."""
    percent = 100 * len(stated) // len(known)
    return next(band for band, least in COVERAGES if percent >= least)


def _remembered(debts: dict[tuple[UUID, date], Debt], month: date, terms: Terms) -> set[UUID]:
    """Return the lenders whose last statement, not too long ago, was of a debt."""
    last: dict[UUID, tuple[date, bool]] = {}
    for (member, of), debt in debts.items():
        if of <= month and (member not in last or last[member][0] < of):
            last[member] = (of, debt.total > 0)
    oldest = 12 * month.year + month.month - terms.remembered_months
    return {member for member, (of, owed) in last.items() if owed and 12 * of.year + of.month > oldest}


def _with_records(histories: Iterable[History], before: datetime) -> set[UUID]:
    """Return the lenders of which a default of the borrower's own was on file, visible and not ended."""
    found = set()
    for history in histories:
        state = fold([event for _, event in history.events if event.recorded_at < before])
        if state is None or history.visible_from > before or state.report.role != "borrower":
            continue
        if state.ended_on is None and state.status != "withdrawn":
            found.add(history.member_id)
    return found
