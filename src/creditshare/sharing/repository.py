"""The two statements of a question, run on the driver's prepared statements.

They are written in SQL because their shape is the point: one read that sees everything in one snapshot,
one write in which each part depends on the one before, so that less than all of it means none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from creditshare.access.statements import ASKER, CLAIM, SEEN
from creditshare.audit.statements import ALL_OPENED, event_after
from creditshare.records.statements import HISTORY, history_of
from creditshare.storage.engine import Database, read_row, whole, write_whole

READ: Final = f"""
SELECT {SEEN},
       s.subject_id, s.state, s.version, s.dek_id, s.dek, s.element, s.event_count, s.chain, s.last_event_at, s.mac,
       c.consent_id, c.member_id, c.kind, c.state AS consent_state, c.valid_from, c.valid_until, c.max_uses, c.uses,
       c.window_uses, c.window_per, c.window_start, c.window_used, c.version AS consent_version,
       c.sealed AS consent_sealed, c.mac AS consent_mac, {HISTORY}
FROM {ASKER}
LEFT JOIN subject_index si ON si.index = %(index)s
LEFT JOIN subject s ON s.subject_id = si.subject_id
LEFT JOIN consent c ON c.subject_id = s.subject_id AND c.consent_id = %(consent_id)s
{history_of("s.subject_id")}
WHERE k.kid = %(kid)s
"""  # noqa: S608  parts of ours, values are parameters

WRITE: Final = f"""
WITH {CLAIM},
same_subject AS (
    SELECT subject_id FROM subject
    WHERE subject_id = %(subject_id)s AND version = %(version)s AND dek_id = %(dek_id)s AND state = 'live'
    FOR SHARE),
used AS (
    UPDATE consent SET uses = uses + 1, window_start = GREATEST(window_start, %(window_start)s),
        window_used = CASE WHEN window_start >= %(window_start)s THEN window_used + 1 ELSE 1 END
    WHERE subject_id = %(subject_id)s AND consent_id = %(consent_id)s AND state = 'active'
        AND valid_from <= %(now)s AND valid_until > %(now)s AND (max_uses IS NULL OR uses < max_uses)
        AND (window_uses IS NULL OR window_start IS NULL OR window_start < %(window_start)s
             OR window_used < window_uses)
        AND EXISTS (SELECT FROM first_try) AND EXISTS (SELECT FROM same_subject)
    RETURNING consent_id),
told AS (
    INSERT INTO query_answer (subject_id, query_id, member_id, consent_id, version, told_at, sealed)
    SELECT %(subject_id)s, %(query_id)s, %(member_id)s, consent_id, %(version)s, %(now)s, %(sealed)s FROM used
    RETURNING query_id),
findable AS (
    INSERT INTO query_lookup (query_id, subject_id) SELECT query_id, %(subject_id)s FROM told RETURNING query_id),
{event_after("findable")}
{whole(ALL_OPENED)}
"""  # noqa: S608  parts of ours, values are parameters


@dataclass(frozen=True, slots=True)
class Questions:
    """Runs the two statements, each in its own transaction."""

    database: Database

    async def read(self, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run statement 1. None: the key is unknown to the database."""
        async with self.database.raw() as connection:
            return await read_row(connection, READ, parameters)

    async def write(self, parameters: Mapping[str, Any]) -> None:
        """Run statement 2: everything, or ``Changed`` and nothing."""
        async with self.database.raw() as connection:
            await write_whole(connection, WRITE, parameters)
