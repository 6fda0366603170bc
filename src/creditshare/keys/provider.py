"""The interface behind which a key-encryption key may live: a file today, a hardware module later."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A wrapped data key: the sealed bytes (which name the wrapping key) and nothing else."""

    data: bytes

    @property
    def wrapping_key_id(self) -> bytes:
        """The 8-byte id of the key-encryption key that wraps it (``crypto/sealing.py``)."""
        return self.data[2:10]


class KeyProvider(Protocol):
    """Wraps and unwraps 32-byte data keys, bound to the row that they belong to."""

    def wrap(self, key: bytes, *, row_id: bytes) -> Wrapped:
        """Wrap under the current key-encryption key."""

    def unwrap(self, wrapped: Wrapped, *, row_id: bytes) -> bytes:
        """Return the data key, or raise ``IntegrityError``."""

    def describe(self) -> str:
        """Say in one line which key wraps, for ``keys status``; never a secret."""
