"""Differencing over time: what a later release tells by what an earlier one told.

Whoever keeps two releases can subtract them. The difference is a number too, of those alone who came, went or changed
in between, and it is safe by the same threshold as any other, or it is nothing. Two rules follow.

* A *slice* (a month of reported defaults, say) that was told is told anew only as a whole, and only when every change
  in it is nothing or safe, and what was withheld stays withheld. Until then it is *held* at what was told last.
* A *series* (the stock at each month's end) is told at those points between which every movement is nothing or safe.

A change counts everyone in whose records anything differs, so that one who came and one who went do not cancel.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from creditshare.disclosure.cells import Name
from creditshare.disclosure.rules import Rules, few

Point = TypeVar("Point", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Change:
    """Distinct borrowers whose records differ from what was told, and distinct lenders who reported them."""

    borrowers: int
    lenders: int

    def __post_init__(self) -> None:
        if self.borrowers < 0 or self.lenders < 0 or (self.borrowers == 0) != (self.lenders == 0):
            raise ValueError("borrowers and lenders of a change are none together")


def may_retell(changes: Iterable[Change], rules: Rules) -> bool:
    """Whether no change would be told that is something and too small to tell."""
    return not any(few(change.borrowers, change.lenders, rules) for change in changes)


def retold(
    before: Collection[Name],
    now: Collection[Name],
    changes: Mapping[Name, Change],
    remainders: Iterable[Change],
    rules: Rules,
) -> bool:
    """Whether a slice may be told anew: ``before`` and ``now`` are the cells that are told, zeros among them.

    ``changes`` has every cell of ``now``; ``remainders`` are the changes in what each relation withholds, together, for
    they follow from the others. A cell that was withheld and would be told now gives away what it helped to hide.
    """
    told = set(now)
    return told <= set(before) and may_retell((*(changes[name] for name in told), *remainders), rules)


def thin(points: Sequence[Point], moved: Callable[[Point, Point], Iterable[Change]], rules: Rules) -> tuple[Point, ...]:
    """The points of a series at which it is told: the first, and each one that is far enough from the last one told.

    ``moved`` gives, for each category, who entered or left it between two points.
    """
    told: list[Point] = []
    for point in points:
        if not told or may_retell(moved(told[-1], point), rules):
            told.append(point)
    return tuple(told)
