"""C2SP checkpoints: a signed note whose text is a log's origin, its size and its root.

The log's key bears the origin as its name, here as a rule and not only as advice: it ties a signature to one log, so
that a key that signs for two logs cannot lend one's checkpoint to the other. No time is in the body; witnesses add it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.merkle import EMPTY_ROOT, HASH_SIZE
from creditshare.tlog.note import Signer, Verifier, open_note, sign_note, split_note
from creditshare.tlog.spelling import MAX_SIZE, decode_decimal, decode_std, decode_text, encode_std, has_control

_MAX_TEXT = 65_536
_FIXED_LINES = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the log's unique ``origin``, ``size`` in leaves, 32-byte ``root``.

    ``extensions`` are opaque lines that a foreign log may add; we write none, because nobody can audit them, but keep
    them, so that ``text`` gives back what was signed. Raises ``Malformed`` for a value that has no text form.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            decode_text(line, what="a line of the checkpoint", limit=_MAX_TEXT)
            if not line or "\n" in line or has_control(line):
                raise Malformed("a line of a checkpoint is not empty and holds no control character")
        if not 0 <= self.size <= MAX_SIZE:
            raise Malformed("a tree has 0 to 2^63 - 1 leaves")
        if len(self.root) != HASH_SIZE:
            raise Malformed("a root is 32 bytes long")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise Malformed("the empty tree has exactly one root")

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read the text of a note as a checkpoint: C2SP tlog-checkpoint, "Note text". This verifies no signature.

        Raises ``Malformed`` unless it is at least three non-empty lines, each ended by a newline, with the size in
        decimal without leading zeros and the root in canonical base64.
        """
        decode_text(text, what="the checkpoint", limit=_MAX_TEXT)
        *lines, last = text.split("\n")
        if len(lines) < _FIXED_LINES or last:
            raise Malformed("a checkpoint is at least three lines, each ended by a newline")
        origin, size, root, *extensions = lines
        return cls(
            origin,
            decode_decimal(size, what="the tree size"),
            decode_std(root, what="the root", size=HASH_SIZE),
            tuple(extensions),
        )

    @property
    def text(self) -> str:
        """The note text: exactly what is signed."""
        return "\n".join([self.origin, str(self.size), encode_std(self.root), *self.extensions]) + "\n"


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[Signer]) -> str:
    """Return the checkpoint as a signed note. Several signers are for the overlap when a key is replaced.

    Raises ``Malformed`` when a signer's name is not the origin, and without a signer.
    """
    if any(signer.name != checkpoint.origin for signer in signers):
        raise Malformed("a log's key is named like its origin")
    return sign_note(checkpoint.text, signers)


def open_checkpoint(note: bytes | str, verifiers: Sequence[Verifier]) -> Checkpoint:
    """Return the checkpoint in a note that one of ``verifiers``, keys of the log, signed.

    Raises ``Malformed`` for a note or text of the wrong form, ``VerificationFailed`` when a known signature does not
    hold, none is there, or none of the keys that signed is named like the origin.
    """
    opened = open_note(note, verifiers)
    checkpoint = Checkpoint.parse(opened.text)
    if all(verifier.name != checkpoint.origin for verifier in opened.signers):
        raise VerificationFailed("the checkpoint is of another log than the key")
    return checkpoint


def peek_checkpoint(note: bytes | str) -> Checkpoint:
    """Return what a note claims, without verifying a signature: for finding out which log and size it speaks of.

    Raises ``Malformed`` for a note or text of the wrong form.
    """
    return Checkpoint.parse(split_note(note).text)
