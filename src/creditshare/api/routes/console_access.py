"""The pages for people: a link that signs in, and the passkeys that confirm what is changed on them."""

from typing import Annotated

from fastapi import APIRouter, Path

from creditshare.api.callers import ConfirmerWork, PageReaderWork
from creditshare.api.exchange import SignedRoute, takes_part
from creditshare.api.schemas.console import ConsoleLinkOut, PasskeyIn, PasskeyOut
from creditshare.api.schemas.forms import EmptyIn
from creditshare.api.wiring import Wired, opened
from creditshare.sessions.passkeys import digest_of
from creditshare.wire.confirmation import page_origin

router = APIRouter(route_class=SignedRoute, tags=["pages"])


@router.post("/v1/console-links", status_code=201)
@takes_part(data=False)
async def create_console_link(work: PageReaderWork, services: Wired, body: EmptyIn | None = None) -> ConsoleLinkOut:
    """Make an address that begins a session of the pages for whoever opens it first, within a minute."""
    del body
    session, _ = opened(work)
    link = work.record(await services.sessions.make_link(session, work.caller, now=services.clock.now()))
    url = f"{page_origin(services.issuer)}/console/login#{link.code}"
    return ConsoleLinkOut(url=url, expires_at=link.expires_at)


@router.post("/v1/me/passkeys", status_code=201)
async def confirm_passkey(body: PasskeyIn, work: ConfirmerWork, services: Wired) -> PasskeyOut:
    """Let a passkey that was made on a page confirm changes from now on. Sign only for one that you made yourself."""
    session, _ = opened(work)
    done = work.record(await services.passkeys.confirm(session, work.caller, body.passkey, now=services.clock.now()))
    return PasskeyOut.of(done, ends_at=services.passkeys.ends(done))


@router.post("/v1/me/passkeys/{passkey}/revocation")
async def revoke_passkey(
    passkey: Annotated[str, Path(max_length=64, description="Its digest.")],
    work: ConfirmerWork,
    services: Wired,
    body: EmptyIn | None = None,
) -> PasskeyOut:
    """End a passkey of yours for good."""
    del body
    session, _ = opened(work)
    now = services.clock.now()
    done = work.record(await services.passkeys.revoke(session, work.caller, digest_of(passkey), now=now))
    return PasskeyOut.of(done, ends_at=services.passkeys.ends(done))
