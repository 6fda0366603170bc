"""Named statements over the reports' tables, for the worker: what waits, sealed cells, what was told."""

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from creditshare.crypto.sealing import Box, Place
from creditshare.errors import IntegrityError
from creditshare.reports.cells import Cells, Part, added, read, size_of, spelled
from creditshare.reports.models import (
    report_cells,
    report_counted,
    report_due,
    report_position,
)
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.storage.rowsets import Columns, columns_of, rows_of
from creditshare.wire.strict_json import canonical

COUNTING_LOCK: Final = 0x7265_706F_7274
MOST_WAITING: Final = 1_000_000
GROWTH: Final = 2
"""Differences are put together with those before them while these are not so many times more: each is then written
anew a number of times that grows with the logarithm of all of them."""


FROZEN: Final = -1
"""The place of a part that was told by another definition: who changed it since is not known, so it stays as told."""


@dataclass(frozen=True, slots=True)
class PartState:
    """Where a part's cells stood when something of it was told last, 0 for never; and whether all of it was told."""

    told_seq: int = 0
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """How far the counting is: the definition counted by, the log's next index, and every part that there is."""

    definition: int
    log_index: int
    parts: Mapping[Part, PartState]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A borrower that waits to be counted: its events that put it there, and what was counted of it last."""

    subject_id: UUID
    events: tuple[int, ...]
    version: int | None
    counted_at: datetime | None


class CellStore:
    """Sealed differences, summed up as they are read. ``name_key`` hides which part a row is of."""

    def __init__(self, box: Box, name_key: bytes) -> None:
        self._box = box
        self._name_key = name_key

    async def position(self, session: ReadSession) -> Position | None:
        """Return how far the counting is; nothing before it ever began."""
        row = (await session.execute(select(report_position))).one_or_none()
        if row is None:
            return None
        kept = json.loads(self._box.open(_POSITION, bytes(row.parts)))
        if kept["definition"] != row.definition or kept["log_index"] != row.log_index:
            raise IntegrityError("the position of the reports does not match its seal")
        parts = {_part(name): PartState(*state) for name, state in kept["parts"].items()}
        return Position(row.definition, row.log_index, parts)

    async def move(self, session: WriteSession, position: Position) -> None:
        """Write how far the counting is."""
        kept = canonical(
            {
                "definition": position.definition,
                "log_index": position.log_index,
                "parts": {"|".join(part): [s.told_seq, s.complete] for part, s in position.parts.items()},
            }
        )
        values = {
            "single": True,
            "definition": position.definition,
            "log_index": position.log_index,
            "parts": self._box.seal(_POSITION, kept),
        }
        await session.execute(
            insert(report_position).values(values).on_conflict_do_update(index_elements=["single"], set_=values)
        )

    async def add(self, session: WriteSession, changes: Mapping[Part, Cells]) -> None:
        """Add differences to parts' cells, each together with those before it that are not much more."""
        names = {self._name(part): cells for part, cells in changes.items()}
        listed = await session.execute(
            select(report_cells.c.part, report_cells.c.seq, report_cells.c.size)
            .where(report_cells.c.part.in_(names))
            .order_by(report_cells.c.part, report_cells.c.seq.desc())
        )
        last: dict[bytes, int] = {}
        sizes = {name: size_of(cells) for name, cells in names.items()}
        merged: list[tuple[bytes, int]] = []
        settled: set[bytes] = set()
        for row in listed:
            name = bytes(row.part)
            last.setdefault(name, row.seq)
            if row.size > GROWTH * sizes[name]:
                settled.add(name)
            if name not in settled:
                merged.append((name, row.seq))
                sizes[name] += row.size
        earlier = await self._taken(session, merged)
        rows = []
        for name, cells in names.items():
            # Also where nothing is left: a place that was told at is never that of anything else.
            seq, total = last.get(name, 0) + 1, added([*earlier.get(name, ()), cells])
            rows.append((name, seq, size_of(total), self._box.seal(_place(name, seq), spelled(total))))
        await session.run(WRITE, columns_of("c", _CELLS, rows))

    async def _taken(self, session: WriteSession, places: Sequence[tuple[bytes, int]]) -> dict[bytes, list[Cells]]:
        """Take rows out of their places; return what they hold, by part."""
        taken: dict[bytes, list[Cells]] = {}
        if places:
            rows = await session.run(TAKE, columns_of("p", _PLACES, places))
            for row in rows.mappings():
                name = bytes(row["part"])
                taken.setdefault(name, []).append(read(self._box.open(_place(name, row["seq"]), bytes(row["sealed"]))))
        return taken

    async def load(self, session: ReadSession, part: Part) -> Cells:
        """Return all cells of a part as they stand."""
        name = self._name(part)
        rows = await session.execute(
            select(report_cells.c.seq, report_cells.c.sealed).where(report_cells.c.part == name)
        )
        return added([read(self._box.open(_place(name, row.seq), bytes(row.sealed))) for row in rows])

    async def is_at(self, session: ReadSession, part: Part, seq: int) -> bool:
        """Whether nothing was added to a part since it stood at a place."""
        rows = await session.execute(select(report_cells.c.seq).where(report_cells.c.part == self._name(part)))
        return list(rows.scalars()) == [seq]

    async def replace(self, session: WriteSession, part: Part, cells: Cells) -> int:
        """Write a part's cells as they stand in place of all its differences; return its place."""
        name = self._name(part)
        last = (
            await session.execute(select(func.max(report_cells.c.seq)).where(report_cells.c.part == name))
        ).scalar_one()
        await session.execute(delete(report_cells).where(report_cells.c.part == name))
        seq = (last or 0) + 1
        await session.run(
            WRITE,
            columns_of("c", _CELLS, [(name, seq, size_of(cells), self._box.seal(_place(name, seq), spelled(cells)))]),
        )
        return seq

    async def clear(self, session: WriteSession) -> None:
        """Forget all cells, to count anew."""
        await session.execute(delete(report_cells))
        await session.execute(delete(report_counted))

    def _name(self, part: Part) -> bytes:
        return hmac.digest(self._name_key, "|".join(part).encode(), "sha256")[:16]


async def waiting(session: ReadSession, *, now: datetime, limit: int) -> list[Waiting]:
    """Return the next borrowers that are due to be counted."""
    due = (
        select(report_due.c.subject_id)
        .where(report_due.c.due_at <= now)
        .order_by(report_due.c.due_at, report_due.c.subject_id)
        .limit(limit)
        .subquery()
    )
    rows = await session.execute(
        select(
            report_due.c.subject_id,
            func.array_agg(report_due.c.event_no).label("events"),
            report_counted.c.version,
            report_counted.c.counted_at,
        )
        .outerjoin_from(report_due, report_counted, report_counted.c.subject_id == report_due.c.subject_id)
        .where(report_due.c.subject_id.in_(select(due.c.subject_id)), report_due.c.due_at <= now)
        .group_by(report_due.c.subject_id, report_counted.c.version, report_counted.c.counted_at)
    )
    return [Waiting(row.subject_id, tuple(row.events), row.version, row.counted_at) for row in rows]


async def enqueue(session: WriteSession, subject_ids: Sequence[UUID], *, at: datetime) -> None:
    """Have borrowers counted again, whatever happened to them."""
    rows = [{"subject_id": one, "event_no": 0, "due_at": at} for one in subject_ids]
    await session.execute(insert(report_due).on_conflict_do_nothing(), rows)


async def still_waiting(session: ReadSession, *, now: datetime) -> int:
    """Return how many events are due and not counted yet, up to ``MOST_WAITING``."""
    due = select(report_due.c.event_no).where(report_due.c.due_at <= now).limit(MOST_WAITING).subquery()
    return int((await session.execute(select(func.count()).select_from(due))).scalar_one())


async def settle(
    session: WriteSession,
    done: Sequence[tuple[Waiting, int]],
    later: Mapping[UUID, datetime],
    *,
    at: datetime,
) -> None:
    """Note that borrowers were counted, at these versions; ``later`` says when one is due again all the same."""
    finished = [(one.subject_id, event) for one, _ in done if one.subject_id not in later for event in one.events]
    await session.run(DONE, columns_of("d", _DUE, finished))
    put_off = [
        (one.subject_id, event, later[one.subject_id])
        for one, _ in done
        if one.subject_id in later
        for event in one.events
    ]
    if put_off:
        await session.run(PUT_OFF, columns_of("d", {**_DUE, "due_at": "timestamptz"}, put_off))
    counted = [(one.subject_id, version, at) for one, version in done if version]
    await session.run(COUNTED, columns_of("s", _COUNTED, counted))


_POSITION: Final = Place("report_position", "parts", b"")
_CELLS: Final[Columns] = {"part": "bytea", "seq": "integer", "size": "integer", "sealed": "bytea"}
_PLACES: Final[Columns] = {"part": "bytea", "seq": "integer"}
_DUE: Final[Columns] = {"subject_id": "uuid", "event_no": "integer"}
_COUNTED: Final[Columns] = {"subject_id": "uuid", "version": "bigint", "counted_at": "timestamptz"}
WRITE: Final = f"INSERT INTO report_cells (part, seq, size, sealed) SELECT * FROM {rows_of('c', _CELLS)}"  # noqa: S608  names of ours
TAKE: Final = f"""
DELETE FROM report_cells r USING {rows_of("p", _PLACES)} WHERE r.part = p.part AND r.seq = p.seq
RETURNING r.part, r.seq, r.sealed"""  # noqa: S608  names of ours
DONE: Final = f"""
DELETE FROM report_due r USING {rows_of("d", _DUE)}
WHERE r.subject_id = d.subject_id AND r.event_no = d.event_no"""  # noqa: S608  names of ours
PUT_OFF: Final = f"""
UPDATE report_due r SET due_at = d.due_at FROM {rows_of("d", {**_DUE, "due_at": "timestamptz"})}
WHERE r.subject_id = d.subject_id AND r.event_no = d.event_no"""  # noqa: S608  names of ours
COUNTED: Final = f"""
INSERT INTO report_counted (subject_id, version, counted_at) SELECT * FROM {rows_of("s", _COUNTED)}
ON CONFLICT (subject_id) DO UPDATE SET version = excluded.version, counted_at = excluded.counted_at"""  # noqa: S608  names of ours


def _place(name: bytes, seq: int) -> Place:
    return Place("report_cells", "sealed", name + seq.to_bytes(4, "big"))


def _part(name: str) -> Part:
    family, _, rest = name.partition("|")
    return family, rest
