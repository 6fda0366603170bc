"""What keeps the reports current: counts who changed, counts the log, and tells what may be told."""

import asyncio
from typing import Final

import structlog

from creditshare.errors import Unavailable
from creditshare.reports.activity import LogCounting
from creditshare.reports.counting import Counting
from creditshare.reports.releases import Releases
from creditshare.storage.engine import Database

log = structlog.get_logger()

STEPS: Final = 50
"""After so many busy steps it is looked whether a release is due all the same."""
PAUSE_AFTER_FAILURE_S: Final = 1.0
RUNS_LOCK: Final = 0x7265_706F_7275


class ReportRuns:
    """Counts and tells for ever. A failure pauses it; nothing of the service waits for it."""

    def __init__(
        self, *, database: Database, counting: Counting, log_counting: LogCounting, releases: Releases, every_s: float
    ) -> None:
        self._database = database
        self._counting = counting
        self._log_counting = log_counting
        self._releases = releases
        self._every_s = every_s
        self._steps = 0

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            try:
                busy = await self.step()
            except Unavailable:
                log.warning("reports wait for the database")
                busy, pause = False, PAUSE_AFTER_FAILURE_S
            except Exception:
                log.exception("reports failed")
                busy, pause = False, self._every_s
            else:
                pause = self._every_s
            if not busy:
                await asyncio.sleep(pause)

    async def step(self) -> bool:
        """Count the next that wait, and tell once nothing does; return whether more may wait.

        One process at a time does either, or what one works out to be told would be past by another's counting.
        """
        async with self._database.alone(RUNS_LOCK) as free:
            return await self._step() if free else False

    async def _step(self) -> bool:
        borrowers = await self._counting.step()
        events = await self._log_counting.step()
        self._steps += 1
        if (borrowers or events) and self._steps % STEPS:
            return True
        await self._releases.make_if_due()
        return borrowers or events
