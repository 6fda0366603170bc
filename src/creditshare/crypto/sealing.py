"""CSE-1: sealed fields. AES-256-GCM bound to its place, so that a moved ciphertext does not open.

Bytes: ``0x01 | alg(1) | key_id(8) | nonce(12) | ciphertext‖tag(16)``; 38 bytes more than the plaintext.
The additional data is length-prefixed (scheme, table, column, row id, key id): joining with a separator
alone would let field boundaries shift. Table and column names here are constants of the stored form and
stay as they are when a table is renamed. Nonces are 96 random bits (NIST SP 800-38D §8.2.2); a key per
borrower keeps the number of messages per key far below 2^32.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from creditshare.errors import IntegrityError

SCHEME: Final = b"cse1"
VERSION: Final = 0x01
AES_256_GCM: Final = 0x01
KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
HEADER_BYTES: Final = 2 + KEY_ID_BYTES + NONCE_BYTES
OVERHEAD_BYTES: Final = HEADER_BYTES + TAG_BYTES


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value lives: constants of the stored form, and the row's id."""

    table: str
    column: str
    row_id: bytes


def length_prefixed(*parts: bytes) -> bytes:
    """Join byte strings so that no two different lists give the same bytes (4-byte lengths)."""
    # A list, which is quicker to join than what makes it one by one: dozens of these are made for a request.
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


def derive_key(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes by HKDF-SHA-256 (RFC 5869): extract with ``salt``, expand one block with ``info``."""
    return expanded(extracted(secret, salt=salt), info=info)


def extracted(secret: bytes, *, salt: bytes) -> bytes:
    """Return the pseudorandom key of RFC 5869 section 2.2, for those who derive several keys of one secret."""
    return hmac.digest(salt or bytes(hashlib.sha256().digest_size), secret, "sha256")


def expanded(pseudorandom_key: bytes, *, info: bytes) -> bytes:
    """Return the first 32 bytes of RFC 5869 section 2.3."""
    return hmac.digest(pseudorandom_key, info + b"\x01", "sha256")


@cache
def _column(table: str, column: str) -> bytes:
    """Return the beginning of what binds a value to its place; the columns are few and never change."""
    return length_prefixed(SCHEME, table.encode(), column.encode())


@dataclass(frozen=True, slots=True)
class Box:
    """One AES-256-GCM key with its 8-byte id. The cipher object is kept: building it costs as much as using it."""

    key_id: bytes
    _header: bytes = field(repr=False)
    _end: bytes = field(repr=False)
    _cipher: AESGCM = field(repr=False)

    @classmethod
    def of(cls, key: bytes, *, key_id: bytes) -> "Box":
        """Make a box from 32 key bytes and the 8-byte id that its ciphertexts will name."""
        if len(key) != KEY_BYTES or len(key_id) != KEY_ID_BYTES:
            raise ValueError("a box needs a key of 32 bytes and an id of 8")
        return cls(key_id, bytes((VERSION, AES_256_GCM)) + key_id, length_prefixed(key_id), AESGCM(key))

    def seal(
        self, place: Place, plaintext: bytes, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> bytes:
        """Return the sealed bytes of a plaintext, bound to its place."""
        nonce = random_bytes(NONCE_BYTES)
        return self._header + nonce + self._cipher.encrypt(nonce, plaintext, self._bound_to(place))

    def open(self, place: Place, sealed: bytes) -> bytes:
        """Return the plaintext, or raise ``IntegrityError``: another place, key, form, or changed bytes."""
        if len(sealed) < OVERHEAD_BYTES or not sealed.startswith(self._header):
            known = len(sealed) >= OVERHEAD_BYTES and sealed[0] == VERSION and sealed[1] == AES_256_GCM
            reason = "names another key" if known else "is not a sealed value of a known form"
            raise IntegrityError(f"{place.table}.{place.column} {reason}")
        nonce = sealed[2 + KEY_ID_BYTES : HEADER_BYTES]
        try:
            return self._cipher.decrypt(nonce, sealed[HEADER_BYTES:], self._bound_to(place))
        except InvalidTag:
            raise IntegrityError(f"{place.table}.{place.column} does not open in this place") from None

    def _bound_to(self, place: Place) -> bytes:
        row_id = place.row_id
        return _column(place.table, place.column) + len(row_id).to_bytes(4, "big") + row_id + self._end
