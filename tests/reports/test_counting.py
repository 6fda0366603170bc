"""Counting through the service: each act reaches the cells, and step by step gives what a count anew gives."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.fixtures.report_cells import as_worker, cells_of, report_within_notice, wait_until_counted
from tests.fixtures.service import RunningService, record_body, running_service, wait_for

from creditshare.client.bank import Client
from creditshare.client.problems import Problem
from creditshare.errors import IntegrityError
from creditshare.jobs.reports import RUNS_LOCK
from creditshare.reports.cells import UNIT
from creditshare.reports.counting import _frozen
from creditshare.reports.repository import COUNTING_LOCK, FROZEN, CellStore, PartState, Position
from creditshare.reports.tables import DEFAULTS, MULTIPLE, QUALITY, ROLLS, VINTAGES
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import WriteSession

USCC = ("91350100M000100Y43", "91999999DEM000014G", "91999999DEM000022B")
TODAY = datetime.now(UTC).date()
DEFAULT_ON = TODAY - timedelta(days=100)
MONTH = f"{DEFAULT_ON:%Y-%m}"


@pytest.fixture
def service(postgres: EmbeddedPostgres, template: str) -> Iterator[RunningService]:
    with running_service(postgres, template, reports_every_s=0.1, reports_told_every_s=3_600) as running:
        yield running


def submit(lender: Client, uscc: str, account: str, **changes: Any) -> str:
    (subject,) = lender.tokenise([uscc])
    return str(lender.call("POST", "/v1/records", data=record_body(subject, account, **changes))["record_id"])


def in_month(service: RunningService, *more: str) -> tuple[int, int, int, Decimal]:
    """Borrowers, records, lenders and the sum of the month's cell, or of one of its parts."""
    wait_until_counted(service)
    table = ("month", "USD", MONTH) if not more else (more[0], "USD", MONTH, *more[1:])
    cell = cells_of(service, DEFAULTS).get(table)
    return (
        (0, 0, 0, Decimal(0))
        if cell is None
        else (
            cell.borrowers,
            cell.records,
            len(cell.lenders),
            Decimal(cell.amount) / UNIT,
        )
    )


def by_lender(service: RunningService, measure: str) -> int:
    wait_until_counted(service)
    cell = cells_of(service, QUALITY).get((f"{TODAY:%Y-%m}", measure))
    return 0 if cell is None else cell.records


@pytest.mark.slow
def test_each_act_reaches_the_cells(service: RunningService) -> None:
    one, two = service.admit("One", region="US"), service.admit("Two", region="US")
    first = submit(one, USCC[0], "a")
    assert in_month(service) == (1, 1, 1, Decimal(98_000))
    submit(two, USCC[0], "b", outstanding_principal="2000.00")
    other = submit(one, USCC[1], "c", outstanding_principal="500.00")
    assert in_month(service) == (2, 3, 2, Decimal(100_500))
    moves = {key[2:]: cell.borrowers for key, cell in cells_of(service, MULTIPLE).items()}
    assert moves == {("1", "came"): 1, ("2", "came"): 1}
    one.call(
        "POST",
        f"/v1/records/{first}/corrections",
        data={"reason": "wrong_amount", "changes": {"outstanding_principal": "90000.00"}},
    )
    assert in_month(service) == (2, 3, 2, Decimal(92_500))
    assert by_lender(service, "corrected") == 1
    one.call("POST", f"/v1/records/{other}/withdrawal", data={"reason": "reported_in_error"})
    assert in_month(service) == (1, 2, 2, Decimal(92_000))
    assert by_lender(service, "withdrawn") == 1
    one.call("POST", f"/v1/records/{first}/events", data={"kind": "settled_full", "on": TODAY.isoformat()})
    assert in_month(service) == (1, 2, 2, Decimal(92_000))  # it was a default all the same
    outcomes = {key[2:]: cell.records for key, cell in cells_of(service, ROLLS).items() if key[0] == "year,from,to"}
    assert outcomes == {("d180", "settled_full"): 1, ("d180", "default"): 1}
    before = {family: cells_of(service, family) for family in (DEFAULTS, VINTAGES, ROLLS, MULTIPLE, QUALITY)}
    count_anew(service)
    after = {family: cells_of(service, family) for family in before}
    assert after == before


def count_anew(service: RunningService) -> None:
    """Let the worker believe that the cells were counted by another definition."""

    async def forget(store: CellStore, session: WriteSession) -> None:
        position = await store.position(session)
        assert position is not None
        await store.move(session, replace(position, definition=0))

    as_worker(service, forget)

    async def counted(store: CellStore, session: WriteSession) -> bool:
        position = await store.position(session)
        return position is not None and position.definition != 0

    wait_for(lambda: as_worker(service, counted))
    wait_until_counted(service)


@pytest.mark.slow
def test_a_record_counts_from_the_day_on_which_it_may_be_seen(service: RunningService) -> None:
    lender = service.admit("One", region="CN")
    report_within_notice(lender, USCC[0])
    wait_until_counted(service)
    assert cells_of(service, DEFAULTS) == {}
    assert by_lender(service, "notice") == 1
    service.advance(days=20)
    wait_until_counted(service)
    assert ("month,region", "CNY", MONTH, "350000") in cells_of(service, DEFAULTS)


@pytest.mark.slow
def test_a_borrower_whose_rows_do_not_fit_their_seals_stops_nobody(service: RunningService) -> None:
    lender = service.admit("One", region="US")
    submit(lender, USCC[0], "a")
    wait_until_counted(service)
    with service.superuser() as database:
        database.execute("UPDATE subject SET event_count = event_count + 1")
        database.execute("INSERT INTO report_due SELECT subject_id, 99, 'epoch' FROM subject")
    submit(lender, USCC[1], "b")
    assert in_month(service)[:2] == (2, 2)
    with service.superuser() as database:
        assert database.execute("SELECT count(*) FROM report_due WHERE event_no = 99").fetchone() == (1,)


def test_what_was_told_by_another_definition_stays_as_told() -> None:
    """Everybody would seem to have changed, so that the change of one could not be told from nothing."""
    told = PartState(3, complete=True)
    before = Position(0, 7, {(DEFAULTS, "2024"): told, (DEFAULTS, "2025"): PartState(), (QUALITY, "2025"): told})
    assert _frozen(before) == {(DEFAULTS, "2024"): PartState(FROZEN, complete=True)}


@pytest.mark.slow
def test_a_position_that_an_administrator_moved_is_not_believed(service: RunningService) -> None:
    lender = service.admit("One", region="US")
    submit(lender, USCC[0], "a")
    wait_until_counted(service)

    async def position(store: CellStore, session: WriteSession) -> Position | None:
        return await store.position(session)

    with service.superuser() as database:
        # While whoever counts is kept out: a step that had read the position before would write it anew.
        database.execute("SELECT pg_advisory_lock(%s)", [COUNTING_LOCK])
        database.execute("UPDATE report_position SET log_index = log_index + 1")
        with pytest.raises(IntegrityError):
            as_worker(service, position)


@pytest.mark.slow
def test_nobody_counts_while_another_process_works_out_what_may_be_told(service: RunningService) -> None:
    lender = service.admit("One", region="US")
    submit(lender, USCC[0], "a")
    wait_until_counted(service)
    with service.superuser() as database:
        due = "SELECT count(*) FROM report_due"
        database.execute("SELECT pg_advisory_lock(%s)", [RUNS_LOCK])
        submit(lender, USCC[0], "b")
        time.sleep(1)  # several turns of the worker
        assert database.execute(due).fetchone() != (0,)
        database.execute("SELECT pg_advisory_unlock(%s)", [RUNS_LOCK])
        wait_for(lambda: database.execute(due).fetchone() == (0,))


@pytest.mark.slow
def test_nothing_that_says_something_stands_in_clear(service: RunningService) -> None:
    lender = service.admit("One", region="US")
    submit(lender, USCC[0], "a")
    wait_until_counted(service)
    with service.superuser() as database:
        rows = database.execute("SELECT part || sealed FROM report_cells UNION SELECT parts FROM report_position")
        kept = b"".join(bytes(row[0]) for row in rows)
        assert kept
        for text in (MONTH, "US-CA", str(DEFAULT_ON.year), "defaults", "98000"):
            assert text.encode() not in kept
        assert database.execute(
            "SELECT count(*) FROM report_told WHERE report IN ('defaults', 'rolls')"
        ).fetchone() == (0,)


@pytest.mark.slow
def test_numbers_that_an_administrator_wrote_are_not_signed(service: RunningService) -> None:
    regulator = service.admit("Regulator", role="regulator", region="US")
    with service.superuser() as database:
        told = "SELECT EXISTS (SELECT FROM report_told WHERE report = 'activity')"
        wait_for(lambda: database.execute(told).fetchone() == (True,))
        assert regulator.call("GET", "/v1/reports/consents").data["rows"] == []
        database.execute("SET session_replication_role = replica")
        database.execute("ALTER TABLE report_told DISABLE TRIGGER USER")
        database.execute(
            "INSERT INTO report_told SELECT report, part, 1000000, replace(convert_from(document, 'UTF8'),"
            " 'propose_member', 'grant_consent')::bytea, seal FROM report_told WHERE report = 'activity' LIMIT 1"
        )
    with pytest.raises(Problem) as refused:
        regulator.call("GET", "/v1/reports/consents")
    assert refused.value.code == "internal_error"
