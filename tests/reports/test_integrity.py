"""Who administers the database and writes: reports are read, counted and told as if he had not, or not at all."""
# ruff: noqa: S608  statements of an attacker's, made of nothing but constants

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from tests.fixtures.report_cells import as_worker, cells_of, count_and_tell, report_within_notice
from tests.fixtures.service import RunningService, record_body, running_service, wait_for

from creditshare.client.bank import Client
from creditshare.client.problems import Problem
from creditshare.errors import IntegrityError
from creditshare.reports.repository import _POSITION, FORM, CellStore, Position
from creditshare.reports.tables import DEFAULTS, QUALITY
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import WriteSession
from creditshare.wire.strict_json import canonical

USCC = ("91350100M000100Y43", "91999999DEM000014G", "91999999DEM000022B")
TODAY = datetime.now(UTC).date()
NEWEST = "(SELECT max(release) FROM report_release)"
CONDUCT = "/v1/reports/member_quality"

pytestmark = pytest.mark.slow


@pytest.fixture
def service(postgres: EmbeddedPostgres, template: str) -> Iterator[RunningService]:
    """A service whose reports are counted and told when a test says so."""
    with running_service(postgres, template, reports_told_every_s=0) as running:
        yield running


@pytest.fixture
def lender(service: RunningService) -> Client:
    return service.admit("One", region="US")


@pytest.fixture
def regulator(service: RunningService) -> Client:
    return service.admit("Regulator", role="regulator", region="US")


@contextlib.contextmanager
def attacker(service: RunningService) -> Iterator["psycopg.Connection[Any]"]:
    """A session of the administrator's, all triggers off."""
    with service.superuser() as database:
        database.execute("SET session_replication_role = replica")
        for table in ("report_told", "report_release"):
            database.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER".encode())
        yield database


def submit(lender: Client, number: int, account: str, **changes: Any) -> str:
    (subject,) = lender.tokenise([USCC[number]])
    return str(lender.call("POST", "/v1/records", data=record_body(subject, account, **changes))["record_id"])


def settle_log(service: RunningService) -> None:
    """Wait until every event has its place in the log."""
    with service.superuser() as database:
        wait_for(lambda: database.execute("SELECT NOT EXISTS (SELECT FROM audit_pending)").fetchone() == (True,))


def told_twice(service: RunningService, lender: Client) -> None:
    for account in ("a", "b"):
        submit(lender, 0, account)
        settle_log(service)
        count_and_tell(service)


def rows_told(regulator: Client) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = regulator.call("GET", CONDUCT).data["rows"]
    return rows


@pytest.mark.parametrize(
    "statement",
    [
        f"DELETE FROM report_told WHERE report = 'quality' AND release = {NEWEST}",
        (
            "UPDATE report_told t SET document = o.document, seal = o.seal FROM report_told o"
            " WHERE t.report = 'quality' AND o.report = t.report AND o.part = t.part"
            f" AND t.release = {NEWEST} AND o.release < t.release"
        ),
        f"UPDATE report_release SET manifest = '[]' WHERE release = {NEWEST}",
        f"UPDATE report_release SET log_size = 0 WHERE release = {NEWEST}",
    ],
    ids=["newest taken away", "older put back", "list edited", "release edited"],
)
def test_what_is_not_as_it_was_told_is_not_read(
    service: RunningService, lender: Client, regulator: Client, statement: str
) -> None:
    told_twice(service, lender)
    assert [row["records"] for row in rows_told(regulator)] == [2]
    with attacker(service) as database:
        assert database.execute(statement.encode()).rowcount > 0
    with pytest.raises(Problem) as refused:
        rows_told(regulator)
    assert refused.value.code == "internal_error"


def test_a_release_taken_away_is_not_made_anew(service: RunningService, lender: Client) -> None:
    told_twice(service, lender)
    with attacker(service) as database:
        database.execute(f"DELETE FROM report_told WHERE release = {NEWEST}".encode())
        database.execute(f"DELETE FROM report_release WHERE release = {NEWEST}".encode())
    with pytest.raises(IntegrityError, match="newest release"):
        count_and_tell(service)


def test_an_older_state_of_everything_is_known_by_the_log(service: RunningService, lender: Client) -> None:
    """Each part of it fits the others; the log, which is counted on from there, tells of a later release."""
    tables = ("report_told", "report_release", "report_position", "report_cells", "report_counted", "report_due")
    submit(lender, 0, "a")
    settle_log(service)
    count_and_tell(service)
    with service.superuser() as database:
        for table in tables:
            database.execute(f"CREATE TABLE older_{table} AS TABLE {table}".encode())
    submit(lender, 0, "b")
    settle_log(service)
    count_and_tell(service)
    settle_log(service)
    with attacker(service) as database:
        for table in tables:
            database.execute(f"DELETE FROM {table}".encode())
            database.execute(f"INSERT INTO {table} TABLE older_{table}".encode())
    with pytest.raises(IntegrityError, match="newest release"):
        count_and_tell(service)


@pytest.mark.parametrize("put_back", [False, True], ids=["taken away", "put back"])
def test_cells_that_are_not_those_that_were_kept_are_neither_counted_on_nor_told(
    service: RunningService, lender: Client, *, put_back: bool
) -> None:
    submit(lender, 0, "a")
    count_and_tell(service)
    with service.superuser() as database:
        database.execute("CREATE TABLE older AS TABLE report_cells")
    submit(lender, 0, "b")
    count_and_tell(service)
    with attacker(service) as database:
        database.execute("DELETE FROM report_cells")
        if put_back:  # each with its seal, in a place that it once had
            database.execute("INSERT INTO report_cells TABLE older")
    with pytest.raises(IntegrityError):
        cells_of(service, QUALITY)
    submit(lender, 1, "c")
    with pytest.raises(IntegrityError):
        count_and_tell(service)


def test_a_place_of_cells_is_never_given_twice(service: RunningService, lender: Client) -> None:
    places: list[set[tuple[bytes, int, bytes]]] = []
    for account in ("a", "b", "c"):
        submit(lender, 0, account)
        count_and_tell(service)
        with service.superuser() as database:
            rows = database.execute("SELECT part, seq, sealed FROM report_cells").fetchall()
        places.append({(bytes(part), seq, bytes(sealed)) for part, seq, sealed in rows})
    given: dict[tuple[bytes, int], bytes] = {}
    for part, seq, sealed in set().union(*places):
        assert given.setdefault((part, seq), sealed) == sealed


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM report_counted",
        "UPDATE report_counted c SET version = o.version, counted_at = o.counted_at FROM older o",
        "UPDATE report_counted SET again_at = now() + interval '1 year'",
        "UPDATE report_counted SET counted_at = counted_at - interval '1 day'",
    ],
    ids=["taken away", "put back", "put off", "edited"],
)
def test_who_would_be_counted_twice_stops_the_next_release(
    service: RunningService, lender: Client, statement: str
) -> None:
    submit(lender, 0, "a")
    count_and_tell(service)
    with service.superuser() as database:
        database.execute("CREATE TABLE older AS TABLE report_counted")
    submit(lender, 0, "b")
    count_and_tell(service)
    with attacker(service) as database:
        assert database.execute(statement.encode()).rowcount > 0
    submit(lender, 0, "c")
    with pytest.raises(IntegrityError, match="report_counted"):
        count_and_tell(service)


def test_who_is_taken_out_of_the_queue_is_counted_all_the_same(
    service: RunningService, lender: Client, regulator: Client
) -> None:
    submit(lender, 0, "a")
    count_and_tell(service)
    submit(lender, 0, "b")
    submit(lender, 1, "c")
    with attacker(service) as database:
        database.execute("DELETE FROM report_due")
    settle_log(service)
    count_and_tell(service)  # something else is new: what was forgotten is seen, and told nothing before it is counted
    count_and_tell(service)
    assert [row["records"] for row in rows_told(regulator)] == [3]


def test_a_borrower_that_is_due_by_time_alone_waits_in_its_own_row(service: RunningService) -> None:
    lender = service.admit("One", region="CN")
    report_within_notice(lender, USCC[0])
    count_and_tell(service)
    with attacker(service) as database:
        assert database.execute("SELECT count(*) FROM report_due").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM report_counted WHERE again_at IS NOT NULL").fetchone() == (1,)
    assert cells_of(service, DEFAULTS) == {}
    service.advance(days=20)
    count_and_tell(service)
    assert cells_of(service, DEFAULTS) != {}
    with attacker(service) as database:
        assert database.execute("SELECT count(*) FROM report_counted WHERE again_at IS NOT NULL").fetchone() == (0,)


def test_a_lender_that_an_administrator_renamed_is_told_by_its_id(
    service: RunningService, lender: Client, regulator: Client
) -> None:
    told_twice(service, lender)
    member_id = lender.session.signer.member_id
    assert regulator.call("GET", CONDUCT).data["lenders"] == {member_id: "One"}
    with attacker(service) as database:
        database.execute("UPDATE member SET name = 'Another' WHERE name = 'One'")
    told = regulator.call("GET", CONDUCT).data
    assert told["lenders"] == {}
    assert {row["lender"] for row in told["rows"]} == {member_id}


def test_the_log_is_not_counted_by_regions_that_an_administrator_wrote(service: RunningService) -> None:
    service.admit("One", region="US")
    settle_log(service)
    with attacker(service) as database:
        database.execute("UPDATE member SET region = 'CN' WHERE name = 'One'")
    with pytest.raises(IntegrityError, match="member"):
        count_and_tell(service)
    with attacker(service) as database:
        database.execute("UPDATE member SET region = 'US' WHERE name = 'One'")
    count_and_tell(service)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_opening SET sealed = sealed || '\\x00' WHERE grp = 'meta'",
        "DELETE FROM audit_opening WHERE grp = 'meta'",
    ],
    ids=["edited", "taken away"],
)
def test_what_of_the_log_cannot_be_opened_is_told_as_a_number_and_stops_nothing(
    service: RunningService, lender: Client, regulator: Client, statement: str
) -> None:
    settle_log(service)
    with attacker(service) as database:
        row = database.execute("SELECT count(*) FROM audit_leaf").fetchone()
        assert row is not None
        database.execute("ALTER TABLE audit_opening DISABLE TRIGGER ALL")
        assert database.execute(statement.encode()).rowcount == row[0]
    submit(lender, 0, "a")
    settle_log(service)
    count_and_tell(service)
    log = regulator.call("GET", "/v1/reports").data["release"]["log"]
    assert log["unreadable"] == row[0]
    assert rows_told(regulator)[0]["records"] == 1
    shown = regulator.call("GET", "/v1/reports/inquiries", query="by=month,lender").data
    assert shown["release"]["log"] == log
    assert [line["evaluations"] for line in shown["rows"]] == [1]


def test_how_much_waits_is_not_told_to_lenders(lender: Client, regulator: Client) -> None:
    submit(lender, 0, "a")
    for path in ("/v1/reports", CONDUCT):
        assert regulator.call("GET", path).data["waiting"] > 0
    for path, query in (("/v1/reports", ""), (CONDUCT, "by=month,lender")):
        assert lender.call("GET", path, query=query).data["waiting"] is None


async def as_before(store: CellStore, session: WriteSession) -> None:
    """Write the position as a service of before wrote it."""
    position = await store.position(session)
    assert position is not None
    kept = canonical(
        {
            "definition": position.definition,
            "log_index": position.log_index,
            "parts": {"|".join(part): [one.told_seq, one.complete] for part, one in position.parts.items()},
        }
    )
    sealed = store._box.seal(_POSITION, kept)
    await session.run("UPDATE report_position SET parts = %(sealed)s", {"sealed": sealed})


async def position_of(store: CellStore, session: WriteSession) -> Position | None:
    return await store.position(session)


def test_a_position_of_the_older_form_is_taken_over_and_nothing_is_lost(
    service: RunningService, lender: Client, regulator: Client
) -> None:
    told_twice(service, lender)
    before = as_worker(service, position_of)
    assert before is not None
    with attacker(service) as database:  # what a service of before left
        database.execute("UPDATE report_release SET manifest = NULL")
    as_worker(service, as_before)
    count_and_tell(service)
    after = as_worker(service, position_of)
    assert after is not None
    assert (after.form, after.counted, after.parts.keys()) == (FORM, before.counted, before.parts.keys())
    assert after.release == before.release + 1  # which lists what stands told
    submit(lender, 1, "c")
    settle_log(service)
    count_and_tell(service)
    assert [row["records"] for row in rows_told(regulator)] == [3]


def test_a_position_of_the_older_form_that_is_put_back_is_not_taken_over(
    service: RunningService, lender: Client
) -> None:
    told_twice(service, lender)
    as_worker(service, as_before)
    with pytest.raises(IntegrityError, match="older than their newest release"):
        count_and_tell(service)
