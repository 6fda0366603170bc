"""The sealed rows of proposals: checked where they decide, sealed anew where they change (decision 12)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, select

from creditshare.approvals.models import proposal
from creditshare.approvals.rules import Proposal
from creditshare.crypto.rowseals import RowSeals
from creditshare.errors import IntegrityError
from creditshare.storage.engine import ReadSession, WriteSession

TABLE: Final = "proposal"
LATER: Final = frozenset({"decision", "approved_by", "carried_out_at"})
"""Sealed where it has a value, so that rows from before keep their seals."""


@dataclass(frozen=True, slots=True)
class ProposalRows:
    """Reads and writes proposals with their seals."""

    seals: RowSeals

    def holds(self, row: Mapping[Any, Any]) -> bool:
        """Whether a row is as the service wrote it."""
        return self.seals.holds(TABLE, _decisive(row), bytes(row["seal"]))

    def _checked(self, row: RowMapping | None) -> RowMapping | None:
        if row is not None and not self.holds(row):
            raise IntegrityError("a proposal does not match its seal")
        return row

    async def find(self, session: ReadSession, proposal_id: UUID) -> RowMapping | None:
        """Return a checked row."""
        found = await session.execute(select(proposal).where(proposal.c.proposal_id == proposal_id))
        return self._checked(found.mappings().one_or_none())

    async def lock(self, session: WriteSession, proposal_id: UUID) -> RowMapping | None:
        """Return a checked row, locked until the end of the transaction."""
        locked = select(proposal).where(proposal.c.proposal_id == proposal_id).with_for_update()
        return self._checked((await session.execute(locked)).mappings().one_or_none())

    async def open(
        self, session: ReadSession, *, now: datetime, about: UUID | None = None, kind: str | None = None
    ) -> list[RowMapping]:
        """Return what waits, newest first. A row that does not match its seal was proposed by nobody."""
        waiting = select(proposal).where(
            proposal.c.decided_by.is_(None), proposal.c.decision.is_(None), proposal.c.expires_at > now
        )
        if about is not None:
            waiting = waiting.where(proposal.c.about == about)
        if kind is not None:
            waiting = waiting.where(proposal.c.kind == kind)
        newest_first = waiting.order_by(proposal.c.proposed_at.desc(), proposal.c.proposal_id.desc())
        return [row for row in (await session.execute(newest_first)).mappings() if self.holds(row)]

    async def listed(
        self, session: ReadSession, *, kinds: Collection[str], before: UUID | None, limit: int
    ) -> list[RowMapping]:
        """Return the checked rows of some kinds, newest first, whatever became of them."""
        found = select(proposal).where(proposal.c.kind.in_(kinds)).order_by(proposal.c.proposal_id.desc()).limit(limit)
        if before is not None:
            found = found.where(proposal.c.proposal_id < before)
        return [row for row in (await session.execute(found)).mappings() if self._checked(row)]

    async def ordered(self, session: ReadSession, *, kinds: Collection[str]) -> list[RowMapping]:
        """Return the checked rows of some kinds that were approved and are not carried out, oldest first."""
        found = select(proposal).where(
            proposal.c.kind.in_(kinds), proposal.c.decision == "approved", proposal.c.carried_out_at.is_(None)
        )
        rows = await session.execute(found.order_by(proposal.c.decided_at, proposal.c.proposal_id))
        return [row for row in rows.mappings() if self._checked(row)]

    async def newest(self, session: ReadSession, about: UUID, kind: str) -> RowMapping | None:
        """Return the newest row of a kind about something, checked, decided or not."""
        found = select(proposal).where(proposal.c.about == about, proposal.c.kind == kind)
        newest = found.order_by(proposal.c.proposed_at.desc(), proposal.c.proposal_id.desc()).limit(1)
        return self._checked((await session.execute(newest)).mappings().one_or_none())

    async def add(self, session: WriteSession, made: Proposal) -> None:
        """Insert a proposal."""
        values = {
            "proposal_id": made.proposal_id,
            "kind": made.kind,
            "about": made.about,
            "terms": dict(made.terms),
            "proposed_by": made.proposed_by,
            "proposed_at": made.proposed_at,
            "expires_at": made.expires_at,
            "decided_by": None,
            "decided_at": None,
            "decision": None,
            "approved_by": None,
            "carried_out_at": None,
        }
        await session.execute(proposal.insert().values({**values, "seal": self.seals.seal(TABLE, _decisive(values))}))

    async def change(self, session: WriteSession, row: RowMapping, **changes: Any) -> RowMapping:
        """Write a row that was checked, with these changes, and return it as it is now."""
        self._checked(row)
        return await self._write(session, row, changes)

    async def _write(self, session: WriteSession, row: RowMapping, changes: Mapping[str, Any]) -> RowMapping:
        seal = self.seals.seal(TABLE, _decisive({**row, **changes}))
        named = proposal.c.proposal_id == row["proposal_id"]
        done = await session.execute(
            proposal.update().where(named).values({**changes, "seal": seal}).returning(proposal)
        )
        changed = done.mappings().one()
        if bytes(changed["seal"]) != seal or not self.holds(changed):
            raise IntegrityError("a proposal was not written as it was to be")
        return changed

    async def broken(self, session: ReadSession) -> list[UUID]:
        """Return the proposals whose rows do not match their seals."""
        found = await session.execute(select(proposal))
        return [row["proposal_id"] for row in found.mappings() if not self.holds(row)]

    async def accept(self, session: WriteSession, proposal_id: UUID) -> None:
        """Seal a row as it stands, for an operator who looked at it."""
        locked = select(proposal).where(proposal.c.proposal_id == proposal_id).with_for_update()
        await self._write(session, (await session.execute(locked)).mappings().one(), {})


def proposal_of(row: RowMapping) -> Proposal:
    """Return a row as a value."""
    names = (
        *("proposal_id", "kind", "about", "terms", "proposed_by", "proposed_at", "expires_at"),
        *("decision", "decided_by", "decided_at", "carried_out_at"),
    )
    values = {name: row[name] for name in names}
    return Proposal(**values, approved_by=tuple(map(UUID, row["approved_by"] or ())))


def _decisive(row: Mapping[Any, Any]) -> dict[str, Any]:
    names = (column.name for column in proposal.c if column.name != "seal")
    return {name: row[name] for name in names if name not in LATER or row.get(name) is not None}
