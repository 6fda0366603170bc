"""Pure decisions: which proposal an approval is for, and who may decide one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from creditshare.errors import FieldError, Refused


@dataclass(frozen=True, slots=True)
class Proposal:
    """Something that waits for, or has had, a second person."""

    proposal_id: UUID
    kind: str
    about: UUID
    terms: Mapping[str, Any]
    proposed_by: UUID
    proposed_at: datetime
    expires_at: datetime
    decision: str | None = None
    approved_by: tuple[UUID, ...] = ()
    """Who approved one that takes more than one approval, the last one included once it is decided."""
    decided_by: UUID | None = None
    decided_at: datetime | None = None
    carried_out_at: datetime | None = None
    """When what was approved was carried out, where that is not done with the approval."""


def approved(proposals: Sequence[Proposal], terms: Mapping[str, Any], *, by: UUID, repeated: bool) -> Proposal:
    """Return which of the open proposals of one kind, newest first, a second person approves by stating its terms.

    Unless the terms must be ``repeated``, an approval that states none is for the newest proposal.
    """
    others = [proposal for proposal in proposals if by not in {proposal.proposed_by, *proposal.approved_by}]
    if not others:
        twice = any(by in proposal.approved_by for proposal in proposals)
        hint = (
            "you approved it already; another person must approve it too" if twice else "another person must approve it"
        )
        raise Refused("role_forbidden", extra={"hint": hint})
    for proposal in others:
        if terms == proposal.terms or not (terms or repeated):
            return proposal
    names = sorted({name for proposal in others for name in proposal.terms} | set(terms))
    detail = "what was proposed, repeated by who approves it"
    raise Refused("validation_failed", fields=[FieldError(f"/{name}", "not_as_proposed", detail) for name in names])
