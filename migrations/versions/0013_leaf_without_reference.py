"""A leaf's event is read by the statement that makes the leaf: it need not be looked for once more (decision 22)."""

from collections.abc import Sequence

from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = "fk_audit_leaf_event_id_audit_event"


def upgrade() -> None:
    op.drop_constraint(op.f(NAME), "audit_leaf", type_="foreignkey")


def downgrade() -> None:
    op.create_foreign_key(op.f(NAME), "audit_leaf", "audit_event", ["event_id"], ["event_id"])
