"""Named statements over who waits to be counted, and as of when each was counted last.

Something that happened waits in ``report_due``, which the table of events fills by itself. That time alone changes what
a borrower adds (a record begins to be seen) stands in ``report_counted``, whose rows are summed up (``tally.py``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, true
from sqlalchemy.dialects.postgresql import insert

from creditshare.reports.models import report_counted, report_due
from creditshare.reports.tally import CountedRow, Tally
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.storage.rowsets import Columns, columns_of, rows_of

MOST_WAITING: Final = 1_000_000
AT_ONCE: Final = 20_000
"""Rows that are in memory together where all are walked through."""
WALK_TIMEOUT: Final = "600s"
"""For the one statement that looks at every event; it is made before a release and by whoever examines the database."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A borrower that waits to be counted: its events that put it there, and the row of when it was counted last."""

    subject_id: UUID
    events: tuple[int, ...]
    counted: CountedRow | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What comes of one that waited: its row from now on, if it has one, and until when its events are put off."""

    waited: Waiting
    counted: CountedRow | None
    put_off: datetime | None = None


async def waiting(session: ReadSession, *, now: datetime, limit: int) -> list[Waiting]:
    """Return the next borrowers that are due to be counted, for what happened or by time alone."""
    due, counted = report_due.c, report_counted.c
    happened = select(due.subject_id, due.due_at.label("at")).where(due.due_at <= now)
    by_time = select(counted.subject_id, counted.again_at.label("at")).where(counted.again_at <= now)
    either = (
        happened.order_by(due.due_at, due.subject_id)
        .limit(limit)
        .union_all(by_time.order_by(counted.again_at, counted.subject_id).limit(limit))
        .subquery()
    )
    borrowers = select(either.c.subject_id).group_by(either.c.subject_id).order_by(func.min(either.c.at)).limit(limit)
    chosen = borrowers.subquery()
    rows = await session.execute(
        select(
            chosen.c.subject_id,
            func.array_agg(due.event_no).filter(due.event_no.is_not(None)).label("events"),
            counted.version,
            counted.counted_at,
            counted.again_at,
        )
        .outerjoin_from(chosen, report_due, (due.subject_id == chosen.c.subject_id) & (due.due_at <= now))
        .outerjoin(report_counted, counted.subject_id == chosen.c.subject_id)
        .group_by(chosen.c.subject_id, counted.version, counted.counted_at, counted.again_at)
    )
    return [
        Waiting(
            row.subject_id,
            tuple(row.events or ()),
            None if row.version is None else CountedRow(row.subject_id, row.version, row.counted_at, row.again_at),
        )
        for row in rows
    ]


async def enqueue(session: WriteSession, subject_ids: Sequence[UUID], *, at: datetime) -> None:
    """Have borrowers counted again, whatever happened to them."""
    rows = [{"subject_id": one, "event_no": 0, "due_at": at} for one in subject_ids]
    await session.execute(insert(report_due).on_conflict_do_nothing(), rows)


async def still_waiting(session: ReadSession, *, now: datetime) -> int:
    """Return how many events and borrowers are due and not counted yet, up to ``MOST_WAITING``."""
    happened = select(report_due.c.subject_id).where(report_due.c.due_at <= now).limit(MOST_WAITING)
    by_time = select(report_counted.c.subject_id).where(report_counted.c.again_at <= now).limit(MOST_WAITING)
    either = happened.union_all(by_time).limit(MOST_WAITING).subquery()
    return int((await session.execute(select(func.count()).select_from(either))).scalar_one())


async def settle(session: WriteSession, settled: Sequence[Settled]) -> None:
    """Note that borrowers were counted, or are to be looked at later."""
    finished = [(one.waited.subject_id, no) for one in settled if one.put_off is None for no in one.waited.events]
    put_off = [
        (one.waited.subject_id, no, one.put_off)
        for one in settled
        if one.put_off is not None
        for no in one.waited.events
    ]
    await session.run(DONE, columns_of("d", _DUE, finished))
    if put_off:
        await session.run(PUT_OFF, columns_of("d", {**_DUE, "due_at": "timestamptz"}, put_off))
    rows = [
        (row.subject_id, row.version, row.counted_at, row.again_at)
        for one in settled
        if (row := one.counted) is not None and row != one.waited.counted
    ]
    await session.run(COUNTED, columns_of("s", _COUNTED, rows))


async def take_over(session: WriteSession) -> None:
    """Have those who wait for a later day alone wait in their rows too, where the queue of an older form kept them."""
    await session.run(TAKE_OVER, {})


async def sum_of_counted(session: ReadSession, tally: Tally) -> int:
    """Return the sum over all rows of when borrowers were counted last, walking through them page by page."""
    total, after = 0, None
    counted = report_counted.c
    while True:
        page = await session.execute(
            select(report_counted)
            .where(true() if after is None else counted.subject_id > after)
            .order_by(counted.subject_id)
            .limit(AT_ONCE)
        )
        rows = [CountedRow(row.subject_id, row.version, row.counted_at, row.again_at) for row in page]
        total = tally.moved(total, more=rows)
        if len(rows) < AT_ONCE:
            return total
        after = rows[-1].subject_id


async def forgotten(session: ReadSession, *, limit: int) -> list[UUID]:
    """Return live borrowers of whom an event is neither counted nor waits: somebody took them out of the queue."""
    await session.execute(select(func.set_config("statement_timeout", WALK_TIMEOUT, True)))  # noqa: FBT003  SQL's own argument, positional there
    found = await session.run(FORGOTTEN, {"most": limit})
    return list(found.scalars())


def rows_before(settled: Iterable[Settled]) -> list[CountedRow]:
    """Return the rows that are written over."""
    return [one.waited.counted for one in settled if one.waited.counted is not None and one.counted is not None]


def rows_after(settled: Iterable[Settled]) -> list[CountedRow]:
    """Return the rows that stand from now on."""
    return [one.counted for one in settled if one.counted is not None]


_DUE: Final[Columns] = {"subject_id": "uuid", "event_no": "integer"}
_COUNTED: Final[Columns] = {
    "subject_id": "uuid",
    "version": "bigint",
    "counted_at": "timestamptz",
    "again_at": "timestamptz",
}
DONE: Final = f"""
DELETE FROM report_due r USING {rows_of("d", _DUE)}
WHERE r.subject_id = d.subject_id AND r.event_no = d.event_no"""  # noqa: S608  names of ours
PUT_OFF: Final = f"""
UPDATE report_due r SET due_at = d.due_at FROM {rows_of("d", {**_DUE, "due_at": "timestamptz"})}
WHERE r.subject_id = d.subject_id AND r.event_no = d.event_no"""  # noqa: S608  names of ours
COUNTED: Final = f"""
INSERT INTO report_counted (subject_id, version, counted_at, again_at) SELECT * FROM {rows_of("s", _COUNTED)}
ON CONFLICT (subject_id) DO UPDATE
SET version = excluded.version, counted_at = excluded.counted_at, again_at = excluded.again_at"""  # noqa: S608  names of ours
TAKE_OVER: Final = """
UPDATE report_counted c SET again_at = d.at
FROM (SELECT subject_id, min(due_at) AS at FROM report_due WHERE due_at > 'epoch' GROUP BY subject_id) d
WHERE c.subject_id = d.subject_id AND c.again_at IS NULL"""
FORGOTTEN: Final = """
SELECT DISTINCT e.subject_id FROM record_event e JOIN subject s ON s.subject_id = e.subject_id AND s.state = 'live'
WHERE NOT EXISTS (SELECT FROM report_counted c WHERE c.subject_id = e.subject_id AND c.version >= e.version)
AND NOT EXISTS (SELECT FROM report_due d WHERE d.subject_id = e.subject_id)
LIMIT %(most)s"""
