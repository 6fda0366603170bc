"""Logs: one JSON object per line whoever wrote it, and nothing in it that tells of a borrower or a secret."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from creditshare.errors import IntegrityError
from creditshare.telemetry import FIELDS, REDACTED, _StandardError, configure_logging, scrub

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"


@pytest.fixture(autouse=True)
def _configured() -> Iterator[None]:
    configure_logging()
    yield
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _StandardError)]:
        root.removeHandler(handler)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN,
        TOKEN[:30],
        "91350100M000100Y43",
        "5493001KJTIIGC8Y1R12",
        "rec_01J8ZQ5V7E2W3",
        "01900000-0000-7000-8000-000000000001",
        "Az09_-" * 8,
        "app:hunter2",
    ],
)
def test_what_may_not_leave_is_scrubbed(secret: str) -> None:
    text = f"at postgresql://{secret}@host" if ":" in secret else f"before {secret} after"
    assert secret not in scrub(text)
    assert REDACTED in scrub(text)


def test_plain_words_and_request_ids_stay() -> None:
    text = "the log is behind its promise of 60 s, request XbN47lc-kFgi6jmJ of mem_01900000-0000-7000-8000-000000000001"
    assert scrub(text) == text


def test_only_known_fields_leave(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger("creditshare.test").info("told", action="submit_record", body="secret", path="/v1/records/x")
    (line,) = lines(capsys)
    assert line["action"] == "submit_record"
    assert line.keys() <= FIELDS
    assert "secret" not in json.dumps(line)


def test_the_servers_own_lines_are_the_same_objects(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("uvicorn.error").warning("Invalid request for %s", TOKEN)
    (line,) = lines(capsys)
    assert line["logger"] == "uvicorn.error"
    assert line["event"] == f"Invalid request for {REDACTED}"


def test_of_an_exception_kind_and_place_are_told_and_only_our_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        try:
            int("row (91350100M000100Y43, Zhang San)")
        except ValueError as inner:
            raise IntegrityError("a record was moved") from inner

    try:
        fail()
    except IntegrityError:
        structlog.get_logger("creditshare.test").exception("integrity")
        logging.getLogger("uvicorn.error").exception("failed")
    first, second = lines(capsys)
    for line in (first, second):
        told = str(line["exception"])
        assert told.startswith("IntegrityError: a record was moved at test_telemetry.py:")
        assert "because of ValueError at test_telemetry.py:" in told
        assert "Zhang" not in told


def test_configuring_twice_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    structlog.get_logger("creditshare.test").info("once")
    assert len(lines(capsys)) == 1


def test_processes_that_share_a_folder_are_measured_together(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def run(program: str) -> str:
        whole = "from creditshare.telemetry import KEY_TABLE_SECONDS, LOG_SIZE, REFUSALS, metrics\n" + program
        return subprocess.run(
            [sys.executable, "-c", whole], env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    for size in (3, 5):
        run(f"REFUSALS.labels(code='not_found').inc(); LOG_SIZE.set({size}); KEY_TABLE_SECONDS.set(99)")
    told = run("REFUSALS.labels(code='not_found').inc(); KEY_TABLE_SECONDS.set(1); print(metrics().decode())")
    assert 'creditshare_refusals_total{code="not_found"} 3.0' in told
    assert "creditshare_log_size 5.0" in told
    assert "creditshare_key_table_age_seconds 1.0" in told  # a dead process's age counts no more
