"""The numbers by which small counts and sums are withheld from reports."""

from collections.abc import Sequence
from datetime import date

from alembic import context, op

from creditshare.policy.changing import add_rules
from creditshare.policy.service import Rule

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

START = date(2026, 1, 1)
FREQUENCY = (
    "house rule, the minimum frequency of official statistics (Hundepool et al., Statistical Disclosure Control)"
)
CONCENTRATION = (
    "house rule, (n,k) dominance and p % on sums by lender (Hundepool et al., Statistical Disclosure Control)"
)
ROWS = (
    ("reports.min_borrowers", "5", FREQUENCY),
    ("reports.min_lenders", "3", FREQUENCY),
    ("reports.dominance_percent.1", "75", CONCENTRATION),
    ("reports.dominance_percent.2", "90", CONCENTRATION),
    ("reports.p_percent", "10", CONCENTRATION),
    ("reports.month_closes_after_days", "45", "house rule: a month is told when its late reports are in"),
)


def upgrade() -> None:
    rules = [Rule("*", name, value, article, START, None) for name, value, article in ROWS]
    add_rules(op.get_bind(), context.config.attributes["row_seals"], rules)


def downgrade() -> None:
    """Leave the rows: the code of before asks for none of them, and a set with less would need seals."""
