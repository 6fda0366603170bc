"""Default records of this lender."""

from fastapi import APIRouter

from creditshare.access.service import public_id
from creditshare.api.callers import CorrectingLenderWork, LenderWork
from creditshare.api.exchange import SignedRoute
from creditshare.api.schemas import CorrectionIn, RecordEventIn, RecordIn, RecordOut, WithdrawalIn
from creditshare.api.wiring import Wired, opened

router = APIRouter(route_class=SignedRoute, tags=["records"])


@router.post("/v1/records", status_code=201)
async def submit_record(body: RecordIn, work: LenderWork, services: Wired) -> RecordOut:
    """Report a default. Where the law asks for a notice it stays pending until the window has ended."""
    session, now = opened(work)
    member = work.caller.member
    done = await services.records.submit(
        session, member.member_id, member.jurisdictions, body.subject.token(), body.report(), now=now
    )
    return RecordOut.of(work.record(done))


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
