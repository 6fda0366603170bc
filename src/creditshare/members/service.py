"""Membership: proposing, approving, enrolling keys, suspending. The only door to institutions and their keys."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, ScalarSelect, and_, func, select, update

from creditshare.audit.service import Audit, Entry, Recorded
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jws import VerifyingKey
from creditshare.crypto.rowseals import RowSeals
from creditshare.crypto.sealing import Box, Place
from creditshare.errors import FieldError, Malformed, Refused
from creditshare.ids import spell, uuid7
from creditshare.keys.tombstones import Tombstones
from creditshare.members import rules
from creditshare.members.models import enrolment, key_table_version, member, member_key, member_proposal
from creditshare.members.repository import SealedRows
from creditshare.settings import Environment
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.wire.registration import check_proof
from creditshare.wire.strict_json import canonical

MemberRole = Literal["lender", "regulator", "operator"]
ProposalAction = Literal["admission", "quotas", "lift_suspension", "recovery"]

KEY_LIFE: Final = timedelta(days=365)
KEY_LIMIT: Final = 4
CODE_LIFE: Final = timedelta(hours=72)
CODE_BYTES: Final = 20  # 160 bits; signing.md asks for at least 128
CODE_TRIES_PER_HOUR: Final = 10
BOOTSTRAP_LIFE: Final = timedelta(hours=72)
PROPOSAL_LIFE: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Member:
    """An institution as operators see it."""

    member_id: UUID
    name: str
    role: MemberRole
    region: str
    jurisdictions: tuple[str, ...]
    status: str
    evaluations_per_day: int


@dataclass(frozen=True, slots=True)
class Key:
    """A registered public key and its state."""

    kid: str
    member_id: UUID
    state: str
    bootstrap: bool
    registered_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    reason: str | None


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
class Proposal:
    """Something that waits for, or has had, a second person."""

    proposal_id: UUID
    member_id: UUID
    action: ProposalAction
    terms: Mapping[str, Any]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """What an approval brought: the member, and a one-time enrolment code where one was due."""

    member: Member
    enrolment_code: str | None


@dataclass(frozen=True, slots=True)
class RowState:
    """How a row stands: how often it changed, its seal, whether that holds, and what it adds to the key table's sum."""

    revision: int
    seal: bytes
    holds: bool
    share: bytes


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member as every worker keeps it in memory."""

    member: Member
    state: RowState


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as every worker keeps it in memory."""

    kid: str
    member_id: UUID
    jwk: Mapping[str, Any]
    key_state: str
    expires_at: datetime
    bootstrap: bool
    state: RowState


@dataclass(frozen=True, slots=True)
class KeyTableChanges:
    """What changed after a version, in one snapshot: the version now, the sum over all rows, the changed rows."""

    version: int
    sealed_sum: bytes
    total: bytes | None
    members: list[MemberRow]
    keys: list[KeyRow]


def _member(row: RowMapping) -> Member:
    return Member(
        row["member_id"],
        row["name"],
        row["role"],
        row["region"],
        tuple(row["jurisdictions"]),
        row["status"],
        row["evaluations_per_day"],
    )


def _key(row: RowMapping) -> Key:
    return Key(
        row["kid"],
        row["member_id"],
        row["state"],
        row["bootstrap"],
        row["registered_at"],
        row["expires_at"],
        row["revoked_at"],
        row["reason"],
    )


def _hash_code(code: str) -> bytes:
    return hashlib.sha256(b"creditshare/enrolment|" + code.encode()).digest()


class Members:
    """Membership as named actions. Four eyes compares member ids; never the self-declared ``sub``."""

    def __init__(
        self,
        *,
        environment: Environment,
        service_box: Box,
        default_evaluations_per_day: int,
        audit: Audit,
        tombstones: Tombstones,
        seals: RowSeals,
    ) -> None:
        self._production = environment == "production"
        self._box = service_box
        self._evaluations_per_day = default_evaluations_per_day
        self._audit = audit
        self._tombstones = tombstones
        self.rows = SealedRows(seals)

    async def get(self, session: ReadSession, member_id: UUID) -> Member:
        """Return a member; ``not_found`` if there is none."""
        row = await self.rows.find(session, "member", member_id)
        if row is None:
            raise Refused("not_found")
        return _member(row)

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
        return [_member(row) for row in (await session.execute(query)).mappings()]

    async def keys_of(self, session: ReadSession, member_id: UUID) -> list[Key]:
        """Return a member's keys, newest first; public keys are kept for ever."""
        query = (
            select(member_key).where(member_key.c.member_id == member_id).order_by(member_key.c.registered_at.desc())
        )
        return [_key(row) for row in (await session.execute(query)).mappings()]

    # Two people

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
        contacts = self._box.seal(Place("member", "contacts", member_id.bytes), canonical(dict(application.contacts)))
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
        await self._propose(session, member_id, "admission", terms, by=by, now=now)
        return Recorded(await self.get(session, member_id), _entry("propose_member", member_id))

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
        current = await self.get(session, member_id)
        fitting = {"lift_suspension": {"suspended"}, "recovery": {"active", "certified"}}.get(action)
        if fitting is not None and current.status not in fitting:
            raise Refused("state_conflict")
        if action == "recovery":
            self._require_thumbprint(terms.get("key_thumbprint"))
        proposal = await self._propose(session, member_id, action, terms, by=by, now=now)
        # Budgets have a resource of their own; the event is named like the operation that was called.
        operation = "propose_quotas" if action == "quotas" else "propose_change"
        return Recorded(proposal, _entry(operation, member_id, proposal=action))

    async def approve(
        self,
        session: WriteSession,
        member_id: UUID,
        *,
        action: ProposalAction,
        terms: Mapping[str, Any],
        by: UUID,
        now: datetime,
    ) -> Recorded[Approval]:
        """Decide an open proposal of this kind as the second person, and carry it out; others of the kind end.

        The approval repeats the terms: it names what was agreed, and cannot be won for one thing and used for another.
        """
        found = await self._open_proposals(session, member_id, action, now=now)
        # What a person proposed who was suspended since is nobody's proposal any more.
        rows = [row for row in found if (await self.get(session, row["proposed_by"])).status == "active"]
        if not rows:
            await self.get(session, member_id)
            raise Refused("state_conflict", extra={"hint": f"there is no open proposal of the kind {action}"})
        row = rules.approved(rows, terms, by=by, repeated=self._production or action != "admission")
        await self.rows.change(session, "member_proposal", row, decided_by=by, decided_at=now)
        await self._end_proposals(session, member_id, action, now=now)
        code = await self._carry_out(session, member_id, action, row["terms"], now=now)
        entry = _entry("approve_member", member_id, proposal=action)
        return Recorded(Approval(await self.get(session, member_id), code), entry)

    async def _carry_out(
        self, session: WriteSession, member_id: UUID, action: str, terms: Mapping[str, Any], *, now: datetime
    ) -> str | None:
        row = await self._lock(session, member_id)
        changes: dict[str, dict[str, Any]] = {
            "admission": {"status": "certified"},
            "recovery": {"key_thumbprint": terms.get("key_thumbprint")},
            "quotas": {"evaluations_per_day": terms.get("evaluations_per_day")},
            "lift_suspension": {"status": "active"},
        }
        await self.rows.change(session, "member", row, **changes[action])
        return await self._issue_code(session, member_id, now=now) if action in {"admission", "recovery"} else None

    async def _open_proposals(
        self, session: WriteSession, member_id: UUID, action: ProposalAction, *, now: datetime
    ) -> list[RowMapping]:
        found = await session.execute(
            select(member_proposal)
            .where(_open(member_id, action, now))
            .order_by(member_proposal.c.proposed_at.desc())
            .with_for_update()
        )
        # One that does not match its seal was proposed by nobody.
        return [row for row in found.mappings() if self.rows.holds("member_proposal", row)]

    async def _end_proposals(
        self, session: WriteSession, member_id: UUID, action: ProposalAction, *, now: datetime
    ) -> None:
        """End what is still open of a kind, so that no left-over is approved when things stand otherwise."""
        for row in await self._open_proposals(session, member_id, action, now=now):
            await self.rows.change(session, "member_proposal", row, expires_at=now)

    def _require_thumbprint(self, key_thumbprint: str | None) -> None:
        """In production knowing the enrolment code is not enough: two people approve the key that may enrol."""
        if self._production and key_thumbprint is None:
            raise Refused(
                "validation_failed",
                fields=[FieldError("/key_thumbprint", "required", "the RFC 7638 thumbprint of the key to be enrolled")],
            )

    async def _propose(
        self,
        session: WriteSession,
        member_id: UUID,
        action: ProposalAction,
        terms: Mapping[str, Any],
        *,
        by: UUID,
        now: datetime,
    ) -> Proposal:
        proposal = Proposal(uuid7(now), member_id, action, dict(terms), now + PROPOSAL_LIFE)
        await self.rows.add(
            session,
            "member_proposal",
            {
                "proposal_id": proposal.proposal_id,
                "member_id": member_id,
                "action": action,
                "terms": dict(terms),
                "proposed_by": by,
                "proposed_at": now,
                "expires_at": proposal.expires_at,
            },
        )
        return proposal

    async def _bootstrap_lives(self, session: ReadSession, now: datetime) -> bool:
        alive = select(func.count()).where(
            member_key.c.bootstrap, member_key.c.state != "revoked", member_key.c.expires_at > now
        )
        return bool((await session.execute(alive)).scalar_one())

    # One person, because it must be quick

    async def suspend(self, session: WriteSession, member_id: UUID, *, by: UUID, now: datetime) -> Recorded[Member]:
        """Suspend a member at once: it may still correct and answer disputes, not ask."""
        if member_id == by:
            raise Refused("state_conflict")
        row = await self._lock(session, member_id)
        if row["status"] != "active":
            raise Refused("state_conflict")
        changed = await self.rows.change(session, "member", row, status="suspended")
        await self._end_proposals(session, member_id, "lift_suspension", now=now)
        return Recorded(_member(changed), _entry("suspend_member", member_id))

    # Keys

    async def enrol_first(
        self,
        session: WriteSession,
        member_id: UUID,
        *,
        jwk: Mapping[str, Any],
        proof: str,
        code: str,
        issuer: str,
        now: datetime,
    ) -> Recorded[Key]:
        """Register a member's first key by its one-time code and proof of possession."""
        owner = await self.rows.lock(session, "member", member_id)
        row = await self.rows.lock(session, "enrolment", member_id)
        if owner is None or row is None or not _usable(row, now):
            raise Refused("enrolment_code_invalid")
        if not hmac.compare_digest(row["code_hash"], _hash_code(code)):
            raise WrongCode(member_id)
        key = check_proof(proof, jwk=jwk, member_id=spell("mem", member_id), issuer=issuer, now=int(now.timestamp()))
        if owner["key_thumbprint"] is not None and owner["key_thumbprint"] != key.kid:
            raise Refused("proof_invalid")
        await self.rows.change(session, "enrolment", row, used_at=now)
        if owner["status"] == "certified":
            await self.rows.change(session, "member", owner, status="active")
        added = await self._add_key(session, member_id, key, registered_by=None, now=now)
        return Recorded(added, _entry("enrol_first_key", member_id, kid=key.kid))

    async def count_wrong_code(self, session: WriteSession, member_id: UUID, *, now: datetime) -> None:
        """Remember a wrong enrolment code; after ten in an hour even the right one is refused until the hour ends."""
        row = (
            (await session.execute(select(enrolment).where(enrolment.c.member_id == member_id).with_for_update()))
            .mappings()
            .one()
        )
        fresh = row["tries_since"] is None or row["tries_since"] <= now - timedelta(hours=1)
        await session.execute(
            update(enrolment)
            .where(enrolment.c.member_id == member_id)
            .values(
                wrong_tries=1 if fresh else row["wrong_tries"] + 1, tries_since=now if fresh else row["tries_since"]
            )
        )

    async def add_key(
        self,
        session: WriteSession,
        member_id: UUID,
        *,
        jwk: Mapping[str, Any],
        proof: str,
        by_kid: str,
        bootstrap_key: bool,
        issuer: str,
        now: datetime,
    ) -> Recorded[Key]:
        """Register a further key: proof of possession of the new one, the request signed by a live one.

        Not by a bootstrap key: what it registered would outlive it, and serve for more than admitting operators.
        """
        if bootstrap_key:
            raise Refused(
                "role_forbidden", extra={"hint": "bootstrap keys only admit operators; admit one for yourself"}
            )
        key = check_proof(proof, jwk=jwk, member_id=spell("mem", member_id), issuer=issuer, now=int(now.timestamp()))
        added = await self._add_key(session, member_id, key, registered_by=by_kid, now=now)
        return Recorded(added, _entry("add_key", member_id, kid=key.kid))

    async def revoke_key(
        self,
        session: WriteSession,
        member_id: UUID,
        kid: str,
        *,
        reason: rules.RevocationReason,
        since: datetime | None,
        now: datetime,
        by_kid: str,
    ) -> Recorded[Key]:
        """Revoke a key, and with it what ``rules.revoked`` says; in every worker within two seconds."""
        rows = await self._lock_keys(session, member_id)
        reached = rules.revoked(_facts(rows), kid, by_kid=by_kid, reason=reason, since=since, now=now)
        for row in rows:
            if row["kid"] in reached and row["state"] != "revoked":
                await self.rows.change(session, "member_key", row, state="revoked", revoked_at=now, reason=reason)
        # Before the commit, so that no restore of an older backup brings a revoked key back unnoticed.
        await asyncio.to_thread(self._tombstones.add, "key", sorted(reached), now=now)
        entry = _entry("revoke_key", member_id, kid=kid, reason=reason, revoked=len(reached))
        return Recorded(await self._key(session, kid), entry)

    async def retire_key(self, session: WriteSession, member_id: UUID, kid: str, *, now: datetime) -> Recorded[Key]:
        """Let a key that has a successor end once both have been good for the overlap."""
        rows = await self._lock_keys(session, member_id)
        ends = rules.retirement(_facts(rows), kid, now=now)
        (row,) = (row for row in rows if row["kid"] == kid)
        changed = await self.rows.change(session, "member_key", row, state="retiring", expires_at=ends)
        return Recorded(_key(changed), _entry("retire_key", member_id, kid=kid))

    async def was_revoked(self, session: ReadSession, kid: str) -> bool:
        """Whether a key is revoked."""
        return (await self._key(session, kid)).state == "revoked"

    async def read_key_table(self, session: ReadSession, *, since: int) -> KeyTableChanges:
        """Return what of members and keys changed after the version ``since``, each row checked against its seal."""
        changes = await self.rows.changed_since(session, since)

        def state(table: str, row: RowMapping) -> RowState:
            return RowState(
                row["revision"], bytes(row["seal"]), self.rows.holds(table, row), self.rows.share(table, row)
            )

        return KeyTableChanges(
            changes.version,
            changes.sealed_sum,
            changes.total,
            [MemberRow(_member(row), state("member", row)) for row in changes.members],
            [
                KeyRow(
                    row["kid"],
                    row["member_id"],
                    row["jwk"],
                    row["state"],
                    row["expires_at"],
                    row["bootstrap"],
                    state("member_key", row),
                )
                for row in changes.keys
            ],
        )

    async def _lock_keys(self, session: WriteSession, member_id: UUID) -> list[RowMapping]:
        """Lock a member's keys. One whose row does not match its seal is none: it may not sign, and is not changed."""
        found = await session.execute(select(member_key).where(member_key.c.member_id == member_id).with_for_update())
        return [row for row in found.mappings() if self.rows.holds("member_key", row)]

    async def _key(self, session: ReadSession, kid: str) -> Key:
        row = await self.rows.find(session, "member_key", kid)
        if row is None:
            raise Refused("not_found")
        return _key(row)

    async def revoke_again(self, session: WriteSession, kid: str, *, sub: str, now: datetime) -> None:
        """Revoke a key that an older backup brought back, as an act of the service itself."""
        row = await self.rows.lock(session, "member_key", kid)
        if row is None:
            raise Refused("not_found")
        await self.rows.change(session, "member_key", row, state="revoked", revoked_at=now, reason="restored")
        entry = _entry("revoke_key", row["member_id"], kid=kid, reason="restored", revoked=1)
        await self._audit.record_own_act(session, entry, sub=sub, now=now)

    async def _add_key(
        self, session: WriteSession, member_id: UUID, key: VerifyingKey, *, registered_by: str | None, now: datetime
    ) -> Key:
        # Keys that are registered at the same time wait for each other, or all of them would find room.
        await session.execute(select(member.c.member_id).where(member.c.member_id == member_id).with_for_update())
        live = select(func.count()).where(
            member_key.c.member_id == member_id, member_key.c.state != "revoked", member_key.c.expires_at > now
        )
        if (await session.execute(live)).scalar_one() >= KEY_LIMIT:
            raise Refused("key_limit")
        return await insert_key(
            session, self.rows, member_id, key, registered_by=registered_by, bootstrap=False, now=now
        )

    async def _issue_code(self, session: WriteSession, member_id: UUID, *, now: datetime) -> str:
        code = b64url_encode(secrets.token_bytes(CODE_BYTES))
        fresh = {"code_hash": _hash_code(code), "expires_at": now + CODE_LIFE, "used_at": None}
        row = await self.rows.lock(session, "enrolment", member_id)
        if row is None:
            await self.rows.add(session, "enrolment", {"member_id": member_id, **fresh})
        else:
            await self.rows.change(session, "enrolment", row, wrong_tries=0, tries_since=None, **fresh)
        return code


class WrongCode(Refused):
    """The enrolment code does not fit; the edge counts it in a transaction of its own, then refuses."""

    def __init__(self, member_id: UUID) -> None:
        super().__init__("enrolment_code_invalid")
        self.member_id = member_id


async def insert_key(
    session: WriteSession,
    rows: SealedRows,
    member_id: UUID,
    key: VerifyingKey,
    *,
    registered_by: str | None,
    bootstrap: bool,
    now: datetime,
) -> Key:
    """Insert a public key; ``key_exists`` if any member ever registered it."""
    values = {
        "kid": key.kid,
        "member_id": member_id,
        "jwk": dict(key.jwk),
        "state": "active",
        "registered_by": registered_by,
        "bootstrap": bootstrap,
        "registered_at": now,
        "expires_at": now + (BOOTSTRAP_LIFE if bootstrap else KEY_LIFE),
        "revoked_at": None,
        "reason": None,
    }
    row = await rows.add(session, "member_key", values)
    if row is None:
        raise Refused("key_exists")
    return _key(row)


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


def key_lives(kid: str) -> ColumnElement[bool]:
    """Return the condition, for another concept's statement, that a key may sign by the database's clock."""
    return (
        select(member_key.c.kid)
        .where(
            member_key.c.kid == kid,
            member_key.c.state != "revoked",
            member_key.c.expires_at > func.clock_timestamp(),
        )
        .exists()
    )


def seal_of_key(kid: str) -> ScalarSelect[bytes]:
    """Return the expression, for another concept's statement, of a key's seal at this moment."""
    return select(member_key.c.seal).where(member_key.c.kid == kid).scalar_subquery()


def seal_of_member(member_id: UUID) -> ScalarSelect[bytes]:
    """Return the expression, for another concept's statement, of the seal of a member's row at this moment."""
    return select(member.c.seal).where(member.c.member_id == member_id).scalar_subquery()


async def why_key_cannot_sign(session: ReadSession, kid: str) -> str | None:
    """Return the refusal's code for a key that is revoked or past its end, or None for one that lives."""
    found = await session.execute(
        select(member_key.c.state, (member_key.c.expires_at > func.clock_timestamp()).label("lives")).where(
            member_key.c.kid == kid
        )
    )
    row = found.one_or_none()
    if row is None or row.state == "revoked":
        return "key_revoked"
    return None if row.lives else "key_expired"


async def read_key_table_state(session: ReadSession) -> tuple[int, bytes]:
    """Return the version of the key table, which a trigger counts, and the sealed sum, which each change renews."""
    row = (await session.execute(select(key_table_version))).mappings().one()
    return int(row["version"]), bytes(row["sum"])


async def not_revoked(session: ReadSession, kids: Sequence[str]) -> tuple[str, ...]:
    """Return those of these keys that are registered and not revoked."""
    found = await session.execute(
        select(member_key.c.kid).where(member_key.c.kid.in_(kids), member_key.c.state != "revoked")
    )
    return tuple(found.scalars())


async def sandbox_operators(session: ReadSession) -> int:
    """Return how many live keys no second person ever agreed to: those that bootstrap made while in a sandbox.

    In production bootstrap marks its keys, and every other member got a code that two people issued.
    """
    unmarked = select(func.count()).where(
        ~member_key.c.bootstrap,
        member_key.c.state != "revoked",
        member_key.c.expires_at > func.clock_timestamp(),
        ~select(enrolment.c.member_id).where(enrolment.c.member_id == member_key.c.member_id).exists(),
    )
    return int((await session.execute(unmarked)).scalar_one())


@dataclass(frozen=True, slots=True)
class LastKey:
    """When the last key that a member can sign with ends."""

    member_id: UUID
    role: str
    ends: datetime


async def last_keys(session: ReadSession, *, before: datetime) -> list[LastKey]:
    """Return the active members whose last key ends before an instant, soonest first; bootstrap keys are to end."""
    ends = func.max(member_key.c.expires_at)
    found = await session.execute(
        select(member.c.member_id, member.c.role, ends.label("ends"))
        .join(member_key, member_key.c.member_id == member.c.member_id)
        .where(member.c.status == "active", member_key.c.state != "revoked", member_key.c.bootstrap.is_(False))
        .group_by(member.c.member_id, member.c.role)
        .having(ends < before)
        .order_by(ends)
    )
    return [LastKey(row.member_id, row.role, row.ends) for row in found]


def checked_jwk(jwk: Mapping[str, Any]) -> VerifyingKey:
    """Return the key of an inline JWK that may be registered, or refuse naming the field."""
    try:
        return VerifyingKey.from_jwk(jwk, require_use=True)
    except Malformed as error:
        raise Refused("validation_failed", fields=[FieldError("/jwk", "key_unusable", str(error))]) from None


def _open(member_id: UUID, action: ProposalAction, now: datetime) -> ColumnElement[bool]:
    return and_(
        member_proposal.c.member_id == member_id,
        member_proposal.c.action == action,
        member_proposal.c.decided_by.is_(None),
        member_proposal.c.expires_at > now,
    )


def _facts(rows: Sequence[RowMapping]) -> list[rules.KeyFacts]:
    return [rules.KeyFacts(r["kid"], r["state"], r["registered_at"], r["expires_at"], r["registered_by"]) for r in rows]


def _usable(row: RowMapping, now: datetime) -> bool:
    return row["used_at"] is None and row["expires_at"] > now and not _too_many_tries(row, now)


def _too_many_tries(row: RowMapping, now: datetime) -> bool:
    since = row["tries_since"]
    return since is not None and since > now - timedelta(hours=1) and row["wrong_tries"] >= CODE_TRIES_PER_HOUR


def _entry(action: str, member_id: UUID, **details: str | int) -> Entry:
    return Entry(action, references={"member_id": spell("mem", member_id)}, details=details)
