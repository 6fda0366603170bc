"""Quotas of the day for questions and reports: what two operators agreed on, and what of a day is leased.

No value means the service's default, and is not sealed, so that members' rows keep the seals that they have. On the way
down members with a quota of their own get rows that do not match their seals: `seals check` names them. Processes of
before find such a row broken too; they are stopped for this upgrade.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

QUOTAS = ("queries_per_day", "reports_per_day")


def upgrade() -> None:
    for quota in QUOTAS:
        op.add_column("member", sa.Column(quota, sa.Integer(), nullable=True))
    op.create_table(
        "daily_quota",
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("counted", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("leased", sa.Integer(), nullable=False),
        sa.Column("newest", sa.Integer(), nullable=False),
        sa.CheckConstraint("counted IN ('queries', 'reports')", name=op.f("ck_daily_quota_counted")),
        sa.PrimaryKeyConstraint("member_id", "counted", "day", name=op.f("pk_daily_quota")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON daily_quota TO creditshare_app")
    op.execute("GRANT SELECT, DELETE ON daily_quota TO creditshare_worker")


def downgrade() -> None:
    op.drop_table("daily_quota")
    for quota in QUOTAS:
        op.drop_column("member", quota)
