"""An inclusion proof as a person can follow it: each hash, on which side it stands, and what comes of the two."""

from dataclasses import dataclass

from creditshare.tlog.checkpoint import Checkpoint
from creditshare.tlog.merkle import node_hash, verify_inclusion
from creditshare.tlog.note import Verifier
from creditshare.tlog.proof import InclusionProof


@dataclass(frozen=True, slots=True)
class Step:
    """One level up: the sibling's hash, whether it stands on the left, and the hash of both."""

    sibling: bytes
    on_the_left: bool
    value: bytes


def steps_of(proof: InclusionProof) -> list[Step]:
    """Return the way from the leaf to the root (RFC 9162 section 2.1.3.2)."""
    inner = (proof.index ^ (proof.size - 1)).bit_length()
    running, steps = proof.leaf_hash, []
    for level, sibling in enumerate(proof.hashes):
        left = level >= inner or bool(proof.index >> level & 1)
        running = node_hash(sibling, running) if left else node_hash(running, sibling)
        steps.append(Step(sibling, left, running))
    return steps


def checked(proof: InclusionProof, verifier: Verifier) -> Checkpoint:
    """Return the checkpoint that the log's key signed and the proof leads to; it raises where either does not hold."""
    checkpoint = proof.verify([verifier])
    verify_inclusion(
        leaf_hash=proof.leaf_hash, index=proof.index, size=proof.size, proof=proof.hashes, root=checkpoint.root
    )
    return checkpoint
