"""A member's first key: the only write without Authorization. The one-time code and the new key's own proof speak."""

import hashlib
import hmac
import json
from uuid import UUID

from fastapi import Request, Response
from pydantic import ValidationError

from creditshare.access.service import Claim, public_id
from creditshare.api.bodies import MAX_DEPTH, field_errors
from creditshare.api.exchange import JSON_TYPE
from creditshare.api.problems import NOT_KEPT, UNAVAILABLE_RETRY_S, refused
from creditshare.api.schemas.keys import KeyIn, KeyOut
from creditshare.audit.service import Actor, ExchangeDigests
from creditshare.crypto.digests import content_digest, sha256_b64url
from creditshare.edge.bodies import read_body
from creditshare.edge.tracing import Trace, trace_of
from creditshare.errors import FieldError, Malformed, Refused, Unavailable
from creditshare.ids import spell
from creditshare.members.keys import WrongCode, checked_jwk
from creditshare.services import Services
from creditshare.wire.answers import sign_answer
from creditshare.wire.strict_json import decode


async def enrol_first_key(request: Request, services: Services, member_text: str) -> Response:
    """Enrol the first key. Idempotent per enrolment code; the answer is signed with ``rqh`` = hash of ``proof``."""
    trace = trace_of(request)
    try:
        peer = request.client.host if request.client else None
        services.access.require_patience(peer)
        settings = services.settings
        body = await read_body(request, limit=settings.max_body_bytes, time_limit_s=settings.body_time_limit_s)
        answer = await _enrol(request, services, member_text, body, trace)
    except Unavailable:
        return refused(request, Refused("unavailable", retry_after=UNAVAILABLE_RETRY_S))
    except Refused as refusal:
        services.access.note_failure(peer)
        return refused(request, refusal)
    answer.headers.update(trace.headers)
    return answer


async def _enrol(request: Request, services: Services, member_text: str, body: bytes, trace: Trace) -> Response:
    given = _parse(request, body)
    key = checked_jwk(given.jwk)
    try:
        member_id = public_id("mem", member_text)
    except Refused:
        raise Refused("enrolment_code_invalid") from None
    code = given.enrolment_code or ""
    claim = _claim(services, request, member_id, code, body)
    try:
        async with services.database.writing() as session:
            now = services.clock.now()
            told = await services.access.claim_key(session, claim)
            if told is not None:
                answer = services.access.open_answer(claim, told, subject=None)
                return _signed(services, given.proof, member_id, answer, replayed=True)
            done = await services.member_keys.enrol_first(
                session, member_id, jwk=given.jwk, proof=given.proof, code=code, issuer=services.issuer, now=now
            )
            answer = json.dumps(KeyOut.of(done.value, now=now).model_dump(mode="json")).encode()
            event = services.audit.compose(
                done.entry,
                actor=Actor(spell("mem", member_id), "", key.kid, trace.request_id, trace.traceparent),
                exchange=ExchangeDigests(
                    sha256_b64url(given.proof.encode()), given.proof, content_digest(body), content_digest(answer)
                ),
                now=now,
            )
            await services.audit.append(session, event)
            await services.access.keep_answer(session, claim, status=201, body=answer, subject=None)
            await session.commit()
    except WrongCode as wrong:
        async with services.database.writing() as session:
            await services.member_keys.count_wrong_code(session, wrong.member_id, now=services.clock.now())
            await session.commit()
        raise
    return _signed(services, given.proof, member_id, answer, log=event.log_entry.to_mapping())


def _parse(request: Request, body: bytes) -> KeyIn:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON_TYPE:
        raise Refused("unsupported_media_type")
    try:
        decode(body, max_depth=MAX_DEPTH)
        return KeyIn.model_validate_json(body)
    except Malformed:
        raise Refused("body_malformed") from None
    except ValidationError as error:
        raise Refused("validation_failed", fields=field_errors(error.errors())) from None


def _claim(services: Services, request: Request, member_id: UUID, code: str, body: bytes) -> Claim:
    header = request.headers.get("idempotency-key")
    if header is None:
        raise Refused("idempotency_key_missing")
    # The scope is the enrolment code, so that nobody without it can take a key or read an answer.
    scope = hmac.digest(code.encode(), b"creditshare/enrolment", hashlib.sha256)
    try:
        return services.access.claim_of(
            member_id, route=f"enrolment|{scope.hex()}", key=header, method="POST", body=body
        )
    except Refused as refusal:
        raise Refused(
            refusal.code, fields=[FieldError("/headers/Idempotency-Key", "format", "1 to 255 printable characters")]
        ) from None


def _signed(
    services: Services,
    proof: str,
    member_id: UUID,
    body: bytes,
    *,
    log: dict[str, object] | None = None,
    replayed: bool = False,
) -> Response:
    signature = sign_answer(
        services.signing_key,
        issuer=services.issuer,
        audience=spell("mem", member_id),
        iat=int(services.clock.now().timestamp()),
        jti=sha256_b64url(proof.encode() + body)[:32],
        rqh=sha256_b64url(proof.encode()),
        status=201,
        body=body,
        log=log,
    )
    headers = {"Content-Type": JSON_TYPE, "CS-Signature": signature, **NOT_KEPT}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(body, 201, headers=headers)
