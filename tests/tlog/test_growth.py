"""A tree rebuilt in pieces of any size has the tiles and roots of the tree that grew at once."""

import hashlib
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.tlog.growth import Growth
from creditshare.tlog.tiles import Extension, FullTile, extend, root_from_edge

LEAVES = [hashlib.sha256(n.to_bytes(4)).digest() for n in range(70_000)]
SIZES = [0, 1, 2, 255, 256, 257, 65_535, 65_536, 65_537, 70_000]


@cache
def whole_tree(size: int) -> Extension:
    return extend(0, (), LEAVES[:size])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [256, 1_000])
def test_pieces_make_the_same_tree(size: int, piece: int) -> None:
    whole = whole_tree(size)
    growth = Growth(at=[s for s in SIZES if s <= size])
    tiles: list[FullTile] = []
    for start in range(0, size, piece):
        tiles += growth.add(LEAVES[start : min(start + piece, size)])
    assert (growth.size, growth.edge) == (whole.size, whole.edge)
    assert sorted(tiles, key=lambda tile: (tile.level, tile.n)) == list(whole.tiles)
    assert growth.root == root_from_edge(whole.size, whole.edge)
    for wanted in (s for s in SIZES if s <= size):
        assert growth.roots[wanted] == root_from_edge(wanted, whole_tree(wanted).edge)


@given(st.lists(st.integers(0, 300), max_size=6), st.sets(st.integers(0, 1_500), max_size=6))
def test_roots_are_known_wherever_a_piece_ends(pieces: list[int], at: set[int]) -> None:
    growth, size = Growth(at=at), 0
    for piece in pieces:
        growth.add(LEAVES[size : size + piece])
        size += piece
    for wanted in at:
        if wanted <= size:
            assert growth.roots[wanted] == root_from_edge(wanted, extend(0, (), LEAVES[:wanted]).edge)
        else:
            assert wanted not in growth.roots
