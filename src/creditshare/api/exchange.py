"""The edge of every signed exchange: gate, one transaction, event, commit, signature. In this order.

1. Size limits, then the gate (``access``). Until it passes, a refusal is counted and not logged.
2. The transaction opens; its first statement uses up the request and asks the database for the time.
3. The route runs: one service call. What it did is noted by ``Work.record``.
4. The answer's bytes are final. The event commits to their digest and is appended; a successful answer
   is bound to its idempotency key. Commit.
   An answer that takes long to draw is drawn between two transactions: 2 and 3 are rolled back, and 2 and 4 follow.
5. Only then is the answer signed and sent. A refusal rolls all back and takes a transaction of its own,
   in which the request is used up and the refusal is an event.

Questions and reports, which lenders send all day, have a transaction of their own in place of 2 to 4: the
service reads all by one statement and writes all by another, which does the same in the same order
(``access.statements``, ``audit.statements``). What was answered before is told again by the edge's.

The route class does this rather than a dependency, because the framework parses bodies before it solves
dependencies, and nothing of a stranger's body shall be parsed.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar, get_type_hints

import structlog
from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from creditshare.access.limits import Standing
from creditshare.access.quotas import Counted
from creditshare.access.service import TALLIED, Access, Caller, Claim, Told
from creditshare.api.bodies import MAX_DEPTH, field_errors
from creditshare.api.formats import chosen
from creditshare.api.problems import NOT_KEPT, UNAVAILABLE_RETRY_S, framework_code, refusal_of
from creditshare.api.ratelimit import rate_headers
from creditshare.api.spool import Spool
from creditshare.api.work import Admits, Work
from creditshare.audit.service import Audit, Entry, ExchangeDigests, Recorded
from creditshare.clock import Clock
from creditshare.crypto.digests import content_digest
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jws import SigningKey
from creditshare.edge.bodies import check_length, media_type, read_body
from creditshare.edge.tracing import trace_of
from creditshare.errors import IntegrityError, Malformed, Refused, Unavailable
from creditshare.ids import spell
from creditshare.members.service import Member
from creditshare.sandbox.service import business_time
from creditshare.settings import Settings
from creditshare.storage.engine import Database, WriteSession
from creditshare.subjects.service import Subjects
from creditshare.wire.actions import AGAIN
from creditshare.wire.answers import sign_answer
from creditshare.wire.leaf import LogEntry
from creditshare.wire.requests import Received, check_digest
from creditshare.wire.strict_json import decode

T = TypeVar("T")
log = structlog.get_logger()

JSON_TYPE: Final = "application/json"
UNREAD: Final = frozenset({"content_too_large", "request_timeout"})
"""Refusals that leave a body unread."""


class EdgeServices(Protocol):
    """What the edge needs of the services that ``composition.py`` wires."""

    settings: Settings
    clock: Clock
    database: Database
    access: Access
    audit: Audit
    subjects: Subjects
    signing_key: SigningKey
    issuer: str

    def log_is_late(self) -> bool:
        """Whether an event waits for its index longer than promised."""


@dataclass(frozen=True, slots=True)
class Part:
    """How a route takes part in the exchange.

    ``idempotent``: a POST needs an idempotency key. ``own_transaction``: the route opens and commits its own.
    ``direct``: it takes nothing but ``body``, ``work`` and ``services``, and is called without the framework's help.
    ``data``: it is closed while the log is behind its promise. ``quota``: what it counts as in the member's day, before
    its body is looked at, or, if it holds ``many``, by the route itself.
    """

    idempotent: bool = True
    own_transaction: bool = False
    direct: bool = False
    data: bool = True
    quota: Counted | None = None
    many: bool = False
    file_types: tuple[str, ...] = ()
    """Media types of a file that is the body: it is read after the gate and spooled, never held whole."""
    answers: str = JSON_TYPE
    """Media type of a successful answer."""
    also: tuple[str, ...] = ()
    """Media types that the route can answer in as well; it says in which by a header ``Content-Type``."""

    @property
    def offered(self) -> tuple[str, ...]:
        """All media types of a successful answer, the usual one first."""
        return (self.answers, *self.also)


def takes_part(**choices: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Set a route's part in the exchange where it differs from the default."""

    def mark(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        endpoint.__dict__["exchange_part"] = Part(**choices)
        return endpoint

    return mark


class SignedRoute(APIRoute):
    """A route that only signed requests of members reach."""

    @property
    def part(self) -> Part:
        """How it takes part in the exchange."""
        part: Part = getattr(self.endpoint, "exchange_part", Part())
        return part

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the framework's own handler, or the bare route, in the exchange."""
        part = self.part
        admits = admitted(self.dependant)
        run_route = called_directly(self.endpoint, admits) if part.direct else super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await Exchange(request, self.name, part, admits).run(run_route)

        return handle


def admitted(dependant: Dependant) -> Admits:
    """Return whom a signed route lets in; each names its caller in its signature."""
    for needed in dependant.dependencies:
        if isinstance(needed.call, Admits):
            return needed.call
    raise TypeError("a signed route without a caller in its signature")


def called_directly(endpoint: Callable[..., Any], admits: Admits) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Return what runs a route that takes ``body``, ``work`` and ``services``: the same checks in the same order.

    The framework's own handler parses the body a second time and solves the signature anew for each request. On a
    question that is a tenth of all it costs.
    """
    model: type[BaseModel] = get_type_hints(endpoint)["body"]

    async def run(request: Request) -> Response:
        work = await admits(request)
        if work.content is None:
            raise RequestValidationError([{"type": "missing", "loc": ("body",)}])
        try:
            body = model.model_validate(work.content, from_attributes=True)
        except ValidationError as error:
            raise RequestValidationError(
                [{**found, "loc": ("body", *found["loc"])} for found in error.errors()]
            ) from None
        response: Response = await endpoint(body=body, work=work, services=request.app.state.services)
        return response

    return run


class Exchange:
    """One request and its answer."""

    def __init__(self, request: Request, action: str, part: Part, admits: Admits) -> None:
        self._request = request
        self._services: EdgeServices = request.app.state.services
        self._action = action
        self._part = part
        self._admits = admits
        # The first of several of one name, as the framework has it. Read once: each look at it walks through all.
        self._headers: dict[bytes, bytes] = dict(reversed(request.scope["headers"]))
        self._trace = trace_of(request)
        self._body = b""
        self._digest: str | None = None
        self._unread = bool(part.file_types)
        self._standing: Standing | None = None
        self._member: Member | None = None

    async def run(self, run_route: Callable[[Request], Awaitable[Response]]) -> Response:
        """Answer the request; whatever happens, a problem document or a signed answer comes out."""
        try:
            caller = await self._services.access.authenticate(
                await self._received_first(),
                request_id=self._trace.request_id,
                traceparent=self._trace.traceparent,
                peer=self._request.client.host if self._request.client else None,
            )
        except Refused as refusal:
            return self._unsigned(refusal)
        except Unavailable:
            return self._unsigned(Refused("unavailable", retry_after=UNAVAILABLE_RETRY_S))
        except IntegrityError as error:
            # Not who asks, but what the database says of this key; the key table told the operator which row.
            log.error("integrity", action=self._action, request_id=self._trace.request_id, kind=str(error))  # noqa: TRY400  told there already
            return self._unsigned(Refused("internal_error"))
        self._request.state.member_id = spell("mem", caller.member_id)
        return await self._admit(caller, run_route)

    async def _received_first(self) -> Received:
        """Return what the gate decides by: all of a request, or of one with a file the header alone."""
        settings = self._services.settings
        if self._part.file_types:
            check_length(self._request, limit=settings.max_batch_bytes)
            return replace(self._received(), body_follows=True)
        self._body = await read_body(
            self._request, limit=settings.max_body_bytes, time_limit_s=settings.body_time_limit_s
        )
        return self._received()

    async def _admit(self, caller: Caller, run_route: Callable[[Request], Awaitable[Response]]) -> Response:
        """Answer within the member's pace and day and this process's places; beyond them nothing is written.

        What fails, fails here, also while a refusal is being recorded: it is logged, and the answer is signed.
        """
        access = self._services.access
        self._member, self._standing = caller.member, access.pace(caller)
        if self._standing.wait_s:
            return self._signed_problem(caller, Refused("rate_limited", retry_after=self._standing.wait_s), None)
        try:
            with access.limits.places.take(caller.member_id):
                if self._part.quota is not None and not self._part.many:
                    await access.quotas.spend(caller.member, self._part.quota)
                answer = self._answer_file if self._part.file_types else self._answer
                return await answer(caller, run_route)
        except Refused as refusal:
            if refusal.code in TALLIED:
                access.tally_later(caller, refusal.code)
            return self._signed_problem(caller, refusal, None)
        except Unavailable:
            log.warning("unavailable", action=self._action, request_id=self._trace.request_id)
            return self._signed_problem(caller, Refused("unavailable", retry_after=UNAVAILABLE_RETRY_S), None)
        except IntegrityError:
            # Told to the operator in full, to the member as nothing but a failure.
            log.exception("integrity", action=self._action, request_id=self._trace.request_id)
            return self._signed_problem(caller, Refused("internal_error"), None)
        except Exception:
            # The edge: whatever it was is logged, nothing internal leaves.
            log.exception("failed", action=self._action, request_id=self._trace.request_id)
            return self._signed_problem(caller, Refused("internal_error"), None)

    async def _answer_file(self, caller: Caller, run_route: Callable[[Request], Awaitable[Response]]) -> Response:
        """Read the file of a request that the gate let in by its header; use none of it before its digest is good."""
        settings = self._services.settings
        # What the member signed; it stands for the body in the event of a refusal that needs no body.
        self._digest = caller.signed_digest
        try:
            self._check_file_type()
            self._admits.check(caller.member)
        except Refused as refusal:
            return await self._refuse(caller, refusal)
        with Spool(settings.data) as spool:
            try:
                async with asyncio.timeout(settings.batch_time_limit_s):
                    await spool.fill(self._request.stream(), limit=settings.max_batch_bytes)
                self._unread = False
                check_digest(caller.signed_digest, spool.digest)
            except Refused as refusal:
                return self._unsigned(refusal)
            except TimeoutError:
                return self._unsigned(Refused("request_timeout", retry_after=1))
            except ClientDisconnect:
                return self._unsigned(Refused("body_malformed"))  # nobody is there to read it; nothing happened
            self._request.state.spool = spool
            return await self._answer(caller, run_route)

    async def _answer(self, caller: Caller, run_route: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            return await self._authenticated(caller, run_route)
        except Refused as refusal:
            return await self._refuse(caller, refusal)

    async def _authenticated(self, caller: Caller, run_route: Callable[[Request], Awaitable[Response]]) -> Response:
        if self._part.data and self._services.log_is_late():
            raise Unavailable("the log is behind its promise")
        content = self._content()
        accept = self._headers.get(b"accept", b"*/*")
        if accept != b"*/*" and chosen(accept.decode("latin-1"), self._part.offered) is None:
            raise Refused("not_acceptable")
        work = Work(caller, self._request_digest(), self._claim(caller), content)
        self._request.state.work = work
        if self._part.own_transaction:
            response = await self._routed(run_route)
            if work.committed is not None:
                return self._signed(caller, response.status_code, bytes(response.body), work.committed, work.headers)
        async with self._services.database.writing() as session:
            work.session = session
            claimed = await self._services.access.claim_request(session, caller)
            work.caller, work.now = claimed.caller, claimed.now
            self._admits.check(work.caller.member)
            if work.retell is not None:
                work.claim = None  # an answer of its own, or none that is kept
                return await self._commit(work, session, await work.retell(work))
            if work.claim is not None:
                told = await self._services.access.claim_key(session, work.claim)
                if told is not None:
                    return await self._again(work, session, told)
            if self._part.own_transaction:
                raise Unavailable("the stored answer was forgotten between two looks at it")
            response = await self._routed(run_route)
            if work.drawn is None:
                return await self._commit(work, session, response)
        return await self._drawn(work, await work.drawn())

    async def _drawn(self, work: Work, response: Response) -> Response:
        """Tell what was drawn of what was read: the request is used up now, and its event appended."""
        async with self._services.database.writing() as session:
            work.session = session
            claimed = await self._services.access.claim_request(session, work.caller)
            work.caller, work.now = claimed.caller, claimed.now
            self._admits.check(work.caller.member)
            return await self._commit(work, session, response)

    async def _commit(self, work: Work, session: WriteSession, response: Response) -> Response:
        body, entry, event = bytes(response.body), work.entry, None
        if entry is not None and work.now is not None:
            event = self._services.audit.compose(
                entry, actor=work.caller.actor, exchange=self._digests(work, body), now=work.now
            )
            await self._services.audit.append(session, event)
            if work.claim is not None:
                await self._services.access.keep_answer(
                    session, work.claim, status=response.status_code, body=body, subject=entry.subject
                )
        elif self._request.method != "GET":
            raise IntegrityError("an action without an event")
        await session.commit()
        return self._signed(work.caller, response.status_code, body, event.log_entry if event else None, work.headers)

    async def _again(self, work: Work, session: WriteSession, told: Told) -> Response:
        """Tell the stored answer again: a new event, a new signature, the same bytes, nothing done twice."""
        keys = None
        if told.subject_id is not None:
            keys = (await self._services.subjects.read(session, told.subject_id)).keys
        if work.claim is None:
            raise IntegrityError("a stored answer without a claim")
        body = self._services.access.open_answer(work.claim, told, subject=keys)
        work.record(Recorded(None, Entry(self._action + AGAIN, subject=keys)))
        work.claim = None
        work.headers["Idempotent-Replayed"] = "true"
        return await self._commit(work, session, Response(body, told.status, media_type=JSON_TYPE))

    async def _routed(self, run_route: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            return await run_route(self._request)
        except RequestValidationError as error:
            found: Sequence[ErrorDetails] = error.errors()
            raise Refused("validation_failed", fields=field_errors(found)) from None
        except HTTPException as error:
            raise Refused(framework_code(error.status_code)) from None

    async def _refuse(self, caller: Caller, refusal: Refused) -> Response:
        """Record a refusal of a known member, using up its request, in a transaction of its own."""
        try:
            async with self._services.database.writing() as session:
                if refusal.code not in {"replay_detected", "key_revoked", "key_expired"}:
                    now = (await self._services.access.claim_request(session, caller)).now
                else:
                    now = (await business_time(session)).now
                if refusal.code in TALLIED:
                    await self._services.access.tally(session, caller, refusal.code, now=self._services.clock.now())
                    await session.commit()
                    return self._signed_problem(caller, refusal, None)
                status, body, headers = refusal_of(self._request, refusal)
                work: Work | None = getattr(self._request.state, "work", None)
                event = self._services.audit.compose(
                    Entry(self._action, work.purpose if work else ""),
                    actor=caller.actor,
                    exchange=ExchangeDigests(
                        caller.rqh, caller.request_token, self._request_digest(), content_digest(body)
                    ),
                    now=now,
                    outcome=refusal.code,
                )
                await self._services.audit.append(session, event)
                await session.commit()
                return self._signed(caller, status, body, event.log_entry, headers)
        except Refused as harder:
            # The request was a replay, or its key was revoked meanwhile: that is the truer reason.
            return await self._refuse(caller, harder)

    def _request_digest(self) -> str:
        return self._digest or content_digest(self._body)

    def _check_file_type(self) -> None:
        if media_type(self._request) not in self._part.file_types:
            raise Refused("unsupported_media_type")

    def _content(self) -> object:
        if not self._body:
            return None
        if media_type(self._request) != JSON_TYPE:
            raise Refused("unsupported_media_type")
        try:
            return decode(self._body, max_depth=MAX_DEPTH)
        except Malformed:
            raise Refused("body_malformed") from None

    def _claim(self, caller: Caller) -> Claim | None:
        if self._request.method != "POST" or not self._part.idempotent:
            return None
        given = self._headers.get(b"idempotency-key")
        key = None if given is None else given.decode("latin-1")
        # Not ``request.url``: that is put together from the Host header, which nobody signs.
        path = self._request.scope["path"]
        asked = self._body
        if self._digest is not None:
            asked = self._request.scope["query_string"] + b"|" + self._digest.encode()
        return self._services.access.claim_of(caller.member_id, route=path, key=key, method="POST", body=asked)

    def _received(self) -> Received:
        headers, raw = self._headers, self._request.scope["headers"]
        return Received(
            method=self._request.method,
            raw_path=self._request.scope["raw_path"].partition(b"?")[0],
            raw_query=self._request.scope["query_string"],
            authorization=tuple(value for name, value in raw if name == b"authorization"),
            body=self._body,
            idempotency_key=headers.get(b"idempotency-key"),
            if_match=headers.get(b"if-match"),
            content_encoding=headers.get(b"content-encoding"),
        )

    def _digests(self, work: Work, body: bytes) -> ExchangeDigests:
        return ExchangeDigests(work.caller.rqh, work.caller.request_token, work.request_digest, content_digest(body))

    def _unsigned(self, refusal: Refused) -> Response:
        status, body, headers = refusal_of(self._request, refusal)
        self._unread = self._unread or refusal.code in UNREAD
        return self._finished(status, body, headers)

    def _signed_problem(self, caller: Caller, refusal: Refused, entry: LogEntry | None) -> Response:
        status, body, headers = refusal_of(self._request, refusal)
        return self._signed(caller, status, body, entry, headers)

    def _signed(
        self, caller: Caller, status: int, body: bytes, entry: LogEntry | None, headers: Mapping[str, str]
    ) -> Response:
        signature = sign_answer(
            self._services.signing_key,
            issuer=self._services.issuer,
            audience=spell("mem", caller.member_id),
            iat=int(self._services.clock.now().timestamp()),
            jti=b64url_encode(secrets.token_bytes(16)),
            rqh=caller.rqh,
            status=status,
            body=body,
            log=None if entry is None else entry.to_mapping(),
        )
        return self._finished(status, body, {"Content-Type": JSON_TYPE, **headers, "CS-Signature": signature})

    def _finished(self, status: int, body: bytes, headers: Mapping[str, str]) -> Response:
        told = {**headers, **NOT_KEPT, **self._trace.headers}
        if self._unread:  # the connection ends, so that nobody goes on sending
            told["Connection"] = "close"
        if self._standing is not None and self._member is not None:
            access, counted = self._services.access, self._part.quota
            day = access.quotas.standing(self._member, counted) if counted else None
            told |= rate_headers(access.limits.members.rate, self._standing, day)
        return Response(body, status, headers=told)
