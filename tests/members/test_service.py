"""The pure parts of membership: how far a compromise reaches, and when guessing a code is stopped."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import RowMapping

from creditshare.members.service import CODE_TRIES_PER_HOUR, _registered_through, _too_many_tries

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def row(**columns: Any) -> RowMapping:
    return cast("RowMapping", columns)


def key(kid: str, by: str | None, minutes: int) -> RowMapping:
    return row(kid=kid, registered_by=by, registered_at=NOW + timedelta(minutes=minutes))


KEYS = [key("root", None, -60), key("a", "root", -1), key("b", "root", 0), key("c", "b", 5), key("d", "c", 9)]


def test_a_compromise_reaches_what_the_key_registered_since_then_through_any_chain() -> None:
    assert _registered_through(KEYS, "root", NOW) == {"root", "b", "c", "d"}
    assert _registered_through(KEYS, "root", NOW - timedelta(minutes=1)) == {"root", "a", "b", "c", "d"}
    assert _registered_through(KEYS, "c", NOW) == {"c", "d"}
    assert _registered_through(KEYS, "d", NOW) == {"d"}
    assert _registered_through(KEYS, "root", NOW + timedelta(microseconds=1)) == {"root"}


def test_a_chain_that_leads_back_to_itself_ends() -> None:
    circle = [key("a", "b", 1), key("b", "a", 1)]
    assert _registered_through(circle, "a", NOW) == {"a", "b"}


def test_the_tenth_wrong_code_closes_the_door_for_the_rest_of_the_hour() -> None:
    hour = timedelta(hours=1)
    assert not _too_many_tries(row(tries_since=None, wrong_tries=0), NOW)
    assert not _too_many_tries(row(tries_since=NOW, wrong_tries=CODE_TRIES_PER_HOUR - 1), NOW)
    full = row(tries_since=NOW, wrong_tries=CODE_TRIES_PER_HOUR)
    assert _too_many_tries(full, NOW)
    assert _too_many_tries(full, NOW + hour - timedelta(microseconds=1))
    assert not _too_many_tries(full, NOW + hour)
    assert CODE_TRIES_PER_HOUR == 10
