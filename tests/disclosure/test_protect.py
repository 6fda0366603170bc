"""Suppression of textbook tables, worked by hand: what is withheld, and why nothing less would do."""

import pytest
from tests.fixtures.tables import Default, grid, population, recovered, withheld
from tests.fixtures.views import at

from creditshare.disclosure.cells import Cell, Name, Relation, Status, System
from creditshare.disclosure.protect import Protection, audit, protect
from creditshare.disclosure.rules import Rules
from creditshare.errors import Unprotectable

RULES = Rules(min_borrowers=5, min_lenders=3, dominance=(), p_percent=0)
FREE = Rules(min_borrowers=1, min_lenders=1, dominance=(), p_percent=0)


def cell(row: int, column: int) -> Name:
    return at(row=str(row), column=str(column))


def kinds(system: System, rules: Rules, statuses: dict[Name, Status]) -> dict[Name, str]:
    """What the audit finds of counts that are published like this."""
    whole: dict[Name, Status] = {name: "s" if c.records else "z" for name, c in system.cells.items()}
    found, _ = audit(system, rules, Protection(whole | statuses, whole))
    return {finding.name: finding.kind for finding in found}


def test_a_table_without_small_cells_is_published_whole() -> None:
    protection = protect(grid([[9, 9], [9, 9]]), RULES)
    assert set(protection.counts.values()) == set(protection.sums.values()) == {"s"}


def test_one_small_cell_takes_a_rectangle() -> None:
    system = grid([[2, 20, 21], [22, 30, 31], [23, 33, 9]])
    protection = protect(system, RULES)
    assert {name: status for name, status in protection.counts.items() if status != "s"} == {
        cell(0, 0): "u",
        cell(0, 1): "x",
        cell(1, 0): "x",
        cell(1, 1): "x",
    }
    assert withheld(protection.sums) == withheld(protection.counts)


def test_a_partner_that_is_zero_hides_nothing() -> None:
    """The trap: two cells look withheld, and the one that is there is what is left of the total."""
    system = grid([[2, 0, 20], [30, 9, 31], [33, 8, 34]])
    protection = protect(system, RULES)
    assert protection.counts[cell(0, 2)] == "x"
    assert kinds(system, RULES, {cell(0, 0): "u", cell(0, 1): "x", cell(1, 0): "x", cell(1, 1): "x"}) == {
        cell(0, 0): "determined",
        cell(1, 0): "determined",
        cell(1, 1): "determined",
    }


def test_a_zero_is_published_as_such() -> None:
    cells: dict[Name, Cell] = {"none": Cell(0, 0, {}), "some": Cell(9, 9, {"a": 3, "b": 3, "c": 3})}
    assert protect(System(cells, ()), RULES).counts == {"none": "z", "some": "s"}


def test_a_small_cell_alone_in_its_row_takes_the_total_along() -> None:
    system = grid([[2, 0, 0], [30, 31, 32], [33, 34, 35]])
    assert protect(system, RULES).counts[at(row="0")] == "u"
    assert protect(system, RULES).counts[cell(0, 0)] == "u"


def test_the_remainder_is_safe_too() -> None:
    """Two small cells hide each other, but what is left of the total says that four borrowers are in them."""
    cells: dict[Name, Cell] = {
        "total": Cell(40, 40, {"a": 13, "b": 13, "c": 14}),
        "one": Cell(2, 2, {"a": 1, "b": 1}),
        "two": Cell(2, 2, {"b": 1, "c": 1}),
        "nine": Cell(16, 16, {"a": 6, "b": 5, "c": 5}),
        "more": Cell(20, 20, {"a": 6, "b": 6, "c": 8}),
    }
    system = System(cells, (Relation(("total",), ("one", "two", "nine", "more")),))
    assert withheld(protect(system, RULES).counts) == {"one", "two", "nine"}
    assert kinds(system, RULES, {"one": "u", "two": "u"}) == {"one": "narrow", "two": "narrow"}


def test_a_remainder_of_two_lenders_is_not_safe() -> None:
    cells: dict[Name, Cell] = {
        "total": Cell(60, 60, {"a": 30, "b": 20, "c": 10}),
        "left": Cell(10, 10, {"a": 10}),
        "right": Cell(10, 10, {"a": 5, "b": 5}),
        "safe": Cell(18, 18, {"a": 7, "b": 7, "c": 4}),
        "large": Cell(22, 22, {"a": 8, "b": 8, "c": 6}),
    }
    system = System(cells, (Relation(("total",), ("left", "right", "safe", "large")),))
    assert withheld(protect(system, RULES).counts) == {"left", "right", "safe"}
    assert kinds(system, RULES, {"left": "u", "right": "u"})["left"] == "remainder"


def test_the_borrowers_of_a_remainder_are_bounded_from_below() -> None:
    """The total has nine borrowers, the published part eight: one may be all that is left, whatever the parts have."""
    cells: dict[Name, Cell] = {
        "total": Cell(9, 30, {"a": 10, "b": 10, "c": 10}),
        "one": Cell(4, 5, {"a": 2, "b": 2, "c": 1}),
        "two": Cell(4, 5, {"a": 2, "b": 2, "c": 1}),
        "rest": Cell(8, 20, {"a": 6, "b": 6, "c": 8}),
    }
    system = System(cells, (Relation(("total",), ("one", "two", "rest")),))
    assert withheld(protect(system, RULES).counts) == {"one", "two", "rest"}


def test_two_cells_of_different_borrowers_hide_each_other() -> None:
    """Forty borrowers, thirty-four of them in the published part: six are in the rest, although no part has five."""
    three = Cell(3, 3, {"a": 1, "b": 1, "c": 1})
    cells: dict[Name, Cell] = {
        "total": Cell(40, 40, {"a": 14, "b": 13, "c": 13}),
        "one": three,
        "two": three,
        "rest": Cell(34, 34, {"a": 12, "b": 11, "c": 11}),
    }
    system = System(cells, (Relation(("total",), ("one", "two", "rest")),))
    assert withheld(protect(system, RULES).counts) == {"one", "two"}


def test_many_records_of_few_borrowers_hide_no_borrower() -> None:
    """Five borrowers are five borrowers, with forty records too: the total would give the one away."""
    cells: dict[Name, Cell] = {
        "total": Cell(50, 200, {"a": 70, "b": 70, "c": 60}),
        "one": Cell(1, 1, {"a": 1}),
        "five": Cell(5, 40, {"a": 20, "b": 10, "c": 10}),
        "eight": Cell(8, 60, {"a": 20, "b": 20, "c": 20}),
        "rest": Cell(36, 99, {"a": 29, "b": 40, "c": 30}),
    }
    system = System(cells, (Relation(("total",), ("one", "five", "eight", "rest")),))
    assert withheld(protect(system, RULES).counts) == {"one", "eight"}


def test_a_partner_must_leave_room() -> None:
    """A reader knows that a secondary suppression has five borrowers or more: five and one are six in one way only."""
    cells: dict[Name, Cell] = {
        "total": Cell(90, 90, {"a": 30, "b": 30, "c": 30}),
        "one": Cell(1, 1, {"a": 1}),
        "five": Cell(5, 5, {"a": 1, "b": 2, "c": 2}),
        "eight": Cell(8, 8, {"a": 2, "b": 3, "c": 3}),
        "rest": Cell(76, 76, {"a": 26, "b": 25, "c": 25}),
    }
    system = System(cells, (Relation(("total",), ("one", "five", "eight", "rest")),))
    assert withheld(protect(system, RULES).counts) == {"one", "eight"}
    assert kinds(system, RULES, {"one": "u", "five": "x"}) == {"one": "narrow", "five": "narrow"}


def test_what_each_relation_hides_can_follow_from_several() -> None:
    """Two squares and a bridge: every row and column has two withheld cells, and the bridge is no secret."""
    numbers = [[2, 40, 41, 42], [43, 44, 45, 46], [47, 48, 3, 49], [50, 51, 52, 53]]
    system = grid(numbers)
    square = {cell(0, 0): "u", cell(0, 1): "x", cell(1, 0): "x", cell(1, 1): "x"}
    other = {cell(2, 2): "u", cell(2, 3): "x", cell(3, 2): "x", cell(3, 3): "x"}
    bridge = {cell(0, 2): "x"}
    assert kinds(system, RULES, {**square, **other, **bridge}) == {cell(0, 2): "determined"}  # type: ignore[dict-item]
    assert kinds(system, RULES, {**square, **other}) == {}  # type: ignore[dict-item]


def test_a_cube_hides_a_corner_of_three_dimensions() -> None:
    """With all two-dimensional margins published, the smallest change of a 2 x 2 x 2 table moves all eight cells."""
    defaults: list[Default] = []
    for corner in range(8):
        where = {"a": str(corner & 1), "b": str(corner >> 1 & 1), "c": str(corner >> 2)}
        for _ in range(2 if corner == 0 else 30 + corner):
            defaults.append(Default(len(defaults), f"L{len(defaults) % 4}", 1, where))
    faces = [frozenset(pair) for pair in (("a", "b"), ("a", "c"), ("b", "c"))]
    system = population(defaults, [*faces, frozenset("abc")])
    protection = protect(system, RULES)
    hidden = withheld(protection.counts)
    assert hidden == {name for name in system.cells if len(name) == 3}  # type: ignore[arg-type]
    values = {name: c.records for name, c in system.cells.items()}
    assert not recovered(system.relations, values, hidden)
    for spared in hidden:
        assert recovered(system.relations, values, hidden - {spared}).keys() == hidden - {spared}


def test_a_lender_knows_the_cells_that_are_its_alone() -> None:
    """Both diagonals are one lender's each. What the other withholds, each can work out; so there must be more."""
    counts = {(0, 0): "A", (0, 1): "B", (1, 0): "B", (1, 1): "A"}
    defaults: list[Default] = []
    for row in range(3):
        for column in range(3):
            for _ in range(4 if (row, column) in counts else 30):
                lender = counts.get((row, column)) or f"L{len(defaults) % 4}"
                defaults.append(Default(len(defaults), lender, 1, {"row": str(row), "column": str(column)}))
    system = population(defaults, [frozenset({"row", "column"}), frozenset({"row"}), frozenset({"column"})])
    rules = Rules(min_borrowers=5, min_lenders=2, dominance=(), p_percent=0)
    values = {name: c.records for name, c in system.cells.items()}
    alone: dict[Name, Status] = {cell(*place): "u" for place in counts}
    assert not recovered(system.relations, values, set(alone))
    assert set(kinds(system, rules, alone)) == set(alone)
    hidden = withheld(protect(system, rules).counts)
    for lender in "AB":
        known = {cell(*place) for place, owner in counts.items() if owner == lender}
        assert not recovered(system.relations, values, hidden - known)


def test_a_concentrated_sum_is_withheld_and_its_count_is_told() -> None:
    rules = Rules(min_borrowers=5, min_lenders=3, dominance=((1, 75),), p_percent=0)
    even = {"a": 1000, "b": 1000, "c": 1000}
    cells: dict[Name, Cell] = {
        "total": Cell(30, 30, {"a": 11_000, "b": 2_100, "c": 2_100}),
        "large": Cell(10, 10, {"a": 9_000, "b": 100, "c": 100}),
        "even": Cell(10, 10, even),
        "also": Cell(10, 10, even),
    }
    system = System(cells, (Relation(("total",), ("large", "even", "also")),))
    protection = protect(system, rules)
    assert set(protection.counts.values()) == {"s"}
    assert protection.sums["large"] == "u"
    # A remainder of 12,200 of which "a" has 10,000 is as concentrated, so the last part goes too.
    assert withheld(protection.sums) == {"large", "even", "also"}


def test_a_sum_of_nothing_hides_no_sum() -> None:
    rules = Rules(min_borrowers=5, min_lenders=3, dominance=((1, 75),), p_percent=0)
    cells: dict[Name, Cell] = {
        "total": Cell(40, 40, {"a": 9_400, "b": 3_200, "c": 3_200}),
        "large": Cell(10, 10, {"a": 3_400, "b": 100, "c": 100}),
        "nothing": Cell(10, 10, {"a": 0, "b": 0, "c": 0}),
        "even": Cell(10, 10, {"a": 3_000, "b": 1_550, "c": 1_550}),
        "also": Cell(10, 10, {"a": 3_000, "b": 1_550, "c": 1_550}),
    }
    system = System(cells, (Relation(("total",), ("large", "nothing", "even", "also")),))
    assert withheld(protect(system, rules).sums) == {"large", "even"}


def test_sums_of_nothing_are_withheld_with_their_total() -> None:
    cells: dict[Name, Cell] = {
        "total": Cell(6, 6, {"a": 0, "b": 0, "c": 0}),
        "small": Cell(1, 1, {"a": 0}),
        "other": Cell(5, 5, {"a": 0, "b": 0, "c": 0}),
    }
    system = System(cells, (Relation(("total",), ("small", "other")),))
    protection = protect(system, RULES)
    assert withheld(protection.sums) == {"total", "small", "other"}
    assert audit(system, RULES, protection) == ((), ())


def test_a_total_of_nothing_is_withheld_with_a_part() -> None:
    nothing = {"a": 0, "b": 0, "c": 0}
    cells: dict[Name, Cell] = {"total": Cell(20, 20, nothing), "one": Cell(9, 9, nothing), "two": Cell(11, 11, nothing)}
    system = System(cells, (Relation(("total",), ("one", "two")),))
    assert withheld(protect(system, RULES, withheld_sums=["total"]).sums) == {"total", "one"}


def test_where_all_is_withheld_nothing_is_left_to_find() -> None:
    """Each lender makes up cells alone, in many views, and some sums are nothing: there is no hiding, but silence."""
    whole = [
        (7, "B", 0, "2024-11", "W", "e"),
        (7, "A", 5, "2024-11", "N", "c"),
        (7, "B", 5, "2024-12", "W", "d"),
        (1, "A", 5, "2024-12", "N", "e"),
        (5, "A", 0, "2024-12", "N", "e"),
    ]
    defaults = [
        Default(borrower, lender, amount, {"month": month, "region": region, "industry": industry})
        for borrower, lender, amount, month, region, industry in whole
    ]
    views = [frozenset(view) for view in (["month", "region"], ["month", "industry"], ["year", "region", "industry"])]
    system = population(defaults, views)
    rules = Rules(min_borrowers=1, min_lenders=1, dominance=(), p_percent=10)
    protection = protect(system, rules)
    assert withheld(protection.sums) == set(system.cells)
    assert audit(system, rules, protection) == ((), ())


def test_a_sum_that_is_none_is_no_total() -> None:
    """Of two currencies one is concentrated; the count of both together has no sum to subtract from."""
    cells: dict[Name, Cell] = {
        "all": Cell(20, 20, {"a": 7, "b": 7, "c": 6}, summed=False),
        "CNY": Cell(10, 10, {"a": 1000}),
        "USD": Cell(10, 10, {"a": 300, "b": 300, "c": 300}),
    }
    rules = Rules(min_borrowers=5, min_lenders=1, dominance=((1, 75),), p_percent=0)
    protection = protect(System(cells, (Relation(("all",), ("CNY", "USD")),)), rules)
    assert set(protection.counts.values()) == {"s"}
    assert protection.sums == {"CNY": "u", "USD": "s"}


def test_mixed_currencies_are_counted_and_have_no_sum() -> None:
    cells: dict[Name, Cell] = {
        "all": Cell(12, 12, {"a": 4, "b": 4, "c": 4}, summed=False),
        "CNY": Cell(10, 10, {"a": 400, "b": 300, "c": 300}),
        "USD": Cell(2, 2, {"a": 1, "b": 1}),
    }
    system = System(cells, (Relation(("all",), ("CNY", "USD")),))
    protection = protect(system, RULES)
    assert withheld(protection.counts) == {"CNY", "USD"}
    assert protection.sums == {"CNY": "x", "USD": "u"}


def test_what_was_withheld_before_stays_withheld() -> None:
    system = grid([[9, 9], [9, 9]])
    protection = protect(system, RULES, withheld=[cell(0, 0)])
    assert protection.counts[cell(0, 0)] == "x"
    assert len(withheld(protection.counts)) > 1
    assert audit(system, RULES, protection) == ((), ())
    sums = protect(system, RULES, withheld_sums=[cell(0, 0)])
    assert not withheld(sums.counts)
    assert cell(0, 0) in withheld(sums.sums)


def test_what_everybody_knows_hides_nothing() -> None:
    system = grid([[2, 20, 21], [22, 30, 31], [23, 33, 9]])
    free = protect(system, RULES)
    assert free.counts[cell(0, 1)] == "x"
    bound = protect(system, RULES, known=[cell(0, 1)])
    assert bound.counts[cell(0, 1)] == bound.sums[cell(0, 1)] == "s"
    assert bound.counts[cell(0, 2)] == "x"
    assert audit(system, RULES, bound) == ((), ())


@pytest.mark.parametrize("row", [0, 1])
def test_what_is_known_can_give_a_cell_away(row: int) -> None:
    """All of a row but its small cell is known, or all of the table but a square of it."""
    system = grid([[2, 20, 21], [22, 30, 31], [23, 33, 9]])
    spared = {cell(0, 0), cell(0, 1), cell(1, 0)} if row else {cell(0, 0)}
    with pytest.raises(Unprotectable):
        protect(system, RULES, known=set(system.cells) - spared)


def test_an_unsafe_cell_that_is_published_is_found() -> None:
    system = grid([[2, 9], [9, 9]])
    assert kinds(system, RULES, {}) == {cell(0, 0): "unsafe"}
    counts: dict[Name, Status] = dict.fromkeys(system.cells, "s")
    counts[at(row="1")] = "x"
    _, found = audit(system, FREE, Protection(counts, dict.fromkeys(system.cells, "s")))
    assert [(finding.name, finding.kind) for finding in found] == [(at(row="1"), "unsafe")]


@pytest.mark.parametrize("turns", [1, 2])
def test_the_same_table_is_protected_in_the_same_way(turns: int) -> None:
    numbers = [[2 + 3 * ((row * 7 + column * 5 + turns) % 9) for column in range(8)] for row in range(9)]
    assert protect(grid(numbers), RULES) == protect(grid(numbers), RULES)
