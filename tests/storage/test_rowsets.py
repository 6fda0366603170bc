"""Rows spread out by ``unnest`` are the rows that were given, whatever is in them."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.rowsets import Columns, parameters_of, rows_of

COLUMNS: Columns = {
    "bytes": "bytea",
    "id": "uuid",
    "words": "text",
    "small": "smallint",
    "whole": "integer",
    "large": "bigint",
    "at": "timestamptz",
    "day": "date",
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bytes": st.binary(max_size=300),
    "id": st.uuids(),
    "words": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50),
    "small": st.integers(-(2**15), 2**15 - 1),
    "whole": st.integers(-(2**31), 2**31 - 1),
    "large": st.integers(-(2**63), 2**63 - 1),
    "at": st.datetimes(timezones=st.just(UTC)).filter(lambda at: 1 < at.year < 9999),
    "day": st.dates(),
}
ROW = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})


@pytest.fixture(scope="module")
def connection(postgres: EmbeddedPostgres) -> Any:
    url = postgres.url("superuser").replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


def spread(connection: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    source = rows_of("q", COLUMNS, numbered=True)
    with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        found = cursor.execute(f"SELECT * FROM {source}", parameters_of("q", COLUMNS, rows)).fetchall()  # noqa: S608
    assert [row.pop("n") for row in found] == list(range(1, len(rows) + 1))
    return list(found)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(ROW, max_size=6))
def test_rows_come_back_as_they_were(connection: Any, rows: list[dict[str, Any]]) -> None:
    assert spread(connection, rows) == rows


def test_columns_without_any_value_keep_their_type(connection: Any) -> None:
    rows = [dict.fromkeys(COLUMNS)] * 3
    assert spread(connection, rows) == rows
    assert spread(connection, []) == []


def test_an_instant_of_another_zone_and_other_buffers_are_taken(connection: Any) -> None:
    at = datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=8)))
    row = {**dict.fromkeys(COLUMNS), "at": at, "bytes": memoryview(b"\0\xff"), "day": date.max}
    (found,) = spread(connection, [row])
    assert (found["at"], found["bytes"], found["day"]) == (at, b"\0\xff", date.max)


@pytest.mark.parametrize(("column", "value"), [("small", 2**15), ("id", "text"), ("at", 5), ("words", b"x"), ("id", 7)])
def test_what_is_of_another_type_is_an_error_before_anything_is_sent(connection: Any, column: str, value: Any) -> None:
    with pytest.raises(Exception, match=r".") as raised:
        spread(connection, [{**dict.fromkeys(COLUMNS), column: value}])
    assert not isinstance(raised.value, psycopg.OperationalError | psycopg.errors.DataError) or column == "small"


def test_the_source_names_its_columns() -> None:
    assert rows_of("q", {"a": "text", "b": "uuid"}) == "unnest(%(q_a)s::text[], %(q_b)s::uuid[]) AS q (a, b)"
    assert UUID(int=1) in parameters_of("q", {"b": "uuid"}, [{"b": UUID(int=1)}])["q_b"].values
