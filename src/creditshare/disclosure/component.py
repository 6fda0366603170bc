"""Withheld cells that hang together, and the relations between them without what is published."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from creditshare.disclosure.elimination import Vector
from creditshare.disclosure.pattern import Pattern

FAR = 1 << 62  # as far as no number goes


@dataclass(frozen=True, slots=True)
class Component:
    """Withheld cells that hang together by relations, and these relations without what is published.

    ``silent`` if nothing but zeros is published in them.
    """

    cells: tuple[int, ...]
    silent: bool
    rows: tuple[tuple[tuple[int, int], ...], ...]


def components(pattern: Pattern) -> Iterator[Component]:
    """The withheld cells in groups that share no relation, by their first cell."""
    hidden = [i for i, status in enumerate(pattern.status) if status != "s"]
    equations = _equations(pattern, hidden)
    seen: set[int] = set()
    for start in hidden:
        if start in seen:
            continue
        cells, rows, waiting = {start}, set(), [start]
        while waiting:
            for number in pattern.rows_of[waiting.pop()]:
                if number in rows:
                    continue
                rows.add(number)
                fresh = equations[number].keys() - cells
                cells |= fresh
                waiting.extend(fresh)
        seen |= cells
        members = {i for number in rows for i in pattern.measure.rows[number].cells}
        silent = all(pattern.status[i] != "s" for i in members)
        yield Component(
            tuple(sorted(cells)), silent, tuple(tuple(equations[number].items()) for number in sorted(rows))
        )


def _equations(pattern: Pattern, hidden: Iterable[int]) -> dict[int, Vector]:
    numbers = sorted({number for i in hidden for number in pattern.rows_of[i]})
    equations: dict[int, Vector] = {}
    for number in numbers:
        row = pattern.measure.rows[number]
        equations[number] = {i: 1 for i in row.parts if pattern.status[i] != "s"}
        equations[number] |= {i: -1 for i in row.wholes if pattern.status[i] != "s"}
    return equations
