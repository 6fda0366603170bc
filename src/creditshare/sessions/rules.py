"""Pure decisions about sessions and passkeys: how long each lives, and who may still look at pages."""

from datetime import datetime, timedelta
from typing import Final

LINK_LIFE: Final = timedelta(minutes=1)
IDLE: Final = timedelta(minutes=15)
LONGEST: Final = timedelta(hours=8)
CONFIRM_WITHIN: Final = timedelta(minutes=5)
"""How long a page that was shown can be confirmed: what it says must still be what is meant."""
PASSKEY_WITHIN: Final = timedelta(minutes=10)
"""How long a new passkey waits for the signature of the member's key."""
PASSKEY_LIMIT: Final = 8

LOOKS: Final = frozenset({"active", "limited"})
"""States of a member whose people may look at pages; who is suspended has the signed API for what is left to it."""


def why_ended(
    *,
    status: str,
    role: str,
    began_as: str,
    key_state: str,
    key_expires_at: int,
    now: datetime,
) -> str | None:
    """Return why a session is over, as a problem's code, or None while its key and member are in good standing."""
    if key_state == "revoked":
        return "key_revoked"
    if key_expires_at <= now.timestamp():
        return "key_expired"
    if status not in LOOKS:
        return "member_suspended"
    return None if role == began_as else "role_forbidden"


def counts_on(before: int, told: int) -> bool:
    """Whether an authenticator's sign count went on (WebAuthn 6.1.1); one that does not count says 0 for ever."""
    return told > before or (told == 0 and before == 0)
