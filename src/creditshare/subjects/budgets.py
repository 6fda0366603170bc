"""What a member has used of its evaluations: today; of all time, which bounds how many borrowers it may introduce; and
how many of them named nobody yet, which tells who guesses (``rules.py``).

A row bears a seal (``crypto/rowseals.py``). The counters of all time only grow, so a process also notices a row that
was taken away, or put back to an older state of its own behind what this process has seen.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import RowMapping, select
from sqlalchemy.dialects.postgresql import insert

from creditshare.crypto.rowseals import RowSeals
from creditshare.errors import IntegrityError, Refused
from creditshare.storage.engine import DriverConnection, ReadSession, WriteSession, read_row
from creditshare.subjects import rules
from creditshare.subjects.models import member_budget

TABLE: Final = "member_budget"
SECONDS_PER_DAY: Final = 86_400
LOCK_ROW: Final = "SELECT * FROM member_budget WHERE member_id = %(member_id)s FOR UPDATE"
COUNT_INTRODUCED: Final = """
UPDATE member_budget SET introduced = %(introduced)s, seal = %(seal)s WHERE member_id = %(member_id)s"""


Row = TypeVar("Row", bound=Mapping[Any, Any])


@dataclass(frozen=True, slots=True)
class Used:
    """How many evaluations a member has used today, and how many, of any day, named nobody yet."""

    today: int
    unnamed: int


NOTHING_USED: Final = Used(0, 0)


class Budgets:
    """Counts evaluations and introductions, all or none, under the lock of a member's row."""

    def __init__(self, seals: RowSeals) -> None:
        self._seals = seals
        self._seen: dict[UUID, tuple[int, int]] = {}

    async def used(self, session: ReadSession, member_id: UUID, *, now: datetime) -> Used:
        """Return what a member has used as of now."""
        return (await self.used_by(session, [member_id], now=now)).get(member_id, NOTHING_USED)

    async def used_by(self, session: ReadSession, members: Collection[UUID], *, now: datetime) -> dict[UUID, Used]:
        """Return what members have used as of now, leaving out who never used any; their day is UTC's."""
        found = await session.execute(select(member_budget).where(member_budget.c.member_id.in_(members)))
        return {row["member_id"]: _used(self._checked(row), now) for row in found.mappings()}

    async def spend(self, session: WriteSession, member_id: UUID, *, count: int, per_day: int, now: datetime) -> None:
        """Count evaluations, or refuse all of them as ``more`` does."""
        row = await self._lock(session, member_id, now=now)
        used = more(_used(row, now), count, per_day=per_day, now=now)
        await self._write(
            session,
            row,
            day=now.date(),
            evaluated_today=used.today,
            evaluated=row["evaluated"] + count,
            unnamed=used.unnamed,
        )

    async def introduce(self, session: WriteSession, member_id: UUID, *, count: int, now: datetime) -> None:
        """Count borrowers that a member names for the first time; never more than it had evaluations."""
        row = await self._lock(session, member_id, now=now)
        if row["introduced"] + count > row["evaluated"]:
            raise Refused("quota_exhausted")
        await self._write(session, row, introduced=row["introduced"] + count)

    async def introduce_at_once(self, connection: DriverConnection, member_id: UUID, *, count: int) -> None:
        """Count borrowers within the transaction of reports: two statements on the driver's connection."""
        row = await read_row(connection, LOCK_ROW, {"member_id": member_id})
        if row is None:
            self._require_unknown(member_id)
            raise Refused("quota_exhausted")
        row = dict(self._believed(row))
        row["introduced"] += count
        if row["introduced"] > row["evaluated"]:
            raise Refused("quota_exhausted")
        seal = self._seals.seal(TABLE, _decisive(row))
        changed = {"member_id": member_id, "introduced": row["introduced"], "seal": seal}
        await connection.execute(COUNT_INTRODUCED, changed)

    async def broken(self, session: ReadSession) -> list[UUID]:
        """Return the members whose rows do not match their seals."""
        rows = (await session.execute(select(member_budget))).mappings()
        return [row["member_id"] for row in rows if not self._seals.holds(TABLE, _decisive(row), bytes(row["seal"]))]

    async def accept(self, session: WriteSession, member_id: UUID) -> None:
        """Seal a row as it stands, for an operator who looked at it."""
        found = await session.execute(
            select(member_budget).where(member_budget.c.member_id == member_id).with_for_update()
        )
        await self._write(session, found.mappings().one())

    async def _lock(self, session: WriteSession, member_id: UUID, *, now: datetime) -> RowMapping:
        locked = select(member_budget).where(member_budget.c.member_id == member_id).with_for_update()
        row = (await session.execute(locked)).mappings().one_or_none()
        if row is None:
            self._require_unknown(member_id)
            fresh: dict[str, Any] = {
                "member_id": member_id,
                "day": now.date(),
                "evaluated_today": 0,
                "evaluated": 0,
                "introduced": 0,
                "unnamed": None,
            }
            seal = self._seals.seal(TABLE, _decisive(fresh))
            await session.execute(insert(member_budget).values({**fresh, "seal": seal}).on_conflict_do_nothing())
            row = (await session.execute(locked)).mappings().one()
        return self._believed(row)

    def _require_unknown(self, member_id: UUID) -> None:
        if member_id in self._seen:
            raise IntegrityError("a member's budget was taken away")

    def _believed(self, row: Row) -> Row:
        """Return a locked row if it bears its seal and does not lie behind what this process has seen."""
        self._checked(row)
        # Read under the lock, so nobody else in this process can have seen more meanwhile.
        member_id, counted = row["member_id"], (row["evaluated"], row["introduced"])
        known = self._seen.get(member_id, (0, 0))
        if counted[0] < known[0] or counted[1] < known[1]:
            raise IntegrityError("a member's budget went back behind what was used of it")
        if counted[0]:  # a row of this transaction alone may never be committed
            self._seen[member_id] = counted
        return row

    def _checked(self, row: Row) -> Row:
        if not self._seals.holds(TABLE, _decisive(row), bytes(row["seal"])):
            raise IntegrityError("a member's budget does not match its seal")
        return row

    async def _write(self, session: WriteSession, row: RowMapping, **changes: Any) -> None:
        seal = self._seals.seal(TABLE, _decisive({**row, **changes}))
        await session.execute(
            member_budget.update()
            .where(member_budget.c.member_id == row["member_id"])
            .values({**changes, "seal": seal})
        )


def used_up(now: datetime) -> Refused:
    """Return the refusal of a day that has nothing left, with the seconds until the next one."""
    return Refused("quota_exhausted", retry_after=SECONDS_PER_DAY - int(now.timestamp()) % SECONDS_PER_DAY)


def more(used: Used, count: int, *, per_day: int, now: datetime) -> Used:
    """Return what is used after ``count`` more evaluations.

    ``quota_exhausted`` where the day has fewer left, ``enumeration_suspected`` where too many would be for nobody.
    """
    today, unnamed = used.today + count, used.unnamed + count
    if today > per_day:
        raise used_up(now)
    if unnamed > rules.most_unnamed(per_day):
        raise Refused("enumeration_suspected")
    return Used(today, unnamed)


def _used(row: RowMapping, now: datetime) -> Used:
    unnamed = row["unnamed"] or 0
    if row["day"] == now.date():
        return Used(row["evaluated_today"], unnamed)
    return Used(0, rules.left_over(unnamed, named=row["introduced"]))


def _decisive(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the columns that the seal covers; ``unnamed``, which came later, where it has a value."""
    names = (column.name for column in member_budget.c if column.name != "seal")
    return {name: row[name] for name in names if name != "unnamed" or row[name] is not None}
