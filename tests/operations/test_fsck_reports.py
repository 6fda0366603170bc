"""``log fsck --database`` names what an administrator wrote into the reports' tables, each time something else.

One database in which reports were told more than once, and an event waits to be counted, is copied for each attack.
"""
# ruff: noqa: S608  statements of an attacker's, made of nothing but constants

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from tests.fixtures.processes import database_of, logins, older_copy
from tests.fixtures.report_cells import wait_until_counted
from tests.fixtures.service import RunningService, record_body, running_service, wait_for

from creditshare.audit.rebuild import Check
from creditshare.operations.fsck import examine_log
from creditshare.reports.repository import COUNTING_LOCK
from creditshare.storage.embedded import EmbeddedPostgres

USCC = ("91350100M000100Y43", "91999999DEM000014G", "91999999DEM000022B")
TABLES = ("report_told", "report_release", "report_position", "report_cells", "report_counted", "report_due")


@dataclass
class Story:
    service: RunningService
    database: str
    """A copy that nobody uses. Beside each of the tables is its state after the first release, ``older_...``."""

    @contextlib.contextmanager
    def rewritten(self, statements: tuple[str, ...]) -> Iterator[dict[str, str]]:
        """Lend a copy that an attacker changed as its superuser, all triggers off: the settings of a process on it."""
        name, postgres = f"t_{uuid4().hex}", self.service.postgres
        postgres.create_database(name, template=self.database)
        try:
            with self.service.superuser(name) as connection:
                connection.execute("SET session_replication_role = replica")
                for table in TABLES:
                    connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
                for statement in statements:
                    connection.execute(statement.encode())
            yield logins(postgres, name)
        finally:
            postgres.drop_database(name)

    def examine(self, copy: dict[str, str]) -> dict[str, str]:
        """Return what does not hold, by the names of the checks."""
        found = asyncio.run(examine_log(self.service.settings.model_copy(update=copy)))
        return {finding.check: finding.problem for finding in found if finding.problem is not None}


@pytest.fixture(scope="module")
def story(postgres: EmbeddedPostgres, template: str) -> Iterator[Story]:
    with running_service(postgres, template, reports_every_s=0.1, reports_told_every_s=1) as service:
        one, two = service.admit("One", region="US"), service.admit("Two", region="US")

        def submit(lender: Any, number: int, account: str) -> None:
            (subject,) = lender.tokenise([USCC[number]])
            lender.call("POST", "/v1/records", data=record_body(subject, account))

        def releases() -> int:
            with service.superuser() as database:
                row = database.execute("SELECT count(*) FROM report_release").fetchone()
            assert row is not None
            return int(row[0])

        submit(one, 0, "a")
        submit(one, 1, "b")
        wait_until_counted(service)
        before = releases()
        wait_for(lambda: releases() > before)
        with service.superuser() as database:
            database.execute("SELECT pg_advisory_lock(%s)", [COUNTING_LOCK])
            for table in TABLES:
                database.execute(f"CREATE TABLE older_{table} AS TABLE {table}".encode())
        before = releases()
        submit(two, 0, "c")
        wait_until_counted(service)
        wait_for(lambda: releases() > before + 1)
        with service.superuser() as database:  # so that the next event waits in the copy: the worker cannot count it
            database.execute("SELECT pg_advisory_lock(%s)", [COUNTING_LOCK])
            database.execute("REVOKE SELECT ON report_position FROM creditshare_worker")
        submit(two, 2, "d")
        with older_copy(service) as copy:
            yield Story(service, database_of(copy))


def test_where_nobody_wrote_all_holds(story: Story) -> None:
    with story.rewritten(()) as copy:
        found = asyncio.run(examine_log(story.service.settings.model_copy(update=copy)))
    assert [finding.check for finding in found if finding.problem is not None] == []
    (seen,) = (finding.seen for finding in found if finding.check == Check.REPORTS.value)
    releases, documents = (int(part.split()[0]) for part in seen.split(", "))
    assert releases > 2
    assert documents > releases


def put_back(*tables: str) -> tuple[str, ...]:
    return tuple(
        statement
        for table in tables
        for statement in (f"DELETE FROM {table}", f"INSERT INTO {table} TABLE older_{table}")
    )


NEWEST = "(SELECT max(release) FROM report_release)"
BORROWER = "(SELECT subject_id FROM report_counted ORDER BY subject_id LIMIT 1)"
THERE_IS_NOT = "the log tells of releases that are not there: "
ATTACKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "a document is taken away": (
        (f"DELETE FROM report_told WHERE report = 'activity' AND release = {NEWEST}",),
        ("activity ", "is not there"),
    ),
    "an older document stands for a newer one": (
        (
            f"DELETE FROM report_told WHERE report = 'activity' AND release = {NEWEST}",
            (
                f"INSERT INTO report_told SELECT report, part, {NEWEST}, document, seal FROM report_told"
                " WHERE report = 'activity' ORDER BY release DESC LIMIT 1"
            ),
        ),
        ("activity ", "does not match its seal"),
    ),
    "a document is edited": (
        ("UPDATE report_told SET document = document || ' ' WHERE report = 'activity'",),
        ("activity ", "does not match its seal"),
    ),
    "a document is put in": (
        ("INSERT INTO report_told SELECT 'defaults', '2020', 1000, document, seal FROM report_told LIMIT 1",),
        ("defaults 2020 is of a release that is not there",),
    ),
    "the newest release is taken away": (
        (
            f"DELETE FROM report_told WHERE release = {NEWEST}",
            f"DELETE FROM report_release WHERE release = {NEWEST}",
        ),
        (THERE_IS_NOT, "the last release was "),
    ),
    "a release in between is taken away": (
        ("DELETE FROM report_release WHERE release = 1",),
        ("release 1 is not there",),
    ),
    "a release is edited": (
        (f"UPDATE report_release SET log_size = log_size + 1 WHERE release = {NEWEST}",),
        ("does not match its seal",),
    ),
    "what a release lists is edited": (
        (f"UPDATE report_release SET manifest = '[]' WHERE release = {NEWEST}",),
        ("does not match its seal",),
    ),
    "what a release lists is taken away with a document": (
        (
            f"UPDATE report_release SET manifest = NULL WHERE release = {NEWEST}",
            f"DELETE FROM report_told WHERE report = 'activity' AND release = {NEWEST}",
        ),
        ("what stood told at release ",),
    ),
    "all of it is put back to what it was once": (put_back(*TABLES), (THERE_IS_NOT,)),
    "the position is taken away": (("DELETE FROM report_position",), ("the position is not there",)),
    "the position is put back": (
        put_back("report_position"),
        ("the last release was ", "the cells of "),
    ),
    "the position is edited": (
        ("UPDATE report_position SET log_index = log_index + 1",),
        ("the position of the reports does not match its seal",),
    ),
    "the position is none": (("UPDATE report_position SET parts = ''",), ("the position: ",)),
    "cells are taken away": (
        ("DELETE FROM report_cells WHERE ctid IN (SELECT ctid FROM report_cells LIMIT 1)",),
        ("the cells of ", "are not those that the position lists", "1 rows of cells are missing"),
    ),
    "cells are put back": (put_back("report_cells"), ("the cells of ", "are not those that the position lists")),
    "cells are edited": (
        ("UPDATE report_cells SET sealed = sealed || '\\x00'",),
        ("the cells of ",),
    ),
    "cells are put in": (
        ("INSERT INTO report_cells SELECT '\\x00', 1, size, sealed FROM report_cells LIMIT 1",),
        ("1 rows of cells are too many",),
    ),
    "a borrower was never counted": (
        (
            f"DELETE FROM report_counted WHERE subject_id = {BORROWER}",
            "INSERT INTO report_due SELECT subject_id, 0, 'epoch' FROM record_event ON CONFLICT DO NOTHING",
        ),
        ("as of when borrowers were counted last is not what was noted",),
    ),
    "a borrower was counted before": (
        put_back("report_counted"),
        ("as of when borrowers were counted last is not what was noted", "do not wait: "),
    ),
    "a borrower is due again": (
        (f"UPDATE report_counted SET again_at = now() WHERE subject_id = {BORROWER}",),
        ("as of when borrowers were counted last is not what was noted",),
    ),
    "a borrower is taken out of the queue": (
        ("DELETE FROM report_due",),
        ("borrowers changed, were not counted and do not wait: ",),
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_administrators_change_is_named(story: Story, attack: str) -> None:
    statements, expected = ATTACKS[attack]
    with story.rewritten(statements) as copy:
        found = story.examine(copy)
    assert set(found) == {Check.REPORTS.value}, found
    for words in expected:
        assert words in found[Check.REPORTS.value], found
