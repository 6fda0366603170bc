"""The sealed rows of membership: each is checked where it is read for a decision and sealed anew where it changes.

A row whose seal does not hold is an ``IntegrityError``: somebody wrote it behind the service's back. It is never
sealed again by a change, so that no honest act makes a planted row good. ``accept`` alone does that, row by row, for an
operator who looked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, Table, select, text
from sqlalchemy.dialects.postgresql import insert

from creditshare.crypto.rowseals import NO_ROWS, RowSeals, accounted, added
from creditshare.errors import IntegrityError
from creditshare.members.models import enrolment, key_table_version, member, member_key
from creditshare.storage.engine import ReadSession, WriteSession

KEY_TABLE: Final = "key_table_version"
IDENTITY: Final[Mapping[str, str]] = {
    "member": "member_id",
    "member_key": "kid",
    "enrolment": "member_id",
}
UNSEALED: Final = frozenset({"seal", "changed_at_version", "created_at", "wrong_tries", "tries_since"})
"""Columns that decide nothing: the seal itself, what a trigger or the database fills in, a counter against guessing."""
LATER: Final = frozenset({"queries_per_day", "reports_per_day", "hand_back_jwk", "tier", "examination"})
"""Columns that came after the seals: they are sealed where they have a value, so that rows from before keep theirs."""
SUMMED: Final = ("member", "member_key")
TABLES: Final[Mapping[str, Table]] = {
    "member": member,
    "member_key": member_key,
    "enrolment": enrolment,
}


@dataclass(frozen=True, slots=True)
class Broken:
    """A row whose seal does not hold: its table and its identity as text."""

    table: str
    identity: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What the key table's rows were changed to since a version, in one snapshot with that version and the sum.

    ``total`` is None where the sum itself was written behind the service's back.
    """

    version: int
    sealed_sum: bytes
    total: bytes | None
    members: list[RowMapping]
    keys: list[RowMapping]


@dataclass(frozen=True, slots=True)
class SealedRows:
    """Reads and writes rows with their seals."""

    seals: RowSeals

    def holds(self, table: str, row: Mapping[Any, Any]) -> bool:
        """Whether a row is as the service wrote it."""
        return self.seals.holds(table, _decisive(table, row), bytes(row["seal"]))

    def checked(self, table: str, row: RowMapping) -> RowMapping:
        """Return a row that is as the service wrote it, or raise."""
        if not self.holds(table, row):
            raise IntegrityError(f"a row of {table} does not match its seal")
        return row

    def share(self, table: str, row: Mapping[Any, Any]) -> bytes:
        """Return what a row adds to the sum of the key table."""
        return self.seals.share(table, row[IDENTITY[table]], bytes(row["seal"]))

    async def find(self, session: ReadSession, table: str, identity: UUID | str) -> RowMapping | None:
        """Return a checked row by its identity."""
        rows = TABLES[table]
        found = await session.execute(select(rows).where(rows.c[IDENTITY[table]] == identity))
        row = found.mappings().one_or_none()
        return None if row is None else self.checked(table, row)

    async def lock(self, session: WriteSession, table: str, identity: UUID | str) -> RowMapping | None:
        """Return a checked row, locked until the end of the transaction."""
        rows = TABLES[table]
        found = await session.execute(select(rows).where(rows.c[IDENTITY[table]] == identity).with_for_update())
        row = found.mappings().one_or_none()
        return None if row is None else self.checked(table, row)

    async def add(self, session: WriteSession, table: str, values: Mapping[str, Any]) -> RowMapping | None:
        """Insert a row; None if its identity is taken."""
        whole = {column.name: values.get(column.name) for column in TABLES[table].c if column.name not in UNSEALED}
        if table in SUMMED:
            whole["revision"] = 1
        seal = self.seals.seal(table, _decisive(table, whole))
        done = await session.execute(
            insert(TABLES[table]).values({**whole, "seal": seal}).on_conflict_do_nothing().returning(TABLES[table])
        )
        row = done.mappings().one_or_none()
        if row is not None:
            self._written(table, row, seal)
            if table in SUMMED:
                await self._count(session, self.share(table, row))
        return row

    async def change(self, session: WriteSession, table: str, row: RowMapping, **changes: Any) -> RowMapping:
        """Write a row that was locked and checked, with these changes, and return it as it is now."""
        self.checked(table, row)
        rows, identity = TABLES[table], IDENTITY[table]
        if table in SUMMED:
            changes["revision"] = row["revision"] + 1
        seal = self.seals.seal(table, _decisive(table, {**row, **changes}))
        done = await session.execute(
            rows.update().where(rows.c[identity] == row[identity]).values({**changes, "seal": seal}).returning(rows)
        )
        changed = self._written(table, done.mappings().one(), seal)
        if table in SUMMED:
            await self._count(session, self.share(table, row), self.share(table, changed))
        return changed

    def _written(self, table: str, row: RowMapping, seal: bytes) -> RowMapping:
        """Return a row that is as it was to be written: no trigger of somebody else's made another of it."""
        if bytes(row["seal"]) != seal:
            raise IntegrityError(f"a row of {table} was not written as it was to be")
        return self.checked(table, row)

    async def _count(self, session: WriteSession, *shares: bytes) -> None:
        """Change the key table's sum. The rows' trigger holds the lock of its row already, until the commit."""
        found = await session.execute(select(key_table_version.c["sum"]).with_for_update())
        total = self.seals.open_sum(KEY_TABLE, bytes(found.scalar_one()))
        await session.execute(
            key_table_version.update().values(sum=self.seals.seal_sum(KEY_TABLE, added(total, *shares)))
        )

    async def changed_since(self, session: ReadSession, version: int) -> Changes:
        """Return all rows of members and keys that changed after a version. Must be the session's first statement."""
        await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        now = (await session.execute(select(key_table_version))).mappings().one()
        members = await session.execute(select(member).where(member.c.changed_at_version > version))
        keys = await session.execute(select(member_key).where(member_key.c.changed_at_version > version))
        try:
            total = self.seals.open_sum(KEY_TABLE, bytes(now["sum"]))
        except IntegrityError:
            total = None
        return Changes(now["version"], bytes(now["sum"]), total, list(members.mappings()), list(keys.mappings()))

    async def review(self, session: ReadSession) -> tuple[list[Broken], bool]:
        """Return every row whose seal does not hold, and whether the key table is whole beyond them."""
        changes = await self.changed_since(session, -1)
        broken: list[Broken] = []
        good, doubtful = NO_ROWS, []
        for table, rows in (("member", changes.members), ("member_key", changes.keys)):
            for row in rows:
                if self.holds(table, row):
                    good = added(good, self.share(table, row))
                else:
                    doubtful.append(self.share(table, row))
                    broken.append(Broken(table, str(row[IDENTITY[table]])))
        codes = (await session.execute(select(enrolment))).mappings()
        broken += [Broken("enrolment", str(row["member_id"])) for row in codes if not self.holds("enrolment", row)]
        return broken, changes.total is not None and accounted(changes.total, good, doubtful)

    async def accept(self, session: WriteSession, rows: Iterable[Broken]) -> int:
        """Seal named rows as they stand, and take the key table as it then stands for whole; return how many."""
        count = 0
        for one in rows:
            table, identity = TABLES[one.table], IDENTITY[one.table]
            kind = str if identity == "kid" else UUID
            found = await session.execute(
                select(table).where(table.c[identity] == kind(one.identity)).with_for_update()
            )
            row = found.mappings().one()
            changes = {"revision": row["revision"] + 1} if one.table in SUMMED else {}
            seal = self.seals.seal(one.table, _decisive(one.table, {**row, **changes}))
            await session.execute(
                table.update().where(table.c[identity] == row[identity]).values({**changes, "seal": seal})
            )
            count += 1
        return count

    async def take_for_whole(self, session: WriteSession) -> None:
        """Compute the key table's sum anew from its rows as they stand; rows whose seals do not hold stay broken."""
        await session.execute(select(key_table_version.c["sum"]).with_for_update())
        shares = []
        for table in SUMMED:
            rows = (await session.execute(select(TABLES[table]))).mappings()
            shares += [self.share(table, row) for row in rows if self.holds(table, row)]
        await session.execute(key_table_version.update().values(sum=self.seals.seal_sum(KEY_TABLE, added(*shares))))


def _decisive(table: str, row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the columns of a row that its seal covers."""
    names = (column.name for column in TABLES[table].c if column.name not in UNSEALED)
    return {name: row[name] for name in names if name not in LATER or row[name] is not None}
