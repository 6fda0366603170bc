"""Reading all that is a member's own, borrower by borrower, as rows for the file that is handed back."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from creditshare.consents.service import Consents, borrowers_of_consents
from creditshare.crypto.jwe import RecipientKey
from creditshare.errors import Refused
from creditshare.ids import spell
from creditshare.indebtedness.service import Indebtedness, borrowers_of_statements
from creditshare.members.keys import MemberKeys
from creditshare.members.service import Members
from creditshare.records.service import Records, borrowers_of_records
from creditshare.sharing.service import Sharing, borrowers_of_questions
from creditshare.storage.engine import Database, ReadSession
from creditshare.subjects.service import Subjects

Row = dict[str, Any]
AT_ONCE: Final = 200
"""Borrowers read in one transaction."""


@dataclass(slots=True)
class Tally:
    """What was handed back so far."""

    borrowers: int = 0
    erased: int = 0
    records: int = 0
    consents: int = 0
    questions: int = 0
    statements: int = 0


class HandBack:
    """Reads a terminated member's own data."""

    def __init__(
        self,
        *,
        database: Database,
        members: Members,
        member_keys: MemberKeys,
        subjects: Subjects,
        records: Records,
        consents: Consents,
        sharing: Sharing,
        indebtedness: Indebtedness,
    ) -> None:
        self._database = database
        self._members = members
        self._member_keys = member_keys
        self._subjects = subjects
        self._records = records
        self._consents = consents
        self._sharing = sharing
        self._indebtedness = indebtedness

    async def recipient(self, member_id: UUID) -> RecipientKey:
        """Return the key that the member named; ``state_conflict`` where its membership goes on, or it named none."""
        async with self._database.reading() as session:
            member = await self._members.get(session, member_id)
            jwk = await self._members.hand_back_key(session, member_id)
        if member.status != "terminated":
            raise Refused("state_conflict", extra={"hint": "data are handed back when a membership has ended"})
        if jwk is None:
            raise Refused("state_conflict", extra={"hint": "the member named no key before its membership ended"})
        return RecipientKey.from_jwk(jwk)

    async def rows(
        self, member_id: UUID, tally: Tally, *, now: datetime, progress: Callable[[int, int], None]
    ) -> AsyncIterator[list[Row]]:
        """Yield the rows in groups, and say how many of how many borrowers are done. Erased ones are counted only."""
        async with self._database.reading() as session:
            member = await self._members.get(session, member_id)
            keys = await self._member_keys.keys_of(session, member_id)
            borrowers = sorted(
                await borrowers_of_records(session, member_id)
                | await borrowers_of_consents(session, member_id)
                | await borrowers_of_questions(session, member_id)
                | await borrowers_of_statements(session, member_id)
            )
        yield [
            {
                "row": "member",
                "member_id": spell("mem", member_id),
                "name": member.name,
                "role": member.role,
                "region": member.region,
                "jurisdictions": list(member.jurisdictions),
                "handed_back_at": now.isoformat(),
                "keys": [
                    {"kid": key.kid, "registered_at": key.registered_at.isoformat(), "state": key.state} for key in keys
                ],
            }
        ]
        for start in range(0, len(borrowers), AT_ONCE):
            some = borrowers[start : start + AT_ONCE]
            # One moment for all of a borrower: what is read after its row must fit the seal in it.
            async with self._database.examining() as session:
                found = [row for one in some for row in await self._of_borrower(session, member_id, one, tally)]
            if found:
                yield found
            progress(start + len(some), len(borrowers))

    async def _of_borrower(self, session: ReadSession, member_id: UUID, subject_id: UUID, tally: Tally) -> list[Row]:
        tally.borrowers += 1
        try:
            state = await self._subjects.read(session, subject_id)
        except Refused as refusal:
            if refusal.code != "erased":
                raise
            tally.erased += 1
            return []
        token = await self._subjects.token_of(session, state)
        records = await self._records.own_in_full(session, state, member_id)
        consents = await self._consents.own_in_full(session, state, member_id)
        questions = await self._sharing.own_questions(session, state, member_id)
        statements = await self._indebtedness.own_in_full(session, state, member_id)
        tally.records += len(records)
        tally.statements += len(statements)
        tally.consents += len(consents)
        tally.questions += len(questions)
        subject = {"suite": token.suite, "key_version": token.key_version, "element": token.element}
        return [
            {"row": kind, "subject": subject, **row}
            for kind, rows in (
                ("record", records),
                ("consent", consents),
                ("question", questions),
                ("debt_statement", statements),
            )
            for row in rows
        ]
