"""A regulator's pages, and what it shares with others: reports, the log with proofs step by step, its own reading."""

from collections import Counter
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response

from creditshare.access.service import public_id
from creditshare.audit.proofs import prove_inclusion
from creditshare.audit.state import log_state
from creditshare.console.proofsteps import checked, steps_of
from creditshare.console.routes.bank import own_acts
from creditshare.console.routes.desk import MOST_MEMBERS
from creditshare.console.visits import Looks, PageRoute, Visit, anybody, wrong
from creditshare.crypto.encoding import b64url_decode
from creditshare.errors import Malformed

router = APIRouter(route_class=PageRoute, include_in_schema=False)
RegulatorVisit = Annotated[Visit, Depends(Looks("regulator"))]
AnyVisit = Annotated[Visit, Depends(anybody)]
HASH_BYTES: Final = 32
SHOWN_ACTS: Final = 200


@router.get("/console/oversight")
async def show_oversight(visit: RegulatorVisit) -> Response:
    """Show who takes part, which reports there are, and how the log stands."""
    services, session = visit.services, visit.session
    members = await services.members.list_all(session, after=None, limit=MOST_MEMBERS)
    return visit.page(
        "oversight/overview.html",
        shows="oversight",
        lenders=Counter(one.status for one in members if one.role == "lender"),
        listed=await services.reports.listed(session, visit.member),
        standing=await services.reports.standing(session, visit.member, now=visit.now),
        log=await log_state(session),
        cosigned=await services.newest_cosigned(session),
        witnesses=services.witness_policy is not None,
    )


@router.get("/console/reading")
async def show_reading(visit: RegulatorVisit) -> Response:
    """Show what this regulator itself read and asked, as the log has it."""
    acts = await own_acts(visit)
    return visit.page("oversight/reading.html", shows="own_reading", acts=acts[:SHOWN_ACTS], of_all=len(acts))


@router.get("/console/log")
async def show_log(visit: AnyVisit) -> Response:
    """Show how the log stands, and where an entry can be verified."""
    return visit.page("log.html", shows="log", log=await log_state(visit.session))


@router.post("/console/log")
async def verify_entry(visit: AnyVisit) -> Response:
    """Show step by step that an entry is in the log, by its event's id or its leaf's hash."""
    given = visit.field("entry")
    if given.startswith("evt_"):
        proof = await prove_inclusion(visit.session, event_id=public_id("evt", given))
    else:
        proof = await prove_inclusion(visit.session, leaf_hash=_hash(given))
    return visit.page(
        "log_proof.html",
        shows="proof",
        of={"event_id": proof.event_id},
        proof=proof,
        steps=steps_of(proof),
        checkpoint=checked(proof, visit.services.log_verifier),
    )


def _hash(text: str) -> bytes:
    try:
        value = b64url_decode(text)
    except Malformed:
        value = b""
    if len(value) != HASH_BYTES:
        raise wrong("entry", "format", "an event's id, evt_…, or a leaf's hash, 43 characters")
    return value
