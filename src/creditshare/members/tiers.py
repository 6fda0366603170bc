"""Reciprocity: who gives gets. A lender's figures lead to a tier, and the tier to how deep its answers are. Pure.

The numbers are rows of the policy table and are published with this table (``/v1/reciprocity-rules``). A new lender's
demands grow with its first months, in equal steps, because nobody can have reported much on the first day.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Tier = Literal["full", "standard", "basic"]
TIERS: Final[tuple[Tier, ...]] = ("full", "standard", "basic")
"""From the deepest answers to the shallowest."""

LEAVES_OUT: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"full": (), "standard": ("amounts",), "basic": ("amounts", "records")}
)
"""What a tier's answers leave out: exact amounts (bands are told), and the rows of others' records (the summary is)."""
WHY: Final = "reciprocity_tier"
ALL: Final = 100


@dataclass(frozen=True, slots=True)
class Figures:
    """What a lender gave and took, in whole per cent, and for how many months it has been a member.

    ``coverage``: borrowers it reported, of a hundred it asked about. ``freshness``: live records that it said something
    about lately. ``corrections``: records it had to correct or take back. ``refusals``: rows of its files refused.
    """

    coverage: int
    freshness: int
    corrections: int
    refusals: int
    months: int


@dataclass(frozen=True, slots=True)
class Demands:
    """What a tier asks for: the first two at least, the others at most."""

    coverage: int
    freshness: int
    corrections: int
    refusals: int


def percent(part: int, whole: int, *, of_nothing: int) -> int:
    """Return a share in whole per cent, at most a hundred; ``of_nothing`` where there is nothing to take it of."""
    return min(ALL, ALL * part // whole) if whole else of_nothing


def eased(demands: Demands, *, months: int, ramp: int) -> Demands:
    """Return what is asked of a lender in its first months: nothing at first, all of it after ``ramp`` months."""
    done = min(max(months, 0), ramp)
    most = [ALL - (ALL - bound) * done // ramp for bound in (demands.corrections, demands.refusals)]
    return Demands(demands.coverage * done // ramp, demands.freshness * done // ramp, *most)


def tier_of(figures: Figures, demands: Mapping[Tier, Demands], *, ramp: int) -> Tier:
    """Return the deepest tier whose demands, eased in the first months, the figures meet; else the last one."""
    for tier in TIERS[:-1]:
        asked = eased(demands[tier], months=figures.months, ramp=ramp)
        if (
            figures.coverage >= asked.coverage
            and figures.freshness >= asked.freshness
            and figures.corrections <= asked.corrections
            and figures.refusals <= asked.refusals
        ):
            return tier
    return TIERS[-1]
