"""When a cell is unsafe in itself: both sides of each edge, worked by hand."""

import pytest

from creditshare.disclosure.cells import Cell, Name, Relation, System
from creditshare.disclosure.rules import (
    Rules,
    concentrated,
    count_unsafe,
    count_width,
    few,
    sum_unsafe,
    sum_width,
)

RULES = Rules(min_borrowers=5, min_lenders=3, dominance=((1, 75), (2, 90)), p_percent=10)
ONLY_ONE = Rules(min_borrowers=1, min_lenders=1, dominance=((1, 75),), p_percent=0)
ONLY_TWO = Rules(min_borrowers=1, min_lenders=1, dominance=((2, 90),), p_percent=0)
ONLY_P = Rules(min_borrowers=1, min_lenders=1, dominance=(), p_percent=10)


@pytest.mark.parametrize(("borrowers", "lenders"), [(1, 1), (4, 3), (5, 2), (400, 2)])
def test_too_few_borrowers_and_too_few_lenders_are_unsafe(borrowers: int, lenders: int) -> None:
    assert few(borrowers, lenders, RULES)
    assert count_unsafe(Cell(borrowers, borrowers, {f"L{i}": 1 for i in range(lenders)}), RULES)


def test_enough_and_nobody_are_safe() -> None:
    assert not few(5, 3, RULES)
    assert not few(0, 0, RULES)
    assert not count_unsafe(Cell(5, 5, {"a": 1, "b": 1, "c": 1}), RULES)


def held(amounts: list[int]) -> Cell:
    return Cell(9, 9, {f"L{i}": amount for i, amount in enumerate(amounts)})


@pytest.mark.parametrize(
    ("rules", "amounts"),
    [
        (ONLY_ONE, [76, 14, 10]),
        (ONLY_TWO, [60, 31, 9]),
        # 10 % of the largest, 10, is what the others but the second must at least come to.
        (ONLY_P, [100, 50, 9]),
        (ONLY_P, [9, 100, 50]),
        (ONLY_P, [100]),
    ],
)
def test_concentrated_sums_are_unsafe(rules: Rules, amounts: list[int]) -> None:
    assert concentrated(amounts, rules)
    assert sum_unsafe(held(amounts), rules)


@pytest.mark.parametrize(
    ("rules", "amounts"),
    [(ONLY_ONE, [75, 15, 10]), (ONLY_TWO, [60, 30, 10]), (ONLY_P, [100, 50, 10]), (RULES, [0, 0, 0])],
)
def test_sums_at_the_edge_are_safe(rules: Rules, amounts: list[int]) -> None:
    assert not concentrated(amounts, rules)
    assert not sum_unsafe(held(amounts), rules)


def test_a_sum_is_unsafe_where_its_count_is() -> None:
    assert sum_unsafe(Cell(4, 4, {"a": 10, "b": 10, "c": 10}), RULES)
    assert not sum_unsafe(Cell(5, 5, {"a": 10, "b": 10, "c": 10}), RULES)


def test_the_width_of_a_count() -> None:
    few_records = Cell(1, 1, {"a": 1})
    many = Cell(80, 81, {"a": 1})
    assert count_width(few_records, RULES) == 3  # one to four
    assert count_width(many, RULES) == 9  # 10 % of 81, upwards


@pytest.mark.parametrize(
    ("amounts", "width"),
    [
        ([40, 35, 25], 10),  # 10 % of the sum
        ([100, 50, 9], 16),  # 10 % of 159
        ([100, 5, 5], 24),  # one has 100 of 110 and may have 75 % of 134
        ([100], 34),
        ([0, 0, 0], 1),
    ],
)
def test_the_width_of_a_sum_is_what_it_takes_to_break_no_rule(amounts: list[int], width: int) -> None:
    assert sum_width(held(amounts), RULES) == width


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_borrowers": 0},
        {"min_lenders": 0},
        {"p_percent": -1},
        {"p_percent": 101},
        {"dominance": ((0, 75),)},
        {"dominance": ((1, 0),)},
        {"dominance": ((1, 101),)},
    ],
    ids=str,
)
def test_numbers_that_make_no_rule_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"a minimum|n is one"):
        Rules(**{"min_borrowers": 5, "min_lenders": 3, "dominance": (), "p_percent": 10, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("borrowers", "records", "lenders"),
    [
        (2, 1, {"a": 1}),
        (-1, 0, {}),
        (0, 1, {"a": 1}),
        (1, 1, {}),
        (0, 0, {"a": 1}),
        (1, 1, {"a": 1, "b": 1}),
        (1, 1, {"a": -1}),
    ],
)
def test_cells_that_cannot_be_are_refused(borrowers: int, records: int, lenders: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"cell|none together|sum is below"):
        Cell(borrowers, records, lenders)


@pytest.mark.parametrize(
    ("whole", "reason"),
    [
        (Cell(2, 3, {"a": 3}), "records"),
        (Cell(2, 2, {"b": 2}), "lenders"),
        (Cell(2, 2, {"a": 3}), "sums"),
        (Cell(1, 2, {"a": 2}), None),  # both records are one borrower's
    ],
)
def test_relations_that_do_not_hold_are_refused(whole: Cell, reason: str | None) -> None:
    cells: dict[Name, Cell] = {"whole": whole, "left": Cell(1, 1, {"a": 1}), "right": Cell(1, 1, {"a": 1})}
    relations = (Relation(("whole",), ("left", "right", "absent")),)
    if reason is None:
        System(cells, relations)
        return
    with pytest.raises(ValueError, match=reason):
        System(cells, relations)


def test_a_total_has_no_fewer_borrowers_than_a_part_and_no_more_than_all() -> None:
    part = Cell(2, 2, {"a": 2})
    for borrowers in (1, 5):
        cells: dict[Name, Cell] = {"whole": Cell(borrowers, 6, {"a": 6}), "left": part, "right": Cell(2, 4, {"a": 4})}
        with pytest.raises(ValueError, match="borrowers"):
            System(cells, (Relation(("whole",), ("left", "right")),))


def test_a_cell_stands_once_in_a_relation() -> None:
    with pytest.raises(ValueError, match="twice"):
        System({"a": Cell(1, 1, {"a": 1})}, (Relation(("a",), ("a",)),))
