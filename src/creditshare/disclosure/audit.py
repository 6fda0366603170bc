"""The audit of protection: what can be worked back from everything that is published together.

``unsafe``      is a cell published that is unsafe in itself?
``remainder``   does a relation by itself tell too much of what is withheld in it (see ``pattern``)?
``determined``  does a combination of published numbers give it exactly (a unit vector in the row space)?
``narrow``      do the published numbers and the floors of what is withheld bound it more narrowly than its protection
                width? Bounds are propagated from relation to relation until nothing changes; what they tell is true.
``unproven``    is there proof that it can be thought different? A proof is a vector of the kernel: a change of withheld
                cells that leaves everything published as it is and no cell below its floor. A lender knows the cells
                in which it alone has records, so for each lender there must be one without such cells of its own.

A cell that is proven is neither determined nor narrow. A cell that is neither proven nor narrow is reported all the
same: the doubt counts against publishing.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from creditshare.disclosure.cells import Name
from creditshare.disclosure.component import FAR, Component
from creditshare.disclosure.elimination import Echelon, Vector, coin
from creditshare.disclosure.movement import Movement
from creditshare.disclosure.pattern import Pattern

Kind = Literal["unsafe", "remainder", "determined", "narrow", "unproven"]
TURNS = 3  # times that cells are moved together, each time others up and others down
ROUNDS = 50  # of propagation; stopping early leaves bounds true, only wider


@dataclass(frozen=True, slots=True)
class Finding:
    """One cell that is not protected, and why; of a remainder the smallest cell."""

    name: Name
    kind: Kind


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
    _prove(pattern, component, open_, echelon, proven)
    doubtful = [i for i in open_ if i not in found and i not in proven]
    if doubtful:
        bounds = propagate(pattern, component)
        for i in doubtful:
            low, high = bounds[i]
            found[i] = "narrow" if high is not None and high - low < pattern.width(i) else "unproven"
    return found


def _prove(pattern: Pattern, component: Component, open_: Iterable[int], echelon: Echelon, proven: set[int]) -> None:
    """Look for movements of every cell, to the credit of all that move: circuits, many at once, each alone."""
    proofs = {i: _Proof() for i in open_}
    for i in proofs:
        if echelon.is_free(i):
            _count(pattern, proofs, echelon.circuit(i))
    if not all(proof.done for proof in proofs.values()):
        movement = Movement(pattern, component, echelon)
        _move_together(pattern, movement, proofs, dict.fromkeys(proofs), ())
        for sole in sorted({pattern.soles[i] for i in proofs}, key=str):
            members = [i for i in proofs if pattern.soles[i] == sole]
            _move_together(pattern, movement, proofs, members, pattern.insiders.difference({sole}))
        for i, proof in proofs.items():
            if not proof.done:
                _move_alone(pattern, movement, proofs, i)
    proven.update(i for i, proof in proofs.items() if proof.done)


def _move_together(
    pattern: Pattern, movement: Movement, proofs: dict[int, _Proof], members: Iterable[int], looking: Collection[str]
) -> None:
    """Move these cells while these lenders look, some up and some down."""
    for turn in range(TURNS):
        goals = {i: pattern.width(i) * coin(i, turn) for i in members if not proofs[i].done}
        if goals:
            _count(pattern, proofs, movement.towards(goals, known_to=looking))


def _move_alone(pattern: Pattern, movement: Movement, proofs: dict[int, _Proof], i: int) -> None:
    """Move one cell by its width, while all look who know better, and then while each of them does."""
    proof, need = proofs[i], pattern.width(i)
    everyone = pattern.insiders.difference({pattern.soles[i]}) if pattern.status[i] == "u" else set()
    for direction in (1, -1):
        if not proof.done:
            _count(pattern, proofs, movement.towards({i: need * direction}, known_to=everyone))
    left = set(everyone)
    while left and not proof.done:
        lender = min(left if proof.insiders is None else left & proof.insiders)
        for direction in (1, -1):
            if proof.insiders is None or lender in proof.insiders:
                _count(pattern, proofs, movement.towards({i: need * direction}, known_to={lender}))
        if proof.insiders is None or lender in proof.insiders:
            return
        left &= proof.insiders


def _count(pattern: Pattern, proofs: dict[int, _Proof], circuit: Vector) -> None:
    """How far all cells can move along a vector with none below its floor, to the credit of each of them."""
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
    """How often a vector can be added (or taken away) before a cell is at its floor; without end is counted as far."""
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
