"""The figures of each lender, the tier that follows, and the numbers by which it does."""

from collections.abc import Sequence
from datetime import date

import sqlalchemy as sa
from alembic import context, op

from creditshare.policy.changing import add_rules
from creditshare.policy.service import Rule

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

START = date(2026, 1, 1)
ARTICLE = "house rule: who gives gets (the principle of reciprocity of shared credit registers)"
ROWS = (
    ("full.coverage_min", "20"),
    ("full.freshness_min", "80"),
    ("full.corrections_max", "10"),
    ("full.refusals_max", "10"),
    ("standard.coverage_min", "5"),
    ("standard.freshness_min", "50"),
    ("standard.corrections_max", "25"),
    ("standard.refusals_max", "25"),
    ("ramp_months", "12"),
    ("window_days", "365"),
    ("fresh_days", "92"),
    ("sample", "1000"),
)
COUNTS = ("asked_about", "reported", "sampled", "sampled_live", "fresh", "corrected")


def upgrade() -> None:
    op.add_column("member", sa.Column("tier", sa.Text(), nullable=True))
    op.create_check_constraint(op.f("ck_member_tier"), "member", "tier IN ('full', 'standard', 'basic')")
    op.create_table(
        "member_figures",
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        sa.Column("rows_sent", sa.BigInteger(), nullable=False),
        sa.Column("rows_refused", sa.BigInteger(), nullable=False),
        sa.Column("months", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("member_id", name=op.f("pk_member_figures")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON member_figures TO creditshare_app")
    rules = [Rule("*", f"reciprocity.{name}", value, ARTICLE, START, None) for name, value in ROWS]
    add_rules(op.get_bind(), context.config.attributes["row_seals"], rules)


def downgrade() -> None:
    """Leave the policy rows: the code of before asks for none of them, and a set with less would need seals."""
    op.drop_table("member_figures")
    op.drop_column("member", "tier")
