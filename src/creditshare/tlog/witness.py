"""What a log sends to a witness and how the witness decides: C2SP tlog-witness, ``add-checkpoint``.

The decision is a pure function of what was sent, whom the witness trusts and what it cosigned last. Whoever calls it
stores the new checkpoint in the same transaction in which it read the last one: otherwise two requests at once could
take the witness back to the smaller tree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from creditshare.errors import CreditshareError, Malformed, VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from creditshare.tlog.merkle import EMPTY_ROOT, HASH_SIZE, verify_consistency
from creditshare.tlog.note import MAX_NOTE, Verifier
from creditshare.tlog.spelling import decode_decimal, decode_std, decode_text, encode_std

MAX_PROOF = 63
"""Most lines of a consistency proof that a log may send."""

SIZE_TYPE = "text/x.tlog.size"
"""Media type of the answer that says what size the witness cosigned last."""


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A checkpoint, the size it is proved to continue, and the proof: hashes of 32 bytes."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    def encode(self) -> bytes:
        """Return the body of the request."""
        lines = [f"old {self.old}", *map(encode_std, self.proof), "", self.note]
        return "\n".join(lines).encode()

    @classmethod
    def parse(cls, body: bytes) -> "AddCheckpoint":
        """Read the body of a request. Raises ``Malformed`` for any other form; the checkpoint is not read yet."""
        text = decode_text(body, what="the request", limit=MAX_NOTE)
        head, blank, note = text.partition("\n\n")
        first, *proof = head.split("\n")
        if not blank or not first.startswith("old "):
            raise Malformed("a request is the old size, a consistency proof, an empty line and a checkpoint")
        if len(proof) > MAX_PROOF:
            raise Malformed(f"a consistency proof has at most {MAX_PROOF} lines")
        return cls(
            decode_decimal(first.removeprefix("old "), what="the old size"),
            tuple(decode_std(line, what="a line of the proof", size=HASH_SIZE) for line in proof),
            note,
        )


@dataclass(frozen=True, slots=True)
class Held:
    """What a witness cosigned last of a log; nothing yet is the empty tree."""

    size: int = 0
    root: bytes = EMPTY_ROOT


class UnknownLog(CreditshareError):
    """The witness knows no key of this log."""


class NotSigned(CreditshareError):
    """No key that the witness trusts for this log signed the checkpoint."""


class OtherSize(CreditshareError):
    """The witness cosigned another size last than the request says, or another tree of that size."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the witness cosigned {size} leaves last, or another tree of that size")
        self.size = size


def decide(request: AddCheckpoint, *, logs: Mapping[str, Sequence[Verifier]], held: Mapping[str, Held]) -> Checkpoint:
    """Return the checkpoint that is to be stored and cosigned.

    ``logs`` are the trusted keys by origin, ``held`` what was cosigned last by origin. Raises, in this order:
    ``Malformed``, ``UnknownLog``, ``NotSigned``, ``Malformed`` for an old size beyond the new one, ``OtherSize``, and
    ``VerificationFailed`` where the proof does not hold.
    """
    origin = peek_checkpoint(request.note).origin
    if origin not in logs:
        raise UnknownLog("this witness knows no such log")
    try:
        shown = open_checkpoint(request.note, logs[origin])
    except VerificationFailed as error:
        raise NotSigned(str(error)) from error
    if request.old > shown.size:
        raise Malformed("the old size is beyond that of the checkpoint")
    last = held.get(origin, Held())
    if request.old != last.size or (shown.size == last.size and shown.root != last.root):
        raise OtherSize(last.size)
    if last.size:
        verify_consistency(size1=last.size, root1=last.root, size2=shown.size, root2=shown.root, proof=request.proof)
    elif request.proof:
        raise VerificationFailed("everything continues the empty tree, so there is nothing to prove")
    return shown
