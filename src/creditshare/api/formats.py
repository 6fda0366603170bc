"""Choosing the media type of an answer among those that a route has (RFC 9110 section 12.5.1)."""

from collections.abc import Sequence
from typing import Final

NO_WEIGHT: Final = frozenset({"q=0", "q=0.0", "q=0.00", "q=0.000"})


def acceptable(accept: str, media_type: str) -> bool:
    """Say whether an ``Accept`` header takes this media type; an absent or empty one takes all.

    The most specific range that matches decides, so that ``*/*, application/json;q=0`` does not take JSON.
    """
    wanted = {"*/*": 0, media_type.partition("/")[0] + "/*": 1, media_type: 2}
    best, takes = -1, not accept.strip()
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        rank = wanted.get(name, -1)
        if rank > best:
            none = any(parameter.replace(" ", "") in NO_WEIGHT for parameter in parameters)
            best, takes = rank, not none
    return takes


def chosen(accept: str, offered: Sequence[str]) -> str | None:
    """Return the offered media type that is named first, else the first one that is taken at all."""
    named = [part.partition(";")[0].strip() for part in accept.lower().split(",")]
    for name in named:
        if name in offered and acceptable(accept, name):
            return name
    return next((one for one in offered if acceptable(accept, one)), None)
