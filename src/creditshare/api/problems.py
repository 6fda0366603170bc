"""Refusals as RFC 9457 problem documents: the only place that knows HTTP statuses."""

import json
from typing import Any, Final

from fastapi import Request, Response

from creditshare.edge.tracing import trace_of
from creditshare.errors import Refused
from creditshare.wire.reasons import REASONS

STATUS: Final[dict[str, int]] = {
    **dict.fromkeys(("body_malformed", "idempotency_key_missing"), 400),
    **dict.fromkeys(
        (
            "token_missing",
            "token_malformed",
            "header_not_allowed",
            "alg_not_allowed",
            "typ_mismatch",
            "signature_invalid",
            "key_expired",
            "key_revoked",
            "token_expired",
            "token_not_yet_valid",
            "lifetime_too_long",
            "claim_missing",
            "aud_mismatch",
            "method_mismatch",
            "uri_mismatch",
            "query_mismatch",
            "header_mismatch",
            "digest_mismatch",
            "replay_detected",
            "reader_unknown",
        ),
        401,
    ),
    **dict.fromkeys(
        (
            "member_suspended",
            "member_limited",
            "role_forbidden",
            "jurisdiction_not_admitted",
            "purpose_not_allowed",
            "consent_missing",
            "consent_not_yet_valid",
            "consent_paused",
            "consent_revoked",
            "consent_expired",
            "consent_exhausted",
            "consent_scope",
            "warrant_not_in_force",
            "warrant_scope",
            "enrolment_code_invalid",
            "proof_invalid",
            "console_code_invalid",
            "form_token_invalid",
            "passkey_invalid",
        ),
        403,
    ),
    **dict.fromkeys(("not_found", "not_integrated_yet"), 404),
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "request_timeout": 408,
    **dict.fromkeys(
        ("idempotency_in_progress", "state_conflict", "key_exists", "key_limit", "confirmation_ended"), 409
    ),
    "erased": 410,
    "precondition_failed": 412,
    "content_too_large": 413,
    "unsupported_media_type": 415,
    **dict.fromkeys(
        (
            "validation_failed",
            "idempotency_mismatch",
            "notice_required",
            "element_invalid",
            "suite_unknown",
            "key_version_retired",
        ),
        422,
    ),
    "precondition_required": 428,
    **dict.fromkeys(("rate_limited", "quota_exhausted", "enumeration_suspected"), 429),
    "internal_error": 500,
    "unavailable": 503,
}

MEDIA_TYPE: Final = "application/problem+json"
NOT_KEPT: Final = {"Cache-Control": "no-store, no-transform"}
"""Answers belong to their caller alone, and a byte changed on the way would break the signature."""
UNAVAILABLE_RETRY_S: Final = 2


def in_chinese(accept_language: str) -> bool:
    """Whether a reader of an Accept-Language value is told things in Chinese."""
    return accept_language.lower().lstrip().startswith("zh")


def problem(refusal: Refused, *, request_id: str, language: str) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers of a refusal.

    ``language`` is an Accept-Language value; codes are never translated.
    """
    reason = REASONS[refusal.code]
    status = STATUS[refusal.code]
    chinese = in_chinese(language)
    title, detail = (reason.title.zh, reason.detail.zh) if chinese else (reason.title.en, reason.detail.en)
    document: dict[str, Any] = {
        "type": f"/docs/problems#{refusal.code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"urn:creditshare:request:{request_id}",
        "code": refusal.code,
        "retryable": reason.retry,
        "request_id": request_id,
        **refusal.extra,
    }
    if refusal.fields:
        document["errors"] = [{"pointer": f.pointer, "code": f.code, "detail": f.detail} for f in refusal.fields]
    headers = {"Content-Language": "zh" if chinese else "en", "Vary": "Accept-Language"}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.code == "reader_unknown":
        headers["WWW-Authenticate"] = 'Basic realm="log"'  # RFC 7617 §2
    elif status == 401:  # noqa: PLR2004  RFC 6750 §3
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    return status, json.dumps(document, ensure_ascii=False).encode(), headers


def refusal_of(request: Request, refusal: Refused) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers of a refusal as its reader wants it, and leave its code for the request log."""
    request.state.code = refusal.code
    language = request.headers.get("accept-language", "")
    status, body, headers = problem(refusal, request_id=trace_of(request).request_id, language=language)
    return status, body, {**headers, "Content-Type": MEDIA_TYPE}


def refused(request: Request, refusal: Refused) -> Response:
    """Return the unsigned answer of a refusal whose caller is not known."""
    status, body, headers = refusal_of(request, refusal)
    return Response(body, status, headers={**headers, **NOT_KEPT, **trace_of(request).headers})


def framework_code(status: int) -> str:
    """Return our code for a refusal of the framework itself."""
    return {404: "not_found", 405: "method_not_allowed", 415: "unsupported_media_type"}.get(status, "body_malformed")
