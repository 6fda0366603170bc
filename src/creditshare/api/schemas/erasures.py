"""Erasures: what an operator asks for, and another repeats to approve it."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from creditshare.api.schemas.forms import Instant, Page, Reference, Strict
from creditshare.approvals.rules import Proposal
from creditshare.erasures import rules
from creditshare.erasures.rules import LegalBasis, Terms
from creditshare.ids import spell

EXAMPLE: Final[dict[str, Any]] = {
    "named": "rec_01900000-0000-7000-8000-000000000000",
    "whole_borrower": False,
    "legal_basis": "unlawful",
    "reason": "reported against a company of the same name",
}


class ErasureIn(Strict):
    """A record, or the borrower of a record or consent, that is to become unreadable for ever."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [EXAMPLE]})
    named: Annotated[str, Field(max_length=64, description="rec_…; with `whole_borrower` also cns_….")]
    whole_borrower: Annotated[bool, Field(description="Everything about its borrower, not the one record.")] = False
    legal_basis: LegalBasis
    reason: Annotated[Reference, Field(description="Kept when all else is gone, so it names no borrower.")]

    def terms(self) -> Terms:
        """Return the domain's terms."""
        return Terms(self.named, self.whole_borrower, self.legal_basis, self.reason)


class ErasureApprovalIn(ErasureIn):
    """What is approved, all of it repeated as ``GET`` shows it."""


class ErasureOut(BaseModel):
    """An erasure, from the asking until it was carried out."""

    erasure_id: str = Field(description="Id of the proposal, which rejects or withdraws it.")
    status: str
    named: str
    whole_borrower: bool
    legal_basis: str
    reason: str
    requested_by: str
    requested_at: Instant
    expires_at: Instant = Field(description="Until when it may be approved. What was approved does not expire.")
    decided_by: str | None
    decided_at: Instant | None
    carried_out_at: Instant | None

    @classmethod
    def of(cls, proposal: Proposal, *, now: datetime) -> "ErasureOut":
        """Present an erasure at an instant."""
        terms = rules.terms_of(proposal)
        return cls(
            erasure_id=spell("prp", proposal.proposal_id),
            status=rules.status(proposal, now),
            named=terms.named,
            whole_borrower=terms.whole_borrower,
            legal_basis=terms.legal_basis,
            reason=terms.reason,
            requested_by=spell("mem", proposal.proposed_by),
            requested_at=proposal.proposed_at,
            expires_at=proposal.expires_at,
            decided_by=None if proposal.decided_by is None else spell("mem", proposal.decided_by),
            decided_at=proposal.decided_at,
            carried_out_at=proposal.carried_out_at,
        )


class ErasurePage(Page[ErasureOut]):
    """A page of erasures, newest first."""
