"""A further key of who oversees others waits for a second person."""

from collections.abc import Sequence

from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STATE = "ck_member_key_state"
ACTION = "ck_member_proposal_action"
STATE_BEFORE = "state IN ('active', 'retiring', 'revoked')"
STATE_AFTER = "state IN ('pending', 'active', 'retiring', 'revoked')"
ACTION_BEFORE = (
    "action IN ('admission', 'quotas', 'lift_suspension', 'recovery', 'jurisdictions', 'lift_limitation',"
    " 'termination')"
)
ACTION_AFTER = (
    "action IN ('admission', 'quotas', 'lift_suspension', 'recovery', 'jurisdictions', 'lift_limitation',"
    " 'termination', 'key')"
)


def upgrade() -> None:
    _constrain("member_key", STATE, STATE_AFTER)
    _constrain("member_proposal", ACTION, ACTION_AFTER)


def downgrade() -> None:
    """Go back where no key waits and none was proposed."""
    _constrain("member_proposal", ACTION, ACTION_BEFORE)
    _constrain("member_key", STATE, STATE_BEFORE)


def _constrain(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(name), table, type_="check")
    op.create_check_constraint(op.f(name), table, condition)
