"""Rebuilds the log from its leaves alone and holds all that is stored of it against that.

Every leaf's hash is computed anew from the stored bytes, indexes have no gap, every full tile and every signed
checkpoint is of these leaves, and an event is either in the tree or waits for it. Reads in chunks, so that memory stays
flat. A restore ends at the first thing that does not fit; ``log fsck --database`` is told of all.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Never

from sqlalchemy import Row, func, select

from creditshare.audit.models import audit_checkpoint, audit_event, audit_leaf, audit_pending, audit_tile
from creditshare.errors import IntegrityError, Malformed, VerificationFailed
from creditshare.storage.engine import ReadSession
from creditshare.tlog.checkpoint import open_checkpoint
from creditshare.tlog.growth import Growth
from creditshare.tlog.merkle import HASH_SIZE, leaf_hash
from creditshare.tlog.note import Verifier
from creditshare.tlog.tiles import FullTile

CHUNK: Final = 8_192
MOST_NAMED: Final = 5
"""How many rows of one kind a problem names; how many more there are is counted."""


class Check(StrEnum):
    """What is held against what, by the names that a person reads."""

    SIGNATURES = "signatures of checkpoints"
    ENTRIES = "entries and their hashes"
    TILES = "tiles"
    NEWEST = "the newest checkpoint"
    EARLIER = "every earlier checkpoint"
    INDEXES = "indexes"
    EVENTS = "events and leaves"
    DELAY = "the merge delay"
    ROWS = "business rows and events"
    OPENINGS = "openings"
    REPORTS = "reports"
    RECEIPTS = "receipts"
    HELD = "checkpoints that others hold"


Tell = Callable[[Check, str], None]
"""Told of each thing that does not fit, in words; it may raise."""

Progress = Callable[[int], None]
"""Told how many entries were read so far."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The tree as its leaves make it: its size, and its roots at that size and at those asked for."""

    size: int
    roots: Mapping[int, bytes]
    checkpoints: int


def _end(_check: Check, problem: str) -> Never:
    raise IntegrityError(problem)


async def rebuild(
    session: ReadSession,
    *,
    at: Collection[int] = (),
    verifier: Verifier | None = None,
    tell: Tell = _end,
    progress: Progress = lambda _read: None,
) -> Rebuilt:
    """Return the log's size and roots; ``tell`` hears what does not fit, and by default that is an ``IntegrityError``.

    With the log's ``verifier`` the signatures of its checkpoints are checked too. A gap ends the walk: behind it no
    leaf has the place that it was signed at.
    """
    walk = _Walk(session, at=at, verifier=verifier, tell=tell)
    await walk.leaves(progress)
    await walk.surplus_tiles()
    await walk.checkpoints_beyond()
    await walk.strays()
    growth = walk.growth
    return Rebuilt(growth.size, {**growth.roots, growth.size: growth.root}, walk.checkpoints)


class _Walk:
    def __init__(self, session: ReadSession, *, at: Collection[int], verifier: Verifier | None, tell: Tell) -> None:
        self._session = session
        self._verifier = verifier
        self._tell = tell
        self.growth = Growth(at=at)
        self._asked = {0, *at}
        self.checkpoints = 0
        self._tiles = 0
        self._agreed = 0  # the size of the last checkpoint that these leaves fit
        self._parted = False

    async def leaves(self, progress: Progress) -> None:
        await self._compare_checkpoints(-1, 0, self.growth.roots)
        while True:
            start = self.growth.size
            rows = await self._chunk(start)
            kept = _unbroken(rows, start)
            for row in kept:
                self._compare_entry(row)
            if kept:
                end = start + len(kept)
                sizes = await self._sizes(start, end)
                self.growth.want(sizes)
                full = self.growth.add([_hash(row) for row in kept])
                await self._compare_tiles(full)
                self._tiles += len(full)
                await self._compare_checkpoints(start, end, self.growth.roots)
                for size in {*sizes} - self._asked:
                    del self.growth.roots[size]
            progress(self.growth.size)
            if len(kept) < CHUNK:
                break
        idx = audit_leaf.c.idx
        ends = select(func.count().label("leaves"), func.min(idx).label("first"), func.max(idx).label("last"))
        found = (await self._session.execute(ends.select_from(audit_leaf))).one()
        if found.last is not None and found.last >= self.growth.size:
            self._tell(
                Check.INDEXES,
                f"leaf {self.growth.size} is missing, and leaves up to {found.last} follow: none of them was looked at",
            )
        elif found.leaves != self.growth.size or (found.first or 0) < 0:
            self._tell(
                Check.INDEXES,
                f"{found.leaves} leaves are there, and {self.growth.size} of them have an index of the log",
            )

    async def _chunk(self, start: int) -> list[Row[Any]]:
        found = await self._session.execute(
            select(audit_leaf.c.idx, audit_leaf.c.leaf_hash, audit_event.c.leaf)
            .outerjoin_from(audit_leaf, audit_event, audit_event.c.event_id == audit_leaf.c.event_id)
            .where(audit_leaf.c.idx >= start, audit_leaf.c.idx < start + CHUNK)
            .order_by(audit_leaf.c.idx)
        )
        return list(found.all())

    def _compare_entry(self, row: Row[Any]) -> None:
        if row.leaf is None:
            self._tell(Check.EVENTS, f"leaf {row.idx} has no event")
        elif leaf_hash(bytes(row.leaf)) != row.leaf_hash:
            self._tell(Check.ENTRIES, f"leaf {row.idx} is not what its hash says")

    async def _compare_tiles(self, tiles: tuple[FullTile, ...]) -> None:
        for tile in tiles:
            stored = (
                await self._session.execute(
                    select(audit_tile.c.hashes, audit_tile.c.root).where(
                        audit_tile.c.level == tile.level, audit_tile.c.n == tile.n
                    )
                )
            ).first()
            if stored is None or (stored.hashes, stored.root) != (tile.hashes, tile.root):
                what = "is missing" if stored is None else "is not what the leaves make of it"
                self._tell(Check.TILES, f"tile {tile.n} of level {tile.level} {what}")

    async def surplus_tiles(self) -> None:
        stored = int((await self._session.execute(select(func.count()).select_from(audit_tile))).scalar_one())
        if stored > self._tiles:
            self._tell(Check.TILES, f"{stored} full tiles are stored, but the leaves make {self._tiles}")

    async def _sizes(self, start: int, end: int) -> list[int]:
        size = audit_checkpoint.c.size
        found = await self._session.execute(select(size).where(size > start, size <= end).order_by(size))
        return [int(one) for one in found.scalars()]

    async def _compare_checkpoints(self, start: int, end: int, roots: Mapping[int, bytes]) -> None:
        """Compare the checkpoints of more than ``start`` and up to ``end`` leaves."""
        size = audit_checkpoint.c.size
        found = await self._session.execute(
            select(size, audit_checkpoint.c.root, audit_checkpoint.c.note)
            .where(size > start, size <= end)
            .order_by(size)
        )
        for row in found:
            self.checkpoints += 1
            signed = self._signed(row)
            if self._parted or signed is None:
                continue
            if signed == roots[row.size]:
                self._agreed = row.size
                continue
            self._parted = True  # all that follow part too
            self._tell(
                Check.EARLIER,
                f"the first {row.size} leaves are not those that were signed; the first {self._agreed} are, so one of"
                f" the leaves {self._agreed} to {row.size - 1} was changed, put in, taken out or moved",
            )

    def _signed(self, row: Row[Any]) -> bytes | None:
        """Return the root that the log's key signed, or what stands beside it where no key is known."""
        if self._verifier is None:
            return bytes(row.root or b"")
        try:
            signed = open_checkpoint(row.note or "", [self._verifier])
        except (Malformed, VerificationFailed) as error:
            self._tell(Check.SIGNATURES, f"the checkpoint of {row.size} leaves: {error}")
            return None
        if (signed.size, signed.root) != (row.size, row.root):
            self._tell(Check.SIGNATURES, f"the checkpoint of {row.size} leaves says another size or root than its row")
            return None
        return signed.root

    async def checkpoints_beyond(self) -> None:
        """Look at checkpoints of more leaves than there are, and whether the newest one is of all of them."""
        size = audit_checkpoint.c.size
        ends = (
            await self._session.execute(select(func.max(size).label("newest"), func.min(size).label("first")))
        ).one()
        newest = ends.newest
        if ends.first is not None and ends.first < 0:
            self._tell(Check.SIGNATURES, f"a checkpoint of {ends.first} leaves is stored")
        if newest is None:
            if self.growth.size:
                self._tell(Check.NEWEST, f"no checkpoint is stored, but {self.growth.size} leaves")
        elif newest > self.growth.size:
            self._tell(
                Check.NEWEST,
                f"{newest} leaves were signed, and {self.growth.size} are there: leaves {self.growth.size} to"
                f" {newest - 1} were taken away",
            )
        elif newest < self.growth.size:
            self._tell(Check.NEWEST, f"{self.growth.size} leaves are there, and no more than {newest} were signed")
        elif self._parted:
            self._tell(Check.NEWEST, f"its root is not that of the {newest} leaves")

    async def strays(self) -> None:
        """Look for events without a leaf that do not wait, and for waiting ones that have one or are none."""
        in_tree = select(audit_leaf.c.event_id).where(audit_leaf.c.event_id == audit_event.c.event_id).exists()
        waits = select(audit_pending.c.event_id).where(audit_pending.c.event_id == audit_event.c.event_id).exists()
        lost = select(audit_event.c.event_id).where(~in_tree, ~waits).order_by(audit_event.c.event_id)
        await self._named("neither in the log nor waiting for it", lost)
        done = select(audit_leaf.c.event_id).where(audit_leaf.c.event_id == audit_pending.c.event_id).exists()
        twice = select(audit_pending.c.event_id).where(done).order_by(audit_pending.c.seq)
        await self._named("in the log and still waiting for it", twice)
        there = select(audit_event.c.event_id).where(audit_event.c.event_id == audit_pending.c.event_id).exists()
        ghosts = select(audit_pending.c.event_id).where(~there).order_by(audit_pending.c.seq)
        await self._named("waiting for the log and not there", ghosts)

    async def _named(self, what: str, query: Any) -> None:
        first = [str(one) for one in (await self._session.execute(query.limit(MOST_NAMED))).scalars()]
        if first:
            count = (await self._session.execute(select(func.count()).select_from(query.subquery()))).scalar_one()
            self._tell(Check.EVENTS, f"{what}: {named(first, count)}")


def named(first: Collection[str], count: int) -> str:
    """Return the first few names of so many."""
    return ", ".join(first) + (f" and {count - len(first)} more" if count > len(first) else "")


def _hash(row: Row[Any]) -> bytes:
    """Return a leaf's stored hash, or where that is none, the hash of what is stored."""
    stored = bytes(row.leaf_hash or b"")
    return stored if len(stored) == HASH_SIZE else leaf_hash(bytes(row.leaf or b""))


def _unbroken(rows: list[Row[Any]], start: int) -> list[Row[Any]]:
    """Return the rows up to the first missing index."""
    return [row for place, row in enumerate(rows) if row.idx == start + place]
