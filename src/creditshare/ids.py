"""Identifiers: UUIDs inside, prefixed text outside (``rec_018f…``).

Row ids are UUIDv7 (RFC 9562 §5.7), made before the insert because sealed fields are bound to them.
Event ids are UUIDv4: a log entry's id must not tell more of its time than the leaf's own seconds.
Handles are UUIDv8 made from an HMAC (``sharing``).
"""

import secrets
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from creditshare.errors import Malformed

Prefix = Literal["mem", "cns", "rec", "qry", "ntc", "dsp", "job", "evt", "hnd", "prp", "wrt", "dbt"]
RandomBytes = Callable[[int], bytes]

_UUID_TEXT = 36
_VERSION_4 = 0x4 << 76
_VERSION_7 = 0x7 << 76
_VERSION_8 = 0x8 << 76
_VARIANT = 0b10 << 62


def uuid7(now: datetime, random_bytes: RandomBytes = secrets.token_bytes) -> uuid.UUID:
    """Return a UUIDv7 of the given instant (RFC 9562 §5.7: 48 bits of milliseconds, 74 random bits)."""
    milliseconds = int(now.timestamp() * 1000) & 0xFFFF_FFFF_FFFF
    noise = int.from_bytes(random_bytes(10), "big")
    value = milliseconds << 80 | _VERSION_7 | (noise >> 68 & 0xFFF) << 64 | _VARIANT | noise & 0x3FFF_FFFF_FFFF_FFFF
    return uuid.UUID(int=value)


def uuid8(digest: bytes) -> uuid.UUID:
    """Return the UUIDv8 (RFC 9562 §5.8) that carries the first 122 bits of a digest of 16 bytes or more."""
    value = int.from_bytes(digest[:16], "big")
    value = value & ~(0xF << 76) & ~(0b11 << 62) | _VERSION_8 | _VARIANT
    return uuid.UUID(int=value)


def uuid4(random_bytes: RandomBytes = secrets.token_bytes) -> uuid.UUID:
    """Return a UUIDv4 from the given randomness."""
    value = int.from_bytes(random_bytes(16), "big") & ~(0xF << 76) & ~(0b11 << 62) | _VERSION_4 | _VARIANT
    return uuid.UUID(int=value)


def spell(prefix: Prefix, value: uuid.UUID) -> str:
    """Return the public text of an id, such as ``rec_018f3c1e-…``."""
    return f"{prefix}_{value}"


def parse(prefix: Prefix, text: str) -> uuid.UUID:
    """Return the UUID of a public id; one spelling only (lower case, hyphens), else ``Malformed``."""
    head, separator, tail = text.partition("_")
    if head != prefix or not separator or len(tail) != _UUID_TEXT:
        raise Malformed(f"expected an id that starts with {prefix}_")
    try:
        value = uuid.UUID(tail)
    except ValueError:
        raise Malformed(f"expected {prefix}_ and a UUID") from None
    if str(value) != tail:
        raise Malformed(f"expected {prefix}_ and a UUID in lower case with hyphens")
    return value
