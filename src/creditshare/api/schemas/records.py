"""Default records as their own lender reports, corrects and sees them."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from creditshare.api.schemas.forms import Amount, Currency, Day, Digest, Instant, Reference, Strict
from creditshare.api.schemas.tokens import EXAMPLE_SUBJECT, SubjectIn
from creditshare.errors import FieldError, Refused
from creditshare.ids import spell
from creditshare.notices.rules import AttestedNotice, Channel
from creditshare.records import grid, rules
from creditshare.records.intake import Held as HeldRecord
from creditshare.wire.record_form import CODE, MOST_DAYS_PAST_DUE


class CodedIn(Strict):
    """A code in a named scheme."""

    scheme: Annotated[str, Field(max_length=32)]
    code: Annotated[str, Field(pattern=f"^{CODE}$")]

    def coded(self) -> rules.Coded:
        """Return the domain's code."""
        return rules.Coded(self.scheme, self.code)


class CodedOut(BaseModel):
    """A code in a named scheme."""

    scheme: str
    code: str

    @classmethod
    def of(cls, coded: rules.Coded) -> "CodedOut":
        """Present a code."""
        return cls(scheme=coded.scheme, code=coded.code)


class NoticeIn(Strict):
    """An attested notice: the day and channel it was sent by, the digest of its text."""

    sent_on: Day
    channel: Channel
    evidence_digest: Digest


class NoticeOut(BaseModel):
    """The notice that the lender attested."""

    sent_on: Day
    channel: str
    evidence_digest: str

    @classmethod
    def of(cls, notice: AttestedNotice) -> "NoticeOut":
        """Present a notice."""
        return cls(sent_on=notice.sent_on, channel=notice.channel, evidence_digest=notice.evidence_digest)


EXAMPLE_RECORD: Final[dict[str, Any]] = {
    "subject": EXAMPLE_SUBJECT,
    "role": "borrower",
    "account_ref": "loan-2024-000123",
    "product": "term_loan",
    "currency": "USD",
    "original_amount": "150000.00",
    "opened_on": "2005-04-01",
    "default_on": "2009-06-30",
    "written_off_on": "2009-06-30",
    "written_off_amount": "98000.00",
    "default_reason": "unlikely_to_pay",
    "cause": "unknown",
    "region": {"scheme": "ISO 3166-2", "code": "US-CA"},
    "industry": {"scheme": "NAICS", "code": "722511"},
    "lawful_basis": "public_record",
    "public_ref": "SBA FOIA 7(a) loan L000123",
}


class RecordIn(Strict):
    """A default as its lender reports it (`../design/domain.md`)."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [EXAMPLE_RECORD]})
    subject: SubjectIn
    role: rules.Role
    account_ref: Reference
    product: Annotated[str, Field(max_length=32)]
    currency: Currency
    original_amount: Amount
    outstanding_principal: Amount | None = None
    overdue_principal: Amount | None = None
    overdue_interest: Amount | None = None
    opened_on: Day
    due_on: Day | None = None
    first_overdue_on: Day | None = None
    default_on: Day
    days_past_due: Annotated[int, Field(ge=0, le=MOST_DAYS_PAST_DUE)] | None = None
    written_off_on: Day | None = None
    written_off_amount: Amount | None = None
    default_reason: rules.Reason
    cause: rules.Cause | None = None
    guarantee: Annotated[str, Field(max_length=32)] | None = None
    size_class: rules.SizeClass | None = None
    industry: CodedIn | None = None
    region: CodedIn
    lawful_basis: rules.Basis
    public_ref: Reference | None = None
    provide_consent_id: Annotated[str, Field(max_length=64)] | None = None
    notice: NoticeIn | None = None

    def report(self) -> rules.Report:
        """Return the domain's report."""
        given: dict[str, Any] = dict(self)
        del given["subject"]
        given["region"] = self.region.coded()
        if self.industry:
            given["industry"] = self.industry.coded()
        if self.notice:
            given["notice"] = AttestedNotice(self.notice.sent_on, self.notice.channel, self.notice.evidence_digest)
        return rules.Report(**given)


class RecordOut(BaseModel):
    """A record as its own lender sees it: all that it reported, and what became of it."""

    record_id: str
    status: str
    visible_from: Instant
    classification: str
    classification_zh: str
    bucket: str
    role: str
    account_ref: str
    product: str
    currency: str
    original_amount: Amount
    outstanding_principal: Amount | None
    overdue_principal: Amount | None
    overdue_interest: Amount | None
    opened_on: Day
    due_on: Day | None
    first_overdue_on: Day | None
    default_on: Day
    days_past_due: int | None
    written_off_on: Day | None
    written_off_amount: Amount | None
    default_reason: str
    cause: str | None
    guarantee: str | None
    size_class: str | None
    industry: CodedOut | None
    region: CodedOut
    lawful_basis: str
    public_ref: str | None
    provide_consent_id: str | None
    notice: NoticeOut | None
    corrected: bool
    ended_on: Day | None

    @classmethod
    def of(cls, held: HeldRecord) -> "RecordOut":
        """Present a record."""
        report, state = held.state.report, held.state
        return cls(
            record_id=spell("rec", held.record_id),
            status=held.status,
            visible_from=held.visible_from,
            classification=state.tier,
            classification_zh=grid.TIER_ZH[state.tier],
            bucket=state.bucket,
            role=report.role,
            account_ref=report.account_ref,
            product=report.product,
            currency=report.currency,
            original_amount=report.original_amount,
            outstanding_principal=report.outstanding_principal,
            overdue_principal=report.overdue_principal,
            overdue_interest=report.overdue_interest,
            opened_on=report.opened_on,
            due_on=report.due_on,
            first_overdue_on=report.first_overdue_on,
            default_on=report.default_on,
            days_past_due=report.days_past_due,
            written_off_on=report.written_off_on,
            written_off_amount=report.written_off_amount,
            default_reason=report.default_reason,
            cause=report.cause,
            guarantee=report.guarantee,
            size_class=report.size_class,
            industry=CodedOut.of(report.industry) if report.industry else None,
            region=CodedOut.of(report.region),
            lawful_basis=report.lawful_basis,
            public_ref=report.public_ref,
            provide_consent_id=report.provide_consent_id,
            notice=NoticeOut.of(report.notice) if report.notice else None,
            corrected=state.corrected,
            ended_on=state.ended_on,
        )


class RecordEventIn(Strict):
    """A step of a record's life."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"kind": "settled_full", "on": "2026-01-31"}]}
    )
    kind: rules.LifeEvent
    on: Day
    amount: Amount | None = None


class ChangesIn(Strict):
    """Fields of a record that may turn out to have been wrong.

    Not among them is what identifies it (borrower, account, role) or made it lawful (region, basis, consent, notice).
    """

    product: Annotated[str, Field(max_length=32)] | None = None
    currency: Currency | None = None
    original_amount: Amount | None = None
    outstanding_principal: Amount | None = None
    overdue_principal: Amount | None = None
    overdue_interest: Amount | None = None
    opened_on: Day | None = None
    due_on: Day | None = None
    first_overdue_on: Day | None = None
    default_on: Day | None = None
    days_past_due: Annotated[int, Field(ge=0, le=MOST_DAYS_PAST_DUE)] | None = None
    written_off_on: Day | None = None
    written_off_amount: Amount | None = None
    default_reason: rules.Reason | None = None
    cause: rules.Cause | None = None
    guarantee: Annotated[str, Field(max_length=32)] | None = None
    size_class: rules.SizeClass | None = None
    industry: CodedIn | None = None
    public_ref: Reference | None = None


class CorrectionIn(Strict):
    """What was wrong, and what is right. A field given as null is emptied; a field left out stays."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"reason": "wrong_amount", "changes": {"written_off_amount": "89000.00"}}]},
    )
    reason: rules.CorrectionReason
    changes: ChangesIn

    def given(self) -> dict[str, Any]:
        """Return exactly the fields that were sent, as the domain's values."""
        changes = {name: getattr(self.changes, name) for name in self.changes.model_fields_set}
        if self.changes.industry is not None:
            changes["industry"] = self.changes.industry.coded()
        needed = {"product", "currency", "original_amount", "opened_on", "default_on", "default_reason"}
        wrong = [
            FieldError(f"/changes/{name}", "required", "a value; this field cannot be emptied")
            for name, value in changes.items()
            if value is None and name in needed
        ]
        if not changes:
            wrong.append(FieldError("/changes", "too_short", "at least one field"))
        if wrong:
            raise Refused("validation_failed", fields=wrong)
        return changes


class WithdrawalIn(Strict):
    """Why a record is taken back."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "reported_in_error"}]}
    )
    reason: rules.WithdrawalReason
