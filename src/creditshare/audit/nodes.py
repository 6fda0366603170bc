"""Reading the hashes that the tree code asks for: leaf hashes by index, roots of full tiles by number."""

from collections.abc import Iterable

from sqlalchemy import select

from creditshare.audit.models import audit_leaf, audit_tile
from creditshare.storage.engine import ReadSession
from creditshare.tlog.tiles import Read


async def fetch_reads(session: ReadSession, reads: Iterable[Read]) -> dict[Read, bytes]:
    """Return the concatenated 32-byte hashes of each read; one statement per read, at most one per tree level."""
    found: dict[Read, bytes] = {}
    for read in reads:
        end = read.start + read.count
        if read.level == 0:
            query = (
                select(audit_leaf.c.leaf_hash)
                .where(audit_leaf.c.idx >= read.start, audit_leaf.c.idx < end)
                .order_by(audit_leaf.c.idx)
            )
        else:
            query = (
                select(audit_tile.c.root)
                .where(audit_tile.c.level == read.level - 1, audit_tile.c.n >= read.start, audit_tile.c.n < end)
                .order_by(audit_tile.c.n)
            )
        found[read] = b"".join((await session.execute(query)).scalars())
    return found
