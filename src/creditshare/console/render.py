"""Puts services' values and the words of a language into templates: all escaped, nothing computed there."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Literal

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from creditshare.console.texts import TEXTS
from creditshare.ids import spell
from creditshare.reports.catalogue import KINDS, LABELS
from creditshare.reports.words import basis_in_words, value_in_words
from creditshare.wire.reasons import REASONS

Language = Literal["en", "zh"]
LANGUAGE_COOKIE: Final = "cs-language"
FOLDER: Final = Path(__file__).parent
TABS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "operator": (
        ("/console/desk", "nav.tasks"),
        ("/console/desk/members", "nav.members"),
        ("/console/warrants", "nav.warrants"),
        ("/console/desk/erasures", "nav.erasures"),
        ("/console/desk/jobs", "nav.jobs"),
        ("/console/desk/health", "nav.health"),
        ("/console/reports", "nav.reports"),
        ("/console/log", "nav.log"),
        ("/console/passkeys", "nav.passkeys"),
    ),
    "regulator": (
        ("/console/oversight", "nav.overview"),
        ("/console/reports", "nav.reports"),
        ("/console/warrants", "nav.warrants"),
        ("/console/log", "nav.log"),
        ("/console/reading", "nav.reading"),
        ("/console/passkeys", "nav.passkeys"),
    ),
    "lender": (
        ("/console/bank", "nav.overview"),
        ("/console/bank/inquiries", "nav.inquiries"),
        ("/console/bank/consents", "nav.consents"),
        ("/console/bank/keys", "nav.keys"),
        ("/console/log", "nav.log"),
    ),
}
"""Where each kind of user can go; the first is where a session begins."""


def chosen_language(request: Request) -> Language:
    """Return the language of a page: the one chosen by a link, now or before, else the reader's own."""
    wanted = (
        request.query_params.get("lang")
        or request.cookies.get(LANGUAGE_COOKIE)
        or request.headers.get("accept-language", "")
    )
    return "zh" if wanted.lower().lstrip().startswith("zh") else "en"


def page(template: str, *, language: Language, status: int = 200, **context: Any) -> Response:
    """Return a page made of a template."""
    member = context.get("member")
    tabs = TABS[member.role] if member is not None else ()
    html = TEMPLATES.get_template(template).render(language=language, tabs=tabs, status=status, **context)
    return HTMLResponse(html, status)


def words(language: Language, key: str, **values: Any) -> str:
    """Return a text in a language, with values put in."""
    text = TEXTS[key]
    chosen = text.zh if language == "zh" else text.en
    return chosen.format(**values) if values else chosen


@pass_context
def _t(context: Context, key: str, **values: Any) -> str:
    return words(context["language"], key, **values)


@pass_context
def _code(context: Context, family: str, code: str) -> str:
    """Return the words for a code of ours; one without words shows itself."""
    key = f"{family}.{code}"
    return words(context["language"], key) if key in TEXTS else code.replace("_", " ")


@pass_context
def _refusal(context: Context, code: str) -> str:
    """Return what a refusal's code means, in a few words."""
    reason = REASONS.get(code)
    if reason is None:
        return code.replace("_", " ")
    return reason.title.zh if context["language"] == "zh" else reason.title.en


@pass_context
def _named(context: Context, name: str) -> str:
    """Return what a report is called."""
    kind = KINDS.get(name)
    return kind.title.of(context["language"]) if kind else name.replace("_", " ")


@pass_context
def _view(context: Context, name: str) -> str:
    """Return what a report is told by, in words."""
    language = context["language"]
    labels = [
        LABELS[one].of(language) if one in LABELS else value_in_words("view", one, {}, language)
        for one in name.split(",")
    ]
    return " × ".join(labels)


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _day(value: datetime | date) -> str:
    return value.isoformat()[:10]


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _amount(text: str) -> str:
    """Return a decimal amount with its thousands apart."""
    whole, point, rest = text.partition(".")
    return f"{int(whole):,}{point}{rest}" if whole.isdecimal() else text


@pass_context
def _ago(context: Context, seconds: float) -> str:
    """Return how long ago something was, in its largest unit."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return words(context["language"], f"ago.{unit}", count=int(seconds // size))
    return words(context["language"], "ago.seconds", count=max(0, int(seconds)))


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        t=_t,
        code=_code,
        refusal=_refusal,
        report_title=_named,
        view_title=_view,
        value_title=value_in_words,
        basis_title=basis_in_words,
        spell=spell,
    )
    made.filters.update(moment=_moment, day=_day, number=_number, amount=_amount, ago=_ago)
    return made


TEMPLATES: Final = _environment()
