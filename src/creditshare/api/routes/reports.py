"""What regulators read: counts and sums over sealed records, cut from what the worker told. No record is opened."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from creditshare.api.callers import MemberWork
from creditshare.api.exchange import SignedRoute, takes_part
from creditshare.api.formats import chosen
from creditshare.api.problems import in_chinese
from creditshare.api.schemas.reports import ReportOut, ReportsOut
from creditshare.api.wiring import Wired, opened
from creditshare.errors import ConfigurationError, Refused
from creditshare.reports.files import CSV, FILES, PDF, XLSX
from creditshare.reports.service import Asked
from creditshare.wire.strict_json import canonical

router = APIRouter(route_class=SignedRoute, tags=["reports"])
JSON = "application/json"
Month = Annotated[str | None, Query(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="A month, YYYY-MM.")]
Filter = Annotated[str | None, Query(max_length=64, description="Only rows with this value.")]


@router.get("/v1/reports")
@takes_part(data=False)
async def list_reports(request: Request, work: MemberWork, services: Wired) -> ReportsOut:
    """List the reports that the caller may read, and the newest release of what is told in them."""
    session, now = opened(work)
    listed = await services.reports.listed(session, work.caller.member)
    standing = await services.reports.standing(session, work.caller.member, now=now)
    return ReportsOut.of(listed, standing, _language(request))


@router.get("/v1/reports/{report}", response_model=ReportOut)
@takes_part(data=False, also=(CSV, XLSX, PDF))
async def show_report(
    request: Request,
    report: Annotated[str, Path(description="A name of the list.", max_length=64)],
    work: MemberWork,
    services: Wired,
    from_: Annotated[Month, Query(alias="from")] = None,
    to: Month = None,
    by: Annotated[str | None, Query(max_length=64, description="A view of the list; its first one by default.")] = None,
    region: Filter = None,
    industry: Filter = None,
    size: Filter = None,
    currency: Filter = None,
    lender: Filter = None,
    purpose: Filter = None,
) -> Response:
    """Show a report: as JSON, or by `Accept` as `text/csv`, an XLSX workbook or a PDF.

    Regulators and operators read all of them, a lender its own rows of those that name lenders. Filters select rows of
    tables that were protected whole. Reading one is an event of the log.
    """
    session, now = opened(work)
    given = {
        "region": region,
        "industry": industry,
        "size": size,
        "currency": currency,
        "lender": lender,
        "purpose": purpose,
    }
    filters = {dimension: value for dimension, value in given.items() if value is not None}
    # A name that nobody knows is refused like one that the view has not: left out, it would select everything.
    filters |= {name: value for name, value in request.query_params.items() if name not in {*given, "from", "to", "by"}}
    language = _language(request)
    asked = Asked(report, from_, to, by, filters, language)
    shown = work.record(await services.reports.show(session, asked, work.caller.member, now=now))
    wanted = chosen(request.headers.get("accept", "*/*"), (JSON, CSV, XLSX, PDF))
    work.headers |= {"Vary": "Accept, Accept-Language", "Content-Language": language}
    if wanted is not None and wanted != JSON:
        work.headers["Content-Type"] = wanted
        work.headers["Content-Disposition"] = f'attachment; filename="{report}.{FILES[wanted].suffix}"'
        work.drawn = partial(_drawn, wanted, shown, language)
    return Response(canonical(shown))


async def _drawn(wanted: str, shown: Mapping[str, Any], language: str) -> Response:
    """Return a report as a file: it takes up to a second, in which nothing of the database is held."""
    try:
        return Response(await FILES[wanted].made(shown, language))
    except ConfigurationError as error:
        raise Refused("not_acceptable", extra={"hint": str(error)}) from None


def _language(request: Request) -> str:
    return "zh" if in_chinese(request.headers.get("accept-language", "")) else "en"
