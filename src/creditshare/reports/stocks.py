"""How many borrowers stand in default at one, two, three and more lenders at the ends of months. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from creditshare.disclosure.retelling import Change, thin
from creditshare.disclosure.rules import Rules, few
from creditshare.reports.cells import Cell, Cells, Holding
from creditshare.reports.documents import Row, Told
from creditshare.reports.protection import change_of, may_be_seen
from creditshare.reports.tables import MULTIPLE, Name

WHOLE = "all"


@dataclass(frozen=True, slots=True)
class MonthEnd:
    """The stock at a month's end by number of lenders, and who came or left in all months up to it."""

    month: str
    stocks: Mapping[str, Cell]
    moved: Mapping[str, tuple[int, frozenset[UUID]]]


def tell_stocks(
    cells: Cells, before: Told | None, *, over: Callable[[str], bool], rules: Rules
) -> tuple[Told, set[Name]]:
    """Return what is told, and the cells whose changes since are told with it.

    The difference of two months' ends is who came and left in between, so a month's end is told only where since the
    one told before it nobody did, or enough; and all ends anew only where enough changed in each number.
    """
    told = () if before is None or not before.units else tuple(sorted({row.values[0] for row in before.rows}))
    if before is not None and told and not may_be_seen(_changes(cells, told), rules):
        return Told(before.rows, (WHOLE,), before.units), set()
    ends = [end for end in _ends(cells, over) if _may_stand(end, rules)]
    rows = [
        Row("month,lenders", (end.month, number), "s", "s", stock.borrowers, None, len(stock.lenders), None)
        for end in thin(ends, _moved, rules)
        for number, stock in sorted(end.stocks.items())
    ]
    return Told(tuple(rows), (), (WHOLE,) if rows else ()), {(MULTIPLE, *key) for key in cells} if rows else set()


def _changes(cells: Cells, told: Sequence[str]) -> list[Change]:
    """Return who changed what was told: up to each month's end that was, and between any two that follow each other."""
    changes = []
    for number in _numbers(cells):
        for place, end in enumerate(told):
            begins = ("", told[place - 1]) if place else ("",)
            changes += [
                change_of(cell.touched for key, cell in cells.items() if key[2] == number and begin < key[1] <= end)
                for begin in begins
            ]
    return changes


def _may_stand(end: MonthEnd, rules: Rules) -> bool:
    return not any(few(stock.borrowers, len(stock.lenders), rules) for stock in end.stocks.values())


def _moved(first: MonthEnd, last: MonthEnd) -> Sequence[Change]:
    """Return who came or left between two ends, by number; the lenders of both are taken for all that moved."""
    changes = []
    for number, (count, lenders) in last.moved.items():
        since = count - first.moved[number][0]
        changes.append(Change(since, len(lenders) if since else 0))
    return changes


def _numbers(cells: Cells) -> list[str]:
    return sorted({key[2] for key in cells})


def _ends(cells: Cells, over: Callable[[str], bool]) -> list[MonthEnd]:
    numbers = _numbers(cells)
    here = {number: Cell() for number in numbers}
    moved: dict[str, tuple[int, frozenset[UUID]]] = {number: (0, frozenset()) for number in numbers}
    ends = []
    for month in sorted({key[1] for key in cells}):
        if not over(month):
            break
        for number in numbers:
            count, lenders = moved[number]
            for way, sign in (("came", 1), ("left", -1)):
                cell = cells.get(("month,lenders", month, number, way), Cell())
                here[number].add(_signed(cell, sign))
                count, lenders = count + cell.borrowers, lenders | set(cell.lenders)
            moved[number] = count, lenders
        ends.append(MonthEnd(month, {number: _signed(here[number], 1) for number in numbers}, dict(moved)))
    return ends


def _signed(cell: Cell, sign: int) -> Cell:
    lenders = {lender: Holding(sign * one.records, sign * one.amount) for lender, one in cell.lenders.items()}
    return Cell(sign * cell.borrowers, lenders)
