"""Submitting, reading, advancing, correcting and withdrawing default records. The only door to them."""

import hmac
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, LargeBinary, Uuid, and_, any_, literal, select, update

from creditshare.audit.service import Entry, Recorded
from creditshare.consents import rules as consent_rules
from creditshare.consents.service import Consents
from creditshare.crypto.sealing import length_prefixed
from creditshare.errors import FieldError, Malformed, Refused
from creditshare.ids import parse, spell, uuid7
from creditshare.keys.custody import SALT_BYTES
from creditshare.notices import rules as notice_rules
from creditshare.policy.service import Policy
from creditshare.records.history import CurrentRow, EventRow, History, current_mac_bytes, open_histories, seal_event
from creditshare.records.models import record_current, record_event, record_lookup, record_secret
from creditshare.records.rules import (
    Happened,
    LifeEvent,
    RecordState,
    Report,
    check,
    check_correction,
    check_step,
    follows,
    jurisdiction,
)
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.subjects.service import BorrowerToken, Subjects, SubjectState, advanced, next_event_time

_AccountPlace = tuple[UUID, bytes | None]


@dataclass(frozen=True, slots=True)
class Held:
    """A record as its own lender sees it."""

    record_id: UUID
    visible_from: datetime
    state: RecordState
    now: datetime

    @property
    def status(self) -> str:
        """``pending_notice`` while the notice window of an open default runs, else where it stands in its life."""
        if self.now < self.visible_from and self.state.open:
            return "pending_notice"
        return self.state.status


@dataclass(frozen=True, slots=True)
class Submission:
    """A default to be taken in: its borrower's token and what its lender reports."""

    token: BorrowerToken
    report: Report


@dataclass(frozen=True, slots=True)
class _Due:
    """A submission that passed the rules: whose it is, and its clear columns."""

    report: Report
    subject_id: UUID
    row: CurrentRow

    @property
    def place(self) -> _AccountPlace:
        """Which account of which borrower it is about."""
        return self.subject_id, self.row.account_index


class Records:
    """The only door to default records."""

    def __init__(self, *, subjects: Subjects, consents: Consents, policy: Policy, reference_key: bytes) -> None:
        self._subjects = subjects
        self._consents = consents
        self._policy = policy
        self._reference_key = reference_key

    async def submit(
        self,
        session: WriteSession,
        member_id: UUID,
        admitted: tuple[str, ...],
        token: BorrowerToken,
        report: Report,
        *,
        now: datetime,
    ) -> Recorded[Held]:
        """Take in a default record, if reason, basis, notice and jurisdiction allow it. Unique per account and role."""
        (outcome,) = await self.submit_many(session, member_id, admitted, [Submission(token, report)], now=now)
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    async def submit_many(
        self,
        session: WriteSession,
        member_id: UUID,
        admitted: tuple[str, ...],
        submissions: Sequence[Submission],
        *,
        now: datetime,
    ) -> list[Recorded[Held] | Refused]:
        """Take in default records by the rules of ``submit``; what came of each, in their order.

        A refusal concerns its own submission only: the others are taken in, in the same transaction. The statements
        are as many for a hundred as for one, besides one for each named consent.
        """
        outcomes: dict[int, Recorded[Held] | Refused] = {}
        visible: dict[int, datetime] = {}
        for number, one in enumerate(submissions):
            try:
                visible[number] = self._judge(one.report, admitted, now)
            except Refused as refusal:
                outcomes[number] = refusal
        named = [submissions[number].token for number in visible]
        found = await self._subjects.resolve_many(session, named, member_id, now=now)
        states: dict[UUID, SubjectState] = {}
        due: dict[int, _Due] = {}
        for (number, visible_from), state in zip(visible.items(), found, strict=True):
            report = submissions[number].report
            if isinstance(state, Refused):
                outcomes[number] = state
                continue
            try:
                await self._require_consent(session, member_id, state, report, now)
            except Refused as refusal:
                outcomes[number] = refusal
                continue
            index = self._account_index(member_id, report)
            states[state.subject_id] = state
            due[number] = _Due(report, state.subject_id, CurrentRow(uuid7(now), member_id, "live", visible_from, index))
        if due:
            outcomes |= await self._take_in(session, due, states, now=now)
        return [outcomes[number] for number in range(len(submissions))]

    def _judge(self, report: Report, admitted: tuple[str, ...], now: datetime) -> datetime:
        """Return from when a report may be seen, or refuse it by the rules that need no database."""
        check(report, policy=self._policy, today=now.date())
        if jurisdiction(report.region) not in admitted:
            raise Refused("jurisdiction_not_admitted")
        return self._visible_from(report, now)

    async def _take_in(
        self, session: WriteSession, due: Mapping[int, _Due], states: dict[UUID, SubjectState], *, now: datetime
    ) -> dict[int, Recorded[Held] | Refused]:
        """Write those whose account is new, each as the next event of its borrower, and seal the borrowers once."""
        outcomes: dict[int, Recorded[Held] | Refused] = {}
        taken = await self._reported_already(session, due.values())
        new, listed = dict[int, _Due](), set[UUID]()
        for number, one in due.items():
            earlier = taken.get(one.place)
            # What stands in this very list is not written yet, and is no default that ended.
            if earlier is not None and (
                earlier in listed or not await self._make_way(session, states[one.subject_id], one, earlier)
            ):
                outcomes[number] = _already(earlier)
                continue
            taken[one.place], new[number] = one.row.record_id, one
            listed.add(one.row.record_id)
        if not new:
            return outcomes
        # Nobody else takes a place meanwhile: the borrowers are locked.
        await session.execute(
            record_current.insert(), [{"subject_id": one.subject_id, **asdict(one.row)} for one in new.values()]
        )
        salts, events = list[dict[str, Any]](), list[dict[str, Any]]()
        for number, one in new.items():
            record_id = one.row.record_id
            state, salt = states[one.subject_id], secrets.token_bytes(SALT_BYTES)
            at = next_event_time(state, now)
            # The clear columns are repeated inside the sealed event, so that an edit of them is noticed on reading.
            event = Happened("submitted", at, report=one.report, reason=current_mac_bytes(one.row).decode())
            row = seal_event(
                state.keys, salt, record_id, event_no=state.event_count + 1, version=state.version + 1, event=event
            )
            states[one.subject_id] = state = advanced(state, event_macs=[row.mac], at=at)
            salts.append({"subject_id": one.subject_id, "record_id": record_id, "salt": salt})
            events.append({"subject_id": one.subject_id, **asdict(row)})
            history = History(record_id, one.row.member_id, one.row.visible_from, ((state.version, event),))
            outcomes[number] = Recorded(_held(history, now), self._entry("submit_record", state, record_id))
        await session.execute(record_secret.insert(), salts)
        await session.execute(
            record_lookup.insert(), [{name: row[name] for name in ("subject_id", "record_id")} for row in salts]
        )
        await session.execute(record_event.insert(), events)
        changed = sorted({row["subject_id"] for row in events})
        await self._subjects.save(session, [states[subject_id] for subject_id in changed])
        return outcomes

    async def show(self, session: ReadSession, member_id: UUID, record_id: UUID, *, now: datetime) -> Recorded[Held]:
        """Return a member's own record."""
        state = await self._subjects.read(session, await _subject_of_own(session, member_id, record_id))
        history, _ = await self._own(session, state, member_id, record_id)
        return Recorded(_held(history, now), self._entry("show_record", state, record_id))

    async def advance(
        self,
        session: WriteSession,
        member_id: UUID,
        record_id: UUID,
        *,
        kind: LifeEvent,
        on: date,
        amount: Decimal | None,
        now: datetime,
    ) -> Recorded[Held]:
        """Add a step of the record's life: forbearance, cure, write-off, settlement, sale …"""
        if (on - now.date()).days > 1:  # the reporting place may be a day ahead of the service
            raise Refused("validation_failed", fields=[FieldError("/on", "in_future", "a day not after today")])

        def event(history: History, at: datetime) -> Happened:
            check_step(_known(history), kind, on)
            return Happened(kind, at, on=on, amount=amount)

        return await self._change(session, member_id, record_id, event, action="advance_record", now=now)

    async def correct(
        self,
        session: WriteSession,
        member_id: UUID,
        record_id: UUID,
        *,
        changes: Mapping[str, Any],
        reason: str,
        now: datetime,
    ) -> Recorded[Held]:
        """Replace fields that were wrong, checked as on intake.

        What identifies the record stays (borrower, account, role), and what made it lawful (region, basis, consent,
        notice).
        """

        def event(history: History, at: datetime) -> Happened:
            current = _known(history)
            corrected = replace(current.report, **changes)
            check_correction(current, corrected, policy=self._policy, today=now.date())
            return Happened("corrected", at, report=corrected, reason=reason)

        return await self._change(session, member_id, record_id, event, action="correct_record", now=now)

    async def withdraw(
        self, session: WriteSession, member_id: UUID, record_id: UUID, *, reason: str, now: datetime
    ) -> Recorded[Held]:
        """Take a record back: it appears in no answer any more, of whatever date."""

        def event(history: History, at: datetime) -> Happened:
            if _known(history).withdrawn:
                raise Refused("state_conflict")
            return Happened("withdrawn", at, reason=reason)

        return await self._change(session, member_id, record_id, event, action="withdraw_record", now=now)

    async def histories(self, session: ReadSession, state: SubjectState) -> list[History]:
        """Return all records of a borrower, opened and checked."""
        histories, _ = await self._all(session, state)
        return histories

    async def _change(  # type: ignore[no-untyped-def]
        self, session: WriteSession, member_id: UUID, record_id: UUID, make_event, *, action: str, now: datetime
    ) -> Recorded[Held]:
        state = await self._subjects.lock(session, await _subject_of_own(session, member_id, record_id))
        history, salt = await self._own(session, state, member_id, record_id)
        event = make_event(history, next_event_time(state, now))
        state = await self._append(session, state, salt, record_id, event)
        changed = replace(history, events=(*history.events, (state.version, event)))
        held = _held(changed, now)
        clear: dict[str, Any] = {"lifecycle": held.state.lifecycle}
        if held.state.withdrawn:
            clear["account_index"] = None  # taken back in error, the account may be reported again, rightly
        await session.execute(
            update(record_current)
            .where(record_current.c.subject_id == state.subject_id, record_current.c.record_id == record_id)
            .values(clear)
        )
        return Recorded(held, self._entry(action, state, record_id))

    async def _append(
        self, session: WriteSession, state: SubjectState, salt: bytes, record_id: UUID, event: Happened
    ) -> SubjectState:
        row = seal_event(
            state.keys, salt, record_id, event_no=state.event_count + 1, version=state.version + 1, event=event
        )
        await session.execute(
            record_event.insert().values(
                subject_id=state.subject_id,
                event_no=row.event_no,
                record_id=record_id,
                version=row.version,
                sealed=row.sealed,
                mac=row.mac,
            )
        )
        return await self._subjects.advance(session, state, event_macs=[row.mac], at=event.recorded_at)

    def _visible_from(self, report: Report, now: datetime) -> datetime:
        return notice_rules.visible_from(
            report.notice,
            policy=self._policy,
            jurisdiction=jurisdiction(report.region),
            lawful_basis=report.lawful_basis,
            has_public_ref=report.public_ref is not None,
            to=notice_rules.addressee(role=report.role, size_class=report.size_class),
            now=now,
        )

    async def _require_consent(
        self, session: ReadSession, member_id: UUID, state: SubjectState, report: Report, now: datetime
    ) -> None:
        """A named consent to provide must hold; the basis ``consent`` must name one (征信业管理条例 art. 29)."""
        if report.provide_consent_id is None:
            return
        try:
            consent_id = parse("cns", report.provide_consent_id)
        except Malformed:
            raise Refused("consent_missing") from None
        consent = await self._consents.for_report(session, state.keys, consent_id)
        reason = consent_rules.refusal(consent, kind="provide", member_id=member_id, purpose=None, scopes=(), now=now)
        if reason is not None:
            raise Refused(reason)

    async def _reported_already(self, session: ReadSession, due: Collection[_Due]) -> dict[_AccountPlace, UUID]:
        """Return under which records these accounts have been reported, by borrower and account."""
        found = await session.execute(
            select(record_current.c.subject_id, record_current.c.account_index, record_current.c.record_id).where(
                record_current.c.subject_id == any_(literal([one.subject_id for one in due], ARRAY(Uuid))),
                record_current.c.account_index
                == any_(literal([one.row.account_index for one in due], ARRAY(LargeBinary))),
            )
        )
        return {(row.subject_id, bytes(row.account_index)): row.record_id for row in found}

    async def _make_way(self, session: WriteSession, state: SubjectState, one: _Due, earlier: UUID) -> bool:
        """Let an ended default of this account give its place to a later one; False where it does not.

        It is this member's own: the index says so. A loan that was cured may default again; that is a new record with
        its own notice, and what ended before stays as it was.
        """
        history, _ = await self._own(session, state, one.row.member_id, earlier)
        if not follows(_known(history), one.report):
            return False
        await session.execute(
            update(record_current)
            .where(record_current.c.subject_id == state.subject_id, record_current.c.record_id == earlier)
            .values(account_index=None)
        )
        return True

    def _account_index(self, member_id: UUID, report: Report) -> bytes:
        message = length_prefixed(b"account", member_id.bytes, report.account_ref.encode(), report.role.encode())
        return hmac.digest(self._reference_key, message, "sha256")

    async def _own(
        self, session: ReadSession, state: SubjectState, member_id: UUID, record_id: UUID
    ) -> tuple[History, bytes]:
        histories, salts = await self._all(session, state)
        for history in histories:
            if history.record_id == record_id and history.member_id == member_id:
                return history, salts[record_id]
        raise Refused("erased")

    async def _all(self, session: ReadSession, state: SubjectState) -> tuple[list[History], dict[UUID, bytes]]:
        mine = state.subject_id
        events = await session.execute(
            select(record_event).where(record_event.c.subject_id == mine).order_by(record_event.c.event_no)
        )
        current = await session.execute(select(record_current).where(record_current.c.subject_id == mine))
        secrets_ = await session.execute(select(record_secret).where(record_secret.c.subject_id == mine))
        salts = {row.record_id: row.salt for row in secrets_}
        return (
            open_histories(
                state,
                [EventRow(r.event_no, r.record_id, r.version, r.sealed, r.mac) for r in events],
                [CurrentRow(r.record_id, r.member_id, r.lifecycle, r.visible_from, r.account_index) for r in current],
                salts,
            ),
            salts,
        )

    @staticmethod
    def _entry(action: str, state: SubjectState, record_id: UUID) -> Entry:
        return Entry(action, subject=state.keys, references={"record_id": spell("rec", record_id)})


async def subject_of_record(session: ReadSession, record_id: UUID) -> UUID:
    """Return the borrower that a record belongs to; ``not_found`` for an unknown one."""
    found = await session.execute(select(record_lookup.c.subject_id).where(record_lookup.c.record_id == record_id))
    subject_id = found.scalar_one_or_none()
    if subject_id is None:
        raise Refused("not_found")
    return UUID(str(subject_id))


async def _subject_of_own(session: ReadSession, member_id: UUID, record_id: UUID) -> UUID:
    """Return the borrower of a member's own record. Another's is not found, even where it is erased."""
    found = await session.execute(
        select(record_lookup.c.subject_id)
        .join(
            record_current,
            and_(
                record_current.c.subject_id == record_lookup.c.subject_id,
                record_current.c.record_id == record_lookup.c.record_id,
            ),
        )
        .where(record_lookup.c.record_id == record_id, record_current.c.member_id == member_id)
    )
    subject_id = found.scalar_one_or_none()
    if subject_id is None:
        raise Refused("not_found")
    return UUID(str(subject_id))


async def still_readable(
    session: ReadSession, record_ids: Sequence[UUID], *, except_of: Sequence[UUID]
) -> tuple[UUID, ...]:
    """Return those of these records whose key can be made, leaving out whole borrowers."""
    found = await session.execute(
        select(record_secret.c.record_id).where(
            record_secret.c.record_id.in_(record_ids), record_secret.c.subject_id.not_in(except_of)
        )
    )
    return tuple(found.scalars())


def _already(record_id: UUID) -> Refused:
    """Return the refusal of a second report. It names the record, which is this member's own: the index says so."""
    hint = "this account is reported already; correct that record"
    return Refused("state_conflict", extra={"hint": hint, "record_id": spell("rec", record_id)})


def _known(history: History) -> RecordState:
    state = history.state()
    if state is None:
        raise Refused("not_found")
    return state


def _held(history: History, now: datetime) -> Held:
    return Held(history.record_id, history.visible_from, _known(history), now)
