"""C2SP cosignatures with Ed25519 (signature type 0x04): who saw a checkpoint, when, and found it to continue the last.

A witness signs ``cosignature/v1``, the time and the whole text of the checkpoint; its signature line carries the time
before the signature. The name is not signed, so one key is one witness. Left out: ML-DSA-44 (type 0x06), whose lines
are ignored as unknown.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from creditshare.errors import VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint
from creditshare.tlog.note import NamedKey, Signature
from creditshare.tlog.spelling import MAX_SIZE

COSIGNATURE = 0x04
"""Signature type of an Ed25519 cosignature (C2SP tlog-cosignature, "Format")."""

_TIME_BYTES = 8
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Witness(NamedKey):
    """A witness that is trusted under a name: a key that cosigns checkpoints (type 0x04)."""

    KIND: ClassVar[int] = COSIGNATURE

    def time_of(self, text: str, signature: Signature) -> int:
        """Return when this witness cosigned a checkpoint's text, in seconds since 1970.

        Raises ``VerificationFailed`` when it did not.
        """
        value = signature.value
        if len(value) != _TIME_BYTES + _SIGNATURE_BYTES:
            raise VerificationFailed("a cosignature is a time of 8 bytes and a signature of 64")
        at = int.from_bytes(value[:_TIME_BYTES])
        if at > MAX_SIZE:
            raise VerificationFailed("a cosignature's time is beyond 2^63 - 1")
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(value[_TIME_BYTES:], _message(text, at))
        except (InvalidSignature, ValueError) as error:
            raise VerificationFailed("a cosignature of a known witness does not hold") from error
        return at


class Cosigner:
    """A witness's private key under its name. Raises ``Malformed`` for a name that no key may have."""

    def __init__(self, name: str, private_key: Ed25519PrivateKey) -> None:
        self.witness = Witness(name, private_key.public_key().public_bytes_raw())
        self._private_key = private_key

    def cosign(self, checkpoint: Checkpoint, *, at: int) -> str:
        """Return the signature line, with its newline, over a checkpoint at a time in seconds since 1970."""
        if not 0 <= at <= MAX_SIZE:
            raise ValueError("a time is 0 to 2^63 - 1 seconds")
        signature = self._private_key.sign(_message(checkpoint.text, at))
        return Signature(self.witness.name, self.witness.key_id, at.to_bytes(_TIME_BYTES) + signature).line


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A cosignature that holds: of whom, when (seconds since 1970), and its line."""

    witness: Witness
    at: int
    line: str


def cosigned_by(text: str, signatures: Sequence[Signature], witnesses: Collection[Witness]) -> tuple[Cosigned, ...]:
    """Return the cosignatures of known witnesses over a checkpoint's text, one of each, in the order of the lines.

    Lines of unknown keys are ignored. Raises ``VerificationFailed`` for a line of a known witness that does not hold.
    """
    known = {(witness.name, witness.key_id): witness for witness in witnesses}
    found: dict[Witness, Cosigned] = {}
    for signature in signatures:
        witness = known.get((signature.name, signature.key_id))
        if witness is not None and witness not in found:
            found[witness] = Cosigned(witness, witness.time_of(text, signature), signature.line)
    return tuple(found.values())


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()
