"""Reading the hashes that the tree code asks for: leaf hashes by index, roots of full tiles by number."""

from collections.abc import Iterable
from typing import Final

from creditshare.storage.engine import ReadSession
from creditshare.storage.rowsets import Columns, columns_of, rows_of
from creditshare.tlog.tiles import Read

_READS: Final[Columns] = {"level": "integer", "first": "bigint", "width": "integer"}
FETCH: Final = f"""
SELECT level, first, width, CASE WHEN level = 0
    THEN (SELECT string_agg(leaf_hash, ''::bytea ORDER BY idx) FROM audit_leaf
          WHERE idx >= first AND idx < first + width)
    ELSE (SELECT string_agg(root, ''::bytea ORDER BY n) FROM audit_tile t
          WHERE t.level = r.level - 1 AND n >= first AND n < first + width) END AS hashes
FROM {rows_of("r", _READS)}"""  # noqa: S608  names of ours
"""One round trip for a proof; joined in the server, because rows cost both sides more than the hashes in them."""


async def fetch_reads(session: ReadSession, reads: Iterable[Read]) -> dict[Read, bytes]:
    """Return the concatenated 32-byte hashes of each read, by one statement."""
    wanted = [(read.level, read.start, read.count) for read in reads]
    if not wanted:
        return {}
    found = await session.run(FETCH, columns_of("r", _READS, wanted))
    return {Read(row.level, row.first, row.width): bytes(row.hashes or b"") for row in found}
