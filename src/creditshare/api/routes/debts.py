"""What a borrower owes to all lenders together: stated by each for a month's end, told as one bit."""

from fastapi import APIRouter, Response

from creditshare.api.callers import AskingLenderWork, ReportingLenderWork
from creditshare.api.exchange import JSON_TYPE, SignedRoute, takes_part
from creditshare.api.schemas.consents import consent_id
from creditshare.api.schemas.debts import DebtStatementIn, DebtStatementOut, NonPerformingTestIn, NonPerformingTestOut
from creditshare.api.wiring import Wired, opened

router = APIRouter(route_class=SignedRoute, tags=["debts"])


@router.post("/v1/debt-statements", status_code=201)
@takes_part(quota="reports")
async def state_debt(body: DebtStatementIn, work: ReportingLenderWork, services: Wired) -> DebtStatementOut:
    """State what a borrower owes at the end of the month that is over, until its cut-off."""
    session, now = opened(work)
    stated = await services.indebtedness.state_debt(
        session, work.caller.member, body.subject.token(), body.debt(), now=now
    )
    return DebtStatementOut.of(work.record(stated))


@router.post("/v1/non-performing-tests", response_model=NonPerformingTestOut)
@takes_part(quota="queries")
async def run_non_performing_test(body: NonPerformingTestIn, work: AskingLenderWork, services: Wired) -> Response:
    """Ask whether more than 20 % of a borrower's debt at all lenders is more than 90 days overdue.

    Told for the month that closed last and to everybody alike, and only where more than three lenders stated their
    debt. Uses the consent once.
    """
    work.purpose = body.purpose
    session, now = opened(work)
    tested = await services.indebtedness.test(
        session,
        work.caller.member,
        body.subject.token(),
        purpose=body.purpose,
        consent_id=consent_id(body.consent_id),
        now=now,
    )
    return Response(work.record(tested), 200, media_type=JSON_TYPE)
