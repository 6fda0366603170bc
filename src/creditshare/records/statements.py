"""Records in statements that do a whole action (decision 13): reading a borrower's history, taking in defaults.

``_taken_in`` is the one way in which a default is written. A single report writes it with its request's use, its event
and, where nobody named the borrower before, the borrower itself (``SUBMIT``); a file writes it for many rows at once,
whose borrowers it has locked or makes (``LOAD``).
"""

from collections.abc import Mapping
from typing import Final

from creditshare.access.statements import ASKER, CLAIM, SEEN
from creditshare.audit.statements import ALL_OPENED, event_after
from creditshare.storage.engine import whole

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


_BORROWER: Final = {
    "subject_id": "uuid",
    "version_before": "bigint",
    "dek_id": "bytea",
    "version": "bigint",
    "event_count": "integer",
    "chain": "bytea",
    "last_event_at": "timestamptz",
    "mac": "bytea",
}
_RECORD: Final = {
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
_FREED: Final = {"subject_id": "uuid", "record_id": "uuid"}
_NEW: Final = {
    "subject_id": "uuid",
    "index": "bytea",
    "key_version": "smallint",
    "dek": "bytea",
    "element": "bytea",
    **{column: kind for column, kind in _BORROWER.items() if column not in {"subject_id", "version_before"}},
}


def _rows(name: str, columns: Mapping[str, str], *, many: bool) -> str:
    """Return a source of rows from parameters ``<name>_<column>``: one value each, or one array each, in binary."""
    if many:
        arrays = ", ".join(f"%({name}_{column})b::{kind}[]" for column, kind in columns.items())
        return f"unnest({arrays}) AS {name} ({', '.join(columns)})"
    values = ", ".join(f"%({name}_{column})s::{kind} AS {column}" for column, kind in columns.items())
    return f"(SELECT {values}) AS {name}"


def _moved(*, many: bool, gate: str) -> str:
    return f"""
moved AS (
    UPDATE subject s SET version = b.version, event_count = b.event_count, chain = b.chain,
        last_event_at = b.last_event_at, mac = b.mac
    FROM {_rows("b", _BORROWER, many=many)}
    WHERE s.subject_id = b.subject_id AND s.version = b.version_before AND s.dek_id = b.dek_id AND s.state = 'live'
        {gate}
    RETURNING s.subject_id)"""  # noqa: S608  names of ours, values are parameters


def _taken_in(*, many: bool) -> str:
    """Return the parts that write defaults.

    A single one is written behind its borrower, which is in the part ``borrowers``. Many are written at once: whether
    all their borrowers are as they were is asked at the end.
    """

    def of(columns: str, after: str) -> str:
        source = _rows("d", {column: _RECORD[column] for column in columns.split(", ")}, many=many)
        return source if many else f"{source} JOIN {after}"

    freed = _rows("f", _FREED, many=many) + ("" if many else " JOIN borrowers USING (subject_id)")
    return f"""
freed AS (
    UPDATE record_current c SET account_index = NULL FROM {freed}
    WHERE c.subject_id = f.subject_id AND c.record_id = f.record_id RETURNING c.record_id),
placed AS (
    -- Counting what was freed makes it come first: it gives its place to these.
    INSERT INTO record_current (subject_id, record_id, member_id, lifecycle, visible_from, account_index)
    SELECT d.subject_id, d.record_id, %(member_id)s, 'live', d.visible_from, d.account_index
    FROM {of("subject_id, record_id, visible_from, account_index", "borrowers USING (subject_id)")}
    WHERE (SELECT count(*) FROM freed) >= 0 RETURNING record_id),
salted AS (
    INSERT INTO record_secret (subject_id, record_id, salt) SELECT d.subject_id, d.record_id, d.salt
    FROM {of("subject_id, record_id, salt", "placed USING (record_id)")} RETURNING record_id),
findable AS (
    INSERT INTO record_lookup (record_id, subject_id) SELECT d.record_id, d.subject_id
    FROM {of("record_id, subject_id", "salted USING (record_id)")} RETURNING record_id),
happened AS (
    INSERT INTO record_event (subject_id, event_no, record_id, version, sealed, mac)
    SELECT d.subject_id, d.event_no, d.record_id, d.version, d.sealed, d.mac
    FROM {of("subject_id, event_no, record_id, version, sealed, mac", "findable USING (record_id)")}
    RETURNING record_id)"""  # noqa: S608  names of ours, values are parameters


CONSENT: Final = """
       c.consent_id, c.member_id, c.kind, c.state AS consent_state, c.valid_from, c.valid_until, c.max_uses, c.uses,
       c.window_uses, c.window_per, c.window_start, c.window_used, c.version AS consent_version,
       c.sealed AS consent_sealed, c.mac AS consent_mac"""
"""Columns of the consent that a report names; ``consents.open_seen_consent`` reads them."""

READ: Final = f"""
SELECT {SEEN},
       s.subject_id, s.state, s.version, s.dek_id, s.dek, s.element, s.event_count, s.chain, s.last_event_at, s.mac,
       {CONSENT},
       o.record_id AS earlier, {HISTORY},
       pg_advisory_xact_lock_shared(%(wrapping_lock)s)::text AS held
FROM {ASKER}
LEFT JOIN subject_index si ON si.index = %(index)s
LEFT JOIN subject s ON s.subject_id = si.subject_id
LEFT JOIN consent c ON c.subject_id = s.subject_id AND c.consent_id = %(consent_id)s
LEFT JOIN record_current o ON o.subject_id = s.subject_id AND o.account_index = %(account_index)s
{history_of("o.subject_id")}
WHERE k.kid = %(kid)s
"""  # noqa: S608  parts of ours, values are parameters
"""All that a single report rests on; the records only where this account was reported before.

It also holds the lock that keeps a wrapping key from being retired until the transaction ends.
"""

HOLD_BORROWER: Final = """
SELECT s.subject_id FROM subject_index si JOIN subject s USING (subject_id) WHERE si.index = %(index)s FOR UPDATE OF s
"""
"""Makes a report that lost a race the next one of its borrower."""

SUBMIT: Final = f"""
WITH {CLAIM},
made AS (
    INSERT INTO subject_index (index, subject_id, key_version)
    SELECT %(index)s, %(made_id)s, %(key_version)s FROM first_try ON CONFLICT DO NOTHING RETURNING subject_id),
born AS (
    INSERT INTO subject
        (subject_id, state, version, dek_id, dek, element, event_count, chain, last_event_at, mac)
    SELECT subject_id, 'live', %(b_version)s, %(b_dek_id)s, %(dek)s, %(element)s, %(b_event_count)s, %(b_chain)s,
           %(b_last_event_at)s, %(b_mac)s FROM made RETURNING subject_id),
{_moved(many=False, gate="AND EXISTS (SELECT FROM first_try)")},
borrowers AS (SELECT subject_id FROM moved UNION ALL SELECT subject_id FROM born),
{_taken_in(many=False)},
introduced AS (
    INSERT INTO member_subject (subject_id, member_id) SELECT subject_id, %(member_id)s FROM borrowers
    ON CONFLICT DO NOTHING RETURNING subject_id),
{event_after("happened")}
{
    whole(
        ALL_OPENED,
        "(SELECT count(*) FROM made) = %(new)s",
        tells="(SELECT count(*) FROM introduced)",
    )
}
"""  # noqa: S608  parts of ours, values are parameters
"""One default with all that belongs to it. An index is always tried, so that it takes as long whoever the borrower is.
"""

READ_MANY: Final = f"""
SELECT d.number, {CONSENT}, o.record_id AS earlier
FROM unnest(%(number)b::integer[], %(subject_id)b::uuid[], %(consent_id)b::uuid[], %(account_index)b::bytea[])
    AS d (number, subject_id, consent_id, account_index)
LEFT JOIN consent c ON c.subject_id = d.subject_id AND c.consent_id = d.consent_id
LEFT JOIN record_current o ON o.subject_id = d.subject_id AND o.account_index = d.account_index
WHERE c.consent_id IS NOT NULL OR o.record_id IS NOT NULL
"""  # noqa: S608  parts of ours, values are parameters
"""What many reports of locked borrowers rest on, by their numbers; nothing of those that rest on nothing."""

HISTORIES: Final = f"""
SELECT b.subject_id, {HISTORY} FROM unnest(%(subject_id)b::uuid[]) AS b (subject_id) {history_of("b.subject_id")}
"""  # noqa: S608  parts of ours, values are parameters

LOAD: Final = f"""
WITH {_moved(many=True, gate="")},
made AS (
    INSERT INTO subject_index (index, subject_id, key_version)
    SELECT n.index, n.subject_id, n.key_version
    FROM {_rows("n", {column: _NEW[column] for column in ("index", "subject_id", "key_version")}, many=True)}
    ON CONFLICT DO NOTHING RETURNING subject_id),
born AS (
    INSERT INTO subject
        (subject_id, state, version, dek_id, dek, element, event_count, chain, last_event_at, mac)
    SELECT n.subject_id, 'live', n.version, n.dek_id, n.dek, n.element, n.event_count, n.chain, n.last_event_at, n.mac
    FROM {
    _rows("n", {column: kind for column, kind in _NEW.items() if column not in {"index", "key_version"}}, many=True)
}
    RETURNING subject_id),
{_taken_in(many=True)},
introduced AS (
    INSERT INTO member_subject (subject_id, member_id)
    SELECT subject_id, %(member_id)s FROM unnest(%(b_subject_id)b::uuid[] || %(n_subject_id)b::uuid[]) AS i (subject_id)
    ON CONFLICT DO NOTHING RETURNING subject_id)
{
    whole(
        "(SELECT count(*) FROM moved) = cardinality(%(b_subject_id)b::uuid[])"
        " AND (SELECT count(*) FROM made) = cardinality(%(n_subject_id)b::uuid[])",
        tells="(SELECT count(*) FROM introduced)",
    )
}
"""  # noqa: S608  parts of ours, values are parameters
"""Many defaults, each as the next event of its borrower: one that is locked already, or one made for it."""

BORROWER_COLUMNS: Final = tuple(_BORROWER)
RECORD_COLUMNS: Final = tuple(_RECORD)
FREED_COLUMNS: Final = tuple(_FREED)
NEW_COLUMNS: Final = tuple(_NEW)
