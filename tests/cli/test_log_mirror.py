"""`log mirror`, `log fsck` and `log check-receipts` as they are typed, against a running service."""

import json
from pathlib import Path

import pytest
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, wait_for

from creditshare.client.bank import Client

NOTHING = "/v1/records/rec_01900000-0000-7000-8000-000000000000"


def act(client: Client, file: Path) -> None:
    answer = client.send(client.sign("GET", NOTHING))
    assert answer.log_entry is not None
    client.evidence(answer).save(file)
    event_id = answer.log_entry.event_id
    wait_for(lambda: client.inclusion_proof(event_id) is not None)


@pytest.mark.slow
def test_a_copy_is_made_checked_and_held_against_receipts(shared_service: RunningService, tmp_path: Path) -> None:
    copy, receipts, vkey = tmp_path / "log", tmp_path / "receipts", shared_service.services.log_verifier.vkey
    receipts.mkdir()
    lender = shared_service.admit("Lender")
    act(lender, receipts / "one.json")
    unknown = command(shared_service, "log", "mirror", shared_service.url, str(copy))
    assert unknown.returncode == 2
    assert "--vkey" in unknown.stderr
    made = command(shared_service, "log", "mirror", shared_service.url, str(copy), "--vkey", vkey, "--json")
    assert made.returncode == 0, made.stderr
    size = json.loads(made.stdout)["size"]
    act(lender, receipts / "two.json")
    again = command(shared_service, "log", "mirror", shared_service.url, str(copy))
    assert again.returncode == 0
    assert "new" in again.stdout
    whole = json.loads(command(shared_service, "log", "fsck", str(copy), "--json").stdout)
    assert whole["holds"]
    assert whole["size"] > size
    kept = command(shared_service, "log", "check-receipts", str(receipts), "--mirror", str(copy))
    assert kept.returncode == 0
    assert kept.stdout.startswith("holds: 2 leaves are in the log")


@pytest.mark.slow
def test_what_does_not_hold_is_named_and_ends_with_status_3(shared_service: RunningService, tmp_path: Path) -> None:
    vkey = shared_service.services.log_verifier.vkey
    act(shared_service.admit("Another lender"), tmp_path / "one.json")
    assert command(shared_service, "log", "mirror", shared_service.url, str(tmp_path), "--vkey", vkey).returncode == 0
    (tile,) = (tmp_path / "tile/0").rglob("000.p/*")
    tile.write_bytes(b"\0" * len(tile.read_bytes()))
    failed = command(shared_service, "log", "fsck", str(tmp_path))
    assert failed.returncode == 3
    assert f"tile/0/000.p/{tile.name}" in failed.stderr
    assert command(shared_service, "log", "fsck", str(tmp_path / "tile")).returncode == 2
