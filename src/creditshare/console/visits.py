"""The edge of every page: session, one transaction, the page, its event, commit, headers. In this order.

1. The cookie's session is found and, unless the page only refreshes itself, kept alive; its key and its member are held
   against the key table, which knows a revocation or suspension within two seconds. What ended is ended here.
2. A form must carry its session's token and come from our own address.
3. The route runs: services are called as the API calls them. What it did, or showed, is noted by ``Visit.record``.
   A drawing or a file is drawn in no transaction, and a second one does the rest.
4. The page's bytes are final. The event commits to their digest and is appended. Commit; only then the page is sent.

A change looks at the key and the member again within its transaction (``Visit.confirmed``), so that a suspension holds
at once. Whatever fails becomes a page that says so, under the same headers.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute
from sqlalchemy import select
from starlette.exceptions import HTTPException

from creditshare.access.keytable import KnownKey
from creditshare.access.service import TALLIED, Caller
from creditshare.audit.service import Actor, Entry, ExchangeDigests, Recorded
from creditshare.console.render import LANGUAGE_COOKIE, Language, chosen_language, page
from creditshare.crypto.digests import content_digest, sha256_b64url
from creditshare.edge.bodies import media_type, read_body
from creditshare.edge.hardening import HARDENED, policy
from creditshare.edge.tracing import Trace, trace_of
from creditshare.errors import FieldError, IntegrityError, Refused, Unavailable
from creditshare.ids import spell
from creditshare.members.key_table import seal_of_key, seal_of_member
from creditshare.members.service import Member, MemberRole
from creditshare.sandbox.service import business_time
from creditshare.services import Services
from creditshare.sessions.service import Session
from creditshare.storage.engine import WriteSession
from creditshare.wire.confirmation import page_origin
from creditshare.wire.reasons import REASONS
from creditshare.wire.strict_json import canonical

T = TypeVar("T")
log = structlog.get_logger()

HOME: Final = "/console"
LOGIN: Final = "/console/login"
FORM_TYPE: Final = "application/x-www-form-urlencoded"
TOKEN_FIELD: Final = "form_token"  # noqa: S105  a field's name
TOKEN_HEADER: Final = "x-form-token"  # noqa: S105  a header's name
SECRET_FIELDS: Final = frozenset({TOKEN_FIELD, "code"})
MOST_FIELDS: Final = 64
PAGE_HEADERS: Final = {
    **HARDENED,
    "Content-Security-Policy": policy(forms=True),
    "Cache-Control": "no-store",
    "Permissions-Policy": (
        "publickey-credentials-create=(self), publickey-credentials-get=(self), "
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
    ),
}
STATUS: Final[Mapping[str, int]] = {
    "not_found": 404,
    "role_forbidden": 403,
    "form_token_invalid": 403,
    "passkey_invalid": 403,
    "console_code_invalid": 403,
    "member_suspended": 403,
    "validation_failed": 422,
    "rate_limited": 429,
    "unavailable": 503,
    "not_integrated_yet": 404,
    "internal_error": 500,
    "content_too_large": 413,
    "request_timeout": 408,
    "unsupported_media_type": 415,
    "body_malformed": 400,
    "erased": 410,
}
"""What a page's status is where it is not that of something which cannot be done as things stand (409)."""
UNREAD: Final = frozenset({408, 413, 415})
"""Refusals that leave a form unread."""


@dataclass(frozen=True, slots=True)
class Part:
    """How a page takes part: ``quiet`` ones refresh themselves, keep no session alive and show no member's data."""

    quiet: bool = False


def takes_part(**choices: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Set a page's part where it differs from the default."""

    def mark(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        endpoint.__dict__["page_part"] = Part(**choices)
        return endpoint

    return mark


@dataclass(slots=True)
class Visit:
    """One look at a page, or one form sent: who, in which transaction, at which time, and what came of it."""

    request: Request
    services: Services
    session: WriteSession
    holder: Session
    known: KnownKey
    trace: Trace
    language: Language
    now: datetime
    form: Mapping[str, str] = field(default_factory=dict)
    entry: Entry | None = None
    digests: ExchangeDigests | None = None
    drawn: Callable[[], Awaitable[Response]] | None = None
    """Makes the answer of what was read, between two transactions."""
    attempt: str = "view_page"
    """What a refusal of this visit is a refusal of, as the log names it."""

    @property
    def member(self) -> Member:
        """Whose person looks."""
        return self.known.member

    @property
    def caller(self) -> Caller:
        """The holder as services know callers: proved by its session, not by a signed request."""
        return Caller(
            member=self.known.member,
            sub=self.holder.sub,
            kid=self.holder.kid,
            bootstrap=self.known.bootstrap,
            jti="",
            expires_at=0,
            rqh="",
            request_token="",
            request_id=self.trace.request_id,
            seals=self.known.seals,
            traceparent=self.trace.traceparent,
        )

    def record(self, done: Recorded[T]) -> T:
        """Note what must be in the log, and return the service's result."""
        self.entry = done.entry
        return done.value

    def page(self, template: str, *, shows: str, of: Mapping[str, str] | None = None, **context: Any) -> Response:
        """Return a page, noting in the log what it shows, and of what."""
        if self.entry is None:
            self.entry = Entry("view_page", references=of or {}, details={"page": shows})
        return self.plain(template, **context)

    def plain(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """Return a page that says nothing about anybody."""
        return page(template, language=self.language, status=status, **self.frame(), **context)

    def frame(self) -> dict[str, Any]:
        """Return what every page of a session shows around its content."""
        return {
            "member": self.member,
            "holder": self.holder,
            "services": self.services,
            "form_token": self.services.sessions.form_token(self.holder),
            "path": self.request.scope["path"],
            "now": self.services.clock.now(),
        }

    def field(self, name: str) -> str:
        """Return a form's field, trimmed; an absent one is empty."""
        return self.form.get(name, "").strip()

    async def confirmed(self) -> Caller:
        """Return the caller as its key and member stand within this transaction; refuse if either ended."""
        found = await self.session.execute(
            select(seal_of_key(self.holder.kid).label("key"), seal_of_member(self.holder.member_id).label("member"))
        )
        row = found.one()
        caller = await self.services.access.confirmed(self.caller, (bytes(row.key), bytes(row.member)))
        self.known = await self.services.sessions.standing(self.holder, now=self.services.clock.now())
        return replace(caller, member=self.known.member)


class PageRoute(APIRoute):
    """A route that only sessions reach."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the framework's own handler in a visit."""
        run_route = super().get_route_handler()
        part: Part = getattr(self.endpoint, "page_part", Part())

        async def handle(request: Request) -> Response:
            return await Attendance(request, self.name, part).answer(run_route)

        return handle


class Attendance:
    """Answers one request for a page; whatever happens, a page or a redirect comes out."""

    def __init__(self, request: Request, name: str, part: Part) -> None:
        self._request = request
        self._services: Services = request.app.state.services
        self._name = name
        self._part = part
        self._trace = trace_of(request)
        self._language = chosen_language(request)
        self._visit: Visit | None = None

    async def answer(self, run_route: Callable[[Request], Awaitable[Response]]) -> Response:
        """Return the page."""
        try:
            response = await self._attended(run_route)
        except Refused as refusal:
            response = await self._refused(refusal)
        except HTTPException:
            response = self._problem(Refused("not_found"))
        except Unavailable:
            log.warning("unavailable", action=self._name, request_id=self._trace.request_id)
            response = self._problem(Refused("unavailable", retry_after=2))
        except Exception:
            log.exception("failed", action=self._name, request_id=self._trace.request_id)
            response = self._problem(Refused("internal_error"))
        return finished(self._request, response, self._language)

    async def _attended(self, run_route: Callable[[Request], Awaitable[Response]]) -> Response:
        services, now = self._services, self._services.clock.now()
        secret = self._request.cookies.get(cookie_name(services.issuer))
        if not secret:
            return to_login(self._request)
        changes = self._request.method == "POST"
        form = await read_form(self._request, services) if changes else {}
        async with services.database.writing() as session:
            holder = await services.sessions.find(session, secret, now=now, used=not self._part.quiet)
            if holder is None:
                return without_cookie(to_login(self._request), services.issuer)
            self._request.state.member_id = spell("mem", holder.member_id)
            try:
                known = await services.sessions.standing(holder, now=now)
            except Refused as refusal:
                await self._end(session, holder)
                return without_cookie(to_login(self._request, why=refusal.code), services.issuer)
            business = await business_time(session)
            visit = Visit(
                self._request, services, session, holder, known, self._trace, self._language, business.now, form
            )
            self._visit = self._request.state.visit = visit
            standing = services.access.pace(visit.caller)
            if standing.wait_s:
                raise Refused("rate_limited", retry_after=standing.wait_s)
            with services.access.limits.places.take(holder.member_id):
                if changes:
                    require_own_page(self._request, services)
                    given = self._request.headers.get(TOKEN_HEADER) or form.get(TOKEN_FIELD, "")
                    services.sessions.require_form_token(holder, given)
                response = await run_route(self._request)
                if visit.drawn is None:
                    await self._commit(visit, response, form)
                    return response
        # It takes up to a second: nothing of the database is held, and the session is looked at anew.
        with services.access.limits.places.take(holder.member_id):
            response = await visit.drawn()
        async with services.database.writing() as session:
            visit.session = session
            if await services.sessions.find(session, secret, now=now, used=not self._part.quiet) is None:
                return without_cookie(to_login(self._request), services.issuer)
            await services.sessions.standing(holder, now=now)
            await self._commit(visit, response, form)
        return response

    async def _commit(self, visit: Visit, response: Response, form: Mapping[str, str]) -> None:
        """Append the event of what was shown or done, then commit; what is not quiet has one."""
        if visit.entry is not None:
            if self._services.log_is_late():
                raise Unavailable("the log is behind its promise")
            digests = visit.digests or asked_by(self._request, form)
            answered = content_digest(bytes(response.body))
            event = self._services.audit.compose(
                visit.entry,
                actor=visit.caller.actor,
                exchange=replace(digests, answer_digest=answered),
                now=visit.now,
            )
            await self._services.audit.append(visit.session, event)
        elif self._request.method == "POST":
            raise IntegrityError("a change without an event")
        await visit.session.commit()

    async def _end(self, session: WriteSession, holder: Session) -> None:
        ended = await self._services.sessions.end(session, holder)
        business = await business_time(session)
        actor = Actor(spell("mem", holder.member_id), holder.sub, holder.kid, self._trace.request_id)
        event = self._services.audit.compose(
            ended.entry, actor=actor, exchange=asked_by(self._request, {}), now=business.now
        )
        await self._services.audit.append(session, event)
        await session.commit()

    async def _refused(self, refusal: Refused) -> Response:
        """Record a refusal of somebody with a session, as of a signed request; in a transaction of its own."""
        response, visit = self._problem(refusal), self._visit
        if visit is None or refusal.code in TALLIED:
            return response
        try:
            async with self._services.database.writing() as session:
                event = self._services.audit.compose(
                    Entry(visit.attempt, details={"page": self._name}),
                    actor=visit.caller.actor,
                    exchange=replace(
                        asked_by(self._request, visit.form), answer_digest=content_digest(bytes(response.body))
                    ),
                    now=visit.now,
                    outcome=refusal.code,
                )
                await self._services.audit.append(session, event)
                await session.commit()
        except Unavailable:
            return self._problem(Refused("unavailable", retry_after=2))
        return response

    def _problem(self, refusal: Refused) -> Response:
        self._request.state.code = refusal.code
        frame = self._visit.frame() if self._visit else {"services": self._services, "member": None}
        return problem_page(refusal, language=self._language, trace=self._trace, frame=frame)


def asked_by(request: Request, form: Mapping[str, str]) -> ExchangeDigests:
    """Return what stands for a signed request where a session asked: the request's line, and its form's fields.

    A form's own token is left out: it is a secret of the session, and says nothing of what was asked.
    """
    scope = request.scope
    query = scope["query_string"].decode("latin-1")
    line = f"{request.method} {scope['path']}" + (f"?{query}" if query else "")
    fields = {name: value for name, value in form.items() if name not in SECRET_FIELDS}
    return ExchangeDigests(
        sha256_b64url(line.encode()), line, content_digest(canonical(fields) if fields else b""), content_digest(b"")
    )


def problem_page(refusal: Refused, *, language: Language, trace: Trace, frame: Mapping[str, Any]) -> Response:
    """Return a refusal as a page."""
    status = STATUS.get(refusal.code, 409)
    shown = page(
        "problem.html",
        language=language,
        status=status,
        reason=REASONS[refusal.code],
        hint=refusal.extra.get("hint"),
        fields=refusal.fields,
        request_id=trace.request_id,
        **frame,
    )
    if refusal.retry_after is not None:
        shown.headers["Retry-After"] = str(refusal.retry_after)
    return shown


def finished(request: Request, response: Response, language: Language) -> Response:
    """Add the headers of every page."""
    for name, value in {**PAGE_HEADERS, **trace_of(request).headers}.items():
        response.headers.setdefault(name, value)
    response.headers["Content-Language"] = "zh-Hans" if language == "zh" else "en"
    response.headers["Vary"] = "Accept-Language, Cookie"
    if response.status_code in UNREAD:  # the connection ends, so that nobody goes on sending
        response.headers["Connection"] = "close"
    asked = request.query_params.get("lang")
    if asked in {"en", "zh"}:
        response.set_cookie(LANGUAGE_COOKIE, asked, max_age=31_536_000, path=HOME, samesite="strict", httponly=True)
    return response


async def read_form(request: Request, services: Services) -> dict[str, str]:
    """Read a form within the limits of every body; fields twice, too many or of another form are refused."""
    settings = services.settings
    if media_type(request) != FORM_TYPE:
        raise Refused("unsupported_media_type")
    body = await read_body(request, limit=settings.max_body_bytes, time_limit_s=settings.body_time_limit_s)
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=MOST_FIELDS
        )
    except (UnicodeDecodeError, ValueError):
        raise Refused("body_malformed") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise Refused("body_malformed")
    return form


def require_own_page(request: Request, services: Services, *, named: bool = False) -> None:
    """Refuse a form that another page sent.

    Browsers say so themselves (Fetch Metadata); the origin is ``null`` from pages that send no referrer, as ours (Fetch
    section 3.2). Where there is no session to have a token of, one of the two must be ``named``.
    """
    origin, site = request.headers.get("origin", "null"), request.headers.get("sec-fetch-site")
    told = site is not None or origin != "null"
    foreign = site not in {None, "same-origin"} or origin not in {"null", page_origin(services.issuer)}
    if foreign or (named and not told):
        raise Refused("form_token_invalid")


def cookie_name(issuer: str) -> str:
    """Return the name of the session's cookie; its prefix makes browsers insist on Secure, Path=/ and no Domain."""
    return "__Host-creditshare" if is_secure(issuer) else "creditshare"


def is_secure(issuer: str) -> bool:
    """Whether cookies are Secure: always but on this machine's own loopback address."""
    parts = urlsplit(page_origin(issuer))
    return parts.scheme == "https" or parts.hostname != "localhost"


def with_cookie(response: Response, issuer: str, secret: str) -> Response:
    """Give the browser a session's secret."""
    response.set_cookie(
        cookie_name(issuer), secret, path="/", secure=is_secure(issuer), httponly=True, samesite="strict"
    )
    return response


def without_cookie(response: Response, issuer: str) -> Response:
    """Take it back."""
    response.delete_cookie(cookie_name(issuer), path="/", secure=is_secure(issuer), httponly=True, samesite="strict")
    return response


def to_login(request: Request, *, why: str = "") -> Response:
    """Send somebody without a session to where sessions begin."""
    target = LOGIN + (f"?ended={why}" if why else "")
    if request.headers.get("hx-request") == "true":
        return Response(status_code=204, headers={"HX-Redirect": target})
    return see_other(target)


def see_other(target: str) -> Response:
    """Send the browser to another page of ours."""
    return Response(status_code=303, headers={"Location": target})


class Looks:
    """Whose people a page is for. Its instances are the dependencies in routes' signatures."""

    def __init__(self, *roles: MemberRole) -> None:
        self._roles = frozenset(roles)

    async def __call__(self, request: Request) -> Visit:
        """Return the visit, or say that there is no such page: who is not asked to look need not know of it."""
        visit: Visit = request.state.visit
        if visit.member.role not in self._roles:
            raise Refused("not_found")
        return visit


async def anybody(request: Request) -> Visit:
    """Return the visit of whoever has a session."""
    visit: Visit = request.state.visit
    return visit


def wrong(name: str, code: str, detail: str) -> Refused:
    """Return the refusal of a form for one of its fields."""
    return Refused("validation_failed", fields=[FieldError(f"/{name}", code, detail)])
