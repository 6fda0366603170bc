"""Trust on first use: the service's public keys as a member first saw them, and the refusal of others.

A service, or someone in its place, that changes its signing keys could give answers that no log holds; one that
changes the tokeniser's key could find out, member by member, which tokens belong together. So both are pinned, with
the log's key, and a key that was not pinned is never trusted silently: a person compares it with what the operator
published elsewhere and then accepts it (``creditshare profile trust``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from creditshare.client.core import parse_jwks
from creditshare.errors import VerificationFailed


class PinChanged(VerificationFailed):
    """The service shows another key than the one that was pinned."""


@dataclass(frozen=True, slots=True)
class Pins:
    """What was seen first: issuer, thumbprints of signing keys, tokeniser keys by ``suite/version``, log key."""

    issuer: str
    service_keys: tuple[str, ...]
    tokeniser: Mapping[str, str] = field(default_factory=dict)
    log_vkey: str = ""

    @classmethod
    def of(cls, discovery: Mapping[str, Any], jwks: Mapping[str, Any]) -> "Pins":
        """Take the pins from what the service publishes now."""
        return cls(
            issuer=str(discovery["issuer"]),
            service_keys=tuple(sorted(parse_jwks(jwks))),
            tokeniser={suite_label(s): str(s["public_key"]) for s in discovery["tokens"]["suites"]},
            log_vkey=str(discovery["log"]["vkey"]),
        )

    def check(self, shown: "Pins") -> None:
        """Raise ``PinChanged`` if the service now shows another identity than these pins."""
        changes = self.differences(shown)
        if changes:
            raise PinChanged(
                "; ".join(changes) + ". Nothing was sent. Compare the new keys with what the operator published by"
                " another way; if they are right, accept them with `creditshare profile trust NAME`"
            )

    def differences(self, shown: "Pins") -> list[str]:
        """Say what contradicts the pins. Keys beside the pinned ones contradict nothing, and are not trusted."""
        changes = []
        if shown.issuer != self.issuer:
            changes.append(f"the service calls itself {shown.issuer}, but {self.issuer} was pinned")
        if not set(shown.service_keys) & set(self.service_keys):
            changes.append("none of the pinned keys that sign answers is published any more")
        if shown.log_vkey != self.log_vkey:
            changes.append("the log's key is not the pinned one")
        changes += [
            f"the tokeniser's key {label} is not the pinned one"
            for label, key in shown.tokeniser.items()
            if self.tokeniser.get(label, key) != key
        ]
        return changes

    def additions(self, shown: "Pins") -> list[str]:
        """Name the keys that are published beside the pinned ones."""
        return [f"signing key {kid}" for kid in _new(shown.service_keys, self.service_keys)] + [
            f"tokeniser key {label}" for label in _new(tuple(shown.tokeniser), tuple(self.tokeniser))
        ]


def suite_label(suite: Mapping[str, Any]) -> str:
    """Return the name under which a tokeniser key is pinned."""
    return f"{suite['suite']}/{suite['key_version']}"


def _new(shown: Sequence[str], known: Sequence[str]) -> list[str]:
    return [name for name in shown if name not in known]
