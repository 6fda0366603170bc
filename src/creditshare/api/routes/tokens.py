"""Blind tokens: the oblivious function, evaluated on blinded elements."""

from fastapi import APIRouter

from creditshare.access.usage import usage_of
from creditshare.api.callers import MemberWork, ReportingLenderWork
from creditshare.api.exchange import SignedRoute, takes_part
from creditshare.api.schemas.members import QuotaOut
from creditshare.api.schemas.tokens import EvaluateIn, EvaluateOut
from creditshare.api.wiring import Wired, opened
from creditshare.crypto.encoding import b64url_encode

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
    (usage,) = await usage_of(
        session, [work.caller.member], quotas=services.access.quotas, budgets=services.tokeniser.budgets, now=now
    )
    return QuotaOut.of(usage)
