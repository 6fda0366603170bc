"""The key table of a worker: it reads what changed and no more, and begins anew where the database is another one."""

from typing import Any

from tests.fixtures.service import RunningService

from creditshare.members.key_table import read_key_table


def changed_since(service: RunningService, version: int) -> tuple[int, set[str]]:
    async def read() -> tuple[int, set[str]]:
        async with service.services.database.reading() as session:
            changes = await read_key_table(session, service.services.members.rows, since=version)
            return changes.version, {row.member.name for row in changes.members}

    result: tuple[int, set[str]] = service.run(read())
    return result


def test_only_members_that_changed_are_read_again(service: RunningService) -> None:
    for name in ("First", "Second", "Third"):
        service.admit(name, region="US")
    version, everyone = changed_since(service, -1)
    assert everyone == {"Operator 1", "Operator 2", "First", "Second", "Third"}
    assert changed_since(service, version) == (version, set())
    second = service.clients[1].identity
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
