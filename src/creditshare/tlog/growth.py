"""Rebuilding a tree from its leaves, in pieces of any size: its tiles as they fill, its roots at the sizes asked for.

Whoever checks a whole log, in a database or in a mirror, feeds it all leaf hashes in order and compares what comes out
with what is stored and signed. Memory does not grow with the log.
"""

from collections.abc import Collection, Sequence

from creditshare.tlog.tiles import Edge, FullTile, extend, root_from_edge


class Growth:
    """A tree that grows. ``at``: sizes of which the root is wanted.

    ``size`` is its leaves so far, ``edge`` its unfinished tiles, ``roots`` what is known of the roots asked for.
    """

    def __init__(self, *, at: Collection[int] = ()) -> None:
        self.size = 0
        self.edge: Edge = ()
        self.roots: dict[int, bytes] = {0: root_from_edge(0, ())}
        self._wanted: list[int] = []
        self.want(at)

    def want(self, sizes: Collection[int]) -> None:
        """Ask for the roots at further sizes, none of them behind the leaves that are there already."""
        self._wanted = sorted({*self._wanted, *sizes} - {0}, reverse=True)

    def add(self, hashes: Sequence[bytes]) -> tuple[FullTile, ...]:
        """Append 32-byte leaf hashes and return the tiles that became full, by level, then n."""
        tiles: list[FullTile] = []
        done = 0
        end = self.size + len(hashes)
        while self._wanted and self._wanted[-1] <= end:
            wanted = self._wanted.pop()
            upto = done + wanted - self.size
            tiles += self._extend(hashes[done:upto])
            done = upto
            self.roots[wanted] = self.root
        tiles += self._extend(hashes[done:])
        return tuple(sorted(tiles, key=lambda tile: (tile.level, tile.n)))

    def _extend(self, hashes: Sequence[bytes]) -> tuple[FullTile, ...]:
        grown = extend(self.size, self.edge, hashes)
        self.size, self.edge = grown.size, grown.edge
        return grown.tiles

    @property
    def root(self) -> bytes:
        """The root of what was added so far."""
        return root_from_edge(self.size, self.edge)
