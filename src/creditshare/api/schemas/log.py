"""What a member is told about the log that strangers are not."""

from pydantic import BaseModel

from creditshare.access.openings import OpenedEvent
from creditshare.ids import spell


class LogTokenOut(BaseModel):
    """A reader's token for the log (RFC 7617): it lives as long as the key whose name is the user."""

    user: str
    password: str


class OpeningOut(BaseModel):
    """What opens one commitment of a leaf; ``request`` is the signed request, where the body tells of one."""

    salt: str
    payload: str
    request: str | None = None


class OpenedOut(BaseModel):
    """An event's leaf, exactly, and by group what opens it (``docs/protocol.md``, "Leaf")."""

    event_id: str
    leaf: str
    groups: dict[str, OpeningOut]

    @classmethod
    def of(cls, event: OpenedEvent) -> "OpenedOut":
        """Present an opened event."""
        groups = {
            name: OpeningOut(salt=one.salt, payload=one.payload, request=one.request or None)
            for name, one in event.groups.items()
        }
        return cls(event_id=spell("evt", event.event_id), leaf=event.leaf.decode("ascii"), groups=groups)
