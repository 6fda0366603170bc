"""The event's part of a statement that does a whole action (decision 13)."""

from typing import Any, Final

from creditshare.audit.service import ComposedEvent

OPENINGS: Final = """
openings AS (
    INSERT INTO audit_opening (event_id, grp, subject_id, sealed)
    SELECT event.event_id, o.grp, o.subject_id, o.sealed
    FROM event, unnest(%(groups)s::text[], %(owners)s::uuid[], %(openings)s::bytea[]) AS o (grp, subject_id, sealed)
    RETURNING 1)"""

ALL_OPENED: Final = "(SELECT count(*) FROM openings) = cardinality(%(groups)s::text[])"
"""Whether the event and all its openings were written."""


def event_after(done: str) -> str:
    """Return the parts that append the event, once for the one row of the part named ``done``."""
    return f"""
event AS (
    INSERT INTO audit_event (event_id, leaf, leaf_hash)
    SELECT %(event_id)s, %(leaf)s, %(leaf_hash)s FROM {done} RETURNING event_id),{OPENINGS}"""  # noqa: S608  names of parts


def event_parameters(event: ComposedEvent) -> dict[str, Any]:
    """Return the parameters of ``event_after`` and ``ALL_OPENED``."""
    return {
        "event_id": event.event_id,
        "leaf": event.leaf,
        "leaf_hash": event.leaf_hash,
        "groups": [opening.group for opening in event.openings],
        "owners": [opening.subject_id for opening in event.openings],
        "openings": [opening.sealed for opening in event.openings],
    }
