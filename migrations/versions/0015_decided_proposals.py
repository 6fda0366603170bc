"""How a proposal was decided; and the jurisdictions of a member as something that two people change.

No value of ``decision`` means approved where somebody decided, and is not sealed, so that rows keep their seals.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ACTION = "ck_member_proposal_action"
BEFORE = "action IN ('admission', 'quotas', 'lift_suspension', 'recovery')"
AFTER = "action IN ('admission', 'quotas', 'lift_suspension', 'recovery', 'jurisdictions')"


def upgrade() -> None:
    op.drop_constraint(op.f(ACTION), "member_proposal", type_="check")
    op.create_check_constraint(op.f(ACTION), "member_proposal", AFTER)
    op.add_column("member_proposal", sa.Column("decision", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_member_proposal_decision"), "member_proposal", "decision IN ('approved', 'rejected', 'withdrawn')"
    )


def downgrade() -> None:
    op.drop_column("member_proposal", "decision")
    op.execute("DELETE FROM member_proposal WHERE action = 'jurisdictions'")
    op.drop_constraint(op.f(ACTION), "member_proposal", type_="check")
    op.create_check_constraint(op.f(ACTION), "member_proposal", BEFORE)
