"""Evaluations of a member that named nobody yet. No value is none, and is not sealed: older rows keep their seals.

Processes of before do not know the column and find a member's budget broken once it evaluated; they are stopped for
this upgrade.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("member_budget", sa.Column("unnamed", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("member_budget", "unnamed")
