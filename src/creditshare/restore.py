"""After a restore: what was erased or revoked since the backup is found alive and buried again.

``returned`` compares the tombstones, which lie outside the database, with what the database says. ``apply``
erases and revokes again, each in its own transaction with an event of its own, so that an interrupted run
goes on where it stopped. The service refuses to start while anything has returned (``startup``).
Left out until there are witnesses: pausing consents and confirming operators after a restore that is older
than the last witnessed checkpoint.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from creditshare.keys.tombstones import Buried
from creditshare.members.keys import MemberKeys, not_revoked
from creditshare.records.erasure import Erasure
from creditshare.records.service import still_readable
from creditshare.storage.engine import Database, ReadSession
from creditshare.subjects.service import still_live

SUB: Final = "restore apply"


@dataclass(frozen=True, slots=True)
class Returned:
    """What is alive in the database though it was erased or revoked."""

    borrowers: tuple[UUID, ...]
    records: tuple[UUID, ...]
    keys: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether anything has returned."""
        return bool(self.borrowers or self.records or self.keys)

    def __str__(self) -> str:
        """Say it in words."""
        return (
            f"{len(self.borrowers)} erased borrowers, {len(self.records)} erased records"
            f" and {len(self.keys)} revoked keys"
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return {"borrowers": len(self.borrowers), "records": len(self.records), "keys": len(self.keys)}


async def returned(session: ReadSession, buried: Buried) -> Returned:
    """Return what of the buried is alive. A record of a borrower that is to be erased whole is not counted again."""
    borrowers = await still_live(session, buried.borrowers)
    records = await still_readable(session, buried.records, except_of=borrowers)
    return Returned(borrowers, records, await not_revoked(session, buried.keys))


async def apply(
    found: Returned, *, database: Database, eraser: Database, erasure: Erasure, keys: MemberKeys, now: datetime
) -> None:
    """Bury again what has returned: as the eraser what was erased, as the service what was revoked."""
    for kid in found.keys:
        async with database.writing() as session:
            await keys.revoke_again(session, kid, sub=SUB, now=now)
            await session.commit()
    for subject_id in found.borrowers:
        async with eraser.writing() as session:
            await erasure.erase_borrower(session, "borrower", subject_id, sub=SUB, now=now)
            await session.commit()
    for record_id in found.records:
        async with eraser.writing() as session:
            await erasure.erase_record(session, record_id, sub=SUB, now=now)
            await session.commit()
