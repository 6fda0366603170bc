"""The Merkle tree of RFC 6962 and RFC 9162: hashes, plans, folding and verification.

A plan names perfect subtrees and nothing else, because only those never change as the tree grows; the ragged right
edge is folded from several of them. Verification shares no code with planning, so that a mistake in one cannot hide in
the other. Left out: where hashes are stored (``tiles``) and who signed a root (``checkpoint``).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from creditshare.errors import IntegrityError, VerificationFailed
from creditshare.tlog.spelling import MAX_SIZE

HASH_SIZE = 32
"""Bytes of every hash in the tree (SHA-256)."""

MAX_PROOF = 63
"""Most hashes that a proof in a tree of at most 2^63 - 1 leaves can hold."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree without leaves (RFC 9162 section 2.1.1)."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the 32-byte hash of a leaf with these exact bytes: ``SHA-256(0x00 || entry)`` (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash over two 32-byte child hashes: ``SHA-256(0x01 || left || right)`` (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """A perfect subtree: ``2**level`` leaves beginning at leaf ``index * 2**level``. Its hash never changes."""

    level: int
    index: int


@dataclass(frozen=True, slots=True)
class ProofPlan:
    """What a proof is made of, before anything is fetched.

    ``entries`` has one element per proof hash, in proof order. Each element lists, left to right, the perfect nodes
    that fold to that hash: one node, or several where the hash covers the ragged right edge of the tree.
    """

    entries: tuple[tuple[Node, ...], ...]

    @property
    def nodes(self) -> list[Node]:
        """Every node to fetch, in the order of the entries; no node occurs twice."""
        return [node for entry in self.entries for node in entry]


def root_nodes(size: int) -> list[Node]:
    """Return the perfect nodes, left to right, that fold to the root of a tree of ``size`` leaves; none for size 0.

    Raises ``ValueError`` unless ``0 <= size <= MAX_SIZE``.
    """
    _require_size(size)
    return list(_cover(0, size))


def inclusion_nodes(index: int, size: int) -> ProofPlan:
    """Plan the inclusion proof of leaf ``index`` in a tree of ``size`` leaves: PATH(m, D[n]) of RFC 9162 2.1.3.1.

    Raises ``ValueError`` unless ``0 <= index < size <= MAX_SIZE``.
    """
    _require_size(size)
    if not 0 <= index < size:
        raise ValueError("the index lies outside the tree")
    siblings: list[tuple[Node, ...]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            siblings.append(_cover(middle, end))
            end = middle
        else:
            siblings.append(_cover(start, middle))
            start = middle
    # The walk goes down from the root, a proof goes up from the leaf.
    return ProofPlan(tuple(reversed(siblings)))


def consistency_nodes(size1: int, size2: int) -> ProofPlan:
    """Plan the proof that a tree of ``size2`` leaves begins with one of ``size1``: PROOF(m, D[n]) of RFC 9162 2.1.4.1.

    The plan is empty for ``size1 == 0`` and ``size1 == size2``, where there is nothing to prove.
    Raises ``ValueError`` unless ``0 <= size1 <= size2 <= MAX_SIZE``.
    """
    _require_size(size2)
    if not 0 <= size1 <= size2:
        raise ValueError("the first size lies outside 0..second size")
    if size1 == 0:
        return ProofPlan(())
    siblings: list[tuple[Node, ...]] = []
    start, end = 0, size2
    while end != size1:
        middle = start + _split(end - start)
        if size1 <= middle:
            siblings.append(_cover(middle, end))
            end = middle
        else:
            siblings.append(_cover(start, middle))
            start = middle
    # Where the walk never turned right, this subtree is the whole old tree, whose root the verifier holds already.
    if start:
        siblings.append(_cover(start, end))
    return ProofPlan(tuple(reversed(siblings)))


def fold_root(size: int, hashes: Mapping[Node, bytes]) -> bytes:
    """Return the root of a tree of ``size`` leaves from the 32-byte hashes of ``root_nodes(size)``.

    Raises ``ValueError`` for an impossible size and ``IntegrityError`` when a hash is missing or not 32 bytes long.
    """
    nodes = root_nodes(size)
    return _fold(nodes, hashes) if nodes else EMPTY_ROOT


def fold_proof(plan: ProofPlan, hashes: Mapping[Node, bytes]) -> list[bytes]:
    """Return the proof, a list of 32-byte hashes, from the hashes of ``plan.nodes``.

    Raises ``IntegrityError`` when a hash is missing or not 32 bytes long.
    """
    return [_fold(entry, hashes) for entry in plan.entries]


def root_from_inclusion(*, leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the 32-byte root that this inclusion proof leads to. It proves nothing until compared with a trusted root.

    Raises ``VerificationFailed`` unless ``0 <= index < size <= MAX_SIZE``, the proof has exactly the length that index
    and size prescribe, and the leaf hash and all entries are 32 bytes long.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise VerificationFailed("the index lies outside the tree")
    # Up to the level where the paths of this leaf and of the last leaf meet, every level has a sibling, on the side
    # that the index's bit says. Above it the path is the right edge, where only left siblings exist, one per set bit.
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(proof) != inner + border:
        raise VerificationFailed("the inclusion proof has the wrong number of hashes")
    _require_hashes(leaf_hash, *proof)
    running = leaf_hash
    for level, sibling in enumerate(proof):
        on_the_right = level >= inner or index >> level & 1
        running = node_hash(sibling, running) if on_the_right else node_hash(running, sibling)
    return running


def verify_inclusion(*, leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf with this hash is number ``index`` in the tree of ``size`` leaves with this 32-byte root.

    Raises ``VerificationFailed`` when it is not, and for all that ``root_from_inclusion`` refuses.
    """
    _require_hashes(root)
    if root_from_inclusion(leaf_hash=leaf_hash, index=index, size=size, proof=proof) != root:
        raise VerificationFailed("the inclusion proof does not lead to the root")


def verify_consistency(*, size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree (``size2``, ``root2``) begins with the tree (``size1``, ``root1``): RFC 9162 2.1.4.2.

    Sizes in leaves, roots and proof entries 32 bytes each (``Checkpoint`` sees to the roots; here they are measured
    only where they are hashed). Equal sizes need equal roots and an empty proof. Raises ``VerificationFailed`` when
    it does
    not hold, for a proof of another length than the sizes prescribe, and for ``size1 == 0``: every tree extends the
    empty one, so such a "proof" would only look like one.
    """
    if not 0 < size1 <= size2 <= MAX_SIZE:
        raise VerificationFailed("a consistency proof needs 0 < size1 <= size2")
    # Nothing is hashed for equal sizes: equal roots are consistent, whatever they are (so the published vectors).
    if size1 == size2:
        if proof or root1 != root2:
            raise VerificationFailed("equal sizes need equal roots and an empty proof")
        return
    _require_hashes(root1, root2, *proof)
    # A power of two is one perfect subtree of the new tree, so the proof leaves out its hash: it is root1.
    path = [root1, *proof] if size1.bit_count() == 1 else list(proof)
    if not path:
        raise VerificationFailed("the consistency proof has the wrong number of hashes")
    old_root, new_root = _consistency_roots(size1, size2, path)
    if old_root != root1 or new_root != root2:
        raise VerificationFailed("the consistency proof does not connect the two roots")


def _consistency_roots(size1: int, size2: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Walk up from the last leaf of the old tree; letters of RFC 9162 2.1.4.2: fn, sn = ``old``, ``new``."""
    old, new = size1 - 1, size2 - 1
    skipped = (~old & (old + 1)).bit_length() - 1  # levels at which the old tree's last leaf is a right child
    old, new = old >> skipped, new >> skipped
    old_root = new_root = path[0]
    for sibling in path[1:]:
        if new == 0:
            raise VerificationFailed("the consistency proof has the wrong number of hashes")
        if old & 1 or old == new:
            old_root = node_hash(sibling, old_root)
            new_root = node_hash(sibling, new_root)
            while old and not old & 1:
                old, new = old >> 1, new >> 1
        else:
            # This subtree came after the old tree, so it counts for the new root alone.
            new_root = node_hash(new_root, sibling)
        old, new = old >> 1, new >> 1
    if new != 0:
        raise VerificationFailed("the consistency proof has the wrong number of hashes")
    return old_root, new_root


def _cover(start: int, end: int) -> tuple[Node, ...]:
    """Return the perfect nodes of leaves ``start..end-1``; ``start`` is a multiple of a power of two >= the width."""
    nodes: list[Node] = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append(Node(level, start >> level))
        start += 1 << level
    return tuple(nodes)


def _split(width: int) -> int:
    """Return the RFC's k: the largest power of two smaller than ``width`` (at least 2)."""
    return 1 << ((width - 1).bit_length() - 1)


def _fold(nodes: Sequence[Node], hashes: Mapping[Node, bytes]) -> bytes:
    """Fold adjacent perfect nodes, widest first, to the hash of the subtree that they form together."""
    running: bytes | None = None
    for node in reversed(nodes):
        found = hashes.get(node)
        if found is None or len(found) != HASH_SIZE:
            raise IntegrityError("a node that the plan names is missing or not 32 bytes long")
        running = found if running is None else node_hash(found, running)
    if running is None:
        raise ValueError("an entry of a plan names at least one node")
    return running


def _require_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise ValueError("a tree has 0 to 2^63 - 1 leaves")


def _require_hashes(*hashes: bytes) -> None:
    if any(len(entry) != HASH_SIZE for entry in hashes):
        raise VerificationFailed("a hash is not 32 bytes long")
