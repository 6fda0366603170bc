"""Stamps of a time-stamping authority over checkpoints (RFC 3161)."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "audit_anchor",
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("tsa", sa.Text(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("gen_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["size"], ["audit_checkpoint.size"], name=op.f("fk_audit_anchor_size_audit_checkpoint")
        ),
        sa.PrimaryKeyConstraint("size", "tsa", name=op.f("pk_audit_anchor")),
    )
    for trigger, when in (("keeps_rows", "UPDATE OR DELETE"), ("keeps_all", "TRUNCATE")):
        each = "ROW" if trigger == "keeps_rows" else "STATEMENT"
        op.execute(
            f"CREATE TRIGGER audit_anchor_{trigger} BEFORE {when} ON audit_anchor"
            f" FOR EACH {each} EXECUTE FUNCTION creditshare_refuse_change()"
        )
        op.execute(f"ALTER TABLE audit_anchor ENABLE ALWAYS TRIGGER audit_anchor_{trigger}")
    op.execute("GRANT SELECT, INSERT ON audit_anchor TO creditshare_worker")
    op.execute("GRANT SELECT ON audit_anchor TO creditshare_app, creditshare_eraser, creditshare_regulator_ro")


def downgrade() -> None:
    op.drop_table("audit_anchor")
