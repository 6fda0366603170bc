"""A report as a PDF for people: chart, rows, and how they were made. Needs the extra ``reports`` and fonts.

Text is set by WeasyPrint, which needs Pango and, for Chinese, a font of it on the machine.
"""

import base64
import importlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, Final

from creditshare.errors import ConfigurationError
from creditshare.reports.charts import make_chart
from creditshare.reports.words import basis_in_words, value_in_words
from creditshare.reports.workbook import MISSING

MOST_LINES: Final = 400
"""Rows of a PDF; who needs more takes another format."""
WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "method": "Method",
        "rules": "Numbers that decided",
        "period": "Period",
        "by": "By",
        "release": "Release",
        "log": "Log checkpoint",
        "waiting": "Events not counted yet",
        "unreadable": "Log entries that could not be opened, in no number",
        "held": "Changes held back in",
        "sources": "Sources",
        "signature": "Digest and signature",
        "more": "{count:,} more rows stand in the other formats.",
        "all": "all",
        "nothing": "Nothing was told of this period.",
    },
    "zh": {
        "method": "方法",
        "rules": "适用数值",
        "period": "期间",
        "by": "维度",
        "release": "发布批次",
        "log": "日志检查点",
        "waiting": "尚未统计的事件",
        "unreadable": "无法打开、未计入任何数字的日志条目",
        "held": "暂缓更新的期间",
        "sources": "依据",
        "signature": "摘要与签名",
        "more": "其余 {count:,} 行见其他格式。",
        "all": "全部",
        "nothing": "该期间尚无公布内容。",
    },
}


def make_pdf(reports: Sequence[Mapping[str, Any]], language: str) -> bytes:
    """Return reports as one PDF in a language, each beginning on a page of its own."""
    return render(page_of(reports, language))


def render(html: str) -> bytes:
    """Set a page. Nothing is fetched: all that it shows is in it."""
    try:
        weasyprint: Any = importlib.import_module("weasyprint")
    except (ImportError, OSError):  # its own libraries are the system's
        raise ConfigurationError(f"{MISSING}; a PDF also needs Pango (Debian: libpangoft2-1.0-0)") from None
    inside_only = weasyprint.urls.URLFetcher(allowed_protocols=("data",))
    return bytes(weasyprint.HTML(string=html, url_fetcher=inside_only).write_pdf())


def page_of(reports: Sequence[Mapping[str, Any]], language: str) -> str:
    """Return the page that is set: HTML with its style and its charts inside."""
    title = escape(", ".join(report["title"] for report in reports))
    sections = "".join(f"<section>{''.join(section_of(report, language))}</section>" for report in reports)
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_style()}</style></head><body>{sections}</body></html>"
    )


def section_of(report: Mapping[str, Any], language: str) -> Iterator[str]:
    """Yield a report's part of a page."""
    words = WORDS[language]
    yield f"<h1>{escape(report['title'])}</h1><p class=facts>"
    facts = [(words["period"], span_of(report) or words["all"])]
    if titles := _dimension_titles(report):
        facts.append((words["by"], ", ".join(titles)))
    facts += [("", f"{name} = {value}") for name, value in report["filters"].items()]
    release = report["release"]
    if release:
        facts.append((words["release"], f"{release['number']} · {release['made_at'][:10]}"))
    yield "".join(f"<span>{escape(name)} <b>{escape(value)}</b></span>" for name, value in facts) + "</p>"
    chart = make_chart(report, language=language)
    if chart is not None:
        yield f'<img alt="" src="data:image/svg+xml;base64,{base64.b64encode(chart.encode()).decode()}">'
    if report["rows"]:
        yield from _table(report, language)
    else:
        yield f"<p>{words['nothing']}</p>"
    yield from _explained(report, language)


def span_of(report: Mapping[str, Any]) -> str:
    """Return the periods of a report's rows, from the first to the last."""
    names = [name for name in ("month", "year", "opened") if report["rows"] and name in report["rows"][0]]
    if not names:
        return ""
    periods = [row[names[0]] for row in report["rows"]]
    return f"{min(periods)} – {max(periods)}"


def _dimension_titles(report: Mapping[str, Any]) -> list[str]:
    return [column["title"] for column in report["columns"] if column["kind"] == "dimension"]


def _table(report: Mapping[str, Any], language: str) -> Iterator[str]:
    yield "<table><thead><tr>"
    for column in report["columns"]:
        yield f"<th{'' if column['kind'] == 'dimension' else ' class=n'}>{escape(column['title'])}</th>"
    yield "</tr></thead><tbody>"
    for row in report["rows"][:MOST_LINES]:
        yield "<tr>" + "".join(_cell(row, column, report, language) for column in report["columns"]) + "</tr>"
    yield "</tbody></table>"
    left = len(report["rows"]) - MOST_LINES
    if left > 0:
        yield f"<p>{WORDS[language]['more'].format(count=left)}</p>"


def _cell(row: Mapping[str, Any], column: Mapping[str, str], report: Mapping[str, Any], language: str) -> str:
    value = row.get(column["name"])
    if column["kind"] == "dimension":
        return f"<td>{escape(value_in_words(column['name'], value, report, language))}</td>"
    if value is None:
        status = row.get("exposure_status" if column["name"] == "exposure" else "status", "u")
        return f"<td class=w>{status}</td>"
    text = f"{value:,}" if isinstance(value, int) else _grouped(value)
    return f"<td class=n>{text}</td>"


def _grouped(amount: str) -> str:
    whole, _, cents = amount.partition(".")
    return f"{int(whole):,}.{cents}"


def _explained(report: Mapping[str, Any], language: str) -> Iterator[str]:
    words = WORDS[language]
    yield f"<h2>{words['method']}</h2><p>{escape(report['method'])}</p><dl>"
    for status, text in report["statuses"].items():
        yield f"<dt>{escape(status)}</dt><dd>{escape(text)}</dd>"
    yield f"<dt>{words['sources']}</dt><dd>{escape('; '.join(report['sources']))}</dd>"
    if report["held"]:
        yield f"<dt>{words['held']}</dt><dd>{escape(', '.join(report['held']))}</dd>"
    if report["waiting"] is not None:
        yield f"<dt>{words['waiting']}</dt><dd>{report['waiting']:,}</dd>"
    if report["release"] and report["release"]["log"]["unreadable"]:
        yield f"<dt>{words['unreadable']}</dt><dd>{report['release']['log']['unreadable']:,}</dd>"
    yield f"</dl><h2>{words['rules']}</h2><dl>"
    for rule in report["rules"]:
        basis = basis_in_words(rule["basis"], language)
        yield f"<dt>{escape(rule['rule'])}</dt><dd>{escape(rule['value'])} · {escape(basis)}</dd>"
    yield f"</dl><h2>{words['signature']}</h2><pre>{escape(report['digest'])}\n{escape(report['signature'])}</pre>"
    if report["release"] and report["release"]["log"]["checkpoint"]:
        yield f"<h2>{words['log']}</h2><pre>{escape(report['release']['log']['checkpoint'])}</pre>"


@cache
def _style() -> str:
    return (files("creditshare.reports") / "report.css").read_text()
