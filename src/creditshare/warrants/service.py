"""Asking for a warrant, approving it, ending it, and reading under it. The only door to warrants."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping

from creditshare.approvals.rules import Proposal
from creditshare.approvals.service import LIFE, Approvals, Kind, Outcome
from creditshare.audit.service import Entry, Recorded
from creditshare.consents.service import require_consent_of, subject_of_consent
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.rowseals import RowSeals
from creditshare.crypto.sealing import Place
from creditshare.errors import IntegrityError, Malformed, Refused
from creditshare.ids import Prefix, parse, spell, uuid7
from creditshare.keys.custody import SubjectKeys, seal_place
from creditshare.members.service import Member, Members
from creditshare.policy.service import Policy
from creditshare.records.rules import jurisdiction, shown
from creditshare.records.service import Records, subject_of_record, was_erased
from creditshare.sharing.answer import row_of
from creditshare.sharing.service import Asked, Sharing, require_question_about, subject_of_question
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.subjects.service import Subjects, SubjectState
from creditshare.warrants import rules
from creditshare.warrants.repository import TABLE, WarrantRows, warrant_of
from creditshare.warrants.rules import Scope, Terms, Warrant
from creditshare.wire.instants import spell_instant
from creditshare.wire.strict_json import canonical, decode_object

KIND: Final = "warrant"
STRICTEST: Final = "*"
SubjectOf = Callable[[ReadSession, UUID], Awaitable[UUID]]
RequireOf = Callable[[ReadSession, SubjectState, UUID], Awaitable[None]]
"""Refuses what is not this borrower's: the index by which one came to it can be bent."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A warrant with what it says, and who approved it so far."""

    warrant: Warrant
    terms: Terms
    approved_by: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Lender:
    """An institution by its public id and its name."""

    member_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a warrant gave to read. ``left_out``: some of it is of a jurisdiction that the regulator is not for."""

    rows: Sequence[Mapping[str, Any]]
    left_out: bool = False


class Warrants:
    """The only door to warrants."""

    def __init__(
        self,
        *,
        members: Members,
        subjects: Subjects,
        records: Records,
        sharing: Sharing,
        approvals: Approvals,
        policy: Policy,
        seals: RowSeals,
    ) -> None:
        self._members = members
        self._subjects = subjects
        self._records = records
        self._sharing = sharing
        self._approvals = approvals
        self._policy = policy
        self._rows = WarrantRows(seals)
        self._named: Mapping[Prefix, tuple[SubjectOf, RequireOf]] = {
            "rec": (subject_of_record, _require_record),
            "qry": (subject_of_question, _require_question),
            "cns": (subject_of_consent, _require_consent),
        }

    def kind(self) -> Kind:
        """Return how a warrant takes three people: a regulator asks, two operators approve."""
        return Kind(
            name=KIND,
            about="wrt",
            reference="warrant_id",
            proposers=frozenset({"regulator"}),
            approvers=frozenset({"operator"}),
            approvals=rules.APPROVALS,
            hold=self._lock,
            carry_out=self._carry_out,
            dropped=self._drop,
        )

    def check(self, terms: Terms, *, now: datetime) -> None:
        """Refuse what may not be asked for, naming every wrong field. Whether what it names is there is not told."""
        rules.check(terms, most_days=self.most_days(now=now), now=now)

    def most_days(self, *, now: datetime) -> int:
        """Return how many days ahead a warrant may end."""
        return self._number("warrant.max_days", now)

    async def request(
        self, session: WriteSession, regulator: Member, terms: Terms, *, now: datetime
    ) -> Recorded[Shown]:
        """Ask for a warrant. Nothing can be read by it before two operators approved it.

        ``not_found`` alike for an id that there is not, one that is not an id, and one of what was erased.
        """
        self.check(terms, now=now)
        if await self._rows.waiting(session, regulator.member_id, now=now) >= self._number("warrant.max_waiting", now):
            raise Refused("state_conflict", extra={"hint": "too many of your requests wait for an approval"})
        state = await self._borrower_of(session, terms.named)
        made = Warrant(
            uuid7(now), state.subject_id, regulator.member_id, "requested", now, now + LIFE, None, terms.ends_at
        )
        sealed = state.keys.box("warrant").seal(_place(made.warrant_id), _content(made, terms))
        await self._rows.add(session, made, sealed=sealed)
        proposed = {"digest": _digest(state.keys, made, terms)}
        await self._approvals.propose(session, KIND, made.warrant_id, proposed, by=regulator.member_id, now=now)
        return Recorded(Shown(made, terms, ()), _entry("request_warrant", state.keys, made.warrant_id))

    async def show(self, session: ReadSession, warrant_id: UUID, *, by: Member) -> Recorded[Shown]:
        """Return a warrant with what it says, to its regulator and to operators."""
        row = await self._visible(session, warrant_id, by)
        state, terms = await self._open(session, row)
        found = Shown(warrant_of(row), terms, await self._approved_by(session, warrant_id))
        return Recorded(found, _entry("show_warrant", state.keys, warrant_id))

    async def standing(self, session: ReadSession, warrant_id: UUID, *, by: Member) -> Warrant:
        """Return a warrant without what it says, as lists show it; also where its borrower is erased."""
        return warrant_of(await self._visible(session, warrant_id, by))

    async def listed(self, session: ReadSession, *, by: Member, before: UUID | None, limit: int) -> list[Warrant]:
        """Return warrants, newest first, without what they say: a regulator's own, for operators all."""
        own = None if by.role == "operator" else by.member_id
        return [
            warrant_of(row) for row in await self._rows.listed(session, regulator_id=own, before=before, limit=limit)
        ]

    async def approve(
        self, session: WriteSession, warrant_id: UUID, *, regulator: str, repeated: Terms, by: UUID, now: datetime
    ) -> Recorded[Shown]:
        """Approve a request, repeating who asked for what; the second operator's approval brings it into force."""
        row = await self._lock(session, warrant_id)
        rules.require_live(warrant_of(row), now)
        state, terms = await self._open(session, row)
        rules.require_repeated(terms, repeated, same_regulator=regulator == spell("mem", row["regulator_id"]))
        proposed = {"digest": _digest(state.keys, warrant_of(row), terms)}
        done = await self._approvals.approve(session, KIND, warrant_id, proposed, by=by, now=now)
        approved_by = done.proposal.approved_by
        entry = _entry("approve_warrant", state.keys, warrant_id, approvals=len(approved_by))
        return Recorded(Shown(warrant_of(await self._lock(session, warrant_id)), terms, approved_by), entry)

    async def revoke(self, session: WriteSession, warrant_id: UUID, *, reason: str, now: datetime) -> Recorded[Warrant]:
        """End a warrant, or what waits to be one, at once: with the very next reading."""
        row = await self._lock(session, warrant_id)
        rules.require_live(warrant_of(row), now)
        changed = await self._rows.change(session, row, state="revoked")
        await self._approvals.end(session, warrant_id, now=now)
        entry = Entry(
            "revoke_warrant",
            subject=await self._keys_if_any(session, row["subject_id"]),
            references={"warrant_id": spell("wrt", warrant_id)},
            details={"reason": reason},
        )
        return Recorded(warrant_of(changed), entry)

    async def end_all_of(self, session: WriteSession, member_id: UUID, now: datetime) -> None:
        """End all of a regulator that may not act any more; they do not come back with its rights."""
        for row in await self._rows.lock_live(session, member_id):
            await self._rows.change(session, row, state="revoked")
            await self._approvals.end(session, row["warrant_id"], now=now)

    async def records(self, session: ReadSession, warrant_id: UUID, *, by: Member, now: datetime) -> Recorded[Reading]:
        """Return the borrower's records as a lender would be told them now, with amounts and who furnished them."""
        state = await self._in_force(session, warrant_id, "records", by=by, now=now)
        names = await self._members.names(session)
        told = [
            (history, current)
            for history in await self._records.histories(session, state)
            if (current := history.state()) is not None and shown(current, visible_from=history.visible_from, at=now)
        ]
        readable = [one for one in told if jurisdiction(one[1].report.region) in by.jurisdictions]
        rows = [
            row_of(current, now=now, amounts=True)
            | {
                "record_id": spell("rec", history.record_id),
                "lender": _lender(names, history.member_id),
            }
            for history, current in readable
        ]
        entry = _entry("show_warrant_records", state.keys, warrant_id, rows=len(rows))
        return Recorded(Reading(rows, left_out=len(readable) < len(told)), entry)

    async def inquiries(
        self, session: ReadSession, warrant_id: UUID, *, by: Member, now: datetime
    ) -> Recorded[Reading]:
        """Return who asked about the borrower, when and for which purpose; not what was told."""
        state = await self._in_force(session, warrant_id, "inquiries", by=by, now=now)
        names = await self._members.names(session)
        asked = await self._sharing.questions_about(session, state)
        rows = [_inquiry(one, names) for one in asked]
        return Recorded(Reading(rows), _entry("show_warrant_inquiries", state.keys, warrant_id, rows=len(rows)))

    async def of_borrower(self, session: ReadSession, state: SubjectState) -> list[Shown]:
        """Return all warrants that there were about a borrower, oldest first: for its own report."""
        found = []
        for row in await self._rows.about(session, state.subject_id):
            approved_by = await self._approved_by(session, row["warrant_id"])
            found.append(Shown(warrant_of(row), _terms(state.keys, row), approved_by))
        return found

    async def _in_force(
        self, session: ReadSession, warrant_id: UUID, scope: Scope, *, by: Member, now: datetime
    ) -> SubjectState:
        row = await self._visible(session, warrant_id, by)
        if row["regulator_id"] != by.member_id:  # an operator sees that there is one and reads nothing by it
            raise Refused("not_found")
        state, terms = await self._open(session, row)
        rules.require_in_force(warrant_of(row), terms.scopes, scope, now)
        return state

    async def _visible(self, session: ReadSession, warrant_id: UUID, by: Member) -> RowMapping:
        """Return a row for who may know of it. Another regulator's is not found, even where it is erased."""
        row = await self._rows.find(session, warrant_id)
        if row is None or not (by.role == "operator" or row["regulator_id"] == by.member_id):
            raise Refused("not_found")
        return row

    async def _lock(self, session: WriteSession, warrant_id: UUID) -> RowMapping:
        row = await self._rows.lock(session, warrant_id)
        if row is None:
            raise Refused("not_found")
        return row

    async def _open(self, session: ReadSession, row: RowMapping) -> tuple[SubjectState, Terms]:
        state = await self._subjects.read(session, row["subject_id"])
        return state, _terms(state.keys, row)

    async def _keys_if_any(self, session: ReadSession, subject_id: UUID) -> SubjectKeys | None:
        """Return a borrower's keys, None of one that is erased: a warrant about it can still be ended."""
        try:
            return (await self._subjects.read(session, subject_id)).keys
        except Refused:
            return None

    async def _borrower_of(self, session: ReadSession, named: str) -> SubjectState:
        for prefix, (subject_of, require_of) in self._named.items():
            try:
                object_id = parse(prefix, named)
                state = await self._subjects.read(session, await subject_of(session, object_id))
                await require_of(session, state, object_id)
            except (Malformed, Refused):  # that there was a borrower once is nobody's to learn by trying ids
                continue
            return state
        raise Refused("not_found")

    async def _approved_by(self, session: ReadSession, warrant_id: UUID) -> tuple[UUID, ...]:
        return (await self._approvals.newest(session, warrant_id, KIND)).approved_by

    async def _carry_out(self, session: WriteSession, proposal: Proposal, by: UUID, now: datetime) -> Outcome:
        del by
        row = await self._lock(session, proposal.about)
        rules.require_live(warrant_of(row), now)
        await self._rows.change(session, row, state="active", active_from=now)
        return Outcome()

    async def _drop(self, session: WriteSession, proposal: Proposal, now: datetime) -> None:
        del now
        row = await self._lock(session, proposal.about)
        await self._rows.change(session, row, state=proposal.decision)

    def _number(self, name: str, now: datetime) -> int:
        return self._policy.number(STRICTEST, name, now.date())


async def _require_record(session: ReadSession, state: SubjectState, record_id: UUID) -> None:
    """Refuse a record that was erased; one that is not this borrower's raises ``IntegrityError``."""
    if await was_erased(session, state, record_id):
        raise Refused("not_found")


async def _require_question(session: ReadSession, state: SubjectState, query_id: UUID) -> None:
    await require_question_about(session, state.keys, query_id)


async def _require_consent(session: ReadSession, state: SubjectState, consent_id: UUID) -> None:
    await require_consent_of(session, state.keys, consent_id)


def _inquiry(asked: Asked, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "query_id": spell("qry", asked.query_id),
        "lender": _lender(names, asked.member_id),
        "asked_at": asked.told_at,
        "purpose": asked.purpose,
        "scopes": asked.scopes,
    }


def _lender(names: Mapping[str, str], member_id: UUID) -> Lender:
    named = spell("mem", member_id)
    return Lender(named, names.get(named, ""))


def _place(warrant_id: UUID) -> Place:
    return seal_place(TABLE, "sealed", warrant_id)


def _content(made: Warrant, terms: Terms) -> bytes:
    """Return what is sealed: the terms, and whose they are, so that they speak for nobody else."""
    return canonical(
        {
            "ends_at": spell_instant(terms.ends_at, timespec="milliseconds"),
            "legal_basis": terms.legal_basis,
            "named": terms.named,
            "reason": terms.reason,
            "reference": terms.reference,
            "regulator_id": str(made.regulator_id),
            "scopes": list(terms.scopes),
        }
    )


def _digest(keys: SubjectKeys, made: Warrant, terms: Terms) -> str:
    """Return what the proposal keeps of the terms: under the borrower's key, because they are soon guessed."""
    return b64url_encode(keys.mac(b"warrant", made.warrant_id.bytes, _content(made, terms)))


def _terms(keys: SubjectKeys, row: RowMapping) -> Terms:
    said = decode_object(keys.box("warrant").open(_place(row["warrant_id"]), row["sealed"]))
    ends_at = datetime.fromisoformat(str(said["ends_at"]))
    if said["regulator_id"] != str(row["regulator_id"]) or ends_at != row["ends_at"]:
        raise IntegrityError("a warrant was asked for by another regulator, or until another time")
    scopes = said["scopes"]
    if not isinstance(scopes, list):
        raise IntegrityError("a warrant's scopes are no list")
    texts = {name: str(said[name]) for name in ("named", "legal_basis", "reference", "reason")}
    return Terms(**texts, scopes=tuple(map(str, scopes)), ends_at=ends_at)


def _entry(action: str, keys: SubjectKeys, warrant_id: UUID, **details: int) -> Entry:
    """Return what the log says. The warrant's id also stands where it outlasts the borrower: it names nobody."""
    named = spell("wrt", warrant_id)
    return Entry(action, subject=keys, references={"warrant_id": named}, details={"warrant": named, **details})
