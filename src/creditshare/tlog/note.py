"""C2SP signed notes with Ed25519 (signature type 0x01): text, a blank line, one line per signature.

The key name is part of the key: its id is a digest over name, type and public key, so one key under two names gives two
ids, and a receipt cannot pass for a checkpoint. Every failure is ``Malformed`` or ``VerificationFailed``.
Left out: witness cosignatures (``cosignature``), whose lines are ignored here as unknown.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.spelling import decode_std, decode_text, encode_std, has_control

ED25519 = 0x01
"""Signature type of a plain Ed25519 note signature (C2SP signed-note, "Signature types")."""

MAX_NOTE = 1_000_000
"""Largest note that is parsed, in bytes."""

MAX_SIGNATURES = 100
"""Most signature lines that are parsed; the standard asks for at least 16."""

_KEY_ID_BYTES = 4
PUBLIC_KEY_BYTES = 32
_DASH = "\N{EM DASH} "


def key_id(name: str, public_key: bytes, *, kind: int = ED25519) -> bytes:
    """Return the 4-byte id of a key: ``SHA-256(name || 0x0A || kind || public key)[:4]``.

    ``public_key`` is the 32-byte encoding of RFC 8032, ``kind`` the signature type. Raises ``Malformed`` for a name
    that no key may have.
    """
    _require_key_name(name)
    return hashlib.sha256(name.encode() + bytes([0x0A, kind]) + public_key).digest()[:_KEY_ID_BYTES]


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A public key that is trusted under a name, for signatures of one ``KIND``.

    ``public_key`` is the 32-byte Ed25519 encoding of RFC 8032. Raises ``Malformed`` for a name or a key of the wrong
    form.
    """

    KIND: ClassVar[int]

    name: str
    public_key: bytes
    key_id: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise Malformed("an Ed25519 public key is 32 bytes long")
        object.__setattr__(self, "key_id", key_id(self.name, self.public_key, kind=self.KIND))

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a verifier key ``<name>+<8 hex digits of key id>+<base64 of kind || public key>``.

        Raises ``Malformed`` for another form or kind, and for a key id that is not that of this name and key.
        """
        decode_text(vkey, what="the verifier key", limit=MAX_NOTE)
        parts = vkey.split("+", 2)  # base64 may hold a plus sign, a name may not
        if len(parts) != 3:  # noqa: PLR2004 - name, id and key
            raise Malformed("a verifier key has the form name+id+key")
        name, hex_id, encoded = parts
        key = decode_std(encoded, what="the verifier key")
        if len(key) != 1 + PUBLIC_KEY_BYTES or key[0] != cls.KIND:
            raise Malformed(f"a verifier key is here the byte 0x{cls.KIND:02x} and a 32-byte Ed25519 key")
        known = cls(name, key[1:])
        if known.key_id.hex() != hex_id:
            raise Malformed("the verifier key's id does not belong to its name and key")
        return known

    @property
    def vkey(self) -> str:
        """The verifier key in its text form, as ``parse`` reads it."""
        return f"{self.name}+{self.key_id.hex()}+{encode_std(bytes([self.KIND]) + self.public_key)}"


@dataclass(frozen=True, slots=True)
class Verifier(NamedKey):
    """A key that signs notes (type 0x01)."""

    KIND: ClassVar[int] = ED25519

    def verify(self, text: str, signature: bytes) -> None:
        """Check a signature over a note's text. Raises ``VerificationFailed`` when it does not hold."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text.encode())
        except (InvalidSignature, ValueError) as error:
            raise VerificationFailed("a signature of a known key does not hold") from error


class Signer:
    """A private key under a name. Raises ``Malformed`` for a name that no key may have."""

    def __init__(self, name: str, private_key: Ed25519PrivateKey) -> None:
        self.verifier = Verifier(name, private_key.public_key().public_bytes_raw())
        self._private_key = private_key

    @property
    def name(self) -> str:
        """The key's name, as it stands in the signature line."""
        return self.verifier.name

    def sign(self, text: str) -> str:
        """Return the signature line, with its newline, over a note's text. The same text gives the same line."""
        return Signature(self.name, self.verifier.key_id, self._private_key.sign(text.encode())).line


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line as it stands there, not verified: name, 4-byte key id, and what the key's type prescribes."""

    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> str:
        """The line with its newline, as it stands in a note."""
        return f"{_DASH}{self.name} {encode_std(self.key_id + self.value)}\n"


@dataclass(frozen=True, slots=True)
class UnverifiedNote:
    """A note taken apart. Nothing in it may be believed before ``open_note`` has checked a signature."""

    text: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note's text and the known keys, each once, whose signatures hold over it."""

    text: str
    signers: tuple[Verifier, ...]


def sign_note(text: str, signers: Sequence[Signer]) -> str:
    """Return the signed note: ``text``, a blank line, one line per signer.

    Raises ``Malformed`` unless the text ends in a newline and holds no other control character, and without a signer.
    """
    _require_text(text)
    if not signers:
        raise Malformed("a note has at least one signature")
    return text + "\n" + "".join(signer.sign(text) for signer in signers)


def split_note(note: bytes | str) -> UnverifiedNote:
    """Take a signed note apart without verifying anything: C2SP signed-note, "Format".

    Raises ``Malformed`` for anything that is not UTF-8, holds control characters, lacks the blank line or the final
    newline, has a line after the blank one that is no signature, or exceeds ``MAX_NOTE`` or ``MAX_SIGNATURES``.
    """
    whole = decode_text(note, what="the note", limit=MAX_NOTE)
    # The last blank line separates; the text may hold others.
    head, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise Malformed("a note is text, a blank line and signature lines, each ended by a newline")
    text = head + "\n"
    _require_text(text)
    return UnverifiedNote(text, parse_signatures(tail))


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """Read signature lines, each ended by a newline; this verifies none. Raises ``Malformed`` for anything else."""
    if not lines.endswith("\n"):
        raise Malformed("signature lines are ended by a newline each")
    # Not splitlines: that also splits at Unicode separators.
    each = lines[:-1].split("\n")
    if len(each) > MAX_SIGNATURES:
        raise Malformed(f"a note has at most {MAX_SIGNATURES} signatures")
    return tuple(_parse_signature(line) for line in each)


def open_note(note: bytes | str, verifiers: Sequence[Verifier]) -> OpenedNote:
    """Return the text of a note that at least one of ``verifiers`` signed.

    Lines of unknown keys are ignored, also where only the name or only the id is known. Raises ``Malformed`` for a note
    of the wrong form; ``VerificationFailed`` when any line of a known key does not hold, when no known key signed, and
    when two different verifiers share name and id, because then a line does not say whose it is.
    """
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    if any(known[verifier.name, verifier.key_id] != verifier for verifier in verifiers):
        raise VerificationFailed("two known keys share a name and a key id")
    unverified = split_note(note)
    signed: list[Verifier] = []
    for signature in unverified.signatures:
        verifier = known.get((signature.name, signature.key_id))
        if verifier is not None:
            verifier.verify(unverified.text, signature.value)
            if verifier not in signed:
                signed.append(verifier)
    if not signed:
        raise VerificationFailed("no known key signed the note")
    return OpenedNote(unverified.text, tuple(signed))


def _parse_signature(line: str) -> Signature:
    if not line.startswith(_DASH):
        raise Malformed("a signature line begins with an em dash and a space")
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not space:
        raise Malformed("a signature line has the form dash, name, signature")
    _require_key_name(name)
    blob = decode_std(encoded, what="a signature")
    if len(blob) <= _KEY_ID_BYTES:
        raise Malformed("a signature is a 4-byte key id and at least one byte")
    return Signature(name, blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:])


def _require_text(text: str) -> None:
    decode_text(text, what="the note's text", limit=MAX_NOTE)
    if not text.endswith("\n") or has_control(text):
        raise Malformed("a note's text ends in a newline and holds no other control character")


def _require_key_name(name: str) -> None:
    decode_text(name, what="a key name", limit=MAX_NOTE)
    if not name or "+" in name or any(char.isspace() or char < " " for char in name):
        raise Malformed("a key name is not empty and holds no space, plus sign or control character")
