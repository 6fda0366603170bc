"""All rows that bear a seal, looked at together: which do not match theirs, and mending them by a person's decision.

``review`` reads everything and changes nothing; the doctor and the start use it. ``accept`` seals rows as they stand:
the one way to make a row good that somebody wrote behind the service's back, after a person compared it with the log.
It is an event. Policy rows are not accepted: they are what a migration wrote, and are put back to that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from creditshare.approvals.repository import TABLE as PROPOSALS
from creditshare.approvals.repository import ProposalRows
from creditshare.audit.service import Audit, Entry
from creditshare.crypto.rowseals import RowSeals
from creditshare.errors import ConfigurationError, IntegrityError
from creditshare.members.repository import Broken, SealedRows
from creditshare.policy.service import load_policy
from creditshare.sessions.passkeys import TABLE as PASSKEYS
from creditshare.sessions.passkeys import accept_passkey, broken_passkeys
from creditshare.storage.engine import Database
from creditshare.subjects.budgets import TABLE as BUDGETS
from creditshare.subjects.budgets import Budgets
from creditshare.warrants.repository import TABLE as WARRANTS
from creditshare.warrants.repository import WarrantRows

WHOLE: Final = "key_table"
"""Stands for the set of all members and keys, where a name of a row is asked for."""
SUB: Final = "seals accept"


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The rows that do not match their seals, as ``table:identity``; whether the sets are whole beyond them."""

    broken: tuple[str, ...]
    whole: bool
    policy: str | None

    def __bool__(self) -> bool:
        """Whether all is well."""
        return not self.broken and self.whole and self.policy is None


async def review(database: Database, seals: RowSeals) -> Reviewed:
    """Check every seal, and the sum over members and keys."""
    async with database.reading() as session:
        rows, whole = await SealedRows(seals).review(session)
    async with database.reading() as session:
        budgets = await Budgets(seals).broken(session)
        proposals = await ProposalRows(seals).broken(session)
        warrants = await WarrantRows(seals).broken(session)
        passkeys = await broken_passkeys(session, seals)
        try:
            await load_policy(session, seals)
            policy = None
        except IntegrityError as error:
            policy = str(error)
    names = [f"{row.table}:{row.identity}" for row in rows] + [f"{BUDGETS}:{member_id}" for member_id in budgets]
    names += [f"{PROPOSALS}:{proposal_id}" for proposal_id in proposals]
    names += [f"{WARRANTS}:{warrant_id}" for warrant_id in warrants]
    names += [f"{PASSKEYS}:{digest}" for digest in passkeys]
    return Reviewed(tuple(sorted(names)), whole, policy)


async def accept(names: Sequence[str], *, database: Database, seals: RowSeals, audit: Audit, now: datetime) -> None:
    """Seal these rows as they stand, and take members and keys for whole if ``key_table`` is named; an event.

    ``ConfigurationError`` for a name that is not one of a broken row, or for ``key_table`` while rows of it are broken.
    """
    found = await review(database, seals)
    known = {*found.broken, *(() if found.whole else (WHOLE,))}
    if not names or not set(names) <= known:
        raise ConfigurationError(
            "name what `creditshare seals check` shows: " + (", ".join(sorted(known)) or "nothing")
        )
    rows = [Broken(*name.split(":", 1)) for name in names if name != WHOLE]
    async with database.writing() as session:
        sealed = SealedRows(seals)
        await sealed.accept(session, [row for row in rows if row.table not in {BUDGETS, PROPOSALS, WARRANTS, PASSKEYS}])
        for row in rows:
            if row.table == BUDGETS:
                await Budgets(seals).accept(session, UUID(row.identity))
            elif row.table == PROPOSALS:
                await ProposalRows(seals).accept(session, UUID(row.identity))
            elif row.table == WARRANTS:
                await WarrantRows(seals).accept(session, UUID(row.identity))
            elif row.table == PASSKEYS:
                await accept_passkey(session, seals, row.identity)
        if found.whole or WHOLE in names:
            await sealed.take_for_whole(session)
        entry = Entry("accept_rows", details={"key_table": int(WHOLE in names), "rows": len(rows)})
        await audit.record_own_act(session, entry, sub=SUB, now=now)
        await session.commit()
