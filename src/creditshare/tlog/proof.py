"""An inclusion proof that travels with its checkpoint and can be verified years later without the service.

Two spellings: the JSON of ``GET /audit/v1/proof/inclusion`` and the C2SP tlog-proof text. Readers are strict about
every value they use; unknown JSON members are ignored, because our answers may grow. Left out: whether the leaf says
what its holder believes. Who has the leaf's bytes compares ``merkle.leaf_hash(leaf)`` with ``leaf_hash`` and reads the
event's id from the leaf.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from creditshare.tlog.merkle import HASH_SIZE, MAX_PROOF, verify_inclusion
from creditshare.tlog.note import MAX_NOTE, Verifier
from creditshare.tlog.spelling import (
    MAX_SIZE,
    decode_decimal,
    decode_std,
    decode_text,
    decode_url,
    encode_std,
    encode_url,
    has_control,
)

MAX_DOCUMENT = 2 * MAX_NOTE
"""Largest proof document that is parsed, in bytes."""

TEXT_HEADER = "c2sp.org/tlog-proof@v1"
"""First line of the text form."""

_MAX_EVENT_ID = 128


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """The claim that leaf number ``index`` of the log at ``size`` leaves has the hash ``leaf_hash``.

    ``hashes`` are the 32-byte proof entries from the leaf's sibling upwards, ``checkpoint`` is the signed note of
    exactly ``size`` leaves. Neither ``event_id`` nor ``extra`` (opaque bytes of the text form; empty when absent) is
    covered by the proof. Raises ``Malformed`` for a value that has no spelling.
    """

    event_id: str
    leaf_hash: bytes
    index: int
    size: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes = b""

    def __post_init__(self) -> None:
        decode_text(self.event_id, what="event_id", limit=_MAX_EVENT_ID)
        if not self.event_id or "\n" in self.event_id or has_control(self.event_id):
            raise Malformed("event_id is not empty and holds no control character")
        if not (0 <= self.index <= MAX_SIZE and 0 <= self.size <= MAX_SIZE):
            raise Malformed("index and size are 0 to 2^63 - 1")
        if len(self.hashes) > MAX_PROOF:
            raise Malformed(f"a proof has at most {MAX_PROOF} hashes")
        if any(len(entry) != HASH_SIZE for entry in (self.leaf_hash, *self.hashes)):
            raise Malformed("a hash is 32 bytes long")
        decode_text(self.checkpoint, what="checkpoint", limit=MAX_NOTE)

    def verify(self, verifiers: Sequence[Verifier]) -> Checkpoint:
        """Check the proof against its own checkpoint, signed by one of ``verifiers``; return that checkpoint.

        Raises ``Malformed`` when the checkpoint has not its form; ``VerificationFailed`` when its signature does not
        hold, its size is not ``size``, or the hashes do not lead from leaf to root.
        """
        checkpoint = open_checkpoint(self.checkpoint, verifiers)
        # Without this a proof of an older tree could ride on a newer signature, and "size" would mean nothing.
        if checkpoint.size != self.size:
            raise VerificationFailed("the proof is for another size than its checkpoint")
        verify_inclusion(
            leaf_hash=self.leaf_hash, index=self.index, size=self.size, proof=self.hashes, root=checkpoint.root
        )
        return checkpoint

    def to_dict(self) -> dict[str, str | int | list[str]]:
        """Return the members of the JSON form, hashes in base64url without padding. ``extra`` has no place there."""
        return {
            "event_id": self.event_id,
            "leaf_hash": encode_url(self.leaf_hash),
            "index": self.index,
            "size": self.size,
            "hashes": [encode_url(entry) for entry in self.hashes],
            "checkpoint": self.checkpoint,
        }

    @classmethod
    def from_dict(cls, members: Mapping[str, object]) -> "InclusionProof":
        """Read the members of the JSON form; unknown ones are ignored. Raises ``Malformed`` for anything else."""
        hashes = members.get("hashes")
        if not isinstance(hashes, list) or len(hashes) > MAX_PROOF:
            raise Malformed(f"hashes is not a list of at most {MAX_PROOF}")
        return cls(
            event_id=_text(members, "event_id"),
            leaf_hash=decode_url(_text(members, "leaf_hash"), what="leaf_hash", size=HASH_SIZE),
            index=_integer(members, "index"),
            size=_integer(members, "size"),
            hashes=tuple(_hash(entry) for entry in hashes),
            checkpoint=_text(members, "checkpoint"),
        )

    @classmethod
    def from_json(cls, document: bytes | str) -> "InclusionProof":
        """Read a JSON document in UTF-8. Raises ``Malformed`` for anything but one object with the members described.

        A name that occurs twice is refused: readers differ in which of the two they believe.
        """
        text = decode_text(document, what="the proof", limit=MAX_DOCUMENT)
        try:
            members = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise Malformed("the proof is not JSON") from error
        if not isinstance(members, dict):
            raise Malformed("the proof is not a JSON object")
        return cls.from_dict(members)

    def to_text(self) -> str:
        """Return the C2SP tlog-proof. It names neither event nor leaf, which its reader must have."""
        lines = [TEXT_HEADER]
        if self.extra:
            lines.append(f"extra {encode_std(self.extra)}")
        lines.append(f"index {self.index}")
        lines += [encode_std(entry) for entry in self.hashes]
        return "\n".join(lines) + "\n\n" + self.checkpoint

    @classmethod
    def from_text(cls, document: bytes | str, *, event_id: str, leaf_hash: bytes) -> "InclusionProof":
        """Read a C2SP tlog-proof about the event and the 32-byte leaf hash that the caller names.

        ``size`` is what the checkpoint claims. Raises ``Malformed`` for a document of another form.
        """
        text = decode_text(document, what="the proof", limit=MAX_DOCUMENT)
        # The first blank line ends the proof; further ones belong to the checkpoint.
        head, blank, checkpoint = text.partition("\n\n")
        header, *lines = head.split("\n")
        if not blank or header != TEXT_HEADER:
            raise Malformed("a tlog-proof is its header, lines, a blank line and a checkpoint")
        extra = _take(lines, "extra ")
        index = _take(lines, "index ")
        if index is None:
            raise Malformed("a tlog-proof names an index")
        if extra == "":
            raise Malformed("without extra data the line is left out")
        if len(lines) > MAX_PROOF:
            raise Malformed(f"a proof has at most {MAX_PROOF} hashes")
        return cls(
            event_id=event_id,
            leaf_hash=leaf_hash,
            index=decode_decimal(index, what="index"),
            size=peek_checkpoint(checkpoint).size,
            hashes=tuple(decode_std(line, what="a proof hash", size=HASH_SIZE) for line in lines),
            checkpoint=checkpoint,
            extra=b"" if extra is None else decode_std(extra, what="extra"),
        )


def _take(lines: list[str], prefix: str) -> str | None:
    """Remove the first line if it begins with ``prefix`` and return what follows it."""
    if lines and lines[0].startswith(prefix):
        return lines.pop(0).removeprefix(prefix)
    return None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    return members


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise Malformed(f"{name} is not a string")
    return value


def _integer(members: Mapping[str, object], name: str) -> int:
    value = members.get(name)
    # bool is an int in Python, not in JSON.
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"{name} is not an integer")
    return value


def _hash(value: object) -> bytes:
    if not isinstance(value, str):
        raise Malformed("a hash is not a string")
    return decode_url(value, what="a hash", size=HASH_SIZE)
