"""Debt statements: what lenders state that a borrower owes them, append-only; the numbers of the 20 % test."""

from collections.abc import Sequence
from datetime import date

import sqlalchemy as sa
from alembic import context, op

from creditshare.policy.changing import add_rules
from creditshare.policy.service import Rule

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

START = date(2026, 1, 1)
ARTICLE = "商业银行金融资产风险分类办法 (2023) art. 11"
OTHERS = "house rule: of three others two are left where two lenders tell each other their figures"
ROWS = (
    ("overdue_percent", "20", ARTICLE),
    ("overdue_days", "90", ARTICLE),
    ("other_lenders", "3", OTHERS),
    ("cut_off_days", "15", "house rule: a month is told when the books of all are closed"),
    ("remembered_months", "12", "house rule: who stated a debt within a year is expected to state it again"),
    ("currency", "CNY", "house rule: sums are of one currency, into which lenders convert"),
)


def upgrade() -> None:
    op.create_table(
        "debt_statement",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("statement_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", "number", name=op.f("pk_debt_statement")),
    )
    op.create_table(
        "debt_statement_lookup",
        sa.Column("statement_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("statement_id", name=op.f("pk_debt_statement_lookup")),
    )
    op.execute("GRANT SELECT, INSERT ON debt_statement, debt_statement_lookup TO creditshare_app")
    for trigger, when in (("keeps_rows", "UPDATE OR DELETE"), ("keeps_all", "TRUNCATE")):
        each = "ROW" if trigger == "keeps_rows" else "STATEMENT"
        op.execute(
            f"CREATE TRIGGER debt_statement_{trigger} BEFORE {when} ON debt_statement"
            f" FOR EACH {each} EXECUTE FUNCTION creditshare_refuse_change()"
        )
        op.execute(f"ALTER TABLE debt_statement ENABLE ALWAYS TRIGGER debt_statement_{trigger}")
    rules = [Rule("CN", f"indebtedness.{name}", value, article, START, None) for name, value, article in ROWS]
    add_rules(op.get_bind(), context.config.attributes["row_seals"], rules)


def downgrade() -> None:
    """Take the tables away; the rows of policy stay, for the code of before asks for none of them."""
    op.drop_table("debt_statement_lookup")
    op.drop_table("debt_statement")
