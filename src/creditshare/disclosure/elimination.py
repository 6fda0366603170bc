"""Exact linear algebra over sparse equations: what is determined, and along which vectors the rest can move.

The equations say that a combination of withheld cells is a published number. Which number does not matter here: a
cell is determined exactly if every vector of the kernel is zero there, and each vector of the kernel is a way to change
the withheld cells so that everything published stays as it is.

Rows are kept in echelon form, not reduced: filling in is what costs. A vector of the kernel is found by substitution
from the last row to the first, and touches only the rows that it reaches.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from hashlib import blake2b
from heapq import heapify, heappop, heappush
from math import gcd, lcm

Vector = dict[int, int]


class Echelon:
    """Equations in echelon form. Pivots are the heaviest columns of their rows, so that the others are free."""

    def __init__(self, rows: Iterable[Mapping[int, int]], weight: Mapping[int, int]) -> None:
        self._weight = weight
        self._rows: list[tuple[int, Vector]] = []
        self._pivot_row: dict[int, int] = {}
        self._columns: set[int] = set()
        self._uses: dict[int, list[int]] = {}
        self._circuits: dict[int, Vector] = {}
        for row in sorted(rows, key=len):
            self._columns.update(row)
            self._add(dict(row))
        for number, (pivot, row) in enumerate(self._rows):
            for column in row:
                if column != pivot:
                    self._uses.setdefault(column, []).append(number)

    def _add(self, row: Vector) -> None:
        self._clear(row, [self._pivot_row[column] for column in row if column in self._pivot_row])
        if not row:
            return
        common = gcd(*row.values())
        if common > 1:
            row = {column: value // common for column, value in row.items()}
        pivot = max(row, key=lambda column: (self._weight[column], -column))
        self._pivot_row[pivot] = len(self._rows)
        self._rows.append((pivot, row))

    def _clear(self, row: Vector, found: list[int]) -> None:
        """Take from a row the multiples of earlier rows that leave none of their pivots; fraction-free."""
        heapify(found)
        while found:
            pivot, by = self._rows[heappop(found)]
            mine = row.get(pivot, 0)
            if not mine:
                continue
            theirs = by[pivot]
            common = gcd(mine, theirs)
            mine, theirs = mine // common, theirs // common
            if theirs != 1:
                for column in row:
                    row[column] *= theirs
            for column, value in by.items():
                left = row.get(column, 0) - mine * value
                if left:
                    if column not in row and column in self._pivot_row:
                        heappush(found, self._pivot_row[column])
                    row[column] = left
                else:
                    row.pop(column, None)

    @property
    def free(self) -> list[int]:
        """The columns that are no pivots, in order."""
        return sorted(self._columns - self._pivot_row.keys())

    def is_free(self, column: int) -> bool:
        """Whether a column is no pivot."""
        return column not in self._pivot_row

    def circuit(self, column: int) -> Vector:
        """The vector of the kernel that is not zero in this free column and zero in all other free ones."""
        if column in self._circuits:
            return self._circuits[column]
        vector: dict[int, int | Fraction] = {column: 1}
        reached = [-number for number in self._uses.get(column, ())]
        heapify(reached)
        last = None
        while reached:
            number = -heappop(reached)
            if number == last:
                continue
            last = number
            pivot, row = self._rows[number]
            value = _substitute(pivot, row, vector)
            if value:
                vector[pivot] = value
                for further in self._uses.get(pivot, ()):
                    heappush(reached, -further)
        scale = lcm(*(value.denominator for value in vector.values()))
        self._circuits[column] = {at: int(value * scale) for at, value in vector.items()}
        return self._circuits[column]

    def vector(self, free: Mapping[int, int]) -> Vector | None:
        """The vector of the kernel with these values in free columns, nought in the others; nothing if it is broken."""
        vector: dict[int, int | Fraction] = {column: value for column, value in free.items() if value}
        for pivot, row in reversed(self._rows):
            if value := _substitute(pivot, row, vector):
                vector[pivot] = value
        whole = {column: value for column, value in vector.items() if isinstance(value, int)}
        return whole if len(whole) == len(vector) else None

    def _depends(self, column: int) -> bool:
        """Whether a pivot depends on any free column."""
        row = {at: value for at, value in self._rows[self._pivot_row[column]][1].items() if at != column}
        self._clear(row, [self._pivot_row[at] for at in row if at in self._pivot_row])
        return bool(row)

    def determined(self) -> list[int]:
        """The columns that are zero in every vector of the kernel: a unit vector of theirs lies in the row space.

        One vector with scattered values in the free columns shows at once which pivots are not determined; the few
        others are looked at one by one, so that the answer is exact both ways.
        """
        vector: dict[int, int | Fraction] = {column: _scatter(column) for column in self.free}
        for pivot, row in reversed(self._rows):
            vector[pivot] = _substitute(pivot, row, vector)
        return sorted(pivot for pivot, _ in self._rows if not vector[pivot] and not self._depends(pivot))


def _substitute(pivot: int, row: Vector, vector: Mapping[int, int | Fraction]) -> int | Fraction:
    if len(row) <= len(vector):
        total = sum(value * vector[column] for column, value in row.items() if column != pivot and column in vector)
    else:
        total = sum(row[column] * value for column, value in vector.items() if column in row and column != pivot)
    if not total:
        return 0
    if row[pivot] in {1, -1}:
        return -total * row[pivot]
    value = Fraction(-total) / row[pivot]
    return int(value) if value.denominator == 1 else value


def _scatter(column: int) -> int:
    """A number without pattern, and the same each time."""
    return int.from_bytes(blake2b(column.to_bytes(8), digest_size=8).digest()) + 1


def coin(column: int, turn: int) -> int:
    """One or minus one, without pattern, and the same each time."""
    return 1 if _scatter(column) >> turn & 1 else -1
