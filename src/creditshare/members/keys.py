"""Members' keys: the first by a one-time code, further ones by a live one, retirement, revocation; and who may sign."""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, func, select, update

from creditshare.audit.service import Audit, Entry, Recorded
from creditshare.crypto.jws import VerifyingKey
from creditshare.crypto.rowseals import RowSeals
from creditshare.errors import FieldError, Malformed, Refused
from creditshare.ids import spell
from creditshare.keys.tombstones import Tombstones
from creditshare.members import rules
from creditshare.members.models import enrolment, member, member_key
from creditshare.members.repository import SealedRows
from creditshare.members.standing import ENROLS, MAY, after
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.wire.registration import check_proof

KEY_LIFE: Final = timedelta(days=365)
KEY_LIMIT: Final = 4
CODE_TRIES_PER_HOUR: Final = 10
BOOTSTRAP_LIFE: Final = timedelta(hours=72)


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

    def signs(self, now: datetime) -> bool:
        """Whether it may sign."""
        return self.state in rules.SIGNING and self.expires_at > now


class MemberKeys:
    """Keys as named actions; each row is checked against its seal before it is changed."""

    def __init__(self, *, audit: Audit, tombstones: Tombstones, seals: RowSeals) -> None:
        self._audit = audit
        self._tombstones = tombstones
        self.rows = SealedRows(seals)

    async def keys_of(self, session: ReadSession, member_id: UUID) -> list[Key]:
        """Return a member's keys, newest first; public keys are kept for ever."""
        newest_first = (member_key.c.registered_at.desc(), member_key.c.kid)
        query = select(member_key).where(member_key.c.member_id == member_id).order_by(*newest_first)
        return [_key(row) for row in (await session.execute(query)).mappings()]

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
        if owner is None or owner["status"] not in ENROLS or row is None or not _usable(row, now):
            raise Refused("enrolment_code_invalid")
        if not hmac.compare_digest(row["code_hash"], hash_code(code)):
            raise WrongCode(member_id)
        key = check_proof(proof, jwk=jwk, member_id=spell("mem", member_id), issuer=issuer, now=int(now.timestamp()))
        if owner["key_thumbprint"] is not None and owner["key_thumbprint"] != key.kid:
            raise Refused("proof_invalid")
        await self.rows.change(session, "enrolment", row, used_at=now)
        if owner["status"] == "certified":
            await self.rows.change(session, "member", owner, status=after("first_key", owner["status"]))
        added = await self._add_key(session, member_id, key, registered_by=None, now=now)
        return Recorded(added, membership_entry("enrol_first_key", member_id, kid=key.kid))

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
        pending_until: datetime | None = None,
    ) -> Recorded[Key]:
        """Register a further key: proof of possession of the new one, the request signed by a live one.

        ``pending_until``: it may not sign before a second person approves it, and ends then if nobody does.

        Not by a bootstrap key: what it registered would outlive it, and serve for more than admitting operators.
        """
        if bootstrap_key:
            raise Refused(
                "role_forbidden", extra={"hint": "bootstrap keys only admit operators; admit one for yourself"}
            )
        key = check_proof(proof, jwk=jwk, member_id=spell("mem", member_id), issuer=issuer, now=int(now.timestamp()))
        added = await self._add_key(session, member_id, key, registered_by=by_kid, now=now, pending_until=pending_until)
        waits = {} if pending_until is None else {"proposal": "key"}
        return Recorded(added, membership_entry("add_key", member_id, kid=key.kid, **waits))

    async def approve_pending(self, session: WriteSession, member_id: UUID, kid: str) -> None:
        """Let a pending key sign from now on, for a key's life since it was registered."""
        row = await self._lock_pending(session, member_id, kid)
        if row is None:
            raise Refused("state_conflict", extra={"hint": "the key does not wait any more"})
        await self.rows.change(session, "member_key", row, state="active", expires_at=row["registered_at"] + KEY_LIFE)

    async def drop_pending(self, session: WriteSession, member_id: UUID, kid: str, *, now: datetime) -> None:
        """End a key that nobody approves any more; it never signed, so it needs no tombstone."""
        row = await self._lock_pending(session, member_id, kid)
        if row is not None:
            await self.rows.change(session, "member_key", row, state="revoked", revoked_at=now, reason="rejected")

    async def _lock_pending(self, session: WriteSession, member_id: UUID, kid: str) -> RowMapping | None:
        row = await self.rows.lock(session, "member_key", kid)
        waits = row is not None and (row["member_id"], row["state"]) == (member_id, "pending")
        return row if waits else None

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
        """Revoke a key, and with it what ``rules.revoked`` says; in every worker within two seconds.

        A thief may have named where the member's data are to go, so after a compromise that is to be named anew.
        """
        if reason == "compromise":
            owner = await self.rows.lock(session, "member", member_id)
            if owner is not None and owner["hand_back_jwk"] is not None:
                await self.rows.change(session, "member", owner, hand_back_jwk=None)
        rows = await self._lock_keys(session, member_id)
        reached = rules.revoked(_facts(rows), kid, by_kid=by_kid, reason=reason, since=since, now=now)
        for row in rows:
            if row["kid"] in reached and row["state"] != "revoked":
                await self.rows.change(session, "member_key", row, state="revoked", revoked_at=now, reason=reason)
        # Before the commit, so that no restore of an older backup brings a revoked key back unnoticed.
        await asyncio.to_thread(self._tombstones.add, "key", sorted(reached), now=now)
        entry = membership_entry("revoke_key", member_id, kid=kid, reason=reason, revoked=len(reached))
        return Recorded(await self._key(session, kid), entry)

    async def retire_key(self, session: WriteSession, member_id: UUID, kid: str, *, now: datetime) -> Recorded[Key]:
        """Let a key that has a successor end once both have been good for the overlap."""
        rows = await self._lock_keys(session, member_id)
        ends = rules.retirement(_facts(rows), kid, now=now)
        (row,) = (row for row in rows if row["kid"] == kid)
        changed = await self.rows.change(session, "member_key", row, state="retiring", expires_at=ends)
        return Recorded(_key(changed), membership_entry("retire_key", member_id, kid=kid))

    async def end_all(self, session: WriteSession, member_id: UUID, *, now: datetime) -> int:
        """End every key of a member that is terminated, and its enrolment code; return how many keys lived till then.

        All of them get tombstones, so that no restore of an older backup gives one its power back.
        """
        rows = [row for row in await self._lock_keys(session, member_id) if row["state"] != "revoked"]
        for row in rows:
            await self.rows.change(session, "member_key", row, state="revoked", revoked_at=now, reason="terminated")
        code = await self.rows.lock(session, "enrolment", member_id)
        if code is not None and code["used_at"] is None:
            await self.rows.change(session, "enrolment", code, used_at=now)
        await asyncio.to_thread(self._tombstones.add, "key", sorted(row["kid"] for row in rows), now=now)
        return sum(row["expires_at"] > now for row in rows)

    async def revoke_again(self, session: WriteSession, kid: str, *, sub: str, now: datetime) -> None:
        """Revoke a key that an older backup brought back, as an act of the service itself."""
        row = await self.rows.lock(session, "member_key", kid)
        if row is None:
            raise Refused("not_found")
        await self.rows.change(session, "member_key", row, state="revoked", revoked_at=now, reason="restored")
        entry = membership_entry("revoke_key", row["member_id"], kid=kid, reason="restored", revoked=1)
        await self._audit.record_own_act(session, entry, sub=sub, now=now)

    async def was_revoked(self, session: ReadSession, kid: str) -> bool:
        """Whether a key is revoked."""
        return (await self._key(session, kid)).state == "revoked"

    async def _lock_keys(self, session: WriteSession, member_id: UUID) -> list[RowMapping]:
        """Lock a member's keys. One whose row does not match its seal is none: it may not sign, and is not changed."""
        found = await session.execute(select(member_key).where(member_key.c.member_id == member_id).with_for_update())
        return [row for row in found.mappings() if self.rows.holds("member_key", row)]

    async def _key(self, session: ReadSession, kid: str) -> Key:
        row = await self.rows.find(session, "member_key", kid)
        if row is None:
            raise Refused("not_found")
        return _key(row)

    async def _add_key(
        self,
        session: WriteSession,
        member_id: UUID,
        key: VerifyingKey,
        *,
        registered_by: str | None,
        now: datetime,
        pending_until: datetime | None = None,
    ) -> Key:
        # Keys that are registered at the same time wait for each other, or all of them would find room.
        await session.execute(select(member.c.member_id).where(member.c.member_id == member_id).with_for_update())
        if registered_by is not None:
            await require_signing(session, registered_by)
        live = select(func.count()).where(
            member_key.c.member_id == member_id, member_key.c.state != "revoked", member_key.c.expires_at > now
        )
        if (await session.execute(live)).scalar_one() >= KEY_LIMIT:
            raise Refused("key_limit")
        return await insert_key(
            session,
            self.rows,
            member_id,
            key,
            registered_by=registered_by,
            bootstrap=False,
            now=now,
            pending_until=pending_until,
        )


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
    pending_until: datetime | None = None,
) -> Key:
    """Insert a public key; ``key_exists`` if any member ever registered it."""
    values = {
        "kid": key.kid,
        "member_id": member_id,
        "jwk": dict(key.jwk),
        "state": "active" if pending_until is None else "pending",
        "registered_by": registered_by,
        "bootstrap": bootstrap,
        "registered_at": now,
        "expires_at": pending_until or now + (BOOTSTRAP_LIFE if bootstrap else KEY_LIFE),
        "revoked_at": None,
        "reason": None,
    }
    row = await rows.add(session, "member_key", values)
    if row is None:
        raise Refused("key_exists")
    return _key(row)


def key_lives(kid: str) -> ColumnElement[bool]:
    """Return the condition, for another concept's statement, that a key may sign by the database's clock."""
    return (
        select(member_key.c.kid)
        .where(
            member_key.c.kid == kid,
            member_key.c.state.in_(rules.SIGNING),
            member_key.c.expires_at > func.clock_timestamp(),
        )
        .exists()
    )


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


async def require_signing(session: WriteSession, kid: str) -> None:
    """Refuse who holds the lock on its member, if its key was revoked or ended while it waited for it.

    A thief's foothold must not be made by a request that was good when the revocation was being carried out.
    """
    code = await why_key_cannot_sign(session, kid)
    if code is not None:
        raise Refused(code)


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


@dataclass(frozen=True, slots=True)
class EndingKey:
    """A key that ends soon: within which of the numbers of days asked for, and whether its member has a later one."""

    kid: str
    member_id: UUID
    expires_at: datetime
    within_days: int
    last: bool


async def ending_keys(
    session: ReadSession, *, days: Sequence[int], now: datetime, member_id: UUID | None = None
) -> list[EndingKey]:
    """Return the keys that sign and end within the largest of these numbers of days, soonest first.

    Of members that may sign at all. Bootstrap keys are left out: they are to end.
    """
    latest = func.max(member_key.c.expires_at).over(partition_by=member_key.c.member_id).label("latest")
    signing = (
        select(member_key.c.kid, member_key.c.member_id, member_key.c.expires_at, latest)
        .join(member, member.c.member_id == member_key.c.member_id)
        .where(member.c.status.in_(sorted(MAY)), member_key.c.bootstrap.is_(False))
        .where(member_key.c.state.in_(rules.SIGNING), member_key.c.expires_at > now)
    )
    if member_id is not None:
        signing = signing.where(member_key.c.member_id == member_id)
    keys = signing.subquery()
    found = await session.execute(
        select(keys).where(keys.c.expires_at <= now + timedelta(days=max(days))).order_by(keys.c.expires_at, keys.c.kid)
    )
    return [
        EndingKey(
            row.kid,
            row.member_id,
            row.expires_at,
            rules.warning(row.expires_at, now=now, days=days) or max(days),
            row.expires_at == row.latest,
        )
        for row in found
    ]


async def last_keys(session: ReadSession, *, before: datetime) -> list[LastKey]:
    """Return the active members whose last key ends before an instant, soonest first; bootstrap keys are to end."""
    ends = func.max(member_key.c.expires_at)
    found = await session.execute(
        select(member.c.member_id, member.c.role, ends.label("ends"))
        .join(member_key, member_key.c.member_id == member.c.member_id)
        .where(
            member.c.status.in_(sorted(MAY)), member_key.c.state.in_(rules.SIGNING), member_key.c.bootstrap.is_(False)
        )
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


def hash_code(code: str) -> bytes:
    """Return the digest under which a one-time code is kept; the code itself is told once."""
    return hashlib.sha256(b"creditshare/enrolment|" + code.encode()).digest()


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


def _facts(rows: Sequence[RowMapping]) -> list[rules.KeyFacts]:
    return [rules.KeyFacts(r["kid"], r["state"], r["registered_at"], r["expires_at"], r["registered_by"]) for r in rows]


def _usable(row: RowMapping, now: datetime) -> bool:
    return row["used_at"] is None and row["expires_at"] > now and not _too_many_tries(row, now)


def _too_many_tries(row: RowMapping, now: datetime) -> bool:
    since = row["tries_since"]
    return since is not None and since > now - timedelta(hours=1) and row["wrong_tries"] >= CODE_TRIES_PER_HOUR


def membership_entry(action: str, member_id: UUID, **details: str | int) -> Entry:
    """Return what the log says of an act on a member."""
    return Entry(action, references={"member_id": spell("mem", member_id)}, details=details)
