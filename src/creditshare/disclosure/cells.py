"""What is counted: cells, and the relations by which cells add up. One release is one system of both."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Name = Hashable
Status = Literal["u", "x", "s", "z"]
"""As sdcTable spells them: primary suppressed, secondary suppressed, published, zero (published)."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Who stands behind one cell: distinct borrowers, their records, and each lender's sum in minor units.

    ``summed`` is false where currencies are mixed: such a cell is counted, and its sum, which means nothing, not told.
    """

    borrowers: int
    records: int
    lenders: Mapping[str, int]
    summed: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.borrowers <= self.records:
            raise ValueError("a cell has no more borrowers than records, and not fewer than none")
        if (self.borrowers == 0) != (self.records == 0) or (not self.lenders) != (self.records == 0):
            raise ValueError("borrowers, records and lenders are none together")
        if len(self.lenders) > self.records or any(amount < 0 for amount in self.lenders.values()):
            raise ValueError("each lender has a record, and no sum is below zero")

    @property
    def total(self) -> int:
        """The sum of all lenders."""
        return sum(self.lenders.values())


@dataclass(frozen=True, slots=True)
class Relation:
    """The ``wholes`` together are the ``parts`` together; nearly always one whole, the total of its parts."""

    wholes: tuple[Name, ...]
    parts: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class System:
    """All cells of a release, in an order that breaks ties, and every relation between them.

    A cell that a relation names and that is not here is an exact zero. Relations must hold in records and sums.
    """

    cells: Mapping[Name, Cell]
    relations: tuple[Relation, ...]

    def __post_init__(self) -> None:
        for relation in self.relations:
            wholes, parts = self._present(relation.wholes), self._present(relation.parts)
            names = (*relation.wholes, *relation.parts)
            if len(set(names)) != len(names):
                raise ValueError(f"a cell stands twice in a relation: {relation}")
            if sum(cell.records for cell in wholes) != sum(cell.records for cell in parts):
                raise ValueError(f"the records of a relation do not add up: {relation}")
            if _lenders(wholes).keys() != _lenders(parts).keys():
                raise ValueError(f"the lenders of a relation are not the same: {relation}")
            if all(cell.summed for cell in (*wholes, *parts)) and _lenders(wholes) != _lenders(parts):
                raise ValueError(f"the sums of a relation do not add up: {relation}")
            if _disagree(wholes, parts) or _disagree(parts, wholes):
                raise ValueError(f"the borrowers of a relation cannot be: {relation}")

    def _present(self, names: Iterable[Name]) -> list[Cell]:
        return [self.cells[name] for name in names if name in self.cells]


def _lenders(cells: Iterable[Cell]) -> dict[str, int]:
    merged: dict[str, int] = {}
    for cell in cells:
        for lender, amount in cell.lenders.items():
            merged[lender] = merged.get(lender, 0) + amount
    return merged


def _disagree(left: list[Cell], right: list[Cell]) -> bool:
    """Whether one cell on the left has more distinct borrowers than all on the right could have together."""
    return max((cell.borrowers for cell in left), default=0) > sum(cell.borrowers for cell in right)
