"""That a checkpoint was there at a time: what ``GET /audit/v1/anchors`` gave, held against the checkpoint."""

from collections.abc import Iterator
from typing import Final

from creditshare.crypto.timestamps import Stamp, StampRoots
from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint
from creditshare.tlog.spelling import decode_std
from creditshare.wire.instants import spell_instant
from creditshare.wire.strict_json import decode_object

MAX_ANSWER: Final = 4_000_000
"""Longest file that is read, in bytes: far more than the service shows at once."""


def check_anchors(given: bytes, checkpoint: Checkpoint, roots: StampRoots) -> list[Stamp]:
    """Return the stamps over a checkpoint, one or more, from the service's answer (JSON) or one bare token (DER).

    The checkpoint's signature was checked before. In an answer, stamps of other sizes are passed over, and all of this
    size must hold and state the time that stands beside them. Raises ``Malformed`` for another form,
    ``VerificationFailed`` where one does not hold or none is there.
    """
    if len(given) > MAX_ANSWER:
        raise Malformed(f"anchors are at most {MAX_ANSWER} bytes")
    text = checkpoint.text.encode()
    if not given.lstrip().startswith(b"{"):
        return [roots.verify(given, text)]
    stamps = []
    for time, token in _of(checkpoint.size, decode_object(given)):
        stamp = roots.verify(token, text)
        if spell_instant(stamp.at) != time:
            raise VerificationFailed("a stamp states another time than stands beside it")
        stamps.append(stamp)
    if not stamps:
        raise VerificationFailed(f"no anchor of {checkpoint.size} leaves is among these")
    return stamps


def _of(size: int, answer: dict[str, object]) -> Iterator[tuple[object, bytes]]:
    """Yield stated time and token of each anchor of a size."""
    listed = answer.get("anchors")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Malformed("anchors is a list of objects")
    for one in listed:
        if one.get("size") == size:
            token = one.get("token")
            if not isinstance(token, str):
                raise Malformed("an anchor's token is a text")
            yield one.get("time"), decode_std(token, what="an anchor's token")
