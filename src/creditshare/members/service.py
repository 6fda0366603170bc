"""Membership: proposing, approving, suspending, two people for what cannot be undone; and the first operators."""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast, get_args
from uuid import UUID

from sqlalchemy import RowMapping, func, select

from creditshare.approvals.rules import Proposal
from creditshare.approvals.service import LIFE, Approvals, Kind, Outcome
from creditshare.audit.service import Recorded
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jwe import RecipientKey
from creditshare.crypto.jws import VerifyingKey
from creditshare.crypto.rowseals import RowSeals
from creditshare.crypto.sealing import Box, Place
from creditshare.errors import FieldError, Malformed, Refused
from creditshare.ids import parse, spell, uuid7
from creditshare.members import rules, standing
from creditshare.members.keys import Key, MemberKeys, hash_code, insert_key, membership_entry, require_signing
from creditshare.members.models import member, member_key
from creditshare.members.repository import SealedRows
from creditshare.members.tiers import Tier
from creditshare.settings import Environment
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.storage.paging import page_of
from creditshare.wire.instants import spell_instant
from creditshare.wire.strict_json import canonical, decode_object

MemberRole = Literal["lender", "regulator", "operator"]
ProposalAction = Literal[
    "admission", "quotas", "lift_suspension", "recovery", "jurisdictions", "lift_limitation", "termination", "key"
]
Restriction = Literal["limitation", "suspension"]
Stopped = Callable[[WriteSession, UUID, datetime], Awaitable[None]]
"""Ends, in a higher concept, what a member that was suspended or terminated had in hand."""

CODE_LIFE: Final = timedelta(hours=72)
CODE_BYTES: Final = 20  # 160 bits; signing.md asks for at least 128
VERSION_BYTES: Final = 12
QUOTAS: Final = ("evaluations_per_day", "queries_per_day", "reports_per_day")
ENROLLING: Final = frozenset[ProposalAction]({"admission", "recovery"})
"""What brings a one-time enrolment code."""
LIFTING: Final[tuple[ProposalAction, ...]] = ("lift_limitation", "lift_suspension")
CHANGES_STATE: Final[Mapping[ProposalAction, standing.Change]] = {
    "admission": "admission",
    "lift_limitation": "lift_limitation",
    "lift_suspension": "lift_suspension",
    "termination": "termination",
}
FOUR_EYES: Final = 2
OPERATORS: Final = frozenset({"operator"})


@dataclass(frozen=True, slots=True)
class Member:
    """An institution as operators see it. A quota of None is the service's default."""

    member_id: UUID
    name: str
    role: MemberRole
    region: str
    jurisdictions: tuple[str, ...]
    status: str
    evaluations_per_day: int
    queries_per_day: int | None = None
    reports_per_day: int | None = None
    hand_back_kid: str | None = None
    """Of the key that its data are to be encrypted to when its membership ends."""
    tier: str = "full"

    def oversees(self, *roles: MemberRole) -> bool:
        """Whether it may look at or act on what is another member's: it has one of these roles and is active."""
        return self.role in roles and standing.may(self.status, "oversee")


@dataclass(frozen=True, slots=True)
class Application:
    """What an operator says about an institution that it proposes."""

    name: str
    role: MemberRole
    region: str
    jurisdictions: tuple[str, ...]
    key_thumbprint: str | None
    licence_no: str | None
    contacts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Particulars:
    """What an operator said of an institution that decides nothing: its licence, and whom to turn to."""

    licence_no: str | None
    contacts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Examination:
    """What is examined of an applicant, or by which file it can be found; by whom, since when."""

    note: str
    by: UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """What an approval brought: the member, and a one-time enrolment code where one was due."""

    member: Member
    enrolment_code: str | None


class Members:
    """Membership as named actions. Four eyes compares member ids; never the self-declared ``sub``."""

    def __init__(
        self,
        *,
        environment: Environment,
        service_box: Box,
        default_evaluations_per_day: int,
        seals: RowSeals,
        keys: MemberKeys,
        approvals: Approvals,
    ) -> None:
        self._keys = keys
        self._approvals = approvals
        self._production = environment == "production"
        self._box = service_box
        self._evaluations_per_day = default_evaluations_per_day
        self.rows = SealedRows(seals)
        self._when_stopped: list[Stopped] = []

    def when_stopped(self, end: Stopped) -> None:
        """Have this done in the transaction that suspends or terminates a member; called once, when all is wired."""
        self._when_stopped.append(end)

    async def _stop(self, session: WriteSession, member_id: UUID, now: datetime) -> None:
        for end in self._when_stopped:
            await end(session, member_id, now)

    async def get(self, session: ReadSession, member_id: UUID) -> Member:
        """Return a member; ``not_found`` if there is none."""
        row = await self.rows.find(session, "member", member_id)
        if row is None:
            raise Refused("not_found")
        return member_of(row)

    async def version(self, session: ReadSession, member_id: UUID, *, now: datetime) -> str:
        """Return the version of a member with the proposals that are open; it changes with each of them."""
        row = await self.rows.find(session, "member", member_id)
        if row is None:
            raise Refused("not_found")
        return _version(row, await self.open_proposals(session, member_id, now=now))

    async def lock_version(self, session: WriteSession, member_id: UUID, *, now: datetime) -> str:
        """Return ``version`` and let nobody else change the member or its proposals until this transaction ends."""
        row = await self._lock(session, member_id)
        return _version(row, await self.open_proposals(session, member_id, now=now))

    async def open_proposals(self, session: ReadSession, member_id: UUID, *, now: datetime) -> list[Proposal]:
        """Return the proposals about a member that a second person may approve, newest first."""
        return await self._approvals.open(session, about=member_id, now=now)

    async def _lock(self, session: WriteSession, member_id: UUID) -> RowMapping:
        row = await self.rows.lock(session, "member", member_id)
        if row is None:
            raise Refused("not_found")
        return row

    async def list_all(self, session: ReadSession, *, after: UUID | None, limit: int) -> list[Member]:
        """Return members in order of their ids."""
        query = select(member).order_by(member.c.member_id).limit(limit)
        if after is not None:
            query = query.where(member.c.member_id > after)
        return [member_of(row) for row in (await session.execute(query)).mappings()]

    async def regions(self, session: ReadSession) -> dict[UUID, str]:
        """Return where each member is, whatever its state; ``IntegrityError`` if a row does not match its seal."""
        rows = (await session.execute(select(member))).mappings()
        return {row["member_id"]: self.rows.checked("member", row)["region"] for row in rows}

    async def names(self, session: ReadSession, of: Collection[str] | None = None) -> dict[str, str]:
        """Return members' names by their public ids, whatever their state; of all where none are named.

        One whose row does not match its seal is left out: somebody else gave it that name.
        """
        query = select(member)
        if of is not None:
            query = query.where(member.c.member_id.in_([parse("mem", one) for one in of]))
        rows = (await session.execute(query)).mappings()
        return {spell("mem", row["member_id"]): row["name"] for row in rows if self.rows.holds("member", row)}

    async def apply(
        self, session: WriteSession, by: UUID, application: Application, *, bootstrap_key: bool, now: datetime
    ) -> Recorded[Member]:
        """Propose an institution.

        In production bootstrap keys may admit operators only, and nobody a lender while they live.
        """
        if (
            self._production
            and application.role != "operator"
            and (bootstrap_key or await self._bootstrap_lives(session, now))
        ):
            raise Refused("state_conflict", extra={"hint": "admit two operators first; bootstrap keys must have ended"})
        self._require_thumbprint(application.key_thumbprint)
        member_id = uuid7(now)
        contacts = self._box.seal(_place_of_contacts(member_id), canonical(dict(application.contacts)))
        await self.rows.add(
            session,
            "member",
            {
                "member_id": member_id,
                "name": application.name,
                "role": application.role,
                "region": application.region,
                "jurisdictions": list(application.jurisdictions),
                "status": "applicant",
                "key_thumbprint": application.key_thumbprint,
                "licence_no": application.licence_no,
                "contacts": contacts,
                "evaluations_per_day": self._evaluations_per_day,
            },
        )
        terms = {"key_thumbprint": application.key_thumbprint} if application.key_thumbprint else {}
        await self._approvals.propose(session, "admission", member_id, terms, by=by, now=now)
        return Recorded(await self.get(session, member_id), membership_entry("propose_member", member_id))

    async def propose(
        self,
        session: WriteSession,
        member_id: UUID,
        action: ProposalAction,
        terms: Mapping[str, Any],
        *,
        by: UUID,
        now: datetime,
    ) -> Recorded[Proposal]:
        """Propose a change that needs a second person."""
        current = member_of(await self._lock(session, member_id))
        self._require_fitting(action, current)
        if action in {"admission", "recovery"}:
            self._require_thumbprint(terms.get("key_thumbprint"))
        proposal = await self._approvals.propose(session, action, member_id, terms, by=by, now=now)
        # Budgets have a resource of their own; the event is named like the operation that was called.
        operation = "propose_quotas" if action == "quotas" else "propose_change"
        return Recorded(proposal, membership_entry(operation, member_id, proposal=action))

    async def add_key(
        self,
        session: WriteSession,
        owner: Member,
        *,
        jwk: Mapping[str, Any],
        proof: str,
        by_kid: str,
        bootstrap_key: bool,
        issuer: str,
        now: datetime,
        business_now: datetime,
    ) -> Recorded[Key]:
        """Register a further key of a member; of who oversees others it is pending until another person approves it.

        ``now`` is the machine's clock, by which keys live; ``business_now`` that of proposals.
        """
        pending = owner.role in standing.OVERSEEING
        added = await self._keys.add_key(
            session,
            owner.member_id,
            jwk=jwk,
            proof=proof,
            by_kid=by_kid,
            bootstrap_key=bootstrap_key,
            issuer=issuer,
            now=now,
            pending_until=now + LIFE if pending else None,
        )
        if pending:
            terms = {"key_thumbprint": added.value.kid}
            await self._approvals.propose(session, "key", owner.member_id, terms, by=owner.member_id, now=business_now)
        return added

    async def approve(
        self,
        session: WriteSession,
        member_id: UUID,
        *,
        action: ProposalAction,
        terms: Mapping[str, Any],
        by: UUID,
        now: datetime,
        only: UUID | None = None,
    ) -> Recorded[Approval]:
        """Decide an open proposal of this kind as the second person, and carry it out; others of the kind end.

        The approval repeats the terms: it names what was agreed, and cannot be won for one thing and used for another.
        ``only`` names the proposal that was shown; no terms then mean that it has none.
        """
        repeated = self._production or action != "admission" or only is not None
        done = await self._approvals.approve(
            session, action, member_id, terms, by=by, now=now, repeated=repeated, only=only
        )
        entry = membership_entry("approve_member", member_id, proposal=action, **done.outcome.details)
        return Recorded(Approval(await self.get(session, member_id), done.outcome.secret), entry)

    def kinds(self) -> list[Kind]:
        """Return what takes two people about a member."""
        return [
            Kind(
                name=action,
                about="mem",
                reference="member_id",
                proposers=standing.OVERSEEING if action == "key" else OPERATORS,
                approvers=OPERATORS,
                hold=self._lock,
                carry_out=self._carry_out,
                dropped=self._drop_key if action == "key" else None,
                alone=action == "key",  # one key says nothing of another
            )
            for action in get_args(ProposalAction)
        ]

    async def role_of(self, session: ReadSession, member_id: UUID) -> str | None:
        """Return the role of a member that may act about others now, or None."""
        row = await self.rows.find(session, "member", member_id)
        return None if row is None or not standing.may(row["status"], "oversee") else str(row["role"])

    async def _drop_key(self, session: WriteSession, proposal: Proposal, now: datetime) -> None:
        await self._keys.drop_pending(session, proposal.about, proposal.terms["key_thumbprint"], now=now)

    async def _carry_out(self, session: WriteSession, proposal: Proposal, by: UUID, now: datetime) -> Outcome:
        member_id, terms = proposal.about, proposal.terms
        action: ProposalAction = cast("ProposalAction", proposal.kind)
        row = await self._lock(session, member_id)
        follows = self._require_fitting(action, member_of(row))
        changes: dict[str, Any] = {} if follows is None else {"status": follows}
        if action == "termination":
            return await self._terminate(session, row, by=by, now=now)
        if action in {"admission", "recovery"}:
            changes |= {"key_thumbprint": terms.get("key_thumbprint")}
        if action == "quotas":
            changes |= {name: terms[name] for name in QUOTAS if name in terms}
        if action == "jurisdictions":
            changes |= {"jurisdictions": terms["jurisdictions"]}
        if action == "key":
            await self._keys.approve_pending(session, member_id, terms["key_thumbprint"])
            return Outcome()
        await self.rows.change(session, "member", row, **changes)
        return Outcome(await self._issue_code(session, member_id, now=now) if action in ENROLLING else None)

    def _require_fitting(self, action: ProposalAction, current: Member) -> standing.Status | None:
        """Refuse what does not begin from a member's state, when proposed and when approved; return what follows."""
        change = CHANGES_STATE.get(action)
        if change is not None:
            return standing.after(change, current.status, examined=self._production)
        if current.status not in (standing.ENROLS if action == "recovery" else standing.LASTS):
            raise Refused("state_conflict")
        return None

    async def _terminate(self, session: WriteSession, row: RowMapping, *, by: UUID, now: datetime) -> Outcome:
        """End a membership for good: its keys at once, what waits about it, its rights. Its records stay."""
        member_id: UUID = row["member_id"]
        if member_id == by:
            raise Refused("role_forbidden", extra={"hint": "another operator must approve the end of your membership"})
        if row["role"] == "operator" and await self._others_who_oversee(session, member_id) < FOUR_EYES:
            raise Refused("state_conflict", extra={"hint": "two active operators must be left; admit another first"})
        await self.rows.change(session, "member", row, status="terminated")
        ended = await self._keys.end_all(session, member_id, now=now)
        await self._approvals.end(session, member_id, now=now)
        await self._stop(session, member_id, now)
        return Outcome(details={"keys": ended})

    async def _others_who_oversee(self, session: ReadSession, member_id: UUID) -> int:
        found = await session.execute(
            select(member).where(member.c.role == "operator", member.c.member_id != member_id)
        )
        rows = [row for row in found.mappings() if self.rows.holds("member", row)]
        return sum(standing.may(row["status"], "oversee") for row in rows)

    def _require_thumbprint(self, key_thumbprint: str | None) -> None:
        """In production knowing the enrolment code is not enough: two people approve the key that may enrol."""
        if self._production and key_thumbprint is None:
            raise Refused(
                "validation_failed",
                fields=[FieldError("/key_thumbprint", "required", "the RFC 7638 thumbprint of the key to be enrolled")],
            )

    async def _bootstrap_lives(self, session: ReadSession, now: datetime) -> bool:
        alive = select(func.count()).where(
            member_key.c.bootstrap, member_key.c.state.in_(rules.SIGNING), member_key.c.expires_at > now
        )
        return bool((await session.execute(alive)).scalar_one())

    async def begin_due_diligence(
        self, session: WriteSession, member_id: UUID, *, note: str, by: UUID, now: datetime
    ) -> Recorded[Member]:
        """Begin to examine an applicant; the note says what is looked at, or by which file it can be found."""
        row = await self._lock(session, member_id)
        follows = standing.after("due_diligence", row["status"])
        noted = {"note": note, "by": str(by), "at": spell_instant(now)}
        changed = await self.rows.change(session, "member", row, status=follows, examination=noted)
        return Recorded(member_of(changed), membership_entry("begin_due_diligence", member_id, note=note))

    async def particulars(self, session: ReadSession, member_id: UUID) -> Particulars:
        """Return an institution's licence and contacts as they were proposed: for operators."""
        row = await self.rows.find(session, "member", member_id)
        if row is None:
            raise Refused("not_found")
        if row["contacts"] is None:
            return Particulars(row["licence_no"], {})
        contacts = decode_object(self._box.open(_place_of_contacts(member_id), bytes(row["contacts"])))
        return Particulars(row["licence_no"], {kind: str(who) for kind, who in contacts.items()})

    async def examination(self, session: ReadSession, member_id: UUID) -> Examination | None:
        """Return what was noted when an institution's due diligence began, if it did: for operators."""
        row = await self.rows.find(session, "member", member_id)
        noted = None if row is None else row["examination"]
        return noted and Examination(noted["note"], UUID(noted["by"]), datetime.fromisoformat(noted["at"]))

    async def restrict(
        self,
        session: WriteSession,
        member_id: UUID,
        restriction: Restriction,
        *,
        by: UUID,
        reason: str,
        now: datetime,
    ) -> Recorded[Member]:
        """Limit or suspend a member at once (``standing`` says what is left to it); nobody does it to itself.

        What was proposed of a restriction before is not approved for this one.
        """
        if member_id == by:
            raise Refused("state_conflict")
        row = await self._lock(session, member_id)
        follows = standing.after(restriction, row["status"], role=row["role"])
        changed = await self.rows.change(session, "member", row, status=follows)
        await self._approvals.end(session, member_id, now=now, kinds=LIFTING)
        if restriction == "suspension":
            await self._stop(session, member_id, now)
        operation = "limit_member" if restriction == "limitation" else "suspend_member"
        return Recorded(member_of(changed), membership_entry(operation, member_id, reason=reason))

    async def name_hand_back_key(
        self, session: WriteSession, member_id: UUID, jwk: Mapping[str, object], *, by_kid: str
    ) -> Recorded[Member]:
        """Note the public key to which a member's data are encrypted when its membership ends. The last one counts.

        A compromise takes it away; whose key was revoked while this waited for that names none.
        """
        try:
            key = RecipientKey.from_jwk(jwk)
        except Malformed as error:
            raise Refused("validation_failed", fields=[FieldError("/jwk", "key_unusable", str(error))]) from None
        row = await self._lock(session, member_id)
        await require_signing(session, by_kid)
        changed = await self.rows.change(session, "member", row, hand_back_jwk=dict(key.jwk))
        return Recorded(member_of(changed), membership_entry("name_hand_back_key", member_id, kid=key.kid))

    async def set_tier(self, session: WriteSession, member_id: UUID, tier: Tier) -> None:
        """Note how deep a lender's answers are from now on."""
        row = await self._lock(session, member_id)
        if row["status"] not in standing.LASTS:
            raise Refused("state_conflict")
        await self.rows.change(session, "member", row, tier=tier)

    async def hand_back_key(self, session: ReadSession, member_id: UUID) -> Mapping[str, object] | None:
        """Return that key as it was named, or None."""
        row = await self.rows.find(session, "member", member_id)
        return None if row is None else row["hand_back_jwk"]

    async def _issue_code(self, session: WriteSession, member_id: UUID, *, now: datetime) -> str:
        code = b64url_encode(secrets.token_bytes(CODE_BYTES))
        fresh = {"code_hash": hash_code(code), "expires_at": now + CODE_LIFE, "used_at": None}
        row = await self.rows.lock(session, "enrolment", member_id)
        if row is None:
            await self.rows.add(session, "enrolment", {"member_id": member_id, **fresh})
        else:
            await self.rows.change(session, "enrolment", row, wrong_tries=0, tries_since=None, **fresh)
        return code


async def bootstrap_operators(
    session: WriteSession,
    keys: Sequence[VerifyingKey],
    *,
    seals: RowSeals,
    production: bool,
    evaluations_per_day: int,
    now: datetime,
) -> list[UUID]:
    """Make the first operators, one per key, once. ``state_conflict`` if the service has any member already.

    Two keys made on one machine are one person: in production they end after 72 hours and admit operators only.
    """
    await session.execute(select(func.pg_advisory_xact_lock(0x626F_6F74)))
    if (await session.execute(select(func.count()).select_from(member))).scalar_one():
        raise Refused("state_conflict", extra={"hint": "there are members already; the first operators are made once"})
    rows, made = SealedRows(seals), []
    for number, key in enumerate(keys, start=1):
        member_id = uuid7(now)
        await rows.add(
            session,
            "member",
            {
                "member_id": member_id,
                "name": f"Operator {number}",
                "role": "operator",
                "region": "ZZ",
                "jurisdictions": [],
                "status": "active",
                "evaluations_per_day": evaluations_per_day,
            },
        )
        await insert_key(session, rows, member_id, key, registered_by=None, bootstrap=production, now=now)
        made.append(member_id)
    return made


async def ids_of_members(session: ReadSession, *, after: UUID | None, limit: int) -> list[UUID]:
    """Return the next members in the order of their ids."""
    return [row.member_id for row in await page_of(session, member.c.member_id, after=after, limit=limit)]


def member_of(row: RowMapping) -> Member:
    """Return a row as operators see it."""
    return Member(
        row["member_id"],
        row["name"],
        row["role"],
        row["region"],
        tuple(row["jurisdictions"]),
        row["status"],
        row["evaluations_per_day"],
        row["queries_per_day"],
        row["reports_per_day"],
        None if row["hand_back_jwk"] is None else row["hand_back_jwk"]["kid"],
        row["tier"] or "full",
    )


def _place_of_contacts(member_id: UUID) -> Place:
    return Place("member", "contacts", member_id.bytes)


def _version(row: RowMapping, proposals: Sequence[Proposal]) -> str:
    parts = [str(row["revision"]), *sorted(str(proposal.proposal_id) for proposal in proposals)]
    return b64url_encode(hashlib.sha256("|".join(parts).encode()).digest()[:VERSION_BYTES])
