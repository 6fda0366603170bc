"""What members use of their day: evaluations, questions, reports. For themselves and for operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from creditshare.access.quotas import Quotas
from creditshare.members.service import Member
from creditshare.storage.engine import ReadSession
from creditshare.subjects.budgets import NOTHING_USED, Budgets
from creditshare.subjects.rules import most_unnamed


@dataclass(frozen=True, slots=True)
class Usage:
    """A member's quotas of the day (UTC) and what is used of them.

    What processes lease counts as used. ``evaluations_unnamed`` are those, of any day, that name nobody.
    """

    member_id: UUID
    evaluations_per_day: int
    evaluations_used_today: int
    evaluations_unnamed: int
    evaluations_unnamed_at_most: int
    queries_per_day: int
    queries_used_today: int
    reports_per_day: int
    reports_used_today: int


async def usage_of(
    session: ReadSession, members: Sequence[Member], *, quotas: Quotas, budgets: Budgets, now: datetime
) -> list[Usage]:
    """Return what these members use of their day, in their order, by two statements."""
    named = [member.member_id for member in members]
    evaluated = await budgets.used_by(session, named, now=now)
    used = await quotas.used_by(session, named, now=now)
    return [
        Usage(
            member_id=member.member_id,
            evaluations_per_day=member.evaluations_per_day,
            evaluations_used_today=evaluated.get(member.member_id, NOTHING_USED).today,
            evaluations_unnamed=evaluated.get(member.member_id, NOTHING_USED).unnamed,
            evaluations_unnamed_at_most=most_unnamed(member.evaluations_per_day),
            queries_per_day=quotas.per_day(member, "queries"),
            queries_used_today=used.get((member.member_id, "queries"), 0),
            reports_per_day=quotas.per_day(member, "reports"),
            reports_used_today=used.get((member.member_id, "reports"), 0),
        )
        for member in members
    ]
