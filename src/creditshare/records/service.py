"""Submitting, reading, advancing, correcting and withdrawing default records. The only door to them."""

import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, and_, select, update

from creditshare.access.service import Access, Caller, Claim
from creditshare.access.statements import (
    CLAIM_ONCE,
    answered_before,
    claim_parameters,
    in_each_others_way,
    read_parameters,
    require_key,
)
from creditshare.audit.service import Audit, Entry, ExchangeDigests, Recorded
from creditshare.audit.statements import event_parameters
from creditshare.consents import rules as consent_rules
from creditshare.consents.rules import Consent
from creditshare.consents.service import open_seen_consent
from creditshare.crypto.digests import content_digest
from creditshare.crypto.sealing import length_prefixed
from creditshare.errors import FieldError, IntegrityError, Malformed, Refused, Unavailable
from creditshare.ids import parse, spell, uuid7
from creditshare.keys.custody import SALT_BYTES, SubjectKeys
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
    BORROWER,
    FREED,
    HISTORIES,
    HOLD_BORROWER,
    LOAD,
    NAMED,
    NEW,
    OF_BORROWERS,
    READ,
    READ_MANY,
    RECORD,
    REPORTED,
    SUBMIT,
    SUBMITTED,
)
from creditshare.storage.engine import Changed, Database, ReadSession, WriteSession, read_rows, write_whole
from creditshare.storage.gathering import Gathering
from creditshare.storage.rowsets import Columns, columns_of, parameters_of
from creditshare.subjects.service import (
    WRAPPING_LOCK,
    BorrowerToken,
    Made,
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
class Reporting:
    """A report that a signed request hands in alone. ``present`` makes the answer, to which the event commits."""

    caller: Caller
    claim: Claim
    token: BorrowerToken
    report: Report
    request_digest: str
    present: Callable[[Held], bytes]


@dataclass(frozen=True, slots=True)
class Submitted:
    """A default that is taken in and committed: the answer's exact bytes and its log entry."""

    body: bytes
    log_entry: LogEntry


@dataclass(frozen=True, slots=True)
class Loaded:
    """A default of a file that is taken in: its record, and the keys of the borrower that it concerns."""

    record_id: UUID
    subject: SubjectKeys


@dataclass(frozen=True, slots=True)
class _Judged:
    """A submission that passed the rules that need no database."""

    index: bytes
    visible_from: datetime
    consent_id: UUID | None
    account_index: bytes


@dataclass(frozen=True, slots=True)
class _Due:
    """A submission that passed the rules: whose it is, and its clear columns."""

    report: Report
    subject_id: UUID
    row: CurrentRow


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A report on its way in: the keyed hash of its borrower, and its row of ``REPORTED``.

    ``hold``: it lost a race before.
    """

    reporting: Reporting
    index: bytes | Refused
    row: Mapping[str, Any]
    hold: bool = False

    def touches(self) -> tuple[Hashable, ...]:
        """What two reports of one transaction may not have in common: borrower, account, key, request."""
        return self.index, self.row["account_index"], *in_each_others_way(self.row)


class Records:
    """The only door to default records."""

    def __init__(
        self,
        *,
        database: Database,
        access: Access,
        subjects: Subjects,
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
        self._policy = policy
        self._reference_key = reference_key
        self._submissions: Gathering[_Waiting, Submitted | None] = Gathering(self._submit, apart=_Waiting.touches)

    async def submit(self, reporting: Reporting) -> Submitted | None:
        """Take in a default, if reason, basis, notice and jurisdiction allow it. Unique per account and role.

        One transaction of two statements, as a question's (``sharing.service``): all that the report rests on is read,
        pure rules decide, everything is sealed, and all is written or nothing; then it starts again. Reports that wait
        at the same time share the transaction. None: this was answered before under the same key.
        """
        index = self._subjects.index_or_refusal(reporting.token)
        row = {
            **read_parameters(reporting.caller, reporting.claim),
            "index": b"" if isinstance(index, Refused) else index,
            "consent_id": _consent_named(reporting.report),
            "account_index": self._account_index(reporting.caller.member_id, reporting.report),
        }
        waiting = _Waiting(reporting, index, row)
        for _ in range(TRIES):
            try:
                return await self._submissions.one(waiting)
            except Changed:
                waiting = replace(waiting, hold=True)
        raise Unavailable("the borrower's data kept changing while the report was taken in")

    async def _submit(self, group: Sequence[_Waiting]) -> list[Submitted | Exception | None]:
        """Take in reports in one transaction. A refusal found before anything is written is of its report alone."""
        outcomes: list[Submitted | Exception | None] = []
        written: list[dict[str, Any]] = []
        async with self._database.raw(transaction=True) as connection:
            # Others report of these borrowers at this moment: wait for them rather than lose again.
            for index in sorted(one.index for one in group if one.hold and isinstance(one.index, bytes)):
                await connection.execute(HOLD_BORROWER, {"index": index})
            rows = parameters_of("q", REPORTED, [one.row for one in group])
            found = await read_rows(connection, READ, {**rows, "wrapping_lock": WRAPPING_LOCK}, count=len(group))
            for one, seen in zip(group, found, strict=True):
                try:
                    prepared = await self._prepare(one, seen)
                except (Refused, IntegrityError) as error:
                    outcomes.append(error)
                    continue
                outcomes.append(prepared[0] if prepared else None)
                if prepared:
                    written.append(prepared[1])
            if written:
                written.sort(key=itemgetter("index"))  # all processes lock borrowers in one order
                named = await write_whole(connection, SUBMIT, {**parameters_of("q", SUBMITTED, written), **CLAIM_ONCE})
                # Last, because many transactions change a member's budget.
                for member_id, count in sorted(Counter(named or ()).items()):
                    await self._subjects.introduced(connection, member_id, count=count)
        return outcomes

    async def _prepare(
        self, waiting: _Waiting, seen: Mapping[str, Any] | None
    ) -> tuple[Submitted, dict[str, Any]] | None:
        """Decide and seal a report: what is answered, and its row of ``SUBMITTED``. None: it was answered before."""
        one, index = waiting.reporting, waiting.index
        claim, token, report = one.claim, one.token, one.report
        if seen is None:
            raise Refused("key_revoked")
        require_key(seen)
        caller = await self._access.confirmed(one.caller, (seen["key_seal"], seen["member_seal"]))
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
        row = CurrentRow(uuid7(now), caller.member_id, "live", visible_from, waiting.row["account_index"])
        changed, record, held = _happens(_Due(report, state.subject_id, row), state, now)
        body = one.present(held)
        event = self._audit.compose(
            self._entry("submit_record", changed, held.record_id),
            actor=caller.actor,
            exchange=ExchangeDigests(caller.rqh, caller.request_token, one.request_digest, content_digest(body)),
            now=now,
        )
        return Submitted(body, event.log_entry), {
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
            **_named("b", BORROWER, _borrower_row(changed, state.version)),
            **_named("d", RECORD, record),
            **_named("f", FREED, (state.subject_id, freed)),
            **event_parameters(event),
        }

    async def submit_many(
        self,
        session: WriteSession,
        member_id: UUID,
        admitted: tuple[str, ...],
        submissions: Sequence[Submission],
        *,
        keep: bool,
        now: datetime,
    ) -> list[Loaded | Refused]:
        """Take in default records by the rules of ``submit``; what came of each, in their order.

        A refusal concerns its own submission only: the others are taken in, in the same transaction. The statements are
        as many for a thousand as for one, two to four. Without ``keep`` nothing is written. Raises ``Changed`` where
        somebody else made one of these borrowers meanwhile: then the transaction is to be begun anew.
        """
        outcomes: dict[int, Loaded | Refused] = {}
        judged: dict[int, _Judged] = {}
        for number, one in enumerate(submissions):
            try:
                visible_from = self._judge(one.report, admitted, now)
                index = self._subjects.index(one.token)
            except Refused as refusal:
                outcomes[number] = refusal
                continue
            account = self._account_index(member_id, one.report)
            judged[number] = _Judged(index, visible_from, _consent_named(one.report), account)
        if judged:
            many = _Many(self._subjects, member_id, now)
            await many.read(session, submissions, judged)
            for number, passed in judged.items():
                try:
                    outcomes[number] = many.take(submissions[number].report, number, passed)
                except Refused as refusal:
                    outcomes[number] = refusal
            if keep:
                await many.write(session)
        return [outcomes[number] for number in range(len(submissions))]

    def _judge(self, report: Report, admitted: tuple[str, ...], now: datetime) -> datetime:
        """Return from when a report may be seen, or refuse it by the rules that need no database."""
        check(report, policy=self._policy, today=now.date())
        if jurisdiction(report.region) not in admitted:
            raise Refused("jurisdiction_not_admitted")
        return self._visible_from(report, now)

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

    @staticmethod
    def _freed(state: SubjectState, seen: Mapping[str, Any], member_id: UUID, report: Report) -> UUID | None:
        """Return the record of this account that makes way for another, None where there is none; else refuse."""
        earlier: UUID | None = seen["earlier"]
        if earlier is not None:
            _require_way(histories_of(state, seen), member_id, earlier, report)
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


class _Many:
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
        self, session: WriteSession, submissions: Sequence[Submission], judged: Mapping[int, _Judged]
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

    async def _read_what_they_rest_on(self, session: WriteSession, judged: Mapping[int, _Judged]) -> None:
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

    def take(self, report: Report, number: int, one: _Judged) -> Loaded:
        """Make a report the next event of its borrower, or refuse it."""
        state = self._borrowers[one.index]
        if isinstance(state, Refused):
            raise state
        seen = self._seen.get(number, _NOTHING)
        consent = None if seen["consent_id"] is None else open_seen_consent(state.keys, seen, version=None)
        _require_consent(report, consent, self._member_id, self._now)
        # What stands in this very file is no default that ended. An account's index tells no two borrowers apart.
        place = state.subject_id.bytes + one.account_index
        if place in self._listed:
            raise _already(self._listed[place])
        earlier = seen["earlier"]
        if earlier is not None:
            _require_way(self._histories[state.subject_id], self._member_id, earlier, report)
            self._freed.append((state.subject_id, earlier))
        record_id = uuid7(self._now)
        clear = CurrentRow(record_id, self._member_id, "live", one.visible_from, one.account_index)
        self._before.setdefault(one.index, state.version)
        self._borrowers[one.index], row, _ = _sealed(_Due(report, state.subject_id, clear), state, self._now)
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
            row = _borrower_row(state, version)
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


_NOTHING: Final[Mapping[str, Any]] = {"consent_id": None, "earlier": None}
"""What a report of a new borrower rests on."""


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
    changed, row, event = _sealed(due, state, now)
    history = History(due.row.record_id, due.row.member_id, due.row.visible_from, ((changed.version, event),))
    return changed, row, _held(history, now)


def _sealed(due: _Due, state: SubjectState, now: datetime) -> tuple[SubjectState, tuple[Any, ...], Happened]:
    """Seal a default as the next event of its borrower: the borrower after it, the values of its row, the event."""
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
    return changed, row, event


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


def _require_way(histories: Sequence[History], member_id: UUID, earlier: UUID, report: Report) -> None:
    """Refuse a second report of an account, unless its earlier default, this member's own, had ended before.

    A loan that was cured may default again; that is a new record with its own notice, and what ended before stays as it
    was.
    """
    if not follows(_known(_own_of(histories, member_id, earlier)), report):
        raise _already(earlier)


def _named(name: str, columns: Columns, values: Sequence[Any]) -> dict[str, Any]:
    """Return the values of the columns ``<name>_<column>`` of ``q``."""
    return {f"{name}_{column}": value for column, value in zip(columns, values, strict=True)}


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
