"""Reports as an XLSX workbook: the rows of each, and a sheet of how they were made. Needs the extra ``reports``."""

import importlib
import io
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from creditshare.errors import ConfigurationError
from creditshare.reports.words import basis_in_words, value_in_words

MISSING: Final = "files of reports need the extra: pip install 'creditshare[reports]'"
WIDEST: Final = 48
WITHHELD: Final = "·"
LONGEST_NAME: Final = 31  # of a sheet, by the format
_FORBIDDEN: Final = re.compile(r"[\[\]:*?/\\]")
WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {"method": "Method", "status": "Status", "lender": "Lender's name"},
    "zh": {"method": "方法", "status": "状态", "lender": "机构名称"},
}


def make_workbook(reports: Sequence[Mapping[str, Any]], language: str) -> bytes:
    """Return the workbook. Numbers are numbers, withheld ones are hatched, and no text is taken for a formula."""
    try:
        xlsxwriter: Any = importlib.import_module("xlsxwriter")
    except ImportError:
        raise ConfigurationError(MISSING) from None
    data = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(data, options) as book:
        forms = _Forms(book)
        for number, report in enumerate(reports, start=1):
            name = f"{number} {report['title']}" if len(reports) > 1 else report["title"]
            _write_rows(book.add_worksheet(_FORBIDDEN.sub(" ", name)[:LONGEST_NAME]), report, forms, language)
        sheet, place = book.add_worksheet(WORDS[language]["method"]), 0
        sheet.set_column(0, 0, 28)
        sheet.set_column(1, 1, 100)
        for report in reports:
            place = _write_method(sheet, place, report, forms, language)
    return data.getvalue()


class _Forms:
    def __init__(self, book: Any) -> None:
        self.title = book.add_format({"bold": True, "font_size": 15})
        self.head = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        self.head_right = book.add_format(
            {"bold": True, "bottom": 1, "text_wrap": True, "valign": "top", "align": "right"}
        )
        self.count = book.add_format({"num_format": "#,##0"})
        self.amount = book.add_format({"num_format": "#,##0.00"})
        self.withheld = book.add_format({"pattern": 14, "fg_color": "#B9BEC6", "bg_color": "#FFFFFF", "align": "right"})
        self.wrapped = book.add_format({"text_wrap": True, "valign": "top"})
        self.quiet = book.add_format({"font_color": "#5B6472"})


def _write_rows(sheet: Any, report: Mapping[str, Any], forms: _Forms, language: str) -> None:
    columns, lenders = report["columns"], report.get("lenders", {})
    statuses = [name for name in ("status", "exposure_status") if any(name in row for row in report["rows"])]
    sheet.write_string(0, 0, report["title"], forms.title)
    sheet.write_string(1, 0, f"{report['by']} · {report['digest']}", forms.quiet)
    top = 3
    for number, column in enumerate(columns):
        head = forms.head if column["kind"] == "dimension" else forms.head_right
        sheet.write_string(top, number, column["title"], head)
        width = max([len(column["title"]), *(len(str(row.get(column["name"], ""))) for row in report["rows"][:500])])
        sheet.set_column(number, number, min(width + 3, WIDEST))
    more = [*statuses, *(["lender_name"] if lenders else [])]
    for number, name in enumerate(more, start=len(columns)):
        sheet.write_string(top, number, WORDS[language]["lender" if name == "lender_name" else "status"], forms.head)
    for place, row in enumerate(report["rows"], start=top + 1):
        for number, column in enumerate(columns):
            value = row.get(column["name"])
            if column["kind"] == "dimension" and column["name"] != "lender":  # beside the id stands the name
                value = value_in_words(column["name"], value, report, language)
            _write_value(sheet, place, number, value, column, forms)
        for number, name in enumerate(more, start=len(columns)):
            text = lenders.get(row.get("lender"), "") if name == "lender_name" else row.get(name) or ""
            sheet.write_string(place, number, text)
    sheet.freeze_panes(top + 1, 0)
    if report["rows"]:
        sheet.autofilter(top, 0, top + len(report["rows"]), len(columns) + len(more) - 1)
    sheet.set_landscape()
    sheet.repeat_rows(top)
    sheet.fit_to_pages(1, 0)


def _write_value(sheet: Any, place: int, number: int, value: Any, column: Mapping[str, str], forms: _Forms) -> None:
    if value is None:
        sheet.write_string(place, number, WITHHELD, forms.withheld)
    elif isinstance(value, int):
        sheet.write_number(place, number, value, forms.count)
    elif column["name"] == "exposure":
        sheet.write_number(place, number, float(Decimal(value)), forms.amount)
    else:
        sheet.write_string(place, number, value)


def _write_method(sheet: Any, top: int, report: Mapping[str, Any], forms: _Forms, language: str) -> int:
    sheet.write_string(top, 0, report["title"], forms.title)
    release = report["release"] or {}
    log = release.get("log", {})
    lines = [
        ("", report["method"]),
        *(("", source) for source in report["sources"]),
        ("", ""),
        *report["statuses"].items(),
        ("", ""),
        *((rule["rule"], f"{rule['value']} · {basis_in_words(rule['basis'], language)}") for rule in report["rules"]),
        ("", ""),
        ("held", ", ".join(report["held"])),
        ("release", str(release.get("number", ""))),
        ("made_at", release.get("made_at", "")),
        ("policy_version", release.get("policy_version", "")),
        ("log size", str(log.get("size", ""))),
        ("log entries that could not be opened", str(log.get("unreadable", ""))),
        ("log checkpoint", log.get("checkpoint", "")),
        ("digest", report["digest"]),
        ("signature", report["signature"]),
    ]
    for place, (name, text) in enumerate(lines, start=top + 1):
        sheet.write_string(place, 0, name, forms.quiet)
        sheet.write_string(place, 1, text, forms.wrapped)
    return top + len(lines) + 3
