"""What of a part's cells may be told: pure. Nothing here opens a record or knows what a cell said of a borrower.

Three things keep numbers that say something about few borrowers from being worked out: small cells and sums that one
lender dominates are withheld, with others so that no subtraction brings them back; a period is told once it is over;
and it is told anew only where what changed since is nothing, or enough to be told by itself (decision 26).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import UUID

from creditshare.reports.cells import Cell, Cells, Holding, Key
from creditshare.reports.tables import (
    DEFAULTS,
    MONTH_MARGINS,
    MULTIPLE,
    ROLL_MARGINS,
    ROLLS,
    VINTAGE_MARGINS,
    VINTAGES,
    YEAR_MARGINS,
    Name,
    Relation,
    across,
    relations,
)

CONDUCT = "conduct"
"""The one table of a family that tells what members did."""
Status = Literal["s", "u", "x"]
"""``s`` told, ``u`` withheld for what it is, ``x`` withheld so that others stay withheld. What is absent is nought."""


@dataclass(frozen=True, slots=True)
class Protected:
    """The status of each cell's counts, and of its sum."""

    counts: Mapping[Name, Status]
    sums: Mapping[Name, Status]


Protect = Callable[[Mapping[Name, Cell], Sequence[Relation], Collection[Name]], Protected]
"""Disclosure control over a system of cells; the third argument are those that everybody knows already."""
MayRetell = Callable[[int, int], bool]
"""Whether a change by so many borrowers, at so many lenders, may be seen."""


@dataclass(frozen=True, slots=True)
class Stock:
    """How many borrowers stand at a month's end, at which lenders; and how many came or left since the month before."""

    borrowers: int
    lenders: frozenset[UUID]
    moved: int
    moved_at: frozenset[UUID]


Series = Sequence[tuple[str, Mapping[str, Stock]]]
Thin = Callable[[Series], Series]
"""Chooses the month's ends of a series that may be told."""


@dataclass(frozen=True, slots=True)
class Row:
    """A cell as it is told: without the numbers that are withheld. ``values`` follow the table's dimensions."""

    table: str
    values: tuple[str, ...]
    status: Status
    sum_status: Status
    borrowers: int | None
    records: int | None
    lenders: int | None
    amount: int | None

    @property
    def key(self) -> Key:
        """The cell's name within its family."""
        return (self.table, *self.values)


@dataclass(frozen=True, slots=True)
class Told:
    """A family's rows of one part, and the periods whose changes are held back."""

    rows: tuple[Row, ...] = ()
    held: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as a document to be kept."""
        return {
            "held": list(self.held),
            "rows": [
                [
                    one.table,
                    list(one.values),
                    one.status,
                    one.sum_status,
                    one.borrowers,
                    one.records,
                    one.lenders,
                    one.amount,
                ]
                for one in self.rows
            ],
        }

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> "Told":
        """Read a document of ``as_json``."""
        rows = (Row(row[0], tuple(row[1]), *row[2:]) for row in document["rows"])
        return cls(tuple(rows), tuple(document["held"]))


@dataclass(slots=True)
class Telling:
    """What comes of a part: documents by family, and the cells whose changes since are told with them.

    ``complete`` says that only a change can bring anything new: all of it is over and told.
    """

    documents: dict[str, Told] = field(default_factory=dict)
    settled: set[Name] = field(default_factory=set)
    complete: bool = False


@dataclass(frozen=True, slots=True)
class System:
    """Cells that are told together, and how they add up. Those of which nothing is left are among ``touched`` still."""

    cells: Mapping[Name, Cell]
    relations: Sequence[Relation]
    touched: Mapping[Name, Mapping[str, Collection[UUID]]]

    @classmethod
    def of(cls, families: Mapping[str, Cells], add_up: Sequence[Relation]) -> "System":
        """Make a system of the cells of families."""
        named = {(family, *key): cell for family, cells in families.items() for key, cell in cells.items()}
        return cls(
            {name: cell for name, cell in named.items() if cell.records},
            add_up,
            {name: cell.touched for name, cell in named.items() if cell.touched},
        )


def tell_year(
    defaults: Cells,
    rolls: Cells,
    before: Mapping[str, Told],
    *,
    year: str,
    over: Callable[[str], bool],
    protect: Protect,
    may_retell: MayRetell,
) -> Telling:
    """Tell a year's defaults and how they went on. Before the year is over, each month that is."""
    defaults, rolls, told = _living(defaults), _living(rolls), _told_names(before)
    if over(f"{year}-12"):
        whole = System.of({DEFAULTS: defaults, ROLLS: rolls}, _relations_of_year(defaults, rolls))
        if _may_tell(whole, told, may_retell):
            return replace(_tell([whole], told, before={}, held=(), protect=protect), complete=True)
        if any(name[1] == "year" for name in told):
            return _hold(before, [year])
    systems, held, kept = [], [], list[Row]()
    for month in sorted({name[2] for name in defaults if name[0] == "month"}):
        if not over(month):
            continue
        cells = {key: cell for key, cell in defaults.items() if key[0].startswith("month") and key[2] == month}
        system = System.of({DEFAULTS: cells}, relations(DEFAULTS, cells, MONTH_MARGINS))
        if _may_tell(system, told, may_retell):
            systems.append(system)
        else:
            held.append(month)
            kept += [row for row in before[DEFAULTS].rows if row.values[1] == month]
    return _tell(systems, told, before={DEFAULTS: kept}, held=held, protect=protect)


def tell_cohort(
    cells: Cells, before: Mapping[str, Told], *, year: str, protect: Protect, may_retell: MayRetell
) -> Telling:
    """Tell the defaults of the loans that were opened in a year, by their age."""
    cells, told = _living(cells), _told_names(before)
    system = System.of({VINTAGES: cells}, relations(VINTAGES, cells, VINTAGE_MARGINS))
    if not _may_tell(system, told, may_retell):
        return _hold(before, [year])
    return replace(_tell([system], told, before={}, held=(), protect=protect), complete=True)


def tell_stocks(
    cells: Cells, before: Mapping[str, Told], *, over: Callable[[str], bool], thin: Thin, may_retell: MayRetell
) -> Telling:
    """Tell how many borrowers are in default at 1, 2, 3 and more lenders at the ends of months.

    The difference of two month's ends is who came and left in between, so a month's end is told only where since the
    one told before it nobody did, or enough (``thin``).
    """
    told = {(MULTIPLE, *row.key) for row in before[MULTIPLE].rows} if MULTIPLE in before else set()
    touched: dict[str, dict[str, set[UUID]]] = {}
    for key, cell in cells.items():
        for who, lenders in cell.touched.items():
            touched.setdefault(key[2], {}).setdefault(who, set()).update(lenders)
    if told and not all(may_retell(len(one), len(set().union(*one.values()))) for one in touched.values()):
        return _hold(before, ["all"])
    rows = [
        Row("month,lenders", (month, number), "s", "s", stock.borrowers, None, len(stock.lenders), None)
        for month, stocks in thin(_stocks(cells, over))
        for number, stock in sorted(stocks.items())
    ]
    complete = all(over(key[1]) for key in cells)
    return Telling({MULTIPLE: Told(tuple(rows))}, {(MULTIPLE, *key) for key in cells}, complete)


def tell_conduct(family: str, cells: Cells) -> Telling:
    """Tell what members did, each by itself: these counts name lenders, and nothing of any borrower is in them."""
    rows = [
        Row(CONDUCT, (*key, str(lender)), "s", "s", None, holding.records, None, None)
        for key, cell in sorted(cells.items())
        for lender, holding in sorted(cell.lenders.items())
    ]
    return Telling({family: Told(tuple(rows))}, {(family, *key) for key in cells}, complete=True)


def _stocks(cells: Cells, over: Callable[[str], bool]) -> Series:
    numbers = sorted({key[2] for key in cells})
    here: dict[str, Cell] = {number: Cell() for number in numbers}
    series = []
    for month in sorted({key[1] for key in cells}):
        if not over(month):
            break
        stocks = {}
        for number in numbers:
            moved = [cells[key] for way in ("came", "left") if (key := ("month,lenders", month, number, way)) in cells]
            came = cells.get(("month,lenders", month, number, "came"), Cell())
            left = cells.get(("month,lenders", month, number, "left"), Cell())
            here[number].add(came)
            here[number].add(_negative(left))
            stocks[number] = Stock(
                here[number].borrowers,
                frozenset(here[number].lenders),
                sum(cell.borrowers for cell in moved),
                frozenset().union(*(cell.lenders for cell in moved)),
            )
        series.append((month, stocks))
    return series


def _negative(cell: Cell) -> Cell:
    lenders = {lender: Holding(-one.records, -one.amount) for lender, one in cell.lenders.items()}
    return Cell(-cell.borrowers, lenders)


def _living(cells: Cells) -> Cells:
    """Leave out cells that say nothing: no record, and no change since they were told."""
    return {key: cell for key, cell in cells.items() if cell.records or cell.touched}


def _relations_of_year(defaults: Cells, rolls: Cells) -> list[Relation]:
    years = [key for key in defaults if key[0] == "year"]
    linked = [across(ROLLS, key, DEFAULTS, years) for key in rolls if key[0] == "year"]
    return [*relations(DEFAULTS, defaults, YEAR_MARGINS), *relations(ROLLS, rolls, ROLL_MARGINS), *linked]


def _told_names(before: Mapping[str, Told]) -> set[Name]:
    return {(family, *row.key) for family, told in before.items() for row in told.rows if row.status == "s"}


def _may_tell(system: System, told: Collection[Name], may_retell: MayRetell) -> bool:
    """Whether all that changed since in cells that were told may be seen."""
    for name, touched in system.touched.items():
        if name in told and not may_retell(len(touched), len(set().union(*touched.values()))):
            return False
    return True


def _hold(before: Mapping[str, Told], held: Sequence[str]) -> Telling:
    return Telling({family: Told(document.rows, tuple(held)) for family, document in before.items()})


def _tell(
    systems: Iterable[System],
    told: Collection[Name],
    *,
    before: Mapping[str, Sequence[Row]],
    held: Sequence[str],
    protect: Protect,
) -> Telling:
    rows: dict[str, list[Row]] = {family: list(kept) for family, kept in before.items()}
    settled: set[Name] = set()
    for system in systems:
        known = {name for name in told if name in system.cells and name not in system.touched}
        protected = protect(system.cells, system.relations, known)
        for name, cell in system.cells.items():
            rows.setdefault(name[0], []).append(_row(name, cell, protected))
        settled |= system.cells.keys() | system.touched.keys()
    documents = {
        family: Told(tuple(sorted(those, key=lambda row: row.key)), tuple(held)) for family, those in rows.items()
    }
    return Telling(documents, settled)


def _row(name: Name, cell: Cell, protected: Protected) -> Row:
    counts, sums = protected.counts[name], protected.sums[name]
    shown = counts == "s"
    return Row(
        name[1],
        name[2:],
        counts,
        sums,
        cell.borrowers if shown else None,
        cell.records if shown else None,
        len(cell.lenders) if shown else None,
        cell.amount if name[0] == DEFAULTS and sums == "s" else None,
    )
