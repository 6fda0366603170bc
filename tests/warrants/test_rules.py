"""What may be asked for, what an approval must repeat, and what a warrant is at an instant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from creditshare.errors import Refused
from creditshare.warrants import rules
from creditshare.warrants.rules import Terms, Warrant

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY, TICK = timedelta(days=1), timedelta(milliseconds=1)
TERMS = Terms("rec_1", "court_order", "2026-CV-1", "double pledging", ("inquiries", "records"), NOW + 30 * DAY)
WARRANT = Warrant(UUID(int=1), UUID(int=2), UUID(int=3), "requested", NOW, NOW + 14 * DAY, None, NOW + 30 * DAY)


def wrong(terms: Terms) -> list[tuple[str, str]]:
    try:
        rules.check(terms, most_days=30, now=NOW)
    except Refused as refusal:
        return [(field.pointer, field.code) for field in refusal.fields]
    return []


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, []),
        ({"ends_at": NOW + TICK}, []),
        ({"ends_at": NOW}, [("/ends_at", "in_past")]),
        ({"ends_at": NOW + 30 * DAY + TICK}, [("/ends_at", "too_late")]),
        ({"reference": "91350100M000100Y43"}, [("/reference", "identifier")]),
        ({"reason": "91350100M000100Y43"}, [("/reason", "identifier")]),
    ],
    ids=["as long as may be", "soon over", "over", "too long", "identifier as reference", "identifier as reason"],
)
def test_what_may_be_asked_for(changes: dict[str, Any], fields: list[tuple[str, str]]) -> None:
    assert wrong(replace(TERMS, **changes)) == fields


@pytest.mark.parametrize(
    "change",
    [
        {"named": "rec_2"},
        {"legal_basis": "borrower_complaint"},
        {"reference": "2026-CV-2"},
        {"reason": "curiosity"},
        {"scopes": ("records",)},
        {"ends_at": NOW + 29 * DAY},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_approval_repeats_every_term(change: dict[str, Any]) -> None:
    rules.require_repeated(TERMS, replace(TERMS), same_regulator=True)
    with pytest.raises(Refused) as caught:
        rules.require_repeated(TERMS, replace(TERMS, **change), same_regulator=True)
    assert [field.pointer for field in caught.value.fields] == [f"/{name}" for name in change]


def test_an_approval_repeats_who_asked() -> None:
    with pytest.raises(Refused) as caught:
        rules.require_repeated(TERMS, TERMS, same_regulator=False)
    assert [field.pointer for field in caught.value.fields] == ["/regulator_id"]


@pytest.mark.parametrize(
    ("state", "after", "status"),
    [
        ("requested", 14 * DAY - TICK, "requested"),
        ("requested", 14 * DAY, "lapsed"),
        ("active", 14 * DAY, "active"),
        ("active", 30 * DAY - TICK, "active"),
        ("active", 30 * DAY, "expired"),
        ("revoked", 30 * DAY, "revoked"),
        ("rejected", 30 * DAY, "rejected"),
    ],
)
def test_its_time_is_over_without_anybody_acting(state: rules.State, after: timedelta, status: rules.Status) -> None:
    assert replace(WARRANT, state=state).status(NOW + after) == status


def test_a_request_lapses_at_the_end_that_it_asks_for_where_that_is_sooner() -> None:
    soon = replace(WARRANT, ends_at=NOW + DAY)
    assert (soon.status(NOW + DAY - TICK), soon.status(NOW + DAY)) == ("requested", "lapsed")


@pytest.mark.parametrize("state", ["requested", "rejected", "withdrawn", "revoked"])
def test_only_an_active_one_is_in_force(state: rules.State) -> None:
    rules.require_in_force(replace(WARRANT, state="active"), ("records",), "records", NOW)
    with pytest.raises(Refused, match="warrant_not_in_force"):
        rules.require_in_force(replace(WARRANT, state=state), ("records",), "records", NOW)
    with pytest.raises(Refused, match="warrant_not_in_force"):
        rules.require_in_force(replace(WARRANT, state="active"), ("records",), "records", WARRANT.ends_at)


def test_it_covers_what_its_scopes_name() -> None:
    with pytest.raises(Refused, match="warrant_scope"):
        rules.require_in_force(replace(WARRANT, state="active"), ("records",), "inquiries", NOW)
