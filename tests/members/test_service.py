"""When guessing an enrolment code is stopped."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import RowMapping

from creditshare.members.keys import CODE_TRIES_PER_HOUR, _too_many_tries

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def row(**columns: Any) -> RowMapping:
    return cast("RowMapping", columns)


def test_the_tenth_wrong_code_closes_the_door_for_the_rest_of_the_hour() -> None:
    hour = timedelta(hours=1)
    assert not _too_many_tries(row(tries_since=None, wrong_tries=0), NOW)
    assert not _too_many_tries(row(tries_since=NOW, wrong_tries=CODE_TRIES_PER_HOUR - 1), NOW)
    full = row(tries_since=NOW, wrong_tries=CODE_TRIES_PER_HOUR)
    assert _too_many_tries(full, NOW)
    assert _too_many_tries(full, NOW + hour - timedelta(microseconds=1))
    assert not _too_many_tries(full, NOW + hour)
    assert CODE_TRIES_PER_HOUR == 10
