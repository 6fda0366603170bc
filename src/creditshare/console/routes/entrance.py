"""Signing in and out, where each kind of user begins, and the files that pages need."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse

from creditshare.audit.service import Actor
from creditshare.console.render import FOLDER, TABS, chosen_language, page
from creditshare.console.visits import (
    HOME,
    PAGE_HEADERS,
    STATUS,
    PageRoute,
    Visit,
    anybody,
    asked_by,
    cookie_name,
    finished,
    read_form,
    require_own_page,
    see_other,
    with_cookie,
    without_cookie,
)
from creditshare.edge.tracing import trace_of
from creditshare.errors import Refused, Unavailable
from creditshare.ids import spell
from creditshare.sandbox.service import business_time
from creditshare.services import Services
from creditshare.sessions.service import Begun
from creditshare.wire.reasons import REASONS

open_pages = APIRouter(include_in_schema=False)
router = APIRouter(route_class=PageRoute, include_in_schema=False)
AnyVisit = Annotated[Visit, Depends(anybody)]

STATIC: Final = FOLDER / "static"
ASSETS: Final[dict[str, tuple[Path, str]]] = {
    "console.css": (STATIC / "console.css", "text/css"),
    "console.js": (STATIC / "console.js", "text/javascript"),
    "login.js": (STATIC / "login.js", "text/javascript"),
    "passkeys.js": (STATIC / "passkeys.js", "text/javascript"),
    "icon.svg": (STATIC / "icon.svg", "image/svg+xml"),
    "htmx.js": (STATIC / "vendor" / "htmx-2.0.11.min.js", "text/javascript"),
}
WHY: Final = frozenset({"key_revoked", "key_expired", "member_suspended", "role_forbidden", "signed_out"})


@open_pages.get("/console/assets/{name}")
async def show_page_asset(name: str) -> Response:
    """Send a file that pages need; only those named here exist."""
    if name not in ASSETS:
        raise Refused("not_found")
    file, kind = ASSETS[name]
    return FileResponse(file, media_type=kind, headers={**PAGE_HEADERS, "Cache-Control": "no-cache"})


@open_pages.get("/console/login")
async def show_login(request: Request, ended: str = "") -> Response:
    """Show how to sign in; with a code in the fragment its script does."""
    return finished(request, _login(request, why=ended if ended in WHY else ""), chosen_language(request))


@open_pages.post("/console/login")
async def begin_session(request: Request) -> Response:
    """Use up a code and begin a session. It can only be sent by our own page, and takes nobody's session over."""
    services: Services = request.app.state.services
    language = chosen_language(request)
    peer = request.client.host if request.client else None
    try:
        services.access.require_patience(peer)
        require_own_page(request, services, named=True)
        form = await read_form(request, services)
        begun = await _begin(request, services, form.get("code", ""))
    except Unavailable:
        return _not_begun(request, Refused("unavailable", retry_after=2))
    except Refused as refusal:
        services.access.note_failure(peer)
        return _not_begun(request, refusal)
    return finished(request, with_cookie(see_other(HOME), services.issuer, begun.secret), language)


async def _begin(request: Request, services: Services, code: str) -> Begun:
    now = services.clock.now()
    async with services.database.writing() as session:
        given = request.cookies.get(cookie_name(services.issuer))
        before = await services.sessions.find(session, given, now=now, used=False) if given else None
        done = await services.sessions.begin(session, code, now=now)
        begun = done.value
        if before is not None and before.member_id != begun.session.member_id:
            raise Refused("state_conflict", extra={"hint": "another member's session is open here; sign out first"})
        if before is not None:
            await services.sessions.end(session, before)
        holder, business = begun.session, await business_time(session)
        event = services.audit.compose(
            done.entry,
            actor=Actor(spell("mem", holder.member_id), holder.sub, holder.kid, trace_of(request).request_id),
            exchange=asked_by(request, {}),
            now=business.now,
        )
        await services.audit.append(session, event)
        await session.commit()
    request.state.member_id = spell("mem", holder.member_id)
    return begun


def _not_begun(request: Request, refusal: Refused) -> Response:
    """Say why no session began, on the page that takes the next link."""
    language, request_id = chosen_language(request), trace_of(request).request_id
    request.state.code = refusal.code
    refused = {"reason": REASONS[refusal.code], "hint": refusal.extra.get("hint"), "request_id": request_id}
    return finished(request, _login(request, status=STATUS.get(refusal.code, 409), refused=refused), language)


def _login(request: Request, *, status: int = 200, why: str = "", refused: Mapping[str, Any] | None = None) -> Response:
    services: Services = request.app.state.services
    language = chosen_language(request)
    shown = {"member": None, "services": services, "why": why, "refused": refused}
    return page("login.html", language=language, status=status, **shown)


@router.get("/console")
async def show_home(visit: AnyVisit) -> Response:
    """Go to where this kind of user begins."""
    return see_other(TABS[visit.member.role][0][0])


@router.post("/console/logout")
async def end_session(visit: AnyVisit) -> Response:
    """Sign out: the session ends here and now, not only in the browser."""
    visit.record(await visit.services.sessions.end(visit.session, visit.holder))
    gone = without_cookie(see_other("/console/login?ended=signed_out"), visit.services.issuer)
    gone.headers["Clear-Site-Data"] = '"cache"'
    return gone


@router.api_route("/console/{rest:path}", methods=["GET", "POST"])
async def show_nothing(visit: AnyVisit) -> Response:
    """Say that there is no such page."""
    del visit
    raise Refused("not_found")
