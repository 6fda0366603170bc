"""Erasures as pages, for operators: those there are, whatever became of them, and asking for one."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response

from creditshare.access.service import public_id
from creditshare.console.visits import Looks, PageRoute, Visit
from creditshare.erasures import rules
from creditshare.ids import spell

router = APIRouter(route_class=PageRoute, include_in_schema=False)
OperatorVisit = Annotated[Visit, Depends(Looks("operator"))]
SHOWN: Final = 50


@router.get("/console/desk/erasures")
async def show_erasures(visit: OperatorVisit, before: str = "") -> Response:
    """Show erasures, newest first, and a form that asks for one."""
    start = public_id("prp", before) if before else None
    found = await visit.services.erasures.listed(visit.session, before=start, limit=SHOWN + 1)
    return visit.page(
        "desk/erasures.html",
        shows="erasures",
        found=[(one, rules.terms_of(one), rules.status(one, visit.now)) for one in found[:SHOWN]],
        older=spell("prp", found[SHOWN - 1].proposal_id) if len(found) > SHOWN else None,
        bases=rules.LEGAL_BASES,
        names=await visit.services.members.names(visit.session),
    )
