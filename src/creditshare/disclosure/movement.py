"""How withheld cells can move while everything published stays as it is: found by linear programming.

``Movement`` looks for proofs that cells are protected, ``Partners`` for what must be withheld besides so that one is.
What the solver finds in floating point is only a proposal: a partner need be no more, and a proof is checked. Its
values in the free columns are rounded and all others substituted exactly; only a vector of whole numbers that leaves no
cell below its floor counts. A proposal that does not hold proves nothing, and the doubt counts against publishing.
(Fischetti and Salazar, *Models and algorithms for optimizing cell suppression in tabular data*, 2000.)
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from statistics import median
from typing import Any

from creditshare.disclosure.component import Component
from creditshare.disclosure.elimination import Echelon, Vector
from creditshare.disclosure.pattern import Pattern

SCALED = 1e6
"""Sums are in such large numbers that the solver would take what it may be wrong by for a movement."""
NOTHING = 1e-7  # what the solver may be wrong by


@cache
def _libraries() -> tuple[Any, Any]:
    """Return the solver and the library whose arrays it takes: some 80 MB, for who tells reports alone."""
    import highspy  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    return highspy, np


def _program() -> Any:
    program = _libraries()[0].Highs.__base__()  # which takes the same calls and prints no banner
    program.setOptionValue("output_flag", False)  # noqa: FBT003  the solver's own form
    program.setOptionValue("threads", 1)
    return program


def _add_row(program: Any, terms: Iterable[tuple[int, int]]) -> None:
    """Add the equation that these columns, each with its sign, add up to nought."""
    _, np = _libraries()
    places, signs = zip(*terms, strict=True)
    program.addRow(0.0, 0.0, len(places), np.array(places, dtype=np.int32), np.array(signs, dtype=float))


class Movement:
    """A linear program over a component: the changes of its cells, none below its floor, all relations kept."""

    def __init__(self, pattern: Pattern, component: Component, echelon: Echelon) -> None:
        highs, np = _libraries()
        self._pattern = pattern
        self._echelon = echelon
        self._at = {i: number for number, i in enumerate(component.cells)}
        self._made_by: dict[str, list[int]] = {}
        for i in component.cells:
            sole = pattern.soles[i]
            if sole is not None:
                self._made_by.setdefault(sole, []).append(i)
        slacks = [pattern.slack(i) for i in component.cells]
        self._scale = max(1.0, max(slacks, default=0) / SCALED)
        self._lowest = -np.array(slacks, dtype=float) / self._scale
        self._highest = np.full(len(slacks), highs.kHighsInf)
        self._all = np.arange(len(slacks), dtype=np.int32)
        self._program = _program()
        self._program.addVars(len(slacks), self._lowest, self._highest)
        for row in component.rows:
            _add_row(self._program, ((self._at[i], sign) for i, sign in row))

    def towards(self, goals: Mapping[int, int], *, known_to: Collection[str] = ()) -> Vector:
        """Return a movement of as many cells as far towards their goals as goes; empty if there is none.

        A goal is a change, up or down. The cells that one of these lenders makes up alone stay where they are.
        """
        fixed = {i for lender in known_to for i in self._made_by.get(lender, ())}
        low, high, price = self._lowest.copy(), self._highest.copy(), 0.0 * self._lowest
        for i, goal in goals.items():
            place, wanted = self._at[i], goal / self._scale
            price[place] = -1.0 / wanted
            if goal > 0:
                high[place] = wanted
            else:
                low[place] = max(low[place], wanted)
        places = [self._at[i] for i in fixed]
        low[places] = high[places] = 0.0
        self._program.changeColsBounds(len(self._all), self._all, low, high)
        self._program.changeColsCost(len(self._all), self._all, price)
        self._program.run()
        return self._exact(self._program.getSolution().col_value, fixed)

    def _exact(self, values: Sequence[float], fixed: Collection[int]) -> Vector:
        free = {i: round(values[self._at[i]] * self._scale) for i in self._echelon.free}
        vector = self._echelon.vector(free)
        if vector is None or any(self._pattern.slack(i) < -step or i in fixed for i, step in vector.items()):
            return {}
        return vector


class Partners:
    """A linear program over all cells, in which one that is published may move too, at the price of withholding it."""

    def __init__(self, pattern: Pattern) -> None:
        highs, np = _libraries()
        self._pattern = pattern
        self._count = count = len(pattern.measure.cells)
        slacks = [max(0, pattern.slack(i)) for i in range(count)]
        self._scale = max(1.0, max(slacks, default=0) / SCALED)
        held = [i in pattern.known and pattern.status[i] == "s" for i in range(count)]
        self._rise = [0.0 if known else highs.kHighsInf for known in held]
        self._fall = [0.0 if known else slack / self._scale for slack, known in zip(slacks, held, strict=True)]
        self._optimal = highs.HighsModelStatus.kOptimal
        self._program = _program()
        for most in (self._rise, self._fall):  # a change is a rise less a fall, so that both have a price
            self._program.addVars(count, np.zeros(count), np.array(most))
        usual = median(pattern.measure.values or (1,)) or 1
        for i, value in enumerate(pattern.measure.values):
            if pattern.status[i] == "s":
                self._price(i, value / usual)
        for row in pattern.measure.rows:
            terms = [(i, 1) for i in row.parts] + [(i, -1) for i in row.wholes]
            _add_row(self._program, [*terms, *((count + i, -sign) for i, sign in terms)])

    def of(self, i: int) -> list[int]:
        """Return the published cells at the least price that let a cell move by its width; empty if none do.

        Best while all lenders look who know better, or else while nobody does. What is returned has no price from then
        on, because it is withheld.
        """
        pattern = self._pattern
        everyone = pattern.insiders.difference({pattern.soles[i]}) if pattern.status[i] == "u" else frozenset[str]()
        known = [at for at, sole in enumerate(pattern.soles) if sole in everyone and pattern.status[at] != "s"]
        moved = self._cheapest(i, known) or self._cheapest(i, ()) or []
        for at in moved:
            self._price(at, 0.0)
        return moved

    def _cheapest(self, i: int, known: Collection[int]) -> list[int] | None:
        """Return the published cells that move with this one, upwards or downwards; nothing if it cannot."""
        need = self._pattern.width(i) / self._scale
        for at in known:
            self._bound(at, 0.0, 0.0)
        found: list[tuple[float, list[int]]] = []
        for rise, fall in ((need, 0.0), (0.0, need)):
            if rise <= self._rise[i] and fall <= self._fall[i]:
                self._bound(i, rise, fall, least=True)
                self._program.run()
                if self._program.getModelStatus() == self._optimal:
                    found.append((self._program.getInfo().objective_function_value, self._moving()))
        for at in (*known, i):
            self._bound(at, self._rise[at], self._fall[at])
        return min(found)[1] if found else None

    def _moving(self) -> list[int]:
        values = self._program.getSolution().col_value
        return [
            at
            for at in range(self._count)
            if self._pattern.status[at] == "s" and values[at] + values[self._count + at] > NOTHING
        ]

    def _bound(self, at: int, rise: float, fall: float, *, least: bool = False) -> None:
        self._program.changeColBounds(at, rise if least else 0.0, rise)
        self._program.changeColBounds(self._count + at, fall if least else 0.0, fall)

    def _price(self, at: int, price: float) -> None:
        for column in (at, self._count + at):
            self._program.changeColCost(column, price)
