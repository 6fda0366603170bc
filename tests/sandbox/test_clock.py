"""The sandbox's clock: the same in every process, kept over restarts, never backwards, recorded, absent elsewhere."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from tests.fixtures.processes import another_process, command
from tests.fixtures.service import RunningService, record_body

from creditshare.app import create_app
from creditshare.client.bank import Client, Problem
from creditshare.settings import Settings

BORROWER = "91999999DEM000014G"
CLOCK = "/v1/sandbox/clock"


def operator(service: RunningService) -> Client:
    return service.client(service.operators[0])


def pending_record(service: RunningService) -> tuple[Client, Client, dict[str, Any], str]:
    lender, asker = service.admit("Lender", region="CN"), service.admit("Asker", region="CN")
    (subject,) = lender.tokenise([BORROWER])
    asker.tokenise([BORROWER])
    body = record_body(
        subject,
        "A-1",
        region={"scheme": "GB/T 2260", "code": "350100"},
        lawful_basis="legal_duty",
        size_class="small",
        notice={
            "sent_on": datetime.now(UTC).date().isoformat(),
            "channel": "post",
            "evidence_digest": "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
        },
    )
    assert lender.call("POST", "/v1/records", data=body).data["status"] == "pending_notice"
    consent = asker.grant_consent(
        subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"x", valid_days=90
    )
    return lender, asker, subject, str(consent["consent_id"])


def test_one_operator_moves_the_clock_and_every_process_follows_in_the_very_next_request(
    service: RunningService,
) -> None:
    _, asker, subject, consent = pending_record(service)
    assert asker.identity is not None
    with another_process(service) as url, Client(url, asker.identity) as elsewhere:
        assert elsewhere.query(subject, purpose="pre_loan", consent_id=consent).data["match"] == "none"
        moved = operator(service).call("POST", CLOCK, data={"days": 17})
        assert moved.log_entry is not None
        assert b'"action":"advance_clock"' in moved.log_entry.meta
        assert b'"days":17' in moved.log_entry.meta
        assert elsewhere.query(subject, purpose="pre_loan", consent_id=consent).data["match"] == "records"
    # A process that starts later knows it too.
    with another_process(service) as url:
        clock = httpx.get(url + "/.well-known/creditshare").json()["clock"]
    assert clock["ahead_s"] == 17 * 86_400
    assert datetime.fromisoformat(clock["business_time"]) - datetime.now(UTC) > timedelta(days=16)


def test_a_client_registers_consents_however_far_the_clock_was_moved(service: RunningService) -> None:
    operator(service).call("POST", CLOCK, data={"days": 400})
    lender = service.admit("Lender", region="US")
    (subject,) = lender.tokenise([BORROWER])
    granted = lender.grant_consent(subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"x")
    assert granted["status"] == "active"
    assert lender.query(subject, purpose="pre_loan", consent_id=str(granted["consent_id"])).status == 200
    assert [key["status"] for key in lender.keys.list()] == ["active"]  # a year went by for loans, not for keys


@pytest.mark.parametrize("days", [0, -1, 3_661, 1.5, "1", None])
def test_the_clock_takes_whole_days_ahead_only(shared_service: RunningService, days: object) -> None:
    with pytest.raises(Problem) as caught:
        operator(shared_service).call("POST", CLOCK, data={"days": days})
    assert caught.value.code == "validation_failed"


def test_only_an_operator_moves_the_clock(shared_service: RunningService) -> None:
    lender = shared_service.admit("Lender", region="US")
    with pytest.raises(Problem) as caught:
        lender.call("POST", CLOCK, data={"days": 1})
    assert caught.value.code == "role_forbidden"


def test_the_clock_does_not_run_beyond_a_hundred_years(service: RunningService) -> None:
    for _ in range(9):
        operator(service).call("POST", CLOCK, data={"days": 3_660})
    with pytest.raises(Problem) as caught:
        operator(service).call("POST", CLOCK, data={"days": 3_660})
    assert caught.value.code == "state_conflict"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE business_clock SET ahead_s = ahead_s - 1",
        "DELETE FROM business_clock",
        "TRUNCATE business_clock",
    ],
)
def test_business_time_never_goes_back_even_for_the_administrator(service: RunningService, statement: str) -> None:
    operator(service).call("POST", CLOCK, data={"days": 2})
    with service.superuser() as database:
        database.execute("SET session_replication_role = replica")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="never goes back"):
            database.execute(statement)


def test_production_has_no_such_route() -> None:
    def paths(environment: str) -> set[str]:
        app = create_app(Settings(environment=environment))
        return {path for path in app.openapi()["paths"] if "sandbox" in path}

    assert paths("sandbox") == {CLOCK}
    assert paths("production") == set()


def test_the_command_moves_the_clock(service: RunningService) -> None:
    key = service.folder / "operator.jwk.json"
    service.write_key(0, key)
    done = command(service, "sandbox", "advance", "--days", "3", "--as", str(key), "--url", service.url, "--json")
    assert done.returncode == 0, done.stderr
    assert '"ahead_days": 3' in done.stdout


def test_idempotency_and_replay_live_by_the_real_clock(service: RunningService) -> None:
    _, asker, subject, consent = pending_record(service)
    service.advance(days=60)
    asker.query(subject, purpose="pre_loan", consent_id=consent)
    asker.call("POST", f"/v1/consents/{consent}/revocation", data={})
    with service.superuser() as database:
        latest = database.execute(
            "SELECT max(i.expires_at) < now() + interval '73 hours', max(r.expires_at) < now() + interval '1 hour'"
            " FROM idempotency i, replay_guard r"
        )
        assert latest.fetchone() == (True, True)
