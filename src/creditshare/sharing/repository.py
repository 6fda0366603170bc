"""The statements of the hot path. Their shape is the point: one read that sees everything in one snapshot, one write
of which less than all means none. Each does it for as many questions as wait at that moment (``storage.gathering``).
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from creditshare.access.statements import (
    ASKER,
    CLAIM,
    CLAIM_ONCE,
    CLAIMED_BY,
    CLAIMS,
    SEEN,
    SEEN_BY,
    in_each_others_way,
)
from creditshare.audit.statements import EVENT, EVENT_OF
from creditshare.records.statements import CONSENT, HISTORY, SUBJECT, history_of
from creditshare.storage.engine import Database, all_of, read_rows, whole, write_whole
from creditshare.storage.gathering import Gathering
from creditshare.storage.rowsets import Columns, parameters_of, rows_of

ASKED: Final[Columns] = {**SEEN_BY, "index": "bytea", "consent_id": "uuid"}

READ: Final = f"""
SELECT q.n, {SEEN}, {SUBJECT}, {CONSENT}, {HISTORY}
FROM {rows_of("q", ASKED, numbered=True)}
{ASKER}
LEFT JOIN subject_index si ON si.index = q.index
LEFT JOIN subject s ON s.subject_id = si.subject_id
LEFT JOIN consent c ON c.subject_id = s.subject_id AND c.consent_id = q.consent_id
{history_of("s.subject_id")}
"""  # noqa: S608  parts of ours, values are parameters

ANSWERED: Final[Columns] = {
    **CLAIMED_BY,
    **EVENT_OF,
    "version": "bigint",
    "dek_id": "bytea",
    "consent_id": "uuid",
    "window_start": "date",
    "now": "timestamptz",
    "sealed": "bytea",
}

WRITE: Final = f"""
WITH q AS MATERIALIZED (SELECT * FROM {rows_of("q", ANSWERED)}),
{CLAIM},
same_subject AS (
    SELECT FROM q JOIN subject s ON s.subject_id = q.subject_id
    WHERE s.version = q.version AND s.dek_id = q.dek_id AND s.state = 'live'
    FOR SHARE OF s),
used AS (
    UPDATE consent c SET uses = uses + 1, window_start = GREATEST(c.window_start, q.window_start),
        window_used = CASE WHEN c.window_start >= q.window_start THEN window_used + 1 ELSE 1 END
    FROM q
    WHERE c.subject_id = q.subject_id AND c.consent_id = q.consent_id AND state = 'active'
        AND valid_from <= q.now AND valid_until > q.now AND (max_uses IS NULL OR uses < max_uses)
        AND (window_uses IS NULL OR c.window_start IS NULL OR c.window_start < q.window_start
             OR window_used < window_uses)
    RETURNING 1),
told AS (
    INSERT INTO query_answer (subject_id, query_id, member_id, consent_id, version, told_at, sealed)
    SELECT subject_id, query_id, member_id, consent_id, version, now, sealed FROM q),
findable AS (
    INSERT INTO query_lookup (query_id, subject_id) SELECT query_id, subject_id FROM q),
{EVENT}
{whole(all_of(*CLAIMS, "same_subject", "used"))}
"""  # noqa: S608  parts of ours, values are parameters


class Questions:
    """Runs the two statements, each in its own transaction, for those together who wait together."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads = Gathering(self._read)
        self._writes = Gathering(self._write, apart=_touched)

    async def read(self, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run statement 1 for a row of ``ASKED``. None: the key is unknown to the database."""
        return await self._reads.one(parameters)

    async def write(self, parameters: Mapping[str, Any]) -> None:
        """Run statement 2 for a row of ``ANSWERED``: everything, or ``Changed`` and nothing."""
        await self._writes.one(parameters)

    async def _read(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
        async with self._database.raw() as connection:
            return await read_rows(connection, READ, parameters_of("q", ASKED, rows), count=len(rows))

    async def _write(self, rows: Sequence[Mapping[str, Any]]) -> list[None]:
        async with self._database.raw() as connection:
            await write_whole(connection, WRITE, {**parameters_of("q", ANSWERED, rows), **CLAIM_ONCE})
        return [None] * len(rows)


def _touched(row: Mapping[str, Any]) -> tuple[Hashable, ...]:
    """Two questions of one group share no use of a consent either."""
    return row["consent_id"], *in_each_others_way(row)
