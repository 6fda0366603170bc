"""Rows that a migration adds: all seals are renewed, and nobody's edit is sealed with them."""

from collections.abc import Iterator
from datetime import date
from uuid import uuid4

import pytest
from sqlalchemy import Connection, create_engine, select, text
from tests.fixtures.service import KEYRING

from creditshare.errors import IntegrityError
from creditshare.policy.changing import add_rules
from creditshare.policy.models import policy_rule
from creditshare.policy.service import Policy, Rule, load_policy
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import Database

SEALS = KEYRING.row_seals()
NEW = Rule("CN", "a.new_rule", "7", "art. 1", date(2026, 1, 1), None)


@pytest.fixture
def database(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    name = f"t_{uuid4().hex}"
    postgres.create_database(name, template=template)
    yield name
    postgres.drop_database(name)


@pytest.fixture
def owner(postgres: EmbeddedPostgres, database: str) -> Iterator[Connection]:
    engine = create_engine(postgres.url("owner", database))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


async def loaded(postgres: EmbeddedPostgres, name: str) -> Policy:
    database = Database(postgres.url("app", name), role="creditshare_app", pool_size=1)
    async with database.reading() as session:
        policy = await load_policy(session, SEALS)
    await database.close()
    return policy


async def test_what_is_added_is_read_and_all_seals_hold(
    postgres: EmbeddedPostgres, database: str, owner: Connection
) -> None:
    before = await loaded(postgres, database)
    add_rules(owner, SEALS, [NEW])
    add_rules(owner, SEALS, [NEW])  # a migration run again after a step down
    owner.commit()
    after = await loaded(postgres, database)
    assert set(after.rules) - set(before.rules) == {NEW}
    assert after.version != before.version


@pytest.mark.parametrize("column", ["value", "article", "valid_to"])
def test_a_row_that_somebody_edited_is_not_sealed_with_the_new_ones(owner: Connection, column: str) -> None:
    change = {"value": "99", "article": "art. 0", "valid_to": date(2030, 1, 1)}[column]
    owner.execute(policy_rule.update().where(policy_rule.c.rule == "notice.lapse_days").values({column: change}))
    with pytest.raises(IntegrityError, match="does not match its seal"):
        add_rules(owner, SEALS, [NEW])


def test_a_row_that_somebody_took_away_is_noticed(owner: Connection) -> None:
    owner.execute(text("DELETE FROM policy_rule WHERE rule = 'timezone' AND jurisdiction = 'US'"))
    with pytest.raises(IntegrityError):
        add_rules(owner, SEALS, [NEW])
    owner.rollback()
    assert owner.execute(select(policy_rule.c.rule).where(policy_rule.c.rule == "timezone")).all()
