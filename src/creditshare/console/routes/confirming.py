"""Confirming a change: the page that shows all of it, and the one that says that it is done."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from creditshare.access.service import public_id
from creditshare.console.confirming import action_for, carry_out, command_line, prepare
from creditshare.console.routes.passkeys import given_challenge
from creditshare.console.visits import Looks, PageRoute, Visit
from creditshare.crypto.encoding import b64url_encode
from creditshare.errors import Refused
from creditshare.wire.confirmation import Confirmation, rp_id

router = APIRouter(route_class=PageRoute, include_in_schema=False)
ChangingVisit = Annotated[Visit, Depends(Looks("operator", "regulator"))]


@router.post("/console/confirm/{action}")
async def show_confirmation(visit: ChangingVisit, action: str) -> Response:
    """Show exactly what is to be done, for a passkey to sign, and the command that does the same."""
    wanted = action_for(visit, action)
    try:
        shown, challenge = await prepare(visit, wanted)
    except Refused as refusal:
        if wanted.again is None or refusal.code != "validation_failed":
            raise
        return wanted.again(visit, refusal.fields)
    services = visit.services
    usable = await services.passkeys.usable(visit.session, visit.member.member_id, now=services.clock.now())
    return visit.page(
        "confirm.html",
        shows="confirmation",
        of={"member_id": shown.object} if shown.object.startswith("mem_") else {},
        shown=shown,
        contacts=await _contacts(visit, shown),
        names=await visit.services.members.names(visit.session),
        document=shown.document().decode(),
        command=command_line(shown),
        ceremony={
            "challenge": b64url_encode(challenge),
            "rp": rp_id(visit.services.issuer),
            "credentials": " ".join(b64url_encode(one.credential_id) for one in usable),
        },
        passkeys=usable,
    )


async def _contacts(visit: Visit, shown: Confirmation) -> Mapping[str, str]:
    """Return whom an approval's institution names: shown to who decides, and kept in no event of the log."""
    if "as_it_stands" not in shown.terms:
        return {}
    return (await visit.services.members.particulars(visit.session, public_id("mem", shown.object))).contacts


@router.post("/console/confirmations")
async def confirm(visit: ChangingVisit) -> Response:
    """Carry out what a passkey confirmed, once."""
    shown, outcome = await carry_out(visit, given_challenge(visit))
    return visit.plain(
        "done.html", shown=shown, outcome=outcome, names=await visit.services.members.names(visit.session)
    )
