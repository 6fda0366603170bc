"""From a lender's figures to its tier: each demand on both sides of its edge, and the first months."""

from dataclasses import replace
from typing import Any

import pytest

from creditshare.members.tiers import LEAVES_OUT, TIERS, Demands, Figures, Tier, eased, percent, tier_of

DEMANDS: dict[Tier, Demands] = {"full": Demands(20, 80, 10, 10), "standard": Demands(5, 50, 25, 25)}
GOOD = Figures(coverage=20, freshness=80, corrections=10, refusals=10, months=12)


def tier(figures: Figures) -> Tier:
    return tier_of(figures, DEMANDS, ramp=12)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "full"),
        ({"coverage": 19}, "standard"),
        ({"coverage": 5}, "standard"),
        ({"coverage": 4}, "basic"),
        ({"freshness": 79}, "standard"),
        ({"freshness": 49}, "basic"),
        ({"corrections": 11}, "standard"),
        ({"corrections": 26}, "basic"),
        ({"refusals": 11}, "standard"),
        ({"refusals": 26}, "basic"),
        ({"months": 200}, "full"),
    ],
    ids=str,
)
def test_the_worst_figure_decides(changes: dict[str, Any], expected: str) -> None:
    assert tier(replace(GOOD, **changes)) == expected


@pytest.mark.parametrize(
    ("months", "coverage", "expected"),
    [(0, 0, "full"), (3, 5, "full"), (3, 4, "standard"), (6, 10, "full"), (6, 9, "standard"), (12, 10, "standard")],
)
def test_a_new_lenders_demands_grow_month_by_month(months: int, coverage: int, expected: str) -> None:
    assert tier(replace(GOOD, months=months, coverage=coverage)) == expected


def test_of_the_first_day_nothing_is_asked_and_after_the_ramp_all() -> None:
    assert eased(DEMANDS["full"], months=0, ramp=12) == Demands(0, 0, 100, 100)
    assert eased(DEMANDS["full"], months=12, ramp=12) == DEMANDS["full"]
    assert eased(DEMANDS["full"], months=-1, ramp=12) == Demands(0, 0, 100, 100)


def test_shares_of_something_and_of_nothing() -> None:
    assert [percent(1, 3, of_nothing=7), percent(5, 3, of_nothing=7), percent(0, 0, of_nothing=7)] == [33, 100, 7]


def test_a_shallower_tier_leaves_out_no_less() -> None:
    left_out = [set(LEAVES_OUT[name]) for name in TIERS]
    assert left_out[0] == set()
    assert left_out[0] < left_out[1] < left_out[2]
