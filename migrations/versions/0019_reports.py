"""What regulators read: borrowers that wait to be counted, sealed cells, told documents; the rules of disclosure.

Every event of a record puts its borrower into the queue by a trigger, so that no code path can forget it. What stands
already is queued here.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "report_due",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("event_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", "event_no", name=op.f("pk_report_due")),
    )
    op.create_index("ix_report_due_due_at", "report_due", ["due_at", "subject_id"])
    op.create_table(
        "report_counted",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", name=op.f("pk_report_counted")),
    )
    op.create_table(
        "report_cells",
        sa.Column("part", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("part", "seq", name=op.f("pk_report_cells")),
    )
    op.create_table(
        "report_position",
        sa.Column("single", sa.Boolean(), nullable=False),
        sa.Column("definition", sa.Integer(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("single", name=op.f("ck_report_position_single")),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_report_position")),
    )
    op.create_table(
        "report_told",
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("release", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("report", "part", "release", name=op.f("pk_report_told")),
    )
    op.create_table(
        "report_release",
        sa.Column("release", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("log_size", sa.BigInteger(), nullable=False),
        sa.Column("log_note", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("release", name=op.f("pk_report_release")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON report_due, report_counted, report_cells TO creditshare_worker")
    op.execute("GRANT SELECT (subject_id) ON subject TO creditshare_worker")  # to count everything anew
    op.execute("GRANT SELECT, INSERT, UPDATE ON report_position TO creditshare_worker")
    op.execute("GRANT SELECT, INSERT ON report_told, report_release TO creditshare_worker")
    # The service counts nothing: it reads what was told, and how much waits.
    op.execute("GRANT SELECT ON report_told, report_release, report_due, report_counted TO creditshare_app")
    op.execute("GRANT SELECT ON report_told, report_release TO creditshare_regulator_ro")

    op.execute("""
        CREATE FUNCTION creditshare_queue_count() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            INSERT INTO public.report_due (subject_id, event_no, due_at)
            SELECT subject_id, event_no, 'epoch' FROM added;
            RETURN NULL;
        END $$""")
    op.execute(
        "CREATE TRIGGER record_event_is_counted AFTER INSERT ON record_event REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION creditshare_queue_count()"
    )
    op.execute("ALTER TABLE record_event ENABLE ALWAYS TRIGGER record_event_is_counted")
    for table in ("report_told", "report_release"):  # what was told once is never told otherwise
        op.execute(
            f"CREATE TRIGGER {table}_keeps_rows BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION creditshare_refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_keeps_all BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION creditshare_refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_keeps_rows")
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_keeps_all")
    op.execute("INSERT INTO report_due SELECT subject_id, event_no, 'epoch' FROM record_event")


def downgrade() -> None:
    op.execute("REVOKE SELECT (subject_id) ON subject FROM creditshare_worker")
    op.execute("DROP TRIGGER record_event_is_counted ON record_event")
    op.execute("DROP FUNCTION creditshare_queue_count()")
    for table in ("report_release", "report_told", "report_position", "report_cells", "report_counted", "report_due"):
        op.drop_table(table)
