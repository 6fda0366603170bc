"""How far the log is: for closing the data endpoints when it is late, for metrics, for ``creditshare doctor``."""

from dataclasses import dataclass

from sqlalchemy import func, select

from creditshare.audit.models import audit_anchor, audit_checkpoint, audit_hold, audit_pending
from creditshare.storage.engine import ReadSession


@dataclass(frozen=True, slots=True)
class LogState:
    """The newest checkpoint, if there is one yet, and what waits for an index. Ages are in seconds.

    ``hold`` says why the log is not signed on, where witnesses saw another one. ``unanchored_s`` is the age of the
    oldest checkpoint behind the newest one that was stamped.
    """

    size: int
    note: str | None
    checkpoint_age_s: float
    pending: int
    oldest_pending_s: float
    hold: str | None = None
    unanchored_s: float = 0.0


async def log_state(session: ReadSession) -> LogState:
    """Read where the log stands. Counting what waits is cheap: the sequencer deletes it as it goes."""
    now = func.clock_timestamp()
    waiting = select(
        func.count().label("pending"), func.extract("epoch", now - func.min(audit_pending.c.queued_at)).label("oldest")
    )
    queue = (await session.execute(waiting)).one()
    age = func.extract("epoch", now - audit_checkpoint.c.created_at).label("age")
    newest = select(audit_checkpoint.c.size, audit_checkpoint.c.note, age).order_by(audit_checkpoint.c.size.desc())
    last = (await session.execute(newest.limit(1))).first()
    hold = (await session.execute(select(audit_hold.c.reason))).scalar()
    stamped = select(func.coalesce(func.max(audit_anchor.c.size), -1)).scalar_subquery()
    beyond = select(age).where(audit_checkpoint.c.size > stamped).order_by(audit_checkpoint.c.size).limit(1)
    unanchored = (await session.execute(beyond)).scalar()
    return LogState(
        size=int(last.size) if last else 0,
        note=str(last.note) if last else None,
        checkpoint_age_s=float(last.age) if last else 0.0,
        pending=int(queue.pending),
        oldest_pending_s=float(queue.oldest or 0.0),
        hold=None if hold is None else str(hold),
        unanchored_s=float(unanchored or 0.0),
    )
