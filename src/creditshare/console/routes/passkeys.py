"""Passkeys, which confirm what pages change: those there are, and making one that a key then signs for."""

import hashlib
import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from creditshare.console import forms, passkeys
from creditshare.console.visits import Looks, PageRoute, Visit
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.errors import Malformed, Refused
from creditshare.ids import spell
from creditshare.wire.confirmation import Confirmation, challenge_of, rp_id

router = APIRouter(route_class=PageRoute, include_in_schema=False)
ChangingVisit = Annotated[Visit, Depends(Looks("operator", "regulator"))]
OFFERING = "offer_passkey"


@router.get("/console/passkeys")
async def show_passkeys(visit: ChangingVisit) -> Response:
    """Show the member's passkeys, and a form that makes one."""
    return await _shown(visit, fresh=None)


@router.post("/console/passkeys")
async def offer_passkey(visit: ChangingVisit) -> Response:
    """Take in a passkey that the page made; a session alone cannot make it count."""
    visit.attempt = OFFERING
    services, now = visit.services, visit.services.clock.now()
    document = await services.sessions.take(visit.session, visit.holder, given_challenge(visit), now=now)
    if Confirmation.read(document).action != OFFERING:
        raise Refused("confirmation_ended")
    identity, jwk, count = passkeys.made(visit.form, challenge=challenge_of(document), issuer=services.issuer)
    made = visit.record(
        await services.passkeys.offer(
            visit.session,
            visit.holder.member_id,
            credential_id=identity,
            jwk=jwk,
            sign_count=count,
            label=forms.text(visit, "label"),
            now=now,
        )
    )
    return await _shown(visit, fresh=made.digest)


async def _shown(visit: Visit, *, fresh: str | None) -> Response:
    services, now = visit.services, visit.services.clock.now()
    whose = spell("mem", visit.holder.member_id)
    offered = Confirmation(
        issuer=services.issuer,
        by=whose,
        sub=visit.holder.sub,
        action=OFFERING,
        object=whose,
        terms={},
        version="",
        iat=int(now.timestamp()),
        nonce=b64url_encode(secrets.token_bytes(16)),
    )
    challenge = await services.sessions.offer(visit.session, visit.holder, offered.document(), now=now)
    kept = await services.passkeys.of_member(visit.session, visit.holder.member_id)
    usable = {one.digest for one in await services.passkeys.usable(visit.session, visit.holder.member_id, now=now)}
    return visit.page(
        "passkeys.html",
        shows="passkeys",
        of={"member_id": whose},
        passkeys=kept,
        usable=usable,
        ends={one.digest: services.passkeys.ends(one) for one in kept},
        fresh=fresh,
        ceremony={
            "challenge": b64url_encode(challenge),
            "rp": rp_id(services.issuer),
            "user": b64url_encode(hashlib.sha256(f"{whose}|{visit.holder.sub}".encode()).digest()),
            "name": f"{visit.member.name} · {visit.holder.sub}",
            # The authenticator of one that ended with its key may make the next.
            "credentials": " ".join(
                b64url_encode(one.credential_id) for one in kept if one.state == "pending" or one.digest in usable
            ),
        },
    )


def given_challenge(visit: Visit) -> bytes:
    """Return the challenge that a form answers."""
    try:
        return b64url_decode(visit.field("challenge"))
    except Malformed:
        raise Refused("confirmation_ended") from None
