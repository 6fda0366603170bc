"""Attackers who share no code with the defence: linear algebra over all that is published, and every possible table."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fixtures.tables import Default, grid, population, recovered, withheld
from tests.fixtures.views import at

from creditshare.disclosure.cells import Name, Status, System
from creditshare.disclosure.elimination import Echelon
from creditshare.disclosure.protect import audit, protect
from creditshare.disclosure.rules import Rules

VIEWS = [frozenset(v) for v in (["month", "region"], ["month", "industry"], ["year", "region", "industry"])]
RULES = st.builds(
    Rules,
    min_borrowers=st.integers(1, 4),
    min_lenders=st.integers(1, 3),
    dominance=st.sampled_from([(), ((1, 75),), ((1, 60), (2, 90))]),
    p_percent=st.sampled_from([0, 10]),
)


@st.composite
def releases(draw: st.DrawFn) -> System:
    """Linked tables of months within years, by region and industry; borrowers default more than once and anywhere."""
    months = st.sampled_from(["2024-11", "2024-12", "2025-01"])
    one = st.tuples(months, st.sampled_from("NSW"), st.sampled_from("cde"), st.integers(0, 9), st.sampled_from("ABCD"))
    defaults = [
        Default(borrower, lender, amount, {"month": month, "region": region, "industry": industry})
        for (month, region, industry, borrower, lender), amount in draw(
            st.lists(st.tuples(one, st.integers(0, 2000)), max_size=60)
        )
    ]
    thinned = draw(st.sets(st.sampled_from([(r, i) for r in "NSW" for i in "cde"]), max_size=5))
    kept = [d for d in defaults if (d.where["region"], d.where["industry"]) not in thinned]
    return population(kept, VIEWS)


@given(releases(), RULES)
@settings(max_examples=80, deadline=None)
def test_linear_algebra_over_everything_published_recovers_nothing(system: System, rules: Rules) -> None:
    protection = protect(system, rules)
    assert audit(system, rules, protection) == ((), ())
    records = {name: cell.records for name, cell in system.cells.items()}
    totals = {name: cell.total for name, cell in system.cells.items()}
    assert not recovered(system.relations, records, withheld(protection.counts))
    assert not recovered(system.relations, totals, withheld(protection.sums))
    assert withheld(protection.counts) <= withheld(protection.sums)
    for lender in "ABCD":
        alone = {name for name, cell in system.cells.items() if cell.lenders.keys() == {lender}}
        for values, statuses in ((records, protection.counts), (totals, protection.sums)):
            found = recovered(system.relations, values, withheld(statuses) - alone)
            assert not [name for name in found if statuses[name] == "u"]


def test_two_years_of_many_regions_give_nothing_away() -> None:
    """A release as the worker makes it, large and uneven, under the house rules: most is told, and nothing else."""
    chance = Random(2024)  # noqa: S311  # a population, no secret
    defaults: list[Default] = []
    for borrower in range(1500):
        region, industry = (f"{int(chance.paretovariate(0.8)) % 12:02}" for _ in range(2))
        for _ in range(chance.choice([1, 1, 2, 3])):
            month = f"20{chance.choice([24, 25])}-{chance.randint(1, 12):02}"
            where = {"month": month, "region": region, "industry": industry}
            lender = f"L{int(chance.paretovariate(0.6)) % 9}"
            defaults.append(Default(borrower, lender, int(chance.lognormvariate(12, 1.5)), where))
    system = population(defaults, VIEWS)
    rules = Rules(min_borrowers=5, min_lenders=3, dominance=((1, 75), (2, 90)), p_percent=10)
    protection = protect(system, rules)
    assert audit(system, rules, protection) == ((), ())
    records = {name: cell.records for name, cell in system.cells.items()}
    totals = {name: cell.total for name, cell in system.cells.items()}
    assert not recovered(system.relations, records, withheld(protection.counts))
    assert not recovered(system.relations, totals, withheld(protection.sums))
    statuses = Counter(protection.counts.values())
    assert statuses["u"] > 5 * statuses["x"] > 0
    told = sum(records[name] for name, status in protection.counts.items() if status == "s")
    assert told > 0.85 * sum(records.values())


@given(releases(), RULES)
@settings(max_examples=60, deadline=None)
def test_every_unsafe_cell_is_withheld_and_what_is_told_is_safe(system: System, rules: Rules) -> None:
    protection = protect(system, rules)
    assert protection.counts.keys() == system.cells.keys()
    for name, cell in system.cells.items():
        few = cell.borrowers < rules.min_borrowers or len(cell.lenders) < rules.min_lenders
        assert (protection.counts[name] == "u") == few
        if protection.sums[name] == "s" and cell.total:
            largest = max(cell.lenders.values())
            assert all(100 * largest <= k * cell.total for n, k in rules.dominance if n == 1)


@given(st.lists(st.dictionaries(st.integers(0, 5), st.integers(-2, 2).filter(bool), min_size=1), max_size=6))
def test_the_kernel_is_one(rows: list[dict[int, int]]) -> None:
    """Each circuit satisfies every equation; a column is determined exactly if no circuit moves it."""
    echelon = Echelon(rows, dict.fromkeys(range(6), 1))
    circuits = [echelon.circuit(column) for column in echelon.free]
    for circuit, row in product(circuits, rows):
        assert sum(value * circuit.get(column, 0) for column, value in row.items()) == 0
    columns = {column for row in rows for column in row}
    assert set(echelon.determined()) == columns - {column for circuit in circuits for column in circuit}


NUMBERS = st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=2, max_size=2)
ROOM = 3  # how far above the truth the enumeration goes


@given(NUMBERS, st.integers(2, 4))
@settings(max_examples=80, deadline=None)
def test_every_withheld_cell_could_be_something_else(numbers: list[list[int]], least: int) -> None:
    """All tables of whole numbers that fit what is published and its statuses: in each cell two or more occur."""
    system = grid(numbers, lenders=3)
    statuses = protect(system, Rules(min_borrowers=least, min_lenders=1, dominance=(), p_percent=0)).counts
    seen: dict[Name, set[int]] = {name: set() for name in withheld(statuses)}
    for table in _tables(numbers, system, {"u": 1, "x": least}, statuses):
        for name, could_be in seen.items():
            could_be.add(table[name])
    for name, could_be in seen.items():
        assert len(could_be) > 1, name
        if statuses[name] == "u":
            assert max(could_be) - min(could_be) >= min(ROOM, least - 2)


def _tables(
    numbers: list[list[int]], system: System, floors: Mapping[str, int], statuses: Mapping[Name, Status]
) -> Iterator[dict[Name, int]]:
    truth = {name: cell.records for name, cell in system.cells.items()}
    inner = [at(row=str(row), column=str(column)) for row in range(len(numbers)) for column in range(3)]
    names = [name for name in inner if name in truth]
    ranges = [
        range(floors[statuses[name]], truth[name] + ROOM + 1) if statuses[name] in floors else [truth[name]]
        for name in names
    ]

    def fits(name: Name, value: int) -> bool:
        return value >= floors[statuses[name]] if statuses[name] in floors else value == truth[name]

    for guess in product(*ranges):
        table: dict[Name, int] = dict(zip(names, guess, strict=True))
        for relation in system.relations:
            if len(relation.parts[0]) == 2:  # type: ignore[arg-type]  # rows and columns
                table[relation.wholes[0]] = sum(table[part] for part in relation.parts)
        if () in truth:
            table[()] = sum(guess)
        if all(fits(name, value) for name, value in table.items()):
            yield table
