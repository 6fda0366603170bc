"""Reports under pressure: one statement reads, one writes, and nothing that changes in between is missed."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client, Problem
from creditshare.records import service as records
from creditshare.storage.engine import DriverConnection, write_whole

BORROWER = "91999999DEM000022B"
OURS = ("replay_guard", "idempotency", "subject", "record_", "consent", "audit_event", "audit_opening", "member_budget")


def lender_with(service: RunningService, name: str = "Lender", **terms: Any) -> tuple[Client, dict[str, Any]]:
    lender = service.admit(name, region="US", **terms)
    (subject,) = lender.tokenise([BORROWER])
    return lender, subject


def report(lender: Client, subject: dict[str, Any], account: str) -> str:
    try:
        lender.call("POST", "/v1/records", data=record_body(subject, account))
    except Problem as problem:
        return problem.code
    return "taken in"


def count(service: RunningService, table: str) -> int:
    with service.superuser() as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # type: ignore[index]  # noqa: S608


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the driver was told to run on the tables of requests, whoever told it."""
    seen: list[str] = []
    execute = psycopg.AsyncCursor.execute

    async def noting(cursor: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        if any(name in str(query) for name in OURS) and "audit_pending" not in str(query):  # the log's own worker
            seen.append(str(query))
        return await execute(cursor, query, *arguments, **options)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", noting)
    return seen


def test_reports_and_questions_take_two_statements_each(service: RunningService, statements: list[str]) -> None:
    lender, subject = lender_with(service)
    # Whom a member names for the first time is counted in its sealed budget: one statement to lock it, one to write.
    for account, number in (("of a borrower named first", 4), ("of a known one", 2)):
        statements.clear()
        assert report(lender, subject, account) == "taken in"
        assert len(statements) == number
    consent = lender.grant_consent(subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"x")
    statements.clear()
    lender.query(subject, purpose="pre_loan", consent_id=consent["consent_id"])
    assert len(statements) == 2


def test_a_new_borrower_that_many_report_at_once_is_made_once(service: RunningService) -> None:
    lenders = [lender_with(service, name) for name in ("First", "Second")]
    jobs = [(*lenders[number % 2], f"A-{number}") for number in range(32)]
    with ThreadPoolExecutor(32) as pool:
        outcomes = Counter(pool.map(lambda job: report(*job), jobs))
    assert outcomes == {"taken in": 32}  # who lost a race waited for the others
    tables = ("subject", "subject_index", "member_subject", "record_current", "record_event", "record_secret")
    assert [count(service, table) for table in tables] == [1, 1, 2, 32, 32, 32]
    for lender, subject in lenders:
        consent = lender.grant_consent(subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"x")
        answer = lender.query(subject, purpose="pre_loan", consent_id=consent["consent_id"])
        assert answer.data["summary"]["open_defaults"] == 16


@pytest.mark.parametrize(
    ("interference", "expected"),
    [
        ("UPDATE member SET status = 'suspended' WHERE name = 'Lender'", "member_suspended"),
        (
            "UPDATE member_key k SET state='revoked' FROM member m WHERE (m.member_id, name) = (k.member_id, 'Lender')",
            "key_revoked",
        ),
        ("UPDATE member_budget SET introduced = evaluated", "internal_error"),
    ],
)
def test_what_changes_between_the_statements_is_never_missed(
    service: RunningService, monkeypatch: pytest.MonkeyPatch, interference: str, expected: str
) -> None:
    lender, subject = lender_with(service)

    def act() -> None:
        with service.superuser() as database:
            database.execute(interference)

    interfere(monkeypatch, act)
    assert report(lender, subject, "A-1") == expected
    assert [count(service, table) for table in ("subject", "subject_index", "record_current", "record_event")] == [
        0
    ] * 4


def test_another_report_in_between_comes_first(service: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, subject), (second, _) = lender_with(service), lender_with(service, "Other")
    again = interfere(monkeypatch, lambda: report(second, subject, "B-1"))
    assert report(first, subject, "A-1") == "taken in"
    assert again() == 3  # the first one's, the other's, the first one's again
    assert (count(service, "subject"), count(service, "record_current")) == (1, 2)


def interfere(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> Callable[[], int]:
    """Let something happen before the first write; return how to ask how many writes there were."""
    writes, acts = [0], [act]

    async def write(connection: DriverConnection, statement: str, parameters: Mapping[str, Any]) -> Any:
        writes[0] += 1
        if acts:
            await asyncio.to_thread(acts.pop())
        return await write_whole(connection, statement, parameters)

    monkeypatch.setattr(records, "write_whole", write)
    return lambda: writes[0]
