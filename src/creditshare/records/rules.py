"""Pure rules of default records: what may be reported, what a list of events amounts to at a time."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal, get_args

from stdnum import lei
from stdnum.cn import ric, uscc

from creditshare.errors import FieldError, Refused
from creditshare.notices.rules import Addressee, AttestedNotice, addressee
from creditshare.policy.service import Policy
from creditshare.records.grid import Bucket, Tier, bucket, tier
from creditshare.wire.record_form import (
    CURRENCIES,
    DATES,
    INDUSTRY_CODES,
    REGION_CODES,
    contradictions,
    lacking,
    misspelt_industry,
    misspelt_region,
)

CODE_LENGTH: Final = 18  # GB 32100-2015 and GB 11643-1999
LEI_LENGTH: Final = 20  # ISO 17442-1
PRODUCTS: Final = (
    "term_loan",
    "revolving",
    "overdraft",
    "mortgage",
    "trade_finance",
    "lease",
    "card",
    "guarantee",
    "other",
)
Cause = Literal["cash_flow", "disaster", "upstream_nonpayment", "dispute", "fraud", "unknown"]
CAUSES: Final[tuple[Cause, ...]] = get_args(Cause)
GUARANTEES: Final = ("credit", "guaranteed", "mortgage", "pledge", "combined", "government_guarantee")
SizeClass = Literal["micro", "small", "medium"]
SIZE_CLASSES: Final[tuple[SizeClass, ...]] = get_args(SizeClass)
Basis = Literal["consent", "public_record", "legal_duty"]
BASES: Final[tuple[Basis, ...]] = get_args(Basis)
Reason = Literal["days_past_due", "unlikely_to_pay", "both", "legal"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
INDUSTRY_SCHEMES: Final = tuple(INDUSTRY_CODES)
REGION_SCHEMES: Final = tuple(REGION_CODES)
Role = Literal["borrower", "guarantor"]

LifeEvent = Literal[
    "forbearance", "default", "cured", "legal", "written_off", "recovered", "settled_full", "settled_partial", "sold"
]
LIFE_EVENTS: Final[tuple[LifeEvent, ...]] = get_args(LifeEvent)
ENDING: Final = frozenset({"cured", "recovered", "settled_full", "settled_partial", "sold"})
"""After these the default has ended and retention runs (征信业管理条例 art. 16). A write-off does not end the debt."""
PAID: Final = ENDING - {"sold"}
"""Ends by which the borrower owes its lender nothing any more. A sale only changes to whom."""
_MAY_FOLLOW: Final[dict[str, frozenset[str]]] = {
    "default": frozenset(LIFE_EVENTS) - {"default"},
    "forbearance": frozenset(LIFE_EVENTS),
    "legal": frozenset(LIFE_EVENTS),
    # What comes in after these was still owed; nothing else happens to a loan that has ended or was sold.
    "settled_partial": frozenset({"recovered"}),
    "recovered": frozenset({"recovered"}),
}
_MAY_FOLLOW_WRITE_OFF: Final = ENDING - {"cured"} | {"legal"}
"""A write-off is not undone by a later step: what comes back is recovered or settled, never cured."""
CorrectionReason = Literal["wrong_amount", "wrong_date", "wrong_borrower_data", "wrong_classification", "other"]
CORRECTION_REASONS: Final[tuple[CorrectionReason, ...]] = get_args(CorrectionReason)
WithdrawalReason = Literal["reported_in_error", "wrong_borrower", "duplicate", "court_order", "other"]
WITHDRAWAL_REASONS: Final[tuple[WithdrawalReason, ...]] = get_args(WithdrawalReason)
OVERDUE: Final = "/days_past_due"
ASKED_FOR: Final = (
    "default_reason",
    "lawful_basis",
    "outstanding_principal",
    "overdue_principal",
    "overdue_interest",
    "cause",
    "public_ref",
    "provide_consent_id",
    "written_off_on",
    "written_off_amount",
)
"""Fields that others ask for, or that ask for others."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A code in a named scheme."""

    scheme: str
    code: str


@dataclass(frozen=True, slots=True)
class Report:
    """A default as its lender reports it. Money is decimal, in ``currency``; dates are legal days."""

    role: Role
    account_ref: str
    product: str
    currency: str
    original_amount: Decimal
    opened_on: date
    default_on: date
    default_reason: str
    region: Coded
    lawful_basis: str
    outstanding_principal: Decimal | None = None
    overdue_principal: Decimal | None = None
    overdue_interest: Decimal | None = None
    due_on: date | None = None
    first_overdue_on: date | None = None
    days_past_due: int | None = None
    written_off_on: date | None = None
    written_off_amount: Decimal | None = None
    cause: str | None = None
    guarantee: str | None = None
    size_class: str | None = None
    industry: Coded | None = None
    public_ref: str | None = None
    provide_consent_id: str | None = None
    notice: AttestedNotice | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of a record, opened: what was recorded, when, and on which legal day it took effect."""

    kind: str
    recorded_at: datetime
    on: date | None = None
    report: Report | None = None
    amount: Decimal | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RecordState:
    """What the events of one record amount to."""

    report: Report
    status: str
    last_recorded_at: datetime
    ended_on: date | None
    corrected: bool
    written_off_since: bool = False
    ended_at: datetime | None = None

    @property
    def withdrawn(self) -> bool:
        """Whether its lender took it back."""
        return self.status == "withdrawn"

    @property
    def open(self) -> bool:
        """Whether the default is still unpaid."""
        return self.ended_on is None and not self.withdrawn

    @property
    def written_off(self) -> bool:
        """Whether its lender has written it off: reported it so, or told so later."""
        return self.written_off_since or self.report.written_off_on is not None

    @property
    def bucket(self) -> Bucket:
        """Where it stands in the delinquency grid; what has ended stands nowhere in it."""
        return bucket(self.report.days_past_due, written_off=self.written_off) if self.open else "current"

    @property
    def tier(self) -> Tier:
        """Its class of the five, as far as its own lender's report goes."""
        return tier(self.report.days_past_due, written_off=self.written_off) if self.open else "normal"

    @property
    def lifecycle(self) -> str:
        """The clear column that the state must agree with."""
        return "withdrawn" if self.withdrawn else "live" if self.open else "ended"


def fold(events: Sequence[Happened], *, until: datetime | None = None) -> RecordState | None:
    """Return what the events amount to, or None where nothing was reported by ``until``.

    Life events after ``until`` have not happened yet. A correction or withdrawal counts whenever it was
    made: a past date never brings back what was wrong.
    """
    state: RecordState | None = None
    for event in events:
        before = until is None or event.recorded_at <= until
        if event.kind == "submitted" and event.report is not None:
            if not before:
                return None
            state = _reported(event.report, event.recorded_at)
        elif state is None:
            continue
        elif event.kind == "corrected" and event.report is not None:
            state = _corrected(state, event.report, event.recorded_at)
        elif event.kind == "withdrawn":
            state = replace(state, status="withdrawn", last_recorded_at=event.recorded_at)
        elif before:
            state = _advanced(state, event)
    return state


def _reported(report: Report, at: datetime) -> RecordState:
    status = "written_off" if report.written_off_on else "default"
    return RecordState(report, status, at, None, corrected=False)


def _corrected(state: RecordState, report: Report, at: datetime) -> RecordState:
    state = replace(state, report=report, last_recorded_at=at, corrected=True)
    if state.status not in {"default", "written_off"}:
        return state
    return replace(state, status="written_off" if state.written_off else "default")


def _advanced(state: RecordState, event: Happened) -> RecordState:
    ended_on, ended_at = state.ended_on, state.ended_at
    if event.kind in ENDING and ended_on is None:  # money that comes later does not start retention anew
        ended_on, ended_at = event.on, event.recorded_at
    return replace(
        state,
        status=event.kind,
        last_recorded_at=event.recorded_at,
        ended_on=ended_on,
        ended_at=ended_at,
        written_off_since=state.written_off_since or event.kind == "written_off",
    )


def defaulted_debt(state: RecordState) -> Decimal:
    """Return the debt that was in default, whatever was paid since: the closest amount that its lender gave."""
    report = state.report
    if state.written_off and report.written_off_amount is not None:
        return report.written_off_amount
    if report.outstanding_principal is not None:
        return report.outstanding_principal
    overdue = [amount for amount in (report.overdue_principal, report.overdue_interest) if amount is not None]
    return sum(overdue, Decimal(0)) if overdue else report.original_amount


def shown(state: RecordState, *, visible_from: datetime, at: datetime) -> bool:
    """Whether a record may appear in an answer about an instant.

    What was paid before its notice window ended never becomes visible (`../design/domain.md`, notice).
    """
    paid_in_time = state.status in PAID and state.ended_at is not None and state.ended_at < visible_from
    return visible_from <= at and not state.withdrawn and not paid_in_time


def jurisdiction(region: Coded) -> str:
    """Return the country whose policy rows apply (ISO 3166-1 alpha-2)."""
    return "CN" if region.scheme == "GB/T 2260" else region.code[:2]


def looks_like_identifier(text: str) -> bool:
    """Whether a reference is itself a valid identifier of a borrower, which would undo the blindness."""
    plain = "".join(unicodedata.normalize("NFKC", text).split()).upper()
    # The library, which is slow, takes separators out, never a letter or a digit: another number of these is none.
    if sum(map(str.isalnum, plain)) == CODE_LENGTH and (uscc.is_valid(plain) or ric.is_valid(plain)):
        return True
    # It checks a LEI's check digits only, and one text in 97 of any length has fitting ones.
    return len(plain) == LEI_LENGTH and bool(lei.is_valid(plain))


def check(report: Report, *, policy: Policy, today: date) -> None:
    """Refuse a report that the lists, its reason, its basis or its dates do not allow, naming every wrong field."""
    # A region of no known scheme has no jurisdiction whose rules could be asked.
    wrong = _code_errors(report) or _errors(report, policy, today)
    if wrong:
        raise Refused("validation_failed", fields=wrong)


def check_correction(state: RecordState, corrected: Report, *, policy: Policy, today: date) -> None:
    """Refuse a correction that the rules of a report do not allow, or that would have led the record another way.

    It may not move the default past its own end, nor change who was given notice: the window has been running by it.
    """
    if state.withdrawn:
        raise Refused("state_conflict")
    wrong = _code_errors(corrected) or _errors(corrected, policy, today)
    if state.ended_on is not None and corrected.default_on > state.ended_on:
        wrong.append(FieldError("/default_on", "after_end", "a day not after the one on which the default ended"))
    if _addressee(state.report) != _addressee(corrected):
        detail = "the notice window was set by it: a guarantor with a size class is a firm, without one a person"
        wrong.append(FieldError("/size_class", "not_correctable", detail))
    if wrong:
        fields = [FieldError(f"/changes{error.pointer}", error.code, error.detail) for error in wrong]
        raise Refused("validation_failed", fields=fields)


def _addressee(report: Report) -> Addressee:
    return addressee(role=report.role, size_class=report.size_class)


def _code_errors(report: Report) -> list[FieldError]:
    region, industry = report.region, report.industry
    listed = (
        ("/product", report.product, PRODUCTS),
        ("/currency", report.currency, CURRENCIES),
        ("/guarantee", report.guarantee, GUARANTEES),
        ("/region/scheme", region.scheme, REGION_SCHEMES),
        ("/industry/scheme", industry.scheme if industry else None, INDUSTRY_SCHEMES),
    )
    wrong = [
        FieldError(pointer, "unknown_code", "codes of /v1/code-lists")
        for pointer, code, known in listed
        if code is not None and code not in known
    ]
    if industry is not None:
        wrong += misspelt_industry(industry.scheme, industry.code)
    return wrong + misspelt_region(region.scheme, region.code)


def _errors(report: Report, policy: Policy, today: date) -> list[FieldError]:
    given = {name: value for name in ASKED_FOR if (value := getattr(report, name)) is not None}
    # Days past due are more than there or not: the policy says how many it must be.
    wrong = [*_overdue_errors(report, policy, today), *(one for one in lacking(given) if one.pointer != OVERDUE)]
    wrong += _date_errors(report, today)
    wrong += [
        FieldError(f"/{name}", "identifier", "an opaque reference, not an identifier of the borrower")
        for name, text in (("account_ref", report.account_ref), ("public_ref", report.public_ref))
        if text is not None and looks_like_identifier(text)
    ]
    return wrong


def _overdue_errors(report: Report, policy: Policy, today: date) -> list[FieldError]:
    threshold = policy.number(jurisdiction(report.region), "default.days_past_due", today)
    if report.default_reason not in {"days_past_due", "both"}:
        return []
    if report.days_past_due is not None and report.days_past_due > threshold:
        return []
    return [FieldError(OVERDUE, "below_default", f"more than {threshold} days for this reason")]


def _date_errors(report: Report, today: date) -> list[FieldError]:
    given = {name: getattr(report, name) for name in DATES}
    return contradictions({name: day for name, day in given.items() if day is not None}, today)


def follows(earlier: RecordState, report: Report) -> bool:
    """Whether a report is of a new default of a loan whose earlier one had ended before it began."""
    return earlier.ended_on is not None and earlier.status != "sold" and report.default_on > earlier.ended_on


def check_step(state: RecordState, kind: LifeEvent, on: date) -> None:
    """Refuse a life event that cannot follow what the record already is, or that lies before the default."""
    following = (
        _MAY_FOLLOW_WRITE_OFF if state.open and state.written_off else _MAY_FOLLOW.get(state.status, frozenset())
    )
    if kind not in following:
        raise Refused("state_conflict")
    # A measure or a proceeding may have begun before the default did; nothing may lie before the loan.
    name = "opened_on" if kind in {"forbearance", "legal"} else "default_on"
    if on < getattr(state.report, name):
        raise Refused("validation_failed", fields=[FieldError("/on", f"before_{name}", f"a day not before {name}")])
