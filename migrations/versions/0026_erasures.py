"""Erasures by two people: the eraser reads what was ordered, and notes when it was carried out."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0026"
down_revision: str | None = "0025"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("proposal", sa.Column("carried_out_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("GRANT SELECT, UPDATE (carried_out_at, seal) ON proposal TO creditshare_eraser")


def downgrade() -> None:
    """Forget what was ordered: the code of before does not know these kinds."""
    op.execute("REVOKE ALL ON proposal FROM creditshare_eraser")
    op.execute("DELETE FROM proposal WHERE kind IN ('erase_record', 'erase_borrower', 'erase_consenting_borrower')")
    op.drop_column("proposal", "carried_out_at")
