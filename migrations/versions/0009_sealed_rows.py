"""Seals on the rows that decide who may do what: members, keys, proposals, enrolment codes, budgets, policy.

What is found here is sealed as it is, this once, in the same transaction: whoever upgrades vouches for it. No later
start and no later upgrade ever seals what it finds. The keys come from the key file by ``storage/schema.py``.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import context, op

from creditshare.crypto.rowseals import NO_ROWS, RowSeals, added
from creditshare.wire.strict_json import canonical

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

POLICY = ("jurisdiction", "rule", "valid_from")
IDENTITIES: Mapping[str, tuple[str, ...]] = {
    "member": ("member_id",),
    "member_key": ("kid",),
    "member_proposal": ("proposal_id",),
    "enrolment": ("member_id",),
    "member_budget": ("member_id",),
    "policy_rule": POLICY,
}
UNSEALED = {"seal", "changed_at_version", "created_at", "wrong_tries", "tries_since"}
SUMMED = ("member", "member_key")


def upgrade() -> None:
    for table in SUMMED:
        op.add_column(table, sa.Column("revision", sa.Integer(), nullable=False, server_default="1"))
        op.alter_column(table, "revision", server_default=None)
    for table in IDENTITIES:
        op.add_column(table, sa.Column("seal", sa.LargeBinary(), nullable=True))
    op.add_column("key_table_version", sa.Column("sum", sa.LargeBinary(), nullable=True))
    seals: RowSeals = context.config.attributes["row_seals"]
    total = NO_ROWS
    for name, identity in IDENTITIES.items():
        total = added(total, *_seal_all(seals, name, identity))
    version = sa.table("key_table_version", sa.column("sum"))
    op.get_bind().execute(version.update().values(sum=seals.seal_sum("key_table_version", total)))
    for table in IDENTITIES:
        op.alter_column(table, "seal", nullable=False)
    op.alter_column("key_table_version", "sum", nullable=False)
    op.execute("GRANT UPDATE (sum) ON key_table_version TO creditshare_app")


def _seal_all(seals: RowSeals, name: str, identity: tuple[str, ...]) -> list[bytes]:
    """Seal every row of a table; return what they add to the sum of the key table."""
    connection = op.get_bind()
    table = sa.Table(name, sa.MetaData(), autoload_with=connection)
    rows = connection.execute(sa.select(table)).mappings().all()
    covers = {"set": _policy_digest(rows)} if name == "policy_rule" else {}
    shares = []
    for row in rows:
        columns = {column: value for column, value in row.items() if column not in UNSEALED} | covers
        seal = seals.seal(name, columns)
        named = sa.and_(*(table.c[part] == row[part] for part in identity))
        connection.execute(table.update().where(named).values(seal=seal))
        if name in SUMMED:
            shares.append(seals.share(name, row[identity[0]], seal))
    return shares


def _policy_digest(rows: Sequence[Mapping[Any, Any]]) -> bytes:
    ordered = sorted(rows, key=lambda row: tuple(row[part] for part in POLICY))
    names = ("jurisdiction", "rule", "value", "article")
    listed = [[*(row[n] for n in names), row["valid_from"].isoformat(), str(row["valid_to"])] for row in ordered]
    return hashlib.sha256(canonical(listed)).digest()


def downgrade() -> None:
    op.execute("REVOKE UPDATE (sum) ON key_table_version FROM creditshare_app")
    op.drop_column("key_table_version", "sum")
    for table in IDENTITIES:
        op.drop_column(table, "seal")
    for table in SUMMED:
        op.drop_column(table, "revision")
