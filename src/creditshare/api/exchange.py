"""The edge of every signed exchange: gate, one transaction, event, commit, signature. In this order.

1. Size limits, then the gate (``access``). Until it passes, a refusal is counted and not logged.
2. The transaction opens; its first statement uses up the request and asks the database for the time.
3. The route runs: one service call. What it did is noted by ``Work.record``.
4. The answer's bytes are final. The event commits to their digest and is appended; a successful answer
   is bound to its idempotency key. Commit.
5. Only then is the answer signed and sent. A refusal rolls all back and takes a transaction of its own,
   in which the request is used up and the refusal is an event.

The route class does this rather than a dependency, because the framework parses bodies before it solves
dependencies, and nothing of a stranger's body shall be parsed.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

import structlog
from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from creditshare.access.service import TALLIED, Access, Caller, Claim
from creditshare.api.problems import MEDIA_TYPE, field_errors, problem
from creditshare.api.spool import Spool
from creditshare.api.work import Admits, Work
from creditshare.audit.service import Actor, Audit, Entry, ExchangeDigests, Recorded
from creditshare.clock import Clock
from creditshare.crypto.digests import content_digest
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jws import SigningKey
from creditshare.errors import IntegrityError, Malformed, Refused, Unavailable
from creditshare.ids import spell
from creditshare.sandbox.service import business_time
from creditshare.settings import Settings
from creditshare.storage.engine import Database, WriteSession
from creditshare.subjects.service import Subjects
from creditshare.telemetry import REFUSALS, REQUESTS
from creditshare.wire.answers import sign_answer
from creditshare.wire.leaf import LogEntry
from creditshare.wire.requests import Received, check_digest
from creditshare.wire.strict_json import decode

T = TypeVar("T")
log = structlog.get_logger()

MAX_DEPTH: Final = 16
UNAVAILABLE_RETRY_S: Final = 2
JSON_TYPE: Final = "application/json"
REQUEST_ID_LENGTH: Final = 64


class EdgeServices(Protocol):
    """What the edge needs of the services that ``app.py`` wires."""

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
class Policy:
    """How a route takes part: does it write an event, does it need an idempotency key, who opens its transaction."""

    idempotent: bool = True
    own_transaction: bool = False
    data: bool = True
    file_types: tuple[str, ...] = ()
    """Media types of a file that is the body: it is read after the gate and spooled, never held whole."""


def policy(**choices: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Set a route's part in the exchange where it differs from the default."""

    def mark(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        endpoint.__dict__["exchange_policy"] = Policy(**choices)
        return endpoint

    return mark


class SignedRoute(APIRoute):
    """A route that only signed requests of members reach."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the framework's own handler in the exchange."""
        run_route = super().get_route_handler()
        chosen = getattr(self.endpoint, "exchange_policy", Policy())
        admits = admitted(self.dependant)

        async def handle(request: Request) -> Response:
            return await Exchange(request, self.name, chosen, admits).run(run_route)

        return handle


def admitted(dependant: Dependant) -> Admits:
    """Return whom a signed route lets in; each names its caller in its signature."""
    for needed in dependant.dependencies:
        if isinstance(needed.call, Admits):
            return needed.call
    raise TypeError("a signed route without a caller in its signature")


class Exchange:
    """One request and its answer."""

    def __init__(self, request: Request, action: str, chosen: Policy, admits: Admits) -> None:
        self._request = request
        self._services: EdgeServices = request.app.state.services
        self._action = action
        self._policy = chosen
        self._admits = admits
        self._request_id = request_id(request)
        self._body = b""
        self._digest: str | None = None
        self._began = time.perf_counter()

    async def run(self, run_route: Callable[[Request], Awaitable[Response]]) -> Response:
        """Answer the request; whatever happens, a problem document or a signed answer comes out."""
        if self._policy.file_types:
            return await self._run_with_file(run_route)
        try:
            self._body = await read_body(self._request, limit=self._services.settings.max_body_bytes)
            caller = await self._services.access.authenticate(self._received(), request_id=self._request_id)
        except Refused as refusal:
            return self._unsigned(refusal)
        except Unavailable:
            return self._unsigned(Refused("unavailable", retry_after=UNAVAILABLE_RETRY_S))
        return await self._answer(caller, run_route)

    async def _run_with_file(self, run_route: Callable[[Request], Awaitable[Response]]) -> Response:
        """Let the gate decide by the header alone; only then read the body, and use none of it before its digest."""
        settings = self._services.settings
        try:
            check_length(self._request, limit=settings.max_batch_bytes)
            caller = await self._services.access.authenticate(
                replace(self._received(), body_follows=True), request_id=self._request_id
            )
        except Refused as refusal:
            return self._unsigned(refusal)
        except Unavailable:
            return self._unsigned(Refused("unavailable", retry_after=UNAVAILABLE_RETRY_S))
        # What the member signed; it stands for the body in the event of a refusal that needs no body.
        self._digest = caller.signed_digest
        try:
            self._check_file_type()
            self._admits.check(caller.member)
        except Refused as refusal:
            return await self._refuse(caller, refusal)
        with Spool(settings.data) as spool:
            try:
                await spool.fill(self._request.stream(), limit=settings.max_batch_bytes)
                check_digest(caller.signed_digest, spool.digest)
            except Refused as refusal:
                return self._unsigned(refusal)
            except ClientDisconnect:
                return self._unsigned(Refused("body_malformed"))  # nobody is there to read it; nothing happened
            self._request.state.spool = spool
            return await self._answer(caller, run_route)

    async def _answer(self, caller: Caller, run_route: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            return await self._authenticated(caller, run_route)
        except Refused as refusal:
            return await self._refuse(caller, refusal)
        except Unavailable:
            log.warning("unavailable", action=self._action, request_id=self._request_id)
            return self._signed_problem(caller, Refused("unavailable", retry_after=UNAVAILABLE_RETRY_S), None)
        except IntegrityError:
            # Told to the operator in full, to the member as nothing but a failure.
            log.exception("integrity", action=self._action, request_id=self._request_id)
            return self._signed_problem(caller, Refused("internal_error"), None)
        except Exception:
            # The edge: whatever it was is logged, nothing internal leaves.
            log.exception("failed", action=self._action, request_id=self._request_id)
            return self._signed_problem(caller, Refused("internal_error"), None)

    async def _authenticated(self, caller: Caller, run_route: Callable[[Request], Awaitable[Response]]) -> Response:
        if self._policy.data and self._services.log_is_late():
            raise Unavailable("the log is behind its promise")
        self._check_body()
        work = Work(caller, self._request_digest(), self._claim(caller))
        self._request.state.work = work
        if self._policy.own_transaction:
            response = await self._routed(run_route)
            if work.committed is not None:
                return self._signed(caller, response.status_code, bytes(response.body), work.committed, work.headers)
        async with self._services.database.writing() as session:
            work.session = session
            claimed = await self._services.access.claim_request(session, caller)
            work.caller, work.now = claimed.caller, claimed.now
            self._admits.check(work.caller.member)
            if work.claim is not None and not self._policy.own_transaction:
                told = await self._services.access.claim_key(session, work.claim, now=work.now)
                if told is not None:
                    return await self._again(work, session, told)
            response = await self._routed(run_route) if not self._policy.own_transaction else await self._retell(work)
            return await self._commit(work, session, response)

    async def _commit(self, work: Work, session: WriteSession, response: Response) -> Response:
        body, entry, event = bytes(response.body), work.entry, None
        if entry is not None and work.now is not None:
            event = self._services.audit.compose(
                entry, actor=_actor(work.caller), exchange=self._digests(work, body), now=work.now
            )
            await self._services.audit.append(session, event)
            if work.claim is not None and not self._policy.own_transaction:
                await self._services.access.keep_answer(
                    session, work.claim, status=response.status_code, body=body, subject=entry.subject
                )
        elif self._request.method != "GET":
            raise IntegrityError("an action without an event")
        await session.commit()
        return self._signed(work.caller, response.status_code, body, event.log_entry if event else None, work.headers)

    async def _again(self, work: Work, session: WriteSession, told: Any) -> Response:
        """Tell the stored answer again: a new event, a new signature, the same bytes, nothing done twice."""
        keys = None
        if told.subject_id is not None:
            keys = (await self._services.subjects.read(session, told.subject_id)).keys
        if work.claim is None:
            raise IntegrityError("a stored answer without a claim")
        body = self._services.access.open_answer(work.claim, told, subject=keys)
        work.record(Recorded(None, Entry(f"{self._action}_again", subject=keys)))
        work.claim = None
        work.headers["Idempotent-Replayed"] = "true"
        return await self._commit(work, session, Response(body, told.status, media_type=JSON_TYPE))

    async def _retell(self, work: Work) -> Response:
        retell: Callable[[Work], Awaitable[Response]] = self._request.state.retell
        return await retell(work)

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
                status, body, headers = self._problem(refusal)
                work: Work | None = getattr(self._request.state, "work", None)
                event = self._services.audit.compose(
                    Entry(self._action, work.purpose if work else ""),
                    actor=_actor(caller),
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
        except Unavailable:
            return self._signed_problem(caller, Refused("unavailable", retry_after=UNAVAILABLE_RETRY_S), None)

    def _request_digest(self) -> str:
        return self._digest or content_digest(self._body)

    def _check_file_type(self) -> None:
        if media_type(self._request) not in self._policy.file_types:
            raise Refused("unsupported_media_type")

    def _check_body(self) -> None:
        if not self._body:
            return
        if media_type(self._request) != JSON_TYPE:
            raise Refused("unsupported_media_type")
        try:
            decode(self._body, max_depth=MAX_DEPTH)
        except Malformed:
            raise Refused("body_malformed") from None

    def _claim(self, caller: Caller) -> Claim | None:
        if self._request.method != "POST" or not self._policy.idempotent:
            return None
        key = self._request.headers.get("idempotency-key")
        path = self._request.url.path
        asked = self._body
        if self._digest is not None:
            asked = self._request.scope["query_string"] + b"|" + self._digest.encode()
        return self._services.access.claim_of(caller.member_id, route=path, key=key, method="POST", body=asked)

    def _received(self) -> Received:
        headers = self._request.headers
        raw: list[tuple[bytes, bytes]] = list(self._request.scope["headers"])
        return Received(
            method=self._request.method,
            raw_path=self._request.scope["raw_path"].partition(b"?")[0],
            raw_query=self._request.scope["query_string"],
            authorization=tuple(value for name, value in raw if name == b"authorization"),
            body=self._body,
            idempotency_key=_raw(headers.get("idempotency-key")),
            if_match=_raw(headers.get("if-match")),
            content_encoding=_raw(headers.get("content-encoding")),
        )

    def _digests(self, work: Work, body: bytes) -> ExchangeDigests:
        return ExchangeDigests(work.caller.rqh, work.caller.request_token, work.request_digest, content_digest(body))

    def _problem(self, refusal: Refused) -> tuple[int, bytes, dict[str, str]]:
        REFUSALS.labels(code=refusal.code).inc()
        language = self._request.headers.get("accept-language", "")
        status, body, headers = problem(refusal, request_id=self._request_id, language=language)
        return status, body, {**headers, "Content-Type": MEDIA_TYPE}

    def _unsigned(self, refusal: Refused) -> Response:
        status, body, headers = self._problem(refusal)
        return self._finish(Response(body, status, headers=headers))

    def _signed_problem(self, caller: Caller, refusal: Refused, entry: LogEntry | None) -> Response:
        status, body, headers = self._problem(refusal)
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
        response = Response(body, status, headers={"Content-Type": JSON_TYPE, **headers})
        response.headers["CS-Signature"] = signature
        return self._finish(response)

    def _finish(self, response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store, no-transform"
        response.headers["X-Request-Id"] = self._request_id
        REQUESTS.labels(action=self._action, status=str(response.status_code)).observe(
            time.perf_counter() - self._began
        )
        return response


def check_length(request: Request, *, limit: int) -> None:
    """Refuse a body that says of itself that it is too large, before any of it is read."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
        raise Refused("content_too_large")


def media_type(request: Request) -> str:
    """Return the body's media type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, *, limit: int) -> bytes:
    """Read a body of at most ``limit`` bytes; more is refused before it is held in memory."""
    check_length(request, limit=limit)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise Refused("content_too_large")
        parts.append(part)
    body = b"".join(parts)
    # The framework keeps what `body()` once read; giving it the bytes spares it a stream that is used up.
    request._body = body  # noqa: SLF001
    return body


def request_id(request: Request) -> str:
    """Return the caller's request id if it is harmless text, else a new one (alias ``x-fapi-interaction-id``)."""
    given = request.headers.get("x-request-id") or request.headers.get("x-fapi-interaction-id") or ""
    harmless = given.isascii() and given.replace("-", "").replace("_", "").isalnum()
    return given if harmless and len(given) <= REQUEST_ID_LENGTH else b64url_encode(secrets.token_bytes(12))


def framework_code(status: int) -> str:
    """Return our code for a refusal of the framework itself."""
    return {404: "not_found", 405: "method_not_allowed", 415: "unsupported_media_type"}.get(status, "body_malformed")


def _actor(caller: Caller) -> Actor:
    return Actor(spell("mem", caller.member_id), caller.sub, caller.kid, caller.request_id)


def _raw(value: str | None) -> bytes | None:
    return None if value is None else value.encode("latin-1")
