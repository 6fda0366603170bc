"""Pure decisions of sharing: may this question be answered, and with what left out?"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from creditshare.consents.rules import Consent
from creditshare.consents.rules import refusal as consent_refusal
from creditshare.members import standing
from creditshare.members.tiers import LEAVES_OUT, WHY

UNAVAILABLE_SCOPES: Final = ("legal", "inquiries")
"""Scopes that a consent may already name but that no part of the service answers yet."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a lender asks: for which purpose, under which consent, with which fields, as of when."""

    purpose: str
    consent_id: UUID
    scopes: tuple[str, ...]
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class Withheld:
    """Something within the consent that is left out, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer is yes. ``withheld`` says what it will not contain; some of that follows from the asker's tier."""

    scopes: tuple[str, ...]
    withheld: tuple[Withheld, ...]
    tier: str = "full"

    @property
    def rows(self) -> bool:
        """Whether others' records are told one by one, and not only summed up."""
        return "records" not in LEAVES_OUT[self.tier]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer is no, for a reason of the published table."""

    reason: str


def decide(
    question: Question,
    consent: Consent | None,
    *,
    member_id: UUID,
    member_status: str,
    tier: str = "full",
    now: datetime,
) -> Grant | Refusal:
    """Decide a question on what the first statement found (`../design/privacy.md` §2).

    Purpose and scopes must lie inside the consent; a past date also needs the scope ``history``.
    """
    barred = standing.refusal(member_status, "ask")
    if barred is not None:
        return Refusal(barred)
    past = question.as_of is not None and question.as_of < now
    needed = (*question.scopes, "history") if past else question.scopes
    reason = consent_refusal(
        consent, kind="query", member_id=member_id, purpose=question.purpose, scopes=needed, now=now
    )
    if reason in {None, "consent_exhausted"} and past and "history" not in question.scopes:
        reason = "consent_scope"  # what the asker can put right comes before what is used up
    if reason is not None:
        return Refusal(reason)
    return grant(question, tier)


def grant(question: Question, tier: str = "full") -> Grant:
    """Return what a question that may be answered gets; the same question of the same tier always gets the same."""
    shallow = [what for what in LEAVES_OUT[tier] if what == "records" or what in question.scopes]
    withheld = [Withheld(scope, "not_offered_yet") for scope in question.scopes if scope in UNAVAILABLE_SCOPES]
    withheld += [Withheld(what, WHY) for what in shallow]
    left_out = {one.what for one in withheld}
    return Grant(tuple(scope for scope in question.scopes if scope not in left_out), tuple(withheld), tier)
