"""Warrants as pages: those there are, what one says, asking for one, and what is read under one.

A regulator sees its own, operators all; under one only its regulator reads. What is shown is what the API shows, and
each view of one is its event.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response

from creditshare.access.service import public_id
from creditshare.console.visits import Looks, PageRoute, Visit
from creditshare.console.warrant_actions import show_request
from creditshare.ids import spell
from creditshare.warrants.rules import APPROVALS, LIVE

router = APIRouter(route_class=PageRoute, include_in_schema=False)
OverseerVisit = Annotated[Visit, Depends(Looks("operator", "regulator"))]
RegulatorVisit = Annotated[Visit, Depends(Looks("regulator"))]
SHOWN: Final = 50


@router.get("/console/warrants")
async def show_warrants(visit: OverseerVisit, before: str = "") -> Response:
    """Show warrants, newest first, without what they say."""
    start = public_id("wrt", before) if before else None
    found = await visit.services.warrants.listed(visit.session, by=visit.member, before=start, limit=SHOWN + 1)
    return visit.page(
        "warrants/list.html",
        shows="warrants",
        found=found[:SHOWN],
        older=spell("wrt", found[SHOWN - 1].warrant_id) if len(found) > SHOWN else None,
        names=await visit.services.members.names(visit.session),
        at=visit.now,
    )


@router.get("/console/warrants/new")
async def show_warrant_form(visit: RegulatorVisit) -> Response:
    """Show the form by which a regulator asks for one."""
    return show_request(visit)


@router.get("/console/warrants/{warrant_id}")
async def show_one_warrant(visit: OverseerVisit, warrant_id: str) -> Response:
    """Show a warrant with what it says, and what can be done about it."""
    named = public_id("wrt", warrant_id)
    one = visit.record(await visit.services.warrants.show(visit.session, named, by=visit.member))
    waiting = await visit.services.approvals.open(visit.session, about=named, now=visit.now)
    stands, me = one.warrant.status(visit.now), visit.member
    return visit.page(
        "warrants/warrant.html",
        shows="warrant",
        one=one,
        stands=stands,
        # Who is to type the number from the order itself cannot copy it from here.
        withheld=stands == "requested" and me.role == "operator" and me.member_id not in one.approved_by,
        live=LIVE,
        waiting=waiting,
        needed=APPROVALS,
        names=await visit.services.members.names(visit.session),
    )


@router.get("/console/warrants/{warrant_id}/records")
async def show_records(visit: RegulatorVisit, warrant_id: str) -> Response:
    """Show the borrower's records as a lender would be told them, with amounts and who furnished them."""
    named = public_id("wrt", warrant_id)
    read = visit.record(await visit.services.warrants.records(visit.session, named, by=visit.member, now=visit.now))
    return visit.page("warrants/records.html", shows="warrant_records", named=spell("wrt", named), read=read)


@router.get("/console/warrants/{warrant_id}/inquiries")
async def show_inquiries(visit: RegulatorVisit, warrant_id: str) -> Response:
    """Show who asked about the borrower, when and for which purpose."""
    named = public_id("wrt", warrant_id)
    read = visit.record(await visit.services.warrants.inquiries(visit.session, named, by=visit.member, now=visit.now))
    return visit.page("warrants/inquiries.html", shows="warrant_inquiries", named=spell("wrt", named), read=read)
