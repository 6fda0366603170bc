"""What witnesses add to checkpoints, and why the log is not signed on where they object."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "audit_cosignature",
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["size"], ["audit_checkpoint.size"], name=op.f("fk_audit_cosignature_size_audit_checkpoint")
        ),
        sa.PrimaryKeyConstraint("size", "witness", name=op.f("pk_audit_cosignature")),
    )
    op.create_index("ix_audit_cosignature_witness_size", "audit_cosignature", ["witness", "size"])
    for trigger, when in (("keeps_rows", "UPDATE OR DELETE"), ("keeps_all", "TRUNCATE")):
        each = "ROW" if trigger == "keeps_rows" else "STATEMENT"
        op.execute(
            f"CREATE TRIGGER audit_cosignature_{trigger} BEFORE {when} ON audit_cosignature"
            f" FOR EACH {each} EXECUTE FUNCTION creditshare_refuse_change()"
        )
        op.execute(f"ALTER TABLE audit_cosignature ENABLE ALWAYS TRIGGER audit_cosignature_{trigger}")
    op.create_table(
        "audit_hold",
        sa.Column("single", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint("single", name=op.f("ck_audit_hold_single")),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_audit_hold")),
    )
    op.execute("GRANT SELECT, INSERT ON audit_cosignature TO creditshare_worker")
    op.execute("GRANT SELECT ON audit_cosignature TO creditshare_app, creditshare_eraser, creditshare_regulator_ro")
    op.execute("GRANT SELECT, INSERT, DELETE ON audit_hold TO creditshare_worker")
    op.execute("GRANT SELECT ON audit_hold TO creditshare_app")


def downgrade() -> None:
    op.drop_table("audit_hold")
    op.drop_table("audit_cosignature")
