"""Cells: what borrowers add up to, by name; added, taken off and spelled as bytes to be sealed.

Counts of borrowers, records and lenders cannot be worked out of each other, so a cell keeps all of them, and what each
lender has in it: the rules of disclosure ask how much of a sum is the largest lender's.
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

Key = tuple[str, ...]
"""The name of a cell within its part: the table it stands in, then its value in each dimension."""
Part = tuple[str, str]
"""What is kept, sealed and told together: a family of tables, and the period or other group that it is of."""
UNIT: Final = 10_000
"""Amounts are whole numbers of the smallest fraction that a report may give: four decimals."""
_ZLIB_LEVEL: Final = 1  # what is written is read again within the minute


@dataclass(slots=True)
class Holding:
    """What one lender has in a cell: records, and the sum of their exposure in units."""

    records: int = 0
    amount: int = 0


@dataclass(slots=True)
class Cell:
    """One cell. ``touched`` names who changed it since it was told, each with what it comes to by lender.

    Who came and went again comes to nothing and is not named. ``moved`` is by how much each lender's part of the sum
    changed since the sum was told, which may be longer ago: a sum that was told may be withheld for a while.
    ``sum_told`` says whether it ever was.
    """

    borrowers: int = 0
    lenders: dict[UUID, Holding] = field(default_factory=dict)
    touched: dict[str, dict[UUID, Holding]] = field(default_factory=dict)
    moved: dict[UUID, int] = field(default_factory=dict)
    sum_told: bool = False

    @property
    def records(self) -> int:
        """How many records are in it."""
        return sum(holding.records for holding in self.lenders.values())

    @property
    def amount(self) -> int:
        """The sum of their exposure, in units."""
        return sum(holding.amount for holding in self.lenders.values())

    def add(self, other: "Cell") -> None:
        """Add what another cell of the same name says; differences may be negative."""
        self.borrowers += other.borrowers
        _add(self.lenders, other.lenders)
        for who, change in other.touched.items():
            mine = self.touched.setdefault(who, {})
            _add(mine, change)
            if not mine:
                del self.touched[who]
        self.move(other.moved)
        self.sum_told = self.sum_told or other.sum_told

    def move(self, amounts: Mapping[UUID, int]) -> None:
        """Note by how much lenders' parts of the sum changed."""
        for lender, amount in amounts.items():
            now = self.moved.get(lender, 0) + amount
            if now:
                self.moved[lender] = now
            else:
                self.moved.pop(lender, None)

    def forget_changes(self) -> None:
        """Forget what changed: nothing of it was told that could be subtracted."""
        self.touched.clear()
        self.moved.clear()

    @property
    def size(self) -> int:
        """How much there is of it to be read and written."""
        changes = len(self.moved) + sum(1 + len(change) for change in self.touched.values())
        return 1 + len(self.lenders) + changes

    @property
    def empty(self) -> bool:
        """Whether nothing is left of it."""
        return not (self.borrowers or self.lenders or self.touched or self.moved)


def _add(held: dict[UUID, Holding], more: Mapping[UUID, Holding], sign: int = 1) -> None:
    for lender, holding in more.items():
        mine = held.get(lender)
        if mine is None:
            mine = held[lender] = Holding()
        mine.records += sign * holding.records
        mine.amount += sign * holding.amount
        if not mine.records and not mine.amount:
            del held[lender]


Share = Mapping[tuple[Part, Key], Mapping[UUID, Holding]]
"""What one borrower adds to cells: in each, what its records at each lender come to."""
Cells = dict[Key, Cell]
_NOTHING: Final[Mapping[UUID, Holding]] = {}


def add_difference(parts: dict[Part, Cells], before: Share, now: Share, *, who: str | None) -> None:
    """Add what one borrower's change does to cells, by part; cells in which nothing changed are left alone.

    ``who`` is a name for the borrower that means nothing elsewhere; without one the cells do not keep who it was.
    """
    for name, new in now.items():
        old = before.get(name, _NOTHING)
        if old != new:
            _change(_cell_of(parts, name), old, new, who)
    for name, old in before.items():
        if name not in now:
            _change(_cell_of(parts, name), old, _NOTHING, who)


def _cell_of(parts: dict[Part, Cells], name: tuple[Part, Key]) -> Cell:
    cells = parts.setdefault(name[0], {})
    cell = cells.get(name[1])
    if cell is None:
        cell = cells[name[1]] = Cell()
    return cell


def _change(cell: Cell, old: Mapping[UUID, Holding], new: Mapping[UUID, Holding], who: str | None) -> None:
    cell.borrowers += bool(new) - bool(old)
    _add(cell.lenders, new)
    _add(cell.lenders, old, -1)
    if who is not None:
        change = cell.touched.setdefault(who, {})
        _add(change, new)
        _add(change, old, -1)
        if not change:
            del cell.touched[who]
        for sign, holdings in ((1, new), (-1, old)):
            cell.move({lender: sign * one.amount for lender, one in holdings.items()})


def added(parts: Iterable[Cells]) -> Cells:
    """Return the sum of cells, without those of which nothing is left."""
    total: Cells = {}
    for cells in parts:
        for key, cell in cells.items():
            total.setdefault(key, Cell()).add(cell)
    return {key: cell for key, cell in total.items() if not cell.empty}


def size_of(cells: Cells) -> int:
    """Return how much there is of cells; a cell of many lenders is as much as many cells."""
    return sum(cell.size for cell in cells.values())


def spelled(cells: Cells) -> bytes:
    """Return cells as bytes: compressed JSON, lenders by their place in one list."""
    lenders = sorted({one for cell in cells.values() for one in _lenders_of(cell)})
    place = {lender: number for number, lender in enumerate(lenders)}
    rows = [
        [
            key,
            cell.borrowers,
            [[place[lender], one.records, one.amount] for lender, one in cell.lenders.items()],
            [
                [who, [[place[lender], one.records, one.amount] for lender, one in change.items()]]
                for who, change in cell.touched.items()
            ],
            [[place[lender], amount] for lender, amount in cell.moved.items()],
            cell.sum_told,
        ]
        for key, cell in cells.items()
    ]
    text = json.dumps([[one.hex for one in lenders], rows], separators=(",", ":"))
    return zlib.compress(text.encode(), _ZLIB_LEVEL)


def read(data: bytes) -> Cells:
    """Return the cells of ``spelled``."""
    names, rows = json.loads(zlib.decompress(data))
    lenders = [UUID(hex=name) for name in names]
    cells = {}
    for key, borrowers, holdings, touched, *since in rows:
        cell = cells[tuple(key)] = Cell(
            borrowers,
            {lenders[number]: Holding(records, amount) for number, records, amount in holdings},
            {who: {lenders[n]: Holding(records, amount) for n, records, amount in change} for who, change in touched},
        )
        if since:
            moved, cell.sum_told = since
            cell.moved = {lenders[number]: amount for number, amount in moved}
        else:  # of before these were kept: what changed since the cell was told
            for change in cell.touched.values():
                cell.move({lender: one.amount for lender, one in change.items()})
    return cells


def _lenders_of(cell: Cell) -> set[UUID]:
    return set(cell.lenders).union(cell.moved, *cell.touched.values())
