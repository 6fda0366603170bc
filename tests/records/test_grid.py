"""The delinquency grid, five tiers and Metro 2, on both sides of every edge."""

import pytest

from creditshare.records.grid import SEVERITY, bucket, metro2, tier

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
