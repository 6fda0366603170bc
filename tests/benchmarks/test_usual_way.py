"""The usual way is no straw man: it does its job and refuses what it should."""

import hashlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from benchmarks import usual
from creditshare.storage.embedded import EmbeddedPostgres

BORROWER = "91999999BENCH00001"


@pytest.fixture(scope="module")
def running(postgres: EmbeddedPostgres) -> Iterator[tuple[int, str, str]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with usual.running(postgres, port) as (_, _, database, pem):
        yield port, database, pem


def send(port: int, request: bytes) -> httpx.Response:
    """Send a prepared request by an ordinary client."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return httpx.post(f"http://127.0.0.1:{port}{first.split(' ')[1]}", headers=headers, content=body)


def test_a_default_is_seen_under_a_consent_and_sealed_in_the_database(running: tuple[int, str, str]) -> None:
    port, database, pem = running
    assert send(port, usual.submission(pem, 1, BORROWER)).status_code == 201
    consent = usual.grant(database, [BORROWER])[BORROWER]
    answer = send(port, usual.question(pem, BORROWER, consent))
    assert answer.status_code == 200
    assert answer.json()["records"][0]["amount"] == "98000.00"
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT amount, borrower FROM default_record").fetchone()
    assert row is not None
    assert "98000" not in row[0]
    assert row[1] != BORROWER


def test_without_consent_or_twice_or_changed_it_refuses(running: tuple[int, str, str]) -> None:
    port, database, pem = running
    consent = usual.grant(database, [BORROWER])[BORROWER]
    assert send(port, usual.question(pem, "91999999BENCH00002", consent)).status_code == 403
    once = usual.question(pem, BORROWER, consent)
    assert [send(port, once).status_code for _ in range(2)] == [200, 401]
    changed = usual.question(pem, BORROWER, consent).replace(b"pre_loan", b"pre-loan")
    assert send(port, changed).status_code == 401


def test_its_trail_is_one_unbroken_chain(running: tuple[int, str, str]) -> None:
    port, database, pem = running
    for number in range(5):
        send(port, usual.submission(pem, number, BORROWER))
    with psycopg.connect(database) as connection:
        rows: list[Any] = connection.execute(
            "SELECT lender_id, action, detail, previous, digest FROM audit_row ORDER BY id"
        ).fetchall()
    previous = ""
    for lender, action, detail, before, digest in rows:
        assert before == previous
        assert digest == hashlib.sha256(f"{previous}|{lender}|{action}|{detail}".encode()).hexdigest()
        assert json.loads(detail)
        previous = digest
