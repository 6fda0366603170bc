"""Proposing, approving and rejecting, whatever it is about. The kinds and what carries them out are handed in."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping

from creditshare.approvals.repository import ProposalRows, proposal_of
from creditshare.approvals.rules import Proposal, approved
from creditshare.audit.service import Entry, Recorded
from creditshare.errors import IntegrityError, Refused
from creditshare.ids import Prefix, spell, uuid7
from creditshare.storage.engine import ReadSession, WriteSession

LIFE: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What carrying out brought: something told once, and what the log is told beyond the kind."""

    secret: str | None = None
    details: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of thing that takes two people; ``reference`` is the name under which the log keeps what it is about.

    ``hold`` locks what the proposal is about, so that of two decisions at once the second finds nothing open.
    ``carry_out`` does what was proposed, for the person who approved it; ``dropped`` tidies up after a rejection.
    ``alone``: approving one says nothing of others of the kind about the same, which stay open.
    ``approvals``: how many different persons must approve it, none of whom proposed it.
    ``later``: what was approved is carried out by another process, and until then it can be rejected or withdrawn.
    """

    name: str
    about: Prefix
    reference: str
    proposers: frozenset[str]
    approvers: frozenset[str]
    hold: Callable[[WriteSession, UUID], Awaitable[object]]
    carry_out: Callable[[WriteSession, Proposal, UUID, datetime], Awaitable[Outcome]]
    dropped: Callable[[WriteSession, Proposal, datetime], Awaitable[None]] | None = None
    alone: bool = False
    approvals: int = 1
    life: timedelta = LIFE
    later: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """A proposal that somebody approved; once the last approval is there it is decided, and brought something."""

    proposal: Proposal
    outcome: Outcome

    @property
    def whole(self) -> bool:
        """Whether nobody else has to approve it."""
        return self.proposal.decision is not None


RoleOf = Callable[[ReadSession, UUID], Awaitable[str | None]]
"""Returns the role of a member that may act about others now, or None."""


class Approvals:
    """What waits for a second person. ``take`` is called once, when all is wired."""

    def __init__(self, rows: ProposalRows) -> None:
        self._rows = rows
        self._kinds: dict[str, Kind] = {}
        self._role_of: RoleOf | None = None

    def take(self, kinds: Iterable[Kind], *, role_of: RoleOf) -> None:
        """Take in the kinds there are, and how to learn a person's role."""
        self._kinds |= {kind.name: kind for kind in kinds}
        self._role_of = role_of

    def kind(self, name: str) -> Kind:
        """Return a kind; one that there is not raises."""
        kind = self._kinds.get(name)
        if kind is None:
            raise IntegrityError("a proposal of a kind that there is not")
        return kind

    async def open(
        self, session: ReadSession, *, now: datetime, about: UUID | None = None, kind: str | None = None
    ) -> list[Proposal]:
        """Return what a second person may approve, newest first: of those who may act still."""
        proposals = [proposal_of(row) for row in await self._rows.open(session, now=now, about=about, kind=kind)]
        roles = {by: await self._role(session, by) for by in {one.proposed_by for one in proposals}}
        return [one for one in proposals if roles[one.proposed_by] in self.kind(one.kind).proposers]

    async def find(self, session: ReadSession, proposal_id: UUID) -> Proposal | None:
        """Return a proposal, decided or not, if there is one of this id."""
        row = await self._rows.find(session, proposal_id)
        return None if row is None else proposal_of(row)

    async def listed(
        self, session: ReadSession, *, kinds: Collection[str], before: UUID | None, limit: int
    ) -> list[Proposal]:
        """Return proposals of some kinds, newest first, whatever became of them."""
        rows = await self._rows.listed(session, kinds=kinds, before=before, limit=limit)
        return [proposal_of(row) for row in rows]

    async def newest(self, session: ReadSession, about: UUID, kind: str) -> Proposal:
        """Return what was proposed last of a kind about something, decided or not."""
        row = await self._rows.newest(session, about, kind)
        if row is None:
            raise IntegrityError(f"nothing of the kind {kind} was proposed about what was proposed by it")
        return proposal_of(row)

    async def propose(
        self, session: WriteSession, name: str, about: UUID, terms: Mapping[str, Any], *, by: UUID, now: datetime
    ) -> Proposal:
        """Propose what takes two people; the concept that it belongs to has checked that it fits."""
        kind = self.kind(name)
        await self._require(session, by, kind.proposers)
        made = Proposal(uuid7(now), name, about, dict(terms), by, now, now + kind.life)
        await self._rows.add(session, made)
        return made

    async def approve(
        self,
        session: WriteSession,
        name: str,
        about: UUID,
        terms: Mapping[str, Any],
        *,
        by: UUID,
        now: datetime,
        repeated: bool = True,
        only: UUID | None = None,
    ) -> Decided:
        """Approve an open proposal of a kind; the last approval that it takes carries it out, others of the kind end.

        Who approved before counts only while it may approve still. Unless they must be ``repeated``, an approval that
        states no terms is for the newest one. ``only`` names the one that it is for.
        """
        kind = self.kind(name)
        await kind.hold(session, about)
        await self._require(session, by, kind.approvers)
        proposals = await self.open(session, about=about, kind=name, now=now)
        if only is not None:
            proposals = [one for one in proposals if one.proposal_id == only]
        if not proposals:
            raise Refused("state_conflict", extra={"hint": f"there is no open proposal of the kind {name}"})
        chosen = approved(proposals, terms, by=by, repeated=repeated)
        row = await self._rows.lock(session, chosen.proposal_id)
        if row is None:
            raise IntegrityError("a proposal was taken away while it was approved")
        before = [one for one in chosen.approved_by if await self._role(session, one) in kind.approvers]
        approvers = {} if kind.approvals == 1 else {"approved_by": [str(one) for one in (*before, by)]}
        if len(before) + 1 < kind.approvals:
            return Decided(proposal_of(await self._rows.change(session, row, **approvers)), Outcome())
        decided = {"decided_by": by, "decided_at": now, "decision": "approved"}
        changed = await self._rows.change(session, row, **decided, **approvers)
        if not kind.alone:
            await self.end(session, about, now=now, kinds=[name])
        return Decided(proposal_of(changed), await kind.carry_out(session, chosen, by, now))

    async def reject(
        self, session: WriteSession, proposal_id: UUID, *, by: UUID, reason: str, now: datetime
    ) -> Recorded[Proposal]:
        """End a proposal that is open or not carried out: another person rejects it, who made it withdraws it.

        ``not_found`` for one that there is not, ``state_conflict`` for one that was decided or has ended.
        """
        named = await self._rows.find(session, proposal_id)
        if named is None:
            raise Refused("not_found")
        kind = self.kind(named["kind"])
        if not _is_ordered(named):  # else whoever carries it out locks the row first, and then what it is about
            await kind.hold(session, named["about"])  # as an approval does: of two at once one finds it open
        row = await self._rows.lock(session, proposal_id)
        if row is None or not (_waits(row, now) or (kind.later and _is_ordered(row))):
            raise Refused("state_conflict")
        if row["proposed_by"] == by:
            decided: dict[str, Any] = {"decision": "withdrawn", "expires_at": now}
        else:
            await self._require(session, by, kind.approvers)
            decided = {"decision": "rejected", "decided_by": by, "decided_at": now}
        changed = proposal_of(await self._rows.change(session, row, **decided))
        if kind.dropped is not None:
            await kind.dropped(session, changed, now)
        told = {"proposal": kind.name, "decision": decided["decision"], "reason": reason}
        references = {kind.reference: spell(kind.about, changed.about)}
        return Recorded(changed, Entry("reject_proposal", references=references, details=told))

    async def end(
        self, session: WriteSession, about: UUID, *, now: datetime, kinds: Sequence[str] | None = None
    ) -> None:
        """End what is still open, so that no left-over is approved when things stand otherwise."""
        for row in await self._rows.open(session, about=about, now=now):
            if kinds is None or row["kind"] in kinds:
                await self._rows.change(session, row, expires_at=now)

    async def _require(self, session: ReadSession, by: UUID, roles: frozenset[str]) -> None:
        if await self._role(session, by) not in roles:
            raise Refused("role_forbidden")

    async def _role(self, session: ReadSession, by: UUID) -> str | None:
        if self._role_of is None:
            raise IntegrityError("approvals were not wired")
        return await self._role_of(session, by)


def _waits(row: RowMapping, now: datetime) -> bool:
    return row["decided_by"] is None and row["decision"] is None and row["expires_at"] > now


def _is_ordered(row: RowMapping) -> bool:
    """Whether it was approved and is not carried out."""
    return row["decision"] == "approved" and row["carried_out_at"] is None
