"""What an event of the log says, for whom it may be said: opening one is itself an event.

Who acted may open what it did, its own request included, until the borrower is erased. Regulators and operators may
open who did what, which names no borrower and is never erased; suspended ones open no more than their own. What an
event commits to about a borrower (``subj``) holds a number that all members would see alike, so nobody is shown it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from creditshare.audit.openings import KeptEvent, Opened, kept_event
from creditshare.audit.service import Audit, Entry, Recorded
from creditshare.errors import Refused
from creditshare.ids import spell
from creditshare.keys.custody import SubjectKeys
from creditshare.members.service import Member
from creditshare.storage.engine import ReadSession
from creditshare.subjects.service import Subjects
from creditshare.wire.strict_json import decode_object

ShownGroup = Literal["meta", "body"]


@dataclass(frozen=True, slots=True)
class OpenedEvent:
    """An event's leaf and what opens it, by group."""

    event_id: UUID
    leaf: bytes
    groups: Mapping[ShownGroup, Opened]


class Openings:
    """Opens events for those who may know what they say."""

    def __init__(self, *, audit: Audit, subjects: Subjects) -> None:
        self._audit = audit
        self._subjects = subjects

    async def show(
        self, session: ReadSession, event_id: UUID, *, by: Member, group: ShownGroup | None
    ) -> Recorded[OpenedEvent]:
        """Open an event, by default all of it that the member may know.

        ``not_found`` for an event of others, ``role_forbidden`` for a group that is not for this role, ``erased`` for
        one that was deleted with its borrower.
        """
        event = await kept_event(session, event_id)
        meta = event.open("meta", self._audit.opening_box)
        allowed = _allowed(by, actor=str(decode_object(meta.payload.encode())["actor"]))
        if not allowed:
            raise Refused("not_found")
        if group is not None and group not in allowed:
            raise Refused("role_forbidden")
        groups: dict[ShownGroup, Opened] = {}
        keys = None
        for wanted in allowed if group is None else (group,):
            if wanted == "meta":
                groups["meta"] = meta
            else:
                keys = await self._keys(session, event)
                groups["body"] = event.open("body", keys.box("opening") if keys else self._audit.opening_box)
        entry = Entry(
            "show_opening",
            subject=keys,
            references={"event_id": spell("evt", event_id)},
            details={"groups": " ".join(groups)},
        )
        return Recorded(OpenedEvent(event_id, event.leaf, groups), entry)

    async def _keys(self, session: ReadSession, event: KeptEvent) -> SubjectKeys | None:
        """Return the keys of the borrower whom the event's body belongs to, if it belongs to one."""
        closed = event.openings.get("body")
        if closed is None:
            raise Refused("erased")
        if closed.subject_id is None:
            return None
        return (await self._subjects.read(session, closed.subject_id)).keys


def _allowed(by: Member, *, actor: str) -> tuple[ShownGroup, ...]:
    if actor == spell("mem", by.member_id):
        return ("meta", "body")
    return ("meta",) if by.oversees("operator", "regulator") else ()
