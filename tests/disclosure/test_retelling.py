"""What two releases tell together: the difference of what each told."""

import pytest

from creditshare.disclosure.cells import Name
from creditshare.disclosure.retelling import Change, may_retell, retold, thin
from creditshare.disclosure.rules import Rules

RULES = Rules(min_borrowers=5, min_lenders=3, dominance=(), p_percent=0)
NOTHING = Change(0, 0)
SMALL = Change(1, 1)
ENOUGH = Change(5, 3)


def test_nothing_and_enough_may_be_told_and_little_may_not() -> None:
    assert may_retell([], RULES)
    assert may_retell([NOTHING, ENOUGH], RULES)
    for small in (SMALL, Change(4, 4), Change(5, 2)):
        assert not may_retell([NOTHING, ENOUGH, small], RULES)


def test_a_slice_is_retold_only_whole() -> None:
    names: list[Name] = ["north", "south", "all"]
    changes: dict[Name, Change] = {"north": ENOUGH, "south": NOTHING, "all": ENOUGH}
    assert retold(names, names, changes, [], RULES)
    assert not retold(names, names, {**changes, "south": SMALL}, [], RULES)


def test_a_slice_is_not_retold_where_the_rest_changed_too_little() -> None:
    """West is withheld; that it changed by one follows from the total and the others."""
    names: list[Name] = ["north", "all"]
    changes: dict[Name, Change] = {"north": ENOUGH, "all": Change(6, 3)}
    assert not retold(names, names, changes, [SMALL], RULES)
    assert retold(names, names, changes, [ENOUGH], RULES)


def test_what_was_withheld_is_not_told_by_telling_it_later() -> None:
    """North had three of thirteen, south ten, both withheld. South, unchanged and told now, gives north away."""
    changes: dict[Name, Change] = {"north": ENOUGH, "south": NOTHING, "all": ENOUGH}
    assert not retold(["all"], ["north", "south", "all"], changes, [], RULES)
    assert retold(["all", "south"], ["all"], changes, [ENOUGH], RULES)


def test_a_series_is_told_where_enough_has_moved() -> None:
    moves = {("jan", "feb"): [NOTHING, SMALL], ("jan", "mar"): [NOTHING, ENOUGH], ("mar", "apr"): [NOTHING]}
    asked: list[tuple[str, str]] = []

    def moved(last: str, point: str) -> list[Change]:
        asked.append((last, point))
        return moves[last, point]

    assert thin(["jan", "feb", "mar", "apr"], moved, RULES) == ("jan", "mar", "apr")
    assert asked == list(moves)
    assert thin([], moved, RULES) == ()


@pytest.mark.parametrize(("borrowers", "lenders"), [(1, 0), (0, 1), (-1, 1), (1, -1)])
def test_changes_that_cannot_be_are_refused(borrowers: int, lenders: int) -> None:
    with pytest.raises(ValueError, match="none together"):
        Change(borrowers, lenders)
