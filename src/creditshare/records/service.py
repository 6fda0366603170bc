"""Submitting, reading, advancing, correcting and withdrawing default records. The only door to them."""

import hmac
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, LargeBinary, Uuid, and_, any_, literal, select, text, update

from creditshare.access.service import Access, Caller, Claim
from creditshare.access.statements import answered_before, claim_parameters, read_parameters, require_key
from creditshare.audit.service import Audit, Entry, ExchangeDigests, Recorded
from creditshare.audit.statements import event_parameters
from creditshare.consents import rules as consent_rules
from creditshare.consents.rules import Consent
from creditshare.consents.service import Consents, open_seen_consent
from creditshare.crypto.digests import content_digest
from creditshare.crypto.sealing import length_prefixed
from creditshare.errors import FieldError, Malformed, Refused, Unavailable
from creditshare.ids import parse, spell, uuid7
from creditshare.keys.custody import SALT_BYTES
from creditshare.notices import rules as notice_rules
from creditshare.policy.service import Policy
from creditshare.records.history import (
    CurrentRow,
    EventRow,
    History,
    current_mac_bytes,
    histories_of,
    open_histories,
    seal_event,
)
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
from creditshare.records.statements import (
    BORROWER_COLUMNS,
    FREED_COLUMNS,
    HOLD_BORROWER,
    LOAD,
    READ,
    RECORD_COLUMNS,
    SUBMIT,
)
from creditshare.storage.engine import (
    Changed,
    Database,
    DriverConnection,
    ReadSession,
    WriteSession,
    read_row,
    write_whole,
)
from creditshare.subjects.service import (
    WRAPPING_LOCK,
    BorrowerToken,
    Subjects,
    SubjectState,
    advanced,
    check_token,
    next_event_time,
    sealed_row,
)
from creditshare.wire.leaf import LogEntry

TRIES: Final = 3
CREATED: Final = 201
LOAD_MANY: Final = text(
    re.sub(r"%\((\w+)\)s::([a-z]+\[\])", r"CAST(:\1 AS \2)", LOAD).replace("%(member_id)s", ":member_id")
)
"""``LOAD`` as sessions spell parameters."""
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
class Submitted:
    """A default that is taken in and committed: the answer's exact bytes and its log entry."""

    body: bytes
    log_entry: LogEntry


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

    def __init__(
        self,
        *,
        database: Database,
        access: Access,
        subjects: Subjects,
        consents: Consents,
        audit: Audit,
        policy: Policy,
        reference_key: bytes,
        skew_s: int,
    ) -> None:
        self._database = database
        self._access = access
        self._audit = audit
        self._skew = skew_s
        self._subjects = subjects
        self._consents = consents
        self._policy = policy
        self._reference_key = reference_key

    async def submit(
        self,
        caller: Caller,
        claim: Claim,
        token: BorrowerToken,
        report: Report,
        *,
        request_digest: str,
        present: Callable[[Held], bytes],
    ) -> Submitted | None:
        """Take in a default, if reason, basis, notice and jurisdiction allow it. Unique per account and role.

        One transaction of two statements, as a question's (``sharing.service``): all that the report rests on is read,
        pure rules decide, everything is sealed, and all is written or nothing; then it starts again. ``present`` makes
        the answer's bytes, to which the event commits. None: this was answered before under the same key.
        """
        for tried in range(TRIES):
            try:
                async with self._database.raw(transaction=True) as connection:
                    if tried:  # others report of this borrower at this moment: wait for them rather than lose again
                        await self._hold_borrower(connection, token)
                    return await self._submit(
                        connection, caller, claim, token, report, request_digest=request_digest, present=present
                    )
            except Changed:
                continue
        raise Unavailable("the borrower's data kept changing while the report was taken in")

    async def _hold_borrower(self, connection: DriverConnection, token: BorrowerToken) -> None:
        index = self._subjects.index_or_refusal(token)
        if not isinstance(index, Refused):
            await connection.execute(HOLD_BORROWER, {"index": index})

    async def _submit(
        self,
        connection: DriverConnection,
        caller: Caller,
        claim: Claim,
        token: BorrowerToken,
        report: Report,
        *,
        request_digest: str,
        present: Callable[[Held], bytes],
    ) -> Submitted | None:
        index, consent_id = self._subjects.index_or_refusal(token), _consent_named(report)
        account = self._account_index(caller.member_id, report)
        seen = await read_row(
            connection,
            READ,
            {
                **read_parameters(caller, claim),
                "index": b"" if isinstance(index, Refused) else index,
                "consent_id": consent_id,
                "account_index": account,
                "wrapping_lock": WRAPPING_LOCK,
            },
        )
        if seen is None:
            raise Refused("key_revoked")
        require_key(seen)
        caller = await self._access.confirmed(caller, (seen["key_seal"], seen["member_seal"]))
        if answered_before(seen, claim):
            return None
        if seen["member_status"] != "active":
            raise Refused("member_suspended")
        now = seen["now"].astimezone(UTC)
        visible_from = self._judge(report, caller.member.jurisdictions, now)
        if isinstance(index, Refused):
            raise index
        # A borrower is made in any case, so that it takes as long whether somebody named it before or not.
        made = self._subjects.make(uuid7(now), token, now=now)
        new = seen["subject_id"] is None
        state = made.state if new else self._subjects.opened(seen)
        if not new:
            check_token(state, seen["element"], token)
        consent = None if seen["consent_id"] is None else open_seen_consent(state.keys, seen, version=None)
        _require_consent(report, consent, caller.member_id, now)
        freed = self._freed(state, seen, caller.member_id, report)
        due = _Due(report, state.subject_id, CurrentRow(uuid7(now), caller.member_id, "live", visible_from, account))
        changed, row, held = _happens(due, state, now)
        body = present(held)
        event = self._audit.compose(
            self._entry("submit_record", changed, held.record_id),
            actor=caller.actor,
            exchange=ExchangeDigests(caller.rqh, caller.request_token, request_digest, content_digest(body)),
            now=now,
        )
        written = {
            **claim_parameters(caller, claim, status=CREATED, skew_s=self._skew),
            "subject_id": state.subject_id,
            "query_id": None,
            "answer": state.keys.box("idempotency").seal(claim.place, body),
            "new": int(new),
            "index": index,
            "key_version": token.key_version,
            "made_id": made.state.subject_id,
            "dek": made.dek,
            "element": made.element,
            **_named("b", BORROWER_COLUMNS, _borrower_row(changed, state.version)),
            **_named("d", RECORD_COLUMNS, row),
            **_named("f", FREED_COLUMNS, (state.subject_id, freed)),
            **event_parameters(event),
        }
        if await write_whole(connection, SUBMIT, written):  # last, because many transactions change a member's budget
            await self._subjects.introduced(connection, caller.member_id)
        return Submitted(body, event.log_entry)

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
        are as many for a hundred as for one, besides one for each named consent and each account reported before.
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
                consent_id = _consent_named(report)
                consent = await self._consents.for_report(session, state.keys, consent_id) if consent_id else None
                _require_consent(report, consent, member_id, now)
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
        new, listed, freed = dict[int, _Due](), set[UUID](), list[tuple[UUID, UUID]]()
        for number, one in due.items():
            earlier = taken.get(one.place)
            # What stands in this very list is not written yet, and is no default that ended.
            if earlier is not None and (
                earlier in listed or not await self._makes_way(session, states[one.subject_id], one, earlier)
            ):
                outcomes[number] = _already(earlier)
                continue
            if earlier is not None:
                freed.append((one.subject_id, earlier))
            taken[one.place], new[number] = one.row.record_id, one
            listed.add(one.row.record_id)
        if not new:
            return outcomes
        before = {one.subject_id: states[one.subject_id].version for one in new.values()}
        rows = []
        for number, one in new.items():
            states[one.subject_id], row, held = _happens(one, states[one.subject_id], now)
            rows.append(row)
            outcomes[number] = Recorded(held, self._entry("submit_record", states[one.subject_id], held.record_id))
        borrowers = [_borrower_row(states[subject_id], version) for subject_id, version in sorted(before.items())]
        # Nobody else takes a place meanwhile: the borrowers are locked, so all of it is written.
        await session.execute(
            LOAD_MANY,
            {
                "member_id": next(iter(new.values())).row.member_id,
                **_named("b", BORROWER_COLUMNS, _columns(borrowers, BORROWER_COLUMNS)),
                **_named("d", RECORD_COLUMNS, _columns(rows, RECORD_COLUMNS)),
                **_named("f", FREED_COLUMNS, _columns(freed, FREED_COLUMNS)),
            },
        )
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

    async def _makes_way(self, session: ReadSession, state: SubjectState, one: _Due, earlier: UUID) -> bool:
        """Whether an ended default of this account, this member's own, gives its place to a later one.

        A loan that was cured may default again; that is a new record with its own notice, and what ended before stays
        as it was.
        """
        history, _ = await self._own(session, state, one.row.member_id, earlier)
        return follows(_known(history), one.report)

    @staticmethod
    def _freed(state: SubjectState, seen: Mapping[str, Any], member_id: UUID, report: Report) -> UUID | None:
        """Return the record of this account that makes way for another, None where there is none; else refuse."""
        earlier: UUID | None = seen["earlier"]
        if earlier is None:
            return None
        history = _own_of(histories_of(state, seen), member_id, earlier)
        if not follows(_known(history), report):
            raise _already(earlier)
        return earlier

    def _account_index(self, member_id: UUID, report: Report) -> bytes:
        message = length_prefixed(b"account", member_id.bytes, report.account_ref.encode(), report.role.encode())
        return hmac.digest(self._reference_key, message, "sha256")

    async def _own(
        self, session: ReadSession, state: SubjectState, member_id: UUID, record_id: UUID
    ) -> tuple[History, bytes]:
        histories, salts = await self._all(session, state)
        return _own_of(histories, member_id, record_id), salts[record_id]

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


def _consent_named(report: Report) -> UUID | None:
    try:
        return parse("cns", report.provide_consent_id) if report.provide_consent_id is not None else None
    except Malformed:
        return None


def _require_consent(report: Report, consent: Consent | None, member_id: UUID, now: datetime) -> None:
    """A named consent to provide must hold; the basis ``consent`` must name one (征信业管理条例 art. 29)."""
    if report.provide_consent_id is None:
        return
    reason = consent_rules.refusal(consent, kind="provide", member_id=member_id, purpose=None, scopes=(), now=now)
    if reason is not None:
        raise Refused(reason)


def _happens(due: _Due, state: SubjectState, now: datetime) -> tuple[SubjectState, tuple[Any, ...], Held]:
    """Make a default the next event of its borrower: the borrower after it, the values of its row, the record."""
    record_id, salt = due.row.record_id, secrets.token_bytes(SALT_BYTES)
    at = next_event_time(state, now)
    # The clear columns are repeated inside the sealed event, so that an edit of them is noticed on reading.
    event = Happened("submitted", at, report=due.report, reason=current_mac_bytes(due.row).decode())
    sealed = seal_event(
        state.keys, salt, record_id, event_no=state.event_count + 1, version=state.version + 1, event=event
    )
    changed = advanced(state, event_macs=[sealed.mac], at=at)
    row = (
        state.subject_id,
        record_id,
        due.row.visible_from,
        due.row.account_index,
        salt,
        sealed.event_no,
        sealed.version,
        sealed.sealed,
        sealed.mac,
    )
    history = History(record_id, due.row.member_id, due.row.visible_from, ((changed.version, event),))
    return changed, row, _held(history, now)


def _borrower_row(state: SubjectState, version_before: int) -> tuple[Any, ...]:
    return (
        state.subject_id,
        version_before,
        state.keys.key_id,
        state.version,
        state.event_count,
        state.chain,
        state.last_event_at,
        sealed_row(state),
    )


def _named(name: str, columns: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """Return the parameters ``<name>_<column>`` of a source of rows."""
    return {f"{name}_{column}": value for column, value in zip(columns, values, strict=True)}


def _columns(rows: Sequence[tuple[Any, ...]], columns: Sequence[str]) -> list[list[Any]]:
    return [[row[number] for row in rows] for number in range(len(columns))]


def _own_of(histories: Sequence[History], member_id: UUID, record_id: UUID) -> History:
    for history in histories:
        if history.record_id == record_id and history.member_id == member_id:
            return history
    raise Refused("erased")


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
