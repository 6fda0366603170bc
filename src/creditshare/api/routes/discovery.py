"""What anyone may know before the first signed request: who we are, our keys, our lists, our health."""

import math

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from creditshare.api.codelists import CODE_LISTS
from creditshare.api.public import Discovery, Health, ServiceKeys
from creditshare.api.schemas.reciprocity import ReciprocityRulesOut
from creditshare.api.wiring import Wired
from creditshare.crypto import oprf
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jws import ALGORITHMS
from creditshare.errors import Refused
from creditshare.sandbox.service import business_time
from creditshare.services import Services
from creditshare.sharing.answer import instant
from creditshare.telemetry import metrics

router = APIRouter(tags=["discovery"])


@router.get("/.well-known/creditshare", response_model=Discovery)
async def discover(services: Wired) -> dict[str, object]:
    """Return everything a client needs to begin: issuer, signing profile, token suites, log key, limits."""
    settings = services.settings
    clock = {"clock": await _sandbox_clock(services)} if settings.mode == "sandbox" else {}
    return {
        "issuer": services.issuer,
        "environment": settings.mode,
        "signing": {
            "algs": sorted(ALGORITHMS),
            "request_typ": "cs-req+jwt",
            "answer_typ": "cs-res+jwt",
            "max_lifetime_s": 120,
            "skew_s": settings.skew_s,
        },
        "jwks_uri": services.issuer + "/.well-known/jwks.json",
        "tokens": {
            "mode": "embedded",
            "suites": [
                {
                    "suite": oprf.SUITE,
                    "key_version": version,
                    "public_key": b64url_encode(public),
                    "current": version == services.tokeniser.current,
                }
                for version, public in services.tokeniser.public_keys.items()
            ],
        },
        "log": {
            "origin": services.log_verifier.name,
            "vkey": services.log_verifier.vkey,
            "mmd_s": settings.merge_delay_s,
            "base": services.issuer + "/log/v1",
            "readers": settings.log_audience,
        },
        "limits": {
            "header_bytes": settings.max_header_bytes,
            "body_bytes": settings.max_body_bytes,
            "batch_bytes": settings.max_batch_bytes,
            "batch_time_s": math.ceil(settings.batch_time_limit_s),
            "body_time_s": math.ceil(settings.body_time_limit_s),
            "request_time_s": math.ceil(settings.request_time_limit_s),
            "requests_per_s": settings.member_requests_per_s,
            "burst_requests": settings.member_burst_requests,
            "requests_at_once": settings.member_in_flight,
            "token_bytes": 8192,
            "evaluations_per_call": oprf.MAX_BATCH,
            "evaluations_per_day": settings.evaluations_per_day,
            "queries_per_day": settings.queries_per_day,
            "reports_per_day": settings.reports_per_day,
        },
        "policy_version": services.policy.version,
        **clock,
    }


async def _sandbox_clock(services: Services) -> dict[str, object]:
    """Return how far a sandbox's business time runs ahead, so that a client can date what it registers."""
    async with services.database.reading() as session:
        moved = await business_time(session)
    return {"business_time": instant(moved.now), "ahead_s": int(moved.ahead.total_seconds())}


@router.get("/.well-known/jwks.json", response_model=ServiceKeys)
async def show_service_keys(services: Wired) -> dict[str, list[dict[str, str]]]:
    """Return the keys that sign answers (RFC 7517)."""
    keys = [{**key.public_jwk, "kid": key.kid, "alg": "ES256"} for key in services.service_keys.values()]
    return {"keys": keys}


@router.get("/v1/code-lists")
async def show_code_lists() -> dict[str, list[str]]:
    """Return all published vocabularies."""
    return CODE_LISTS


@router.get("/v1/reciprocity-rules", response_model=ReciprocityRulesOut)
async def show_reciprocity_rules(services: Wired) -> ReciprocityRulesOut:
    """Return the rules by which a lender's tier, and with it the depth of its answers, is computed."""
    async with services.database.reading() as session:
        now = (await business_time(session)).now
    return ReciprocityRulesOut.of(services.reciprocity.rules(now), policy_version=services.policy.version)


@router.get("/healthz", response_model=Health)
async def is_alive() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/readyz", response_model=Health)
async def is_ready(services: Wired) -> dict[str, str]:
    """Say whether requests can be served, and if not, which part is not ready; at once, from what was last seen."""
    if not services.log_health.seen:
        raise Refused("unavailable", retry_after=1, extra={"part": "database"})
    if not services.key_table.fresh:
        raise Refused("unavailable", retry_after=1, extra={"part": "key table"})
    if services.log_is_late():
        raise Refused("unavailable", retry_after=1, extra={"part": "log"})
    return {"status": "ready"}


@router.get("/metrics", response_class=Response)
async def show_metrics() -> Response:
    """Return Prometheus metrics; none carries borrower data."""
    return Response(metrics(), media_type=CONTENT_TYPE_LATEST)
