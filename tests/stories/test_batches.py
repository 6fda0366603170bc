"""Files of records over real sockets: what is taken in, what is refused, what a kill and a suspension leave."""

import contextlib
import csv
import io
import json
import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.processes import command_environment
from tests.fixtures.service import RunningService, record_body, running_service, wait_for

from creditshare.cli.demo.story import synthetic_uscc
from creditshare.client.bank import Client, Problem
from creditshare.client.core import File, SignedRequest
from creditshare.storage.embedded import EmbeddedPostgres

NDJSON = "application/x-ndjson"
SECRET = "walrus-register-7731"
BATCHES = "/v1/record-batches"
SEES_OPEN_FILES = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="open files are looked at through /proc"
)


def subjects(client: Client, count: int, seed: str) -> list[dict[str, Any]]:
    source = random.Random(seed)  # noqa: S311  synthetic borrowers, not secrets
    return client.tokenise([synthetic_uscc(source) for _ in range(count)])


def as_file(records: list[dict[str, Any]]) -> File:
    return File(NDJSON, b"".join(json.dumps(record).encode() + b"\n" for record in records))


def counts(service: RunningService) -> dict[str, int]:
    with service.superuser() as database:
        names = ("record_current", "record_event", "record_secret", "record_lookup", "subject", "job_chunk")
        return {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}  # type: ignore[index]  # noqa: S608


def events(service: RunningService) -> Counter[str]:
    """Count the events by action, opened with the log's own key."""
    with service.superuser() as database:
        rows = database.execute("SELECT event_id, sealed FROM audit_opening WHERE grp = 'meta'").fetchall()
    audit = service.services.audit
    return Counter(str(audit._meta(event_id, sealed)["action"]) for event_id, sealed in rows)


def refused_with(act: Any) -> str:
    with pytest.raises(Problem) as caught:
        act()
    return caught.value.code


@pytest.fixture(scope="module")
def lender(shared_service: RunningService) -> Client:
    return shared_service.admit("Batch lender", region="US", evaluations_per_day=100_000)


def test_good_rows_become_records_and_bad_ones_are_named(shared_service: RunningService, lender: Client) -> None:
    before, logged = counts(shared_service), events(shared_service)
    tokens = subjects(lender, 24, "good and bad")
    records = [record_body(tokens[number % 24], f"good-{number}") for number in range(240)]
    records[6]["default_on"] = "yesterday"
    records[117]["product"] = "zebra_loan"
    records[118] = {**records[118], "zebra": SECRET}
    records[239]["account_ref"] = records[1]["account_ref"]
    records[239]["subject"] = records[1]["subject"]
    batch = lender.records.submit_batch(records)
    assert {name: batch.job[name] for name in ("status", "code", "rows", "accepted", "refused")} == {
        "status": "done",
        "code": None,
        "rows": 240,
        "accepted": 236,
        "refused": 4,
    }
    named = {row["row"]: [(error["pointer"], error["code"]) for error in row["errors"]] for row in batch.errors}
    assert named == {
        7: [("/default_on", "value_error")],
        118: [("/product", "unknown_code")],
        119: [("", "extra_forbidden")],
        240: [("", "state_conflict")],
    }
    assert "zebra" not in str(batch.errors)
    (again,) = (error for row in batch.errors for error in row["errors"] if "record_id" in error)
    assert lender.records.show(again["record_id"])["account_ref"] == "good-1"
    # Each accepted row is told its record, and none other.
    assert set(batch.record_ids) == set(range(1, 241)) - set(named)
    assert batch.record_ids[2] == again["record_id"]
    assert lender.records.show(batch.record_ids[117])["account_ref"] == "good-116"
    page = lender.call("GET", f"/v1/jobs/{batch.job['job_id']}/records", query="after=150").body.splitlines()
    assert [json.loads(line)["row"] for line in page] == list(range(151, 240))
    after = counts(shared_service)
    for name in ("record_current", "record_event", "record_secret", "record_lookup"):
        assert after[name] - before[name] == 236, name
    assert after["subject"] - before["subject"] == 24
    assert after["job_chunk"] == 0
    new = events(shared_service) - logged
    assert (new["load_record"], new["submit_record_batch"], new["finish_job"]) == (236, 1, 1)


def test_what_stands_behind_a_thousand_refused_rows_is_told_too(lender: Client) -> None:
    tokens = subjects(lender, 5, "far behind")
    good = {number: record_body(tokens[number % 5], f"behind-{number}") for number in (7, 1_130, 1_250)}
    batch = lender.records.submit_batch([good.get(number, {}) for number in range(1, 1_301)])
    assert batch.job["refused"] == len(batch.errors) == 1_297
    assert set(batch.record_ids) == set(good)
    assert lender.records.show(batch.record_ids[1_250])["account_ref"] == "behind-1250"


def test_a_row_is_judged_like_a_single_report(lender: Client) -> None:
    (token,) = subjects(lender, 1, "one by one")
    wrong: list[dict[str, Any]] = [
        {"default_on": "2024-13-01"},
        {"role": "owner"},
        {"product": "unheard"},
        {"region": {"scheme": "GB/T 2260", "code": "350100"}},
        {"lawful_basis": "consent", "provide_consent_id": "cns_01900000-0000-7000-8000-000000000000"},
        {"subject": {**token, "key_version": 9}},
        {"subject": {**token, "element": "AAAA"}},
        {"public_ref": None},
    ]
    records = [record_body(token, "same") | changes for changes in wrong]
    rows = {row["row"]: row["errors"] for row in lender.records.submit_batch(records).errors}
    for number, record in enumerate(records, start=1):
        with pytest.raises(Problem) as caught:
            lender.call("POST", "/v1/records", data=record)
        problem = caught.value
        single = [(field["pointer"], field["code"]) for field in problem.fields] or [("", problem.code)]
        assert [(error["pointer"], error["code"]) for error in rows[number]] == single, record


def test_what_was_loaded_is_asked_about_like_any_record(shared_service: RunningService, lender: Client) -> None:
    (token,) = subjects(lender, 1, "asked about")
    records = [record_body(token, f"of-one-borrower-{number}") for number in range(3)]
    assert lender.records.submit_batch(records).job["accepted"] == 3
    asker = shared_service.admit("Asks", region="US")
    subjects(asker, 1, "asked about")
    consent = asker.grant_consent(token, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed")
    answer = asker.query(token, purpose="pre_loan", consent_id=str(consent["consent_id"]))
    assert answer["summary"]["open_defaults"] == 3


def test_csv_says_what_ndjson_says(lender: Client) -> None:
    tokens = subjects(lender, 3, "csv")
    records = [record_body(token, f"csv-{number}, with a comma") for number, token in enumerate(tokens)]
    records[1]["public_ref"] = "two\nlines"
    flat = [dict(_flat(record)) for record in records]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]))
    writer.writeheader()
    writer.writerows(flat)
    answer = lender.call("POST", BATCHES, data=File("text/csv", text.getvalue().encode()))
    batch = lender.records.follow(str(answer["job_id"]))
    # A reference with a line break is refused, as it is in JSON.
    assert (batch.job["accepted"], batch.job["refused"]) == (2, 1)
    assert [(row["row"], row["errors"][0]["pointer"]) for row in batch.errors] == [(2, "/public_ref")]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"role,zebra\nborrower,1\n", "validation_failed"),
        (b"role,role\nborrower,borrower\n", "validation_failed"),
        (b"role,currency\nborrower\n", "validation_failed"),
        (b'role,currency\n"borrower,USD\n', "body_malformed"),
        (b"role\n\xff\n", "body_malformed"),
        (b"role\n", "validation_failed"),
    ],
)
def test_a_file_that_is_no_csv_is_refused_whole(lender: Client, content: bytes, code: str) -> None:
    with pytest.raises(Problem) as caught:
        lender.call("POST", BATCHES, data=File("text/csv", content))
    assert caught.value.code == code
    assert "zebra" not in str(caught.value.document)


def _flat(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def test_a_dry_run_names_the_same_rows_and_stores_nothing(shared_service: RunningService, lender: Client) -> None:
    (known,) = subjects(lender, 1, "dry known")
    lender.call("POST", "/v1/records", data=record_body(known, "known"))
    tokens = subjects(lender, 12, "dry")
    records = [record_body(tokens[number % 12], f"dry-{number}") for number in range(120)]
    records += [record_body(known, "known"), {**record_body(known, "x"), "role": "owner"}]
    before, logged = counts(shared_service), events(shared_service)
    dry = lender.records.submit_batch(records, dry_run=True)
    assert counts(shared_service) == before
    assert (events(shared_service) - logged)["load_record"] == 0
    assert dry.record_ids == {}
    real = lender.records.submit_batch(records)
    assert real.errors == dry.errors
    assert real.job["accepted"] == dry.job["accepted"] == 120


def test_the_same_key_makes_one_job_and_says_so(shared_service: RunningService, lender: Client) -> None:
    records = [record_body(token, f"once-{n}") for n, token in enumerate(subjects(lender, 5, "once"))]
    first = lender.call("POST", BATCHES, data=as_file(records), key="once")
    lender.records.follow(str(first["job_id"]))
    before = counts(shared_service)
    again = lender.call("POST", BATCHES, data=as_file(records), key="once")
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true"
    assert counts(shared_service) == before
    other = lambda: lender.call("POST", BATCHES, data=as_file(records[:4]), key="once")  # noqa: E731
    assert refused_with(other) == "idempotency_mismatch"
    dry = lambda: lender.call("POST", BATCHES, query="dry_run=true", data=as_file(records), key="once")  # noqa: E731
    assert refused_with(dry) == "idempotency_mismatch"


def test_a_body_of_another_digest_leaves_nothing(shared_service: RunningService, lender: Client) -> None:
    records = [record_body(token, f"changed-{n}") for n, token in enumerate(subjects(lender, 3, "changed"))]
    request = lender.sign("POST", BATCHES, data=as_file(records))
    changed = request.body.replace(b"150000.00", b"150000.01", 1)
    jobs = number_of_jobs(shared_service)
    got = lender.transmit(SignedRequest("POST", BATCHES, "", request.headers, changed, request.token))
    assert (got.status, json.loads(got.body)["code"]) == (401, "digest_mismatch")
    assert number_of_jobs(shared_service) == jobs
    # Nothing was used up: the same token still serves for what was signed.
    assert lender.send(request).status == 202


def number_of_jobs(service: RunningService) -> int:
    with service.superuser() as database:
        return int(database.execute("SELECT count(*) FROM job").fetchone()[0])  # type: ignore[index]


class HalfSent:
    """A request whose body is sent by hand, on a bare socket."""

    def __init__(self, service: RunningService, request: SignedRequest, length: int | None) -> None:
        host, port = service.url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        size = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
        headers = [f"{name}: {value}" for name, value in request.headers.items()]
        head = "\r\n".join([f"POST {request.target} HTTP/1.1", f"Host: {host}", size, *headers])
        self.socket.sendall(f"{head}\r\n\r\n".encode())

    def answer(self) -> tuple[int, str]:
        data = b""
        while b"\r\n\r\n" not in data or b"}" not in data.partition(b"\r\n\r\n")[2]:
            part = self.socket.recv(65_536)
            if not part:
                break
            data += part
        return int(data.split(b" ", 2)[1]), str(json.loads(data.partition(b"\r\n\r\n")[2])["code"])


def test_the_header_decides_before_a_byte_of_the_body_is_sent(shared_service: RunningService, lender: Client) -> None:
    limit = shared_service.settings.max_batch_bytes
    good = lender.sign("POST", BATCHES, data=as_file([{}]))
    unsigned = SignedRequest("POST", BATCHES, "", {"Content-Type": NDJSON}, b"", "")
    forged = {**good.headers, "Authorization": good.headers["Authorization"][:-2] + "AA"}
    json_type = {**good.headers, "Content-Type": "application/json"}
    operator = shared_service.client(shared_service.operators[0])
    for request, length, expected in (
        (good, limit + 1, (413, "content_too_large")),
        (unsigned, limit, (401, "token_missing")),
        (SignedRequest("POST", BATCHES, "", forged, b"", ""), limit, (401, "signature_invalid")),
        (SignedRequest("POST", BATCHES, "", json_type, b"", ""), limit, (415, "unsupported_media_type")),
        (operator.sign("POST", BATCHES, data=as_file([{}])), limit, (403, "role_forbidden")),
    ):
        half = HalfSent(shared_service, request, length)
        with half.socket:
            assert half.answer() == expected


def test_a_body_that_grows_beyond_the_limit_is_cut(postgres: EmbeddedPostgres, template: str) -> None:
    with running_service(postgres, template, max_batch_bytes=200_000) as service:
        lender = service.admit("Long", region="US")
        half = HalfSent(service, lender.sign("POST", BATCHES, data=as_file([{}])), None)
        with half.socket:
            block = b"x" * 65_536
            for _ in range(4):
                half.socket.sendall(f"{len(block):x}\r\n".encode() + block + b"\r\n")
            assert half.answer() == (413, "content_too_large")


def test_a_file_that_does_not_come_is_refused_by_its_own_time_limit(postgres: EmbeddedPostgres, template: str) -> None:
    with running_service(postgres, template, batch_time_limit_s=0.3) as service:
        request = service.admit("Slow", region="US").sign("POST", BATCHES, data=as_file([{}]))
        half = HalfSent(service, request, len(request.body))
        with half.socket:
            assert half.answer() == (408, "request_timeout")
            assert half.socket.recv(1) == b""


def test_a_file_may_take_longer_than_other_requests(postgres: EmbeddedPostgres, template: str) -> None:
    with running_service(postgres, template, request_time_limit_s=2, batch_time_limit_s=20) as service:
        request = service.admit("Patient", region="US").sign("POST", BATCHES, data=as_file([{}]))
        half = HalfSent(service, request, len(request.body))
        with half.socket:
            half.socket.settimeout(3)
            with pytest.raises(TimeoutError):
                half.socket.recv(1)
            half.socket.settimeout(15)
            half.socket.sendall(request.body)
            assert half.socket.recv(65_536).split(b" ", 2)[1] == b"202"


@SEES_OPEN_FILES
@pytest.mark.parametrize("narrow", [{"member_burst_requests": 1, "member_requests_per_s": 1}, {"member_in_flight": 1}])
def test_the_bounds_of_a_member_decide_before_the_file_is_read(
    postgres: EmbeddedPostgres, template: str, narrow: dict[str, Any]
) -> None:
    with running_service(postgres, template, **narrow) as service, contextlib.ExitStack() as stack:
        lender = service.admit("Greedy", region="US")
        requests = [lender.sign("POST", BATCHES, data=as_file([{}])) for _ in range(6)]
        stack.enter_context(HalfSent(service, requests[0], len(requests[0].body)).socket)
        wait_for(lambda: bool(_nameless_files(service.folder)))
        others = [HalfSent(service, request, len(request.body)) for request in requests[1:]]
        for other in others:
            stack.enter_context(other.socket)
        assert others[-1].answer() == (429, "rate_limited")


@SEES_OPEN_FILES
def test_the_spool_and_the_staged_rows_hold_no_plaintext(postgres: EmbeddedPostgres, template: str) -> None:
    with running_service(postgres, template, with_worker=False) as service:
        lender = service.admit("Blind", region="US", evaluations_per_day=10_000)
        tokens = subjects(lender, 2, "blind")
        row = json.dumps(record_body(tokens[0], "zebra-1", public_ref=SECRET)).encode() + b"\n"
        request = lender.sign("POST", BATCHES, data=File(NDJSON, row * 2_000))
        half = HalfSent(service, request, len(request.body))
        with half.socket:
            half.socket.sendall(request.body[:600_000])
            spooled: list[bytes] = []

            def written() -> bool:
                spooled[:] = [file.read_bytes() for file in _nameless_files(service.folder)]
                return bool(spooled) and len(spooled[0]) > 262_144

            wait_for(written)
            assert not any(path.name.startswith("tmp") for path in service.folder.iterdir())
        answer = lender.send(request)
        assert answer.status == 202, answer.data
        with service.superuser() as database:
            staged = [bytes(sealed) for (sealed,) in database.execute("SELECT sealed FROM job_chunk")]
        assert len(staged) == 20
        for data in (*spooled, *staged):
            for needle in (SECRET.encode(), b"zebra", b"150000.00", tokens[0]["element"].encode()):
                assert needle not in data


def _nameless_files(folder: Path) -> list[Path]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith(str(folder)) and target.endswith("(deleted)"):
            found.append(link)
    return found


def test_a_job_belongs_to_its_member(shared_service: RunningService, lender: Client) -> None:
    job_id = lender.records.submit_batch([record_body(subjects(lender, 1, "mine")[0], "mine")]).job["job_id"]
    other = shared_service.admit("Other", region="US")
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/errors", f"/v1/jobs/{job_id}/records", "/v1/jobs/job_x"):
        assert refused_with(lambda path=path: other.call("GET", path)) == "not_found"


def test_a_job_is_forgotten_after_three_days(service: RunningService) -> None:
    lender = service.admit("Late", region="US")
    job_id = lender.records.submit_batch([{}]).job["job_id"]
    assert lender.call("GET", f"/v1/jobs/{job_id}/errors").body.count(b"\n") == 1
    service.advance(days=3.1)
    assert refused_with(lambda: lender.call("GET", f"/v1/jobs/{job_id}")) == "not_found"
    wait_for(lambda: number_of_jobs(service) == 0)


def test_a_suspended_member_gets_no_further(postgres: EmbeddedPostgres, template: str) -> None:
    with running_service(postgres, template, with_worker=False) as service:
        lender = service.admit("Suspended", region="US", evaluations_per_day=10_000)
        (token,) = subjects(lender, 1, "suspended")
        records = [record_body(token, f"s-{number}") for number in range(250)]
        job = lender.call("POST", BATCHES, data=as_file(records))["job_id"]
        assert service.run(service.services.batches.step())
        assert lender.call("GET", f"/v1/jobs/{job}")["accepted"] == 100
        assert lender.identity is not None
        service.rewrite("UPDATE member SET status = 'suspended' WHERE name = 'Suspended'")
        assert service.run(service.services.batches.step())
        shown = lender.call("GET", f"/v1/jobs/{job}").data
        assert (shown["status"], shown["code"], shown["accepted"]) == ("failed", "member_suspended", 100)
        assert counts(service) | {"record_current": 100, "job_chunk": 0} == counts(service)
        assert not service.run(service.services.batches.step())
        assert refused_with(lambda: lender.call("POST", BATCHES, data=as_file(records))) == "member_suspended"


@pytest.mark.slow
def test_a_killed_worker_leaves_off_where_the_next_one_goes_on(postgres: EmbeddedPostgres, template: str) -> None:
    with running_service(postgres, template, with_worker=False) as service:
        lender = service.admit("Killed", region="US")
        tokens = subjects(lender, 20, "killed")
        records = [record_body(tokens[number % 20], f"k-{number}") for number in range(6_000)]
        records[5_900]["role"] = "owner"
        job = str(lender.call("POST", BATCHES, data=as_file(records))["job_id"])

        def done() -> int:
            return int(lender.call("GET", f"/v1/jobs/{job}")["accepted"])

        worker = start_worker(service)
        wait_for(lambda: done() > 0, seconds=60)
        worker.kill()
        worker.wait()
        before = done()
        assert before < 5_999, "killed too late to show anything"
        while service.run(service.services.batches.step()):
            pass
        batch = lender.records.follow(job)
        assert (batch.job["accepted"], batch.job["refused"]) == (5_999, 1)
        assert [row["row"] for row in batch.errors] == [5_901]
        assert len(set(batch.record_ids.values())) == len(batch.record_ids) == 5_999
        assert counts(service) | {"record_current": 5_999, "record_event": 5_999, "job_chunk": 0} == counts(service)
        assert events(service)["load_record"] == 5_999
        with service.superuser() as database:
            accounts = database.execute("SELECT count(DISTINCT account_index) FROM record_current").fetchone()
        assert accounts == (5_999,)


def start_worker(service: RunningService) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "creditshare", "worker", "--data", str(service.folder)],
        env=command_environment(service),
    )
