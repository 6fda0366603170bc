"""What is examined of an applicant, by whom since when. Rows without it keep their seals."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0028"
down_revision: str | None = "0027"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("member", sa.Column("examination", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Forget the notes here; the log keeps them. Sealed rows that had one must be accepted anew (``seals``)."""
    op.drop_column("member", "examination")
