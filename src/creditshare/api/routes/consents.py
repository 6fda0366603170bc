"""Consents of borrowers to this lender."""

from datetime import datetime

from fastapi import APIRouter

from creditshare.access.service import public_id
from creditshare.api.callers import CorrectingLenderWork, ReportingLenderWork
from creditshare.api.exchange import SignedRoute
from creditshare.api.schemas.consents import ConsentIn, ConsentOut
from creditshare.api.schemas.forms import EmptyIn
from creditshare.api.wiring import Wired, opened
from creditshare.api.work import Work
from creditshare.consents.service import Change, Held
from creditshare.ids import spell
from creditshare.services import Services
from creditshare.wire.consent_receipt import make_receipt

router = APIRouter(route_class=SignedRoute, tags=["consents"])


def _present(services: Services, work: Work, held: Held, now: datetime) -> ConsentOut:
    consent = held.consent
    receipt = make_receipt(
        services.signing_key,
        issuer=services.issuer,
        member_id=spell("mem", work.caller.member_id),
        consent_id=spell("cns", consent.consent_id),
        kind=consent.kind,
        purposes=consent.purposes,
        scopes=consent.scopes,
        valid_from=consent.valid_from,
        valid_until=consent.valid_until,
        evidence_digest=held.evidence.digest,
        now=now,
    )
    return ConsentOut.of(held, now=now, receipt=receipt)


@router.post("/v1/consents", status_code=201)
async def grant_consent(body: ConsentIn, work: ReportingLenderWork, services: Wired) -> ConsentOut:
    """Register a consent and get a signed receipt."""
    session, now = opened(work)
    granted = await services.consents.grant(
        session, work.caller.member_id, body.terms(), member_status=work.caller.member.status, now=now
    )
    return _present(services, work, work.record(granted), now)


@router.get("/v1/consents/{consent_id}")
async def show_consent(consent_id: str, work: CorrectingLenderWork, services: Wired) -> ConsentOut:
    """Show one of this member's consents."""
    session, now = opened(work)
    shown = await services.consents.show(session, work.caller.member_id, public_id("cns", consent_id))
    return _present(services, work, work.record(shown), now)


async def _change(consent_id: str, change: Change, work: Work, services: Services) -> ConsentOut:
    session, now = opened(work)
    done = await services.consents.change(
        session, work.caller.member_id, public_id("cns", consent_id), change, member_status=work.caller.member.status
    )
    return _present(services, work, work.record(done), now)


@router.post("/v1/consents/{consent_id}/revocation")
async def revoke_consent(
    consent_id: str, work: CorrectingLenderWork, services: Wired, body: EmptyIn | None = None
) -> ConsentOut:
    """Revoke: the very next question is refused. Not retroactive."""
    del body
    return await _change(consent_id, "revoke", work, services)


@router.post("/v1/consents/{consent_id}/pause")
async def pause_consent(
    consent_id: str, work: CorrectingLenderWork, services: Wired, body: EmptyIn | None = None
) -> ConsentOut:
    """Pause until resumed."""
    del body
    return await _change(consent_id, "pause", work, services)


@router.post("/v1/consents/{consent_id}/resumption")
async def resume_consent(
    consent_id: str, work: ReportingLenderWork, services: Wired, body: EmptyIn | None = None
) -> ConsentOut:
    """Resume a paused consent."""
    del body
    return await _change(consent_id, "resume", work, services)
