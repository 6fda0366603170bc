"""*Recorded*: every acknowledged act is in the log exactly once, refusals of known members included."""

import contextlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from tests.fixtures.service import RunningService, record_body, wait_for

from creditshare.audit.state import LogState
from creditshare.client.bank import Client
from creditshare.client.core import SignedAnswer
from creditshare.crypto.encoding import b64url_decode
from creditshare.jobs.worker import flush_tallies
from creditshare.storage.engine import Database
from creditshare.tlog.checkpoint import open_checkpoint
from creditshare.tlog.merkle import verify_consistency
from creditshare.tlog.note import Verifier
from creditshare.tlog.proof import InclusionProof
from creditshare.wire.leaf import LogEntry

BORROWER = "91999999DEM000022B"


def mixed_acts(service: RunningService) -> tuple[Client, list[SignedAnswer]]:
    """Do about sixty things, successes and refusals, and return every signed answer."""
    lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
    (subject,) = lender.tokenise([BORROWER])
    asker.tokenise([BORROWER])
    consent = asker.grant_consent(
        subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed", max_uses=20
    )
    body = {"subject": subject, "purpose": "pre_loan", "consent_id": consent["consent_id"], "scopes": ["defaults"]}
    answers = []
    for number in range(12):
        record = record_body(subject, f"A-{number}")
        answers.append(lender.send(lender.sign("POST", "/v1/records", data=record)))
        answers.append(lender.send(lender.sign("POST", "/v1/records", data={**record, "currency": "dollars"})))
        answers.append(asker.send(asker.sign("POST", "/v1/queries", data=body)))
        answers.append(asker.send(asker.sign("POST", "/v1/queries", data={**body, "purpose": "restructuring"})))
        answers.append(asker.send(asker.sign("GET", f"/v1/records/{answers[-4].data.get('record_id')}")))
    return asker, answers


def checkpoint(service: RunningService) -> str:
    return httpx.get(service.url + "/log/v1/checkpoint").text


def test_every_acknowledged_act_is_in_the_log_exactly_once(service: RunningService) -> None:
    verifier = service.services.log_verifier
    wait_for(lambda: httpx.get(service.url + "/log/v1/checkpoint").status_code == 200)
    before = open_checkpoint(checkpoint(service), [verifier])
    asker, answers = mixed_acts(service)
    assert Counter(answer.status for answer in answers) == {201: 12, 422: 12, 200: 12, 403: 12, 404: 12}
    events = [answer.log_entry.event_id for answer in answers if answer.log_entry is not None]
    assert len(events) == len(set(events)) == len(answers) == 60

    def everything_integrated() -> bool:
        health = httpx.get(service.url + "/audit/v1/health").json()
        return bool(health["oldest_pending_s"] == 0)

    wait_for(everything_integrated)
    with service.superuser() as database:
        in_log = Counter(f"evt_{row[0]}" for row in database.execute("SELECT event_id FROM audit_leaf"))
    assert [in_log[event] for event in events] == [1] * 60
    for event in events[::10]:
        proof = asker.inclusion_proof(event)
        assert proof is not None
        InclusionProof.from_dict(proof).verify([Verifier.parse(asker.discovery["log"]["vkey"])])
    after = open_checkpoint(checkpoint(service), [verifier])
    got = httpx.get(service.url + "/audit/v1/proof/consistency", params={"from": before.size, "to": after.size}).json()
    verify_consistency(
        size1=before.size,
        root1=before.root,
        size2=after.size,
        root2=after.root,
        proof=[b64url_decode(entry) for entry in got["hashes"]],
    )


def test_replays_are_counted_not_logged_one_by_one(service: RunningService) -> None:
    lender = service.admit("Lender", region="US")
    request = lender.sign("GET", "/v1/me")
    assert lender.send(request).status == 200
    replays = [lender.send(request) for _ in range(5)]
    assert {answer.data["code"] for answer in replays} == {"replay_detected"}
    assert all(answer.log_entry is None and answer.claims is not None for answer in replays)
    with service.superuser() as database:
        assert database.execute("SELECT sum(count) FROM refusal_tally").fetchone() == (5,)

    async def flush() -> int:
        database = Database(service.settings.worker_database_url or "", role="creditshare_worker", pool_size=1)
        try:
            async with database.writing() as session:
                done = await flush_tallies(
                    session, service.services.audit, now=datetime.now(UTC) + timedelta(minutes=2)
                )
                await session.commit()
                return done
        finally:
            await database.close()

    assert service.run(flush()) == 1
    with service.superuser() as database:
        assert database.execute("SELECT count(*) FROM refusal_tally").fetchone() == (0,)


@pytest.mark.parametrize("change", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}"], ids=["update", "delete"])
@pytest.mark.parametrize(
    ("table", "column"),
    [("audit_event", "leaf"), ("audit_leaf", "leaf_hash"), ("audit_checkpoint", "note"), ("record_event", "mac")],
    ids=str,
)
def test_what_was_written_stays_even_for_the_administrator(
    shared_service: RunningService, change: str, table: str, column: str
) -> None:
    lender = shared_service.admit(f"Lender {table} {change[:6]}", region="US")
    (subject,) = lender.tokenise([BORROWER])
    lender.call("POST", "/v1/records", data=record_body(subject, f"{table}{change[:6]}"))
    wait_for(lambda: httpx.get(shared_service.url + "/log/v1/checkpoint").status_code == 200)
    with shared_service.superuser() as database:
        database.execute("SET session_replication_role = replica")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            database.execute(change.format(table, column))


def test_the_services_own_role_has_no_right_to_change_the_log(shared_service: RunningService) -> None:
    url = shared_service.postgres.url("app", shared_service.database).replace("postgresql+psycopg", "postgresql")
    for statement in (
        "UPDATE audit_event SET leaf = leaf",
        "DELETE FROM audit_leaf",
        "INSERT INTO audit_pending DEFAULT VALUES",
    ):
        with (
            psycopg.connect(url) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"),
        ):
            connection.execute(statement)


def test_a_late_log_closes_the_data_endpoints(service: RunningService) -> None:
    lender = service.admit("Lender", region="US")
    waits = service.settings.merge_delay_s + 1.0
    service.services.log_health.saw(LogState(0, None, 0.0, pending=1, oldest_pending_s=waits))
    refused: Any = lender.send(lender.sign("POST", "/v1/consents", data={}))
    assert refused.status == 503
    assert refused.data["code"] == "unavailable"
    assert lender.send(lender.sign("GET", "/v1/me")).status == 200


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/queries"), ("GET", "/v1/records/rec_01J8ZQ5V7E2W3")])
def test_what_fails_while_a_refusal_is_recorded_is_answered_signed(
    service: RunningService, method: str, path: str
) -> None:
    """Nothing of the refusal is told, because it is in no log; the connection stays, as after any other answer."""
    lender = service.admit("Lender")
    with service.superuser() as database:
        database.execute("REVOKE INSERT ON audit_event FROM creditshare_app")
    address = urlsplit(service.url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=30)
    with contextlib.closing(connection):
        for _ in range(2):
            request = lender.sign(method, path, data={} if method == "POST" else None)
            connection.request(method, path, body=request.body or None, headers=dict(request.headers))
            got = connection.getresponse()
            assert got.status == 500
            assert json.loads(got.read())["code"] == "internal_error"
            assert got.headers["CS-Signature"]


def test_a_proof_is_given_against_the_checkpoint_that_is_named(service: RunningService) -> None:
    lender, address = service.admit("Lender", region="US"), service.url + "/audit/v1/proof/inclusion"

    def act() -> tuple[LogEntry, int]:
        """Do something that is an event, and wait until it is in the log, of which the size is returned."""
        entry = lender.send(lender.sign("GET", "/v1/records/rec_01900000-0000-7000-8000-000000000000")).log_entry
        assert entry is not None
        wait_for(lambda: httpx.get(service.url + "/audit/v1/health").json()["oldest_pending_s"] == 0)
        return entry, int(httpx.get(service.url + "/audit/v1/health").json()["size"])

    (early, older), (late, newest) = act(), act()
    for named in (None, newest, older):
        asked = {"event_id": early.event_id} | ({} if named is None else {"size": str(named)})
        proof = InclusionProof.from_dict(httpx.get(address, params=asked).json())
        assert proof.verify([service.services.log_verifier]).size == (named or newest)
        text = httpx.get(address, params=asked, headers={"Accept": "text/plain"})
        assert text.headers["content-type"].startswith("text/plain")
        assert InclusionProof.from_text(text.text, event_id=early.event_id, leaf_hash=early.leaf_hash) == proof
    # A size that nobody signed, and one that ended before the leaf.
    for event, size in ((early, newest + 900), (late, older)):
        refused = httpx.get(address, params={"event_id": event.event_id, "size": str(size)})
        assert refused.json()["code"] == "not_found"
