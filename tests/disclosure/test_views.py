"""Views of one population: which margins they share, and what their zeros tell."""

import pytest
from tests.fixtures.tables import YEARS, Default, population, recovered, withheld
from tests.fixtures.views import at, margins, released

from creditshare.disclosure.cells import Cell, Relation
from creditshare.disclosure.protect import protect
from creditshare.disclosure.rules import Rules


def test_views_bring_their_shared_margins() -> None:
    views = [frozenset(view) for view in (["month", "region"], ["month", "industry"], ["year", "region", "industry"])]
    assert margins(views, YEARS) == tuple(
        frozenset(view)
        for view in (
            ["month"],
            ["year"],
            ["industry", "month"],
            ["industry", "year"],
            ["month", "region"],
            ["region", "year"],
            ["industry", "region", "year"],
        )
    )


def test_a_month_says_its_year() -> None:
    assert margins([frozenset({"year", "month"})], YEARS) == (frozenset({"month"}),)


def test_a_release_without_its_margins_is_refused() -> None:
    views = [frozenset({"row"}), frozenset({"column"})]
    with pytest.raises(ValueError, match="margins"):
        released({}, views, {})
    with pytest.raises(ValueError, match="no view"):
        released({at(other="1"): Cell(1, 1, {"a": 1})}, [*views, frozenset()], {})


def test_months_within_years_and_regions_within_months() -> None:
    defaults = [Default(i, "a", 1, {"month": month, "region": "N"}) for i, month in enumerate(["2024-12", "2025-01"])]
    views = [frozenset({"month", "region"}), frozenset({"year"})]
    assert set(population(defaults, views).relations) == {
        Relation((at(year="2024"),), (at(month="2024-12", region="N"),)),
        Relation((at(year="2025"),), (at(month="2025-01", region="N"),)),
    }


def test_a_part_that_is_not_in_its_total_is_refused() -> None:
    cells = {at(row="1"): Cell(1, 1, {"a": 1})}
    with pytest.raises(ValueError, match="records"):
        released(cells, [frozenset({"row"}), frozenset()], {})


def test_what_zeros_of_one_view_tell_of_two_others_is_a_relation() -> None:
    """In 2024 the north has only mines and mines are only in the north: each month, both are the same number."""
    defaults: list[Default] = []
    for month, mines, shops in (("2024-01", 2, 30), ("2024-02", 30, 31), ("2024-03", 33, 34)):
        for region, industry, number in (("N", "mines", mines), ("S", "shops", shops), ("W", "shops", shops)):
            for _ in range(number):
                where = {"month": month, "region": region, "industry": industry}
                defaults.append(Default(len(defaults), f"L{len(defaults) % 4}", 1, where))
    views = [frozenset(view) for view in (["month", "region"], ["month", "industry"], ["year", "region", "industry"])]
    system = population(defaults, views)
    tie = Relation((at(month="2024-01", industry="mines"),), (at(month="2024-01", region="N"),))
    assert tie in system.relations
    rest = Relation(
        (at(month="2024-01", industry="shops"),), (at(month="2024-01", region="S"), at(month="2024-01", region="W"))
    )
    assert rest in system.relations
    hidden = withheld(protect(system, Rules(min_borrowers=5, min_lenders=3, dominance=(), p_percent=0)).counts)
    assert {*tie.wholes, *tie.parts} <= hidden
    assert not recovered(system.relations, {name: cell.records for name, cell in system.cells.items()}, hidden)
