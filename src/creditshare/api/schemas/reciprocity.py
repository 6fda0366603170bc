"""Reciprocity: the rules as published, and a lender's own figures."""

from dataclasses import asdict

from pydantic import BaseModel, Field

from creditshare.api.schemas.forms import Instant
from creditshare.members.tiers import LEAVES_OUT, TIERS
from creditshare.reciprocity.service import Rules, Standing


class DemandsOut(BaseModel):
    """What a tier asks for, in per cent: coverage and freshness at least, corrections and refusals at most."""

    coverage: int
    freshness: int
    corrections: int
    refusals: int


class TierOut(BaseModel):
    """A tier, what it asks for (the last one nothing), and what its answers leave out."""

    tier: str
    demands: DemandsOut | None
    leaves_out: list[str]


class ReciprocityRulesOut(BaseModel):
    """The rules by which each lender's tier is computed once a day. In its first months a lender's demands grow evenly.

    Coverage is borrowers that it reported, of a hundred it asked about within the window. Freshness is the share of its
    live records with an event within ``fresh_days``; corrections that of records corrected or taken back within the
    window; both over a sample drawn anew each day. Refusals is the share of refused rows of its files.
    """

    policy_version: str
    ramp_months: int
    window_days: int
    fresh_days: int
    sample: int
    tiers: list[TierOut]

    @classmethod
    def of(cls, rules: Rules, *, policy_version: str) -> "ReciprocityRulesOut":
        """Present the rules."""
        return cls(
            policy_version=policy_version,
            ramp_months=rules.ramp_months,
            window_days=rules.window_days,
            fresh_days=rules.fresh_days,
            sample=rules.sample,
            tiers=[
                TierOut(
                    tier=tier,
                    demands=DemandsOut(**asdict(rules.demands[tier])) if tier in rules.demands else None,
                    leaves_out=list(LEAVES_OUT[tier]),
                )
                for tier in TIERS
            ],
        )


class ReciprocityOut(BaseModel):
    """Your tier, and the figures in per cent that it follows from; null before they were first computed."""

    tier: str
    computed_at: Instant | None
    coverage: int | None
    freshness: int | None
    corrections: int | None
    refusals: int | None
    months: int | None = Field(description="Since your first key was registered.")

    @classmethod
    def of(cls, standing: Standing) -> "ReciprocityOut":
        """Present a lender's standing."""
        names = ("coverage", "freshness", "corrections", "refusals", "months")
        figures = dict.fromkeys(names) if standing.figures is None else asdict(standing.figures)
        return cls(tier=standing.tier, computed_at=standing.computed_at, **figures)
