"""Limits of a real process: who sends too much, too fast, too slowly or from nowhere, and what others notice of it."""

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest
from tests.fixtures.database_line import DatabaseLine, database_line
from tests.fixtures.processes import Serving, serving
from tests.fixtures.service import RunningService, wait_for

from creditshare.client.core import Identity, build_request, check_answer, parse_jwks
from creditshare.crypto.jws import SigningKey

BURST: Final = 60
AT_ONCE: Final = 8
FAILURES: Final = 5
REQUEST_LIMIT_S: Final = 3.0
SLACK_S: Final = 3.0
"""What a busy test machine may add to a time limit."""
SETTINGS: Final = {
    "member_requests_per_s": "1",
    "member_burst_requests": str(BURST),
    "member_in_flight": str(AT_ONCE),
    "stranger_failures_per_minute": str(FAILURES),
    "header_time_limit_s": "0.5",
    "body_time_limit_s": "0.5",
    "request_time_limit_s": str(REQUEST_LIMIT_S),
    "pool_size": "2",
    "pool_wait_s": "0.5",
    "max_header_bytes": "16384",
}


@dataclass
class Process:
    """A process with narrow limits, on a database line that a test may cut."""

    service: RunningService
    serving: Serving
    line: DatabaseLine
    http: httpx.Client

    def ask(self, identity: Identity, path: str = "/v1/me") -> httpx.Response:
        """Send a signed GET; a signature of the answer is checked."""
        request = build_request(identity, issuer=self.service.url, method="GET", path=path, now=int(time.time()))
        got = self.http.get(self.serving.url + path, headers=dict(request.headers))
        if "cs-signature" in got.headers:
            check_answer(
                request,
                status=got.status_code,
                headers={name.lower(): value for name, value in got.headers.items()},
                body=got.content,
                issuer=self.service.url,
                member_id=identity.member_id,
                keys=parse_jwks(self.http.get(self.service.url + "/.well-known/jwks.json").json()),
            )
        return got

    def health_times(self) -> list[float]:
        """Return how long health took, a few times in a row."""
        times = []
        for _ in range(9):
            began = time.perf_counter()
            assert self.http.get(self.serving.url + "/healthz").status_code == 200
            times.append(time.perf_counter() - began)
        return times

    def readiness(self) -> tuple[int, str]:
        """Return what readiness says, and of which part."""
        got = self.http.get(self.serving.url + "/readyz")
        return got.status_code, str(got.json().get("part", ""))

    def connect(self) -> socket.socket:
        """Open a bare connection."""
        where = urlsplit(self.serving.url)
        return socket.create_connection((where.hostname or "", where.port or 0), timeout=SLACK_S + 2)


@pytest.fixture(scope="module")
def process(shared_service: RunningService) -> Iterator[Process]:
    with contextlib.ExitStack() as stack:
        line = stack.enter_context(database_line(shared_service.settings.database_url or ""))
        started = stack.enter_context(serving(shared_service, database_url=line.url, **SETTINGS))
        http = stack.enter_context(httpx.Client(timeout=30, limits=httpx.Limits(max_connections=64)))
        yield Process(shared_service, started, line, http)


@pytest.fixture
def lender(process: Process) -> Identity:
    identity = process.service.admit("Lender", region="US").identity
    assert identity is not None
    wait_for(lambda: process.ask(identity).status_code == 200)
    return identity


def code(got: httpx.Response) -> tuple[int, str]:
    return got.status_code, str(got.json().get("code", ""))


def trickle(connection: socket.socket, data: bytes) -> None:
    """Send a little again and again, for longer than any limit."""
    deadline = time.monotonic() + SLACK_S
    while time.monotonic() < deadline:
        connection.sendall(data)
        time.sleep(0.05)


# Pace


def test_a_member_that_sends_too_fast_is_told_to_wait_and_others_are_served(process: Process, lender: Identity) -> None:
    other = process.service.admit("Other", region="US").identity
    assert other is not None
    answers = [process.ask(lender) for _ in range(BURST + 5)]
    refused = [got for got in answers if got.status_code != 200]
    assert refused
    for got in refused:
        assert code(got) == (429, "rate_limited")
        assert int(got.headers["retry-after"]) == 1
        assert "cs-signature" in got.headers
        assert got.headers["ratelimit"].startswith('"burst";r=0;t=')
    assert answers[0].headers["ratelimit-policy"] == f'"burst";q={BURST};w={BURST}'
    assert process.ask(other).status_code == 200
    tallied = "SELECT sum(count), count(*) FROM refusal_tally WHERE code = 'rate_limited' AND member_id = %s"
    member = lender.member_id.removeprefix("mem_")
    with process.service.superuser() as database:

        def counted() -> tuple[int, int]:
            row = database.execute(tallied, [member]).fetchone()
            return (int(row[0] or 0), int(row[1])) if row else (0, 0)

        wait_for(lambda: counted()[0] == len(refused))
        assert counted()[1] <= 2  # at most one for each minute that the test touched


def test_a_request_that_was_refused_for_its_pace_is_not_used_up(process: Process, lender: Identity) -> None:
    while process.ask(lender).status_code == 200:
        pass
    request = build_request(lender, issuer=process.service.url, method="GET", path="/v1/me", now=int(time.time()))

    def same() -> httpx.Response:
        return process.http.get(process.serving.url + "/v1/me", headers=dict(request.headers))

    first = same()
    assert code(first) == (429, "rate_limited")
    time.sleep(int(first.headers["retry-after"]) + 0.2)  # what the answer itself asks for
    assert same().status_code == 200
    assert code(process.ask(lender))[1] in {"rate_limited", ""}


# Strangers


def test_strangers_of_an_address_wait_and_members_of_the_same_address_do_not(
    process: Process, lender: Identity
) -> None:
    stranger = Identity(lender.member_id, SigningKey.generate(), "test")
    codes = [code(process.ask(stranger)) for _ in range(FAILURES + 3)]
    assert codes[0] == (401, "signature_invalid")
    assert codes[-1] == (429, "rate_limited")
    assert [process.ask(lender).status_code for _ in range(3)] == [200, 200, 200]
    body = json.dumps({"jwk": {}, "proof": "x", "enrolment_code": "guess"}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": "guess"}
    guessed = process.http.post(
        f"{process.serving.url}/v1/members/{lender.member_id}/keys", headers=headers, content=body
    )
    assert code(guessed) == (429, "rate_limited")


# Slow and large


@pytest.mark.parametrize("beginning", [b"", b"GET", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_header_that_does_not_come_ends_the_connection(process: Process, beginning: bytes) -> None:
    with process.connect() as connection:
        connection.sendall(beginning)
        assert connection.recv(1024) == b""


def test_a_header_that_trickles_ends_the_connection(process: Process) -> None:
    with process.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises(OSError):  # noqa: PT011  reset or broken pipe, whichever comes first
            trickle(connection, b"X-Slow: 1\r\n")


def test_empty_lines_after_an_answer_do_not_keep_a_connection(process: Process) -> None:
    with process.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        with pytest.raises(OSError):  # noqa: PT011  reset or broken pipe, whichever comes first
            trickle(connection, b"\r\n")


@pytest.mark.parametrize(
    "header",
    [b"X-Large: " + b"x" * 40_000, b"\r\n".join(b"X-%d: x" % n for n in range(4_000)), b"X-Open: " + b"x" * 10**6],
)
def test_a_header_that_is_too_large_is_answered_431(process: Process, header: bytes) -> None:
    with process.connect() as connection:
        with contextlib.suppress(OSError):  # the server may end the connection while more is being sent
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 431")


def test_a_body_that_does_not_come_is_answered_408_and_the_connection_ends(process: Process) -> None:
    with process.connect() as connection:
        connection.sendall(b"POST /v1/queries HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        got = b"".join(iter(lambda: connection.recv(4096), b""))  # to the connection's end
        assert got.startswith(b"HTTP/1.1 408")
        assert b"request_timeout" in got


def test_who_sends_a_whole_file_that_its_header_does_not_admit_still_reads_the_refusal(process: Process) -> None:
    size = 8 * 1024 * 1024
    with process.connect() as connection:
        connection.sendall(b"POST /v1/record-batches HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        time.sleep(0.2)  # the refusal is out before most of the file
        connection.sendall(bytes(size))
        got = b"".join(iter(lambda: connection.recv(4096), b""))
        assert got.startswith(b"HTTP/1.1 401")
        assert b"connection: close" in got.lower()


@pytest.mark.parametrize("rest", [bytes(1024 * 1024), b"x"])
def test_who_goes_on_sending_a_refused_file_is_cut(process: Process, rest: bytes) -> None:
    with process.connect() as connection:
        connection.sendall(b"POST /v1/record-batches HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        with pytest.raises(OSError):  # noqa: PT011  reset or broken pipe, whichever comes first
            trickle(connection, rest)


# The database


def test_without_a_database_refusals_are_quick_health_answers_and_service_returns(
    process: Process, lender: Identity
) -> None:
    process.line.cut()
    try:
        refused = [_timed(process, lender) for _ in range(4)]
        wait_for(lambda: process.readiness() == (503, "database"))
        health = process.health_times()
    finally:
        process.line.mend()
    for seconds, got in refused:
        assert code(got) == (503, "unavailable")
        assert int(got.headers["retry-after"]) >= 1
        assert seconds < REQUEST_LIMIT_S + SLACK_S
    assert sorted(health)[len(health) // 2] < 0.1
    wait_for(lambda: process.ask(lender).status_code == 200 and process.readiness()[0] == 200, seconds=20)


def test_while_the_database_hangs_refusals_keep_the_time_limit_and_service_returns(
    process: Process, lender: Identity
) -> None:
    process.line.stall()
    try:
        with ThreadPoolExecutor(6) as pool:
            refused = list(pool.map(lambda _: _timed(process, lender), range(12)))
        wait_for(lambda: process.readiness() == (503, "database"))
        health = process.health_times()
    finally:
        process.line.mend()
    for seconds, got in refused:
        assert code(got) == (503, "unavailable")
        assert int(got.headers["retry-after"]) >= 1
        assert seconds < REQUEST_LIMIT_S + SLACK_S
    assert sorted(health)[len(health) // 2] < 0.1
    wait_for(lambda: process.ask(lender).status_code == 200 and process.readiness()[0] == 200, seconds=20)


def test_while_a_lock_holds_every_connection_the_rest_is_refused_and_readiness_stays(
    process: Process, lender: Identity
) -> None:
    with process.service.superuser() as database, database.transaction():
        database.execute("LOCK TABLE replay_guard IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(24) as pool:
            waiting = [pool.submit(_timed, process, lender) for _ in range(24)]
            assert process.readiness() == (200, "")
            health = process.health_times()
            refused = [one.result() for one in waiting]
    codes = {code(got) for _, got in refused}
    assert (503, "unavailable") in codes
    assert codes <= {(503, "unavailable"), (429, "rate_limited")}
    assert max(seconds for seconds, _ in refused) < REQUEST_LIMIT_S + SLACK_S
    assert sorted(health)[len(health) // 2] < 0.1
    wait_for(lambda: process.ask(lender).status_code == 200, seconds=20)


@pytest.mark.slow
def test_a_stop_finishes_what_was_accepted(shared_service: RunningService) -> None:
    identity = shared_service.admit("Lender", region="US").identity
    assert identity is not None
    with (
        serving(shared_service) as started,
        httpx.Client(timeout=30) as http,
        ThreadPoolExecutor(1) as pool,
        shared_service.superuser() as database,
    ):
        request = build_request(identity, issuer=shared_service.url, method="GET", path="/v1/me", now=int(time.time()))
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'replay_guard'::regclass"
        with database.transaction():
            database.execute("LOCK TABLE replay_guard IN ACCESS EXCLUSIVE MODE")
            answer = pool.submit(http.get, started.url + "/v1/me", headers=dict(request.headers))
            with shared_service.superuser() as watching:
                wait_for(lambda: watching.execute(waits).fetchone() == (1,))
            started.process.send_signal(signal.SIGTERM)
            where = urlsplit(started.url)
            wait_for(lambda: not _accepts(where.hostname or "", where.port or 0))
        assert answer.result(20).status_code == 200
        assert started.process.wait(30) == 0


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _timed(process: Process, identity: Identity) -> tuple[float, httpx.Response]:
    began = time.perf_counter()
    got = process.ask(identity)
    return time.perf_counter() - began, got
