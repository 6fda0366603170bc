"""The delinquency grid, five tiers and Metro 2, on both sides of every edge."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.records.grid import SEVERITY, TIER_ZH, Bucket, Tier, bucket, metro2, tier

EDGES = [
    (0, "current", "normal", "11"),
    (1, "d1", "special_mention", "11"),
    (29, "d1", "special_mention", "11"),
    (30, "d30", "special_mention", "71"),
    (59, "d30", "special_mention", "71"),
    (60, "d60", "special_mention", "78"),
    (89, "d60", "special_mention", "78"),
    (90, "d60", "special_mention", "80"),
    (91, "d90", "substandard", "80"),
    (119, "d90", "substandard", "80"),
    (120, "d120", "substandard", "82"),
    (149, "d120", "substandard", "82"),
    (150, "d150", "substandard", "83"),
    (179, "d150", "substandard", "83"),
    (180, "d180", "substandard", "84"),
    (270, "d180", "substandard", "84"),
    (271, "d271", "doubtful", "84"),
    (360, "d271", "doubtful", "84"),
    (361, "d361", "loss", "84"),
    (20_000, "d361", "loss", "84"),
]


@pytest.mark.parametrize(("days", "ours", "tiers", "status"), EDGES)
def test_each_edge(days: int, ours: str, tiers: str, status: str) -> None:
    assert bucket(days, written_off=False) == ours
    assert tier(days, written_off=False) == tiers
    assert metro2(days, written_off=False) == status


def test_a_write_off_stands_above_every_day_count() -> None:
    assert bucket(10, written_off=True) == "written_off" == SEVERITY[-1]
    assert tier(10, written_off=True) == "loss"
    assert metro2(10, written_off=True) == "97"


def test_a_default_without_a_day_count_is_at_least_substandard() -> None:
    assert bucket(None, written_off=False) == "unlikely_to_pay"
    assert tier(None, written_off=False) == "substandard"


def test_the_table_shows_both_sides_of_every_change_and_no_change_between_them() -> None:
    listed = {days: (ours, tiers, status) for days, ours, tiers, status in EDGES}
    for days in range(1, 20_001):
        before, here = (
            (bucket(d, written_off=False), tier(d, written_off=False), metro2(d, written_off=False))
            for d in (days - 1, days)
        )
        if before != here:
            assert {days - 1, days} <= set(listed), f"between {days - 1} and {days}"


@given(st.integers(min_value=0, max_value=20_000), st.integers(min_value=0, max_value=20_000))
def test_later_is_never_milder(one: int, other: int) -> None:
    early, late = sorted((one, other))
    tiers = list(get_args(Tier))
    assert SEVERITY.index(bucket(early, written_off=False)) <= SEVERITY.index(bucket(late, written_off=False))
    assert tiers.index(tier(early, written_off=False)) <= tiers.index(tier(late, written_off=False))
    assert metro2(early, written_off=False) <= metro2(late, written_off=False)


def test_the_lists_are_whole() -> None:
    assert set(SEVERITY) == set(get_args(Bucket))
    assert len(SEVERITY) == len(set(SEVERITY))
    assert list(TIER_ZH) == list(get_args(Tier))
    assert list(TIER_ZH.values()) == ["正常", "关注", "次级", "可疑", "损失"]


@given(st.none() | st.integers(min_value=0, max_value=20_000))
def test_written_off_says_the_same_whatever_the_days(days: int | None) -> None:
    assert (bucket(days, written_off=True), tier(days, written_off=True)) == ("written_off", "loss")
