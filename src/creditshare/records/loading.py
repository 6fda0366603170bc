"""Defaults of a file, taken in together: what they rest on is read at once, and what comes of them written at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping

from creditshare.consents.service import open_seen_consent
from creditshare.errors import Refused
from creditshare.ids import uuid7
from creditshare.keys.custody import SubjectKeys
from creditshare.records.history import CurrentRow, History, histories_of
from creditshare.records.intake import Due, already_reported, borrower_row, require_consent, require_way, seal_default
from creditshare.records.rules import Report
from creditshare.records.statements import BORROWER, FREED, HISTORIES, LOAD, NAMED, NEW, OF_BORROWERS, READ_MANY, RECORD
from creditshare.storage.engine import WriteSession
from creditshare.storage.rowsets import columns_of
from creditshare.subjects.service import BorrowerToken, Made, Subjects, SubjectState, check_token

_NOTHING: Final[Mapping[str, Any]] = {"consent_id": None, "earlier": None}
"""What a report of a new borrower rests on."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A default to be taken in: its borrower's token and what its lender reports."""

    token: BorrowerToken
    report: Report


@dataclass(frozen=True, slots=True)
class Loaded:
    """A default of a file that is taken in: its record, and the keys of the borrower that it concerns."""

    record_id: UUID
    subject: SubjectKeys


@dataclass(frozen=True, slots=True)
class Judged:
    """A submission that passed the rules that need no database."""

    index: bytes
    visible_from: datetime
    consent_id: UUID | None
    account_index: bytes


class Load:
    """Reports of one file that are taken in together: what they rest on, and what comes of them, to be written at once.

    A borrower that nobody named before is made when its index turns out to be free, whatever becomes of its reports;
    one of which nothing is taken in is not written.
    """

    def __init__(self, subjects: Subjects, member_id: UUID, now: datetime) -> None:
        self._subjects = subjects
        self._member_id = member_id
        self._now = now
        self._borrowers: dict[bytes, SubjectState | Refused] = {}
        self._made: dict[bytes, tuple[BorrowerToken, Made]] = {}
        self._before: dict[bytes, int] = {}
        self._seen: dict[int, Mapping[str, Any]] = {}
        self._histories: dict[UUID, list[History]] = {}
        self._listed: dict[bytes, UUID] = {}
        self._rows: list[tuple[Any, ...]] = []
        self._freed: list[tuple[UUID, UUID]] = []

    async def read(
        self, session: WriteSession, submissions: Sequence[Submission], judged: Mapping[int, Judged]
    ) -> None:
        """Lock the borrowers that are known, and read what the reports of them rest on."""
        tokens = {one.index: submissions[number].token for number, one in judged.items()}
        known = await self._subjects.hold(session, tokens)
        for index, token in tokens.items():
            # A borrower is made in any case, so that it takes as long whether somebody named it before or not.
            made = self._subjects.make(uuid7(self._now), token, now=self._now)
            if index in known:
                self._borrowers[index] = self._opened(known[index], token)
            else:
                self._borrowers[index], self._made[index] = made.state, (token, made)
        if known:
            await self._read_what_they_rest_on(session, {n: one for n, one in judged.items() if one.index in known})

    def _opened(self, row: RowMapping | None, token: BorrowerToken) -> SubjectState | Refused:
        try:
            state = self._subjects.opened(row)
        except Refused as refusal:
            return refusal
        check_token(state, None if row is None else row["element"], token)
        return state

    async def _read_what_they_rest_on(self, session: WriteSession, judged: Mapping[int, Judged]) -> None:
        live = {
            number: (one, state)
            for number, one in judged.items()
            if isinstance(state := self._borrowers[one.index], SubjectState)
        }
        found = await session.run(
            READ_MANY,
            columns_of(
                "d",
                NAMED,
                [
                    (number, state.subject_id, one.consent_id, one.account_index)
                    for number, (one, state) in live.items()
                ],
            ),
        )
        self._seen = {row["number"]: dict(row) for row in found.mappings()}
        states = {live[n][1].subject_id: live[n][1] for n, seen in self._seen.items() if seen["earlier"] is not None}
        if states:
            told = await session.run(HISTORIES, columns_of("b", OF_BORROWERS, [(one,) for one in states]))
            for row in told.mappings():
                self._histories[row["subject_id"]] = histories_of(states[row["subject_id"]], dict(row))

    def take(self, report: Report, number: int, one: Judged) -> Loaded:
        """Make a report the next event of its borrower, or refuse it."""
        state = self._borrowers[one.index]
        if isinstance(state, Refused):
            raise state
        seen = self._seen.get(number, _NOTHING)
        consent = None if seen["consent_id"] is None else open_seen_consent(state.keys, seen, version=None)
        require_consent(report, consent, self._member_id, self._now)
        # What stands in this very file is no default that ended. An account's index tells no two borrowers apart.
        place = state.subject_id.bytes + one.account_index
        if place in self._listed:
            raise already_reported(self._listed[place])
        earlier = seen["earlier"]
        if earlier is not None:
            require_way(self._histories[state.subject_id], self._member_id, earlier, report)
            self._freed.append((state.subject_id, earlier))
        record_id = uuid7(self._now)
        clear = CurrentRow(record_id, self._member_id, "live", one.visible_from, one.account_index)
        self._before.setdefault(one.index, state.version)
        self._borrowers[one.index], row, _ = seal_default(Due(report, state.subject_id, clear), state, self._now)
        self._rows.append(row)
        self._listed[place] = record_id
        return Loaded(record_id, state.keys)

    async def write(self, session: WriteSession) -> None:
        """Write what was taken in, all or nothing."""
        if not self._rows:
            return
        moved, born = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
        # In the order of the indexes, in which all transactions take them: none waits for another in a circle.
        for index, version in sorted(self._before.items()):
            state = self._borrowers[index]
            if isinstance(state, Refused):
                continue
            row = borrower_row(state, version)
            if index in self._made:
                token, made = self._made[index]
                born.append((state.subject_id, index, token.key_version, made.dek, made.element, *row[2:]))
            else:
                moved.append(row)
        introduced = await session.write_whole(
            LOAD,
            {
                "member_id": self._member_id,
                **columns_of("b", BORROWER, moved),
                **columns_of("n", NEW, born),
                **columns_of("d", RECORD, self._rows),
                **columns_of("f", FREED, self._freed),
            },
        )
        if introduced:
            self._subjects.introduce(session, self._member_id, count=introduced, now=self._now)
