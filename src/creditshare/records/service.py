"""Submitting, reading, advancing, correcting and withdrawing default records. The only door to them."""

import hmac
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, and_, case, cast, func, select, update

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
from creditshare.consents.service import open_seen_consent
from creditshare.crypto.digests import content_digest
from creditshare.crypto.sealing import length_prefixed
from creditshare.errors import FieldError, IntegrityError, Refused, Unavailable
from creditshare.ids import spell, uuid7
from creditshare.members import standing
from creditshare.notices import rules as notice_rules
from creditshare.policy.service import Policy
from creditshare.records.history import (
    ERASED,
    CurrentRow,
    EventRow,
    History,
    check_chain,
    histories_of,
    open_histories,
    said_in,
    seal_event,
)
from creditshare.records.intake import (
    Due,
    Held,
    as_held,
    borrower_row,
    consent_named,
    happens,
    own_of,
    require_consent,
    require_way,
    state_of,
)
from creditshare.records.loading import Judged, Load, Loaded, Submission
from creditshare.records.models import record_current, record_event, record_lookup, record_secret
from creditshare.records.rules import (
    Happened,
    LifeEvent,
    Report,
    check,
    check_correction,
    check_step,
    jurisdiction,
)
from creditshare.records.statements import (
    BORROWER,
    FREED,
    HOLD_BORROWER,
    READ,
    RECORD,
    REPORTED,
    SUBMIT,
    SUBMITTED,
)
from creditshare.storage.engine import Changed, Database, ReadSession, WriteSession, read_rows, write_whole
from creditshare.storage.gathering import Gathering
from creditshare.storage.paging import page_of
from creditshare.storage.rowsets import Columns, parameters_of
from creditshare.subjects.service import (
    WRAPPING_LOCK,
    BorrowerToken,
    Subjects,
    SubjectState,
    check_token,
    next_event_time,
)
from creditshare.wire.leaf import LogEntry

TRIES: Final = 3
CREATED: Final = 201


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
            "consent_id": consent_named(reporting.report),
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
        for status in (caller.member.status, seen["member_status"]):  # the latter, unsealed, can only refuse more
            standing.require(status, "report")
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
        require_consent(report, consent, caller.member_id, now)
        freed = self._freed(state, seen, caller.member_id, report)
        row = CurrentRow(uuid7(now), caller.member_id, "live", visible_from, waiting.row["account_index"])
        changed, record, held = happens(Due(report, state.subject_id, row), state, now)
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
            **_named("b", BORROWER, borrower_row(changed, state.version)),
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
        judged: dict[int, Judged] = {}
        for number, one in enumerate(submissions):
            try:
                visible_from = self._judge(one.report, admitted, now)
                index = self._subjects.index(one.token)
            except Refused as refusal:
                outcomes[number] = refusal
                continue
            account = self._account_index(member_id, one.report)
            judged[number] = Judged(index, visible_from, consent_named(one.report), account)
        if judged:
            many = Load(self._subjects, member_id, now)
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
        return Recorded(as_held(history, now), self._entry("show_record", state, record_id))

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
            check_step(state_of(history), kind, on)
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
            current = state_of(history)
            corrected = replace(current.report, **changes)
            check_correction(current, corrected, policy=self._policy, today=now.date())
            return Happened("corrected", at, report=corrected, reason=reason)

        return await self._change(session, member_id, record_id, event, action="correct_record", now=now)

    async def withdraw(
        self, session: WriteSession, member_id: UUID, record_id: UUID, *, reason: str, now: datetime
    ) -> Recorded[Held]:
        """Take a record back: it appears in no answer any more, of whatever date."""

        def event(history: History, at: datetime) -> Happened:
            if state_of(history).withdrawn:
                raise Refused("state_conflict")
            return Happened("withdrawn", at, reason=reason)

        return await self._change(session, member_id, record_id, event, action="withdraw_record", now=now)

    async def histories(self, session: ReadSession, state: SubjectState) -> list[History]:
        """Return all records of a borrower, opened and checked."""
        histories, _ = await self._all(session, state)
        return histories

    async def own_in_full(self, session: ReadSession, state: SubjectState, member_id: UUID) -> list[dict[str, Any]]:
        """Return a member's own records of a borrower with all that it ever said of them."""
        own = [history for history in await self.histories(session, state) if history.member_id == member_id]
        return [
            {
                "record_id": spell("rec", history.record_id),
                "visible_from": history.visible_from.isoformat(),
                "events": said_in(history),
            }
            for history in own
        ]

    async def _change(  # type: ignore[no-untyped-def]
        self, session: WriteSession, member_id: UUID, record_id: UUID, make_event, *, action: str, now: datetime
    ) -> Recorded[Held]:
        state = await self._subjects.lock(session, await _subject_of_own(session, member_id, record_id))
        history, salt = await self._own(session, state, member_id, record_id)
        event = make_event(history, next_event_time(state, now))
        state = await self._append(session, state, salt, record_id, event)
        changed = replace(history, events=(*history.events, (state.version, event)))
        held = as_held(changed, now)
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
            require_way(histories_of(state, seen), member_id, earlier, report)
        return earlier

    def _account_index(self, member_id: UUID, report: Report) -> bytes:
        message = length_prefixed(b"account", member_id.bytes, report.account_ref.encode(), report.role.encode())
        return hmac.digest(self._reference_key, message, "sha256")

    async def _own(
        self, session: ReadSession, state: SubjectState, member_id: UUID, record_id: UUID
    ) -> tuple[History, bytes]:
        histories, salts = await self._all(session, state)
        return own_of(histories, member_id, record_id), salts[record_id]

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


async def borrowers_of_records(session: ReadSession, member_id: UUID) -> set[UUID]:
    """Return all borrowers that a member has records of."""
    found = await session.execute(select(record_current.c.subject_id).where(record_current.c.member_id == member_id))
    return set(found.scalars())


async def live_records(session: ReadSession, member_id: UUID) -> int:
    """Return how many of a member's records tell of a default that has not ended."""
    live = select(func.count()).where(record_current.c.member_id == member_id, record_current.c.lifecycle == "live")
    return int((await session.execute(live)).scalar_one())


async def borrowers_reported(session: ReadSession, member_id: UUID) -> int:
    """Return of how many borrowers a member has records that it has not taken back."""
    kept = select(func.count(func.distinct(record_current.c.subject_id))).where(
        record_current.c.member_id == member_id, record_current.c.lifecycle.in_(("live", "ended"))
    )
    return int((await session.execute(kept)).scalar_one())


async def sample_of_records(session: ReadSession, member_id: UUID, *, day: date, limit: int) -> list[tuple[UUID, UUID]]:
    """Return borrower and id of some of a member's records, others on each day, the same within one."""
    drawn = func.md5(cast(record_current.c.record_id, Text) + day.isoformat())
    found = await session.execute(
        select(record_current.c.subject_id, record_current.c.record_id)
        .where(record_current.c.member_id == member_id, record_current.c.lifecycle != "erased")
        .order_by(drawn)
        .limit(limit)
    )
    return [(row.subject_id, row.record_id) for row in found]


async def subject_of_record(session: ReadSession, record_id: UUID) -> UUID:
    """Return the borrower that a record belongs to; ``not_found`` for an unknown one."""
    found = await session.execute(select(record_lookup.c.subject_id).where(record_lookup.c.record_id == record_id))
    subject_id = found.scalar_one_or_none()
    if subject_id is None:
        raise Refused("not_found")
    return UUID(str(subject_id))


async def was_erased(session: ReadSession, state: SubjectState, record_id: UUID) -> bool:
    """Return whether a borrower's record was erased; ``IntegrityError`` if it is none of this borrower's.

    An id leads to a borrower by an index that whoever administers the database can bend for a moment. Whose it is only
    the borrower's own chain of events says.
    """
    names = [getattr(record_event.c, one.name) for one in fields(EventRow)]
    found = await session.execute(
        select(*names).where(record_event.c.subject_id == state.subject_id).order_by(record_event.c.event_no)
    )
    events = [EventRow(row.event_no, row.record_id, row.version, bytes(row.sealed), bytes(row.mac)) for row in found]
    check_chain(state, events)
    own = [event for event in events if event.record_id == record_id]
    if not own:
        raise IntegrityError("an id leads to a borrower that has no such record")
    return own[-1].sealed == ERASED


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


async def ids_of_records(session: ReadSession, *, after: UUID | None, limit: int) -> list[tuple[UUID, UUID]]:
    """Return the next records in the order of their ids, each with its borrower."""
    ids = record_lookup.c
    return [tuple(row) for row in await page_of(session, ids.record_id, ids.subject_id, after=after, limit=limit)]


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


def _named(name: str, columns: Columns, values: Sequence[Any]) -> dict[str, Any]:
    """Return the values of the columns ``<name>_<column>`` of ``q``."""
    return {f"{name}_{column}": value for column, value in zip(columns, values, strict=True)}


async def records_by_lifecycle(session: ReadSession, member_id: UUID) -> dict[str, int]:
    """Return how many records a member has in each lifecycle, and how many of the live ones are not visible yet.

    Read from what stands in clear; nothing is opened.
    """
    pending = and_(record_current.c.lifecycle == "live", record_current.c.visible_from > func.creditshare_now())
    name = case((pending, "pending"), else_=record_current.c.lifecycle).label("name")
    found = await session.execute(
        select(name, func.count().label("records")).where(record_current.c.member_id == member_id).group_by(name)
    )
    return {row.name: row.records for row in found}
