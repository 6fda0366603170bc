"""Rows of the reports about members' conduct, cut from what was told of their reporting and of the log. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from creditshare.reports.documents import Row
from creditshare.reports.tables import ACTIVITY, QUALITY

Values = tuple[str, ...]
OK: Final = "ok"
AGAIN: Final = "_again"
NO_PURPOSE: Final = ""


@dataclass(frozen=True, slots=True)
class Act:
    """What a lender did so often in a month, with this outcome."""

    month: str
    action: str
    outcome: str
    purpose: str
    hours: str
    lender: str
    count: int


def acts_of(month: str, rows: Iterable[Row]) -> list[Act]:
    """Return the acts of a month's told rows."""
    acts = []
    for row in rows:
        action, outcome, purpose, hours, lender = row.values
        acts.append(Act(month, action, outcome, purpose, hours, lender, row.records or 0))
    return acts


Line = tuple[Values, str, int]
"""What is added to a measure of a row."""


def cut(name: str, view: Sequence[str], told: Mapping[tuple[str, str], Sequence[Row]]) -> dict[Values, dict[str, int]]:
    """Return the rows of a report about conduct: measures by the values of the view's dimensions.

    ``told`` holds the rows that were told, by family and part.
    """
    rows: dict[Values, dict[str, int]] = {}
    for values, measure, count in _LINES[name](view, told):
        row = rows.setdefault(values, {})
        row[measure] = row.get(measure, 0) + count
    return rows


def _acts(told: Mapping[tuple[str, str], Sequence[Row]]) -> Iterator[Act]:
    for (family, part), rows in told.items():
        if family == ACTIVITY:
            yield from acts_of(part, rows)


def _quality(view: Sequence[str], told: Mapping[tuple[str, str], Sequence[Row]]) -> Iterator[Line]:
    for (family, _), rows in told.items():
        if family == QUALITY:
            for row in rows:
                month, measure, lender = row.values
                yield (_period(view, month), lender), measure, row.records or 0
    for act in _acts(told):
        refused = act.action in {"submit_record", "correct_record"} and act.outcome != OK
        if refused or act.action == "finish_job.refused":
            yield (_period(view, act.month), act.lender), "refused", act.count


def _inquiries(view: Sequence[str], told: Mapping[tuple[str, str], Sequence[Row]]) -> Iterator[Line]:
    for act in _acts(told):
        if act.action in {"run_query", "run_non_performing_test"}:
            values = _values(view, act)
            if values is None:
                continue
            yield values, "asked", act.count
            yield values, "answered" if act.outcome == OK else "refused", act.count
            if act.hours == "after":
                yield values, "after_hours", act.count
        elif "lender" in view and act.action == "evaluate_tokens.elements":
            yield (act.month, act.lender), "evaluations", act.count
        elif "lender" in view and act.action in {"submit_record", "load_record"} and act.outcome == OK:
            yield (act.month, act.lender), "reports", act.count


def _values(view: Sequence[str], act: Act) -> Values | None:
    if "reason" in view:
        return None if act.outcome == OK else (act.month, act.outcome)
    return (act.month, act.lender if "lender" in view else act.purpose)


_CONSENT_MEASURES: Final = {
    "grant_consent": "granted",
    "revoke_consent": "revoked",
    "pause_consent": "paused",
    "resume_consent": "resumed",
}


def _consents(view: Sequence[str], told: Mapping[tuple[str, str], Sequence[Row]]) -> Iterator[Line]:
    for act in _acts(told):
        measure = _CONSENT_MEASURES.get(act.action)
        if measure is not None and act.outcome == OK:
            # Each consent is counted once without a purpose for its lender, and in each of its purposes.
            if "lender" in view:
                if act.purpose == NO_PURPOSE:
                    yield (act.month, act.lender), measure, act.count
            elif act.purpose != NO_PURPOSE or measure != "granted":
                yield (act.month, act.purpose), measure, act.count


def _erasures(_: Sequence[str], told: Mapping[tuple[str, str], Sequence[Row]]) -> Iterator[Line]:
    measures = {"erase_record": "records_erased", "erase_borrower": "borrowers_erased"}
    for act in _acts(told):
        if act.action in measures and act.outcome == OK:
            yield (act.month,), measures[act.action], act.count


def _period(view: Sequence[str], month: str) -> str:
    return month[:4] if view[0] == "year" else month


_LINES: Final[Mapping[str, Callable[[Sequence[str], Mapping[tuple[str, str], Sequence[Row]]], Iterator[Line]]]] = {
    "member_quality": _quality,
    "inquiries": _inquiries,
    "consents": _consents,
    "erasures": _erasures,
}
