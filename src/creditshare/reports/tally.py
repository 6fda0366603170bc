"""A keyed sum over rows, kept where who may write the rows cannot: a row taken out, put back or edited changes it.

Each row stands for one HMAC-SHA-256 (RFC 2104); they are added modulo 2^256 (an additive multiset hash, Clarke et al.,
ASIACRYPT 2003), so that a row is exchanged for another by one addition and one subtraction, however many there are.
Who has neither the key nor the sum can put together no other rows with the same one. Pure.
"""

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

MODULUS: Final = 1 << 256
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NEVER: Final = -(1 << 63)
_ROW: Final = struct.Struct("!16sqqq").pack


@dataclass(frozen=True, slots=True)
class CountedRow:
    """As of which version and instant a borrower was counted last, and when it is due again by time alone."""

    subject_id: UUID
    version: int
    counted_at: datetime
    again_at: datetime | None


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums rows under a key."""

    _key: bytes = field(repr=False)

    def of(self, row: CountedRow) -> int:
        """Return what a row adds to the sum."""
        again = _NEVER if row.again_at is None else _microseconds(row.again_at)
        spelled = _ROW(row.subject_id.bytes, row.version, _microseconds(row.counted_at), again)
        return int.from_bytes(hmac.digest(self._key, spelled, "sha256"), "big")

    def moved(self, total: int, *, less: Iterable[CountedRow] = (), more: Iterable[CountedRow] = ()) -> int:
        """Return the sum without some rows and with others."""
        return (total - sum(map(self.of, less)) + sum(map(self.of, more))) % MODULUS


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
