"""Tiles of height 8: which tiles new leaves complete, and where the hash of a node is read.

A tile of level L holds 256 hashes: leaf hashes at level 0, above it the roots of 256 full tiles of level L-1 (C2SP
tlog-tiles). Storage keeps two kinds of rows, and ``Read`` addresses both: level 0 is the leaf hashes by index, level
L >= 1 is the roots of the full tiles of level L-1 by their n. Both only grow, so a partial tile is always a slice of
such a row and never has to be stored. Many hashes travel as one ``bytes``, 32 bytes each without separators, which is
also the body of a tile. Left out: the entries themselves and everything that is signed.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from creditshare.errors import IntegrityError, Malformed
from creditshare.tlog.merkle import EMPTY_ROOT, HASH_SIZE, Node, node_hash
from creditshare.tlog.spelling import MAX_SIZE

TILE_HEIGHT = 8
"""Levels of the tree that one tile spans."""

TILE_WIDTH = 1 << TILE_HEIGHT
"""Hashes in a full tile."""

TILE_BYTES = TILE_WIDTH * HASH_SIZE
"""Bytes of a full tile: 8,192."""

Edge = tuple[bytes, ...]
"""The right edge of a tree: element L is the body of its partial tile of level L, ``b""`` where the width is 0.

The length is that of ``partial_widths(size)``: 0 for the empty tree, 1 up to 255 leaves, 2 up to 65,535, and so on.
"""


@dataclass(frozen=True, slots=True, order=True)
class Read:
    """``count`` hashes from ``start``: of the leaves (level 0) or of the roots of the full tiles of ``level - 1``."""

    level: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class TileSlice:
    """Where a node is inside one tile: ``count`` hashes from ``offset`` (both in hashes) of tile ``n`` of ``level``."""

    level: int
    n: int
    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class PartialTile:
    """The unfinished last tile of a level: its first ``width`` (1..255) hashes exist."""

    level: int
    n: int
    width: int

    @property
    def read(self) -> Read:
        """The rows that make up this tile's body."""
        return Read(self.level, self.n * TILE_WIDTH, self.width)


@dataclass(frozen=True, slots=True)
class FullTile:
    """A tile that will never change: 256 hashes (``hashes``, 8,192 bytes) and the 32-byte root over them."""

    level: int
    n: int
    hashes: bytes
    root: bytes


@dataclass(frozen=True, slots=True)
class Extension:
    """A grown tree: its new size in leaves, its new right edge, and the tiles that became full on the way.

    ``tiles`` is ordered by level, then n. ``edge`` fits ``size``, so the next ``extend`` needs no fetch.
    """

    size: int
    edge: Edge
    tiles: tuple[FullTile, ...]


def partial_width(level: int, size: int) -> int:
    """Return how many hashes the unfinished tile of ``level`` holds at ``size`` leaves: floor(size / 256^L) mod 256."""
    return (size >> (TILE_HEIGHT * level)) % TILE_WIDTH


def partial_widths(size: int) -> tuple[int, ...]:
    """Return the width (0..255) of the unfinished tile at each level that a tree of ``size`` leaves has.

    Raises ``ValueError`` unless ``0 <= size <= MAX_SIZE``.
    """
    if not 0 <= size <= MAX_SIZE:
        raise ValueError("a tree has 0 to 2^63 - 1 leaves")
    levels = -(-size.bit_length() // TILE_HEIGHT)
    return tuple(partial_width(level, size) for level in range(levels))


def partial_tiles(size: int) -> list[PartialTile]:
    """Return the unfinished tiles of a tree of ``size`` leaves, lowest level first: what ``edge_from`` needs fetched.

    Raises ``ValueError`` unless ``0 <= size <= MAX_SIZE``.
    """
    return [
        PartialTile(level, size >> (TILE_HEIGHT * (level + 1)), width)
        for level, width in enumerate(partial_widths(size))
        if width
    ]


def edge_from(size: int, rows: Mapping[Read, bytes]) -> Edge:
    """Put the fetched bodies of ``partial_tiles(size)``, keyed by ``PartialTile.read``, together to the right edge.

    Raises ``IntegrityError`` when one is missing or has another length than 32 bytes times its width.
    """
    bodies = {tile.level: rows.get(tile.read, b"") for tile in partial_tiles(size)}
    edge = tuple(bodies.get(level, b"") for level in range(len(partial_widths(size))))
    _require_edge(size, edge)
    return edge


def extend(size: int, edge: Edge, leaf_hashes: Iterable[bytes]) -> Extension:
    """Append 32-byte leaf hashes to a tree of ``size`` leaves with this right edge.

    Costs about one hash per new leaf. Raises ``IntegrityError`` when the edge does not have the shape that ``size``
    prescribes or a leaf hash is not 32 bytes long, ``ValueError`` for an impossible size.
    """
    _require_edge(size, edge)
    new_leaves = list(leaf_hashes)
    if any(len(entry) != HASH_SIZE for entry in new_leaves):
        raise IntegrityError("a leaf hash is not 32 bytes long")
    if size + len(new_leaves) > MAX_SIZE:
        raise ValueError("a tree has 0 to 2^63 - 1 leaves")
    tiles: list[FullTile] = []
    grown: list[bytes] = []
    arrivals = b"".join(new_leaves)
    level = 0
    while level < len(edge) or arrivals:
        row = (edge[level] if level < len(edge) else b"") + arrivals
        completed, rest = _cut_tiles(level, size >> (TILE_HEIGHT * (level + 1)), row)
        tiles += completed
        grown.append(rest)
        arrivals = b"".join([tile.root for tile in completed])
        level += 1
    return Extension(size + len(new_leaves), tuple(grown), tuple(tiles))


def root_from_edge(size: int, edge: Edge) -> bytes:
    """Return the 32-byte root of a tree of ``size`` leaves from its right edge alone; at most 255 hashes per level.

    Raises ``IntegrityError`` when the edge does not have the shape that ``size`` prescribes.
    """
    _require_edge(size, edge)
    running: bytes | None = None
    # The set bits of a width are the perfect subtrees of that tile, the widest on the left. Folding goes from the right
    # edge inwards: lowest level first, within a level from the end.
    for width, body in zip(partial_widths(size), edge, strict=True):
        end = width
        for bit in range(TILE_HEIGHT):
            if width >> bit & 1:
                start = end - (1 << bit)
                subtree = _perfect_root(body[start * HASH_SIZE : end * HASH_SIZE])
                running = subtree if running is None else node_hash(subtree, running)
                end = start
    return EMPTY_ROOT if running is None else running


def tile_root(hashes: bytes) -> bytes:
    """Return the 32-byte root over the 8,192 bytes of a full tile. Raises ``IntegrityError`` for another length."""
    if len(hashes) != TILE_BYTES:
        raise IntegrityError("a full tile is not 8,192 bytes long")
    return _perfect_root(hashes)


def locate(node: Node) -> TileSlice:
    """Return the one tile that holds this node, and the hashes in it that fold to the node (1 to 128)."""
    read = _read_of(node)
    return TileSlice(read.level, read.start // TILE_WIDTH, read.start % TILE_WIDTH, read.count)


def reads(nodes: Iterable[Node]) -> list[Read]:
    """Return the fewest reads that cover all nodes, ordered by level and start: no overlaps, neighbours joined.

    Each node is read at the highest level that holds it, so a proof needs at most 255 hashes per level.
    """
    joined: list[Read] = []
    for read in sorted(_read_of(node) for node in nodes):
        last = joined[-1] if joined else None
        if last is not None and last.level == read.level and read.start <= last.start + last.count:
            end = max(last.start + last.count, read.start + read.count)
            joined[-1] = Read(last.level, last.start, end - last.start)
        else:
            joined.append(read)
    return joined


def evaluate(nodes: Iterable[Node], rows: Mapping[Read, bytes]) -> dict[Node, bytes]:
    """Return the 32-byte hash of every node from fetched rows (each 32 bytes times ``Read.count``).

    ``rows`` may hold wider reads than ``reads(nodes)`` names, whole tiles for instance. Raises ``IntegrityError``
    when a row has the wrong length or a node is not covered by any single row.
    """
    if any(len(body) != read.count * HASH_SIZE for read, body in rows.items()):
        raise IntegrityError("storage returned another number of hashes than asked for")
    return {node: _perfect_root(_slice(_read_of(node), rows)) for node in nodes}


def tile_name(n: int, width: int = TILE_WIDTH) -> str:
    """Return ``<N>`` or ``<N>.p/<W>`` of a tile's URL (C2SP tlog-tiles), for instance ``x001/x234/067.p/112``.

    Raises ``ValueError`` unless ``0 <= n <= MAX_SIZE`` and ``1 <= width <= 256``.
    """
    if not (0 <= n <= MAX_SIZE and 1 <= width <= TILE_WIDTH):
        raise ValueError("a tile has n >= 0 and a width of 1 to 256")
    groups = f"{n:,}".split(",")
    groups[0] = groups[0].zfill(3)
    name = "/".join([*("x" + group for group in groups[:-1]), groups[-1]])
    return name if width == TILE_WIDTH else f"{name}.p/{width}"


# At most seven groups: 2^63 - 1 has nineteen digits.
_TILE_NAME = re.compile(r"((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


def parse_tile_name(name: str) -> tuple[int, int]:
    """Return ``(n, width)`` of ``<N>[.p/<W>]``, width 256 for a full tile.

    Raises ``Malformed`` for every spelling that ``tile_name`` does not produce.
    """
    match = _TILE_NAME.fullmatch(name)
    if match is None:
        raise Malformed("a tile name has the form x001/x234/067 or x001/x234/067.p/1..255")
    n = int(match[1].replace("x", "").replace("/", ""))
    width = int(match[2] or TILE_WIDTH)
    # Leading zero groups, ".p/256" and wider ones have another canonical spelling or none.
    if n > MAX_SIZE or width > TILE_WIDTH or tile_name(n, width) != name:
        raise Malformed("a tile name is written in its shortest form, with a partial width of 1..255")
    return n, width


def _cut_tiles(level: int, first: int, row: bytes) -> tuple[list[FullTile], bytes]:
    """Cut a row that begins at tile ``first`` into full tiles and the rest, which is shorter than a tile."""
    end = len(row) - len(row) % TILE_BYTES
    bodies = (row[at : at + TILE_BYTES] for at in range(0, end, TILE_BYTES))
    return [FullTile(level, first + i, body, _perfect_root(body)) for i, body in enumerate(bodies)], row[end:]


def _read_of(node: Node) -> Read:
    level, height = divmod(node.level, TILE_HEIGHT)
    return Read(level, node.index << height, 1 << height)


def _slice(wanted: Read, rows: Mapping[Read, bytes]) -> bytes:
    # A proof has a handful of reads, so a linear search is the fastest index.
    for read, body in rows.items():
        offset = wanted.start - read.start
        if read.level == wanted.level and 0 <= offset <= read.count - wanted.count:
            return body[offset * HASH_SIZE : (offset + wanted.count) * HASH_SIZE]
    raise IntegrityError("storage returned no row for a node that the plan names")


def _perfect_root(row: bytes) -> bytes:
    """Fold 2^k joined hashes to their root. Written on joined bytes: it is the log's only loop that must be fast."""
    sha256 = hashlib.sha256
    pair = 2 * HASH_SIZE
    while len(row) > HASH_SIZE:
        row = b"".join([sha256(b"\x01" + row[at : at + pair]).digest() for at in range(0, len(row), pair)])
    return row


def _require_edge(size: int, edge: Sequence[bytes]) -> None:
    if [len(body) for body in edge] != [width * HASH_SIZE for width in partial_widths(size)]:
        raise IntegrityError("the right edge does not have the widths that the size prescribes")
