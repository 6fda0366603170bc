"""Erasure empties the answers kept for retries instead of deleting them, so that a late retry is told so."""

from collections.abc import Sequence

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("REVOKE DELETE ON idempotency FROM creditshare_eraser")
    op.execute("GRANT UPDATE (answer) ON idempotency TO creditshare_eraser")


def downgrade() -> None:
    op.execute("REVOKE UPDATE (answer) ON idempotency FROM creditshare_eraser")
    op.execute("GRANT DELETE ON idempotency TO creditshare_eraser")
