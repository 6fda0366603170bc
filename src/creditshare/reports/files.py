"""A report as a file: CSV, a workbook, or a PDF. All are made of the document alone, so that each says the same."""

import asyncio
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from creditshare.reports.pdf import make_pdf
from creditshare.reports.workbook import make_workbook

NEEDS: Final[Mapping[str, str]] = {"xlsx": "xlsxwriter", "svg": "vl_convert", "pdf": "weasyprint"}
"""What draws what, of the extra ``reports``."""
PANGO: Final = "pangoft2-1.0"  # of the system; weasyprint lays text out by it
CSV: Final = "text/csv"
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PDF: Final = "application/pdf"
FORMULA: Final = (*"=+-@\t\r", *"\uff1d\uff0b\uff0d\uff20")
"""What makes a spreadsheet take text for a formula: four signs, their full-width forms, a tab and a return."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: its suffix, and what makes it of a report in a language."""

    suffix: str
    make: Callable[[Sequence[Mapping[str, Any]], str], bytes]

    async def made(self, report: Mapping[str, Any], language: str) -> bytes:
        """Make the file beside the loop: it takes up to a second.

        ``ConfigurationError`` where the extra ``reports`` is not installed.
        """
        return await asyncio.to_thread(self.make, [report], language)


@cache
def lacking() -> tuple[str, ...]:
    """Return which of the formats nothing here can draw, so that nobody is offered them."""
    without = [suffix for suffix, module in NEEDS.items() if find_spec(module) is None]
    return tuple(without if "pdf" in without or find_library(PANGO) else [*without, "pdf"])


def make_csv(reports: Sequence[Mapping[str, Any]], language: str) -> bytes:
    """Return a report's rows (RFC 4180) under the API's names; a withheld number is empty, its status says why."""
    del language
    (report,) = reports
    names = [column["name"] for column in report["columns"]]
    names += [name for name in ("status", "exposure_status") if any(name in row for row in report["rows"])]
    lenders = report.get("lenders", {})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*names, *(["lender_name"] if lenders else [])])
    for row in report["rows"]:
        values = [row.get(name) for name in names]
        writer.writerow([*values, *([_plain(lenders.get(row["lender"], ""))] if lenders else [])])
    return text.getvalue().encode()


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


FILES: Final[Mapping[str, FileKind]] = {
    CSV: FileKind("csv", make_csv),
    XLSX: FileKind("xlsx", make_workbook),
    PDF: FileKind("pdf", make_pdf),
}
"""Kinds of files by media type."""
