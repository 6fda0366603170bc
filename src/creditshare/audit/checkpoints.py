"""The log's checkpoints, what witnesses added to them, and the hold that they put on the log: rows and nothing else."""

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from creditshare.audit.models import audit_checkpoint, audit_cosignature, audit_hold
from creditshare.errors import Refused
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.tlog.cosignature import Cosigned, Witness
from creditshare.tlog.policy import TrustPolicy

RETRY_AFTER_S: Final = 1
LOOKED_AT: Final = 1_000
"""How many cosigned checkpoints are looked at by one statement."""


async def latest_checkpoint(session: ReadSession) -> tuple[int, str]:
    """Return size and signed note of the newest checkpoint; before the first one ``not_integrated_yet``."""
    row = (
        await session.execute(
            select(audit_checkpoint.c.size, audit_checkpoint.c.note).order_by(audit_checkpoint.c.size.desc()).limit(1)
        )
    ).first()
    if row is None:
        raise Refused("not_integrated_yet", retry_after=RETRY_AFTER_S)
    return int(row.size), str(row.note)


async def last_cosigned(session: ReadSession, witnesses: Collection[Witness]) -> dict[str, int]:
    """Return the newest size that each of these witnesses cosigned, by its verifier key."""
    cosigned, found = audit_cosignature.c, {}
    for witness in witnesses:
        sizes = select(cosigned.size).where(cosigned.witness == witness.vkey).order_by(cosigned.size.desc()).limit(1)
        size = (await session.execute(sizes)).scalar()
        if size is not None:
            found[witness.vkey] = int(size)
    return found


async def keep_cosignatures(session: WriteSession, size: int, cosignatures: Collection[Cosigned]) -> None:
    """Store cosignatures over the checkpoint of a size; one that is there already stays."""
    if cosignatures:
        rows = [{"size": size, "witness": one.witness.vkey, "line": one.line} for one in cosignatures]
        await session.execute(insert(audit_cosignature).on_conflict_do_nothing(), rows)


async def cosigned_note(session: ReadSession, size: int, note: str) -> str:
    """Return a checkpoint's note with the lines of its witnesses."""
    cosigned = audit_cosignature.c
    lines = await session.execute(select(cosigned.line).where(cosigned.size == size).order_by(cosigned.witness))
    return note + "".join(lines.scalars())


async def newest_with_quorum(session: ReadSession, policy: TrustPolicy, *, above: int = -1) -> int | None:
    """Return the size of the newest checkpoint beyond ``above`` that the policy takes for cosigned, if there is one."""
    if policy.quorum is None:
        size, _ = await latest_checkpoint(session)
        return size
    by_key: Mapping[str, Witness] = {one.witness.vkey: one.witness for one in policy.witnesses.values()}
    cosigned = audit_cosignature.c
    below = None
    while True:
        page = select(cosigned.size, func.array_agg(cosigned.witness).label("witnesses")).where(cosigned.size > above)
        if below is not None:
            page = page.where(cosigned.size < below)
        page = page.group_by(cosigned.size).order_by(cosigned.size.desc()).limit(LOOKED_AT)
        rows = (await session.execute(page)).all()
        for row in rows:
            if policy.suffices([by_key[vkey] for vkey in row.witnesses if vkey in by_key]):
                return int(row.size)
        if len(rows) < LOOKED_AT:
            return None
        below = rows[-1].size


async def note_of(session: ReadSession, size: int) -> str | None:
    """Return the note of the checkpoint of a size, if one was signed."""
    found = await session.execute(select(audit_checkpoint.c.note).where(audit_checkpoint.c.size == size))
    note = found.scalar()
    return None if note is None else str(note)


async def held_for(session: ReadSession) -> str | None:
    """Return why the log is not signed on, if it is not."""
    reason = (await session.execute(select(audit_hold.c.reason))).scalar()
    return None if reason is None else str(reason)


async def hold(session: WriteSession, reason: str | None) -> None:
    """Say why the log is not signed on, or nothing where it is."""
    if reason is None:
        await session.execute(delete(audit_hold))
    else:
        await session.execute(insert(audit_hold).values(single=True, reason=reason).on_conflict_do_nothing())
