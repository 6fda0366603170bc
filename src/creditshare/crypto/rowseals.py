"""Seals of rows that decide who may do what: a MAC over every column that decides, and one over a whole table.

A row's seal is an HMAC-SHA-256 (RFC 2104) over the table's name and each column's name, type and value, behind the
8-byte id of its key, so that rows sealed before a rotation stay checkable. The row's identity is among the columns: no
row passes for another.

A single row put back to an older state of its own has a good seal. So a table may also keep the *sum* of its rows:
the XOR of one secret share for each row's seal (an XOR multiset hash, Clarke et al., ASIACRYPT 2003, of a set here).
It is changed by two shares for each change, and kept encrypted: who has seen neither shares nor sum cannot put together
other rows with the same one. A sum and *all* its rows put back together are an older state that was true once; noticing
that is left to who remembers more.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import reduce
from typing import Final
from uuid import UUID

from creditshare.crypto.sealing import KEY_ID_BYTES, Box, Place, derive_key, length_prefixed
from creditshare.errors import IntegrityError

SHARE_BYTES: Final = 32
NO_ROWS: Final = bytes(SHARE_BYTES)
MOST_BROKEN: Final = 12
"""Beyond so many broken rows it is not told any more whether the others are all there and current."""

Value = None | bool | int | str | bytes | UUID | datetime | date | Sequence["Value"] | Mapping[str, "Value"]


@dataclass(frozen=True, slots=True)
class RowSeals:
    """Seals rows under the current key and checks them under any kept one. Made from 32-byte secrets by key id."""

    current: bytes
    _row_keys: Mapping[bytes, bytes] = field(repr=False)
    _share_keys: Mapping[bytes, bytes] = field(repr=False)
    _boxes: Mapping[bytes, Box] = field(repr=False)

    @classmethod
    def of(cls, secrets: Mapping[bytes, bytes], *, current: bytes) -> "RowSeals":
        """Derive the keys (HKDF, RFC 5869) from each kept secret."""
        return cls(
            current,
            {name: derive_key(secret, salt=b"", info=b"creditshare/row-seal") for name, secret in secrets.items()},
            {name: derive_key(secret, salt=b"", info=b"creditshare/row-share") for name, secret in secrets.items()},
            {
                name: Box.of(derive_key(secret, salt=b"", info=b"creditshare/row-sum"), key_id=name)
                for name, secret in secrets.items()
            },
        )

    def seal(self, table: str, columns: Mapping[str, Value]) -> bytes:
        """Return the seal of a row: 8 bytes of key id, 32 of HMAC."""
        return self._sealed(self.current, table, columns)

    def holds(self, table: str, columns: Mapping[str, Value], seal: bytes) -> bool:
        """Whether a row is as it was when it got its seal; an unknown key's seal does not hold."""
        name = bytes(seal[:KEY_ID_BYTES])
        return name in self._row_keys and hmac.compare_digest(self._sealed(name, table, columns), seal)

    def _sealed(self, name: bytes, table: str, columns: Mapping[str, Value]) -> bytes:
        return name + hmac.digest(self._row_keys[name], length_prefixed(table.encode(), spelled(columns)), "sha256")

    def share(self, table: str, identity: Value, seal: bytes) -> bytes:
        """Return what a row with this seal adds to a sum; with a seal of an unknown key, nothing.

        The row's identity is in it, or a planted row could bear another one's seal and make up for its share.
        """
        key = self._share_keys.get(bytes(seal[:KEY_ID_BYTES]))
        message = length_prefixed(table.encode(), spelled(identity), seal)
        return NO_ROWS if key is None else hmac.digest(key, message, "sha256")

    def seal_sum(self, table: str, total: bytes) -> bytes:
        """Return a table's sum, encrypted."""
        return self._boxes[self.current].seal(Place(table, "sum", b""), total)

    def open_sum(self, table: str, sealed: bytes) -> bytes:
        """Return a table's sum, or raise ``IntegrityError``."""
        box = self._boxes.get(bytes(sealed[2 : 2 + KEY_ID_BYTES]))
        if box is None:
            raise IntegrityError(f"the sum of {table} is not sealed by a key of this key file")
        return box.open(Place(table, "sum", b""), sealed)


def added(*shares: bytes) -> bytes:
    """Return the sum of shares. Adding one twice takes it away again."""
    total = reduce(lambda one, other: one ^ other, (int.from_bytes(share, "big") for share in shares), 0)
    return total.to_bytes(SHARE_BYTES, "big")


def accounted(total: bytes, good: bytes, broken: Iterable[bytes]) -> bool:
    """Whether a sum is that of the rows whose seals hold, with or without each of the broken ones.

    A broken row was planted, so the sum is without it, or edited, so that it is with the seal that the row still has.
    Either way all the others are there and current.
    """
    shares = {int.from_bytes(share, "big") for share in broken}
    if len(shares) > MOST_BROKEN:
        return False
    reached = {int.from_bytes(good, "big")}
    for share in shares:
        reached |= {one ^ share for one in reached}
    return int.from_bytes(total, "big") in reached


def spelled(value: Value) -> bytes:  # noqa: PLR0911  one line for each type
    """Return bytes that no other value has: a letter for the type, then the value, lists with lengths before items."""
    match value:
        case None:
            return b"n"
        case bool():
            return b"1" if value else b"0"
        case int():
            return b"i%d" % value
        case str():
            return b"s" + value.encode()
        case bytes() | bytearray() | memoryview():
            return b"b" + bytes(value)
        case UUID():
            return b"u" + value.bytes
        case datetime():
            return b"t" + value.astimezone(UTC).isoformat(timespec="microseconds").encode()
        case date():
            return b"d" + value.isoformat().encode()
        case Mapping():
            items = sorted(value.items())
            return b"m" + length_prefixed(*(part for name, one in items for part in (name.encode(), spelled(one))))
        case Sequence():
            return b"l" + length_prefixed(*(spelled(one) for one in value))
        case _:
            raise TypeError(f"no seal for a {type(value).__name__}")
