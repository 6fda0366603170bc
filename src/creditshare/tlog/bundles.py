"""Entry bundles: the log's entries as they travel, 256 to a bundle (C2SP tlog-tiles, "Log Entries").

Each entry is preceded by its length as an unsigned 16-bit big-endian integer. A bundle has the number and the width of
the tile of level 0 that holds its entries' hashes.
"""

from collections.abc import Sequence

from creditshare.errors import Malformed
from creditshare.tlog.tiles import TILE_WIDTH

MAX_ENTRY = 65_535
"""Largest entry, in bytes."""

MAX_BUNDLE = TILE_WIDTH * (2 + MAX_ENTRY)
"""Largest bundle, in bytes."""

_LENGTH_BYTES = 2


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the body of a bundle. Raises ``ValueError`` for more than 256 entries or one that is too large."""
    if len(entries) > TILE_WIDTH or any(len(entry) > MAX_ENTRY for entry in entries):
        raise ValueError("a bundle has at most 256 entries of at most 65,535 bytes")
    return b"".join(len(entry).to_bytes(_LENGTH_BYTES) + entry for entry in entries)


def parse_bundle(body: bytes, *, width: int) -> list[bytes]:
    """Return the ``width`` entries of a bundle. Raises ``Malformed`` for a body that holds more, fewer, or a part."""
    entries: list[bytes] = []
    place = 0
    while place < len(body) and len(entries) < width:
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(body[place:start])
        if place > len(body) or start > len(body):
            raise Malformed("an entry of the bundle is cut off")
        entries.append(body[start:place])
    if len(entries) != width or place != len(body):
        raise Malformed(f"the bundle does not hold exactly {width} entries")
    return entries
