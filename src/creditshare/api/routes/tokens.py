"""Blind tokens: the oblivious function, evaluated on blinded elements."""

from fastapi import APIRouter

from creditshare.api.callers import MemberWork, ReportingLenderWork
from creditshare.api.exchange import SignedRoute, takes_part
from creditshare.api.schemas.members import QuotaOut
from creditshare.api.schemas.tokens import EvaluateIn, EvaluateOut
from creditshare.api.wiring import Wired, opened
from creditshare.crypto.encoding import b64url_encode
from creditshare.subjects.rules import most_unnamed

router = APIRouter(route_class=SignedRoute, tags=["tokens"])


@router.post("/v1/tokens/evaluate")
@takes_part(idempotent=False)
async def evaluate_tokens(body: EvaluateIn, work: ReportingLenderWork, services: Wired) -> EvaluateOut:
    """Evaluate up to 256 blinded elements; the service learns only how many there were."""
    session, now = opened(work)
    done = work.record(
        await services.tokeniser.evaluate(
            session,
            work.caller.member_id,
            suite=body.suite,
            key_version=body.key_version,
            blinded=body.blinded,
            per_day=work.caller.member.evaluations_per_day,
            now=now,
        )
    )
    return EvaluateOut(
        suite=body.suite,
        key_version=done.key_version,
        evaluated=[b64url_encode(element) for element in done.evaluated],
        proof=b64url_encode(done.proof),
    )


@router.get("/v1/me/quota")
async def show_quota(work: MemberWork, services: Wired) -> QuotaOut:
    """Show what the caller may send today and what is used of it; the day is UTC's."""
    session, now = opened(work)
    member, quotas = work.caller.member, services.access.quotas
    evaluated = await services.tokeniser.budgets.used(session, member.member_id, now=now)
    used = await quotas.used_today(session, member.member_id, now=now)
    return QuotaOut(
        evaluations_per_day=member.evaluations_per_day,
        evaluations_used_today=evaluated.today,
        evaluations_unnamed=evaluated.unnamed,
        evaluations_unnamed_at_most=most_unnamed(member.evaluations_per_day),
        queries_per_day=quotas.per_day(member, "queries"),
        queries_used_today=used.get("queries", 0),
        reports_per_day=quotas.per_day(member, "reports"),
        reports_used_today=used.get("reports", 0),
    )
