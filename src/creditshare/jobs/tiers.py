"""Has the lenders' figures and tiers computed once a day."""

import asyncio
from typing import Final

import structlog

from creditshare.errors import Unavailable
from creditshare.reciprocity.service import Reciprocity
from creditshare.sandbox.service import business_time
from creditshare.storage.engine import Database

log = structlog.get_logger()

LOOK_EVERY_S: Final = 3_600.0
AGAIN_S: Final = 60.0


class Tiers:
    """Looks every hour for lenders whose figures are a day old, until cancelled."""

    def __init__(self, database: Database, reciprocity: Reciprocity) -> None:
        self._database = database
        self._reciprocity = reciprocity

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                done = await self.look()
            except Unavailable:
                log.warning("tiers wait for the database")
                await asyncio.sleep(AGAIN_S)
                continue
            except Exception:
                log.exception("tiers failed")
            else:
                if done:
                    log.info("tiers computed", count=done)
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> int:
        """Compute what is due by business time; return for how many lenders."""
        async with self._database.reading() as session:
            now = (await business_time(session)).now
        return await self._reciprocity.compute_due(now=now)
