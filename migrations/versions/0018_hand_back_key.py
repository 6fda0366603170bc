"""The key that a member's data are encrypted to when its membership ends. Rows without one keep their seals."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("member", sa.Column("hand_back_jwk", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("member", "hand_back_jwk")
