"""The delinquency grid: one enumeration from days past due, and what other rule books call the same day.

Dialects are computed from the days past due, never from our bucket, because their edges differ: day 90 is
关注 in China and not yet default in the EU, but status 80 in Metro 2.
Sources: 商业银行金融资产风险分类办法 (2023) for the five tiers; CDIA Metro 2 account status codes.
"""

from typing import Final, Literal

Bucket = Literal[
    "current", "d1", "d30", "d60", "d90", "d120", "d150", "d180", "d271", "d361", "unlikely_to_pay", "written_off"
]
Tier = Literal["normal", "special_mention", "substandard", "doubtful", "loss"]

_BUCKET_FLOORS: Final[tuple[tuple[int, Bucket], ...]] = (
    (361, "d361"),
    (271, "d271"),
    (180, "d180"),
    (150, "d150"),
    (120, "d120"),
    (91, "d90"),
    (60, "d60"),
    (30, "d30"),
    (1, "d1"),
)
_TIER_FLOORS: Final[tuple[tuple[int, Tier], ...]] = (
    (361, "loss"),
    (271, "doubtful"),
    (91, "substandard"),
    (1, "special_mention"),
)
_METRO2_FLOORS: Final = ((180, "84"), (150, "83"), (120, "82"), (90, "80"), (60, "78"), (30, "71"))
TIER_ZH: Final[dict[Tier, str]] = {
    "normal": "正常",
    "special_mention": "关注",
    "substandard": "次级",
    "doubtful": "可疑",
    "loss": "损失",
}
SEVERITY: Final[tuple[Bucket, ...]] = (
    "current",
    "d1",
    "d30",
    "d60",
    "unlikely_to_pay",
    "d90",
    "d120",
    "d150",
    "d180",
    "d271",
    "d361",
    "written_off",
)
"""Buckets from mildest to worst. A debtor judged unlikely to pay stands with the first default bucket's floor."""


def bucket(days_past_due: int | None, *, written_off: bool) -> Bucket:
    """Return our bucket; without a day count a default is ``unlikely_to_pay``."""
    if written_off:
        return "written_off"
    if days_past_due is None:
        return "unlikely_to_pay"
    return next((name for floor, name in _BUCKET_FLOORS if days_past_due >= floor), "current")


def tier(days_past_due: int | None, *, written_off: bool) -> Tier:
    """Return the five-tier class; a credit-impaired asset without a day count is at least 次级."""
    if written_off:
        return "loss"
    if days_past_due is None:
        return "substandard"
    return next((name for floor, name in _TIER_FLOORS if days_past_due >= floor), "normal")


def metro2(days_past_due: int, *, written_off: bool) -> str:
    """Return the Metro 2 account status."""
    if written_off:
        return "97"
    return next((status for floor, status in _METRO2_FLOORS if days_past_due >= floor), "11")
