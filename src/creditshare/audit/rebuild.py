"""Rebuilds the log's root from its leaves alone: what a database must stand before it may be served after a restore.

Every leaf's hash is computed anew from the stored bytes, indexes have no gap, every full tile is as stored, and an
event is either in the tree or waits for it. Reads in chunks, so that memory stays flat. Left out: the signatures of
earlier checkpoints and the business rows behind the events.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from creditshare.audit.models import audit_event, audit_leaf, audit_pending, audit_tile
from creditshare.errors import IntegrityError
from creditshare.storage.engine import ReadSession
from creditshare.tlog.growth import Growth
from creditshare.tlog.merkle import leaf_hash
from creditshare.tlog.tiles import FullTile

CHUNK: Final = 8_192


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The tree as its leaves make it: its size, and its roots at that size and at those asked for."""

    size: int
    roots: Mapping[int, bytes]


async def rebuild(session: ReadSession, *, at: Collection[int] = ()) -> Rebuilt:
    """Return the log's size and roots; ``IntegrityError`` names the first thing that does not fit."""
    growth, tiles = Growth(at=at), 0
    async for hashes in _leaves(session):
        full = growth.add(hashes)
        await _compare_tiles(session, full)
        tiles += len(full)
    stored = int((await session.execute(select(func.count()).select_from(audit_tile))).scalar_one())
    if stored != tiles:
        raise IntegrityError(f"the log stores {stored} full tiles, but its leaves make {tiles}")
    await _require_no_stray(session)
    return Rebuilt(growth.size, {**growth.roots, growth.size: growth.root})


async def _leaves(session: ReadSession) -> AsyncIterator[list[bytes]]:
    start = 0
    while True:
        found = await session.execute(
            select(audit_leaf.c.idx, audit_leaf.c.leaf_hash, audit_event.c.leaf)
            .join(audit_event, audit_event.c.event_id == audit_leaf.c.event_id)
            .where(audit_leaf.c.idx >= start, audit_leaf.c.idx < start + CHUNK)
            .order_by(audit_leaf.c.idx)
        )
        rows = found.all()
        if [row.idx for row in rows] != list(range(start, start + len(rows))):
            raise IntegrityError(f"the log has a gap between leaf {start} and leaf {start + CHUNK}")
        if any(leaf_hash(row.leaf) != row.leaf_hash for row in rows):
            raise IntegrityError(f"a leaf between {start} and {start + CHUNK} is not what its hash says")
        if rows:
            yield [row.leaf_hash for row in rows]
        if len(rows) < CHUNK:
            break
        start += CHUNK
    last = (await session.execute(select(func.max(audit_leaf.c.idx)))).scalar()
    if (-1 if last is None else last) != start + len(rows) - 1:
        raise IntegrityError(f"the log has a gap after leaf {start + len(rows)}")


async def _compare_tiles(session: ReadSession, tiles: tuple[FullTile, ...]) -> None:
    for tile in tiles:
        stored = (
            await session.execute(
                select(audit_tile.c.hashes, audit_tile.c.root).where(
                    audit_tile.c.level == tile.level, audit_tile.c.n == tile.n
                )
            )
        ).first()
        if stored is None or (bytes(stored.hashes), bytes(stored.root)) != (tile.hashes, tile.root):
            raise IntegrityError(f"tile {tile.n} of level {tile.level} is not what the leaves make of it")


async def _require_no_stray(session: ReadSession) -> None:
    in_tree = select(audit_leaf.c.event_id).where(audit_leaf.c.event_id == audit_event.c.event_id).exists()
    waits = select(audit_pending.c.event_id).where(audit_pending.c.event_id == audit_event.c.event_id).exists()
    stray = select(func.count()).select_from(audit_event).where(~in_tree, ~waits)
    if (lost := int((await session.execute(stray)).scalar_one())) != 0:
        raise IntegrityError(f"{lost} events are neither in the log nor waiting for it")
