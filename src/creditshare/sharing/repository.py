"""The two statements of the hot path, run on the driver's prepared statements.

They are written in SQL because their shape is the point: one read that sees everything in one snapshot,
one write in which each part depends on the one before, so that less than all of it means none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row, tuple_row

from creditshare.errors import Refused
from creditshare.storage.engine import Database

READ: Final = """
SELECT creditshare_now() AS now, k.state AS key_state, k.expires_at > clock_timestamp() AS key_lives,
       k.seal AS key_seal, m.seal AS member_seal,
       i.fingerprint, i.query_id AS told_query_id,
       s.subject_id, s.state, s.version, s.dek_id, s.dek, s.element, s.event_count, s.chain, s.last_event_at, s.mac,
       c.consent_id, c.member_id, c.kind, c.state AS consent_state, c.valid_from, c.valid_until, c.max_uses, c.uses,
       c.window_uses, c.window_per, c.window_start, c.window_used, c.version AS consent_version,
       c.sealed AS consent_sealed, c.mac AS consent_mac,
       e.event_nos, e.event_records, e.event_versions, e.event_sealed, e.event_macs,
       r.records, r.record_members, r.record_lifecycles, r.record_visible,
       x.salt_records, x.salts
FROM member_key k
JOIN member m ON m.member_id = k.member_id
LEFT JOIN idempotency i ON i.member_id = m.member_id AND i.route = %(route)s AND i.key_hash = %(key_hash)s
LEFT JOIN subject_index si ON si.index = %(index)s
LEFT JOIN subject s ON s.subject_id = si.subject_id
LEFT JOIN consent c ON c.subject_id = s.subject_id AND c.consent_id = %(consent_id)s
LEFT JOIN LATERAL (
    SELECT array_agg(event_no ORDER BY event_no) AS event_nos, array_agg(record_id ORDER BY event_no) AS event_records,
           array_agg(version ORDER BY event_no) AS event_versions, array_agg(sealed ORDER BY event_no) AS event_sealed,
           array_agg(mac ORDER BY event_no) AS event_macs
    FROM record_event WHERE subject_id = s.subject_id) e ON true
LEFT JOIN LATERAL (
    SELECT array_agg(record_id ORDER BY record_id) AS records,
           array_agg(member_id ORDER BY record_id) AS record_members,
           array_agg(lifecycle ORDER BY record_id) AS record_lifecycles,
           array_agg(visible_from ORDER BY record_id) AS record_visible
    FROM record_current WHERE subject_id = s.subject_id) r ON true
LEFT JOIN LATERAL (
    SELECT array_agg(record_id ORDER BY record_id) AS salt_records, array_agg(salt ORDER BY record_id) AS salts
    FROM record_secret WHERE subject_id = s.subject_id) x ON true
WHERE k.kid = %(kid)s
"""

WRITE: Final = """
WITH same_subject AS (
    SELECT subject_id FROM subject
    WHERE subject_id = %(subject_id)s AND version = %(version)s AND dek_id = %(dek_id)s AND state = 'live'
    FOR SHARE),
same_caller AS (
    SELECT k.member_id FROM member_key k JOIN member m ON m.member_id = k.member_id
    WHERE k.kid = %(kid)s AND k.state <> 'revoked' AND k.expires_at > clock_timestamp() AND m.status = 'active'
        AND k.seal = %(key_seal)s AND m.seal = %(member_seal)s),
first_time AS (
    INSERT INTO replay_guard (iss, jti_hash, expires_at)
    SELECT member_id, %(jti_hash)s, %(replay_until)s FROM same_caller, same_subject
    ON CONFLICT DO NOTHING RETURNING iss),
first_try AS (
    INSERT INTO idempotency (member_id, route, key_hash, fingerprint, status, subject_id, query_id, expires_at)
    SELECT iss, %(route)s, %(key_hash)s, %(fingerprint)s, 200, %(subject_id)s, %(query_id)s,
           now() + %(idempotent_for)s
    FROM first_time ON CONFLICT DO NOTHING RETURNING member_id),
used AS (
    UPDATE consent SET uses = uses + 1, window_start = GREATEST(window_start, %(window_start)s),
        window_used = CASE WHEN window_start >= %(window_start)s THEN window_used + 1 ELSE 1 END
    WHERE subject_id = %(subject_id)s AND consent_id = %(consent_id)s AND state = 'active'
        AND valid_from <= %(now)s AND valid_until > %(now)s AND (max_uses IS NULL OR uses < max_uses)
        AND (window_uses IS NULL OR window_start IS NULL OR window_start < %(window_start)s
             OR window_used < window_uses)
        AND EXISTS (SELECT FROM first_try)
    RETURNING consent_id),
told AS (
    INSERT INTO query_answer (subject_id, query_id, member_id, consent_id, version, told_at, sealed)
    SELECT %(subject_id)s, %(query_id)s, %(member_id)s, consent_id, %(version)s, %(now)s, %(sealed)s FROM used
    RETURNING query_id),
findable AS (
    INSERT INTO query_lookup (query_id, subject_id) SELECT query_id, %(subject_id)s FROM told RETURNING query_id),
event AS (
    INSERT INTO audit_event (event_id, leaf, leaf_hash)
    SELECT %(event_id)s, %(leaf)s, %(leaf_hash)s FROM findable RETURNING event_id),
openings AS (
    INSERT INTO audit_opening (event_id, grp, subject_id, sealed)
    SELECT event.event_id, o.grp, o.subject_id, o.sealed
    FROM event, unnest(%(groups)s::text[], %(owners)s::uuid[], %(openings)s::bytea[]) AS o (grp, subject_id, sealed)
    RETURNING 1)
SELECT (SELECT count(*) FROM same_subject) AS subject, (SELECT count(*) FROM same_caller) AS caller,
       (SELECT count(*) FROM first_time) AS first_time, (SELECT count(*) FROM openings) AS recorded
"""


class Changed(Exception):
    """Something that the answer rested on changed between the statements; nothing was written."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Runs the two statements."""

    database: Database

    async def read(self, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run statement 1. None: the key is unknown to the database."""
        async with self.database.raw() as connection, connection.cursor(row_factory=dict_row, binary=True) as cursor:
            await cursor.execute(READ, parameters)
            return await cursor.fetchone()

    async def write(self, parameters: Mapping[str, Any]) -> None:
        """Run statement 2 in its own transaction: everything, or ``Changed``, or ``replay_detected``, and nothing."""
        try:
            async with self.database.raw() as connection, connection.cursor(row_factory=tuple_row) as cursor:
                await cursor.execute(WRITE, parameters)
                row = await cursor.fetchone()
                subject, caller, first_time, recorded = row or (0, 0, 0, 0)
                if recorded != len(parameters["groups"]):
                    raise Refused("replay_detected") if subject and caller and not first_time else Changed
        except psycopg.errors.LockNotAvailable as error:
            raise Refused("idempotency_in_progress", retry_after=1) from error
