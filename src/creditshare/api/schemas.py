"""Bodies as they travel. Requests are strict and refuse unknown members; responses may grow.

Every request model carries an example that a test sends.
"""

import re
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from creditshare.audit.service import SignedAct
from creditshare.batches.service import Job
from creditshare.consents import rules as consent_rules
from creditshare.consents.service import Evidence, Held, Terms
from creditshare.crypto.digests import parse_content_digest
from creditshare.errors import FieldError, Malformed, Refused
from creditshare.ids import parse, spell
from creditshare.members.keys import Key
from creditshare.members.rules import Proposal
from creditshare.members.service import Application, Member
from creditshare.notices.rules import AttestedNotice
from creditshare.records import grid, rules
from creditshare.records.service import Held as HeldRecord
from creditshare.sharing.answer import instant
from creditshare.subjects.service import BorrowerToken

T = TypeVar("T")

EXAMPLE_ELEMENT: Final = "A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW"  # the base point of P-256
EXAMPLE_DIGEST: Final = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"  # of {"hello": "world"}, RFC 9530
_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]{0,15})(\.[0-9]{1,4})?")
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _decimal_text(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise ValueError("a decimal amount as text, not negative, at most four places")
    return Decimal(value)


def _instant_text(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError("an instant in UTC, YYYY-MM-DDThh:mm:ssZ")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("an instant in UTC, YYYY-MM-DDThh:mm:ssZ") from None


def _day_text(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("a date, YYYY-MM-DD")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("a date, YYYY-MM-DD") from None


def _digest_text(value: str) -> str:
    try:
        parse_content_digest(value)
    except Malformed:
        raise ValueError("an RFC 9530 digest, sha-256=:<base64>:") from None
    return value


def _no_control(value: str) -> str:
    if not value.isprintable():
        raise ValueError("printable text without control characters")
    return value


def _distinct(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("each item once")
    return values


Amount = Annotated[
    Decimal,
    BeforeValidator(_decimal_text, json_schema_input_type=str),
    PlainSerializer(lambda value: f"{value:f}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_AMOUNT.pattern}$", "examples": ["98000.00"]}),
]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant_text, json_schema_input_type=str),
    PlainSerializer(instant, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": f"^{_INSTANT.pattern}$"}),
]
Day = Annotated[
    date,
    BeforeValidator(_day_text, json_schema_input_type=str),
    PlainSerializer(lambda value: value.isoformat(), return_type=str),
    WithJsonSchema({"type": "string", "format": "date", "pattern": f"^{_DAY.pattern}$"}),
]
Digest = Annotated[str, Field(max_length=128), AfterValidator(_digest_text)]
Reference = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_no_control)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


Quota = Annotated[int, Field(ge=1, le=10_000_000)]
Thumbprint = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]


class Strict(BaseModel):
    """A request body: nothing unknown, nothing coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SubjectIn(Strict):
    """A borrower as a blind token."""

    suite: Annotated[str, Field(max_length=32)]
    key_version: Annotated[int, Field(ge=1, le=32_767)]
    element: Annotated[str, Field(min_length=1, max_length=64)]

    def token(self) -> BorrowerToken:
        """Return the domain's token."""
        return BorrowerToken(self.suite, self.key_version, self.element)


EXAMPLE_SUBJECT: Final[dict[str, Any]] = {"suite": "P256-SHA256", "key_version": 1, "element": EXAMPLE_ELEMENT}


class EvaluateIn(Strict):
    """Blinded elements, base64url of 33 bytes each."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"suite": "P256-SHA256", "key_version": 1, "blinded": [EXAMPLE_ELEMENT]}]},
    )
    suite: Annotated[str, Field(max_length=32)]
    key_version: Annotated[int, Field(ge=1, le=32_767)]
    blinded: Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=256)]


class EvaluateOut(BaseModel):
    """Evaluated elements in the order asked, and one batched proof (64 bytes)."""

    suite: str
    key_version: int
    evaluated: list[str]
    proof: str


class FrequencyIn(Strict):
    """At most so many uses per calendar day or month, UTC."""

    uses: Annotated[int, Field(ge=1, le=1_000_000)]
    per: Literal["day", "month"]


class EvidenceIn(Strict):
    """Digest of (32 random bytes ‖ document), how it was given, when it was signed."""

    digest: Digest
    channel: Literal["paper", "electronic", "branch", "app", "video"]
    signed_at: Instant


class ConsentIn(Strict):
    """A consent that the borrower gave this lender."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "kind": "query",
                    "subject": EXAMPLE_SUBJECT,
                    "purposes": ["pre_loan"],
                    "scopes": ["defaults"],
                    "valid_from": "2026-01-01T00:00:00Z",
                    "valid_until": "2099-01-01T00:00:00Z",
                    "max_uses": 3,
                    "evidence": {"digest": EXAMPLE_DIGEST, "channel": "paper", "signed_at": "2026-01-01T00:00:00Z"},
                }
            ]
        },
    )
    kind: Literal["provide", "query"]
    subject: SubjectIn
    purposes: Annotated[list[str], Field(max_length=8), AfterValidator(_distinct)]
    scopes: Annotated[list[str], Field(max_length=8), AfterValidator(_distinct)]
    valid_from: Instant
    valid_until: Instant
    max_uses: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    frequency: FrequencyIn | None = None
    evidence: EvidenceIn

    def terms(self) -> Terms:
        """Return the domain's terms, refusing purposes and scopes that are not in the published lists."""
        allowed = consent_rules.QUERY_PURPOSES if self.kind == "query" else consent_rules.PROVIDE_PURPOSES
        wrong = unknown_codes("/purposes", self.purposes, allowed) + unknown_codes(
            "/scopes", self.scopes, consent_rules.SCOPES
        )
        if self.kind == "query":
            wrong += [
                FieldError(f"/{name}", "too_short", "at least one")
                for name, given in (("purposes", self.purposes), ("scopes", self.scopes))
                if not given
            ]
        if wrong:
            raise Refused("validation_failed", fields=wrong)
        frequency = self.frequency
        return Terms(
            kind=self.kind,
            subject=self.subject.token(),
            purposes=tuple(self.purposes),
            scopes=tuple(self.scopes),
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            max_uses=self.max_uses,
            frequency=None if frequency is None else consent_rules.Frequency(frequency.uses, frequency.per),
            evidence=Evidence(self.evidence.digest, self.evidence.channel, self.evidence.signed_at),
        )


class ConsentOut(BaseModel):
    """A consent as its lender sees it; ``consent_receipt`` is a signed receipt in the shape of ISO/IEC TS 27560."""

    consent_id: str
    kind: str
    status: str
    purposes: list[str]
    scopes: list[str]
    valid_from: Instant
    valid_until: Instant
    max_uses: int | None
    uses: int
    consent_receipt: str

    @classmethod
    def of(cls, held: Held, *, now: datetime, receipt: str) -> "ConsentOut":
        """Present a consent."""
        consent = held.consent
        return cls(
            consent_id=spell("cns", consent.consent_id),
            kind=consent.kind,
            status=consent_rules.status(consent, now),
            purposes=list(consent.purposes),
            scopes=list(consent.scopes),
            valid_from=consent.valid_from,
            valid_until=consent.valid_until,
            max_uses=consent.max_uses,
            uses=consent.uses,
            consent_receipt=receipt,
        )


class CodedIn(Strict):
    """A code in a named scheme."""

    scheme: Annotated[str, Field(max_length=32)]
    code: Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[A-Za-z0-9.-]+$")]

    def coded(self) -> rules.Coded:
        """Return the domain's code."""
        return rules.Coded(self.scheme, self.code)


class NoticeIn(Strict):
    """An attested notice: the day and channel it was sent by, the digest of its text."""

    sent_on: Day
    channel: Literal["paper", "electronic", "branch", "app", "video", "sms", "email", "post"]
    evidence_digest: Digest


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
    role: Literal["borrower", "guarantor"]
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
    days_past_due: Annotated[int, Field(ge=0, le=20_000)] | None = None
    written_off_on: Day | None = None
    written_off_amount: Amount | None = None
    default_reason: Literal["days_past_due", "unlikely_to_pay", "both", "legal"]
    cause: Literal["cash_flow", "disaster", "upstream_nonpayment", "dispute", "fraud", "unknown"] | None = None
    guarantee: Annotated[str, Field(max_length=32)] | None = None
    size_class: Literal["micro", "small", "medium"] | None = None
    industry: CodedIn | None = None
    region: CodedIn
    lawful_basis: Literal["consent", "public_record", "legal_duty"]
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


class CodedOut(BaseModel):
    """A code in a named scheme."""

    scheme: str
    code: str

    @classmethod
    def of(cls, coded: rules.Coded) -> "CodedOut":
        """Present a code."""
        return cls(scheme=coded.scheme, code=coded.code)


class NoticeOut(BaseModel):
    """The notice that the lender attested."""

    sent_on: Day
    channel: str
    evidence_digest: str

    @classmethod
    def of(cls, notice: AttestedNotice) -> "NoticeOut":
        """Present a notice."""
        return cls(sent_on=notice.sent_on, channel=notice.channel, evidence_digest=notice.evidence_digest)


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
    kind: Literal[
        "forbearance",
        "default",
        "cured",
        "legal",
        "written_off",
        "recovered",
        "settled_full",
        "settled_partial",
        "sold",
    ]
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
    days_past_due: Annotated[int, Field(ge=0, le=20_000)] | None = None
    written_off_on: Day | None = None
    written_off_amount: Amount | None = None
    default_reason: Literal["days_past_due", "unlikely_to_pay", "both", "legal"] | None = None
    cause: Literal["cash_flow", "disaster", "upstream_nonpayment", "dispute", "fraud", "unknown"] | None = None
    guarantee: Annotated[str, Field(max_length=32)] | None = None
    size_class: Literal["micro", "small", "medium"] | None = None
    industry: CodedIn | None = None
    public_ref: Reference | None = None


class CorrectionIn(Strict):
    """What was wrong, and what is right. A field given as null is emptied; a field left out stays."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"reason": "wrong_amount", "changes": {"written_off_amount": "89000.00"}}]},
    )
    reason: Literal["wrong_amount", "wrong_date", "wrong_borrower_data", "wrong_classification", "other"]
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


class JobOut(BaseModel):
    """A file being dealt with: how many of its rows were accepted and refused so far, and why it failed if it did."""

    job_id: str
    status: str
    code: str | None
    dry_run: bool
    rows: int
    accepted: int
    refused: int
    created_at: Instant
    finished_at: Instant | None
    expires_at: Instant

    @classmethod
    def of(cls, job: Job) -> "JobOut":
        """Present a job."""
        return cls(**{**asdict(job), "job_id": spell("job", job.job_id)})


class WithdrawalIn(Strict):
    """Why a record is taken back."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "reported_in_error"}]}
    )
    reason: Literal["reported_in_error", "wrong_borrower", "duplicate", "court_order", "other"]


EXAMPLE_QUERY: Final[dict[str, Any]] = {
    "subject": EXAMPLE_SUBJECT,
    "purpose": "pre_loan",
    "consent_id": "cns_01900000-0000-7000-8000-000000000000",
    "scopes": ["defaults"],
}


class QueryIn(Strict):
    """A question about one borrower."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                EXAMPLE_QUERY,
            ]
        },
    )
    subject: SubjectIn
    purpose: Literal["pre_loan", "post_loan_monitoring", "guarantor_check", "restructuring"]
    consent_id: Annotated[str, Field(max_length=64)]
    scopes: Annotated[list[str], Field(min_length=1, max_length=8), AfterValidator(_distinct)]
    as_of: Instant | None = None


class QueryBatchIn(Strict):
    """Questions about several borrowers."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"queries": [EXAMPLE_QUERY]}]}
    )
    queries: Annotated[list[QueryIn], Field(min_length=1, max_length=1_000)]


class ReceivedRecord(BaseModel):
    """One record in an answer. ``handle`` is this member's own name for it."""

    handle: str
    own: bool
    role: str
    status: str
    bucket: str
    classification: str
    product: str
    amount_band: str
    amounts: dict[str, str] | None = None
    default_on: str
    days_past_due: int | None
    disputed: bool
    statement: str | None = None
    as_of: str
    freshness_days: int


class Summary(BaseModel):
    """What all other lenders together reported as open."""

    lenders: int
    open_defaults: int
    exposure_band: str
    worst_bucket: str


class ConsentRef(BaseModel):
    """The consent that an answer was given under."""

    id: str


class WithheldOut(BaseModel):
    """Something within the consent that the answer leaves out, and why."""

    what: str
    why: str


class QueryOut(BaseModel):
    """An answer. Its receipt is the CS-Signature header."""

    query_id: str
    as_of: str
    consent: ConsentRef
    match: Literal["records", "none"]
    records: list[ReceivedRecord]
    summary: Summary
    withheld: list[WithheldOut]
    policy_version: str


class QueryResult(BaseModel):
    """What came of one question of a batch: its answer, or the refusal's status and code. ``log`` is its receipt."""

    status: int
    code: str | None
    log: dict[str, str | int]
    answer: QueryOut | None


class QueryBatchOut(BaseModel):
    """Results in the order asked."""

    results: list[QueryResult]


class Page(BaseModel, Generic[T]):
    """A page of a list; ``next_cursor`` asks for the one that follows."""

    data: list[T]
    has_more: bool
    next_cursor: str | None


class MemberIn(Strict):
    """An institution proposed by an operator."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"name": "First Example Bank", "role": "lender", "region": "US-CA", "jurisdictions": ["US"]}]
        },
    )
    name: Reference
    role: Literal["lender", "regulator", "operator"]
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
    jurisdictions: Annotated[list[Country], Field(max_length=64), AfterValidator(_distinct)] | None = None
    key_thumbprint: Thumbprint | None = None
    licence_no: Reference | None = None
    contacts: Annotated[dict[str, Annotated[str, Field(max_length=200)]], Field(max_length=8)] = Field(
        default_factory=dict
    )

    def application(self) -> Application:
        """Return the domain's application; the jurisdiction is by default the region's country."""
        return Application(
            name=self.name,
            role=self.role,
            region=self.region,
            jurisdictions=tuple(self.jurisdictions if self.jurisdictions is not None else [self.region[:2]]),
            key_thumbprint=self.key_thumbprint,
            licence_no=self.licence_no,
            contacts=self.contacts,
        )


class MemberOut(BaseModel):
    """An institution."""

    member_id: str
    name: str
    role: str
    region: str
    jurisdictions: list[str]
    status: str
    evaluations_per_day: int
    queries_per_day: int | None = Field(description="Null: the service's default, as its discovery document says.")
    reports_per_day: int | None = Field(description="Likewise.")

    @classmethod
    def of(cls, member: Member) -> "MemberOut":
        """Present a member."""
        return cls(
            member_id=spell("mem", member.member_id),
            name=member.name,
            role=member.role,
            region=member.region,
            jurisdictions=list(member.jurisdictions),
            status=member.status,
            evaluations_per_day=member.evaluations_per_day,
            queries_per_day=member.queries_per_day,
            reports_per_day=member.reports_per_day,
        )


class ApprovalIn(Strict):
    """Which open proposal the second person approves.

    The terms are repeated: the quotas, or the thumbprint of the key that may enrol (of an admission in production).
    """

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"action": "admission"}]})
    action: Literal["admission", "quotas", "lift_suspension", "recovery"] = "admission"
    evaluations_per_day: Quota | None = None
    queries_per_day: Quota | None = None
    reports_per_day: Quota | None = None
    key_thumbprint: Thumbprint | None = None

    def terms(self) -> dict[str, Any]:
        """Return what is approved, in the form in which it was proposed."""
        return self.model_dump(exclude={"action"}, exclude_none=True)


class ApprovalOut(MemberOut):
    """The member after the approval; the one-time code is shown here and nowhere else, kept only as a hash."""

    enrolment_code: str | None = None


class ProposalIn(Strict):
    """A proposal that needs a second person: lifting a suspension, or a new enrolment code after a lost key."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"action": "recovery"}]})
    action: Literal["lift_suspension", "recovery"]
    key_thumbprint: Thumbprint | None = None

    def terms(self) -> dict[str, str]:
        """Return what is proposed: for a recovery the key that alone may enrol, which production requires."""
        return {"key_thumbprint": self.key_thumbprint} if self.key_thumbprint else {}


class ProposalOut(BaseModel):
    """What waits for a second person, who approves it by repeating its terms."""

    member_id: str
    action: str
    terms: dict[str, int | str]
    proposed_by: str
    proposed_at: Instant
    expires_at: Instant

    @classmethod
    def of(cls, proposal: Proposal) -> "ProposalOut":
        """Present a proposal."""
        return cls(
            member_id=spell("mem", proposal.member_id),
            action=proposal.action,
            terms=dict(proposal.terms),
            proposed_by=spell("mem", proposal.proposed_by),
            proposed_at=proposal.proposed_at,
            expires_at=proposal.expires_at,
        )


class QuotasIn(Strict):
    """A member's quotas of the day, proposed; what is left out stays as it is."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"evaluations_per_day": 20000}, {"queries_per_day": 50000, "reports_per_day": 100000}],
            "minProperties": 1,
        },
    )
    evaluations_per_day: Quota | None = None
    queries_per_day: Quota | None = None
    reports_per_day: Quota | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "QuotasIn":
        if not self.terms():
            raise ValueError("at least one quota")
        return self

    def terms(self) -> dict[str, int]:
        """Return what is proposed."""
        return self.model_dump(exclude_none=True)


class SuspensionIn(Strict):
    """Why a member is suspended."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "key_theft"}]})
    reason: Reference


EXAMPLE_JWK: Final[dict[str, Any]] = {
    "kty": "EC",
    "crv": "P-256",
    "use": "sig",
    "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
    "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
}
EXAMPLE_PROOF: Final = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"


class KeyIn(Strict):
    """A public key by value, with proof of possession; the code only for a member's first key."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"jwk": EXAMPLE_JWK, "proof": EXAMPLE_PROOF, "enrolment_code": "a-one-time-code-of-160-bits"},
                {"jwk": EXAMPLE_JWK, "proof": EXAMPLE_PROOF},
            ]
        },
    )
    jwk: Annotated[dict[str, str], Field(max_length=16)]
    proof: Annotated[str, Field(max_length=8192)]
    enrolment_code: Annotated[str, Field(max_length=128)] | None = None


class KeyOut(BaseModel):
    """A registered key."""

    kid: str
    member_id: str
    status: str
    registered_at: Instant
    expires_at: Instant
    revoked_at: Instant | None

    @classmethod
    def of(cls, key: Key, *, now: datetime) -> "KeyOut":
        """Present a key; an expired one says so."""
        expired = key.state != "revoked" and key.expires_at <= now
        return cls(
            kid=key.kid,
            member_id=spell("mem", key.member_id),
            status="expired" if expired else key.state,
            registered_at=key.registered_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
        )


class SignedActOut(BaseModel):
    """One act that a key signed: what, with which outcome, by whom inside the member; no borrower is named."""

    event_id: str
    at: Instant
    action: str
    outcome: str
    purpose: str
    sub: str
    request_id: str


class SignedActsOut(Page[SignedActOut]):
    """A stretch of the log, searched for one key's acts."""

    @classmethod
    def of(cls, acts: list[SignedAct], *, next_cursor: str | None) -> "SignedActsOut":
        """Present acts, and where to go on."""
        data = [SignedActOut(**{**asdict(act), "event_id": spell("evt", act.event_id)}) for act in acts]
        return cls(data=data, has_more=next_cursor is not None, next_cursor=next_cursor)


class RevocationIn(Strict):
    """Why a key is revoked; ``compromise`` with ``since`` reaches the keys that it registered since then."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "rotation"}]})
    reason: Literal["rotation", "compromise", "retired", "other"]
    since: Instant | None = None


class ClockIn(Strict):
    """How far a sandbox moves its business time."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"days": 16}]})
    days: Annotated[int, Field(ge=1, le=3_660)]


class ClockOut(BaseModel):
    """The business time of a sandbox after it was moved."""

    business_time: Instant
    ahead_days: int


class EmptyIn(Strict):
    """No members yet; a body may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{}]})


class MemberPage(Page[MemberOut]):
    """A page of institutions."""


class ProposalPage(Page[ProposalOut]):
    """A page of what waits for a second person."""


class KeyPage(Page[KeyOut]):
    """A page of keys."""


class MeOut(MemberOut):
    """Who the service takes the caller for."""

    kid: str
    sub: str


class QuotaOut(BaseModel):
    """A member's quotas and what is used of them today (UTC).

    Questions and reports are leased to the service's processes in small blocks: what another one holds counts as used.
    Unnamed evaluations are those, of any day, that no borrower you named in a consent or report accounts for.
    """

    evaluations_per_day: int
    evaluations_used_today: int
    evaluations_unnamed: int
    evaluations_unnamed_at_most: int
    queries_per_day: int
    queries_used_today: int
    reports_per_day: int
    reports_used_today: int


def instant_in_query(name: str, text: str) -> datetime:
    """Return the instant that a query parameter spells, or refuse naming it."""
    try:
        return _instant_text(text)
    except ValueError as error:
        raise Refused("validation_failed", fields=[FieldError(f"/query/{name}", "value_error", str(error))]) from None


def unknown_codes(pointer: str, given: list[str], known: tuple[str, ...]) -> list[FieldError]:
    """Return a field error where a code is not in its published list."""
    return [] if set(given) <= set(known) else [FieldError(pointer, "unknown_code", "codes of /v1/code-lists")]


def consent_id(text: str) -> UUID:
    """Return a consent's UUID; a text that is no consent id is a consent that does not exist."""
    try:
        return parse("cns", text)
    except Malformed:
        raise Refused("consent_missing") from None
