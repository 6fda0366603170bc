"""Writing and reading debt statements. A row that was edited, moved or taken from between others is noticed."""

import hmac
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import Row, func, select

from creditshare.errors import IntegrityError
from creditshare.indebtedness.models import debt_statement, debt_statement_lookup
from creditshare.indebtedness.rules import Statement
from creditshare.keys.custody import SubjectKeys, seal_place
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.storage.paging import page_of
from creditshare.subjects.service import SubjectState

_STATEMENT: Final = TypeAdapter(Statement)


async def add(session: WriteSession, state: SubjectState, statement: Statement) -> None:
    """Append a statement to its borrower, which is locked and whose version this statement made."""
    count = await session.execute(
        select(func.count()).select_from(debt_statement).where(debt_statement.c.subject_id == state.subject_id)
    )
    number = int(count.scalar_one()) + 1
    sealed = state.keys.box("debt").seal(
        seal_place("debt_statement", "sealed", statement.statement_id), _STATEMENT.dump_json(statement)
    )
    await session.execute(
        debt_statement.insert().values(
            subject_id=state.subject_id,
            number=number,
            statement_id=statement.statement_id,
            member_id=statement.member_id,
            version=state.version,
            sealed=sealed,
            mac=_mac(state.keys, number, statement.statement_id, statement.member_id, state.version, sealed),
        )
    )
    await session.execute(
        debt_statement_lookup.insert().values(statement_id=statement.statement_id, subject_id=state.subject_id)
    )


async def all_of(session: ReadSession, state: SubjectState) -> list[Statement]:
    """Return all statements about a borrower in their order, checked."""
    rows = await session.execute(
        select(debt_statement).where(debt_statement.c.subject_id == state.subject_id).order_by(debt_statement.c.number)
    )
    return [_opened(state, row, number) for number, row in enumerate(rows, start=1)]


async def borrowers_of_statements(session: ReadSession, member_id: UUID) -> set[UUID]:
    """Return all borrowers of whom a member stated debts."""
    found = await session.execute(select(debt_statement.c.subject_id).where(debt_statement.c.member_id == member_id))
    return set(found.scalars())


async def ids_of_statements(session: ReadSession, *, after: UUID | None, limit: int) -> list[tuple[UUID, UUID]]:
    """Return the next statements in the order of their ids, each with its borrower."""
    ids = debt_statement_lookup.c
    return [tuple(row) for row in await page_of(session, ids.statement_id, ids.subject_id, after=after, limit=limit)]


def _opened(state: SubjectState, row: Row[Any], number: int) -> Statement:
    mac = _mac(state.keys, row.number, row.statement_id, row.member_id, row.version, row.sealed)
    if row.number != number or row.version > state.version or not hmac.compare_digest(mac, row.mac):
        raise IntegrityError("a debt statement does not match its seal, or is not in its place")
    place = seal_place("debt_statement", "sealed", row.statement_id)
    statement = _STATEMENT.validate_json(state.keys.box("debt").open(place, row.sealed))
    if (statement.statement_id, statement.member_id) != (row.statement_id, row.member_id):
        raise IntegrityError("a debt statement's clear columns do not match it")
    return statement


def _mac(keys: SubjectKeys, number: int, statement_id: UUID, member_id: UUID, version: int, sealed: bytes) -> bytes:
    named = f"{number}|{statement_id}|{member_id}|{version}"
    return keys.mac(b"debt_statement", named.encode(), sealed)
