"""The event's part of a statement that does a whole action (decision 13)."""

from typing import Any, Final

from creditshare.audit.service import ComposedEvent

GROUPS: Final = ("meta", "subj", "body")
"""What opens the event of an act that concerns a borrower: always these three."""

ALL_OPENED: Final = f"(SELECT count(*) FROM openings) = {len(GROUPS)}"  # noqa: S608  a number
"""Whether the event and all its openings were written."""

_OPENINGS: Final = ", ".join(f"('{group}', %({group}_owner)s::uuid, %({group}_sealed)s::bytea)" for group in GROUPS)


def event_after(done: str) -> str:
    """Return the parts that append the event, once for the one row of the part named ``done``."""
    return f"""
event AS (
    INSERT INTO audit_event (event_id, leaf, leaf_hash)
    SELECT %(event_id)s, %(leaf)s, %(leaf_hash)s FROM {done} RETURNING event_id),
openings AS (
    INSERT INTO audit_opening (event_id, grp, subject_id, sealed)
    SELECT event.event_id, o.grp, o.subject_id, o.sealed
    FROM event, (VALUES {_OPENINGS}) AS o (grp, subject_id, sealed)
    RETURNING 1)"""  # noqa: S608  names of parts


def event_parameters(event: ComposedEvent) -> dict[str, Any]:
    """Return the parameters of ``event_after``."""
    parameters: dict[str, Any] = {"event_id": event.event_id, "leaf": event.leaf, "leaf_hash": event.leaf_hash}
    for opening in event.openings:
        parameters[f"{opening.group}_owner"] = opening.subject_id
        parameters[f"{opening.group}_sealed"] = opening.sealed
    return parameters
