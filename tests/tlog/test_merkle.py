"""Every proof of every small tree against a naive copy of the RFC's recursive definitions, and what must be refused."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.errors import CreditshareError, IntegrityError, VerificationFailed
from creditshare.tlog.merkle import (
    EMPTY_ROOT,
    MAX_PROOF,
    Node,
    ProofPlan,
    consistency_nodes,
    fold_proof,
    fold_root,
    inclusion_nodes,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    root_nodes,
    verify_consistency,
    verify_inclusion,
)
from creditshare.tlog.spelling import MAX_SIZE

LEAVES = [leaf_hash(bytes([n % 256, n // 256])) for n in range(300)]


def split(width: int) -> int:
    k = 1
    while 2 * k < width:
        k *= 2
    return k


@cache
def naive_root(start: int, end: int) -> bytes:
    """MTH(D[start:end]) of RFC 9162 section 2.1.1."""
    if start == end:
        return hashlib.sha256(b"").digest()
    if end - start == 1:
        return LEAVES[start]
    k = split(end - start)
    return hashlib.sha256(b"\x01" + naive_root(start, start + k) + naive_root(start + k, end)).digest()


def naive_path(index: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[n]) of RFC 9162 section 2.1.3.1, ``index`` counted from ``start``."""
    if end - start == 1:
        return []
    k = split(end - start)
    if index < k:
        return [*naive_path(index, start, start + k), naive_root(start + k, end)]
    return [*naive_path(index - k, start + k, end), naive_root(start, start + k)]


def naive_subproof(size1: int, start: int, end: int, *, complete: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of RFC 9162 section 2.1.4.1, ``size1`` counted from ``start``."""
    if size1 == end - start:
        return [] if complete else [naive_root(start, end)]
    k = split(end - start)
    if size1 <= k:
        return [*naive_subproof(size1, start, start + k, complete=complete), naive_root(start + k, end)]
    return [*naive_subproof(size1 - k, start + k, end, complete=False), naive_root(start, start + k)]


def hashes_of(nodes: Sequence[Node]) -> dict[Node, bytes]:
    return {node: naive_root(node.index << node.level, (node.index + 1) << node.level) for node in nodes}


def assert_refused(verify: Callable[[], object]) -> None:
    # Not pytest.raises: this runs some hundred thousand times.
    try:
        verify()
    except VerificationFailed:
        return
    raise AssertionError("verified what does not hold")


def flip(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data) ^ (1 << bit)).to_bytes(len(data))


@pytest.mark.parametrize("size", range(301))
def test_root(size: int) -> None:
    nodes = root_nodes(size)
    assert fold_root(size, hashes_of(nodes)) == naive_root(0, size)
    assert len(nodes) == size.bit_count()


@pytest.mark.parametrize("size", [*range(131), *range(131, 301, 13), 255, 256, 257])
def test_inclusion_proofs_are_the_definitions_and_nothing_near_them_verifies(size: int) -> None:
    root = naive_root(0, size)
    for index in range(size) if size <= 130 else {0, 1, size // 2, 127, 128, size - 2, size - 1}:
        plan = inclusion_nodes(index, size)
        assert len(set(plan.nodes)) == len(plan.nodes)
        proof = fold_proof(plan, hashes_of(plan.nodes))
        assert proof == naive_path(index, 0, size)
        leaf = LEAVES[index]

        def verify(
            leaf: bytes = leaf, index: int = index, size: int = size, proof: list[bytes] = proof, root: bytes = root
        ) -> None:
            verify_inclusion(leaf_hash=leaf, index=index, size=size, proof=proof, root=root)

        verify()
        for other in {index - 1, index + 1, index ^ 1, index ^ 2, size, -1, index + size} - {index}:
            assert_refused(partial(verify, index=other))
        assert_refused(partial(verify, root=flip(root, index % 256)))
        assert_refused(partial(verify, leaf=flip(leaf, index % 256)))
        assert_refused(partial(verify, leaf=root + b"\0"))
        for wrong in mutations(proof, root):
            assert_refused(partial(verify, proof=wrong))


@pytest.mark.parametrize("size2", [*range(131), *range(131, 301, 13), 255, 256, 257])
def test_consistency_proofs_are_the_definitions_and_nothing_near_them_verifies(size2: int) -> None:
    root2 = naive_root(0, size2)
    for size1 in range(1, size2 + 1) if size2 <= 130 else {1, 2, size2 // 2, 127, 128, 129, size2 - 1, size2}:
        plan = consistency_nodes(size1, size2)
        assert len(set(plan.nodes)) == len(plan.nodes)
        proof = fold_proof(plan, hashes_of(plan.nodes))
        assert proof == naive_subproof(size1, 0, size2, complete=True)
        root1 = naive_root(0, size1)

        def verify(size1: int = size1, root1: bytes = root1, root2: bytes = root2, proof: list[bytes] = proof) -> None:
            verify_consistency(size1=size1, root1=root1, size2=size2, root2=root2, proof=proof)

        verify()
        assert_refused(partial(verify, root1=flip(root1, size1 % 256)))
        assert_refused(partial(verify, root2=flip(root2, size1 % 256)))
        assert_refused(partial(verify, size1=size2 + 1))
        assert_refused(partial(verify, size1=0))
        if size1 < size2:
            assert_refused(partial(verify, root1=root2, root2=root1))
            # A fork: the same old size, another history.
            assert_refused(partial(verify, root1=naive_root(0, size1 - 1)))
        for wrong in mutations(proof, root1, root2):
            assert_refused(partial(verify, proof=wrong))


def mutations(proof: list[bytes], *roots: bytes) -> list[list[bytes]]:
    """Proofs that differ from this one in one thing, each of which must make it fail."""
    wrong = [[*proof, hashlib.sha256(b"garbage").digest()], [hashlib.sha256(b"garbage").digest(), *proof]]
    for root in roots:
        wrong += [[*proof, root], [root, *proof]]
    if proof:
        wrong += [
            proof[:-1],
            proof[1:],
            [proof[0][:-1], *proof[1:]],
            [*proof[:-1], proof[-1] + b"\0"],
            [*proof[:-1], b""],
        ]
    wrong += [[*proof[:i], flip(entry, 8 * i), *proof[i + 1 :]] for i, entry in enumerate(proof)]
    if len(proof) > 1:
        wrong.append([proof[1], proof[0], *proof[2:]])
    return wrong


def test_nothing_is_proved_from_or_in_the_empty_tree() -> None:
    assert consistency_nodes(0, 5) == consistency_nodes(0, 0) == ProofPlan(())
    assert fold_root(0, {}) == EMPTY_ROOT == hashlib.sha256(b"").digest()
    with pytest.raises(VerificationFailed):
        verify_inclusion(leaf_hash=EMPTY_ROOT, index=0, size=0, proof=[], root=EMPTY_ROOT)
    for size2 in (0, 1, 5):
        with pytest.raises(VerificationFailed):
            verify_consistency(size1=0, root1=EMPTY_ROOT, size2=size2, root2=naive_root(0, size2), proof=[])


@pytest.mark.parametrize("root", [b"", EMPTY_ROOT[:31], EMPTY_ROOT + b"\0"])
def test_hashes_of_another_length_are_refused(root: bytes) -> None:
    with pytest.raises(VerificationFailed, match="32 bytes"):
        verify_inclusion(leaf_hash=LEAVES[0], index=0, size=1, proof=[], root=root)
    with pytest.raises(VerificationFailed, match="32 bytes"):
        verify_inclusion(leaf_hash=root, index=0, size=1, proof=[], root=root)
    with pytest.raises(VerificationFailed, match="32 bytes"):
        verify_consistency(size1=1, root1=root, size2=2, root2=EMPTY_ROOT, proof=[LEAVES[1]])


def test_bytes_cannot_move_between_two_hashes() -> None:
    # The same bytes are hashed, cut at another place; only the lengths tell.
    root = naive_root(0, 2)
    whole = LEAVES[0] + LEAVES[1]
    for cut in (0, 31, 33, 64):
        assert node_hash(whole[:cut], whole[cut:]) == root
        with pytest.raises(VerificationFailed, match="32 bytes"):
            verify_inclusion(leaf_hash=whole[:cut], index=0, size=2, proof=[whole[cut:]], root=root)
        with pytest.raises(VerificationFailed, match="32 bytes"):
            verify_consistency(size1=1, root1=whole[:cut], size2=2, root2=root, proof=[whole[cut:]])
    for leaf, sibling in ((LEAVES[0], b"short"), (b"short", LEAVES[0])):
        with pytest.raises(VerificationFailed, match="32 bytes"):
            root_from_inclusion(leaf_hash=leaf, index=0, size=2, proof=[sibling])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 130])
def test_the_length_of_a_proof_is_exact_before_anything_is_compared(size: int) -> None:
    for index in range(size):
        length = len(naive_path(index, 0, size))
        for other in {0, length - 1, length + 1, MAX_PROOF + 1} - {length, -1}:
            with pytest.raises(VerificationFailed, match="number of hashes"):
                root_from_inclusion(leaf_hash=LEAVES[0], index=index, size=size, proof=[LEAVES[0]] * other)
    for size1 in range(1, size):
        length = len(naive_subproof(size1, 0, size, complete=True))
        for other in {0, length - 1, length + 1, MAX_PROOF + 2} - {length}:
            with pytest.raises(VerificationFailed, match="number of hashes"):
                verify_consistency(size1=size1, root1=LEAVES[0], size2=size, root2=LEAVES[0], proof=[LEAVES[0]] * other)


def test_a_node_cannot_pass_for_a_leaf() -> None:
    inner = node_hash(LEAVES[0], LEAVES[1])
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != inner
    # The prefix of the hash is what stops the second preimage: both children as one "entry" of a shorter tree.
    with pytest.raises(VerificationFailed):
        verify_inclusion(
            leaf_hash=leaf_hash(LEAVES[0] + LEAVES[1]),
            index=0,
            size=2,
            proof=[naive_root(2, 4)],
            root=naive_root(0, 4),
        )


@pytest.mark.parametrize(
    "plan",
    [
        lambda: root_nodes(-1),
        lambda: root_nodes(MAX_SIZE + 1),
        lambda: inclusion_nodes(0, 0),
        lambda: inclusion_nodes(5, 5),
        lambda: inclusion_nodes(-1, 5),
        lambda: inclusion_nodes(0, MAX_SIZE + 1),
        lambda: consistency_nodes(6, 5),
        lambda: consistency_nodes(-1, 5),
        lambda: consistency_nodes(1, MAX_SIZE + 1),
    ],
)
def test_a_plan_that_cannot_exist_is_the_callers_mistake(plan: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"tree has|lies outside"):
        plan()


def test_storage_that_returns_less_than_the_plan_names_is_an_integrity_error() -> None:
    plan = inclusion_nodes(2, 7)
    whole = hashes_of(plan.nodes)
    for node in plan.nodes:
        with pytest.raises(IntegrityError):
            fold_proof(plan, {other: found for other, found in whole.items() if other != node})
        with pytest.raises(IntegrityError):
            fold_proof(plan, {**whole, node: whole[node][:-1]})
    with pytest.raises(IntegrityError):
        fold_root(7, {})


@given(st.integers(1, MAX_SIZE), st.data())
def test_plans_of_the_largest_trees_stay_short_and_inside(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    older = data.draw(st.integers(1, size))
    for plan in (inclusion_nodes(index, size), consistency_nodes(older, size)):
        assert len(plan.entries) <= MAX_PROOF + 1
        assert all((node.index + 1) << node.level <= size for node in plan.nodes)
    entries = inclusion_nodes(index, size).entries
    assert len(entries) <= MAX_PROOF
    covered = sum(1 << node.level for entry in entries for node in entry)
    assert covered == size - 1  # every leaf but the proved one, once


@given(
    st.binary(max_size=33), st.integers(-1, 2**64), st.integers(-1, 2**64), st.lists(st.binary(max_size=33), max_size=9)
)
def test_the_verifiers_fail_only_as_promised(entry: bytes, a: int, b: int, proof: list[bytes]) -> None:
    for verify in (
        lambda: root_from_inclusion(leaf_hash=entry, index=a, size=b, proof=proof),
        lambda: verify_inclusion(leaf_hash=entry, index=a, size=b, proof=proof, root=EMPTY_ROOT),
        lambda: verify_consistency(size1=a, root1=EMPTY_ROOT, size2=b, root2=entry, proof=proof),
    ):
        try:
            verify()
        except CreditshareError as error:
            assert isinstance(error, VerificationFailed)  # noqa: PT017 - accepting is fine, other errors are not
