"""Business time: the database's clock plus what a sandbox has advanced it by; the schema's version for all to see.

One row holds how far business time runs ahead, so that all workers agree within their own transactions and a
restart forgets nothing. It never goes back: a consent that has expired, or a notice window that has ended,
would come alive again.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

READERS = "creditshare_app, creditshare_worker, creditshare_eraser"


def upgrade() -> None:
    op.create_table(
        "business_clock",
        sa.Column("single", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("ahead_s", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("single", name=op.f("ck_business_clock_single_row")),
        sa.CheckConstraint("ahead_s BETWEEN 0 AND 3155760000", name=op.f("ck_business_clock_ahead")),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_business_clock")),
    )
    op.execute("INSERT INTO business_clock DEFAULT VALUES")
    op.execute("""
        CREATE FUNCTION creditshare_now() RETURNS timestamptz
        LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
            SELECT clock_timestamp() + make_interval(secs => ahead_s) FROM public.business_clock
        $$""")
    op.execute("""
        CREATE FUNCTION creditshare_keep_time() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' AND NEW.ahead_s >= OLD.ahead_s THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'business time never goes back' USING ERRCODE = 'insufficient_privilege';
        END $$""")
    op.execute(
        "CREATE TRIGGER business_clock_keeps_time BEFORE UPDATE OR DELETE ON business_clock"
        " FOR EACH ROW EXECUTE FUNCTION creditshare_keep_time()"
    )
    op.execute(
        "CREATE TRIGGER business_clock_keeps_row BEFORE TRUNCATE ON business_clock"
        " FOR EACH STATEMENT EXECUTE FUNCTION creditshare_keep_time()"
    )
    for trigger in ("business_clock_keeps_time", "business_clock_keeps_row"):
        op.execute(f"ALTER TABLE business_clock ENABLE ALWAYS TRIGGER {trigger}")
    op.execute(f"GRANT SELECT ON business_clock TO {READERS}")
    op.execute("GRANT UPDATE ON business_clock TO creditshare_app")
    # A service that starts compares it with its own, under its own login.
    op.execute(f"GRANT SELECT ON alembic_version TO {READERS}")


def downgrade() -> None:
    op.execute(f"REVOKE ALL ON alembic_version FROM {READERS}")
    op.execute("DROP FUNCTION creditshare_now()")
    op.drop_table("business_clock")
    op.execute("DROP FUNCTION creditshare_keep_time()")
