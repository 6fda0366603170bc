"""The worker: runs the sequencer and the batches without pause, and every few seconds the chores. Several may run."""

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import Final

import structlog

from creditshare.access.service import forget_expired, take_tallies
from creditshare.audit.sequencer import Sequencer
from creditshare.audit.service import Actor, Audit, Entry, ExchangeDigests
from creditshare.batches.service import WOKEN_BY, Batches, forget_jobs
from creditshare.clock import Clock, SystemClock
from creditshare.errors import IntegrityError, Unavailable
from creditshare.ids import spell
from creditshare.jobs.anchors import Anchors
from creditshare.jobs.keywatch import KeyWatch
from creditshare.jobs.reports import ReportRuns
from creditshare.jobs.tiers import Tiers
from creditshare.jobs.witnesses import Witnesses
from creditshare.storage.engine import Database, WriteSession

log = structlog.get_logger()

CHORES_EVERY_S: Final = 5.0
PAUSE_AFTER_FAILURE_S: Final = 1.0
TALLIES_REST: Final = timedelta(seconds=70)
"""A minute's refusals are complete by then: processes hand over what they counted in memory every second."""


class Worker:
    """Sequences and cleans up until cancelled. A failure pauses it; it never ends by itself."""

    def __init__(
        self,
        *,
        database: Database,
        sequencer: Sequencer,
        audit: Audit,
        batches: Batches,
        poll_s: float,
        clock: Clock | None = None,
        witnesses: Witnesses | None = None,
        anchors: Anchors | None = None,
        reports: ReportRuns | None = None,
        key_watch: KeyWatch | None = None,
        tiers: Tiers | None = None,
    ) -> None:
        self._tiers = tiers
        self._key_watch = key_watch
        self._anchors = anchors
        self._reports = reports
        self._witnesses = witnesses
        self._database = database
        self._batches = batches
        self._sequencer = sequencer
        self._audit = audit
        self._poll_s = poll_s
        self._clock = clock or SystemClock()
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Run all loops for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sequence())
            tasks.create_task(self._do_chores())
            tasks.create_task(self._database.listen(WOKEN_BY, self._woken))
            tasks.create_task(self._load_batches())
            if self._witnesses is not None:
                tasks.create_task(self._witnesses.run())
            if self._anchors is not None:
                tasks.create_task(self._anchors.run())
            if self._reports is not None:
                tasks.create_task(self._reports.run())
            if self._tiers is not None:
                tasks.create_task(self._tiers.run())
            if self._key_watch is not None:
                tasks.create_task(self._key_watch.run())

    async def _sequence(self) -> None:
        while True:
            if self._witnesses is not None and not await self._witnesses.may_sign():
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)
                continue
            try:
                async with self._database.writing() as session:
                    done = await self._sequencer.integrate(session)
            except Unavailable:
                log.warning("sequencer waits for the database")
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)
                continue
            except IntegrityError as error:
                log.error("integrity", part="log", kind=str(error))  # noqa: TRY400  where it was found says nothing more
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)
                continue
            except Exception:
                # Nobody above could mend it, and a worker that ended would stop the log for good.
                log.exception("sequencer failed")
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)
                continue
            if not done.full:
                await asyncio.sleep(self._poll_s)

    async def _load_batches(self) -> None:
        while True:
            try:
                busy = await self._batches.step()
            except Unavailable:
                log.warning("batches wait for the database")
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)
                continue
            except Exception:
                log.exception("batches failed")
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)
                continue
            if not busy:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._poll_s)
                self._woken.clear()

    async def _do_chores(self) -> None:
        while True:
            try:
                async with self._database.writing() as session:
                    await flush_tallies(session, self._audit, now=self._clock.now())
                    await forget_expired(session)
                    await forget_jobs(session)
                    await session.commit()
            except Unavailable:
                log.warning("chores wait for the database")
            except Exception:
                log.exception("chores failed")
            await asyncio.sleep(CHORES_EVERY_S)


async def flush_tallies(session: WriteSession, audit: Audit, *, now: datetime) -> int:
    """Turn the counted refusals of past minutes into one event each; return how many."""
    tallies = await take_tallies(session, before=now - TALLIES_REST)
    for tally in tallies:
        entry = Entry("refusals", details={"count": tally.count, "minute": int(tally.minute.timestamp())})
        event = audit.compose(
            entry,
            actor=Actor(spell("mem", tally.member_id)),
            exchange=ExchangeDigests(),
            now=now,
            outcome=tally.code,
        )
        await audit.append(session, event)
    return len(tallies)
