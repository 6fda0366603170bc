"""Advancing business time and reading it. Advancing is an event like any other act."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from creditshare.audit.service import Entry, Recorded
from creditshare.errors import Refused
from creditshare.sandbox.models import MOST_AHEAD_S, business_clock
from creditshare.storage.engine import ReadSession, WriteSession

SECONDS_PER_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class BusinessTime:
    """What the rules take for now, and how far that runs ahead of the database's clock."""

    now: datetime
    ahead: timedelta


async def business_time(session: ReadSession) -> BusinessTime:
    """Return the business time of this transaction."""
    row = (await session.execute(select(func.creditshare_now().label("now"), business_clock.c.ahead_s))).one()
    return BusinessTime(row.now.astimezone(UTC), timedelta(seconds=row.ahead_s))


async def advance(session: WriteSession, *, days: int) -> Recorded[BusinessTime]:
    """Move business time forward by whole days, for every worker at once, when the transaction commits.

    ``state_conflict`` beyond a hundred years. There is no way back.
    """
    moved = await session.execute(
        business_clock.update()
        .where(business_clock.c.ahead_s <= MOST_AHEAD_S - days * SECONDS_PER_DAY)
        .values(ahead_s=business_clock.c.ahead_s + days * SECONDS_PER_DAY)
        .returning(business_clock.c.ahead_s)
    )
    if moved.first() is None:
        raise Refused("state_conflict", extra={"hint": "business time cannot run ahead further; begin a new sandbox"})
    return Recorded(await business_time(session), Entry("advance_clock", details={"days": days}))
