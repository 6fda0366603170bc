"""The tree code against a naive copy of the RFC's recursive definition, with the sequencer's tiles in between."""

import hashlib

import pytest

from creditshare.errors import VerificationFailed
from creditshare.tlog.merkle import (
    EMPTY_ROOT,
    consistency_nodes,
    fold_proof,
    inclusion_nodes,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from creditshare.tlog.tiles import Edge, Read, evaluate, extend, reads, root_from_edge


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 §2.1.1, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


class Storage:
    """Leaf hashes and tile roots, as the database keeps them."""

    def __init__(self) -> None:
        self.rows: dict[int, list[bytes]] = {0: []}
        self.size = 0
        self.edge: Edge = ()

    def append(self, leaves: list[bytes]) -> None:
        extension = extend(self.size, self.edge, leaves)
        self.rows[0] += leaves
        for tile in extension.tiles:
            row = self.rows.setdefault(tile.level + 1, [])
            assert tile.n == len(row)
            row.append(tile.root)
        self.size, self.edge = extension.size, extension.edge

    def fetch(self, wanted: list[Read]) -> dict[Read, bytes]:
        return {r: b"".join(self.rows[r.level][r.start : r.start + r.count]) for r in wanted}


LEAVES = [leaf_hash(f"leaf {n}".encode()) for n in range(70_000)]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 70_000])
def test_roots_from_tiles_are_the_definitions(size: int) -> None:
    storage = Storage()
    for start in range(0, size, 1024):
        storage.append(LEAVES[start : min(start + 1024, size)])
    assert root_from_edge(size, storage.edge) == naive_root(LEAVES[:size])
    assert size or root_from_edge(0, ()) == EMPTY_ROOT


def test_all_proofs_of_small_trees_hold_and_no_other_index_does() -> None:
    storage = Storage()
    roots = [naive_root([])]
    for size in range(1, 68):
        storage.append([LEAVES[size - 1]])
        roots.append(naive_root(LEAVES[:size]))
        for index in range(size):
            plan = inclusion_nodes(index, size)
            proof = fold_proof(plan, evaluate(plan.nodes, storage.fetch(reads(plan.nodes))))
            verify_inclusion(leaf_hash=LEAVES[index], index=index, size=size, proof=proof, root=roots[size])
            if size > 1:
                with pytest.raises(VerificationFailed):
                    verify_inclusion(
                        leaf_hash=LEAVES[index], index=(index + 1) % size, size=size, proof=proof, root=roots[size]
                    )
        for older in range(1, size):
            plan = consistency_nodes(older, size)
            proof = fold_proof(plan, evaluate(plan.nodes, storage.fetch(reads(plan.nodes))))
            verify_consistency(size1=older, root1=roots[older], size2=size, root2=roots[size], proof=proof)
            with pytest.raises(VerificationFailed):
                verify_consistency(size1=older, root1=roots[older - 1], size2=size, root2=roots[size], proof=proof)


@pytest.mark.parametrize("size", [257, 65_537, 70_000])
def test_sampled_proofs_of_large_trees_hold(size: int) -> None:
    storage = Storage()
    storage.append(LEAVES[:size])
    root = root_from_edge(size, storage.edge)
    for index in (0, 1, 255, 256, size // 2, size - 2, size - 1):
        plan = inclusion_nodes(index, size)
        proof = fold_proof(plan, evaluate(plan.nodes, storage.fetch(reads(plan.nodes))))
        verify_inclusion(leaf_hash=LEAVES[index], index=index, size=size, proof=proof, root=root)
