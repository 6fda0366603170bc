"""What every worker keeps in memory of members and keys: the rows that changed, each with how its seal stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, ScalarSelect, select

from creditshare.members.models import key_table_version, member, member_key
from creditshare.members.repository import SealedRows
from creditshare.members.service import Member, member_of
from creditshare.storage.engine import ReadSession


@dataclass(frozen=True, slots=True)
class RowState:
    """How a row stands: how often it changed, its seal, whether that holds, and what it adds to the key table's sum."""

    revision: int
    seal: bytes
    holds: bool
    share: bytes


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member as every worker keeps it in memory."""

    member: Member
    state: RowState


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as every worker keeps it in memory."""

    kid: str
    member_id: UUID
    jwk: Mapping[str, Any]
    key_state: str
    expires_at: datetime
    bootstrap: bool
    state: RowState


@dataclass(frozen=True, slots=True)
class KeyTableChanges:
    """What changed after a version, in one snapshot: the version now, the sum over all rows, the changed rows."""

    version: int
    sealed_sum: bytes
    total: bytes | None
    members: list[MemberRow]
    keys: list[KeyRow]


async def read_key_table(session: ReadSession, rows: SealedRows, *, since: int) -> KeyTableChanges:
    """Return what of members and keys changed after the version ``since``, each row checked against its seal."""
    changes = await rows.changed_since(session, since)

    def state(table: str, row: RowMapping) -> RowState:
        return RowState(row["revision"], bytes(row["seal"]), rows.holds(table, row), rows.share(table, row))

    return KeyTableChanges(
        changes.version,
        changes.sealed_sum,
        changes.total,
        [MemberRow(member_of(row), state("member", row)) for row in changes.members],
        [
            KeyRow(
                row["kid"],
                row["member_id"],
                row["jwk"],
                row["state"],
                row["expires_at"],
                row["bootstrap"],
                state("member_key", row),
            )
            for row in changes.keys
        ],
    )


async def read_key_table_state(session: ReadSession) -> tuple[int, bytes]:
    """Return the version of the key table, which a trigger counts, and the sealed sum, which each change renews."""
    row = (await session.execute(select(key_table_version))).mappings().one()
    return int(row["version"]), bytes(row["sum"])


def seal_of_key(kid: str) -> ScalarSelect[bytes]:
    """Return the expression, for another concept's statement, of a key's seal at this moment."""
    return select(member_key.c.seal).where(member_key.c.kid == kid).scalar_subquery()


def seal_of_member(member_id: UUID) -> ScalarSelect[bytes]:
    """Return the expression, for another concept's statement, of the seal of a member's row at this moment."""
    return select(member.c.seal).where(member.c.member_id == member_id).scalar_subquery()
