"""Each row of the key table says at which version it last changed, so that workers read what changed and no more.

The number is taken under the lock of the version's one row, which is held until the commit: whoever sees a version sees
every change up to it.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = ("member", "member_key")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("changed_at_version", sa.BigInteger(), nullable=False, server_default="0"))
        op.create_index(op.f(f"ix_{table}_changed_at_version"), table, ["changed_at_version"])
        op.execute(f"DROP TRIGGER {table}_changed ON {table}")
    op.execute("DROP FUNCTION creditshare_keys_changed()")
    op.execute("""
        CREATE FUNCTION creditshare_key_changed() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            UPDATE public.key_table_version SET version = version + 1 RETURNING version INTO NEW.changed_at_version;
            PERFORM pg_notify('creditshare_keys', '');
            RETURN NEW;
        END $$""")
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_changed BEFORE INSERT OR UPDATE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION creditshare_key_changed()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_changed")


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TRIGGER {table}_changed ON {table}")
    op.execute("DROP FUNCTION creditshare_key_changed()")
    op.execute("""
        CREATE FUNCTION creditshare_keys_changed() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            UPDATE public.key_table_version SET version = version + 1;
            PERFORM pg_notify('creditshare_keys', '');
            RETURN NULL;
        END $$""")
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_changed AFTER INSERT OR UPDATE OR DELETE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION creditshare_keys_changed()"
        )
        op.drop_index(op.f(f"ix_{table}_changed_at_version"), table_name=table)
        op.drop_column(table, "changed_at_version")
