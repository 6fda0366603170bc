"""The OpenAPI 3.1 document: what the framework derives from the routes, completed by what it cannot know.

Signature, idempotency and the caller's role come from the route itself (``SignedRoute``, ``takes_part``, ``callers``),
tags from the docstrings of the routes' modules. Two tables stand here because no signature holds them: ``REFUSALS``,
the codes of the domain that an operation may answer, and ``VOCABULARIES``, the lists behind plain text fields. The
tests hold every answer they get against this document, so a row that is missing is noticed.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from creditshare import __version__
from creditshare.api.codelists import CODE_LISTS
from creditshare.api.exchange import Part, SignedRoute, admitted
from creditshare.api.preconditions import named_versions
from creditshare.api.problems import MEDIA_TYPE, STATUS
from creditshare.api.ratelimit import LEFT, POLICY
from creditshare.api.readers import may_read, require_reader
from creditshare.api.work import Admits
from creditshare.batches.service import JobStatus
from creditshare.consents import rules as consents
from creditshare.erasures import rules as erasures
from creditshare.indebtedness import rules as indebtedness
from creditshare.members.service import MemberRole, ProposalAction
from creditshare.members.standing import Status, may
from creditshare.members.tiers import TIERS, WHY
from creditshare.warrants.rules import LEGAL_BASES, SCOPES, STATUSES
from creditshare.warrants.service import KIND as WARRANT

DESCRIPTION: Final = """\
Every request of a member is a JWT signed by the member's key over method, address and body, used once; every answer is
signed back in `CS-Signature` (profile CSR-1, `docs/protocol.md`). Begin at `/.well-known/creditshare`. On the command
line `creditshare call METHOD PATH` signs and sends any request and checks the answer.

Refusals are problem documents (RFC 9457); decide by `code`, whose meanings stand at `/docs/problems`. Requests refuse
unknown members. Answers may grow: accept members you do not know, and values beyond those of `x-extensible-enum`.
"""
SCHEME: Final = "CSR-1"
SIGNATURE: Final[dict[str, Any]] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": (
        "A compact JWS made anew for each request (profile CSR-1, `docs/protocol.md`). Header: exactly `alg` = ES256, "
        "`typ` = cs-req+jwt and `kid`. Claims: `iss` the member, `sub` who acts there, `aud` the `issuer` of "
        "/.well-known/creditshare, `iat` and `exp` at most 120 s apart, a `jti` used once, `htm` and `htu`, `htq` with "
        "a query string, `cdg` (RFC 9530) with a body, `idk` with Idempotency-Key, `ifm` with If-Match, `ver` = 1."
    ),
}
READER: Final = "log-reader"
READER_TOKEN: Final[dict[str, Any]] = {
    "type": "http",
    "scheme": "basic",
    "description": "Needed where discovery says `log.readers` = members. Both parts are what /v1/me/log-token answers.",
}

_SUBJECT: Final = ("suite_unknown", "key_version_retired", "element_invalid", "erased")
_CONSENT: Final = (
    "consent_missing",
    "consent_not_yet_valid",
    "consent_paused",
    "consent_revoked",
    "consent_expired",
    "consent_exhausted",
    "consent_scope",
)
_PROVIDED: Final = tuple(code for code in _CONSENT if code != "consent_scope")
_CHANGED: Final = ("state_conflict", "erased")
REFUSALS: Final[dict[str, tuple[str, ...]]] = {
    "is_ready": ("unavailable",),
    "show_checkpoint": ("not_integrated_yet", "unavailable"),
    "show_cosigned_checkpoint": ("not_integrated_yet", "unavailable"),
    "show_checkpoint_of": ("validation_failed", "not_found", "unavailable"),
    "show_entries": ("not_found", "not_integrated_yet", "unavailable"),
    "show_tile": ("not_found", "not_integrated_yet", "unavailable"),
    "show_inclusion_proof": (
        "reader_unknown",
        "validation_failed",
        "not_found",
        "not_integrated_yet",
        "rate_limited",
        "unavailable",
    ),
    "show_consistency_proof": ("not_found", "not_integrated_yet", "unavailable"),
    "show_log_health": ("unavailable", "rate_limited"),
    "show_opening": ("role_forbidden", "erased", "validation_failed"),
    "advance_clock": ("state_conflict",),
    "add_key": (
        "enrolment_code_invalid",
        "proof_invalid",
        "role_forbidden",
        "key_exists",
        "key_limit",
        "state_conflict",
    ),
    "propose_member": ("state_conflict",),
    "approve_member": ("state_conflict",),
    "propose_change": ("state_conflict",),
    "propose_quotas": ("state_conflict",),
    "suspend_member": ("state_conflict",),
    "limit_member": ("state_conflict",),
    "begin_due_diligence": ("state_conflict",),
    "reject_proposal": ("state_conflict",),
    "revoke_key": ("state_conflict",),
    "retire_key": ("state_conflict",),
    "create_console_link": ("member_suspended",),
    "confirm_passkey": ("not_found", "state_conflict"),
    "revoke_passkey": ("state_conflict",),
    "evaluate_tokens": (*_SUBJECT[:3], "quota_exhausted", "enumeration_suspected"),
    "grant_consent": (*_SUBJECT, "quota_exhausted", "member_limited"),
    "show_consent": ("erased",),
    "revoke_consent": _CHANGED,
    "pause_consent": _CHANGED,
    "resume_consent": (*_CHANGED, "member_limited"),
    "submit_record": (
        *_SUBJECT,
        *_CONSENT,
        "jurisdiction_not_admitted",
        "notice_required",
        "state_conflict",
        "quota_exhausted",
    ),
    "show_record": ("erased",),
    "advance_record": _CHANGED,
    "correct_record": (*_CHANGED, "notice_required"),
    "withdraw_record": _CHANGED,
    "show_report": ("role_forbidden", "member_suspended", "member_limited", "validation_failed", "not_found"),
    "list_reports": ("member_suspended", "member_limited"),
    "request_warrant": ("not_found", "state_conflict"),
    "show_warrant": ("erased",),
    "approve_warrant": ("state_conflict", "erased"),
    "revoke_warrant": ("state_conflict",),
    "show_warrant_records": ("warrant_not_in_force", "warrant_scope", "erased"),
    "show_warrant_inquiries": ("warrant_not_in_force", "warrant_scope", "erased"),
    "request_erasure": ("not_found", "erased"),
    "approve_erasure": ("state_conflict", "erased"),
    "run_query": (*_SUBJECT, *_CONSENT, "purpose_not_allowed"),
    "show_query": ("erased",),
    "state_debt": (*_SUBJECT, *_PROVIDED, "jurisdiction_not_admitted"),
    "run_non_performing_test": (*_SUBJECT[:3], *_CONSENT, "purpose_not_allowed", "jurisdiction_not_admitted"),
}
"""Codes of the domain by operation. What the edge itself may answer is derived and does not stand here."""

_MEMBERS: Final = ("MemberOut", "ApprovalOut", "MeOut", "MemberShownOut")
_RECORD_STATUSES: Final = ("pending_notice", *CODE_LISTS["life_events"], "withdrawn")
VOCABULARIES: Final[dict[tuple[str, str], Sequence[str]]] = {
    ("Problem", "code"): CODE_LISTS["error_codes"],
    ("ConsentIn", "purposes"): CODE_LISTS["provide_purposes"],
    ("ConsentIn", "scopes"): CODE_LISTS["scopes"],
    ("QueryIn", "scopes"): CODE_LISTS["scopes"],
    ("RecordIn", "product"): CODE_LISTS["products"],
    ("RecordIn", "guarantee"): CODE_LISTS["guarantees"],
    ("CodedIn", "scheme"): (*CODE_LISTS["region_schemes"], *CODE_LISTS["industry_schemes"]),
    ("ConsentOut", "kind"): get_args(consents.Kind),
    ("ConsentOut", "status"): get_args(consents.Status),
    ("ConsentOut", "purposes"): CODE_LISTS["provide_purposes"],
    ("ConsentOut", "scopes"): CODE_LISTS["scopes"],
    ("PasskeyOut", "state"): ("pending", "active", "revoked"),
    ("RecordOut", "status"): _RECORD_STATUSES,
    ("RecordOut", "classification"): CODE_LISTS["classifications"],
    ("RecordOut", "bucket"): CODE_LISTS["buckets"],
    ("RecordOut", "role"): ("borrower", "guarantor"),
    ("RecordOut", "product"): CODE_LISTS["products"],
    ("RecordOut", "default_reason"): CODE_LISTS["default_reasons"],
    ("RecordOut", "lawful_basis"): CODE_LISTS["lawful_bases"],
    ("ReceivedRecord", "role"): ("borrower", "guarantor"),
    ("ReceivedRecord", "status"): _RECORD_STATUSES,
    ("ReceivedRecord", "bucket"): CODE_LISTS["buckets"],
    ("ReceivedRecord", "classification"): CODE_LISTS["classifications"],
    ("ReceivedRecord", "product"): CODE_LISTS["products"],
    ("ReceivedRecord", "amount_band"): CODE_LISTS["amount_bands"],
    ("WithheldOut", "what"): (*CODE_LISTS["scopes"], "records"),
    ("WithheldOut", "why"): ("not_offered_yet", WHY, "jurisdiction_not_admitted"),
    ("TierOut", "tier"): TIERS,
    ("ReciprocityOut", "tier"): TIERS,
    **{(name, "tier"): TIERS for name in _MEMBERS},
    ("DebtStatementOut", "lawful_basis"): get_args(indebtedness.Basis),
    ("NonPerformingTestOut", "reason"): (indebtedness.TOO_FEW,),
    ("NonPerformingTestOut", "coverage"): CODE_LISTS["coverage_bands"],
    ("Summary", "exposure_band"): CODE_LISTS["amount_bands"],
    ("Summary", "worst_bucket"): ("none", *CODE_LISTS["buckets"]),
    **{(name, "role"): get_args(MemberRole) for name in _MEMBERS},
    **{(name, "status"): get_args(Status) for name in _MEMBERS},
    ("ProposalOut", "action"): (*get_args(ProposalAction), WARRANT, *erasures.KINDS),
    ("ProposalOut", "decision"): ("approved", "rejected", "withdrawn"),
    **{(name, "status"): STATUSES for name in ("WarrantOut", "WarrantShownOut")},
    ("WarrantShownOut", "legal_basis"): LEGAL_BASES,
    ("WarrantShownOut", "scopes"): SCOPES,
    ("ErasureOut", "status"): erasures.STATUSES,
    ("ErasureOut", "legal_basis"): erasures.LEGAL_BASES,
    ("WarrantRecord", "role"): ("borrower", "guarantor"),
    ("WarrantRecord", "status"): _RECORD_STATUSES,
    ("WarrantRecord", "bucket"): CODE_LISTS["buckets"],
    ("WarrantRecord", "classification"): CODE_LISTS["classifications"],
    ("WarrantRecord", "product"): CODE_LISTS["products"],
    ("WarrantRecord", "amount_band"): CODE_LISTS["amount_bands"],
    ("WarrantInquiry", "purpose"): CODE_LISTS["query_purposes"],
    ("WarrantInquiry", "scopes"): CODE_LISTS["scopes"],
    ("KeyOut", "status"): ("pending", "active", "retiring", "revoked", "expired"),
    ("QueryResult", "code"): CODE_LISTS["error_codes"],
    ("JobOut", "status"): get_args(JobStatus),
    ("JobOut", "code"): CODE_LISTS["error_codes"],
    ("LogKey", "state"): ("active", "retired"),
}
"""Lists behind plain text fields: closed where they are asked (``enum``), open where they are answered."""

MEDIA_TYPES: Final[dict[str, str]] = {
    "show_checkpoint": "text/plain",
    "show_cosigned_checkpoint": "text/plain",
    "show_checkpoint_of": "text/plain",
    "show_metrics": "text/plain",
    "show_entries": "application/octet-stream",
    "show_tile": "application/octet-stream",
    "show_job_errors": "application/x-ndjson",
    "show_job_records": "application/x-ndjson",
}
ALSO_TEXT: Final = frozenset({"show_inclusion_proof"})
"""Answered as plain text too, where that is asked for (RFC 9110 section 12.5.1)."""
ALWAYS_ANSWERED: Final = frozenset({"is_alive", "show_metrics"})
SUPERSEDED: Final = frozenset({"run_query", "show_query"})
PAGED: Final = frozenset(
    {
        "list_all_proposals",
        "list_erasures",
        "list_expiring_keys",
        "list_keys",
        "list_members",
        "list_proposals",
        "list_quota_usage",
        "list_warrants",
        "review_key",
    }
)
VERSIONED: Final = frozenset(
    {
        "approve_member",
        "begin_due_diligence",
        "limit_member",
        "list_proposals",
        "propose_change",
        "propose_member",
        "propose_quotas",
        "show_member",
        "suspend_member",
    }
)
IDS: Final[dict[str, str]] = {
    "member_id": "mem_ and a UUID",
    "consent_id": "cns_ and a UUID",
    "record_id": "rec_ and a UUID",
    "query_id": "qry_ and a UUID",
    "job_id": "job_ and a UUID",
    "event_id": "evt_ and a UUID",
    "proposal_id": "prp_ and a UUID",
    "warrant_id": "wrt_ and a UUID",
    "erasure_id": "prp_ and a UUID",
    "kid": "RFC 7638 thumbprint of the key",
    "passkey": "SHA-256 over a passkey's id and public key",
}

PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A refusal (RFC 9457). Programs decide by `code`; `title` and `detail` are for people.",
    "required": ["type", "title", "status", "detail", "instance", "code", "retryable", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "Address of the code's description."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What to do; in Chinese where Accept-Language begins with zh."},
        "instance": {"type": "string"},
        "code": {"type": "string"},
        "retryable": {
            "type": "boolean",
            "description": "Whether the same action, newly signed, may succeed under the same Idempotency-Key.",
        },
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "Each wrong field. No submitted value is repeated.",
            "items": {"$ref": "#/components/schemas/ProblemField"},
        },
        "hint": {"type": "string"},
        "part": {"type": "string", "description": "Which part is not ready."},
        "claim": {"type": "string", "description": "The claim that is missing."},
        "server_time": {"type": "integer", "description": "The service's clock, where a time was the reason."},
    },
}
PROBLEM_FIELD: Final[dict[str, Any]] = {
    "type": "object",
    "description": "One wrong field.",
    "required": ["pointer", "code", "detail"],
    "properties": {
        "pointer": {"type": "string", "description": "RFC 6901 pointer into the body; empty for the body itself."},
        "code": {"type": "string"},
        "detail": {"type": "string", "description": "What is expected there."},
    },
}

_TEXT: Final = {"type": "string"}
PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "Idempotency-Key": {
        "required": True,
        "description": "1 to 255 printable characters, quoted or bare, fresh for each action, repeated in the claim "
        "`idk`. The same key with the same body within 72 hours gets the same answer and does nothing twice.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 257},
    },
    "If-Match": {
        "required": True,
        "description": "The version that you looked at, as `ETag` told it, quotes included, repeated in the claim "
        "`ifm`. Where another one changed it since, 412; look again.",
        "schema": {"type": "string", "minLength": 1},
    },
    "X-Request-Id": {
        "description": "The caller's own number for this request: at most 64 letters, digits, `-` and `_`. Other "
        "values are replaced. Alias: `x-fapi-interaction-id`.",
        "schema": {"type": "string", "maxLength": 64, "pattern": "^[A-Za-z0-9_-]+$"},
    },
    "traceparent": {
        "description": "W3C Trace Context, version 00: your trace's place. Told back, and kept in the log's event; "
        "other forms are left out.",
        "schema": {"type": "string"},
    },
    "Accept-Language": {
        "description": "`zh` gives problem titles and details in Chinese, anything else in English.",
        "schema": _TEXT,
    },
}
HEADERS: Final[dict[str, dict[str, Any]]] = {
    "CS-Signature": {
        "description": "Compact JWS of the service (typ cs-res+jwt) over request hash, status, body digest and log "
        "entry: the caller's receipt. Missing only where a request was refused before it was authenticated.",
        "schema": _TEXT,
    },
    "X-Request-Id": {"description": "The number under which this request is known.", "schema": _TEXT},
    "traceparent": {"description": "As it was sent; left out where it was not, or not in its form.", "schema": _TEXT},
    "Idempotent-Replayed": {
        "description": "Sent where this answer was given before under the same Idempotency-Key.",
        "schema": {"type": "string", "const": "true"},
    },
    "CS-Superseded": {
        "description": "Sent where the answer once told no longer holds, and says why.",
        "schema": {"type": "string", "x-extensible-enum": ["corrected", "disputed", "withdrawn"]},
    },
    "ETag": {"description": "The version, for `If-Match` of the change that rests on it.", "schema": _TEXT},
    "Link": {"description": "Where the next page is (RFC 8288, rel=next), if there is one.", "schema": _TEXT},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    POLICY: {
        "description": 'The allowances: `"burst";q=400;w=2` is 400 requests at once, full again after 2 s; it counts '
        'in the process that answered, several grant more. `"daily";q=20000;w=86400` is the quota of the UTC day that '
        "this operation counts against, exact over all processes.",
        "schema": _TEXT,
    },
    LEFT: {
        "description": 'What is left of them: `"burst";r=399;t=1` is 399 requests, full again after 1 s; '
        '`"daily";r=19999;t=3600` is 19,999 until the day ends in an hour, as this process last saw it.',
        "schema": _TEXT,
    },
    "Content-Language": {"description": "Language of title and detail.", "schema": {"enum": ["en", "zh"]}},
    "WWW-Authenticate": {"description": "RFC 6750; for readers of the log RFC 7617.", "schema": _TEXT},
}

_READER: Final = "reader_unknown"
_UNAUTHENTICATED: Final = tuple(code for code, status in STATUS.items() if status == 401 and code != _READER)  # noqa: PLR2004  RFC 9110
# What a signed route may answer whatever it does; the statuses in which it says no more than this are shared.
_EDGE: Final = (
    *_UNAUTHENTICATED,
    "request_timeout",
    "content_too_large",
    "unsupported_media_type",
    "not_acceptable",
    "rate_limited",
    "internal_error",
    "unavailable",
)
_WAITING: Final = frozenset(
    {
        "not_integrated_yet",
        "idempotency_in_progress",
        "request_timeout",
        "rate_limited",
        "quota_exhausted",
        "unavailable",
    }
)
_PACED: Final = (POLICY, LEFT)
_MEMBER_ERRORS: Final = 400

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a route says about itself beyond the framework's document."""

    module: str
    signed: bool
    unsigned_too: bool
    part: Part
    admits: Admits | None
    conditional: bool
    for_readers: bool
    more_for_readers: bool

    @property
    def role(self) -> str | None:
        """The one role that is admitted, or none where any member or anyone is."""
        return self.admits.role if self.admits else None


READING_ORDER: Final = (
    "discovery",
    "log",
    "members",
    "tokens",
    "consents",
    "records",
    "batches",
    "debts",
    "queries",
    "reports",
    "warrants",
    "erasures",
    "pages",
    "sandbox",
)
"""The order of the document; that of the routes follows how often they are called."""


class DocumentedApp(FastAPI):
    """An application whose OpenAPI document is complete."""

    def openapi(self) -> Json:
        """Return the document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(
                get_openapi(
                    title="creditshare",
                    version=__version__,
                    summary="Lenders that compete share default records without exposing who the borrowers are.",
                    description=DESCRIPTION,
                    license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
                    servers=[
                        {
                            "url": "/",
                            "description": "The service that serves this document.",
                        }
                    ],
                    routes=self.routes,
                ),
                operations(self.routes),
            )
        return self.openapi_schema


def operations(routes: Sequence[BaseRoute]) -> dict[tuple[str, str], Facts]:
    """Return the facts of every documented operation by path and method in lower case.

    A hidden unsigned route in front of a documented signed one means that the operation works both ways.
    """
    found: dict[tuple[str, str], Facts] = {}
    hidden: set[tuple[str, str]] = set()
    for context in iter_route_contexts(routes):
        route = context.original_route
        if not isinstance(route, APIRoute):
            continue
        for method in route.methods or ():
            key = (str(context.path_format), method.lower())
            if route.include_in_schema:
                found[key] = _facts(route)
            elif not isinstance(route, SignedRoute):
                hidden.add(key)
    return {key: replace(facts, unsigned_too=facts.signed and key in hidden) for key, facts in found.items()}


def _facts(route: APIRoute) -> Facts:
    signed = isinstance(route, SignedRoute)
    return Facts(
        module=route.endpoint.__module__,
        signed=signed,
        unsigned_too=False,
        part=getattr(route.endpoint, "exchange_part", Part()),
        admits=admitted(route.dependant) if signed else None,
        conditional=any(needed.call is named_versions for needed in route.dependant.dependencies),
        for_readers=any(needed.call is require_reader for needed in route.dependant.dependencies),
        more_for_readers=any(needed.call is may_read for needed in route.dependant.dependencies),
    )


def _place(path: tuple[str, Json]) -> int:
    return min(READING_ORDER.index(operation["tags"][0]) for operation in path[1].values())


def complete(document: Json, facts: Mapping[tuple[str, str], Facts]) -> Json:
    """Complete the framework's document in place and return it."""
    schemas: Json = document["components"]["schemas"]
    for leftover in ("HTTPValidationError", "ValidationError"):
        schemas.pop(leftover, None)
    schemas.update(Problem=_copy(PROBLEM), ProblemField=_copy(PROBLEM_FIELD))
    document["paths"] = dict(sorted(document["paths"].items(), key=_place))
    tags: dict[str, str] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            known = facts[path, method]
            for tag in operation.get("tags", []):
                tags.setdefault(tag, _docstring(known.module))
            _complete_operation(operation, method, known)
    _polish_schemas(document)
    document["tags"] = [{"name": name, "description": text} for name, text in tags.items()]
    document["components"] |= {
        "securitySchemes": {SCHEME: dict(SIGNATURE), READER: dict(READER_TOKEN)},
        "parameters": {name: {"name": name, "in": "header", **value} for name, value in PARAMETERS.items()},
        "headers": _copy(HEADERS),
        "responses": {f"Problem{status}": _problem(status, codes) for status, codes in _by_status(_EDGE).items()},
    }
    return document


def _complete_operation(operation: Json, method: str, facts: Facts) -> None:
    codes = _codes(operation, method, facts)
    told = _prose(operation.pop("description", ""))
    operation["summary"] = re.split(r"(?<=[a-z0-9`)])[.:;] ", told)[0].rstrip(".").replace("`", "")
    paragraphs = [] if told.replace("`", "") == operation["summary"] + "." else [told]
    operation["description"] = "\n\n".join([*paragraphs, _who(facts)]) if facts.signed else told
    operation["security"] = _security(facts)
    if facts.signed:
        operation["x-caller"] = {
            "role": facts.role or "any",
            **({"also": facts.admits.also} if facts.admits and facts.admits.also else {}),
            **{state: facts.admits is None or may(state, facts.admits.act) for state in ("limited", "suspended")},
        }
    for parameter in operation.get("parameters", []):
        for repeated in ("title", "description"):
            parameter["schema"].pop(repeated, None)
        parameter.setdefault("description", IDS.get(parameter["name"], ""))
        if not parameter["description"]:
            del parameter["description"]
    operation.setdefault("parameters", []).extend(
        {"$ref": f"#/components/parameters/{name}"} for name in _parameters(method, facts)
    )
    if "requestBody" in operation:
        _complete_body(operation["requestBody"])
    responses: Json = operation["responses"]
    for status, response in responses.items():
        if int(status) < _MEMBER_ERRORS:
            _complete_answer(operation["operationId"], response, method, facts)
    responses.pop("422", None)
    shared = _by_status(_EDGE)
    for refused, listed in _by_status(codes).items():
        common = shared.get(refused) == listed
        responses[str(refused)] = (
            {"$ref": f"#/components/responses/Problem{refused}"} if common else _problem(refused, listed)
        )


def _complete_body(body: Json) -> None:
    """Let an optional body be described by its one schema rather than by "that or null"."""
    for media in body["content"].values():
        choices = [choice for choice in media["schema"].get("anyOf", []) if choice.get("type") != "null"]
        if len(choices) == 1:
            media["schema"] = choices[0]
    body.setdefault("required", False)


def _complete_answer(operation_id: str, response: Json, method: str, facts: Facts) -> None:
    response["description"] = "Done." if method == "post" else "Found."
    names = ["X-Request-Id", "traceparent", "CS-Signature", *_PACED] if facts.signed else []
    if facts.signed and method == "post" and facts.part.idempotent:
        names.append("Idempotent-Replayed")
    if operation_id in SUPERSEDED:
        names.append("CS-Superseded")
    if operation_id in PAGED:
        names.append("Link")
    if operation_id in VERSIONED:
        names.append("ETag")
    if names:
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    if operation_id in MEDIA_TYPES:
        media_type = MEDIA_TYPES[operation_id]
        binary = {"contentMediaType": media_type} if media_type == "application/octet-stream" else {}
        response["content"] = {media_type: {"schema": {"type": "string", **binary}}}
    if operation_id in ALSO_TEXT:
        response["content"]["text/plain"] = {"schema": {"type": "string"}}
    for also in facts.part.also:
        response["content"][also] = {
            "schema": {"type": "string"} if also.startswith("text/") else {"type": "string", "contentMediaType": also}
        }
    for media in response.get("content", {}).values():
        media["schema"].pop("title", None)


def _security(facts: Facts) -> list[Json]:
    if facts.for_readers or facts.more_for_readers:
        return [{READER: []}, {}]
    if not facts.signed:
        return []
    return [{SCHEME: []}, {}] if facts.unsigned_too else [{SCHEME: []}]


def _parameters(method: str, facts: Facts) -> list[str]:
    if not facts.signed:
        return ["Accept-Language"]
    needs_key = method == "post" and facts.part.idempotent
    required = [*(["Idempotency-Key"] if needs_key else []), *(["If-Match"] if facts.conditional else [])]
    return [*required, "X-Request-Id", "traceparent", "Accept-Language"]


def _codes(operation: Json, method: str, facts: Facts) -> set[str]:
    codes = {"internal_error", *REFUSALS.get(operation["operationId"], ())}
    if operation["operationId"] not in ALWAYS_ANSWERED:
        codes.add("unavailable")
    body, parameters = "requestBody" in operation, operation.get("parameters", [])
    if any(set(p["schema"]) - {"type", "title", "description"} for p in parameters):
        codes.add("validation_failed")
    if facts.for_readers:
        codes.update((_READER, "rate_limited"))
    if not facts.signed:
        return codes
    codes.update(_EDGE)
    if facts.part.quota is not None:
        codes.add("quota_exhausted")
    if facts.conditional:
        codes.update(("precondition_required", "precondition_failed"))
    if facts.role is not None:
        codes.update(("role_forbidden", "member_suspended"))
        if facts.admits is not None and not may("limited", facts.admits.act) and facts.role == "lender":
            codes.add("member_limited")
    if any(p["in"] == "path" for p in parameters):
        codes.add("not_found")
    if body:
        codes.update(("body_malformed", "validation_failed"))
    if method == "post" and facts.part.idempotent:
        codes.update(
            (
                "idempotency_key_missing",
                "idempotency_in_progress",
                "idempotency_mismatch",
                "validation_failed",
                "body_malformed",
            )
        )
    return codes


def _by_status(codes: Iterable[str]) -> dict[int, tuple[str, ...]]:
    """Return codes by status, both in order."""
    found: dict[int, tuple[str, ...]] = {}
    for code in sorted(codes, key=lambda code: (STATUS[code], code)):
        found[STATUS[code]] = (*found.get(STATUS[code], ()), code)
    return found


def _problem(status: int, codes: Sequence[str]) -> Json:
    names = ["Content-Language", "X-Request-Id", "traceparent", "CS-Signature", *_PACED]
    if _WAITING.intersection(codes):
        names.append("Retry-After")
    if status == STATUS["token_missing"]:
        names.append("WWW-Authenticate")
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "x-codes": list(codes),
    }


def _who(facts: Facts) -> str:
    admitted = facts.admits.who if facts.admits else "any member"
    both = " Also without Authorization, for a member's first key." if facts.unsigned_too else ""
    return f"For {admitted}.{both}"


def _docstring(module: str) -> str:
    """Return a module's purpose: the first paragraph of its docstring."""
    return _prose((sys.modules[module].__doc__ or "").partition("\n\n")[0])


def _prose(docstring: str) -> str:
    """Return a docstring as Markdown on one line."""
    return " ".join(docstring.split()).replace("``", "`")


def _polish_schemas(document: Json) -> None:
    schemas: Json = document["components"]["schemas"]
    asked = _reachable(schemas, [o.get("requestBody") for item in document["paths"].values() for o in item.values()])
    for name, schema in schemas.items():
        if "description" in schema:
            schema["description"] = _prose(schema["description"])
        schema.pop("title", None)
        for field, value in schema.get("properties", {}).items():
            value.pop("title", None)
            for part in _parts(value):
                part.pop("title", None)
                if (name, field) in VOCABULARIES and part.get("type") == "string":
                    part["enum"] = list(VOCABULARIES[name, field])
                if name not in asked and "enum" in part:
                    part["x-extensible-enum"] = part.pop("enum")
                    part["examples"] = part["x-extensible-enum"][:1]


def _parts(schema: Json) -> Iterator[Json]:
    """Yield a field's schema and what it is made of: the alternatives and the items."""
    yield schema
    for choice in schema.get("anyOf", []):
        yield from _parts(choice)
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from _parts(schema[inner])


def _reachable(schemas: Json, start: object) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str):
                name = reference.rpartition("/")[2]
                if name in schemas and name not in found:
                    found.add(name)
                    waiting.append(schemas[name])
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return found


def _copy(value: Any) -> Any:
    """Copy a constant deeply, so that completing one document does not change another."""
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value
