"""Tiles: what becomes full when, which rows serve a plan, and names in URLs; around every tile boundary."""

import bisect
import hashlib
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.errors import IntegrityError, Malformed
from creditshare.tlog.merkle import (
    Node,
    consistency_nodes,
    fold_proof,
    fold_root,
    inclusion_nodes,
    root_nodes,
    verify_consistency,
    verify_inclusion,
)
from creditshare.tlog.spelling import MAX_SIZE
from creditshare.tlog.tiles import (
    TILE_BYTES,
    TILE_WIDTH,
    Edge,
    FullTile,
    PartialTile,
    Read,
    edge_from,
    evaluate,
    extend,
    locate,
    parse_tile_name,
    partial_tiles,
    partial_width,
    partial_widths,
    reads,
    root_from_edge,
    tile_name,
    tile_root,
)

LARGEST = 70_000
LEAVES = [hashlib.sha256(n.to_bytes(4)).digest() for n in range(LARGEST)]
Fetch = Callable[[int, list[Read]], dict[Read, bytes]]

BOUNDARIES = [1, 2, 254, 255, 256, 257, 511, 512, 513, 65_279, 65_280, 65_535, 65_536, 65_537, 65_792, LARGEST]


@cache
def naive_root(start: int, end: int) -> bytes:
    """MTH of RFC 9162 section 2.1.1 over leaf hashes."""
    if end - start == 1:
        return LEAVES[start]
    k = 1
    while 2 * k < end - start:
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(start, start + k) + naive_root(start + k, end)).digest()


@pytest.fixture(scope="module")
def tiles() -> dict[tuple[int, int], FullTile]:
    extension = extend(0, (), LEAVES)
    assert extension.size == LARGEST
    return {(tile.level, tile.n): tile for tile in extension.tiles}


@pytest.fixture(scope="module")
def fetch(tiles: dict[tuple[int, int], FullTile]) -> Fetch:
    """Storage at a given size: a row that does not exist yet is not returned."""

    def rows(size: int, wanted: list[Read]) -> dict[Read, bytes]:
        found: dict[Read, bytes] = {}
        for read in wanted:
            end = read.start + read.count
            assert end <= size >> (8 * read.level), "a read beyond the tree"
            row = (
                LEAVES[read.start : end]
                if read.level == 0
                else [tiles[read.level - 1, n].root for n in range(read.start, end)]
            )
            found[read] = b"".join(row)
        return found

    return rows


def test_the_tiles_of_70_000_leaves(tiles: dict[tuple[int, int], FullTile]) -> None:
    assert sorted(tiles) == [*((0, n) for n in range(273)), (1, 0)]
    for (level, n), tile in tiles.items():
        width = TILE_WIDTH << (8 * level)
        assert len(tile.hashes) == TILE_BYTES
        assert tile.root == tile_root(tile.hashes) == naive_root(n * width, (n + 1) * width)
    assert tiles[0, 3].hashes == b"".join(LEAVES[768:1024])
    assert tiles[1, 0].hashes == b"".join(tiles[0, n].root for n in range(256))


@pytest.mark.parametrize("batch", [1, 7, 255, 256, 257, 1024, LARGEST])
def test_batches_do_not_matter(batch: int, tiles: dict[tuple[int, int], FullTile]) -> None:
    # Single leaves only as far as they are interesting: over the first boundaries.
    last = 1_100 if batch < 100 else LARGEST
    size, made = 0, list[FullTile]()
    edge: Edge = ()
    while size < last:
        extension = extend(size, edge, LEAVES[size : min(size + batch, last)])
        assert extension.size == min(size + batch, last)
        size, edge = extension.size, extension.edge
        assert [len(body) // 32 for body in edge] == list(partial_widths(size))
        made += extension.tiles
    assert root_from_edge(last, edge) == naive_root(0, last)
    assert len({(tile.level, tile.n) for tile in made}) == len(made)
    assert all(tiles[tile.level, tile.n] == tile for tile in made)
    assert len(made) == sum(last >> (8 * (level + 1)) for level in range(3))


@pytest.mark.parametrize("size", [0, *BOUNDARIES])
def test_growing_from_a_fetched_edge_over_each_boundary(size: int, fetch: Fetch) -> None:
    edge = edge_from(size, fetch(size, [tile.read for tile in partial_tiles(size)]))
    assert edge == extend(0, (), LEAVES[:size]).edge
    if size:
        assert root_from_edge(size, edge) == naive_root(0, size)
    for more in (0, 1, 2, 255, 256, 257):
        grown = extend(size, edge, LEAVES[size : size + more])
        if grown.size > 0:
            assert root_from_edge(grown.size, grown.edge) == naive_root(0, grown.size)
        for level in range(3):
            new = [tile.n for tile in grown.tiles if tile.level == level]
            assert new == list(range(size >> (8 * (level + 1)), grown.size >> (8 * (level + 1))))


@pytest.mark.parametrize("size", BOUNDARIES)
def test_every_plan_is_served_from_leaf_rows_and_tile_roots(size: int, fetch: Fetch) -> None:
    nodes = root_nodes(size)
    root = fold_root(size, evaluate(nodes, fetch(size, reads(nodes))))
    assert root == naive_root(0, size)
    for index in {0, 1, size // 3, size // 2, size - 2, size - 1, 255, 256, 65_535} & set(range(size)):
        plan = inclusion_nodes(index, size)
        proof = fold_proof(plan, evaluate(plan.nodes, fetch(size, reads(plan.nodes))))
        verify_inclusion(leaf_hash=LEAVES[index], index=index, size=size, proof=proof, root=root)
    for older in [*(s for s in BOUNDARIES if s <= size), size - 1 or 1, size // 2 or 1]:
        plan = consistency_nodes(older, size)
        proof = fold_proof(plan, evaluate(plan.nodes, fetch(size, reads(plan.nodes))))
        verify_consistency(size1=older, root1=naive_root(0, older), size2=size, root2=root, proof=proof)


def test_whole_tiles_serve_a_plan_as_well(tiles: dict[tuple[int, int], FullTile]) -> None:
    plan = inclusion_nodes(1_000, 1_024)
    slices = [locate(node) for node in plan.nodes]
    rows = {Read(s.level, s.n * TILE_WIDTH, TILE_WIDTH): tiles[s.level, s.n].hashes for s in slices if s.level == 0} | {
        Read(1, 0, 4): b"".join(tiles[0, n].root for n in range(4))
    }
    proof = fold_proof(plan, evaluate(plan.nodes, rows))
    verify_inclusion(leaf_hash=LEAVES[1_000], index=1_000, size=1_024, proof=proof, root=naive_root(0, 1_024))


nodes_ = st.builds(
    lambda level, index: Node(level, index >> level),
    st.integers(0, 40),
    st.integers(0, 2**16 - 1) | st.integers(0, MAX_SIZE),
)


def test_neighbours_and_overlaps_become_one_read() -> None:
    assert reads([]) == []
    assert reads([Node(0, 1), Node(0, 0)]) == [Read(0, 0, 2)]
    assert reads([Node(3, 1), Node(0, 8), Node(0, 16), Node(0, 18)]) == [Read(0, 8, 9), Read(0, 18, 1)]
    assert reads([Node(8, 0), Node(0, 0), Node(9, 1)]) == [Read(0, 0, 1), Read(1, 0, 1), Read(1, 2, 2)]


@given(st.lists(nodes_, max_size=30))
def test_reads_are_minimal(wanted: list[Node]) -> None:
    # A node's place, written a second time without divmod.
    ranges = [(n.level // 8, n.index * 2 ** (n.level % 8), (n.index + 1) * 2 ** (n.level % 8)) for n in wanted]
    result = reads(wanted)
    assert result == sorted(result)
    for first, second in pairwise(result):
        assert first.level < second.level or first.start + first.count < second.start  # a gap, or they were joined
    starts = [(read.level, read.start) for read in result]
    for level, start, end in ranges:
        holder = result[bisect.bisect_right(starts, (level, start)) - 1]
        assert holder.level == level
        assert holder.start <= start < end <= holder.start + holder.count
    # Nothing is read that no node needs.
    for read in result:
        inside = sorted((s, e) for level, s, e in ranges if level == read.level and read.start <= s)
        reached = read.start
        for start, end in inside:
            if start <= reached:
                reached = max(reached, end)
        assert reached >= read.start + read.count
    for node in wanted:
        slice_ = locate(node)
        assert Read(slice_.level, slice_.n * TILE_WIDTH + slice_.offset, slice_.count) in reads([node])
        assert slice_.offset + slice_.count <= TILE_WIDTH


@given(st.integers(0, MAX_SIZE))
def test_partial_tiles_are_the_digits_of_the_size(size: int) -> None:
    widths = partial_widths(size)
    assert sum(width * 256**level for level, width in enumerate(widths)) == size
    assert not widths or widths[-1] > 0
    for tile in partial_tiles(size):
        assert tile.width == partial_width(tile.level, size) == widths[tile.level]
        assert tile.read.start + tile.read.count == size >> (8 * tile.level)


def test_partial_tiles_of_70_000() -> None:
    assert partial_tiles(70_000) == [PartialTile(0, 273, 112), PartialTile(1, 1, 17), PartialTile(2, 0, 1)]
    assert partial_tiles(0) == []
    assert partial_tiles(256) == [PartialTile(1, 0, 1)]


@pytest.mark.parametrize(
    ("size", "edge"),
    [
        (0, (b"",)),
        (1, ()),
        (1, (b"x" * 31,)),
        (1, (b"x" * 64,)),
        (1, (b"x" * 32, b"")),
        (256, (b"",)),
        (256, (b"", b"")),
        (256, (b"x" * 32, b"x" * 32)),
        (257, (b"", b"x" * 32)),
    ],
)
def test_an_edge_of_another_shape_is_refused(size: int, edge: Edge) -> None:
    for grow in (lambda: extend(size, edge, []), lambda: root_from_edge(size, edge)):
        with pytest.raises(IntegrityError):
            grow()


def test_cut_or_missing_rows_are_refused() -> None:
    read = PartialTile(0, 0, 2).read
    with pytest.raises(IntegrityError):
        edge_from(2, {})
    with pytest.raises(IntegrityError):
        edge_from(2, {read: LEAVES[0]})
    node = Node(1, 0)
    with pytest.raises(IntegrityError, match="another number"):
        evaluate([node], {Read(0, 0, 2): LEAVES[0]})
    with pytest.raises(IntegrityError, match="no row"):
        evaluate([node], {})
    with pytest.raises(IntegrityError, match="no row"):
        evaluate([node], {Read(0, 1, 1): LEAVES[1], Read(0, 0, 1): LEAVES[0]})
    with pytest.raises(IntegrityError, match="no row"):
        evaluate([node], {Read(1, 0, 2): LEAVES[0] + LEAVES[1]})
    for wrong in (b"", LEAVES[0][:-1], LEAVES[0] + b"\0"):
        with pytest.raises(IntegrityError):
            extend(0, (), [wrong])
        with pytest.raises(IntegrityError):
            tile_root(wrong)


def test_an_impossible_size_is_the_callers_mistake() -> None:
    for size in (-1, MAX_SIZE + 1):
        with pytest.raises(ValueError, match="tree has"):
            partial_tiles(size)
    full = edge_from(MAX_SIZE, {tile.read: b"\0" * 32 * tile.width for tile in partial_tiles(MAX_SIZE)})
    with pytest.raises(ValueError, match="tree has"):
        extend(MAX_SIZE, full, [LEAVES[0]])


@given(st.integers(0, MAX_SIZE), st.integers(1, TILE_WIDTH))
def test_tile_names_have_one_spelling(n: int, width: int) -> None:
    assert parse_tile_name(tile_name(n, width)) == (n, width)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "0",
        "00",
        "0000",
        "x000",
        "x000/000",
        "x000/001",
        "001/000",
        "x001/x000",
        "x001/0",
        "X001/000",
        "x001//000",
        "/000",
        "000/",
        "000\n",
        "-01",
        "+01",
        "0_1",
        "٠٠٠",
        "000.p",
        "000.p/",
        "000.p/0",
        "000.p/01",
        "000.p/256",
        "000.p/257",
        "000.p/999",
        "000.p/1000",
        "000.p/-1",
        "000.p/1/",
        "000.P/1",
        "x009/x999/x999/x999/x999/x999/999",
        "x001/x000/x000/x000/x000/x000/x000/000",
    ],
)
def test_other_tile_names_are_malformed(name: str) -> None:
    with pytest.raises(Malformed):
        parse_tile_name(name)


@given(st.text(alphabet="x0123456789/.p\n ", max_size=30) | st.text(max_size=12))
def test_whatever_parses_as_a_tile_name_is_its_own_spelling(name: str) -> None:
    try:
        n, width = parse_tile_name(name)
    except Malformed:
        return
    assert tile_name(n, width) == name


@pytest.mark.parametrize(("n", "width"), [(-1, 1), (0, 0), (0, 257), (MAX_SIZE + 1, 1)])
def test_no_name_for_what_is_no_tile(n: int, width: int) -> None:
    with pytest.raises(ValueError, match="a tile has"):
        tile_name(n, width)
