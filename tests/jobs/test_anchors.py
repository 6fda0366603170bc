"""Anchors: the newest checkpoint is stamped by the hour, and an authority that is of no use delays nothing."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fixtures.authority import Authority, needs_openssl
from tests.fixtures.loopback import listening
from tests.fixtures.processes import command, database_of, older_copy
from tests.fixtures.service import RunningService, running_service, wait_for

from creditshare.audit.rebuild import Check
from creditshare.composition import anchors
from creditshare.crypto.timestamps import MAX_REPLY, stamp_request
from creditshare.operations.fsck import examine_log
from creditshare.settings import Settings
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import Database
from creditshare.tlog.checkpoint import open_checkpoint

pytest.importorskip("rfc3161_client", reason="the extra creditshare[anchors] is not installed")

HANGS_S = 20
NOTHING = "/v1/records/rec_01900000-0000-7000-8000-000000000000"
RECORDED = Path(__file__).parents[1] / "crypto" / "vectors" / "rfc3161.json"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "authority")


@pytest.fixture
def stamped(
    postgres: EmbeddedPostgres, template: str, authority: Authority
) -> Iterator[tuple[RunningService, Authority]]:
    """A service whose worker has a stamp taken every second."""
    with (
        authority.serving() as url,
        running_service(
            postgres, template, timestamp_url=url, timestamp_certificates_file=authority.roots, timestamp_every_s=1
        ) as service,
    ):
        yield service, authority


def shown(service: RunningService, size: int | None = None) -> list[dict[str, Any]]:
    query = {} if size is None else {"size": size}
    found: list[dict[str, Any]] = httpx.get(service.url + "/audit/v1/anchors", params=query).json()["anchors"]
    return found


def newest(service: RunningService) -> int:
    return int(httpx.get(service.url + "/audit/v1/health").json()["size"])


@needs_openssl
def test_the_newest_checkpoint_is_stamped_and_everybody_can_check_it(
    stamped: tuple[RunningService, Authority], tmp_path: Path
) -> None:
    service, authority = stamped
    lender = service.admit("Lender", region="US")
    lender.send(lender.sign("GET", NOTHING))
    wait_for(lambda: any(one["size"] == newest(service) for one in shown(service)), seconds=20)
    first = shown(service)[0]
    assert first["tsa"] == service.settings.timestamp_url
    assert shown(service, first["size"]) == [first]
    assert shown(service, 10**6) == []
    wait_for(lambda: "creditshare_log_unanchored_seconds 0.0" in httpx.get(service.url + "/metrics").text)

    (tmp_path / "checkpoint").write_text(httpx.get(f"{service.url}/audit/v1/checkpoints/{first['size']}").text)
    (tmp_path / "anchors.json").write_text(json.dumps({"anchors": shown(service)}))
    token = base64.b64decode(first["token"])
    (tmp_path / "token").write_bytes(token)
    body = open_checkpoint((tmp_path / "checkpoint").read_text(), [service.services.log_verifier]).text.encode()
    assert authority.verifies(token, body)
    assert not authority.verifies(token, body + b"\n")
    for anchor in ("anchors.json", "token"):
        told = command(
            service, "log", "verify-anchor", str(tmp_path / "checkpoint"), str(tmp_path / anchor), "--json",
            "--vkey", service.services.log_verifier.vkey, "--certificates", str(authority.roots),
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout)["time"] == first["time"]

    findings = {one.check: one for one in asyncio.run(examine_log(service.settings))}
    assert findings[Check.SIGNATURES].seen.endswith(f", {len(shown(service))} anchors")
    assert [one.problem for one in findings.values() if one.problem is not None] == []


def on(settings: Settings, *steps: Callable[[], None], workers: int = 1) -> None:
    """Let workers of their own look once each, and again after each of ``steps``."""

    async def look() -> None:
        database = Database(str(settings.worker_database_url), role="creditshare_worker", pool_size=2)
        try:
            for step in (lambda: None, *steps):
                await asyncio.to_thread(step)
                for _ in range(workers):
                    runner = anchors(settings, database)
                    assert runner is not None
                    await runner.step()
        finally:
            await database.close()

    asyncio.run(look())


def with_authority(service: RunningService, url: str, certificates: Path, **changes: Any) -> Settings:
    given = {"timestamp_url": url, "timestamp_certificates_file": certificates, **changes}
    return service.settings.model_copy(update=given)


@needs_openssl
def test_several_workers_and_their_restarts_take_one_stamp_an_hour(
    service: RunningService, authority: Authority
) -> None:
    lender = service.admit("Lender", region="US")

    def grow() -> None:
        before = newest(service)
        lender.send(lender.sign("GET", NOTHING))
        wait_for(lambda: newest(service) > before)

    def age() -> None:
        with service.superuser() as database:
            database.execute("ALTER TABLE audit_anchor DISABLE TRIGGER ALL")
            database.execute("UPDATE audit_anchor SET received_at = received_at - interval '61 minutes'")

    def taken() -> int:
        return len(shown(service))

    before = authority.asked
    with authority.serving() as url:
        settings = with_authority(service, url, authority.roots)
        wait_for(lambda: newest(service) > 0)
        on(settings, grow, workers=3)
        assert taken() == 1
        on(settings, age)
        assert taken() == 2  # the log has grown since
        on(settings, age, age)
        assert taken() == 2  # and has not, since then
        assert authority.asked == before + 2
        # Another authority is another matter.
        on(with_authority(service, url + "/other", authority.roots))
        assert [one["tsa"] for one in shown(service)] == [url, url + "/other", url]


@needs_openssl
def test_what_the_log_did_not_sign_is_not_stamped(
    service: RunningService, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever writes a checkpoint into the database does not get a time for it."""
    wait_for(lambda: newest(service) > 0)
    with authority.serving() as url, older_copy(service) as copy:
        changes = {**copy, "timestamp_url": url, "timestamp_certificates_file": authority.roots}
        settings = service.settings.model_copy(update=changes)
        note = httpx.get(service.url + "/log/v1/checkpoint").text
        with service.superuser(database_of(copy)) as database:
            for size, forged in ((10**6, "garbage"), (10**6 + 1, note)):
                database.execute("INSERT INTO audit_checkpoint VALUES (%s, sha256('x'), %s)", [size, forged])
                on(settings)
            assert database.execute("SELECT count(*) FROM audit_anchor").fetchone() == (0,)
    assert caplog.text.count("the newest checkpoint is not stamped") == 2


class Odd(BaseHTTPRequestHandler):
    """An authority of no use: answers by a function of the request."""

    answer: Callable[[bytes], tuple[int, bytes]]

    def do_POST(self) -> None:
        status, body = type(self).answer(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def recorded(_: bytes) -> tuple[int, bytes]:
    return 200, base64.b64decode(json.loads(RECORDED.read_text())["reply"])


USELESS: dict[str, tuple[Callable[[bytes], tuple[int, bytes]], str]] = {
    "an error": (lambda _: (500, b""), "status 500"),
    "a redirect": (lambda _: (302, b""), "status 302"),
    "nothing": (lambda _: (200, b""), "no time-stamp answer"),
    "the question": (lambda query: (200, query), "no time-stamp answer"),
    "a page": (lambda _: (200, b"<html>" * 500), "no time-stamp answer"),
    "too much": (lambda _: (200, b"0" * (MAX_REPLY + 1)), "more than"),
    "a refusal": (lambda _: (200, bytes.fromhex("30053003020102")), "status 2"),
    "an old answer": (recorded, "another request"),
}


@pytest.mark.parametrize("what", USELESS)
def test_an_authority_of_no_use_leaves_nothing_but_a_line(
    shared_service: RunningService, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    answer, why = USELESS[what]
    known = json.loads(RECORDED.read_text())
    (tmp_path / "roots").write_text(known["roots"] + known["between"])
    wait_for(lambda: newest(shared_service) > 0)
    with listening(type("Handler", (Odd,), {"answer": staticmethod(answer)})) as url:
        on(with_authority(shared_service, url, tmp_path / "roots"))
    assert why in caplog.text
    assert shown(shared_service) == []


@needs_openssl
def test_a_stamp_of_another_authority_or_over_something_else_is_not_kept(
    shared_service: RunningService, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wait_for(lambda: newest(shared_service) > 0)
    stranger = Authority(tmp_path / "stranger")

    def something_else(query: bytes) -> tuple[int, bytes]:
        """The right number, over the wrong digest: that of the request is the 32 bytes before the number."""
        digest = query.index(bytes.fromhex("0420")) + 2
        return 200, authority.reply(query[:digest] + bytes(32) + query[digest + 32 :])

    lies = {
        "trusted root": lambda query: (200, stranger.reply(query)),
        "something else": something_else,
        "another request": lambda _: (200, authority.reply(stamp_request(b"else").body)),
        "no time-stamp": lambda query: (200, authority.reply(query)[:-1]),
    }
    for why, lie in lies.items():
        caplog.clear()
        with listening(type("Handler", (Odd,), {"answer": staticmethod(lie)})) as url:
            on(with_authority(shared_service, url, authority.roots))
        assert why in caplog.text
    assert shown(shared_service) == []


def test_an_authority_that_hangs_delays_nothing(
    postgres: EmbeddedPostgres, template: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("creditshare.jobs.anchors.TIMEOUT_S", 1.0)
    asked: list[float] = []
    over = threading.Event()

    def hang(_: bytes) -> tuple[int, bytes]:
        asked.append(time.monotonic())
        over.wait(HANGS_S)
        return 200, b""

    known = json.loads(RECORDED.read_text())
    (tmp_path / "roots").write_text(known["roots"])
    with (
        listening(type("Handler", (Odd,), {"answer": staticmethod(hang)})) as url,
        running_service(
            postgres,
            template,
            timestamp_url=url,
            timestamp_certificates_file=tmp_path / "roots",
            timestamp_every_s=1,
            merge_delay_s=HANGS_S // 2,
        ) as service,
    ):
        lender = service.admit("Lender", region="US")
        wait_for(lambda: bool(asked))
        while len(asked) < 2:
            before = newest(service)
            lender.send(lender.sign("GET", NOTHING))
            wait_for(lambda before=before: newest(service) > before, seconds=HANGS_S // 2)  # type: ignore[misc]
        over.set()
    assert asked[1] - asked[0] < HANGS_S  # cut off, and asked again


FORGERIES = {
    (
        "UPDATE audit_anchor SET token = (SELECT token FROM audit_anchor ORDER BY size LIMIT 1)"
        " WHERE size = (SELECT max(size) FROM audit_anchor)"
    ): "the stamp is over something else",
    (
        "UPDATE audit_anchor SET gen_time = gen_time - interval '1 day'"
        " WHERE size = (SELECT min(size) FROM audit_anchor)"
    ): "the stamp states another time than its row",
    "ALTER TABLE audit_anchor DROP CONSTRAINT fk_audit_anchor_size_audit_checkpoint": "",
    "INSERT INTO audit_anchor SELECT 10000, tsa, token, gen_time FROM audit_anchor LIMIT 1": "of 10000 leaves",
}


@needs_openssl
def test_fsck_names_anchors_that_do_not_hold(stamped: tuple[RunningService, Authority]) -> None:
    service, _ = stamped
    lender = service.admit("Lender", region="US")
    wait_for(lambda: len(shown(service)) >= 1, seconds=20)
    lender.send(lender.sign("GET", NOTHING))
    wait_for(lambda: len(shown(service)) >= 2, seconds=20)
    with older_copy(service) as copy:
        with service.superuser(database_of(copy)) as database:
            database.execute("ALTER TABLE audit_anchor DISABLE TRIGGER ALL")
            for statement in FORGERIES:
                database.execute(statement)
        findings = asyncio.run(examine_log(service.settings.model_copy(update=copy)))
    ((check, problem),) = [(one.check, one.problem) for one in findings if one.problem is not None]
    assert check == Check.SIGNATURES
    for words in FORGERIES.values():
        assert words in (problem or "")
