"""Readers of the log, where it is not open to anyone: each has a token of its own (RFC 7617, HTTP Basic).

Tools that nobody here wrote read the log by plain GETs and can sign nothing, so a member asks for a token by a signed
request and gives it to its tools. The user is the key that asked, the password a MAC of its name: nothing is stored,
and the token ends with the key, revoked or expired, in every process as soon as the key does.
"""

import base64
import hmac
from dataclasses import dataclass, field
from typing import Final

from creditshare.access.service import Access
from creditshare.clock import Clock
from creditshare.crypto.encoding import b64url_encode
from creditshare.errors import Refused
from creditshare.wire.requests import check_key_state

MAX_AUTHORIZATION: Final = 512
"""Characters of the header; ours have about 130."""


@dataclass(frozen=True, slots=True)
class Readers:
    """Makes readers' tokens and knows them again. ``everyone``: the log is open, and no token is asked for."""

    key: bytes = field(repr=False)
    access: Access
    clock: Clock
    everyone: bool

    def token_of(self, kid: str) -> str:
        """Return the token that belongs to a key: base64url of 32 bytes."""
        return b64url_encode(hmac.digest(self.key, kid.encode(), "sha256"))

    async def admit(self, authorization: str | None, *, peer: str | None) -> None:
        """Refuse whoever may not read: ``reader_unknown``, whatever is wrong."""
        if not await self.may_read(authorization, peer=peer):
            raise Refused("reader_unknown")

    async def may_read(self, authorization: str | None, *, peer: str | None) -> bool:
        """Whether the log is shown to who sends this. A wrong token counts against its address, as an unknown key."""
        if self.everyone:
            return True
        if authorization is None:
            return False
        kid, token = _user_and_password(authorization)
        if not hmac.compare_digest(token, self.token_of(kid)):
            self.access.require_patience(peer)
            self.access.note_failure(peer)
            return False
        known = await self.access.key_table.find(kid)
        if known is None:
            return False
        try:
            check_key_state(known.registered, int(self.clock.now().timestamp()))
        except Refused:
            return False
        return True


def _user_and_password(authorization: str) -> tuple[str, str]:
    """Return both parts of Basic credentials, empty where there are none; all of ours are ASCII."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(authorization) > MAX_AUTHORIZATION:
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
    except ValueError:  # of base64, or of what is no ASCII before or after it
        return "", ""
    return user, password
