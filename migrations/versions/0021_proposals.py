"""Proposals are of any kind, not of members alone: the table gets its name, and its rows the seals that go with it.

A row whose seal did not hold keeps it, and so stays nobody's proposal. The service of before does not run beside this
one: proposals would be two tables' matter.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import context, op

from creditshare.crypto.rowseals import RowSeals

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BEFORE, AFTER = "member_proposal", "proposal"
RENAMED = {"member_id": "about", "action": "kind"}
ACTIONS = (
    "action IN ('admission', 'quotas', 'lift_suspension', 'recovery', 'jurisdictions', 'lift_limitation',"
    " 'termination', 'key')"
)


def upgrade() -> None:
    seals: RowSeals = context.config.attributes["row_seals"]
    holding = [row for row in _rows(BEFORE) if seals.holds(BEFORE, _decisive(row), bytes(row["seal"]))]
    op.drop_constraint(op.f("fk_member_proposal_member_id_member"), BEFORE, type_="foreignkey")
    op.drop_constraint(op.f("ck_member_proposal_action"), BEFORE, type_="check")
    _rename(BEFORE, AFTER, RENAMED)
    table = sa.Table(AFTER, sa.MetaData(), autoload_with=op.get_bind())
    for row in holding:
        seal = seals.seal(AFTER, {RENAMED.get(name, name): value for name, value in _decisive(row).items()})
        op.get_bind().execute(table.update().where(table.c.proposal_id == row["proposal_id"]).values(seal=seal))


def downgrade() -> None:
    """Go back; what waited is nobody's proposal then, because its seal is not renewed, and is proposed again."""
    _rename(AFTER, BEFORE, {new: old for old, new in RENAMED.items()})
    op.create_check_constraint(op.f("ck_member_proposal_action"), BEFORE, ACTIONS)
    op.create_foreign_key(op.f("fk_member_proposal_member_id_member"), BEFORE, "member", ["member_id"], ["member_id"])


def _rename(old: str, new: str, columns: Mapping[str, str]) -> None:
    op.rename_table(old, new)
    for before, after in columns.items():
        op.alter_column(new, before, new_column_name=after)
    about, was = ("about", "member_id") if new == AFTER else ("member_id", "about")
    op.execute(f"ALTER TABLE {new} RENAME CONSTRAINT pk_{old} TO pk_{new}")
    for name in ("decision", "four_eyes"):
        op.execute(f"ALTER TABLE {new} RENAME CONSTRAINT ck_{old}_{name} TO ck_{new}_{name}")
    op.execute(f"ALTER INDEX ix_{old}_{was} RENAME TO ix_{new}_{about}")


def _rows(name: str) -> Sequence[Mapping[Any, Any]]:
    connection = op.get_bind()
    table = sa.Table(name, sa.MetaData(), autoload_with=connection)
    return connection.execute(sa.select(table)).mappings().all()


def _decisive(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seal" and (name != "decision" or value is not None)}
