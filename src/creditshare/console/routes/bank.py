"""A lender's own pages: its records in figures, its questions and refusals, consents, the day's quota, its keys."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response

from creditshare.audit.service import LoggedAct
from creditshare.audit.state import log_state
from creditshare.consents.service import consents_by_state
from creditshare.console import drawing
from creditshare.console.routes.desk import quotas_of
from creditshare.console.visits import Looks, PageRoute, Visit
from creditshare.ids import spell
from creditshare.members.keys import ending_keys
from creditshare.records.service import records_by_lifecycle
from creditshare.sharing.service import questions_by_day

router = APIRouter(route_class=PageRoute, include_in_schema=False)
LenderVisit = Annotated[Visit, Depends(Looks("lender"))]
DAYS: Final = 30
LOOKED_AT: Final = 2_000
"""How many of the log's newest leaves are looked through for a member's own acts."""
SHOWN_ACTS: Final = 100
LIFECYCLES: Final = ("pending", "live", "ended", "withdrawn", "erased")
ASKING: Final = frozenset({"run_query", "run_query_batch", "run_non_performing_test"})
"""Acts that ask about borrowers: of these a refusal is one of a question, and of no page or passkey."""


async def own_acts(visit: Visit) -> list[LoggedAct]:
    """Return what the member did among the newest leaves, newest first."""
    size = (await log_state(visit.session)).size
    found = await visit.services.audit.acts(visit.session, start=max(0, size - LOOKED_AT), limit=LOOKED_AT)
    own = spell("mem", visit.member.member_id)
    return [act for act in reversed(found.read) if act.actor == own]


@dataclass(frozen=True, slots=True)
class Asked:
    """Something that the member is asked for: what, and the command that does it where there is one."""

    what: str
    values: Mapping[str, str]
    command: str = ""


async def asked_of(visit: Visit) -> list[Asked]:
    """Return what a lender has to do or to know, most urgent first: what its own signed requests tell it too."""
    services, member = visit.services, visit.member
    found = [Asked("limited", {})] if member.status == "limited" else []
    days = services.settings.key_warning_days
    rotate = "keys rotate --key KEYFILE --out NEWFILE"
    ending = await ending_keys(visit.session, days=days, now=services.clock.now(), member_id=member.member_id)
    found += [Asked("key", {"kid": one.kid, "day": one.expires_at.date().isoformat()}, rotate) for one in ending]
    if member.tier != "full":
        found.append(Asked("tier", {}, "query tier --as KEYFILE"))
    if member.hand_back_kid is None:
        found.append(Asked("hand_back", {}, "hand-back name --key HANDBACKFILE --as KEYFILE"))
    return found


@router.get("/console/bank")
async def show_own_overview(visit: LenderVisit) -> Response:
    """Show what the member is asked for, its records in figures, the day's quotas, and what ends soon."""
    services, session, member = visit.services, visit.session, visit.member
    return visit.page(
        "bank/overview.html",
        shows="own_overview",
        asked=await asked_of(visit),
        records=await records_by_lifecycle(session, member.member_id),
        lifecycles=LIFECYCLES,
        quotas=await quotas_of(visit, member),
        keys=await services.member_keys.keys_of(session, member.member_id),
        reports=await services.reports.listed(session, member),
    )


@router.get("/console/bank/inquiries")
async def show_own_inquiries(visit: LenderVisit) -> Response:
    """Show the member's questions by day, and the newest of them with what was refused and why."""
    since = visit.now - timedelta(days=DAYS)
    counts = await questions_by_day(visit.session, visit.member.member_id, since=since)
    acts = await own_acts(visit)
    return visit.page(
        "bank/inquiries.html",
        shows="own_inquiries",
        bars=drawing.days(counts, last=visit.now.date(), number=DAYS),
        refusals=Counter(act.outcome for act in acts if act.action in ASKING and act.outcome != "ok").most_common(),
        acts=[act for act in acts if act.action in ASKING or act.outcome != "ok"][:SHOWN_ACTS],
        looked_at=LOOKED_AT,
    )


@router.get("/console/bank/consents")
async def show_own_consents(visit: LenderVisit) -> Response:
    """Show how many consents the member has of each kind in each state."""
    return visit.page(
        "bank/consents.html",
        shows="own_consents",
        counts=await consents_by_state(visit.session, visit.member.member_id, now=visit.now),
        states=("active", "pending", "paused", "exhausted", "expired", "revoked"),
    )


@router.get("/console/bank/keys")
async def show_own_keys(visit: LenderVisit) -> Response:
    """Show the member's keys, when each ends, and how to change one."""
    return visit.page(
        "bank/keys.html",
        shows="own_keys",
        keys=await visit.services.member_keys.keys_of(visit.session, visit.member.member_id),
    )
