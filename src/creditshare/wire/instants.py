"""How instants are spelled: RFC 3339 in UTC with ``Z``, in whole seconds or in milliseconds."""

from datetime import UTC, datetime
from typing import Literal


def spell_instant(value: datetime, *, timespec: Literal["seconds", "milliseconds"] = "seconds") -> str:
    """Return an instant's text, such as ``2026-03-02T08:00:10Z``; what is finer is cut off."""
    return value.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
