"""Views of one population, and the relations between their cells.

A view is the set of dimensions by which it counts; a dimension may have a parent, as months have years. A cell is
named by its coordinates. Views that share a margin can be played against each other through it, so the margin has to
be a view itself: ``margins`` adds those that lack, ``released`` insists on them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from creditshare.disclosure.cells import Cell, Name, Relation, System

View = frozenset[str]
Coordinates = tuple[tuple[str, str], ...]


def at(**values: str) -> Coordinates:
    """The name of a cell: its coordinates by dimension, in alphabetical order."""
    return tuple(sorted(values.items()))


@dataclass(frozen=True, slots=True)
class Parent:
    """The coarser dimension of a dimension, and the value there of each value here."""

    dimension: str
    value_of: Callable[[str], str]


Parents = Mapping[str, Parent]


def margins(views: Collection[View], parents: Parents) -> tuple[View, ...]:
    """The views and whatever they have in common two by two, down to the grand total, in a fixed order."""
    family = {_finest(_ancestry(view, parents), parents) for view in views}
    waiting = list(family)
    while waiting:
        view = waiting.pop()
        for other in tuple(family):
            shared = _finest(_ancestry(view, parents) & _ancestry(other, parents), parents)
            if shared not in family:
                family.add(shared)
                waiting.append(shared)
    return tuple(sorted(family, key=lambda view: (len(view), sorted(view))))


def released(cells: Mapping[Coordinates, Cell], views: Collection[View], parents: Parents) -> System:
    """The system of a release: its cells, and each of them as the total of those of each next finer view.

    A cell that is absent is an exact zero. Where zeros of a third view say that some regions have only some industries,
    and these only those, then each month's sum over the ones is that over the others: such *ties* are relations too.
    """
    family = margins(views, parents)
    if lacking := set(family) - set(views):
        raise ValueError(f"a release holds its margins: {sorted(map(sorted, lacking))}")
    by_view: dict[View, list[Coordinates]] = {view: [] for view in family}
    for name in cells:
        view = frozenset(dimension for dimension, _ in name)
        if view not in by_view:
            raise ValueError(f"a cell of no view: {name}")
        by_view[view].append(name)
    made: list[Relation] = []
    for coarse in family:
        for fine in _next_finer(coarse, family, parents):
            made += _totals(by_view[coarse], by_view[fine], coarse, parents)
    there = {view: {name for name in names if cells[name].records} for view, names in by_view.items()}
    for one, other in combinations(family, 2):
        made += _ties(one, other, there, parents)
    return System(dict[Name, Cell](cells.items()), tuple(made))


def _totals(coarse: list[Coordinates], fine: list[Coordinates], view: View, parents: Parents) -> list[Relation]:
    parts: dict[Coordinates, list[Name]] = {name: [] for name in coarse}
    for name in fine:
        parts.setdefault(_project(name, view, parents), []).append(name)
    return [Relation((whole,), tuple(names)) for whole, names in parts.items()]


def _ties(one: View, other: View, there: Mapping[View, set[Coordinates]], parents: Parents) -> list[Relation]:
    """Groups of cells of two views that can only hold the same records, for what a published zero excludes."""
    left, right = _ancestry(one, parents), _ancestry(other, parents)
    shared = _finest(left & right, parents)
    both = left | right
    telling = [
        view
        for view in there
        if (grown := _ancestry(view, parents)) <= both and not grown <= left and not grown <= right
    ]
    if not telling:
        return []
    ties: list[Relation] = []
    rights = _grouped(there[other], shared, parents)
    for margin, lefts in _grouped(there[one], shared, parents).items():
        blocks = _blocks(lefts, rights.get(margin, []), telling, there, parents)
        if len(blocks) > 1:
            ties += [Relation(tuple(wholes), tuple(parts)) for wholes, parts in blocks]
    return ties


def _blocks(
    lefts: list[Coordinates],
    rights: list[Coordinates],
    telling: list[View],
    there: Mapping[View, set[Coordinates]],
    parents: Parents,
) -> list[tuple[list[Coordinates], list[Coordinates]]]:
    """The connected groups of cells that can share a record."""
    blocks: list[tuple[list[Coordinates], list[Coordinates]]] = [([left], []) for left in lefts]
    for right in rights:
        joined: tuple[list[Coordinates], list[Coordinates]] = ([], [right])
        apart = []
        for block in blocks:
            if any(_together(left, right, telling, there, parents) for left in block[0]):
                joined = (joined[0] + block[0], block[1] + joined[1])
            else:
                apart.append(block)
        blocks = [*apart, joined]
    return blocks


def _together(
    left: Coordinates, right: Coordinates, telling: list[View], there: Mapping[View, set[Coordinates]], parents: Parents
) -> bool:
    both = at(**dict(left + right))
    return all(_project(both, view, parents) in there[view] for view in telling)


def _grouped(names: Iterable[Coordinates], view: View, parents: Parents) -> dict[Coordinates, list[Coordinates]]:
    groups: dict[Coordinates, list[Coordinates]] = {}
    for name in sorted(names):
        groups.setdefault(_project(name, view, parents), []).append(name)
    return groups


def _next_finer(view: View, family: Collection[View], parents: Parents) -> list[View]:
    """The views above this one with none between."""
    own = _ancestry(view, parents)
    finer = {other: _ancestry(other, parents) for other in family if own < _ancestry(other, parents)}
    return [other for other, grown in finer.items() if not any(between < grown for between in finer.values())]


def _project(name: Coordinates, view: View, parents: Parents) -> Coordinates:
    values = dict(name)
    for dimension, value in name:
        while (parent := parents.get(dimension)) is not None:
            value = parent.value_of(value)  # noqa: PLW2901  # one step up
            dimension = parent.dimension  # noqa: PLW2901
            values[dimension] = value
    return at(**{dimension: values[dimension] for dimension in view})


def _ancestry(view: Iterable[str], parents: Parents) -> View:
    grown = set(view)
    for dimension in view:
        at_ = dimension
        while (parent := parents.get(at_)) is not None:
            at_ = parent.dimension
            grown.add(at_)
    return frozenset(grown)


def _finest(grown: View, parents: Parents) -> View:
    """Without what follows from another of them."""
    return grown - {parents[dimension].dimension for dimension in grown if dimension in parents}
