"""What exists in a sandbox only; ``app.py`` leaves these routes out of a production service."""

from fastapi import APIRouter

from creditshare.api.callers import OperatorWork
from creditshare.api.exchange import SignedRoute
from creditshare.api.schemas.sandbox import ClockIn, ClockOut
from creditshare.api.wiring import opened
from creditshare.sandbox.service import advance

router = APIRouter(route_class=SignedRoute, tags=["sandbox"])


@router.post("/v1/sandbox/clock")
async def advance_clock(body: ClockIn, work: OperatorWork) -> ClockOut:
    """Move business time forward, for all workers at once and for good. A production service has no such route."""
    session, _ = opened(work)
    moved = work.record(await advance(session, days=body.days))
    return ClockOut(business_time=moved.now, ahead_days=moved.ahead.days)
