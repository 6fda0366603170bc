"""What a restriction or the end of a membership would touch, counted before it is done. Nothing is opened for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from creditshare.approvals.service import Approvals
from creditshare.batches.service import files_in_progress
from creditshare.consents.service import live_consents
from creditshare.members.keys import MemberKeys
from creditshare.members.service import Members
from creditshare.records.service import live_records
from creditshare.sharing.service import questions_since
from creditshare.storage.engine import ReadSession
from creditshare.warrants.repository import live_warrants

DAYS: Final = 30
"""How far back the questions are counted: what the member does every day, not its history."""


@dataclass(frozen=True, slots=True)
class Impact:
    """What is alive of a member's: who would notice, and what would stand still."""

    live_keys: int
    consents_to_ask: int
    consents_to_provide: int
    live_records: int
    files_in_progress: int
    proposals_about: int
    proposals_by: int
    questions: int
    warrants: int
    hand_back_kid: str | None


async def impact_on(
    session: ReadSession,
    member_id: UUID,
    *,
    approvals: Approvals,
    members: Members,
    member_keys: MemberKeys,
    now: datetime,
    machine_now: datetime,
) -> Impact:
    """Count what is alive of a member's; ``not_found`` if there is none. Keys live by the machine's clock."""
    member = await members.get(session, member_id)
    keys = await member_keys.keys_of(session, member_id)
    consents = await live_consents(session, member_id, now=now)
    waiting = await approvals.open(session, now=now)
    return Impact(
        live_keys=sum(key.signs(machine_now) for key in keys),
        consents_to_ask=consents.get("query", 0),
        consents_to_provide=consents.get("provide", 0),
        live_records=await live_records(session, member_id),
        files_in_progress=await files_in_progress(session, member_id),
        proposals_about=sum(one.about == member_id for one in waiting),
        proposals_by=sum(one.proposed_by == member_id for one in waiting),
        questions=await questions_since(session, member_id, since=now - timedelta(days=DAYS)),
        warrants=await live_warrants(session, member_id, now=now),
        hand_back_kid=member.hand_back_kid,
    )
