"""The doctor: a well service is well, and each planted fault is named at its own hop and nowhere else."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.fixtures.loopback import localhost_context
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, wait_for

from creditshare.audit.state import LogState
from creditshare.composition import keyring_file
from creditshare.keys.keyring import Keyring
from creditshare.members.keys import LastKey
from creditshare.operations.doctor import ask_service, certificate_lasts, clocks_agree, examine, keys_last, log_keeps_up
from creditshare.startup import Finding

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def examined(service: RunningService, *, url: str | None = None, **changes: Any) -> dict[str, str]:
    """Return what is wrong, by check."""
    settings = service.settings.model_copy(update=changes)
    return problems(asyncio.run(examine(settings, url=url)))


def problems(findings: list[Finding]) -> dict[str, str]:
    return {f.check: f.problem for f in findings if f.problem is not None}


@pytest.mark.slow
def test_a_well_service_is_well(shared_service: RunningService) -> None:
    done = command(shared_service, "doctor", "--data", str(shared_service.folder), "--json")
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)
    assert report["ok"] is True
    checks = {finding["check"]: finding["seen"] for finding in report["findings"]}
    assert checks["database, app"] == "PostgreSQL 18, acts as creditshare_app"
    assert checks.keys() >= {"issuer", "key file", "schema", "worker", "log", "checkpoint", "service", "readiness"}
    for role in ("app", "owner", "worker", "eraser"):
        assert shared_service.postgres._password(role) not in done.stdout + done.stderr


@pytest.mark.slow
def test_wrong_settings_are_named_without_a_trace(shared_service: RunningService) -> None:
    done = command(shared_service, "doctor", "--data", str(shared_service.folder), environment="staging")
    assert done.returncode == 1
    assert done.stdout.startswith("WRONG  settings: CREDITSHARE_ENVIRONMENT")
    assert "staging" not in done.stdout + done.stderr


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


FAULTS: dict[str, tuple[Callable[[RunningService], dict[str, Any]], str, str]] = {
    "database away": (
        lambda s: {"database_url": f"postgresql+psycopg://{s.database}@127.0.0.1:{unused_port()}/none"},
        "database, app",
        "does not get in as creditshare_app",
    ),
    "wrong login for the worker": (
        lambda s: {"worker_database_url": s.postgres.url("app", s.database)},
        "database, worker",
        "permission denied to set role",
    ),
    "another address": (lambda s: {"public_url": s.url + "0"}, "issuer", "signatures name the address"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_at_its_hop(shared_service: RunningService, fault: str) -> None:
    plant, check, sentence = FAULTS[fault]
    wrong = examined(shared_service, **plant(shared_service))
    assert wrong.keys() == {check}
    assert sentence in wrong[check]


def test_another_key_file_a_service_that_does_not_answer_and_a_lost_worker_are_told_apart(
    service: RunningService, tmp_path: Path
) -> None:
    wait_for(lambda: bool(_checkpoint(service)))
    keyring = tmp_path / "keyring.json"
    keyring_file(service.settings.model_copy(update={"keyring_file": keyring})).replace(Keyring.generate())
    tombstones = service.settings.tombstones_path
    assert examined(service, keyring_file=keyring, tombstones_file=tombstones).keys() == {
        "checkpoint",
        "key table",
        "policy",
        "sealed rows",
    }
    assert examined(service, url=f"http://127.0.0.1:{unused_port()}").keys() == {"service"}
    with service.superuser() as database:
        database.execute(f"REVOKE CONNECT ON DATABASE {service.database} FROM creditshare_worker")
        end = (
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'creditshare_worker' AND datname = %s"
        )
        database.execute(end, [service.database])
        database.execute(
            "INSERT INTO audit_event (event_id, leaf, leaf_hash)"
            " VALUES (%s, 'planted', sha256('\\x00'::bytea || 'planted'::bytea))",
            [uuid4()],
        )
        database.execute("UPDATE audit_pending SET queued_at = queued_at - interval '2 minutes'")
        wait_for(lambda: service.services.log_health.late)
        wrong = examined(service)
        database.execute(f"GRANT CONNECT ON DATABASE {service.database} TO creditshare_worker")
    assert wrong.keys() == {"database, worker", "worker", "log", "readiness"}
    assert "what is not ready: log" in wrong["readiness"]


def _checkpoint(service: RunningService) -> object:
    with service.superuser() as database:
        return database.execute("SELECT size FROM audit_checkpoint LIMIT 1").fetchone()


# The pure parts.


@pytest.mark.parametrize(("apart", "good"), [(0, True), (-5, True), (5, True), (5.1, False), (-60, False)])
def test_clocks(apart: float, good: bool) -> None:  # noqa: FBT001  a table's column
    found = clocks_agree("clock", NOW, NOW + timedelta(seconds=apart), tolerance_s=5)
    assert (found.problem is None) == good


@pytest.mark.parametrize(("oldest", "good"), [(0, True), (60, True), (60.1, False)])
def test_log_lag(oldest: float, good: bool) -> None:  # noqa: FBT001  a table's column
    state = LogState(size=7, note=None, checkpoint_age_s=1, pending=1, oldest_pending_s=oldest)
    assert (log_keeps_up(state, 60).problem is None) == good


def test_keys_that_end() -> None:
    def ending(**after: float) -> LastKey:
        return LastKey(uuid4(), "lender", NOW + timedelta(**after))

    assert keys_last([], now=NOW, days=(7, 30, 60)).problem is None
    soon = keys_last([ending(days=8), ending(days=29), ending(days=59)], now=NOW, days=(7, 30, 60))
    assert (soon.problem, soon.seen) == (
        None,
        "members whose last key ends: 0 within 7 days, 2 within 30 days, 3 within 60 days",
    )
    late = keys_last([ending(days=-1), ending(days=7), ending(days=8)], now=NOW, days=(7, 30, 60))
    assert late.problem is not None
    assert late.problem.count("mem_") == 2


# The public side, over real sockets.


class Impostor(BaseHTTPRequestHandler):
    """Answers like a creditshare of another name, whose clock is an hour off."""

    def do_GET(self) -> None:
        body = json.dumps({"issuer": "https://other.example", "part": "database"}).encode()
        self.send_response_only(200 if self.path.startswith("/.well") else 503)
        self.send_header("Date", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def impostor() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Impostor)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_impostor_is_told_by_issuer_clock_and_readiness(impostor: HTTPServer) -> None:
    found = problems(ask_service(f"http://127.0.0.1:{impostor.server_port}", issuer="https://credit.example"))
    assert found.keys() == {"service", "clock against the service", "readiness"}
    assert "another issuer" in found["service"]
    assert found["readiness"].endswith("what is not ready: database")


@pytest.mark.parametrize(("days", "good"), [(30, True), (5, False)])
def test_a_certificate_that_ends_soon_is_said(
    impostor: HTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    good: bool,  # noqa: FBT001  a table
) -> None:
    file = tmp_path / "both.pem"
    context = localhost_context(file, days=days)
    impostor.socket = context.wrap_socket(impostor.socket, server_side=True)
    address = f"https://localhost:{impostor.server_port}"
    untrusted = certificate_lasts(address)
    assert untrusted.problem is not None
    assert "no TLS connection" in untrusted.problem
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert (certificate_lasts(address).problem is None) == good
