"""Pure decisions: what may be asked for, and what an erasure is at an instant."""

from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from creditshare.approvals.rules import Proposal
from creditshare.errors import FieldError, Refused
from creditshare.ids import Prefix, spell
from creditshare.records.rules import looks_like_identifier

LegalBasis = Literal["purpose_achieved", "retention_ended", "consent_withdrawn", "unlawful", "legal_duty"]
"""Grounds of erasure: PIPL article 47 (1) to (5); GDPR article 17(1)(a), (b), (d), (e)."""
Status = Literal["requested", "lapsed", "approved", "carried_out", "rejected", "withdrawn"]
LEGAL_BASES: Final[tuple[LegalBasis, ...]] = get_args(LegalBasis)
STATUSES: Final[tuple[Status, ...]] = get_args(Status)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is named, and whether all of its borrower goes."""

    about: Prefix
    whole_borrower: bool


KINDS: Final = MappingProxyType(
    {
        "erase_record": Kind("rec", whole_borrower=False),
        "erase_borrower": Kind("rec", whole_borrower=True),
        "erase_consenting_borrower": Kind("cns", whole_borrower=True),
    }
)
"""Of a borrower that nobody reported there are consents alone."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked for: which record, or the borrower of which record or consent; on what ground, and why."""

    named: str
    whole_borrower: bool
    legal_basis: str
    reason: str

    @property
    def kind(self) -> str:
        """Return the kind of proposal that it makes; ``validation_failed`` for what there is not."""
        asked = self.named[:3], self.whole_borrower
        for name, kind in KINDS.items():
            if asked == (kind.about, kind.whole_borrower):
                return name
        if self.named.startswith("cns_"):
            detail = "true: a consent is erased with all of its borrower"
            raise Refused("validation_failed", fields=[FieldError("/whole_borrower", "required", detail)])
        raise Refused("not_found")

    @property
    def kept(self) -> dict[str, Any]:
        """Return what the proposal keeps; the rest is its kind, and what it is about."""
        return {"legal_basis": self.legal_basis, "reason": self.reason}


def terms_of(proposal: Proposal) -> Terms:
    """Return what a proposal of one of these kinds says."""
    kind = KINDS[proposal.kind]
    named = spell(kind.about, proposal.about)
    return Terms(named, kind.whole_borrower, proposal.terms["legal_basis"], proposal.terms["reason"])


def check(terms: Terms) -> None:
    """Refuse a reason that says who the borrower is: it is kept when all else is gone."""
    if looks_like_identifier(terms.reason):
        detail = "why, not an identifier of the borrower"
        raise Refused("validation_failed", fields=[FieldError("/reason", "identifier", detail)])


def require_repeated(said: Terms, repeated: Terms) -> None:
    """Refuse an approval of other terms than were asked for."""
    names = [name for name in Terms.__slots__ if getattr(said, name) != getattr(repeated, name)]
    if names:
        detail = "what was asked for, repeated by who approves it"
        raise Refused("validation_failed", fields=[FieldError(f"/{name}", "not_as_proposed", detail) for name in names])


def status(proposal: Proposal, now: datetime) -> Status:
    """Return what an erasure is at an instant. What was approved waits for the eraser however long it takes."""
    if proposal.decision is None:
        return "requested" if now < proposal.expires_at else "lapsed"
    if proposal.decision == "approved":
        return "approved" if proposal.carried_out_at is None else "carried_out"
    return "rejected" if proposal.decision == "rejected" else "withdrawn"
