"""The first policy rows: numbers of law with their articles. Changed only by later rows, never edited."""

from collections.abc import Sequence
from datetime import date

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

HOUSE = "house rule, the strictest reading where a jurisdiction has no row"
START = date(2013, 3, 15)  # 征信业管理条例 in force

ROWS = (
    ("CN", "timezone", "Asia/Shanghai", "国务院 1949: one legal time"),
    ("CN", "notice.required", "yes", "征信业管理条例 art. 15"),
    ("CN", "notice.exempt_basis", "public_record", "征信业管理条例 art. 15, lawfully public information"),
    ("CN", "notice.window_days.enterprise", "15", "征信业管理条例 art. 15 says in advance; 15 days is policy"),
    ("CN", "notice.window_days.individual", "28", "征信业管理条例 art. 15 says in advance; 28 days is policy"),
    ("CN", "notice.lapse_days", "90", "policy: a notice older than this must be given again"),
    ("CN", "default.days_past_due", "90", "商业银行金融资产风险分类办法 (2023): more than 90 days past due"),
    ("CN", "retention.years_after_end", "5", "征信业管理条例 art. 16"),
    ("US", "timezone", "America/New_York", "policy: the capital's legal time"),
    ("US", "notice.required", "no", "no federal notice duty for business credit (FCRA covers consumers)"),
    ("US", "notice.exempt_basis", "public_record", "SBA loan data is released under FOIA, 5 U.S.C. 552"),
    ("US", "notice.window_days.enterprise", "0", "no federal notice duty for business credit"),
    ("US", "notice.window_days.individual", "0", "no federal notice duty for business credit"),
    ("US", "notice.lapse_days", "90", "policy"),
    ("US", "default.days_past_due", "90", "policy, aligned with Metro 2 status 80"),
    ("US", "retention.years_after_end", "5", "policy"),
    ("*", "timezone", "UTC", HOUSE),
    ("*", "notice.required", "yes", HOUSE),
    ("*", "notice.exempt_basis", "public_record", HOUSE),
    ("*", "notice.window_days.enterprise", "28", HOUSE),
    ("*", "notice.window_days.individual", "28", HOUSE),
    ("*", "notice.lapse_days", "90", HOUSE),
    ("*", "default.days_past_due", "90", "EBA/GL/2016/07: more than 90 days past due"),
    ("*", "retention.years_after_end", "5", HOUSE),
    ("*", "consent.evidence_max_age_days", "30", "house rule: consent evidence is fresh when registered"),
)


def _table() -> sa.TableClause:
    names = ("jurisdiction", "rule", "valid_from", "valid_to", "value", "article")
    return sa.table("policy_rule", *(sa.column(name) for name in names))


def upgrade() -> None:
    op.bulk_insert(
        _table(),
        [
            {"jurisdiction": j, "rule": r, "valid_from": START, "valid_to": None, "value": v, "article": a}
            for j, r, v, a in ROWS
        ],
    )


def downgrade() -> None:
    op.execute(_table().delete().where(sa.column("valid_from") == START))
