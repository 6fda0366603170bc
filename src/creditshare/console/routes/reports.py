"""Reports as pages: chart, table and method, with what is withheld to be seen as such; and the files of each."""

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Response

from creditshare.console import forms
from creditshare.console.visits import PageRoute, Visit, anybody
from creditshare.errors import ConfigurationError, FieldError, Refused
from creditshare.reports.charts import make_chart
from creditshare.reports.files import FILES, lacking
from creditshare.reports.service import Asked
from creditshare.wire.strict_json import canonical

router = APIRouter(route_class=PageRoute, include_in_schema=False)
AnyVisit = Annotated[Visit, Depends(anybody)]
MONTH: Final = re.compile("[0-9]{4}-(0[1-9]|1[0-2])")
SHOWN_ROWS: Final = 400
PERIOD: Final = ("from", "to")
THEMES: Final = ("light", "dark")
DIMENSIONS: Final = ("region", "industry", "size", "currency", "lender", "purpose")
SUFFIXES: Final = {kind.suffix: media for media, kind in FILES.items()}
DRAWN: Final = {
    # Of the drawing alone: shown as an image, it runs nothing and loads nothing.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox",
}


@router.get("/console/reports")
async def show_reports(visit: AnyVisit) -> Response:
    """List the reports that the reader may have, and the newest release of what is told in them."""
    reports = visit.services.reports
    return visit.page(
        "reports/list.html",
        shows="reports",
        listed=await reports.listed(visit.session, visit.member),
        standing=await reports.standing(visit.session, visit.member, now=visit.now),
    )


@router.get("/console/reports/{report}")
async def show_one_report(visit: AnyVisit, report: str) -> Response:
    """Show a report; where what is asked for is wrong, what is wrong instead of it, with all that was entered."""
    listed = await visit.services.reports.listed(visit.session, visit.member)
    kind = next((one.kind for one in listed if one.kind.name == report), None)
    if kind is None:
        raise Refused("not_found")
    try:
        asked = _asked(visit, report)
        done = await visit.services.reports.show(visit.session, asked, visit.member, now=visit.now)
    except Refused as refusal:
        faults = {name.removeprefix("query/"): fault for name, fault in forms.by_field(refusal.fields).items()}
        if not faults.keys() & {*PERIOD}:
            raise
        return visit.page(
            "reports/asked.html",
            shows="reports",
            status=422,
            kind=kind,
            views=list(kind.views),
            chosen=visit.request.query_params.get("by", kind.default_view),
            given=visit.request.query_params,
            faults=faults,
        )
    shown = visit.record(done)
    return visit.page(
        "reports/report.html",
        shows="report",
        report=shown,
        views=list(kind.views),
        lacking=lacking(),
        shown_rows=shown["rows"][:SHOWN_ROWS],
        withheld=sum(row.get("status", "s") != "s" for row in shown["rows"]),
        chosen=shown["by"],
        given={"from": asked.first or "", "to": asked.last or ""},
        faults={},
        query=_query(asked),
    )


@router.get("/console/reports/{report}/chart/{theme}.svg")
async def show_chart(visit: AnyVisit, report: str, theme: str) -> Response:
    """Draw a report's chart; where the extra ``reports`` is not installed there is none."""
    if theme not in THEMES:
        raise Refused("not_found")
    shown = visit.record(
        await visit.services.reports.show(visit.session, _asked(visit, report), visit.member, now=visit.now)
    )
    visit.drawn = partial(_chart, shown, theme, visit.language)
    return Response()


async def _chart(shown: Mapping[str, Any], theme: str, language: str) -> Response:
    try:
        drawn = await asyncio.to_thread(make_chart, shown, theme=theme, language=language)
    except ConfigurationError as error:
        raise Refused("not_found", extra={"hint": str(error)}) from None
    if drawn is None:
        raise Refused("not_found")
    return Response(drawn, media_type="image/svg+xml", headers=DRAWN)


@router.get("/console/reports/{report}/file.{suffix}")
async def send_report(visit: AnyVisit, report: str, suffix: str) -> Response:
    """Send a report as a file: JSON, CSV, a workbook or a PDF."""
    if suffix != "json" and suffix not in SUFFIXES:
        raise Refused("not_found")
    shown = visit.record(
        await visit.services.reports.show(visit.session, _asked(visit, report), visit.member, now=visit.now)
    )
    headers = {"Content-Disposition": f'attachment; filename="{shown["report"]}.{suffix}"'}
    if suffix == "json":
        return Response(canonical(shown), media_type="application/json", headers=headers)
    visit.drawn = partial(_file, shown, SUFFIXES[suffix], visit.language, headers)
    return Response()


async def _file(shown: Mapping[str, Any], media: str, language: str, headers: Mapping[str, str]) -> Response:
    try:
        content = await FILES[media].made(shown, language)
    except ConfigurationError as error:
        raise Refused("not_acceptable", extra={"hint": str(error)}) from None
    return Response(content, media_type=media, headers=headers)


def _asked(visit: Visit, report: str) -> Asked:
    given = visit.request.query_params
    wrong = [FieldError(f"/{name}", "format", "a month, such as 2026-12") for name in PERIOD if not _fits(given, name)]
    if wrong:
        raise Refused("validation_failed", fields=wrong)
    first, last = (given.get(name) or None for name in PERIOD)
    filters = {name: given[name][:64] for name in DIMENSIONS if given.get(name)}
    return Asked(report, first, last, given.get("by") or None, filters, visit.language)


def _fits(given: Mapping[str, str], name: str) -> bool:
    return not given.get(name) or MONTH.fullmatch(given[name]) is not None


def _query(asked: Asked) -> Mapping[str, Any]:
    """Return what chart and files are asked with, as the page itself was."""
    given = {"from": asked.first, "to": asked.last, "by": asked.by, **(asked.filters or {})}
    return {name: value for name, value in given.items() if value}
