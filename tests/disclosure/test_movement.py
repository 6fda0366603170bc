"""Movements of withheld cells: whatever the solver proposes, only what holds exactly counts; and little is lost."""

from collections.abc import Iterator
from random import Random
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.disclosure.test_attack import releases
from tests.fixtures.tables import Default, population, recovered, withheld

from creditshare.disclosure.cells import Name, Status, System
from creditshare.disclosure.component import Component, components
from creditshare.disclosure.elimination import Echelon, Vector
from creditshare.disclosure.movement import Movement
from creditshare.disclosure.pattern import Pattern, counts, sums
from creditshare.disclosure.protect import audit, protect
from creditshare.disclosure.rules import Rules

RULES = Rules(min_borrowers=5, min_lenders=3, dominance=((1, 75), (2, 90)), p_percent=10)


def movements(system: System) -> Iterator[tuple[Pattern, Component, Movement]]:
    """Return the components of what is withheld of a system, of its counts and of its sums."""
    protection = protect(system, RULES)
    statuses: dict[Name, Status]
    for measure, statuses in (
        (counts(system, RULES), {**protection.counts}),
        (sums(system, RULES), {**protection.sums}),
    ):
        pattern = Pattern(measure)
        for i, name in enumerate(measure.names):
            if statuses[name] in {"u", "x"}:
                pattern.hide(i, statuses[name])
        for component in components(pattern):
            weight = {i: pattern.slack(i) for i in component.cells}
            yield pattern, component, Movement(pattern, component, Echelon(map(dict, component.rows), weight))


def require_unseen(pattern: Pattern, component: Component, vector: Vector, known_to: set[str]) -> None:
    """Fail unless nothing published, no floor and none of these lenders shows that the cells moved."""
    assert all(type(step) is int for step in vector.values())
    for row in component.rows:
        assert sum(sign * vector.get(i, 0) for i, sign in row) == 0
    for i, step in vector.items():
        assert pattern.measure.scarce[i] + step >= pattern.measure.floors[pattern.status[i]]
        assert pattern.soles[i] not in known_to


@given(releases(), st.sets(st.sampled_from("ABCD")), st.integers())
@settings(max_examples=60, deadline=None)
def test_a_movement_shows_in_nothing_that_is_published(system: System, known_to: set[str], seed: int) -> None:
    chance = Random(seed)  # noqa: S311  directions, no secret
    for pattern, component, movement in movements(system):
        goals = {i: pattern.width(i) * chance.choice((1, -1)) for i in component.cells}
        require_unseen(pattern, component, movement.towards(goals, known_to=known_to), known_to)


@given(releases(), st.sets(st.sampled_from("ABCD")), st.integers(), st.sampled_from([0.4, 3.0, 1e9]))
@settings(max_examples=60, deadline=None)
def test_a_solver_that_is_wrong_proves_nothing(system: System, known_to: set[str], seed: int, far: float) -> None:
    chance = Random(seed)  # noqa: S311  wrong answers, no secret
    for pattern, component, movement in movements(system):
        values = [chance.uniform(-far, far) for _ in component.cells]
        answer = SimpleNamespace(col_value=values)
        wrong = dict.fromkeys(("changeColsBounds", "changeColsCost", "run"), lambda *_: None)
        movement._program = SimpleNamespace(**wrong, getSolution=lambda answer=answer: answer)
        require_unseen(pattern, component, movement.towards({component.cells[0]: 1}, known_to=known_to), known_to)


def sparse_year() -> System:
    """A year of few defaults at many lenders, so that much is withheld and many a lender knows cells of its own."""
    chance = Random(2006)  # noqa: S311  a population, no secret
    defaults = []
    for borrower in range(900):
        where = {
            "month": f"2006-{chance.randint(1, 12):02}",
            "region": f"{int(chance.paretovariate(0.7)) % 40:02}",
            "industry": f"{int(chance.paretovariate(0.7)) % 18:02}",
        }
        lender = f"L{int(chance.paretovariate(0.5)) % 150:03}"
        defaults.append(Default(borrower, lender, int(chance.lognormvariate(12, 1.5)), where))
    views = [frozenset(view) for view in (["month", "region"], ["month", "industry"], ["year", "region", "industry"])]
    return population(defaults, views)


def test_much_that_is_withheld_takes_little_along() -> None:
    """Partners are those at the least loss: a year's total is told, and most of what is not small itself."""
    system = sparse_year()
    protection = protect(system, RULES)
    assert audit(system, RULES, protection) == ((), ())
    records = {name: cell.records for name, cell in system.cells.items()}
    assert not recovered(system.relations, records, withheld(protection.counts))
    statuses = [*protection.counts.values()]
    assert protection.counts[next(iter(sorted(system.cells, key=lambda name: -records[name])))] == "s"
    assert statuses.count("s") > statuses.count("x")
