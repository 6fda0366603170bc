"""The operator's desk: what waits for a second person, members, files and failures, health. No sealed field."""

from collections import Counter
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Response

from creditshare.access.service import public_id
from creditshare.access.usage import usage_of
from creditshare.audit.state import log_state
from creditshare.batches.service import queue
from creditshare.console import onboarding
from creditshare.console.visits import Looks, PageRoute, Visit, takes_part
from creditshare.errors import Refused
from creditshare.ids import spell
from creditshare.impact import impact_on
from creditshare.marks import last_backup
from creditshare.members import standing
from creditshare.members.keys import last_keys
from creditshare.members.service import Member

router = APIRouter(route_class=PageRoute, include_in_schema=False)
OperatorVisit = Annotated[Visit, Depends(Looks("operator"))]
KEYS_WITHIN: Final = timedelta(days=60)
MOST_MEMBERS: Final = 500
NEWEST_JOBS: Final = 50
STATES: Final = ("applicant", "due_diligence", "certified", "active", "limited", "suspended", "terminated")


async def quotas_of(visit: Visit, one: Member) -> tuple[tuple[str, int, int], ...]:
    """Return a member's quotas of the day: their names, what is used, and how much there is."""
    quotas, budgets = visit.services.access.quotas, visit.services.tokeniser.budgets
    (usage,) = await usage_of(visit.session, [one], quotas=quotas, budgets=budgets, now=visit.now)
    return (
        ("evaluations", usage.evaluations_used_today, usage.evaluations_per_day),
        ("queries", usage.queries_used_today, usage.queries_per_day),
        ("reports", usage.reports_used_today, usage.reports_per_day),
    )


async def _members(visit: Visit) -> list[Member]:
    return await visit.services.members.list_all(visit.session, after=None, limit=MOST_MEMBERS)


@router.get("/console/desk")
async def show_tasks(visit: OperatorVisit) -> Response:
    """Show what waits for a second person, and in a few figures how everything stands."""
    services, session = visit.services, visit.session
    proposals = await services.approvals.open(session, now=visit.now)
    members = await _members(visit)
    ending = await last_keys(session, before=services.clock.now() + KEYS_WITHIN)
    return visit.page(
        "desk/tasks.html",
        shows="tasks",
        proposals=sorted(proposals, key=lambda one: one.expires_at),
        about={one.kind: services.approvals.kind(one.kind) for one in proposals},
        names={spell("mem", one.member_id): one.name for one in members},
        counts=Counter(one.status for one in members),
        ending=ending,
        jobs=await queue(session, limit=0),
        log=await log_state(session),
        passkeys=await services.passkeys.usable(session, visit.member.member_id, now=services.clock.now()),
    )


@router.get("/console/desk/members")
async def show_members(visit: OperatorVisit, state: str = "", find: str = "") -> Response:
    """Show all institutions, or those of a state or with a part of a name."""
    members = await _members(visit)
    wanted = [
        one
        for one in members
        if (state not in STATES or one.status == state) and find.casefold() in one.name.casefold()
    ]
    ending = await last_keys(visit.session, before=visit.services.clock.now() + KEYS_WITHIN)
    return visit.page(
        "desk/members.html",
        shows="members",
        found=sorted(wanted, key=lambda one: (one.role, one.name.casefold())),
        counts=Counter(one.status for one in members),
        states=STATES,
        state=state if state in STATES else "",
        find=find[:128],
        ending={one.member_id: one.ends for one in ending},
    )


@router.get("/console/desk/members/new")
async def show_onboarding(visit: OperatorVisit) -> Response:
    """Show the first step of proposing an institution."""
    return onboarding.begin(visit)


@router.post("/console/desk/members/new")
async def show_onboarding_step(visit: OperatorVisit) -> Response:
    """Show another step, with all that was entered."""
    return onboarding.go_on(visit)


@router.get("/console/desk/members/{member_id}")
async def show_one_member(visit: OperatorVisit, member_id: str) -> Response:
    """Show an institution: its state, keys, quotas and use, and what can be done about it."""
    services, session = visit.services, visit.session
    named = public_id("mem", member_id)
    one = await services.members.get(session, named)
    return visit.page(
        "desk/member.html",
        shows="member",
        of={"member_id": spell("mem", named)},
        one=one,
        keys=await services.member_keys.keys_of(session, named),
        proposals=await services.members.open_proposals(session, named, now=visit.now),
        quotas=await quotas_of(visit, one),
        passkeys=await services.passkeys.of_member(session, named),
        sessions=await services.sessions.count(session, named, now=services.clock.now()),
        possible=_possible(visit, one),
        particulars=await services.members.particulars(session, named),
        examination=await services.members.examination(session, named),
        names=await services.members.names(session),
    )


def _possible(visit: Visit, one: Member) -> set[str]:
    """Return which acts begin from a member's state, so that the page offers no others."""
    possible = set()
    for change in ("due_diligence", "limitation", "suspension", "lift_limitation", "lift_suspension", "termination"):
        try:
            standing.after(change, one.status, role=one.role)
        except Refused:
            continue
        possible.add(change)
    if one.status in standing.ENROLS:
        possible |= {"recovery"}
    if one.status in standing.LASTS:
        possible |= {"quotas", "jurisdictions"}
    if one.member_id == visit.member.member_id:
        possible -= {"suspension", "limitation"}
    return possible


@router.get("/console/desk/members/{member_id}/restriction")
async def show_restriction(visit: OperatorVisit, member_id: str) -> Response:
    """Show what a limitation or suspension touches, before it is done."""
    one = await visit.services.members.get(visit.session, public_id("mem", member_id))
    return visit.page(
        "desk/restrict.html",
        shows="restriction",
        of={"member_id": spell("mem", one.member_id)},
        one=one,
        possible=_possible(visit, one),
        touched=await touched_by(visit, one),
    )


async def touched_by(visit: Visit, one: Member) -> dict[str, int]:
    """Return in figures what is alive of a member that may be restricted."""
    services = visit.services
    impact = await impact_on(
        visit.session,
        one.member_id,
        approvals=services.approvals,
        members=services.members,
        member_keys=services.member_keys,
        now=visit.now,
        machine_now=services.clock.now(),
    )
    return {
        "keys": impact.live_keys,
        "questions": impact.questions,
        "consents_query": impact.consents_to_ask,
        "consents_provide": impact.consents_to_provide,
        "live_records": impact.live_records,
        "files": impact.files_in_progress,
        "proposals": impact.proposals_about,
        "proposals_by": impact.proposals_by,
    }


@router.get("/console/desk/jobs")
async def show_jobs(visit: OperatorVisit) -> Response:
    """Show the queue of files, the newest of them, and which failed."""
    members = await _members(visit)
    return visit.page(
        "desk/jobs.html",
        shows="jobs",
        jobs=await queue(visit.session, limit=NEWEST_JOBS),
        names={one.member_id: one.name for one in members},
    )


@router.get("/console/desk/health")
async def show_health(visit: OperatorVisit) -> Response:
    """Show how the log and the backups stand. It says nothing about members, so it is shown also while the log lags."""
    return visit.plain("desk/health.html", **await _health(visit))


@router.get("/console/desk/health/now")
@takes_part(quiet=True)
async def show_health_now(visit: OperatorVisit) -> Response:
    """Show the same again, for a page that refreshes itself; it keeps no session alive."""
    return visit.plain("desk/health_now.html", **await _health(visit))


async def _health(visit: Visit) -> dict[str, Any]:
    services = visit.services
    return {
        "log": await log_state(visit.session),
        "cosigned": await services.newest_cosigned(visit.session),
        "witnesses": services.witness_policy is not None,
        "stamped": services.log_health.stamped,
        "mmd": services.audit.merge_delay_s,
        "late": services.log_is_late(),
        "key_table_s": services.key_table.age_s,
        "backup": last_backup(services.settings.data),
        "moment": services.clock.now(),
    }
