"""Erasure: making one record, or all of one borrower, unreadable for ever, while the log stays provable.

Erasing a record deletes its salt, so its key cannot be made again. Erasing a borrower destroys the wrapped
key and forgets the token, so that even a backup's sealed bytes stay closed once the key epoch is over.
What was told about it is emptied, openings that name it are deleted, and the erasure is itself an event.
Runs under a database role of its own; nothing of the request path can do this.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import delete, update

from creditshare.access import service as access
from creditshare.audit.service import Audit, Entry
from creditshare.consents.service import require_consent_of, subject_of_consent
from creditshare.errors import IntegrityError, Refused
from creditshare.ids import spell
from creditshare.records.history import erasure_event
from creditshare.records.models import record_current, record_event, record_secret
from creditshare.records.service import subject_of_record, was_erased
from creditshare.storage.engine import WriteSession
from creditshare.subjects.service import Subjects

Named = Literal["record", "consent", "borrower"]
References = Mapping[str, str]
NONE: Final[References] = MappingProxyType({})
EmptyAnswers = Callable[[WriteSession, UUID], Awaitable[None]]
"""Empties the stored answers about a borrower; they belong to ``sharing``, which stands above, so it is passed down."""


class Erasure:
    """Erases in the caller's transaction."""

    def __init__(self, *, subjects: Subjects, audit: Audit, empty_answers: EmptyAnswers) -> None:
        self._subjects = subjects
        self._audit = audit
        self._empty_answers = empty_answers

    async def erase_record(
        self, session: WriteSession, record_id: UUID, *, sub: str, now: datetime, references: References = NONE
    ) -> UUID:
        """Erase one record; ``not_found`` for an unknown one, ``erased`` for one that is gone already.

        ``references`` name by whose order, for the log.
        """
        subject_id = await subject_of_record(session, record_id)
        state = await self._subjects.lock(session, subject_id)
        if await was_erased(session, state, record_id):
            raise Refused("erased")
        gone = await session.execute(
            delete(record_secret)
            .where(record_secret.c.subject_id == subject_id, record_secret.c.record_id == record_id)
            .returning(record_secret.c.record_id)
        )
        if gone.first() is None:
            raise IntegrityError("a record's key is gone without an erasure")
        await session.execute(
            update(record_current)
            .where(record_current.c.subject_id == subject_id, record_current.c.record_id == record_id)
            .values(lifecycle="erased", account_index=None)
        )
        await self._empty_what_was_told(session, subject_id)
        event = erasure_event(state.keys, record_id, event_no=state.event_count + 1, version=state.version + 1)
        await session.execute(record_event.insert().values(subject_id=subject_id, **asdict(event)))
        await self._subjects.advance(session, state, event_macs=[event.mac])
        entry = Entry(
            "erase_record", subject=state.keys, references={"record_id": spell("rec", record_id), **references}
        )
        await self._audit.record_own_act(session, entry, sub=sub, now=now)
        return subject_id

    async def erase_borrower(
        self,
        session: WriteSession,
        named: Named,
        object_id: UUID,
        *,
        sub: str,
        now: datetime,
        references: References = NONE,
    ) -> UUID:
        """Erase the borrower that a record or consent belongs to, or that is named by its own random id."""
        subject_id = await self._subject_of(session, named, object_id)
        state = await self._subjects.lock(session, subject_id)
        if named == "record":
            await was_erased(session, state, object_id)  # whether or not: it is this borrower's
        elif named == "consent":
            await require_consent_of(session, state.keys, object_id)
        await session.execute(delete(record_secret).where(record_secret.c.subject_id == subject_id))
        await session.execute(
            update(record_current)
            .where(record_current.c.subject_id == subject_id)
            .values(lifecycle="erased", account_index=None)
        )
        await self._empty_what_was_told(session, subject_id)
        events = await self._audit.erase_openings(session, subject_id)
        await self._subjects.destroy(session, subject_id)
        # The event names how much was erased and by whose order, never whom: the borrower's own key no longer exists.
        entry = Entry("erase_borrower", references=references, details={"events": events})
        await self._audit.record_own_act(session, entry, sub=sub, now=now)
        return subject_id

    async def _empty_what_was_told(self, session: WriteSession, subject_id: UUID) -> None:
        """Empty all stored answers about the borrower: the erased record cannot be cut out of one."""
        await self._empty_answers(session, subject_id)
        await access.empty_answers(session, subject_id)

    @staticmethod
    async def _subject_of(session: WriteSession, named: Named, object_id: UUID) -> UUID:
        if named == "borrower":
            return object_id
        find = subject_of_record if named == "record" else subject_of_consent
        return await find(session, object_id)
