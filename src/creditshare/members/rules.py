"""Pure decisions about keys: which may be revoked by which, when one that has a successor ends, of which to warn."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from creditshare.errors import Refused

OVERLAP: Final = timedelta(days=7)
"""How long a key and its successor are both good, so that every system of a member can change over."""

SIGNING: Final = ("active", "retiring")
"""States of a key that may sign. One that is ``pending`` waits for a second person, and ends with the proposal."""

RevocationReason = Literal["rotation", "compromise", "retired", "other"]


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What the rules need to know of one of a member's keys."""

    kid: str
    state: str
    registered_at: datetime
    expires_at: datetime
    registered_by: str | None

    def lives(self, now: datetime) -> bool:
        """Whether it may sign."""
        return self.state in SIGNING and self.expires_at > now


def warning(ends: datetime, *, now: datetime, days: Sequence[int]) -> int | None:
    """Return the smallest of these numbers of days within which something ends, or None where it lies farther."""
    return min((one for one in days if ends <= now + timedelta(days=one)), default=None)


def revoked(
    keys: Sequence[KeyFacts],
    kid: str,
    *,
    by_kid: str,
    reason: RevocationReason,
    since: datetime | None,
    now: datetime,
) -> frozenset[str]:
    """Return which of a member's keys end when one is revoked (``signing.md``, Keys); they end at once.

    ``compromise`` with ``since`` also reaches what the key registered since then, directly or through a chain. A key
    may end itself, but it may not leave itself as the only one: a thief could otherwise lock the owner out.
    """
    named = _named(keys, kid)
    if named.state == "revoked":
        raise Refused("state_conflict")
    reached = _registered_through(keys, kid, since) if reason == "compromise" and since is not None else {kid}
    left = {key.kid for key in keys if key.lives(now)} - reached
    if named.state in SIGNING and kid != by_kid and by_kid in {key.kid for key in keys} and not left - {by_kid}:
        raise Refused("state_conflict", extra={"hint": "a key may not revoke the last other live key"})
    return frozenset(reached)


def retirement(keys: Sequence[KeyFacts], kid: str, *, now: datetime) -> datetime:
    """Return when a key ends that has a successor: after the overlap, so that nothing of the member stops working."""
    key = _named(keys, kid)
    successors = [other.registered_at for other in keys if other.lives(now) and other.registered_at > key.registered_at]
    if not key.lives(now) or not successors:
        raise Refused("state_conflict", extra={"hint": "register the key that follows first"})
    return min(max(min(successors) + OVERLAP, now), key.expires_at)


def _named(keys: Sequence[KeyFacts], kid: str) -> KeyFacts:
    for key in keys:
        if key.kid == kid:
            return key
    raise Refused("not_found")


def _registered_through(keys: Sequence[KeyFacts], kid: str, since: datetime) -> set[str]:
    reached = {kid}
    while True:
        more = {k.kid for k in keys if k.registered_by in reached and k.registered_at >= since} - reached
        if not more:
            return reached
        reached |= more
