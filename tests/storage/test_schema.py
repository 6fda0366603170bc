"""Migrations: one head, up from empty, down and up again, nothing left for autogenerate; Citus rules R1 to R4."""

import psycopg
import pytest
from sqlalchemy import UniqueConstraint
from tests.fixtures.service import KEYRING

from creditshare.registry import metadata
from creditshare.storage import schema
from creditshare.storage.embedded import EmbeddedPostgres

COORDINATOR_OR_REFERENCE = {"coordinator", "reference"}


def test_up_from_empty_down_to_empty_and_up_again(postgres: EmbeddedPostgres) -> None:
    postgres.create_database("t_migrations")
    url = postgres.url("owner", "t_migrations")
    try:
        schema.upgrade(url, seals=KEYRING.row_seals())
        assert schema.current(url) == schema.head()
        assert schema.drift(url, metadata) == []
        schema.downgrade(url)
        schema.upgrade(url, seals=KEYRING.row_seals())
        assert schema.drift(url, metadata) == []
        schema.downgrade(url, revision="base")
        assert schema.current(url) is None
    finally:
        postgres.drop_database("t_migrations")


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_tables_can_be_distributed_by_subject(table) -> None:  # type: ignore[no-untyped-def]
    kind = table.info["belongs_to"]
    keys = [table.primary_key, *(c for c in table.constraints if isinstance(c, UniqueConstraint))]
    keys += [index for index in table.indexes if index.unique]
    if kind == "subject":  # R1: the distribution column is in every key
        assert all("subject_id" in {column.name for column in key.columns} for key in keys)
    if kind == "value":  # R1: global uniqueness is held by a table distributed by that value
        assert len(keys) == 1
        assert len(list(keys[0].columns)) == 1
    for foreign_key in table.foreign_keys:  # R2: nothing refers into a borrower's tables; R3: no SET NULL
        target = foreign_key.column.table.info["belongs_to"]
        assert target in COORDINATOR_OR_REFERENCE
        assert kind in COORDINATOR_OR_REFERENCE
        assert foreign_key.ondelete is None
    for column in table.columns:  # R4: no server-side function fills a borrower's column
        if kind == "subject":
            assert column.server_default is None or "(" not in str(column.server_default.arg)


APPEND_ONLY = (
    "audit_event",
    "audit_leaf",
    "audit_tile",
    "audit_checkpoint",
    "audit_cosignature",
    "audit_anchor",
    "record_event",
    "debt_statement",
)


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_append_only_tables_refuse_even_the_administrator(
    postgres: EmbeddedPostgres, template: str, table: str
) -> None:
    name = f"t_append_{table}"
    postgres.create_database(name, template=template)
    url = postgres.url("superuser", name).replace("postgresql+psycopg", "postgresql")
    try:
        with psycopg.connect(url, autocommit=True) as administrator:
            administrator.execute("SET session_replication_role = replica")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                administrator.execute(f"TRUNCATE {table} CASCADE")
    finally:
        postgres.drop_database(name)
