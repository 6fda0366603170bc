"""The events' part of a statement that does whole actions (decisions 13 and 17): one event for each row of ``q``."""

from typing import Any, Final

from creditshare.audit.service import ComposedEvent
from creditshare.storage.rowsets import Columns

GROUPS: Final = ("meta", "subj", "body")
"""What opens the event of an act that concerns a borrower: always these three."""

EVENT_OF: Final[Columns] = {
    "event_id": "uuid",
    "leaf": "bytea",
    "leaf_hash": "bytea",
    **{f"{group}_owner": "uuid" for group in GROUPS},
    **{f"{group}_sealed": "bytea" for group in GROUPS},
}
"""Columns of ``q`` that ``EVENT`` needs; ``event_parameters`` gives their values."""

_OPENINGS: Final = ", ".join(f"('{group}', q.{group}_owner, q.{group}_sealed)" for group in GROUPS)

EVENT: Final = f"""
event AS (
    INSERT INTO audit_event (event_id, leaf, leaf_hash) SELECT event_id, leaf, leaf_hash FROM q RETURNING 1),
openings AS (
    INSERT INTO audit_opening (event_id, grp, subject_id, sealed)
    SELECT q.event_id, o.grp, o.subject_id, o.sealed
    FROM q, LATERAL (VALUES {_OPENINGS}) AS o (grp, subject_id, sealed))"""  # noqa: S608  names of ours
"""Appends the events. A row of theirs that cannot be written fails the statement, so nothing has to be counted."""


def event_parameters(event: ComposedEvent) -> dict[str, Any]:
    """Return the values of ``EVENT_OF``."""
    parameters: dict[str, Any] = {"event_id": event.event_id, "leaf": event.leaf, "leaf_hash": event.leaf_hash}
    for opening in event.openings:
        parameters[f"{opening.group}_owner"] = opening.subject_id
        parameters[f"{opening.group}_sealed"] = opening.sealed
    return parameters
