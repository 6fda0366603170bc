"""Default records of this lender."""

from fastapi import APIRouter, Response

from creditshare.access.service import public_id
from creditshare.api.callers import CorrectingLenderWork, ReportingLenderWork
from creditshare.api.exchange import JSON_TYPE, SignedRoute, takes_part
from creditshare.api.schemas.records import CorrectionIn, RecordEventIn, RecordIn, RecordOut, WithdrawalIn
from creditshare.api.wiring import Wired, opened
from creditshare.errors import Refused
from creditshare.records.service import Reporting

router = APIRouter(route_class=SignedRoute, tags=["records"])


@router.post("/v1/records", status_code=201, response_model=RecordOut)
@takes_part(own_transaction=True, direct=True, quota="reports")
async def submit_record(body: RecordIn, work: ReportingLenderWork, services: Wired) -> Response:
    """Report a default. Where the law asks for a notice it stays pending until the window has ended."""
    if work.claim is None:
        raise Refused("idempotency_key_missing")
    reporting = Reporting(
        work.caller,
        work.claim,
        body.subject.token(),
        body.report(),
        request_digest=work.request_digest,
        present=lambda held: RecordOut.of(held).model_dump_json().encode(),
    )
    done = await services.records.submit(reporting)
    if done is None:
        return Response()
    work.committed = done.log_entry
    return Response(done.body, 201, media_type=JSON_TYPE)


@router.get("/v1/records/{record_id}")
async def show_record(record_id: str, work: CorrectingLenderWork, services: Wired) -> RecordOut:
    """Show one of this member's own records."""
    session, now = opened(work)
    shown = await services.records.show(session, work.caller.member_id, public_id("rec", record_id), now=now)
    return RecordOut.of(work.record(shown))


@router.post("/v1/records/{record_id}/events")
async def advance_record(record_id: str, body: RecordEventIn, work: CorrectingLenderWork, services: Wired) -> RecordOut:
    """Add a step of the record's life: forbearance, cure, write-off, settlement, sale."""
    session, now = opened(work)
    done = await services.records.advance(
        session,
        work.caller.member_id,
        public_id("rec", record_id),
        kind=body.kind,
        on=body.on,
        amount=body.amount,
        now=now,
    )
    return RecordOut.of(work.record(done))


@router.post("/v1/records/{record_id}/corrections")
async def correct_record(record_id: str, body: CorrectionIn, work: CorrectingLenderWork, services: Wired) -> RecordOut:
    """Correct fields that were wrong; every answer from now on, of whatever date, shows what is right."""
    session, now = opened(work)
    done = await services.records.correct(
        session, work.caller.member_id, public_id("rec", record_id), changes=body.given(), reason=body.reason, now=now
    )
    return RecordOut.of(work.record(done))


@router.post("/v1/records/{record_id}/withdrawal")
async def withdraw_record(record_id: str, body: WithdrawalIn, work: CorrectingLenderWork, services: Wired) -> RecordOut:
    """Take a record back: it appears in no answer any more."""
    session, now = opened(work)
    done = await services.records.withdraw(
        session, work.caller.member_id, public_id("rec", record_id), reason=body.reason, now=now
    )
    return RecordOut.of(work.record(done))
