"""Walking a whole table in the order of its ids, a page at a time."""

from typing import Any
from uuid import UUID

from sqlalchemy import Column, Row, select

from creditshare.storage.engine import ReadSession


async def page_of(
    session: ReadSession, key: Column[Any], *more: Column[Any], after: UUID | None, limit: int
) -> list[Row[Any]]:
    """Return the next rows behind a key, in its order: the key and what else is asked for."""
    page = select(key, *more).order_by(key).limit(limit)
    return list((await session.execute(page if after is None else page.where(key > after))).all())
