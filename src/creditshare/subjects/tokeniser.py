"""The tokeniser: evaluates the oblivious function on blinded elements, within a member's budget.

RFC 9497, suite P256-SHA256, mode VOPRF. It learns neither the input nor the output, only how many. The
service of ``embedded`` mode holds the key in its own key file; run apart, the same class holds it alone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from creditshare.audit.service import Entry, Recorded
from creditshare.crypto import oprf
from creditshare.crypto.encoding import b64url_decode
from creditshare.errors import FieldError, Malformed, Refused
from creditshare.storage.engine import WriteSession
from creditshare.subjects.budgets import Budgets, more


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Evaluated elements in the order asked, with one proof for all of them."""

    key_version: int
    evaluated: tuple[bytes, ...]
    proof: bytes


class Tokeniser:
    """Holds the oblivious function's keys by version; one of them is current."""

    def __init__(self, keys: Mapping[int, oprf.SecretKey], *, current: int, budgets: Budgets) -> None:
        self._keys = dict(keys)
        self.current = current
        self.budgets = budgets

    @property
    def public_keys(self) -> dict[int, bytes]:
        """The public key of each version, 33 bytes each."""
        return {version: key.public_key for version, key in self._keys.items()}

    def key_for(self, suite: str, key_version: int) -> oprf.SecretKey:
        """Return the key of an accepted suite and version, or refuse with the reason."""
        if suite != oprf.SUITE:
            raise Refused("suite_unknown")
        if key_version != self.current:
            raise Refused("key_version_retired")
        return self._keys[key_version]

    async def evaluate(
        self,
        session: WriteSession,
        member_id: UUID,
        *,
        suite: str,
        key_version: int,
        blinded: Sequence[str],
        per_day: int,
        now: datetime,
    ) -> Recorded[Evaluation]:
        """Evaluate up to 256 blinded elements and count them against the member's day, all or none."""
        key = self.key_for(suite, key_version)
        elements = [_element(text, position) for position, text in enumerate(blinded)]
        count = len(elements)
        # Looked at before the work, so that nobody's computing is free, and counted strictly at the end.
        more(await self.budgets.used(session, member_id, now=now), count, per_day=per_day, now=now)
        session.at_the_end(partial(self.budgets.spend, session, member_id, count=count, per_day=per_day, now=now))
        try:
            # In a thread: a full batch takes a while, and others' requests shall not wait for it.
            evaluated, proof = await asyncio.to_thread(oprf.evaluate, key, elements)
        except Malformed:
            raise Refused(
                "element_invalid", fields=[FieldError("/blinded", "element_invalid", "33 bytes on the curve P-256")]
            ) from None
        entry = Entry("evaluate_tokens", details={"elements": count, "key_version": key_version})
        return Recorded(Evaluation(key_version, tuple(evaluated), proof), entry)


def _element(text: str, position: int) -> bytes:
    try:
        element = b64url_decode(text)
    except Malformed:
        element = b""
    if len(element) != oprf.ELEMENT_BYTES:
        raise Refused(
            "element_invalid",
            fields=[FieldError(f"/blinded/{position}", "element_invalid", "base64url of 33 bytes, a point of P-256")],
        )
    return element
