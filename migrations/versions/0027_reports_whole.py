"""Reports that withstand who writes: when a borrower is due again, what each release lists, who may look; a seal.

Rows from before have none of it: the worker takes them over when it starts (``reports/counting.py``).
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0027"
down_revision: str | None = "0026"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("report_counted", sa.Column("again_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_report_counted_again_at",
        "report_counted",
        ["again_at", "subject_id"],
        postgresql_where=sa.text("again_at IS NOT NULL"),
    )
    op.add_column("report_release", sa.Column("manifest", sa.LargeBinary(), nullable=True))
    op.add_column("report_release", sa.Column("unreadable", sa.BigInteger(), nullable=True))
    op.add_column("member_figures", sa.Column("seal", sa.LargeBinary(), nullable=True))
    # To see that nobody who changed was taken out of the queue.
    op.execute("GRANT SELECT (subject_id, version) ON record_event TO creditshare_worker")
    op.execute("GRANT SELECT (subject_id, state) ON subject TO creditshare_worker")
    op.execute("GRANT SELECT ON report_cells, report_position TO creditshare_app")  # for `log fsck --database`


def downgrade() -> None:
    op.execute("REVOKE SELECT ON report_cells, report_position FROM creditshare_app")
    op.execute("REVOKE SELECT (state) ON subject FROM creditshare_worker")
    op.execute("REVOKE SELECT (subject_id, version) ON record_event FROM creditshare_worker")
    op.drop_column("member_figures", "seal")
    op.drop_column("report_release", "unreadable")
    op.drop_column("report_release", "manifest")
    op.drop_index("ix_report_counted_again_at", "report_counted")
    op.drop_column("report_counted", "again_at")
