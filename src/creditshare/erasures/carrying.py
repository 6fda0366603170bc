"""Carrying out what two operators ordered, under the eraser's role. Each order is a transaction of its own.

The row of an order is believed by its seal, and whose a record or consent is by the borrower's own seals: whoever
administers the database could otherwise turn the erasure of one borrower into that of another.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
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
Left = Literal["gone", "may_not_order"]
"""Why an order is left as it is: what it names is gone by another one; one of its two operators oversees no more."""


@dataclass(frozen=True, slots=True)
class Carried:
    """An order that was carried out, or why it was left."""

    order: Proposal
    left: Left | None = None


class Carrying:
    """Erases what was ordered. ``database`` is the eraser's own login; ``oversees`` says who may order now."""

    def __init__(
        self,
        *,
        database: Database,
        rows: ProposalRows,
        erasure: Erasure,
        tombstones: Tombstones,
        oversees: Callable[[UUID], Awaitable[bool]],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._rows = rows
        self._erasure = erasure
        self._tombstones = tombstones
        self._oversees = oversees
        self._clock = clock

    async def ordered(self) -> list[Proposal]:
        """Return what was ordered and is not carried out, oldest first."""
        async with self._database.reading() as session:
            return [proposal_of(row) for row in await self._rows.ordered(session, kinds=[*KINDS])]

    async def carry_out(self) -> AsyncIterator[Carried]:
        """Carry out each order in turn and yield what became of it. May be interrupted and run again."""
        for order in await self.ordered():
            people = {order.proposed_by, *([order.decided_by] if order.decided_by else [])}
            if all([await self._oversees(one) for one in people]):
                done = await self._erase(order)
                if done is not None:
                    yield done
            else:
                yield Carried(order, "may_not_order")

    async def _erase(self, order: Proposal) -> Carried | None:
        """Carry out one order; nothing if another process was quicker."""
        now, named_order = self._clock(), spell("prp", order.proposal_id)
        async with self._database.writing() as session:
            row = await self._rows.lock(session, order.proposal_id)
            if row is None or row["decision"] != "approved" or row["carried_out_at"] is not None:
                return None
            kind, about, references = KINDS[row["kind"]], row["about"], {"proposal_id": named_order}
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
                if refused.code != "erased":
                    raise
                if named_order not in self._tombstones.read().orders:
                    # Of an erased borrower nothing says any more what was its own, so a person has to.
                    return Carried(order, "gone")
            await self._rows.change(session, row, carried_out_at=now)
            if buried is not None:
                # Once the tombstone is on disk the erasure is certain, whatever happens to the commit.
                self._tombstones.add(buried[0], [buried[1]], now=now, order=named_order)
            await session.commit()
        return Carried(order)
