"""Quotas of the day (UTC): how many questions and how many reports a member may send; exact over all processes.

A row of the database counts what of a member's day is leased. A process leases a small block by one statement and
spends it in memory, so that a question or a report costs no statement of its own. What a process leased and did not
spend when it ends is lost for the day; a block is small beside what is left, so that this never matters much.
Refused where the day has nothing left, and where the database does not answer: nobody asks uncounted (decision 14).

Not counted: corrections, withdrawals and later steps of a record, because a member must always be able to say what is
right. Evaluations have a budget of their own (``subjects/budgets.py``).
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

import structlog
from sqlalchemy import delete, func, select

from creditshare.access.models import daily_quota
from creditshare.errors import Refused, Unavailable
from creditshare.members.service import Member
from creditshare.storage.engine import Database, ReadSession, WriteSession, read_row

Counted = Literal["queries", "reports"]

BLOCK: Final = 64
"""Leased at once: a sixty-fourth of a statement for each question, a fraction of a second at a member's pace."""
PARTS: Final = 32
"""A lease is at most one of so many parts of what the day has left, so that no process holds what others lack."""
ASK_AGAIN_S: Final = 10.0
"""A day that has nothing left is asked for again after this time: a sandbox's clock may have been moved."""

LEASE: Final = """
WITH clock AS MATERIALIZED (SELECT creditshare_now() AT TIME ZONE 'UTC' AS at),
lease AS (
    INSERT INTO daily_quota AS d (member_id, counted, day, leased, newest)
    SELECT %(member_id)s, %(counted)s, at::date, size, size
    FROM clock,
         (SELECT greatest(%(count)s::int, least(%(block)s::int, %(per_day)s::int / %(parts)s::int)) AS size) first
    WHERE %(count)s::int <= %(per_day)s::int
    ON CONFLICT (member_id, counted, day) DO UPDATE SET
        newest = greatest(%(count)s::int, least(%(block)s::int, (%(per_day)s::int - d.leased) / %(parts)s::int)),
        leased = d.leased
               + greatest(%(count)s::int, least(%(block)s::int, (%(per_day)s::int - d.leased) / %(parts)s::int))
    WHERE d.leased + %(count)s::int <= %(per_day)s::int
    RETURNING leased, newest)
SELECT at::date AS day, date_trunc('day', at) + interval '1 day' - at AS ends_in, lease.newest,
       coalesce(lease.leased, before.leased, 0) AS leased
FROM clock
LEFT JOIN lease ON true
LEFT JOIN daily_quota before
    ON before.member_id = %(member_id)s AND before.counted = %(counted)s AND before.day = at::date"""
"""One row: the day, how long it lasts, what was leased now (NULL where ``count`` is more than is left), and in all."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DayStanding:
    """How a member's day stands, as far as this process knows: others may have leased since it last looked."""

    quota: int
    remaining: int
    ends_in_s: int


@dataclass(slots=True)
class Lease:
    """What one process holds of a member's day. Times are seconds of a monotonic clock and are passed in.

    ``leased`` is the day's sum over all processes and ``own`` this one's part of it, spent or not.
    """

    day: date | None = None
    ends_at: float = -math.inf
    held: int = 0
    leased: int = 0
    own: int = 0
    refused: int = 0
    refused_of: int = 0
    refused_until: float = -math.inf
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the database is asked, so that those who come meanwhile use the same block."""

    def spend(self, count: int, *, now: float) -> bool:
        """Spend what is held, if it is enough and of today."""
        if now >= self.ends_at or self.held < count:
            return False
        self.held -= count
        return True

    def lacks(self, count: int, *, now: float) -> int:
        """Return how much must be leased before ``count`` can be spent."""
        return count - self.held if now < self.ends_at else count

    def take_in(self, block: int, *, day: date, leased: int, ends_at: float) -> None:
        """Take in a block, or what the database says of a day that has none to give.

        ``Unavailable`` where the day's sum is less than this process itself leased of it: somebody put it back.
        """
        if day != self.day:
            self.day, self.held, self.own = day, 0, 0
        self.held += block
        self.own += block
        self.leased, self.ends_at = leased, ends_at
        if leased < self.own:
            self.held = 0
            log.error("integrity", part="daily_quota", kind="a day's count went back behind what was leased of it")
            raise Unavailable("the database's count of the day is not believed")

    def refuse(self, count: int, *, per_day: int, now: float) -> None:
        """Remember that so many were more than was left, so that asking again costs nothing for a while."""
        self.refused, self.refused_of, self.refused_until = count, per_day, min(now + ASK_AGAIN_S, self.ends_at)

    def known_refused(self, count: int, *, per_day: int, now: float) -> bool:
        """Whether as few were refused lately of the same quota."""
        return now < self.refused_until and self.refused_of == per_day and count >= self.refused

    def standing(self, per_day: int, *, now: float) -> DayStanding | None:
        """Return how the day stands; None where nothing is known of today."""
        if now >= self.ends_at:
            return None
        remaining = self.held + max(0, per_day - self.leased)
        return DayStanding(per_day, min(remaining, per_day), math.ceil(self.ends_at - now))


class Quotas:
    """Counts questions and reports against their members' days. One per process."""

    def __init__(
        self,
        database: Database,
        *,
        defaults: Mapping[Counted, int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._defaults = dict(defaults)
        self._monotonic = monotonic
        self._leases: dict[tuple[UUID, Counted], Lease] = {}

    def per_day(self, member: Member, counted: Counted) -> int:
        """Return a member's quota: what two operators agreed on, or the service's default."""
        agreed = member.queries_per_day if counted == "queries" else member.reports_per_day
        return self._defaults[counted] if agreed is None else agreed

    async def spend(self, member: Member, counted: Counted, count: int = 1) -> None:
        """Count questions or reports, all or none; ``quota_exhausted`` where they are more than the day has left.

        ``Unavailable`` where the database had to be asked and did not answer, or what it said is not believed.
        """
        lease = self._leases.get((member.member_id, counted))
        if lease is None:
            lease = self._leases[member.member_id, counted] = Lease()
        if lease.spend(count, now=self._monotonic()):
            return
        per_day = self.per_day(member, counted)
        if count > per_day:
            raise Refused("quota_exhausted", extra={"hint": "this is more than a whole day's quota: send it in parts"})
        async with lease.lock:
            while not lease.spend(count, now=self._monotonic()):  # again where the day changed in between
                await self._lease(lease, member.member_id, counted, count, per_day)

    def standing(self, member: Member, counted: Counted) -> DayStanding | None:
        """Return how a member's day stands as far as this process knows, without asking anybody."""
        lease = self._leases.get((member.member_id, counted))
        return None if lease is None else lease.standing(self.per_day(member, counted), now=self._monotonic())

    async def used_by(
        self, session: ReadSession, members: Collection[UUID], *, now: datetime
    ) -> dict[tuple[UUID, Counted], int]:
        """Return what of members' days is used, or leased by a process other than this."""
        found = await session.execute(
            select(daily_quota.c.member_id, daily_quota.c.counted, daily_quota.c.leased).where(
                daily_quota.c.member_id.in_(members), daily_quota.c.day == now.date()
            )
        )
        return {
            (row.member_id, row.counted): row.leased - self._held(row.member_id, row.counted, now.date())
            for row in found
        }

    def _held(self, member_id: UUID, counted: Counted, day: date) -> int:
        lease = self._leases.get((member_id, counted))
        return lease.held if lease is not None and lease.day == day else 0

    async def _lease(self, lease: Lease, member_id: UUID, counted: Counted, count: int, per_day: int) -> None:
        now = self._monotonic()
        lacking = lease.lacks(count, now=now)
        if lease.known_refused(lacking, per_day=per_day, now=now):
            raise _used_up(lease.ends_at - now)
        asked: dict[str, object] = {"member_id": member_id, "counted": counted, "count": lacking, "per_day": per_day}
        asked |= {"block": BLOCK, "parts": PARTS}
        async with self._database.raw() as connection:
            row = await read_row(connection, LEASE, asked)
        if row is None:
            raise Unavailable("the database told nothing of the day")
        now = self._monotonic()
        ends_at = now + row["ends_in"].total_seconds()
        lease.take_in(row["newest"] or 0, day=row["day"], leased=row["leased"], ends_at=ends_at)
        if row["newest"] is None:
            lease.refuse(lacking, per_day=per_day, now=now)
            raise _used_up(ends_at - now)


async def forget_days(session: WriteSession) -> None:
    """Delete the counts of days that are over."""
    await session.execute(delete(daily_quota).where(daily_quota.c.day < func.current_date()))


def _used_up(seconds: float) -> Refused:
    return Refused("quota_exhausted", retry_after=max(1, math.ceil(seconds)))
