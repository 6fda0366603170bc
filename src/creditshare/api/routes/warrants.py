"""How a regulator comes to read about one borrower: it asks, two operators approve, it reads for a time.

Asking is all that a regulator ever writes about others, and nothing happens by it.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path

from creditshare.access.service import public_id
from creditshare.api.callers import OperatorWork, OverseerWork, RegulatorWork
from creditshare.api.exchange import SignedRoute
from creditshare.api.pages import Limit, Paged
from creditshare.api.schemas.warrants import (
    WarrantApprovalIn,
    WarrantIn,
    WarrantInquiriesOut,
    WarrantOut,
    WarrantPage,
    WarrantRecordsOut,
    WarrantRevocationIn,
    WarrantShownOut,
)
from creditshare.api.wiring import Wired, opened

router = APIRouter(route_class=SignedRoute, tags=["warrants"])
WarrantId = Annotated[str, Path(description="wrt_ and a UUID")]


@router.post("/v1/warrants", status_code=202)
async def request_warrant(body: WarrantIn, work: RegulatorWork, services: Wired) -> WarrantShownOut:
    """Ask for a warrant to read about one borrower. Nothing can be read by it before two operators approved it.

    The borrower is named by the id of a record, question or consent that you were given; there is no way to search.
    """
    session, now = opened(work)
    asked = await services.warrants.request(session, work.caller.member, body.terms(), now=now)
    return WarrantShownOut.showing(work.record(asked), now=now)


@router.get("/v1/warrants")
async def list_warrants(work: OverseerWork, services: Wired, paging: Paged, limit: Limit = 50) -> WarrantPage:
    """List warrants, newest first, without what they say: a regulator its own, an operator all."""
    session, now = opened(work)
    start = paging.start(work)
    found = await services.warrants.listed(
        session, by=work.caller.member, before=UUID(start) if start else None, limit=limit + 1
    )
    page, following = paging.cut(work, found, limit=limit, place=lambda one: one.warrant_id)
    return WarrantPage.holding((WarrantOut.of(one, now=now) for one in page), following)


@router.get("/v1/warrants/{warrant_id}")
async def show_warrant(warrant_id: WarrantId, work: OverseerWork, services: Wired) -> WarrantShownOut:
    """Show a warrant with what it says, to the regulator that asked for it and to operators."""
    session, now = opened(work)
    shown = await services.warrants.show(session, public_id("wrt", warrant_id), by=work.caller.member)
    return WarrantShownOut.showing(work.record(shown), now=now)


@router.post("/v1/warrants/{warrant_id}/approvals")
async def approve_warrant(
    warrant_id: WarrantId, body: WarrantApprovalIn, work: OperatorWork, services: Wired
) -> WarrantShownOut:
    """Approve a request, repeating all its terms. It is in force once two different operators did."""
    session, now = opened(work)
    done = await services.warrants.approve(
        session,
        public_id("wrt", warrant_id),
        regulator=body.regulator_id,
        repeated=body.terms(),
        by=work.caller.member_id,
        now=now,
    )
    return WarrantShownOut.showing(work.record(done), now=now)


@router.post("/v1/warrants/{warrant_id}/revocation")
async def revoke_warrant(
    warrant_id: WarrantId, body: WarrantRevocationIn, work: OperatorWork, services: Wired
) -> WarrantOut:
    """End a warrant, or a request for one, at once; one operator does."""
    session, now = opened(work)
    done = await services.warrants.revoke(session, public_id("wrt", warrant_id), reason=body.reason, now=now)
    return WarrantOut.of(work.record(done), now=now)


@router.get("/v1/warrants/{warrant_id}/records")
async def show_warrant_records(warrant_id: WarrantId, work: RegulatorWork, services: Wired) -> WarrantRecordsOut:
    """Read the borrower's records as a lender would be told them now, with exact amounts and who furnished them.

    Each reading is an event about the borrower.
    """
    session, now = opened(work)
    read = await services.warrants.records(session, public_id("wrt", warrant_id), by=work.caller.member, now=now)
    return WarrantRecordsOut.of(warrant_id, work.record(read), now=now)


@router.get("/v1/warrants/{warrant_id}/inquiries")
async def show_warrant_inquiries(warrant_id: WarrantId, work: RegulatorWork, services: Wired) -> WarrantInquiriesOut:
    """Read who asked about the borrower, when and for which purpose; not what was told.

    Each reading is an event about the borrower.
    """
    session, now = opened(work)
    read = await services.warrants.inquiries(session, public_id("wrt", warrant_id), by=work.caller.member, now=now)
    return WarrantInquiriesOut.of(warrant_id, work.record(read), now=now)
