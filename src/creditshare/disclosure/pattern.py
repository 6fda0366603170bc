"""One measure of a system, by number instead of by name, and the complementary suppression of single relations.

A withheld cell is hidden by the others that are withheld in the same relation. ``Pattern.complete`` suppresses
partners, the smallest that fits first, until in no relation

* a withheld cell stands alone,
* the *remainder*, that is what a published side less the published cells of the other side tells of the withheld ones
  together, is unsafe by the same rules as a cell,
* the partners' slack is narrower than a withheld cell's protection width.

Slack is how far a number can be thought smaller: a reader knows that what is withheld is no zero (zeros are
published), and that a secondary suppression is not below the threshold (its status is published).
What several relations tell together is the audit's matter.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from creditshare.disclosure.cells import Cell, Name, Relation, Status, System
from creditshare.disclosure.rules import Rules, concentrated, count_unsafe, count_width, few, sum_unsafe, sum_width
from creditshare.errors import Unprotectable


@dataclass(frozen=True, slots=True)
class Row:
    """A relation between the cells that are not zero, by number."""

    wholes: tuple[int, ...]
    parts: tuple[int, ...]

    @property
    def cells(self) -> tuple[int, ...]:
        """Parts first, for they are the first to be thought of as partners."""
        return self.parts + self.wholes


@dataclass(frozen=True, slots=True)
class Measure:
    """What is published of each cell that is not zero, and what it takes to protect it.

    ``values`` add up along ``rows``. ``scarce`` is what slack is counted in: for counts the borrowers, of which a cell
    has never more than records, so that what hides the records hides them too.
    """

    names: tuple[Name, ...]
    cells: tuple[Cell, ...]
    rows: tuple[Row, ...]
    values: tuple[int, ...]
    scarce: tuple[int, ...]
    widths: tuple[int, ...]
    primary: frozenset[int]
    floors: Mapping[Status, int]
    unsafe: Callable[[int, Mapping[str, int]], bool]
    """Whether a remainder with at least so many borrowers and exactly these sums by lender is unsafe."""


def counts(system: System, rules: Rules) -> Measure:
    """Records and borrowers, which share one pattern."""
    names, cells, rows = _numbered(system, lambda cell: cell.records > 0)
    return Measure(
        names=names,
        cells=cells,
        rows=rows,
        values=tuple(cell.records for cell in cells),
        scarce=tuple(cell.borrowers for cell in cells),
        widths=tuple(count_width(cell, rules) for cell in cells),
        primary=frozenset(i for i, cell in enumerate(cells) if count_unsafe(cell, rules)),
        floors={"u": 1, "x": rules.min_borrowers},
        unsafe=lambda borrowers, lenders: few(borrowers, len(lenders), rules),
    )


def sums(system: System, rules: Rules) -> Measure:
    """The sums of exposure, where they mean something."""
    names, cells, rows = _numbered(system, lambda cell: cell.records > 0 and cell.summed)
    totals = tuple(cell.total for cell in cells)
    return Measure(
        names=names,
        cells=cells,
        rows=rows,
        values=totals,
        scarce=totals,
        widths=tuple(sum_width(cell, rules) for cell in cells),
        primary=frozenset(i for i, cell in enumerate(cells) if sum_unsafe(cell, rules)),
        floors={"u": 0, "x": 0},
        unsafe=lambda borrowers, lenders: few(borrowers, len(lenders), rules) or concentrated(lenders.values(), rules),
    )


def _numbered(
    system: System, here: Callable[[Cell], bool]
) -> tuple[tuple[Name, ...], tuple[Cell, ...], tuple[Row, ...]]:
    """The cells that are here, and the relations between them; zeros fall out, and so does what has no sum."""
    numbers = {name: i for i, name in enumerate(name for name, cell in system.cells.items() if here(cell))}
    nothing = {name for name, cell in system.cells.items() if not cell.records}

    def row(relation: Relation) -> Row | None:
        there = [name for name in (*relation.wholes, *relation.parts) if name in system.cells and name not in nothing]
        if not there or any(name not in numbers for name in there):
            return None
        return Row(
            tuple(numbers[name] for name in relation.wholes if name in numbers),
            tuple(numbers[name] for name in relation.parts if name in numbers),
        )

    rows = dict.fromkeys(made for relation in system.relations if (made := row(relation)))
    return tuple(numbers), tuple(system.cells[name] for name in numbers), tuple(rows)


@dataclass(slots=True)
class _Side:
    """One side of a row as it stands: what is withheld there, added up."""

    largest: int  # of the borrowers of all its cells
    published: int  # borrowers of the published cells, added up
    hidden: int = 0
    slack: int = 0
    widest: int = 0
    biggest: int = 0  # of the borrowers of withheld cells
    lenders: dict[str, int] = field(default_factory=dict)


class Pattern:
    """Which cells are withheld, growing until every relation by itself is safe."""

    def __init__(self, measure: Measure, *, known: Collection[int] = ()) -> None:
        self.measure = measure
        self.known = frozenset(known)
        self.status: list[Status] = ["s"] * len(measure.cells)
        self.soles = [next(iter(cell.lenders)) if len(cell.lenders) == 1 else None for cell in measure.cells]
        self.insiders: frozenset[str] = frozenset(sole for sole in self.soles if sole is not None)
        self.rows_of: list[list[int]] = [[] for _ in measure.cells]
        self._places: list[list[_Side]] = [[] for _ in measure.cells]
        self._sides: list[tuple[_Side, _Side]] = []
        self._waiting: deque[int] = deque()
        self._queued = [False] * len(measure.rows)
        for number, row in enumerate(measure.rows):
            sides = (self._side(row.wholes), self._side(row.parts))
            self._sides.append(sides)
            for side, members in zip(sides, (row.wholes, row.parts), strict=True):
                for i in members:
                    self.rows_of[i].append(number)
                    self._places[i].append(side)

    def _side(self, members: Sequence[int]) -> _Side:
        borrowers = [self.measure.cells[i].borrowers for i in members]
        return _Side(largest=max(borrowers, default=0), published=sum(borrowers))

    def slack(self, i: int) -> int:
        """How far a cell, withheld or to be, can be thought smaller."""
        status = self.status[i] if self.status[i] != "s" else "x"
        return self.measure.scarce[i] - self.measure.floors[status]

    def width(self, i: int) -> int:
        """How far a withheld cell must be movable: a secondary one only needs to be no certainty."""
        return self.measure.widths[i] if self.status[i] == "u" else 1

    def hide(self, i: int, status: Status) -> None:
        """Withhold a cell, unless everybody knows it, and note its relations for checking."""
        if self.status[i] != "s" or i in self.known:
            return
        self.status[i] = status
        cell, slack, width = self.measure.cells[i], self.slack(i), self.width(i)
        for number, side in zip(self.rows_of[i], self._places[i], strict=True):
            side.published -= cell.borrowers
            side.hidden += 1
            side.slack += slack
            side.widest = max(side.widest, width)
            side.biggest = max(side.biggest, cell.borrowers)
            for lender, amount in cell.lenders.items():
                side.lenders[lender] = side.lenders.get(lender, 0) + amount
            if not self._queued[number]:
                self._queued[number] = True
                self._waiting.append(number)

    def complete(self) -> None:
        """Suppress partners until each relation by itself is safe."""
        while self._waiting:
            number = self._waiting.popleft()
            self._queued[number] = False
            while (need := self._need(number)) is not None:
                partner = self._partner(self.measure.rows[number], need)
                if partner is None:
                    raise Unprotectable("what is known gives a relation away")
                self.hide(partner, "x")

    def unsafe_rows(self) -> list[int]:
        """The relations that by themselves tell too much of what is withheld."""
        return [number for number in range(len(self.measure.rows)) if self._need(number) is not None]

    def _need(self, number: int) -> int | None:
        """How much slack a row lacks, zero if it lacks only company, nothing if it is safe."""
        wholes, parts = self._sides[number]
        if bool(wholes.hidden) == bool(parts.hidden):
            return None
        side, other = (parts, wholes) if parts.hidden else (wholes, parts)
        lacking = max(0, side.widest - side.slack)
        if lacking or side.hidden == 1:
            return lacking
        borrowers = max(side.biggest, other.largest - side.published)
        return 0 if self.measure.unsafe(borrowers, side.lenders) else None

    def _partner(self, row: Row, need: int) -> int | None:
        """One of the parts, or a whole, which leaves nothing to subtract from; a part of nothing hides only a whole."""
        something = [i for i in row.parts if self.measure.values[i]]
        choices = (self.smallest(members, need) for members in (something, row.wholes, row.parts))
        return next((partner for partner in choices if partner is not None), None)

    def smallest(self, members: Iterable[int], need: int) -> int | None:
        """The smallest published cell with enough slack, or else the one with most."""
        open_ = [i for i in members if self.status[i] == "s" and i not in self.known]
        fitting = [i for i in open_ if self.slack(i) >= need]
        if fitting:
            return min(fitting, key=lambda i: (self.measure.values[i], i))
        return max(open_, key=lambda i: (self.slack(i), -i), default=None)
