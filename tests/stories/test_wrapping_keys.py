"""Wrapping keys: a rotation that was interrupted is finished, and nothing is retired while it wraps anything."""

import asyncio
import json
from typing import Any

import pytest
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client
from creditshare.composition import build_services, keyring_file
from creditshare.keys.keyring import key_id

BORROWERS = ["91999999DEM000006M", "91999999DEM000014G", "91999999DEM000022B", "91999999DEM0000306"]
pytestmark = pytest.mark.slow


def borrowers(service: RunningService) -> tuple[Client, list[str], list[dict[str, Any]]]:
    lender = service.admit("Lender", region="US")
    subjects = lender.tokenise(BORROWERS)
    bodies = [record_body(subject, f"A-{n}") for n, subject in enumerate(subjects)]
    return lender, [str(lender.call("POST", "/v1/records", data=body).data["record_id"]) for body in bodies], subjects


def keys(service: RunningService, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = command(service, "keys", *arguments, "--data", str(service.folder), "--json")
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_an_old_wrapping_key_is_retired_when_it_wraps_nothing_and_not_before(service: RunningService) -> None:
    lender, records, _ = borrowers(service)
    file = keyring_file(service.settings)
    file.replace(file.load().with_new_version("kek"))

    async def interrupted() -> int:
        """Rewrap one batch as a rotation does, then come no further."""
        fresh = await build_services(service.settings)
        try:
            async with fresh.database.writing() as session:
                done: int = await fresh.subjects.rewrap(session, limit=3)
                await session.commit()
            async with fresh.database.writing() as session:
                assert await fresh.subjects.rewrap(session, limit=1) == 1  # killed before its commit
            return done
        finally:
            await fresh.database.close()

    assert service.run(interrupted()) == 3
    status, shown, _ = keys(service, "status")
    assert status == 0
    assert shown["kek"] == {"current": "2", "kept": ["1", "2"], "wraps": {"1": 1, "2": 3}}
    status, _, said = keys(service, "retire", "kek", "1")
    assert status == 1
    assert "1 borrower keys are still wrapped by version 1" in said
    assert file.load().versions("kek") == ["1", "2"]

    assert keys(service, "rotate")[:2] == (0, {"kek": "2", "rewrapped": 1})  # finishes, and makes no version 3
    assert keys(service, "retire", "kek", "1")[:2] == (0, {"retired": "1"})
    assert file.load().versions("kek") == ["2"]
    for version, sentence in (("2", "the one in force"), ("1", "no kek key of that version")):
        status, _, said = keys(service, "retire", "kek", version)
        assert status == 2
        assert sentence in said

    assert [lender.call("GET", f"/v1/records/{record}").status for record in records] == [200] * 4
    assert keys(service, "rotate")[:2] == (0, {"kek": "3", "rewrapped": 4})


def test_a_running_service_wraps_by_the_new_key_as_soon_as_it_is_there(service: RunningService) -> None:
    """Else it would go on with a key that may be retired, and what it wrapped then would be lost."""
    lender, _, _ = borrowers(service)
    assert keys(service, "rotate")[:2] == (0, {"kek": "2", "rewrapped": 4})
    (subject,) = lender.tokenise(["91999999DEM000057X"])
    assert lender.call("POST", "/v1/records", data=record_body(subject, "B-1")).status == 201
    with service.superuser() as database:
        wrapped = {bytes(row[0]) for row in database.execute("SELECT substring(dek, 3, 8) FROM subject")}
    assert wrapped == {key_id("kek", "2")}
    assert keys(service, "retire", "kek", "1")[0] == 0


def test_no_borrower_is_made_while_a_key_is_retired(service: RunningService) -> None:
    lender, _, _ = borrowers(service)
    (subject,) = lender.tokenise(["91999999DEM000057X"])

    async def retiring() -> None:
        async with service.services.database.writing() as session:
            await service.services.subjects.count_wrapped(session, hold=True)
            # Waits for the lock, in vain: the transaction above still has it.
            refused = await asyncio.to_thread(lender.send, lender.sign("POST", "/v1/records", data=body))
            assert refused.status == 503

    body = record_body(subject, "B-1")
    service.run(retiring())
    assert lender.call("POST", "/v1/records", data=body).status == 201
