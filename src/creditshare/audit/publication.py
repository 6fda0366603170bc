"""The log's tiles and entry bundles as tlog clients fetch them, from stored rows (C2SP tlog-tiles).

Nothing is served that the newest published checkpoint does not imply: what it covers never changes again, so that it
may be kept for ever, and what it does not cover is nobody's yet.
"""

from sqlalchemy import select

from creditshare.audit.checkpoints import latest_checkpoint
from creditshare.audit.models import audit_event, audit_leaf
from creditshare.audit.nodes import fetch_reads
from creditshare.errors import IntegrityError, Refused
from creditshare.storage.engine import ReadSession
from creditshare.tlog.bundles import encode_bundle
from creditshare.tlog.merkle import HASH_SIZE
from creditshare.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, Read


async def tile(session: ReadSession, *, level: int, n: int, width: int) -> bytes:
    """Return a tile's body, 32 bytes for each of its ``width`` hashes; ``not_found`` beyond the newest checkpoint."""
    await _require_published(session, level=level, n=n, width=width)
    read = Read(level, n * TILE_WIDTH, width)
    body = (await fetch_reads(session, [read]))[read]
    if len(body) != width * HASH_SIZE:
        raise IntegrityError(f"tile {n} of level {level} is not whole")
    return body


async def bundle(session: ReadSession, *, n: int, width: int) -> bytes:
    """Return the body of an entry bundle; ``not_found`` beyond the newest checkpoint."""
    await _require_published(session, level=0, n=n, width=width)
    start = n * TILE_WIDTH
    found = await session.execute(
        select(audit_event.c.leaf)
        .join(audit_leaf, audit_leaf.c.event_id == audit_event.c.event_id)
        .where(audit_leaf.c.idx >= start, audit_leaf.c.idx < start + width)
        .order_by(audit_leaf.c.idx)
    )
    entries = list(found.scalars())
    if len(entries) != width:
        raise IntegrityError(f"bundle {n} is not whole")
    return encode_bundle(entries)


async def _require_published(session: ReadSession, *, level: int, n: int, width: int) -> None:
    size, _ = await latest_checkpoint(session)
    if n * TILE_WIDTH + width > size >> (TILE_HEIGHT * level):
        raise Refused("not_found")
