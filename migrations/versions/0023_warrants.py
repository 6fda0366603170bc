"""A regulator's warrants, and proposals that more than one person must approve."""

from collections.abc import Sequence
from datetime import date

import sqlalchemy as sa
from alembic import context, op

from creditshare.policy.changing import add_rules
from creditshare.policy.service import Rule

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

START = date(2026, 1, 1)
ROWS = (
    ("max_days", "30", "house rule: what a regulator reads of one borrower is bounded in time"),
    ("max_waiting", "20", "house rule: two people look at each request of a regulator"),
)


def upgrade() -> None:
    op.add_column("proposal", sa.Column("approved_by", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "warrant",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("warrant_id", sa.Uuid(), nullable=False),
        sa.Column("regulator_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lapses_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "state IN ('requested', 'active', 'rejected', 'withdrawn', 'revoked')", name=op.f("ck_warrant_state")
        ),
        sa.PrimaryKeyConstraint("subject_id", "warrant_id", name=op.f("pk_warrant")),
    )
    op.create_index(op.f("ix_warrant_regulator_id"), "warrant", ["regulator_id"])
    op.create_table(
        "warrant_lookup",
        sa.Column("warrant_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("warrant_id", name=op.f("pk_warrant_lookup")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON warrant TO creditshare_app")
    op.execute("GRANT SELECT, INSERT ON warrant_lookup TO creditshare_app")
    rules = [Rule("*", f"warrant.{name}", value, article, START, None) for name, value, article in ROWS]
    add_rules(op.get_bind(), context.config.attributes["row_seals"], rules)


def downgrade() -> None:
    """Leave the policy rows, as before; a request that waits is of a kind that the code of before does not know."""
    op.drop_table("warrant_lookup")
    op.drop_table("warrant")
    op.execute("DELETE FROM proposal WHERE kind = 'warrant'")
    op.drop_column("proposal", "approved_by")
