"""Questions about borrowers, each under a live consent.

The door of the hot path; the path itself is ``sharing/service.py``.
"""

from dataclasses import replace

from fastapi import APIRouter, Response

from creditshare.access.service import public_id
from creditshare.api.callers import AskingLenderWork
from creditshare.api.exchange import JSON_TYPE, SignedRoute, takes_part
from creditshare.api.problems import STATUS
from creditshare.api.schemas.consents import consent_id
from creditshare.api.schemas.debts import NonPerformingTestOut
from creditshare.api.schemas.forms import unknown_codes
from creditshare.api.schemas.queries import QueryBatchIn, QueryBatchOut, QueryIn, QueryOut
from creditshare.api.wiring import Wired, opened
from creditshare.api.work import Work
from creditshare.consents.rules import SCOPES
from creditshare.errors import FieldError, Refused
from creditshare.sharing.many import Asked, Outcome, ask_many, tell_many
from creditshare.sharing.rules import Question
from creditshare.sharing.service import Retried, Told
from creditshare.wire.actions import AGAIN
from creditshare.wire.strict_json import canonical

router = APIRouter(route_class=SignedRoute, tags=["queries"])


@router.post("/v1/queries", response_model=QueryOut)
@takes_part(own_transaction=True, direct=True, quota="queries")
async def run_query(body: QueryIn, work: AskingLenderWork, services: Wired) -> Response:
    """Ask what other lenders reported about a borrower, under a live consent, for its purpose, with its scopes."""
    work.purpose = body.purpose
    if work.claim is None:
        raise Refused("idempotency_key_missing")
    answer = await services.sharing.ask(
        work.caller, work.claim, body.subject.token(), _question(body), request_digest=work.request_digest
    )
    if isinstance(answer, Retried):
        retried = answer

        async def retell(again: Work) -> Response:
            session, _ = opened(again)
            again.headers["Idempotent-Replayed"] = "true"
            found = await services.sharing.told(session, again.caller.member_id, retried.query_id)
            return _tell(again, again.record(replace(found, entry=replace(found.entry, action="run_query" + AGAIN))))

        work.retell = retell
        return Response()
    work.committed = answer.log_entry
    return Response(answer.body, 200, media_type=JSON_TYPE)


@router.post("/v1/query-batches", response_model=QueryBatchOut)
@takes_part(own_transaction=True, quota="queries", many=True)
async def run_query_batch(body: QueryBatchIn, work: AskingLenderWork, services: Wired) -> Response:
    """Ask up to 1,000 questions at once, each under its own consent; a refused one stops no other.

    Results stand in the order asked. Each holds its answer as `/v1/queries` gives it or the refusal's status and code,
    and its own log entry; the signature over the whole body is the receipt for all of them.
    """
    if work.claim is None:
        raise Refused("idempotency_key_missing")
    await services.access.quotas.spend(work.caller.member, "queries", len(body.queries))
    asked = [Asked(one.subject.token(), _question_or_refusal(one), one.purpose) for one in body.queries]
    outcomes = await ask_many(services.sharing, work.caller, work.claim, asked, request_digest=work.request_digest)

    async def tell(then: Work) -> Response:
        session, now = opened(then)
        done = await tell_many(
            services.sharing,
            services.audit,
            session,
            then.caller,
            asked,
            outcomes,
            request_digest=then.request_digest,
            now=now,
        )
        told = then.record(done)
        if any(one.again for one in told):
            then.headers["Idempotent-Replayed"] = "true"
        return Response(b'{"results":[' + b",".join(map(_result, told)) + b"]}", 200, media_type=JSON_TYPE)

    work.retell = tell
    return Response()


def _result(told: Outcome) -> bytes:
    """Spell one result; an answer stands in it byte for byte, because its event commits to these bytes."""
    status = 200 if told.code is None else STATUS[told.code]
    parts = {"code": told.code, "status": status, "log": told.log_entry.to_mapping()}
    return canonical(parts)[:-1] + b',"answer":' + (told.body or b"null") + b"}"


def _question_or_refusal(body: QueryIn) -> Question | Refused:
    try:
        return _question(body)
    except Refused as refusal:
        return refusal


@router.get("/v1/queries/{query_id}", response_model=QueryOut | NonPerformingTestOut)
async def show_query(query_id: str, work: AskingLenderWork, services: Wired) -> Response:
    """Return the exact bytes once told; ``CS-Superseded`` says why they no longer hold, if they do not."""
    session, _ = opened(work)
    shown = await services.sharing.told(session, work.caller.member_id, public_id("qry", query_id))
    return _tell(work, work.record(shown))


def _tell(work: Work, told: Told) -> Response:
    if told.superseded is not None:
        work.headers["CS-Superseded"] = told.superseded
    return Response(told.body, 200, media_type=JSON_TYPE)


def _question(body: QueryIn) -> Question:
    wrong = unknown_codes("/scopes", body.scopes, SCOPES)
    if "defaults" not in body.scopes:
        wrong.append(FieldError("/scopes", "required", "the scope defaults; the others add to it"))
    if wrong:
        raise Refused("validation_failed", fields=wrong)
    return Question(body.purpose, consent_id(body.consent_id), tuple(body.scopes), body.as_of)
