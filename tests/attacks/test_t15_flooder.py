"""T15, a flooder: wants the service slow, full or dead; anybody who reaches its address, and members with valid keys.

It must not get: work done for what is refused, memory that grows with what it sends, a log that it grows for nothing,
an answer of 5xx to bytes of its making.

Elsewhere: ``promises/test_bad_input.py`` (bodies), ``test_t02_enumerating_member.py`` (budgets). Not here, because not
built yet: limits per member and per address, slow clients cut off. A member can still grow the log by refusals.
"""

import json
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest
from tests.fixtures.attack import attempt, on_the_wire, statuses
from tests.fixtures.service import RunningService

from creditshare.client.bank import Client
from creditshare.crypto import oprf


@pytest.fixture(scope="module")
def lender(shared_service: RunningService) -> Client:
    return shared_service.admit("Lender", region="US")


def rows(service: RunningService) -> dict[str, int]:
    """Return the sizes of all tables that a stranger's request could reach."""
    tables = ("audit_event", "replay_guard", "idempotency", "refusal_tally", "member_key", "enrolment", "subject")
    with service.superuser() as database:
        counts = {}
        for table in tables:
            row = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
            assert row is not None
            counts[table] = int(row[0])
        return counts


def post(service: RunningService, path: str, body: bytes, **headers: str) -> httpx.Response:
    return httpx.post(service.url + path, content=body, headers={"Content-Type": "application/json", **headers})


def test_a_stranger_leaves_no_row(shared_service: RunningService) -> None:
    before = rows(shared_service)
    member = shared_service.operators[0].member_id
    for number in range(5):
        key = {"Idempotency-Key": str(number)}
        assert post(shared_service, f"/v1/members/{member}/keys", b"{}", **key).status_code == 422
        assert post(shared_service, f"/v1/members/{member}/keys", b"x" * 300_000, **key).status_code == 413
        assert post(shared_service, "/v1/queries", b"[" * 200_000).status_code == 401
        token = "a" * number + ".b.c"
        assert post(shared_service, "/v1/records", b"{}", Authorization=f"Bearer {token}").status_code == 401
    assert rows(shared_service) == before


@pytest.mark.parametrize("size", [9_000, 60_000])
def test_a_huge_token_is_refused_unread(shared_service: RunningService, size: int) -> None:
    got = httpx.get(shared_service.url + "/v1/me", headers={"Authorization": "Bearer " + "a" * size})
    assert got.status_code in {401, 431}


def test_a_body_that_never_ends_is_cut(shared_service: RunningService) -> None:
    """What is declared large is refused at once, what is not declared when it grows too large."""
    head = b"POST /v1/records HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    large = on_the_wire(shared_service.url, head + b"Content-Length: 99999999999\r\nConnection: close\r\n\r\n{")
    assert statuses(large) == [413]
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    endless = on_the_wire(
        shared_service.url, head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunk * 40
    )
    assert statuses(endless)[:1] in ([413], [])  # the service may close while bytes are still coming in
    absurd = on_the_wire(shared_service.url, head + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n{}")
    assert all(status < 500 for status in statuses(absurd))
    assert httpx.get(shared_service.url + "/healthz").status_code == 200


def test_a_head_that_never_ends_is_cut(shared_service: RunningService) -> None:
    """As many headers, as one header, and after a request that was well."""
    for filling in (b"X: " + b"y" * 60 + b"\r\n", b"y" * 64):
        start = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
        for before in (b"", start + b"\r\n"):
            parts = urlsplit(shared_service.url)
            with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
                sent = 0
                try:
                    connection.sendall(before + start + b"X: ")
                    while sent < 50_000_000:
                        connection.sendall(filling * 1_000)
                        sent += 1_000 * len(filling)
                except (ConnectionError, TimeoutError):
                    pass
            assert sent < 5_000_000
    assert httpx.get(shared_service.url + "/healthz").status_code == 200


GARBAGE = {
    "nothing": b"\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no-path": b"GET HTTP/1.1\r\n\r\n",
    "nul": b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bare-cr": b"GET /healthz HTTP/1.1\rHost: x\r\r",
    "header-nul": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
    "negative-length": b"POST /v1/records HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "bad-chunk": b"POST /v1/records HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "high-bytes-in-path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "percent-nul": b"GET /v1/records/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad-percent": b"GET /v1/records/%zz?%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    "upgrade": b"GET /v1/me HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "expectation": b"POST /v1/records HTTP/1.1\r\nHost: x\r\nExpect: 200-maybe\r\nContent-Length: 2\r\n\r\n{}",
    "many-headers": b"GET /v1/me HTTP/1.1\r\nHost: x\r\n"
    + b"".join(b"X-%d: y\r\n" % n for n in range(2_000))
    + b"\r\n",
    "many-cookies": b"GET /v1/me HTTP/1.1\r\nHost: x\r\n" + b"Cookie: a=b\r\n" * 2_000 + b"\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_no_fault_of_the_service(shared_service: RunningService, name: str) -> None:
    for status in statuses(on_the_wire(shared_service.url, GARBAGE[name], seconds=1)):
        assert status < 500
    assert httpx.get(shared_service.url + "/healthz").status_code == 200


def test_connections_that_say_nothing_keep_nobody_out(lender: Client) -> None:
    parts = urlsplit(lender.issuer)
    idle = [socket.create_connection((parts.hostname or "", parts.port or 0)) for _ in range(100)]
    try:
        for connection in idle:
            connection.sendall(b"POST /v1/records HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        began = time.monotonic()
        assert attempt(lender, "GET", "/v1/me") == "done"
        assert time.monotonic() - began < 5
    finally:
        for connection in idle:
            connection.close()


def test_who_hangs_up_writes_no_line_into_the_log(lender: Client, capfd: pytest.CaptureFixture[str]) -> None:
    parts = urlsplit(lender.issuer)
    for path in ("/v1/records", f"/v1/members/{lender.session.signer.member_id}/keys"):
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
    for _ in range(3):
        assert attempt(lender, "GET", "/v1/me") == "done"
    printed = capfd.readouterr()
    assert "failed" not in printed.out + printed.err


def test_a_batch_has_an_end(lender: Client) -> None:
    body = {"suite": oprf.SUITE, "key_version": 1, "blinded": ["A" * 44] * 257}
    assert attempt(lender, "POST", "/v1/tokens/evaluate", body) == "validation_failed"


def test_replays_and_spent_budgets_do_not_grow_the_log(service: RunningService) -> None:
    member = service.admit("Noisy", evaluations_per_day=1)
    request = member.sign("GET", "/v1/me")
    member.send(request)
    before = rows(service)["audit_event"]
    for _ in range(5):
        assert member.send(request).data["code"] == "replay_detected"
    blinded = {"suite": oprf.SUITE, "key_version": 1, "blinded": ["A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW"] * 2}
    for _ in range(5):
        assert attempt(member, "POST", "/v1/tokens/evaluate", blinded) == "quota_exhausted"
    assert rows(service)["audit_event"] == before
    assert 1 <= rows(service)["refusal_tally"] <= 4, "one row for each reason and minute"


def test_no_label_of_a_metric_is_the_senders_own(shared_service: RunningService, lender: Client) -> None:
    for number in range(20):
        httpx.request(
            f"M{number}", f"{shared_service.url}/marked-{number}", headers={"X-Request-Id": f"marked-{number}"}
        )
        attempt(lender, "GET", f"/v1/records/rec_marked-{number}")
    metrics = httpx.get(shared_service.url + "/metrics").text
    assert "marked" not in metrics
    assert lender.session.signer.member_id not in metrics
    assert json.dumps(lender.session.signer.key.kid) not in metrics
