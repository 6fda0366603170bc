"""Records in statements that do a whole action (decision 13): reading a borrower's history, taking in defaults.

``_taken_in`` is the one way in which a default is written. A single report writes it with its request's use, its event
and, where nobody named the borrower before, the borrower itself (``SUBMIT``); a file writes it for many rows at once,
whose borrowers it has locked or makes (``LOAD``).
"""

from collections.abc import Callable
from typing import Final

from creditshare.access.statements import ASKER, CLAIM, CLAIMED_BY, CLAIMS, SEEN, SEEN_BY
from creditshare.audit.statements import EVENT, EVENT_OF
from creditshare.storage.engine import all_of, whole
from creditshare.storage.rowsets import Columns, rows_of

HISTORY: Final = """
       e.event_nos, e.event_records, e.event_versions, e.event_sealed, e.event_macs,
       r.records, r.record_members, r.record_lifecycles, r.record_visible, x.salt_records, x.salts"""
"""Columns of a borrower's records, each an array; ``history.histories_of`` reads them."""


def history_of(subject_id: str) -> str:
    """Return the joins of ``HISTORY`` for the borrower that an expression names."""
    return f"""
LEFT JOIN LATERAL (
    SELECT array_agg(event_no ORDER BY event_no) AS event_nos, array_agg(record_id ORDER BY event_no) AS event_records,
           array_agg(version ORDER BY event_no) AS event_versions, array_agg(sealed ORDER BY event_no) AS event_sealed,
           array_agg(mac ORDER BY event_no) AS event_macs
    FROM record_event WHERE subject_id = {subject_id}) e ON true
LEFT JOIN LATERAL (
    SELECT array_agg(record_id ORDER BY record_id) AS records,
           array_agg(member_id ORDER BY record_id) AS record_members,
           array_agg(lifecycle ORDER BY record_id) AS record_lifecycles,
           array_agg(visible_from ORDER BY record_id) AS record_visible
    FROM record_current WHERE subject_id = {subject_id}) r ON true
LEFT JOIN LATERAL (
    SELECT array_agg(record_id ORDER BY record_id) AS salt_records, array_agg(salt ORDER BY record_id) AS salts
    FROM record_secret WHERE subject_id = {subject_id}) x ON true"""  # noqa: S608  an expression of ours


BORROWER: Final[Columns] = {
    "subject_id": "uuid",
    "version_before": "bigint",
    "dek_id": "bytea",
    "version": "bigint",
    "event_count": "integer",
    "chain": "bytea",
    "last_event_at": "timestamptz",
    "mac": "bytea",
}
RECORD: Final[Columns] = {
    "subject_id": "uuid",
    "record_id": "uuid",
    "visible_from": "timestamptz",
    "account_index": "bytea",
    "salt": "bytea",
    "event_no": "integer",
    "version": "bigint",
    "sealed": "bytea",
    "mac": "bytea",
}
FREED: Final[Columns] = {"subject_id": "uuid", "record_id": "uuid"}
NEW: Final[Columns] = {
    "subject_id": "uuid",
    "index": "bytea",
    "key_version": "smallint",
    "dek": "bytea",
    "element": "bytea",
    **{column: kind for column, kind in BORROWER.items() if column not in {"subject_id", "version_before"}},
}


Source = Callable[[str, Columns], str]
"""Makes a source of rows of this name with these columns."""


def _from_q(name: str, columns: Columns) -> str:
    """Return the columns ``<name>_<column>`` of ``q`` as a source of rows, each with its member."""
    own = ", ".join(f"q.{name}_{column} AS {column}" for column in columns)
    return f"(SELECT {own}, q.member_id FROM q) AS {name}"  # noqa: S608  names of ours


def _moved(source: Source) -> str:
    """Return the part that writes borrowers, each unless it changed since it was read."""
    return f"""
moved AS (
    UPDATE subject s SET version = b.version, event_count = b.event_count, chain = b.chain,
        last_event_at = b.last_event_at, mac = b.mac
    FROM {source("b", BORROWER)}
    WHERE s.subject_id = b.subject_id AND s.version = b.version_before AND s.dek_id = b.dek_id AND s.state = 'live'
    RETURNING s.subject_id)"""  # noqa: S608  names of ours, values are parameters


def _taken_in(source: Source, *, member: str) -> str:
    """Return the parts that write defaults. Whether all their borrowers are as they were is asked at the end."""

    def of(*columns: str) -> str:
        return source("d", {column: RECORD[column] for column in columns})

    return f"""
freed AS (
    UPDATE record_current c SET account_index = NULL FROM {source("f", FREED)}
    WHERE c.subject_id = f.subject_id AND c.record_id = f.record_id RETURNING c.record_id),
placed AS (
    -- Counting what was freed makes it come first: it gives its place to these.
    INSERT INTO record_current (subject_id, record_id, member_id, lifecycle, visible_from, account_index)
    SELECT d.subject_id, d.record_id, {member}, 'live', d.visible_from, d.account_index
    FROM {of("subject_id", "record_id", "visible_from", "account_index")}
    WHERE (SELECT count(*) FROM freed) >= 0),
salted AS (
    INSERT INTO record_secret (subject_id, record_id, salt) SELECT d.subject_id, d.record_id, d.salt
    FROM {of("subject_id", "record_id", "salt")}),
findable AS (
    INSERT INTO record_lookup (record_id, subject_id) SELECT d.record_id, d.subject_id
    FROM {of("record_id", "subject_id")}),
happened AS (
    INSERT INTO record_event (subject_id, event_no, record_id, version, sealed, mac)
    SELECT d.subject_id, d.event_no, d.record_id, d.version, d.sealed, d.mac
    FROM {of("subject_id", "event_no", "record_id", "version", "sealed", "mac")})"""  # noqa: S608  names of ours, values are parameters


CONSENT: Final = """
       c.consent_id, c.member_id, c.kind, c.state AS consent_state, c.valid_from, c.valid_until, c.max_uses, c.uses,
       c.window_uses, c.window_per, c.window_start, c.window_used, c.version AS consent_version,
       c.sealed AS consent_sealed, c.mac AS consent_mac"""
"""Columns of the consent that a report or question names; ``consents.open_seen_consent`` reads them."""

REPORTED: Final[Columns] = {**SEEN_BY, "index": "bytea", "consent_id": "uuid", "account_index": "bytea"}

SUBJECT: Final = """
       s.subject_id, s.state, s.version, s.dek_id, s.dek, s.element, s.event_count, s.chain, s.last_event_at, s.mac"""
"""Columns of a borrower's row; ``subjects.opened`` reads them."""

READ: Final = f"""
SELECT q.n, {SEEN}, {SUBJECT}, {CONSENT},
       o.record_id AS earlier, {HISTORY},
       pg_advisory_xact_lock_shared(%(wrapping_lock)s)::text AS held
FROM {rows_of("q", REPORTED, numbered=True)}
{ASKER}
LEFT JOIN subject_index si ON si.index = q.index
LEFT JOIN subject s ON s.subject_id = si.subject_id
LEFT JOIN consent c ON c.subject_id = s.subject_id AND c.consent_id = q.consent_id
LEFT JOIN record_current o ON o.subject_id = s.subject_id AND o.account_index = q.account_index
{history_of("o.subject_id")}
"""  # noqa: S608  parts of ours, values are parameters
"""All that reports rest on; the records only where an account was reported before.

It also holds the lock that keeps a wrapping key from being retired until the transaction ends.
"""

HOLD_BORROWER: Final = """
SELECT s.subject_id FROM subject_index si JOIN subject s USING (subject_id) WHERE si.index = %(index)s FOR UPDATE OF s
"""
"""Makes a report that lost a race the next one of its borrower."""

SUBMITTED: Final[Columns] = {
    **CLAIMED_BY,
    **EVENT_OF,
    "new": "integer",
    "index": "bytea",
    "key_version": "integer",
    "made_id": "uuid",
    "dek": "bytea",
    "element": "bytea",
    **{f"b_{column}": kind for column, kind in BORROWER.items()},
    **{f"d_{column}": kind for column, kind in RECORD.items()},
    **{f"f_{column}": kind for column, kind in FREED.items()},
}

SUBMIT: Final = f"""
WITH q AS MATERIALIZED (SELECT * FROM {rows_of("q", SUBMITTED)}),
{CLAIM},
made AS (
    INSERT INTO subject_index (index, subject_id, key_version)
    SELECT index, made_id, key_version FROM q ON CONFLICT DO NOTHING RETURNING subject_id),
born AS (
    INSERT INTO subject
        (subject_id, state, version, dek_id, dek, element, event_count, chain, last_event_at, mac)
    SELECT q.made_id, 'live', q.b_version, q.b_dek_id, q.dek, q.element, q.b_event_count, q.b_chain,
           q.b_last_event_at, q.b_mac FROM q JOIN made ON made.subject_id = q.made_id RETURNING subject_id),
{_moved(_from_q)},
borrowers AS (SELECT subject_id FROM moved UNION ALL SELECT subject_id FROM born),
{_taken_in(_from_q, member="d.member_id")},
introduced AS (
    INSERT INTO member_subject (subject_id, member_id) SELECT subject_id, member_id FROM q
    ON CONFLICT DO NOTHING RETURNING member_id),
{EVENT}
{
    whole(
        all_of(*CLAIMS, "borrowers") + " AND (SELECT count(*) FROM made) = (SELECT sum(new) FROM q)",
        tells="(SELECT array_agg(member_id) FROM introduced)",
    )
}
"""  # noqa: S608  parts of ours, values are parameters
"""Defaults with all that belongs to each. An index is always tried, so that it takes as long whoever the borrower is.

It tells which members named a borrower for the first time, once for each borrower.
"""

NAMED: Final[Columns] = {
    "number": "integer",
    "subject_id": "uuid",
    "consent_id": "uuid",
    "account_index": "bytea",
}

READ_MANY: Final = f"""
SELECT d.number, {CONSENT}, o.record_id AS earlier
FROM {rows_of("d", NAMED)}
LEFT JOIN consent c ON c.subject_id = d.subject_id AND c.consent_id = d.consent_id
LEFT JOIN record_current o ON o.subject_id = d.subject_id AND o.account_index = d.account_index
WHERE c.consent_id IS NOT NULL OR o.record_id IS NOT NULL
"""  # noqa: S608  parts of ours, values are parameters
"""What many reports of locked borrowers rest on, by their numbers; nothing of those that rest on nothing."""

OF_BORROWERS: Final[Columns] = {"subject_id": "uuid"}

OPENED: Final = f"""
SELECT s.subject_id, s.version, s.dek_id, s.dek, s.event_count, s.chain, s.last_event_at, s.mac, {HISTORY}
FROM {rows_of("b", OF_BORROWERS)} JOIN subject s ON s.subject_id = b.subject_id {history_of("b.subject_id")}
"""  # noqa: S608  parts of ours, values are parameters
"""Borrowers' rows with their records, as of one moment: each must fit the other's seal."""

HISTORIES: Final = f"""
SELECT b.subject_id, {HISTORY} FROM {rows_of("b", OF_BORROWERS)} {history_of("b.subject_id")}
"""  # noqa: S608  parts of ours, values are parameters

LOAD: Final = f"""
WITH {_moved(rows_of)},
made AS (
    INSERT INTO subject_index (index, subject_id, key_version)
    SELECT n.index, n.subject_id, n.key_version
    FROM {rows_of("n", {column: NEW[column] for column in ("index", "subject_id", "key_version")})}
    ON CONFLICT DO NOTHING RETURNING subject_id),
born AS (
    INSERT INTO subject
        (subject_id, state, version, dek_id, dek, element, event_count, chain, last_event_at, mac)
    SELECT n.subject_id, 'live', n.version, n.dek_id, n.dek, n.element, n.event_count, n.chain, n.last_event_at, n.mac
    FROM {rows_of("n", {column: kind for column, kind in NEW.items() if column not in {"index", "key_version"}})}
    RETURNING subject_id),
{_taken_in(rows_of, member="%(member_id)s")},
introduced AS (
    INSERT INTO member_subject (subject_id, member_id)
    SELECT subject_id, %(member_id)s FROM unnest(%(b_subject_id)s::uuid[] || %(n_subject_id)s::uuid[]) AS i (subject_id)
    ON CONFLICT DO NOTHING RETURNING subject_id)
{
    whole(
        "(SELECT count(*) FROM moved) = cardinality(%(b_subject_id)s::uuid[])"
        " AND (SELECT count(*) FROM made) = cardinality(%(n_subject_id)s::uuid[])",
        tells="(SELECT count(*) FROM introduced)",
    )
}
"""  # noqa: S608  parts of ours, values are parameters
"""Many defaults, each as the next event of its borrower: one that is locked already, or one made for it."""
