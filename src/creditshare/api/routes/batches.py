"""Files of default records: accepted whole, dealt with by a job that its own member can follow."""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from creditshare.access.service import public_id
from creditshare.api.callers import CorrectingLenderWork, ReportingLenderWork
from creditshare.api.exchange import SignedRoute, takes_part
from creditshare.api.record_rows import CSV_EXAMPLE, FIELDS, NDJSON_EXAMPLE
from creditshare.api.schemas.batches import JobOut
from creditshare.api.wiring import Wired, opened
from creditshare.api.work import Work
from creditshare.batches.rows import CSV, NDJSON, Form
from creditshare.ids import spell

router = APIRouter(route_class=SignedRoute, tags=["batches"])

FILE_PATH: Final = "/v1/record-batches"
FILE: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "One record of `POST /v1/records` a line, in JSON; or CSV, whose header names the fields, "
        "nested ones with a dot (`region.code`), and whose empty cells leave a field out.",
        "content": {
            NDJSON: {"schema": {"type": "string"}, "example": NDJSON_EXAMPLE},
            CSV: {"schema": {"type": "string"}, "example": CSV_EXAMPLE},
        },
    }
}


@router.post(FILE_PATH, status_code=202, openapi_extra=FILE)
@takes_part(quota="reports", many=True, file_types=(NDJSON, CSV))
async def submit_record_batch(
    work: ReportingLenderWork,
    services: Wired,
    request: Request,
    dry_run: Annotated[bool, Query(description="Check every row and say what is wrong; take none in.")] = False,  # noqa: FBT002  a query parameter is given by name
) -> JobOut:
    """Report a file of defaults. Each row is judged like a single report: one that is refused stops no other.

    A row becomes one record and one event, or is named in the job's error file. Each counts against your reports of the
    day; a dry run counts for nothing. It may not see an account that the same file reports twice, a hundred rows or
    more apart.
    """
    session, now = opened(work)
    form = Form(request.headers["content-type"].partition(";")[0].strip().lower(), FIELDS)
    rows = form.rows(request.state.spool.blocks())
    job = work.record(await services.batches.accept(session, work.caller, rows, dry_run=dry_run, now=now))
    if not dry_run:
        await services.access.quotas.spend(work.caller.member, "reports", job.rows)
    return JobOut.of(job)


@router.get("/v1/jobs/{job_id}")
async def show_job(job_id: str, work: CorrectingLenderWork, services: Wired) -> JobOut:
    """Show how far one of this member's jobs is. Jobs are kept for 72 hours."""
    session, now = opened(work)
    job = await services.batches.show(session, work.caller.member_id, public_id("job", job_id), now=now)
    return JobOut.of(job)


@router.get("/v1/jobs/{job_id}/errors")
@takes_part(answers=NDJSON)
async def show_job_errors(
    job_id: str,
    work: CorrectingLenderWork,
    services: Wired,
    after: Annotated[int, Query(ge=0, description="Go on behind this row.")] = 0,
) -> Response:
    """Show the rows that were refused, a line of JSON each: row, and of each error pointer, code and what is expected.

    At most 1,000 lines; go on behind the last one until none comes. Rows count from 1, without a header.
    """
    session, now = opened(work)
    member_id = work.caller.member_id
    found = await services.batches.errors(session, member_id, public_id("job", job_id), after=after, now=now)
    return _lines(work, ({"row": one.row, "errors": one.errors} for one in found))


@router.get("/v1/jobs/{job_id}/records")
@takes_part(answers=NDJSON)
async def show_job_records(
    job_id: str,
    work: CorrectingLenderWork,
    services: Wired,
    after: Annotated[int, Query(ge=0, description="Go on behind this row.")] = 0,
) -> Response:
    """Show which record each accepted row became, a line of JSON each: row and record_id.

    It tells of at most 1,000 rows; go on behind the last one while the job has accepted more. A dry run has none.
    """
    session, now = opened(work)
    member_id = work.caller.member_id
    found = await services.batches.records(session, member_id, public_id("job", job_id), after=after, now=now)
    return _lines(work, ({"row": one.row, "record_id": spell("rec", one.record_id)} for one in found))


def _lines(work: Work, rows: Iterable[Mapping[str, Any]]) -> Response:
    work.headers["Content-Type"] = NDJSON
    return Response(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
