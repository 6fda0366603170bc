"""Erasures and revocations survive the restore of an older backup, and a crash at the worst moment."""

import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from tests.fixtures.erasures import CARRY_OUT, carry_out, erase, order
from tests.fixtures.processes import another_process, command, command_environment, older_copy
from tests.fixtures.service import RunningService, record_body, wait_for

from creditshare.client.bank import Client, Problem
from creditshare.ids import parse
from creditshare.keys.tombstones import Tombstones

BORROWER, OTHER = "91999999DEM000022B", "91999999DEM000014G"
Json = dict[str, Any]
pytestmark = pytest.mark.slow


def refusal(client: Client, method: str, path: str) -> str:
    with pytest.raises(Problem) as caught:
        client.call(method, path)
    return caught.value.code


def two_borrowers(service: RunningService) -> tuple[Client, dict[str, list[str]], Json]:
    lender = service.admit("Lender", region="US")
    subjects = dict(zip((BORROWER, OTHER), lender.tokenise([BORROWER, OTHER]), strict=True))
    records = {
        name: [
            str(lender.call("POST", "/v1/records", data=record_body(subject, f"{name[-4:]}-{n}")).data["record_id"])
            for n in (1, 2)
        ]
        for name, subject in subjects.items()
    }
    return lender, records, subjects


def run(service: RunningService, *arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    return command(service, *arguments, "--data", str(service.folder), **changes)


def test_what_was_erased_stays_erased_after_the_restore_of_an_older_backup(service: RunningService) -> None:
    lender, records, subjects = two_borrowers(service)
    assert lender.identity is not None
    with older_copy(service) as backup:
        erase(service, records[BORROWER][0], whole_borrower=True)
        erase(service, records[OTHER][0])

        served = run(service, "serve", "--port", "1", **backup)
        assert served.returncode == 2
        assert "1 erased borrowers, 1 erased records and 0 revoked keys are alive again" in served.stderr
        assert "creditshare restore apply" in served.stderr
        checked = run(service, "restore", "check", "--json", **backup)
        assert checked.returncode == 1
        assert json.loads(checked.stdout) == {"alive": {"borrowers": 1, "records": 1, "keys": 0}, "ok": False}

        applied = run(service, "restore", "apply", "--json", **backup)
        assert applied.returncode == 0, applied.stderr
        assert json.loads(applied.stdout) == {"buried": {"borrowers": 1, "records": 1, "keys": 0}}
        with another_process(service, **backup) as url, Client(url, lender.identity) as restored:
            assert refusal(restored, "GET", f"/v1/records/{records[BORROWER][0]}") == "erased"
            assert refusal(restored, "GET", f"/v1/records/{records[BORROWER][1]}") == "erased"
            assert refusal(restored, "GET", f"/v1/records/{records[OTHER][0]}") == "erased"
            assert restored.call("GET", f"/v1/records/{records[OTHER][1]}").status == 200
            body = record_body(subjects[OTHER], "new")
            assert restored.call("POST", "/v1/records", data=body).status == 201


def test_burying_again_is_recorded(service: RunningService) -> None:
    _, records, _ = two_borrowers(service)
    record_id = parse("rec", records[BORROWER][0])
    Tombstones(service.settings.tombstones_path).add("record", [record_id], now=service.services.clock.now())
    with service.superuser() as database:
        before = database.execute("SELECT count(*) FROM audit_event").fetchone()
        assert run(service, "restore", "apply").returncode == 0
        after = database.execute("SELECT count(*) FROM audit_event").fetchone()
    assert before is not None
    assert after == (before[0] + 1,)


def test_a_revoked_key_stays_revoked_after_the_restore_of_an_older_backup(service: RunningService) -> None:
    lender = service.admit("Lender", region="US")
    assert lender.identity is not None
    path = f"/v1/members/{lender.identity.member_id}/keys/{lender.identity.key.kid}/revocation"
    with older_copy(service) as backup:
        operator = service.client(service.operators[0])
        assert operator.call("POST", path, data={"reason": "compromise"}).data["status"] == "revoked"
        assert Tombstones(service.settings.tombstones_path).read().keys == (lender.identity.key.kid,)

        served = run(service, "serve", "--port", "1", **backup)
        assert served.returncode == 2
        assert "1 revoked keys are alive again" in served.stderr
        assert run(service, "restore", "apply", **backup).returncode == 0
        with another_process(service, **backup) as url, Client(url, lender.identity) as restored:
            assert refusal(restored, "GET", "/v1/me") == "key_revoked"


@pytest.mark.parametrize("named", ["borrower", "record"])
def test_an_erasure_killed_at_its_commit_is_carried_out_later(service: RunningService, named: str) -> None:
    lender, records, _ = two_borrowers(service)
    asked = order(service, records[BORROWER][0], whole_borrower=named == "borrower")
    with service.superuser() as database:
        # The commit itself takes long, so that the kill falls between the tombstone and the end of the transaction.
        database.execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(9); RETURN NULL; END $$"
        )
        database.execute(
            "CREATE CONSTRAINT TRIGGER slow_commit AFTER UPDATE ON subject DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION slow()"
        )
        erasing = subprocess.Popen(
            [sys.executable, "-m", "creditshare", *CARRY_OUT, "--data", service.folder],
            env=command_environment(service),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stones = Tombstones(service.settings.tombstones_path)
        wait_for(lambda: bool(stones.read().borrowers or stones.read().records), seconds=30)
        erasing.send_signal(signal.SIGKILL)
        erasing.wait()
        database.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'creditshare_eraser_login'"
        )
        database.execute("DROP TRIGGER slow_commit ON subject")
    assert lender.call("GET", f"/v1/records/{records[BORROWER][0]}").status == 200
    applied = json.loads(run(service, "restore", "apply", "--json").stdout)["buried"]
    assert applied == {"borrowers": 0, "records": 0, "keys": 0, f"{named}s": 1}
    assert refusal(lender, "GET", f"/v1/records/{records[BORROWER][0]}") == "erased"
    again = json.loads(run(service, "restore", "apply", "--json").stdout)["buried"]
    assert again == {"borrowers": 0, "records": 0, "keys": 0}
    (left,) = json.loads(carry_out(service, "--json").stdout)["erased"]  # the order ends with what was done by it
    assert left["erasure_id"] == asked
    assert json.loads(carry_out(service, "--json").stdout)["erased"] == []
