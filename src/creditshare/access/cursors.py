"""Where a list goes on, as its reader carries it: opaque, made by this service, good for one member and one list only.

The MAC keeps a reader from naming a place of its own, so what a cursor holds may change with any release.
"""

import hmac
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.sealing import length_prefixed
from creditshare.errors import FieldError, Malformed, Refused

TAG_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Cursors:
    """Makes and reads cursors under a key of the service."""

    key: bytes = field(repr=False)

    def make(self, member_id: UUID, path: str, place: str) -> str:
        """Return the cursor at which a member's list of this path goes on."""
        return b64url_encode(self._tag(member_id, path, place.encode()) + place.encode())

    def read(self, member_id: UUID, path: str, cursor: str) -> str:
        """Return the place that a cursor names; one of another member, list or maker is refused."""
        try:
            given = b64url_decode(cursor)
        except Malformed:
            given = b""
        tag, place = given[:TAG_BYTES], given[TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(member_id, path, place)):
            detail = "a next_cursor of this very list, as it was answered"
            raise Refused("validation_failed", fields=[FieldError("/query/cursor", "cursor_unknown", detail)])
        return place.decode()

    def _tag(self, member_id: UUID, path: str, place: bytes) -> bytes:
        return hmac.digest(self.key, length_prefixed(member_id.bytes, path.encode(), place), "sha256")[:TAG_BYTES]
