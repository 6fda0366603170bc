"""Warns of members' last keys that end soon: a line each day, until there is a later one."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from creditshare.clock import Clock
from creditshare.errors import Unavailable
from creditshare.ids import spell
from creditshare.members.keys import ending_keys
from creditshare.storage.engine import Database

log = structlog.get_logger()

EVERY_S: Final = 86_400.0
AGAIN_S: Final = 60.0


class KeyWatch:
    """Looks once a day, under the service's own role, until cancelled."""

    def __init__(self, database: Database, *, days: Sequence[int], clock: Clock) -> None:
        self._database = database
        self._days = days
        self._clock = clock

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except Unavailable:
                log.warning("the watch of keys waits for the database")
                await asyncio.sleep(AGAIN_S)
                continue
            except Exception:
                log.exception("the watch of keys failed")
            await asyncio.sleep(EVERY_S)

    async def look(self) -> int:
        """Warn of each member whose last key ends soon; return how many there are."""
        async with self._database.reading() as session:
            ending = await ending_keys(session, days=self._days, now=self._clock.now())
        last = [key for key in ending if key.last]
        for key in last:
            member = spell("mem", key.member_id)
            log.warning("a member's last key ends soon", member_id=member, kind=f"within {key.within_days} days")
        return len(last)
