"""Borrower keys: made with the borrower, opened through a bounded and expiring cache, destroyed for ever."""

import hmac
import secrets
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Literal

from creditshare.crypto.sealing import (
    KEY_BYTES,
    KEY_ID_BYTES,
    Box,
    Place,
    derive_key,
    expanded,
    extracted,
    length_prefixed,
)
from creditshare.keys.provider import KeyProvider, Wrapped

Kind = Literal["element", "consent", "answer", "opening", "idempotency", "warrant", "debt"]

_MAC_INFO: Final = b"creditshare/mac"
_RECORD_INFO: Final = b"creditshare/record"
SALT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class SubjectKeys:
    """All keys of one borrower, derived from the data key (HKDF, RFC 5869)."""

    subject_id: uuid.UUID
    key_id: bytes
    _secret: bytes = field(repr=False)
    _root: bytes = field(repr=False)
    _mac_key: bytes = field(repr=False)
    _boxes: dict[str, Box] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, subject_id: uuid.UUID, key_id: bytes, secret: bytes) -> "SubjectKeys":
        """Derive the keys of a borrower from its 32-byte data key."""
        root = extracted(secret, salt=subject_id.bytes)
        return cls(subject_id, key_id, secret, root, expanded(root, info=_MAC_INFO))

    def box(self, kind: Kind) -> Box:
        """Return the key for one kind of sealed thing that is deleted with its own row."""
        if kind not in self._boxes:
            key = expanded(self._root, info=b"creditshare/" + kind.encode())
            self._boxes[kind] = Box.of(key, key_id=self.key_id)
        return self._boxes[kind]

    def record_box(self, record_id: uuid.UUID, salt: bytes) -> Box:
        """Return a record's key; without its deletable salt it cannot be made again."""
        return Box.of(derive_key(self._secret, salt=salt, info=_RECORD_INFO + record_id.bytes), key_id=self.key_id)

    def mac(self, *parts: bytes) -> bytes:
        """Return HMAC-SHA-256 over the length-prefixed parts under the borrower's MAC key."""
        return hmac.digest(self._mac_key, length_prefixed(*parts), "sha256")


def seal_place(table: str, column: str, row_id: uuid.UUID) -> Place:
    """Name a place by the row's UUID."""
    return Place(table, column, row_id.bytes)


class Custody:
    """Makes and opens borrower keys. The cache holds opened keys for a short while, never wrapped ones."""

    def __init__(self, provider: KeyProvider, *, cache_entries: int, cache_s: float) -> None:
        self._provider = provider
        self._entries = cache_entries
        self._lifetime = cache_s
        self._opened: OrderedDict[tuple[uuid.UUID, bytes], tuple[float, SubjectKeys]] = OrderedDict()

    def make(self, subject_id: uuid.UUID) -> tuple[SubjectKeys, Wrapped]:
        """Make a borrower's key and its wrapped form; nothing is kept."""
        secret = secrets.token_bytes(KEY_BYTES)
        keys = SubjectKeys.of(subject_id, secrets.token_bytes(KEY_ID_BYTES), secret)
        return keys, self._provider.wrap(secret, row_id=subject_id.bytes)

    def open(self, subject_id: uuid.UUID, key_id: bytes, wrapped: bytes, *, monotonic: float) -> SubjectKeys:
        """Return a borrower's keys, from the cache if fresh. ``monotonic`` is a time in seconds."""
        name = (subject_id, bytes(key_id))
        kept = self._opened.get(name)
        if kept is not None and kept[0] > monotonic:
            self._opened.move_to_end(name)
            return kept[1]
        secret = self._provider.unwrap(Wrapped(bytes(wrapped)), row_id=subject_id.bytes)
        keys = SubjectKeys.of(subject_id, bytes(key_id), secret)
        if self._entries:
            self._opened[name] = (monotonic + self._lifetime, keys)
            while len(self._opened) > self._entries:
                self._opened.popitem(last=False)
        return keys

    def rewrap(self, subject_id: uuid.UUID, wrapped: bytes) -> Wrapped:
        """Return a borrower's data key wrapped by the current key."""
        secret = self._provider.unwrap(Wrapped(bytes(wrapped)), row_id=subject_id.bytes)
        return self._provider.wrap(secret, row_id=subject_id.bytes)

    def wrapping_key_id(self) -> bytes:
        """Return the 8-byte id of the wrapping key in force, as whatever provider there is names it."""
        return self._provider.wrap(bytes(KEY_BYTES), row_id=b"").wrapping_key_id

    def forget(self, subject_id: uuid.UUID) -> None:
        """Drop a borrower's opened keys from the cache."""
        for name in [name for name in self._opened if name[0] == subject_id]:
            del self._opened[name]
