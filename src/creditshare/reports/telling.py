"""What of a part's cells is told, period by period: pure. Nothing here opens a record.

Three things keep numbers that say something about few borrowers from being worked out: small cells and sums that one
lender dominates are withheld, with others so that no subtraction brings them back; a period is told once it is over;
and it is told anew only where what changed since is nothing, or enough to be told by itself (decisions 26 and 30).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from creditshare.disclosure.protect import Protection
from creditshare.disclosure.rules import Rules
from creditshare.reports.cells import Cell, Cells
from creditshare.reports.documents import Row, Status, Told
from creditshare.reports.protection import Before, System, decide, sums_told_before, told_sums
from creditshare.reports.tables import (
    DEFAULTS,
    MONTH_MARGINS,
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

CONDUCT: Final = "conduct"
"""The one table of a family that tells what members did."""
WHOLE: Final = "whole"
"""The unit of all that is told of a part at once, when all of it is over."""


@dataclass(slots=True)
class Telling:
    """What comes of a part: documents by family, and the cells whose changes since are told with them.

    ``sums`` are those of them whose sum is told, and ``earlier_sums`` those whose sum was told at some time before.
    ``complete`` says that only a change can bring anything new: all of it is over and told.
    """

    documents: dict[str, Told] = field(default_factory=dict)
    settled: set[Name] = field(default_factory=set)
    complete: bool = False
    sums: set[Name] = field(default_factory=set)
    earlier_sums: set[Name] = field(default_factory=set)

    def settle(self, name: Name, cell: Cell) -> None:
        """Forget of a cell what changed since it was told, as far as it is told now."""
        cell.touched.clear()
        if name in self.sums:
            cell.sum_told = True
            cell.moved.clear()
        elif name in self.earlier_sums:  # it is withheld for now, and compared with what it was when it is told again
            cell.sum_told = True
        else:
            cell.moved.clear()


@dataclass(slots=True)
class _Unit:
    """A period that is told together: its name, its cells, what was told of them, and what is decided of them."""

    name: str
    system: System
    before: Before
    protection: Protection | None = None

    def decide(self, rules: Rules) -> None:
        """Decide what of it is told, if anything may be."""
        self.protection = decide(self.system, self.before, rules)


def tell_year(
    defaults: Cells,
    rolls: Cells,
    before: Mapping[str, Told],
    *,
    year: str,
    over: Callable[[str], bool],
    rules: Rules,
) -> Telling:
    """Tell a year's defaults and how they went on. Before the year is over, each month that is."""
    families = {DEFAULTS: _living(defaults), ROLLS: _living(rolls)}
    units = before[DEFAULTS].units if DEFAULTS in before else ()
    if WHOLE in units or over(f"{year}-12"):  # what was told whole stays bound as a whole
        system = System.of(families, _relations_of_year(families[DEFAULTS], families[ROLLS]))
        whole = _Unit(WHOLE, system, _before(system, before, units))
        whole.decide(rules)
        if whole.protection is not None:
            return _told([whole], [], before, complete=True)
        if WHOLE in units:
            return _held(before, [year])
    months = [
        _month(families[DEFAULTS], month, before, units)
        for month in sorted({key[2] for key in families[DEFAULTS] if key[0] == "month"})
        if over(month)
    ]
    for unit in months:
        unit.decide(rules)
    return _told(months, [unit.name for unit in months if unit.protection is None], before, complete=False)


def tell_cohort(cells: Cells, before: Mapping[str, Told], *, year: str, rules: Rules) -> Telling:
    """Tell the defaults of the loans that were opened in a year, by their age."""
    cells = _living(cells)
    system = System.of({VINTAGES: cells}, relations(VINTAGES, cells, VINTAGE_MARGINS))
    units = before[VINTAGES].units if VINTAGES in before else ()
    unit = _Unit(WHOLE, system, _before(system, before, units))
    unit.decide(rules)
    if unit.protection is None:
        return _held(before, [year])
    return _told([unit], [], before, complete=True)


def tell_conduct(family: str, cells: Cells) -> Telling:
    """Tell what members did, each by itself: these counts name lenders, and nothing of any borrower is in them."""
    rows = [
        Row(CONDUCT, (*key, str(lender)), "s", "s", None, holding.records, None, None)
        for key, cell in sorted(cells.items())
        for lender, holding in sorted(cell.lenders.items())
    ]
    told = Told(tuple(rows), (), (WHOLE,))
    return Telling({family: told}, {(family, *key) for key in cells}, complete=True)


def _month(defaults: Cells, month: str, before: Mapping[str, Told], units: Collection[str]) -> _Unit:
    cells = {key: cell for key, cell in defaults.items() if key[0].startswith("month") and key[2] == month}
    system = System.of({DEFAULTS: cells}, relations(DEFAULTS, cells, MONTH_MARGINS))
    return _Unit(month, system, _before(system, before, units))


def _living(cells: Cells) -> Cells:
    """Leave out cells that say nothing: no record, and no change since they were told."""
    return {key: cell for key, cell in cells.items() if cell.records or cell.touched or cell.moved}


def _relations_of_year(defaults: Cells, rolls: Cells) -> Sequence[Relation]:
    years = [key for key in defaults if key[0] == "year"]
    linked = [across(ROLLS, key, DEFAULTS, years) for key in rolls if key[0] == "year"]
    return [*relations(DEFAULTS, defaults, YEAR_MARGINS), *relations(ROLLS, rolls, ROLL_MARGINS), *linked]


def _unit_of(name: Name) -> str:
    """Return the period with which a cell is told before its part is whole."""
    return name[3] if name[0] == DEFAULTS and name[1].startswith("month") else WHOLE


def _before(system: System, before: Mapping[str, Told], units: Collection[str]) -> Before:
    """Return what was told of a system's cells. In a period that was told, a cell without a row was told as nought."""

    def bound(name: Name) -> bool:
        return WHOLE in units or _unit_of(name) in units

    listed = {(family, *row.key): row for family, told in before.items() for row in told.rows}
    names = system.cells.keys() | system.touched.keys() | listed.keys()
    return Before(
        told={name for name, row in listed.items() if row.status == "s" and bound(name)},
        withheld={name for name, row in listed.items() if row.status != "s" and bound(name)},
        withheld_sums={name for name, row in listed.items() if row.sum_status != "s" and bound(name)},
        covered={name for name in names if bound(name)},
    )


def _held(before: Mapping[str, Told], held: Sequence[str]) -> Telling:
    documents = {family: Told(told.rows, tuple(held), told.units) for family, told in before.items()}
    return Telling(documents)


def _told(units: Iterable[_Unit], held: Sequence[str], before: Mapping[str, Told], *, complete: bool) -> Telling:
    """Make documents of what was decided; a period that is held stands as it was told before."""
    told_before = {family: told.rows for family, told in before.items()}
    rows: dict[str, list[Row]] = {}
    telling = Telling(complete=complete)
    names = []
    for unit in units:
        if unit.protection is None:
            for family, kept in told_before.items():
                rows.setdefault(family, []).extend(row for row in kept if _unit_of((family, *row.key)) == unit.name)
            if any(unit.name in told.units for told in before.values()):
                names.append(unit.name)
            continue
        if any(status == "s" for status in unit.protection.counts.values()):
            names.append(unit.name)  # where all is withheld nothing is told, and whoever comes later is not bound by it
        for name, cell in unit.system.cells.items():
            rows.setdefault(name[0], []).append(_row(name, cell, unit.protection))
        telling.settled |= unit.system.cells.keys() | unit.system.touched.keys() | unit.system.moved.keys()
        telling.sums |= told_sums(unit.system, unit.protection)
        telling.earlier_sums |= sums_told_before(unit.system, unit.before)
    telling.documents = {
        family: Told(tuple(sorted(those, key=lambda row: row.key)), tuple(held), tuple(names))
        for family, those in rows.items()
    }
    return telling


def _row(name: Name, cell: Cell, protection: Protection) -> Row:
    counts = _status(protection.counts[name])
    sums = _status(protection.sums.get(name, "s"))
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


def _status(status: str) -> Status:
    """Return a status as it is told; cells that are nought have no rows."""
    return "u" if status == "u" else "x" if status == "x" else "s"
