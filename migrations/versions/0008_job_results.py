"""Jobs: which record each row of a file became."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "job_result",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("chunk", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("record_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "chunk", name=op.f("pk_job_result")),
    )
    op.execute("GRANT SELECT, INSERT ON job_result TO creditshare_app")
    op.execute("GRANT SELECT, DELETE ON job_result TO creditshare_worker")


def downgrade() -> None:
    op.drop_table("job_result")
