"""That a log only grew: two checkpoints and the consistency proof between them (RFC 9162 section 2.1.4)."""

from collections.abc import Mapping

from creditshare.crypto.encoding import b64url_decode
from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint
from creditshare.tlog.merkle import MAX_PROOF, verify_consistency


def check_order(old: Checkpoint, new: Checkpoint) -> None:
    """Raise ``VerificationFailed`` for two checkpoints that no proof can connect."""
    if old.origin != new.origin:
        raise VerificationFailed("the two checkpoints are of different logs")
    if old.size > new.size:
        raise VerificationFailed("the first checkpoint is of the larger log: name the earlier one first")


def check_growth(old: Checkpoint, new: Checkpoint, document: object) -> None:
    """Check that ``new`` extends ``old``, by the JSON of ``GET /audit/v1/proof/consistency``.

    Both checkpoints' signatures were checked before. Raises ``Malformed`` for a document of another form,
    ``VerificationFailed`` where the proof does not hold.
    """
    check_order(old, new)
    if not isinstance(document, Mapping) or (document.get("from"), document.get("to")) != (old.size, new.size):
        raise VerificationFailed("the proof is between other sizes than the checkpoints")
    hashes = document.get("hashes")
    if not isinstance(hashes, list) or len(hashes) > MAX_PROOF or not all(isinstance(h, str) for h in hashes):
        raise Malformed(f"hashes is a list of at most {MAX_PROOF} texts")
    verify_consistency(
        size1=old.size, root1=old.root, size2=new.size, root2=new.root, proof=[b64url_decode(h) for h in hashes]
    )
