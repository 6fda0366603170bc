"""Counting borrowers into cells: a step takes the next ones that wait, in time proportional to them.

One process counts at a time, by a lock that its transaction holds. What a borrower added when it was counted last is
worked out again from its history, which only grows; so no copy of it is kept that an erasure would have to find. A
record that was erased since is not seen then or now: what it added stays in the counts, without anything that names it
(decision 30).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import func, select

from creditshare.errors import IntegrityError
from creditshare.records.opening import OpenedBorrower, open_borrowers
from creditshare.reports.cells import Cells, Part, Share, add_difference
from creditshare.reports.repository import COUNTING_LOCK, FORM, FROZEN, CellStore, PartState, Position
from creditshare.reports.tables import PROTECTED
from creditshare.reports.tally import CountedRow, Tally
from creditshare.reports.told import ToldStore, anything_told
from creditshare.reports.views import DEFINITION, next_change, share_of
from creditshare.reports.waiting import (
    Settled,
    Waiting,
    enqueue,
    rows_after,
    rows_before,
    settle,
    sum_of_counted,
    take_over,
    waiting,
)
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

    def __init__(
        self,
        *,
        database: Database,
        reading: Database,
        subjects: Subjects,
        store: CellStore,
        told: ToldStore,
        tally: Tally,
    ) -> None:
        self._database = database
        self._reading = reading
        self._subjects = subjects
        self._store = store
        self._told = told
        self._tally = tally

    async def step(self) -> bool:
        """Count the next borrowers that wait; return whether more may. Does nothing where another process counts."""
        async with self._database.writing() as session:
            if not await hold_counting(session):
                return False
            position = await self._store.position(session)
            if position is None or not counts_on(position):
                await self._store.move(session, await self._begun(session, position))
                await session.commit()
                return True
            now = (await business_time(session)).now
            due = await waiting(session, now=now, limit=AT_ONCE)
            if due:
                async with self._reading.reading() as reading:
                    opened = await open_borrowers(reading, self._subjects, [one.subject_id for one in due])
                await self._store.move(session, await self._counted(session, position, due, opened, now=now))
                await session.commit()
            return bool(due)

    async def _begun(self, session: WriteSession, before: Position | None) -> Position:
        """Return the position to count on from: a new one, one of an older form taken over, or one to count anew."""
        if before is None:
            if await anything_told(session):
                raise IntegrityError("the position of the reports is gone, and something was told")
            return Position(DEFINITION, 0)
        if before.definition == DEFINITION:
            return await self._taken_over(session, before)
        log.warning("reports are counted anew", definition=DEFINITION, before=before.definition)
        await self._store.clear(session)
        now, last = (await business_time(session)).now, None
        while ids := await ids_of_subjects(session, after=last, limit=ANEW_AT_ONCE):
            await enqueue(session, ids, at=now)
            last = ids[-1]
        return Position(DEFINITION, 0, _frozen(before), seq=before.seq, release=before.release)

    async def _taken_over(self, session: WriteSession, before: Position) -> Position:
        """Return a position of the older form with all that there is for what must be there. That is done once.

        An older one that is put back later is none: a release that lists its documents was made by a newer one.
        """
        last = await self._told.last_release(session)
        if last is not None and last.manifest is not None:
            raise IntegrityError("the position of the reports is older than their newest release")
        await take_over(session)
        found = await self._store.as_found(session, before)
        log.warning("reports are kept in a newer form", parts=len(found.parts))
        return replace(
            found,
            counted=await sum_of_counted(session, self._tally),
            release=0 if last is None else last.release,
        )

    async def _counted(
        self,
        session: WriteSession,
        position: Position,
        due: list[Waiting],
        opened: Mapping[UUID, OpenedBorrower | IntegrityError],
        *,
        now: datetime,
    ) -> Position:
        """Count borrowers, and return the position that has them."""
        changes: dict[Part, Cells] = {}
        settled = [self._settled(one, opened.get(one.subject_id), changes, now=now) for one in due]
        for part, cells in changes.items():
            if not position.of(part).told_seq:  # of what nobody was told yet, nobody can tell more
                for cell in cells.values():
                    cell.forget_changes()
        position = await self._store.add(session, position, changes)
        await settle(session, settled)
        counted = self._tally.moved(position.counted, less=rows_before(settled), more=rows_after(settled))
        return replace(position, counted=counted)

    def _settled(
        self,
        one: Waiting,
        borrower: OpenedBorrower | IntegrityError | None,
        changes: dict[Part, Cells],
        *,
        now: datetime,
    ) -> Settled:
        """Add a borrower's change to ``changes``, and return what is noted of it."""
        before = one.counted
        if isinstance(borrower, IntegrityError):
            log.error("integrity", part="reports", kind=str(borrower))
            later = now + BROKEN_AGAIN
            by_time = before is not None and before.again_at is not None and before.again_at <= now
            return Settled(one, replace(before, again_at=later) if before and by_time else before, put_off=later)
        if borrower is None:  # erased: what it added stays, and there is nothing to add
            return Settled(one, None if before is None else replace(before, again_at=None))
        earlier: Share = {}
        if before is not None:
            earlier = share_of(borrower.histories, version=before.version, at=before.counted_at)
        after = share_of(borrower.histories, version=None, at=now)
        add_difference(changes, earlier, after, who=one.subject_id.hex[-WHO_DIGITS:])
        again = next_change(borrower.histories, now)
        return Settled(one, CountedRow(one.subject_id, borrower.version, now, again))


def counts_on(position: Position) -> bool:
    """Whether a position is one to count on from: of this definition, and of this form."""
    return position.definition == DEFINITION and position.form == FORM


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
