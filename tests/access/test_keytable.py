"""The key table of a worker: it reads what changed and no more, and begins anew where the database is another one."""

import time
from typing import Any

import pytest
from tests.fixtures.service import RunningService

from creditshare.access import keytable
from creditshare.access.keytable import KeyTable
from creditshare.keys.tombstones import Tombstones
from creditshare.members.key_table import read_key_table


def changed_since(service: RunningService, version: int) -> tuple[int, set[str]]:
    async def read() -> tuple[int, set[str]]:
        async with service.services.database.reading() as session:
            changes = await read_key_table(session, service.services.members.rows, since=version)
            return changes.version, {row.member.name for row in changes.members}

    result: tuple[int, set[str]] = service.run(read())
    return result


def test_only_members_that_changed_are_read_again(service: RunningService) -> None:
    _, second, _ = (service.admit(name, region="US").identity for name in ("First", "Second", "Third"))
    version, everyone = changed_since(service, -1)
    assert everyone == {"Operator 1", "Operator 2", "First", "Second", "Third"}
    assert changed_since(service, version) == (version, set())
    assert second is not None
    operator = service.client(service.operators[0])
    operator.call("POST", f"/v1/members/{second.member_id}/suspension", data={"reason": "review"})
    later, changed = changed_since(service, version)
    assert later > version
    assert changed == {"Second"}


def test_a_version_that_went_back_is_another_database(service: RunningService) -> None:
    table = service.services.access.key_table
    client = service.admit("Lender", region="US")
    assert client.identity is not None
    kid = client.identity.key.kid

    def known() -> Any:
        return service.run(table.find(kid))

    assert known() is not None
    with service.superuser() as database:
        database.execute("UPDATE key_table_version SET version = 1")
    service.rewrite("DELETE FROM member_key WHERE kid = %s", kid)
    service.run(table.confirm())
    assert known() is None


def another_processes_table(service: RunningService) -> KeyTable:
    """Return a table that nobody wakes, as of a moment ago."""
    services = service.services
    tombstones = Tombstones(services.settings.tombstones_path)
    table = KeyTable(services.watching, rows=services.members.rows, tombstones=tombstones, poll_s=60, stale_s=60)
    service.run(table.reload())
    return table


def test_a_key_registered_through_another_process_is_known_with_the_first_look(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keytable, "UNKNOWN_KEY_WAIT_S", 60.0)
    table = another_processes_table(service)
    identity = service.admit("New", region="US").identity
    assert identity is not None
    assert table.known(identity.key.kid) is None
    assert service.run(table.find(identity.key.kid)) is not None  # within the half minute that `run` waits


def test_a_stranger_waits_before_it_is_given_up(service: RunningService) -> None:
    table = another_processes_table(service)
    began = time.monotonic()
    assert service.run(table.find("nobody")) is None
    assert time.monotonic() - began >= keytable.UNKNOWN_KEY_WAIT_S
