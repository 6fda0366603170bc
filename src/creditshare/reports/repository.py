"""Named statements over the reports' tables, for the worker: what waits, sealed cells, what was told."""

import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from creditshare.crypto.sealing import Box, Place
from creditshare.reports.cells import Cells, Part, added, read, spelled
from creditshare.reports.models import (
    report_cells,
    report_counted,
    report_due,
    report_position,
)
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.wire.strict_json import canonical

COUNTING_LOCK: Final = 0x7265_706F_7274
MOST_WAITING: Final = 1_000_000
GROWTH: Final = 2
"""Differences are put together with those before them while these are not so many times more: each is then written
anew a number of times that grows with the logarithm of all of them."""


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
        parts = {_part(name): PartState(*state) for name, state in kept.items()}
        return Position(row.definition, row.log_index, parts)

    async def move(self, session: WriteSession, position: Position) -> None:
        """Write how far the counting is."""
        kept = canonical({"|".join(part): [s.told_seq, s.complete] for part, s in position.parts.items()})
        values = {
            "single": True,
            "definition": position.definition,
            "log_index": position.log_index,
            "parts": self._box.seal(_POSITION, kept),
        }
        await session.execute(
            insert(report_position).values(values).on_conflict_do_update(index_elements=["single"], set_=values)
        )

    async def add(self, session: WriteSession, part: Part, cells: Cells) -> None:
        """Add differences to a part's cells, together with those before them that are not much more."""
        name = self._name(part)
        rows = await session.execute(
            select(report_cells.c.seq, report_cells.c.cells)
            .where(report_cells.c.part == name)
            .order_by(report_cells.c.seq.desc())
        )
        last, merged = 0, list[int]()
        size = len(cells)
        for row in rows:
            last = last or row.seq
            if row.cells > GROWTH * size:
                break
            merged.append(row.seq)
            size += row.cells
        if merged:
            earlier = await self._read(session, name, merged)
            await session.execute(
                delete(report_cells).where(report_cells.c.part == name, report_cells.c.seq.in_(merged))
            )
            cells = added([*earlier, cells])
        # Also where nothing is left: a place that was told at is never that of anything else.
        await self._write(session, name, last + 1, cells)

    async def load(self, session: ReadSession, part: Part) -> Cells:
        """Return all cells of a part as they stand."""
        return added(await self._read(session, self._name(part), None))

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
        await self._write(session, name, (last or 0) + 1, cells)
        return (last or 0) + 1

    async def clear(self, session: WriteSession) -> None:
        """Forget all cells, to count anew."""
        await session.execute(delete(report_cells))
        await session.execute(delete(report_counted))

    async def _read(self, session: ReadSession, name: bytes, seqs: Collection[int] | None) -> list[Cells]:
        query = select(report_cells.c.seq, report_cells.c.sealed).where(report_cells.c.part == name)
        if seqs is not None:
            query = query.where(report_cells.c.seq.in_(seqs))
        rows = (await session.execute(query)).all()
        return [read(self._box.open(_place(name, row.seq), bytes(row.sealed))) for row in rows]

    async def _write(self, session: WriteSession, name: bytes, seq: int, cells: Cells) -> None:
        sealed = self._box.seal(_place(name, seq), spelled(cells))
        await session.execute(report_cells.insert().values(part=name, seq=seq, cells=len(cells), sealed=sealed))

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
    if finished:
        await session.execute(
            delete(report_due).where(tuple_(report_due.c.subject_id, report_due.c.event_no).in_(finished))
        )
    for one, _ in done:
        if one.subject_id in later:
            await session.execute(
                report_due.update()
                .where(report_due.c.subject_id == one.subject_id, report_due.c.event_no.in_(one.events))
                .values(due_at=later[one.subject_id])
            )
    counted = [{"subject_id": one.subject_id, "version": version, "counted_at": at} for one, version in done if version]
    if counted:
        rows = insert(report_counted).values(counted)
        await session.execute(
            rows.on_conflict_do_update(
                index_elements=["subject_id"],
                set_={"version": rows.excluded.version, "counted_at": rows.excluded.counted_at},
            )
        )


_POSITION: Final = Place("report_position", "parts", b"")


def _place(name: bytes, seq: int) -> Place:
    return Place("report_cells", "sealed", name + seq.to_bytes(4, "big"))


def _part(name: str) -> Part:
    family, _, rest = name.partition("|")
    return family, rest
