"""Carrying out what two operators ordered, under the eraser's role. Each order is a transaction of its own."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from creditshare.approvals.repository import ProposalRows, proposal_of
from creditshare.approvals.rules import Proposal
from creditshare.erasures.rules import KINDS
from creditshare.errors import Refused
from creditshare.ids import spell
from creditshare.keys.tombstones import Kind as BuriedKind
from creditshare.keys.tombstones import Tombstones
from creditshare.records.erasure import Erasure, Named
from creditshare.storage.engine import Database

SUB: Final = "erase carry-out"


class Carrying:
    """Erases what was ordered. ``database`` is the eraser's own login."""

    def __init__(
        self,
        *,
        database: Database,
        rows: ProposalRows,
        erasure: Erasure,
        tombstones: Tombstones,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._rows = rows
        self._erasure = erasure
        self._tombstones = tombstones
        self._clock = clock

    async def ordered(self) -> list[Proposal]:
        """Return what was ordered and is not carried out, oldest first."""
        async with self._database.reading() as session:
            return [proposal_of(row) for row in await self._rows.ordered(session, kinds=[*KINDS])]

    async def carry_out(self) -> AsyncIterator[Proposal]:
        """Carry out each order in turn and yield it. May be interrupted and run again."""
        for order in await self.ordered():
            if await self._erase(order.proposal_id):
                yield order

    async def _erase(self, proposal_id: UUID) -> bool:
        now = self._clock()
        async with self._database.writing() as session:
            row = await self._rows.lock(session, proposal_id)
            if row is None or row["decision"] != "approved" or row["carried_out_at"] is not None:
                return False  # another process was quicker
            kind, about, references = KINDS[row["kind"]], row["about"], {"proposal_id": spell("prp", proposal_id)}
            buried: tuple[BuriedKind, UUID] | None = None
            try:
                if kind.whole_borrower:
                    named: Named = "consent" if kind.about == "cns" else "record"
                    subject_id = await self._erasure.erase_borrower(
                        session, named, about, sub=SUB, now=now, references=references
                    )
                    buried = "borrower", subject_id
                else:
                    await self._erasure.erase_record(session, about, sub=SUB, now=now, references=references)
                    buried = "record", about
            except Refused as refused:
                if refused.code != "erased":  # by another order
                    raise
            await self._rows.change(session, row, carried_out_at=now)
            if buried is not None:
                # Once the tombstone is on disk the erasure is certain, whatever happens to the commit.
                self._tombstones.add(buried[0], [buried[1]], now=now)
            await session.commit()
        return True
