"""The states of a whole membership, and what two people decide of them: limitation, termination."""

from collections.abc import Sequence

from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STATUS = "ck_member_status"
ACTION = "ck_member_proposal_action"
STATUS_BEFORE = "status IN ('applicant', 'certified', 'active', 'suspended')"
STATUS_AFTER = "status IN ('applicant', 'due_diligence', 'certified', 'active', 'limited', 'suspended', 'terminated')"
ACTION_BEFORE = "action IN ('admission', 'quotas', 'lift_suspension', 'recovery', 'jurisdictions')"
ACTION_AFTER = (
    "action IN ('admission', 'quotas', 'lift_suspension', 'recovery', 'jurisdictions', 'lift_limitation',"
    " 'termination')"
)


def upgrade() -> None:
    _constrain("member", STATUS, STATUS_AFTER)
    _constrain("member_proposal", ACTION, ACTION_AFTER)


def downgrade() -> None:
    """Go back where nobody is in a state, and nothing was proposed, that the code before did not know."""
    _constrain("member_proposal", ACTION, ACTION_BEFORE)
    _constrain("member", STATUS, STATUS_BEFORE)


def _constrain(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(name), table, type_="check")
    op.create_check_constraint(op.f(name), table, condition)
