"""Counting borrowers into cells: a step takes the next ones that wait, in time proportional to them.

One process counts at a time, by a lock that its transaction holds. What a borrower added when it was counted last is
worked out again from its history, which only grows; so no copy of it is kept that an erasure would have to find. A
record that was erased since is not seen then or now: what it added stays in the counts, without anything that names it
(decision 30).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import func, select

from creditshare.errors import IntegrityError
from creditshare.records.opening import OpenedBorrower, open_borrowers
from creditshare.reports.cells import Cells, Part, Share, add_difference
from creditshare.reports.repository import (
    COUNTING_LOCK,
    FROZEN,
    CellStore,
    PartState,
    Position,
    Waiting,
    enqueue,
    settle,
    waiting,
)
from creditshare.reports.tables import PROTECTED
from creditshare.reports.told import anything_told
from creditshare.reports.views import DEFINITION, next_change, share_of
from creditshare.sandbox.service import business_time
from creditshare.storage.engine import Database, WriteSession
from creditshare.subjects.service import Subjects, ids_of_subjects

log = structlog.get_logger()

AT_ONCE: Final = 2_000
"""Borrowers of one step: their histories are in memory together."""
ANEW_AT_ONCE: Final = 20_000
BROKEN_AGAIN: Final = timedelta(hours=1)
WHO_DIGITS: Final = 12


class Counting:
    """Counts changed borrowers. ``reading`` opens records as the service does; ``database`` is the worker's own."""

    def __init__(self, *, database: Database, reading: Database, subjects: Subjects, store: CellStore) -> None:
        self._database = database
        self._reading = reading
        self._subjects = subjects
        self._store = store

    async def step(self) -> bool:
        """Count the next borrowers that wait; return whether more may. Does nothing where another process counts."""
        async with self._database.writing() as session:
            if not await hold_counting(session):
                return False
            position = await self._store.position(session)
            if position is None or position.definition != DEFINITION:
                await self._begin(session, position)
                await session.commit()
                return True
            now = (await business_time(session)).now
            due = await waiting(session, now=now, limit=AT_ONCE)
            if due:
                async with self._reading.reading() as reading:
                    opened = await open_borrowers(reading, self._subjects, [one.subject_id for one in due])
                await self._count(session, position, due, opened, now=now)
                await session.commit()
            return bool(due)

    async def _begin(self, session: WriteSession, before: Position | None) -> None:
        """Begin to count; what was counted by another definition is forgotten, and every borrower waits again."""
        if before is not None:
            log.warning("reports are counted anew", definition=DEFINITION, before=before.definition)
            await self._store.clear(session)
            now, last = (await business_time(session)).now, None
            while ids := await ids_of_subjects(session, after=last, limit=ANEW_AT_ONCE):
                await enqueue(session, ids, at=now)
                last = ids[-1]
        elif await anything_told(session):
            raise IntegrityError("the position of the reports is gone, and something was told")
        await self._store.move(session, Position(DEFINITION, 0, {} if before is None else _frozen(before)))

    async def _count(
        self,
        session: WriteSession,
        position: Position,
        due: list[Waiting],
        opened: Mapping[UUID, OpenedBorrower | IntegrityError],
        *,
        now: datetime,
    ) -> None:
        changes: dict[Part, Cells] = {}
        done: list[tuple[Waiting, int]] = []
        later: dict[UUID, datetime] = {}
        for one in due:
            borrower = opened.get(one.subject_id)
            if isinstance(borrower, IntegrityError):
                log.error("integrity", part="reports", kind=str(borrower))
                later[one.subject_id] = now + BROKEN_AGAIN
                done.append((one, 0))
                continue
            if borrower is None:  # erased: what it added stays, and there is nothing to add
                done.append((one, 0))
                continue
            before: Share = {}
            if one.version is not None and one.counted_at is not None:
                before = share_of(borrower.histories, version=one.version, at=one.counted_at)
            after = share_of(borrower.histories, version=None, at=now)
            add_difference(changes, before, after, who=one.subject_id.hex[-WHO_DIGITS:])
            again = next_change(borrower.histories, now)
            if again is not None:
                later[one.subject_id] = again
            done.append((one, borrower.version))
        for part, cells in changes.items():
            if not position.parts.get(part, PartState()).told_seq:  # of what nobody was told yet, nobody can tell more
                for cell in cells.values():
                    cell.touched.clear()
        await self._store.add(session, changes)
        if changes.keys() - position.parts.keys():
            parts = {**dict.fromkeys(changes, PartState()), **position.parts}
            await self._store.move(session, Position(DEFINITION, position.log_index, parts))
        await settle(session, done, later, at=now)


def _frozen(before: Position) -> dict[Part, PartState]:
    """Keep what was told by another definition as it was told: the difference to it could be of one borrower."""
    return {
        part: PartState(FROZEN, complete=True)
        for part, state in before.parts.items()
        if state.told_seq and part[0] in PROTECTED
    }


async def hold_counting(session: WriteSession) -> bool:
    """Take the lock of whoever counts or tells, until this transaction ends; whether it was free."""
    return bool((await session.execute(select(func.pg_try_advisory_xact_lock(COUNTING_LOCK)))).scalar_one())
