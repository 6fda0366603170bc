"""The sealed rows of warrants: checked where they are read, sealed anew where they change (decision 12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, select

from creditshare.crypto.rowseals import RowSeals
from creditshare.errors import IntegrityError
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.storage.paging import page_of
from creditshare.warrants.models import warrant, warrant_lookup
from creditshare.warrants.rules import Warrant

TABLE: Final = "warrant"


@dataclass(frozen=True, slots=True)
class WarrantRows:
    """Reads and writes warrants with their seals."""

    seals: RowSeals

    def holds(self, row: Mapping[Any, Any]) -> bool:
        """Whether a row is as the service wrote it."""
        return self.seals.holds(TABLE, _decisive(row), bytes(row["seal"]))

    def _checked(self, row: RowMapping | None) -> RowMapping | None:
        if row is not None and not self.holds(row):
            raise IntegrityError("a warrant does not match its seal")
        return row

    async def find(self, session: ReadSession, warrant_id: UUID) -> RowMapping | None:
        """Return a checked row; in a writing session nobody changes it before that ends, so no end is missed."""
        found = _named(warrant_id)
        if isinstance(session, WriteSession):
            found = found.with_for_update(read=True, of=warrant)
        return self._checked((await session.execute(found)).mappings().one_or_none())

    async def lock(self, session: WriteSession, warrant_id: UUID) -> RowMapping | None:
        """Return a checked row, locked until the end of the transaction."""
        locked = _named(warrant_id).with_for_update(of=warrant)
        return self._checked((await session.execute(locked)).mappings().one_or_none())

    async def listed(
        self, session: ReadSession, *, regulator_id: UUID | None, before: UUID | None, limit: int
    ) -> list[RowMapping]:
        """Return checked rows, newest first, of one regulator or of all."""
        found = select(warrant).order_by(warrant.c.warrant_id.desc()).limit(limit)
        if regulator_id is not None:
            found = found.where(warrant.c.regulator_id == regulator_id)
        if before is not None:
            found = found.where(warrant.c.warrant_id < before)
        return [row for row in (await session.execute(found)).mappings() if self._checked(row)]

    async def about(self, session: ReadSession, subject_id: UUID) -> list[RowMapping]:
        """Return the checked rows about a borrower, oldest first."""
        found = select(warrant).where(warrant.c.subject_id == subject_id).order_by(warrant.c.warrant_id)
        return [row for row in (await session.execute(found)).mappings() if self._checked(row)]

    async def lock_live(self, session: WriteSession, regulator_id: UUID) -> list[RowMapping]:
        """Return a regulator's rows that wait or hold, locked; one that does not match its seal holds for nobody."""
        live = select(warrant).where(
            warrant.c.regulator_id == regulator_id, warrant.c.state.in_(("requested", "active"))
        )
        locked = live.order_by(warrant.c.warrant_id).with_for_update()
        return [row for row in (await session.execute(locked)).mappings() if self.holds(row)]

    async def waiting(self, session: ReadSession, regulator_id: UUID, *, now: datetime) -> int:
        """Return how many of a regulator's requests wait."""
        wait = select(func.count()).where(
            warrant.c.regulator_id == regulator_id, warrant.c.state == "requested", warrant.c.lapses_at > now
        )
        return int((await session.execute(wait)).scalar_one())

    async def add(self, session: WriteSession, made: Warrant, *, sealed: bytes) -> None:
        """Insert a warrant."""
        values = {
            "subject_id": made.subject_id,
            "warrant_id": made.warrant_id,
            "regulator_id": made.regulator_id,
            "state": made.state,
            "requested_at": made.requested_at,
            "lapses_at": made.lapses_at,
            "active_from": made.active_from,
            "ends_at": made.ends_at,
            "sealed": sealed,
        }
        await session.execute(warrant.insert().values({**values, "seal": self.seals.seal(TABLE, _decisive(values))}))
        await session.execute(warrant_lookup.insert().values(warrant_id=made.warrant_id, subject_id=made.subject_id))

    async def change(self, session: WriteSession, row: RowMapping, **changes: Any) -> RowMapping:
        """Write a row that was checked, with these changes, and return it as it is now."""
        self._checked(row)
        return await self._write(session, row, changes)

    async def _write(self, session: WriteSession, row: RowMapping, changes: Mapping[str, Any]) -> RowMapping:
        seal = self.seals.seal(TABLE, _decisive({**row, **changes}))
        named = (warrant.c.subject_id == row["subject_id"], warrant.c.warrant_id == row["warrant_id"])
        done = await session.execute(
            warrant.update().where(*named).values({**changes, "seal": seal}).returning(warrant)
        )
        changed = done.mappings().one()
        if bytes(changed["seal"]) != seal or not self.holds(changed):
            raise IntegrityError("a warrant was not written as it was to be")
        return changed

    async def broken(self, session: ReadSession) -> list[UUID]:
        """Return the warrants whose rows do not match their seals."""
        found = await session.execute(select(warrant))
        return [row["warrant_id"] for row in found.mappings() if not self.holds(row)]

    async def accept(self, session: WriteSession, warrant_id: UUID) -> None:
        """Seal a row as it stands, for an operator who looked at it."""
        locked = select(warrant).where(warrant.c.warrant_id == warrant_id).with_for_update()
        await self._write(session, (await session.execute(locked)).mappings().one(), {})


async def live_warrants(session: ReadSession, regulator_id: UUID, *, now: datetime) -> int:
    """Return how many of a regulator's warrants are in force."""
    live = select(func.count()).where(
        warrant.c.regulator_id == regulator_id, warrant.c.state == "active", warrant.c.ends_at > now
    )
    return int((await session.execute(live)).scalar_one())


async def ids_of_warrants(session: ReadSession, *, after: UUID | None, limit: int) -> list[tuple[UUID, UUID]]:
    """Return the next warrants in the order of their ids, each with its borrower."""
    ids = warrant_lookup.c
    return [tuple(row) for row in await page_of(session, ids.warrant_id, ids.subject_id, after=after, limit=limit)]


def warrant_of(row: RowMapping) -> Warrant:
    """Return a row as a value."""
    names = ("warrant_id", "subject_id", "regulator_id", "state", "requested_at", "lapses_at", "active_from", "ends_at")
    return Warrant(*(row[name] for name in names))


def _named(warrant_id: UUID) -> Select[Any]:
    return (
        select(warrant)
        .join(warrant_lookup, warrant_lookup.c.subject_id == warrant.c.subject_id)
        .where(warrant_lookup.c.warrant_id == warrant_id, warrant.c.warrant_id == warrant_id)
    )


def _decisive(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {column.name: row[column.name] for column in warrant.c if column.name != "seal"}
