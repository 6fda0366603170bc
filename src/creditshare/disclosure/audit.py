"""The audit of protection: what can be worked back from everything that is published together.

``unsafe``      is a cell published that is unsafe in itself?
``remainder``   does a relation by itself tell too much of what is withheld in it (see ``pattern``)?
``determined``  does a combination of published numbers give it exactly (a unit vector in the row space)?
``narrow``      do the published numbers and the floors of what is withheld bound it more narrowly than its protection
                width? Bounds are propagated from relation to relation until nothing changes; what they tell is true.
``unproven``    is there proof that it can be thought different? A proof is a circuit: a change of withheld cells that
                leaves everything published as it is and no cell below its floor. A lender knows the cells in which
                it alone has records, so for each lender there must be a circuit without such cells of others' making.

A cell that is proven is neither determined nor narrow. A cell that is neither proven nor narrow is reported all the
same: the doubt counts against publishing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from creditshare.disclosure.cells import Name
from creditshare.disclosure.elimination import Echelon, Vector, combined
from creditshare.disclosure.pattern import Pattern

Kind = Literal["unsafe", "remainder", "determined", "narrow", "unproven"]
FAR = 1 << 62  # as far as no number goes
TRIES = 8  # circuits, and ways around a cell, looked at before a cell counts as unproven
DETOURS = 6
ROUNDS = 50  # of propagation; stopping early leaves bounds true, only wider


@dataclass(frozen=True, slots=True)
class Finding:
    """One cell that is not protected, and why; of a remainder the smallest cell."""

    name: Name
    kind: Kind


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


@dataclass(slots=True)
class _Proof:
    """What the circuits show of one cell so far."""

    down: int = 0
    up: int = 0
    insiders: set[str] | None = None  # lenders who know a cell of each wide circuit; nothing before the first
    done: bool = False


def examine(pattern: Pattern, component: Component, proven: set[int]) -> dict[int, Kind]:
    """What is not protected in a component. ``proven`` is what need not be proved again, and grows.

    A proof stays one when more is withheld: whatever could move before still can.
    """
    if component.silent:  # One record more like any that is there changes only what is withheld.
        proven.update(component.cells)
    open_ = [i for i in component.cells if i not in proven]
    if not open_:
        return {}
    weight = {i: pattern.slack(i) + (FAR if pattern.soles[i] is None else 0) for i in component.cells}
    echelon = Echelon((dict(row) for row in component.rows), weight)
    found: dict[int, Kind] = dict.fromkeys(echelon.determined(), "determined")
    _prove(pattern, open_, echelon, proven)
    doubtful = [i for i in open_ if i not in found and i not in proven]
    if doubtful:
        bounds = propagate(pattern, component)
        for i in doubtful:
            low, high = bounds[i]
            found[i] = "narrow" if high is not None and high - low < pattern.width(i) else "unproven"
    return found


def _prove(pattern: Pattern, open_: Iterable[int], echelon: Echelon, proven: set[int]) -> None:
    """Look for circuits through every cell: the one of each free column first, which also serve pivots."""
    proofs = {i: _Proof() for i in open_}
    for i in proofs:
        if echelon.is_free(i):
            _count(pattern, proofs, echelon.circuit(i))
    proven.update(i for i, proof in proofs.items() if proof.done)
    proven.update(i for i in proofs if i not in proven and _moves(pattern, echelon, i))


def _moves(pattern: Pattern, echelon: Echelon, i: int) -> bool:
    """Whether a cell can move by its width, whoever looks: best without any cell that one lender makes up alone."""
    if pattern.status[i] != "u":
        return _Search(pattern, echelon, i, frozenset()).wide()
    everyone = pattern.insiders.difference({pattern.soles[i]})
    return _Search(pattern, echelon, i, everyone).wide() or (
        len(everyone) > 1 and all(_Search(pattern, echelon, i, frozenset({lender})).wide() for lender in everyone)
    )


class _Search:
    """Circuits one after another, each from where the last one led, until one cell has moved by its width.

    Cells that one of the ``insiders`` makes up alone stay where they are.
    """

    def __init__(self, pattern: Pattern, echelon: Echelon, i: int, insiders: frozenset[str]) -> None:
        self._pattern = pattern
        self._echelon = echelon
        self._cell = i
        self._insiders = insiders
        self._moved: Vector = {}

    def wide(self) -> bool:
        """Whether the cell can move far enough, up and down together."""
        need = self._pattern.width(self._cell)
        for direction in (1, -1):
            self._moved = {}
            while need > 0 and (circuit := self._open_circuit(direction)) is not None:
                stride = abs(circuit[self._cell])
                steps = min(
                    -(-need // stride), *(self._slack(at) // -step for at, step in circuit.items() if step < 0), FAR
                )
                for at, step in circuit.items():
                    self._moved[at] = self._moved.get(at, 0) + steps * step
                need -= steps * stride
        return need <= 0

    def _open_circuit(self, direction: int) -> Vector | None:
        """A circuit along which at least one step is possible from here."""
        echelon, i = self._echelon, self._cell
        for column in echelon.behind(i):
            circuit = self._turned(echelon.circuit(column), direction)
            blocked = self._blocked(circuit)
            for _ in range(DETOURS):
                if not blocked:
                    return circuit
                detour = min(self._detours(circuit, blocked, direction), key=lambda made: len(made[1]), default=None)
                if detour is None or len(detour[1]) >= len(blocked):
                    break
                circuit, blocked = detour
        return None

    def _detours(self, circuit: Vector, blocked: list[int], direction: int) -> Iterator[tuple[Vector, list[int]]]:
        for at in blocked[:TRIES]:
            for column in self._echelon.behind(at):
                detour = combined(circuit, self._echelon.circuit(column), without=at)
                if self._cell in detour:
                    turned = self._turned(detour, direction)
                    yield turned, self._blocked(turned)

    def _turned(self, circuit: Vector, direction: int) -> Vector:
        return circuit if circuit[self._cell] * direction > 0 else {at: -step for at, step in circuit.items()}

    def _blocked(self, circuit: Vector) -> list[int]:
        """The cells that cannot go along, and those that an insider knows."""
        return [
            at for at, step in circuit.items() if self._slack(at) < -step or self._pattern.soles[at] in self._insiders
        ]

    def _slack(self, at: int) -> int:
        return self._pattern.slack(at) + self._moved.get(at, 0)


def _count(pattern: Pattern, proofs: dict[int, _Proof], circuit: Vector) -> None:
    """How far all cells can move along a circuit with none below its floor, to the credit of each of them."""
    forth = _steps(pattern, circuit, 1)
    back = _steps(pattern, circuit, -1)
    if forth == back == 0:
        return
    soles = _insiders(pattern, circuit)
    for i, step in circuit.items():
        proof = proofs.get(i)
        if proof is None or proof.done:
            continue
        up, down = (step * forth, step * back) if step > 0 else (-step * back, -step * forth)
        insiders = soles.difference({pattern.soles[i]}) if pattern.status[i] == "u" else set()
        if not insiders:
            proof.up, proof.down = max(proof.up, up), max(proof.down, down)
            proof.done = proof.up + proof.down >= pattern.width(i)
        elif up + down >= pattern.width(i):
            proof.insiders = insiders if proof.insiders is None else proof.insiders & insiders
            proof.done = not proof.insiders


def _steps(pattern: Pattern, circuit: Vector, direction: int) -> int:
    """How often a circuit can be added (or taken away) before a cell is at its floor; without end is counted as far."""
    falling = (pattern.slack(i) // abs(step) for i, step in circuit.items() if step * direction < 0)
    return min(falling, default=FAR)


def _insiders(pattern: Pattern, circuit: Vector) -> set[str]:
    return {sole for i in circuit if (sole := pattern.soles[i]) is not None}


def propagate(pattern: Pattern, component: Component) -> dict[int, tuple[int, int | None]]:
    """Bounds of withheld cells that follow from each relation, the others' bounds and the floors."""
    values, floors = pattern.measure.values, pattern.measure.floors
    low: dict[int, int] = {i: floors[pattern.status[i]] for i in component.cells}
    high: dict[int, int | None] = dict.fromkeys(component.cells)
    for _ in range(ROUNDS):
        changed = False
        for row in component.rows:
            told = sum(sign * values[i] for i, sign in row)
            changed |= _tighten(row, told, low, high)
        if not changed:
            break
    return {i: (low[i], high[i]) for i in component.cells}


def _tighten(row: Sequence[tuple[int, int]], told: int, low: dict[int, int], high: dict[int, int | None]) -> bool:
    """Each term is what was told less the others at their most or least; true if a bound moved."""
    least = [low[i] if sign > 0 else _minus(high[i]) for i, sign in row]
    most = [high[i] if sign > 0 else -low[i] for i, sign in row]
    open_low, open_high = least.count(None), most.count(None)
    sum_low, sum_high = sum(filter(None, least)), sum(filter(None, most))
    moved = False
    for (i, sign), own_low, own_high in zip(row, least, most, strict=True):
        if open_low == 0 or (open_low == 1 and own_low is None):
            moved |= _bound(i, sign, told - (sum_low - (own_low or 0)), low, high)
        if open_high == 0 or (open_high == 1 and own_high is None):
            moved |= _bound(i, -sign, -(told - (sum_high - (own_high or 0))), low, high)
    return moved


def _bound(i: int, sign: int, most: int, low: dict[int, int], high: dict[int, int | None]) -> bool:
    """Note that ``sign`` times a cell is at most this; true if that is news."""
    if sign > 0:
        before = high[i]
        if before is None or most < before:
            high[i] = most
            return True
        return False
    if -most > low[i]:
        low[i] = -most
        return True
    return False


def _minus(value: int | None) -> int | None:
    return None if value is None else -value
