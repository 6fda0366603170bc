"""Anchors: checkpoints that a time-stamping authority stamped (RFC 3161). Rows, and whether what they hold is true.

An anchor shows by somebody else's clock and key that the leaves under a checkpoint were there, and so bounds their
times from above, whatever the service's own clock said.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from creditshare.audit.models import audit_anchor, audit_checkpoint
from creditshare.audit.rebuild import Check, Tell
from creditshare.crypto.timestamps import StampRoots
from creditshare.errors import Malformed, VerificationFailed
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.tlog.note import split_note

NEWEST: Final = 24
"""How many are shown to whoever names no checkpoint: a day's."""
PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Anchor:
    """An authority's token over the checkpoint of ``size`` leaves, and the time that it states."""

    size: int
    tsa: str
    token: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class LastAnchor:
    """The newest anchor of an authority: its size, and how many seconds ago it was taken, by the database's clock."""

    size: int
    age_s: float


async def last_anchor(session: ReadSession, tsa: str) -> LastAnchor | None:
    """Return the newest anchor of an authority, whichever worker took it."""
    anchor = audit_anchor.c
    age = func.extract("epoch", func.clock_timestamp() - anchor.received_at).label("age")
    newest = select(anchor.size, age).where(anchor.tsa == tsa).order_by(anchor.size.desc()).limit(1)
    row = (await session.execute(newest)).first()
    return None if row is None else LastAnchor(int(row.size), float(row.age))


async def keep_anchor(session: WriteSession, anchor: Anchor) -> None:
    """Store an anchor; where the authority stamped that checkpoint already, its first token stays."""
    row = {"size": anchor.size, "tsa": anchor.tsa, "token": anchor.token, "gen_time": anchor.at}
    await session.execute(insert(audit_anchor).values(row).on_conflict_do_nothing())


async def anchors(session: ReadSession, *, size: int | None = None) -> list[Anchor]:
    """Return the anchors of the checkpoint of a size, or the newest of all, ``NEWEST`` at most."""
    found = select(audit_anchor).order_by(audit_anchor.c.size.desc(), audit_anchor.c.tsa).limit(NEWEST)
    if size is not None:
        found = found.where(audit_anchor.c.size == size)
    rows = await session.execute(found)
    return [Anchor(int(row.size), row.tsa, bytes(row.token), row.gen_time) for row in rows]


async def check_anchors(session: ReadSession, roots: StampRoots, tell: Tell) -> int:
    """Hold every stored anchor against the checkpoint that it is over; return how many there are."""
    anchor, count = audit_anchor.c, 0
    both = select(audit_anchor, audit_checkpoint.c.note).outerjoin(
        audit_checkpoint, audit_checkpoint.c.size == anchor.size
    )
    page = both.order_by(anchor.size, anchor.tsa).limit(PAGE)
    rows = (await session.execute(page)).all()
    while rows:
        for row in rows:
            problem = _problem(row, roots)
            if problem is not None:
                tell(Check.SIGNATURES, f"the anchor of {row.size} leaves by {row.tsa}: {problem}")
        count += len(rows)
        behind = tuple_(anchor.size, anchor.tsa) > (rows[-1].size, rows[-1].tsa)
        rows = (await session.execute(page.where(behind))).all()
    return count


def _problem(row: Row[Any], roots: StampRoots) -> str | None:
    try:
        stamp = roots.verify(bytes(row.token or b""), split_note(row.note or "").text.encode())
    except (Malformed, VerificationFailed) as error:
        return str(error)
    return None if stamp.at == row.gen_time else "the stamp states another time than its row"
