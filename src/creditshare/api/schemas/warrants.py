"""Warrants: what a regulator asks for, what operators repeat to approve it, what is read under one."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from creditshare.api.schemas.forms import Instant, Page, Reference, Strict, distinct
from creditshare.api.schemas.queries import WithheldOut
from creditshare.ids import spell
from creditshare.warrants.rules import LegalBasis, Scope, Terms, Warrant
from creditshare.warrants.service import Reading, Shown

Scopes = Annotated[list[Scope], Field(min_length=1, max_length=8), AfterValidator(distinct)]
EXAMPLE_WARRANT: Final[dict[str, Any]] = {
    "named": "rec_01900000-0000-7000-8000-000000000000",
    "legal_basis": "court_order",
    "reference": "2026-CV-001234",
    "reason": "suspected multiple pledging",
    "scopes": ["records", "inquiries"],
    "ends_at": "2026-03-31T00:00:00Z",
}
EXAMPLE_APPROVAL: Final[dict[str, Any]] = {
    "regulator_id": "mem_01900000-0000-7000-8000-000000000000",
    **EXAMPLE_WARRANT,
}


class WarrantIn(Strict):
    """What a regulator asks for. ``named`` is the id of a record, question or consent of the borrower."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [EXAMPLE_WARRANT]})
    named: Annotated[str, Field(max_length=64, description="rec_…, qry_… or cns_…, as it was given to you.")]
    legal_basis: LegalBasis
    reference: Annotated[Reference, Field(description="The number of the order or file; it names no borrower.")]
    reason: Reference
    scopes: Scopes
    ends_at: Instant

    def terms(self) -> Terms:
        """Return the domain's terms: the same set of scopes is the same terms, the end is in whole milliseconds."""
        return Terms(
            self.named,
            self.legal_basis,
            self.reference,
            self.reason,
            tuple(sorted(self.scopes)),
            self.ends_at.replace(microsecond=self.ends_at.microsecond // 1000 * 1000),
        )


class WarrantApprovalIn(WarrantIn):
    """What is approved, every term of it repeated as ``GET`` shows it."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [EXAMPLE_APPROVAL]})
    regulator_id: Annotated[str, Field(max_length=64)]


class WarrantRevocationIn(Strict):
    """Why a warrant ends before its time: kept in the log for ever, so it names no borrower."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "no_need"}]})
    reason: Reference


class WarrantOut(BaseModel):
    """A warrant as it stands, without what it says."""

    warrant_id: str
    regulator_id: str
    status: str
    requested_at: Instant
    active_from: Instant | None
    ends_at: Instant

    @classmethod
    def of(cls, warrant: Warrant, *, now: datetime) -> "WarrantOut":
        """Present a warrant at an instant."""
        return cls(**_standing(warrant, now))


class WarrantShownOut(WarrantOut):
    """A warrant with what it says, and who approved it so far."""

    named: str
    legal_basis: str
    reference: str
    reason: str
    scopes: list[str]
    approved_by: list[str]

    @classmethod
    def showing(cls, shown: Shown, *, now: datetime) -> "WarrantShownOut":
        """Present a warrant and its terms at an instant."""
        terms = shown.terms
        return cls(
            **_standing(shown.warrant, now),
            named=terms.named,
            legal_basis=terms.legal_basis,
            reference=terms.reference,
            reason=terms.reason,
            scopes=list(terms.scopes),
            approved_by=[spell("mem", one) for one in shown.approved_by],
        )


class WarrantPage(Page[WarrantOut]):
    """A page of warrants, newest first."""


class LenderRef(BaseModel):
    """An institution by its id and name."""

    model_config = ConfigDict(from_attributes=True)
    member_id: str
    name: str


class WarrantRecord(BaseModel):
    """A record as a lender would be told it, with exact amounts and who furnished it."""

    record_id: str
    lender: LenderRef
    role: str
    product: str
    status: str
    bucket: str
    classification: str
    amount_band: str
    amounts: dict[str, str]
    default_on: str
    days_past_due: int | None
    disputed: bool
    as_of: str
    freshness_days: int


class WarrantInquiry(BaseModel):
    """Who asked about the borrower, when and for what; ``purpose`` is null where the answer was emptied."""

    query_id: str
    lender: LenderRef
    asked_at: Instant
    purpose: str | None
    scopes: list[str]


class _Read(BaseModel):
    warrant_id: str
    as_of: Instant
    withheld: list[WithheldOut]


class WarrantRecordsOut(_Read):
    """The borrower's records that may be seen now. What is of a jurisdiction that you are not for is withheld."""

    records: list[WarrantRecord]

    @classmethod
    def of(cls, warrant_id: str, reading: Reading, *, now: datetime) -> "WarrantRecordsOut":
        """Present what was read."""
        rows = [WarrantRecord.model_validate({**row, "lender": _plain(row["lender"])}) for row in reading.rows]
        left_out = [WithheldOut(what="records", why="jurisdiction_not_admitted")] if reading.left_out else []
        return cls(warrant_id=warrant_id, as_of=now, withheld=left_out, records=rows)


class WarrantInquiriesOut(_Read):
    """Who asked about the borrower, oldest first."""

    inquiries: list[WarrantInquiry]

    @classmethod
    def of(cls, warrant_id: str, reading: Reading, *, now: datetime) -> "WarrantInquiriesOut":
        """Present what was read."""
        rows = [WarrantInquiry.model_validate({**row, "lender": _plain(row["lender"])}) for row in reading.rows]
        return cls(warrant_id=warrant_id, as_of=now, withheld=[], inquiries=rows)


def _plain(lender: Any) -> LenderRef:
    return LenderRef.model_validate(lender)


def _standing(warrant: Warrant, now: datetime) -> dict[str, Any]:
    return {
        "warrant_id": spell("wrt", warrant.warrant_id),
        "regulator_id": spell("mem", warrant.regulator_id),
        "status": warrant.status(now),
        "requested_at": warrant.requested_at,
        "active_from": warrant.active_from,
        "ends_at": warrant.ends_at,
    }
