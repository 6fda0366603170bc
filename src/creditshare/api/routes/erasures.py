"""How something is erased: an operator asks, another approves, the eraser's command carries it out.

No request erases anything: what was approved waits for the eraser, which has a database login of its own.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path

from creditshare.access.service import public_id
from creditshare.api.callers import OperatorWork
from creditshare.api.exchange import SignedRoute
from creditshare.api.pages import Limit, Paged
from creditshare.api.schemas.erasures import ErasureApprovalIn, ErasureIn, ErasureOut, ErasurePage
from creditshare.api.wiring import Wired, opened

router = APIRouter(route_class=SignedRoute, tags=["erasures"])
ErasureId = Annotated[str, Path(description="prp_ and a UUID")]


@router.post("/v1/erasures", status_code=202)
async def request_erasure(body: ErasureIn, work: OperatorWork, services: Wired) -> ErasureOut:
    """Ask for a record, or all of its borrower, to be made unreadable for ever. Another operator must approve it."""
    session, now = opened(work)
    asked = await services.erasures.request(session, body.terms(), by=work.caller.member_id, now=now)
    return ErasureOut.of(work.record(asked), now=now)


@router.get("/v1/erasures")
async def list_erasures(work: OperatorWork, services: Wired, paging: Paged, limit: Limit = 50) -> ErasurePage:
    """List erasures, newest first, whatever became of them; `approved` ones wait for the eraser."""
    session, now = opened(work)
    start = paging.start(work)
    found = await services.erasures.listed(session, before=UUID(start) if start else None, limit=limit + 1)
    page, following = paging.cut(work, found, limit=limit, place=lambda one: one.proposal_id)
    return ErasurePage.holding((ErasureOut.of(one, now=now) for one in page), following)


@router.get("/v1/erasures/{erasure_id}")
async def show_erasure(erasure_id: ErasureId, work: OperatorWork, services: Wired) -> ErasureOut:
    """Show one erasure, as its approval repeats it."""
    session, now = opened(work)
    return ErasureOut.of(await services.erasures.find(session, public_id("prp", erasure_id)), now=now)


@router.post("/v1/erasures/{erasure_id}/approvals")
async def approve_erasure(
    erasure_id: ErasureId, body: ErasureApprovalIn, work: OperatorWork, services: Wired
) -> ErasureOut:
    """Approve what another operator asked for, repeating all of it. It is erased by the eraser's next run."""
    session, now = opened(work)
    done = await services.erasures.approve(
        session, public_id("prp", erasure_id), body.terms(), by=work.caller.member_id, now=now
    )
    return ErasureOut.of(work.record(done), now=now)
