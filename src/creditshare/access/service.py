"""The request gate's side effects: who calls, is it new, is it a retry of something already done."""

import hashlib
import hmac
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from creditshare.access.keytable import KeyTable, KnownKey
from creditshare.access.limits import Limits, Standing, peer_name
from creditshare.access.models import idempotency, refusal_tally, replay_guard
from creditshare.access.quotas import Quotas, forget_days
from creditshare.audit.service import Actor
from creditshare.clock import Clock
from creditshare.crypto.sealing import Box, Place
from creditshare.errors import FieldError, IntegrityError, Malformed, Refused, Unavailable
from creditshare.ids import Prefix, parse, spell
from creditshare.keys.custody import SubjectKeys
from creditshare.members.key_table import seal_of_key, seal_of_member
from creditshare.members.keys import key_lives, why_key_cannot_sign
from creditshare.members.service import Member
from creditshare.storage.engine import Database, WriteSession
from creditshare.wire.requests import Authenticated, Received, authenticate
from creditshare.wire.requests import parse as parse_request

REPLAY_GRACE_S: Final = 300
IDEMPOTENCY_LIFE: Final = timedelta(hours=72)
KEY_LENGTH: Final = range(1, 256)
LOCK_NOT_AVAILABLE: Final = "55P03"
TALLIED: Final = frozenset({"replay_detected", "rate_limited", "quota_exhausted", "enumeration_suspected"})
"""Refusals that are one event per member, code and minute: nobody may grow the log at will."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed this request, proved. ``member`` is as of the key table's last reload."""

    member: Member
    sub: str
    kid: str
    bootstrap: bool
    jti: str
    expires_at: int
    rqh: str
    request_token: str
    request_id: str
    seals: tuple[bytes, bytes]
    """Of the key's row and the member's, as they were checked."""
    traceparent: str = ""
    signed_digest: str | None = None
    """The claim ``cdg``. Where the body follows the gate, this is all that is known of it."""

    @property
    def member_id(self) -> UUID:
        """The member's id."""
        return self.member.member_id

    @property
    def actor(self) -> Actor:
        """The caller as the log names it."""
        return Actor(spell("mem", self.member_id), self.sub, self.kid, self.request_id, self.traceparent)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A request that is used up now: the database's time, and the caller with its member as of this moment."""

    now: datetime
    caller: Caller


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a member was refused for one reason within a minute."""

    member_id: UUID
    code: str
    minute: datetime
    count: int


@dataclass(frozen=True, slots=True)
class Told:
    """What a request with this idempotency key was already answered: status and the stored, sealed answer."""

    status: int
    subject_id: UUID | None
    sealed: bytes | None
    query_id: UUID | None


@dataclass(frozen=True, slots=True)
class Claim:
    """An idempotency key of a member on a route, with the keyed digest of what was asked under it."""

    member_id: UUID
    route: str
    key_hash: bytes
    fingerprint: bytes

    @property
    def place(self) -> Place:
        """Where the stored answer is bound to."""
        return Place("idempotency", "answer", self.member_id.bytes + self.key_hash)


class Access:
    """Authenticates and guards. Everything it writes is part of the action's own transaction."""

    def __init__(
        self,
        *,
        key_table: KeyTable,
        issuer: str,
        skew_s: int,
        clock: Clock,
        fingerprint_key: bytes,
        service_box: Box,
        limits: Limits,
        quotas: Quotas,
    ) -> None:
        self.key_table = key_table
        self.limits = limits
        self.quotas = quotas
        self._issuer = issuer
        self._skew = skew_s
        self._clock = clock
        self._fingerprint_key = fingerprint_key
        self._box = service_box

    async def authenticate(
        self, received: Received, *, request_id: str, peer: str | None, traceparent: str = ""
    ) -> Caller:
        """Run the gate. Raises ``Refused``; until it returns nothing is logged and nothing is used up."""
        unverified = parse_request(received)
        known = await self._find(unverified.kid, peer)
        proved: Authenticated = authenticate(
            unverified,
            received,
            registered=None if known is None else known.registered,
            issuer=self._issuer,
            now=int(self._clock.now().timestamp()),
            skew=self._skew,
        )
        if known is None:
            raise Refused("signature_invalid")
        return Caller(
            member=known.member,
            sub=proved.claims.sub,
            kid=proved.kid,
            bootstrap=known.bootstrap,
            jti=proved.claims.jti,
            expires_at=proved.claims.exp,
            rqh=proved.rqh,
            request_token=proved.token_bytes.decode("ascii"),
            request_id=request_id,
            seals=known.seals,
            traceparent=traceparent,
            signed_digest=proved.claims.cdg,
        )

    async def _find(self, kid: str, peer: str | None) -> KnownKey | None:
        """Find a key. Only what is dear for strangers is limited by address: decision 0010."""
        if self.key_table.known(kid) is not None:
            return await self.key_table.find(kid)
        self.require_patience(peer)
        known = await self.key_table.find(kid)
        if known is None:
            self.note_failure(peer)
        return known

    def require_patience(self, peer: str | None) -> None:
        """Refuse an address from which too much came that proved nothing, before more of it is looked at."""
        standing = self.limits.strangers.look(peer_name(peer), now=time.monotonic())
        if standing.wait_s:
            raise Refused("rate_limited", retry_after=standing.wait_s)

    def note_failure(self, peer: str | None) -> None:
        """Count something from an address that proved nothing."""
        self.limits.strangers.use(peer_name(peer), now=time.monotonic())

    def pace(self, caller: Caller) -> Standing:
        """Count a member's request against its pace; where nothing is left, the refusal is tallied in memory."""
        standing = self.limits.members.use(caller.member_id, now=time.monotonic())
        if standing.wait_s:
            self.tally_later(caller, "rate_limited")
        return standing

    def tally_later(self, caller: Caller, code: str) -> None:
        """Count a refusal that used no transaction; ``hand_over_tallies`` brings it to the database."""
        self.limits.tallies.count(caller.member_id, code, now=self._clock.now())

    async def hand_over_tallies(self, database: Database) -> None:
        """Write down the refusals counted in memory; what cannot be written now is kept for the next time."""
        taken = self.limits.tallies.take()
        if not taken:
            return
        try:
            async with database.writing() as session:
                for (member_id, code, minute), count in taken.items():
                    await _add_to_tally(session, member_id, code, minute, count)
                await session.commit()
        except Unavailable:
            self.limits.tallies.put_back(taken)
            raise

    async def claim_request(self, session: WriteSession, caller: Caller) -> Claimed:
        """Use up the request's jti, if its key is still good now, and return the business time with the caller.

        The first statement of every signed action: all else depends on its row. It also reads the seals of the key's
        and the member's rows, so that a suspension holds at once and not only after the key table's next reload.
        """
        statement = (
            insert(replay_guard)
            .from_select(
                ["iss", "jti_hash", "expires_at"],
                select(
                    literal(caller.member_id), literal(jti_hash(caller.jti)), literal(replay_expiry(caller, self._skew))
                ).where(key_lives(caller.kid)),
            )
            .on_conflict_do_nothing()
            .returning(
                func.creditshare_now().label("now"),
                seal_of_key(caller.kid).label("key_seal"),
                seal_of_member(caller.member_id).label("member_seal"),
            )
        )
        row = (await session.execute(statement)).one_or_none()
        if row is None:
            raise Refused(await why_key_cannot_sign(session, caller.kid) or "replay_detected")
        current = await self.confirmed(caller, (bytes(row.key_seal), bytes(row.member_seal)))
        return Claimed(row.now.astimezone(UTC), current)

    async def confirmed(self, caller: Caller, seals: tuple[bytes, bytes]) -> Caller:
        """Return a caller as its rows stand, by the seals that a statement just read in them.

        Where they are the ones that the key table checked, so is all that they seal, and what the key table knows is
        what holds. Otherwise something changed since, and the key table reads and checks it now. A statement's own look
        at a status or state can only refuse more: who edits the database cannot grant himself anything by it.
        """
        if seals == caller.seals:
            return caller
        await self.key_table.reload()
        known = self.key_table.known(caller.kid)
        if known is None or known.seals != seals:
            await self.key_table.reload(everything=True)
            known = self.key_table.known(caller.kid)
        if known is None or known.seals != seals:
            raise IntegrityError("a key's row or its member's is not the one that the key table reads")
        if known.registered.state == "revoked":
            raise Refused("key_revoked")
        return replace(caller, member=known.member, bootstrap=known.bootstrap, seals=seals)

    def claim_of(self, member_id: UUID, *, route: str, key: str | None, method: str, body: bytes) -> Claim:
        """Return the claim that an ``Idempotency-Key`` header makes; missing or misshapen is refused.

        Quoted (draft-ietf-httpapi-idempotency-key-header) and bare forms name the same key. Both digests
        are HMACs: a plain hash of a body would let its content be guessed.
        """
        if key is None:
            raise Refused("idempotency_key_missing")
        bare = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
        if len(bare) not in KEY_LENGTH or not bare.isascii() or not bare.isprintable() or '"' in bare:
            detail = "1 to 255 printable ASCII characters, quoted or bare"
            raise Refused("validation_failed", fields=[FieldError("/headers/Idempotency-Key", "format", detail)])
        return Claim(
            member_id,
            route,
            hmac.digest(self._fingerprint_key, b"key|" + bare.encode(), "sha256"),
            hmac.digest(self._fingerprint_key, f"request|{method}|{route}|".encode() + body, "sha256"),
        )

    async def claim_key(self, session: WriteSession, claim: Claim) -> Told | None:
        """Claim an idempotency key for this transaction, or return what it was already answered.

        Waits two seconds for a twin that is still running, then ``idempotency_in_progress``. The claim lives by the
        database's own clock, which no sandbox moves.
        """
        try:
            claimed = await session.execute(
                insert(idempotency)
                .values(
                    member_id=claim.member_id,
                    route=claim.route,
                    key_hash=claim.key_hash,
                    fingerprint=claim.fingerprint,
                    expires_at=func.now() + IDEMPOTENCY_LIFE,
                )
                .on_conflict_do_nothing()
                .returning(idempotency.c.member_id)
            )
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
                raise Refused("idempotency_in_progress", retry_after=1) from error
            raise
        if claimed.first() is not None:
            return None
        row = (await session.execute(select(idempotency).where(_same(claim)))).mappings().one()
        if not hmac.compare_digest(row["fingerprint"], claim.fingerprint):
            raise Refused("idempotency_mismatch")
        return Told(row["status"], row["subject_id"], row["answer"], row["query_id"])

    async def keep_answer(
        self, session: WriteSession, claim: Claim, *, status: int, body: bytes, subject: SubjectKeys | None
    ) -> None:
        """Bind a successful answer to its key, sealed under the borrower's key where it concerns one."""
        box = subject.box("idempotency") if subject else self._box
        await session.execute(
            update(idempotency)
            .where(_same(claim))
            .values(
                status=status, answer=box.seal(claim.place, body), subject_id=subject.subject_id if subject else None
            )
        )

    def open_answer(self, claim: Claim, told: Told, *, subject: SubjectKeys | None) -> bytes:
        """Return the bytes once answered under this key."""
        box = subject.box("idempotency") if subject else self._box
        if told.sealed is None:
            raise Refused("erased")
        return box.open(claim.place, told.sealed)

    async def tally(self, session: WriteSession, caller: Caller, code: str, *, now: datetime) -> None:
        """Count a refusal that becomes one event per minute."""
        await _add_to_tally(session, caller.member_id, code, now.replace(second=0, microsecond=0), 1)


async def _add_to_tally(session: WriteSession, member_id: UUID, code: str, minute: datetime, count: int) -> None:
    await session.execute(
        insert(refusal_tally)
        .values(member_id=member_id, code=code, minute=minute, count=count)
        .on_conflict_do_update(
            index_elements=["member_id", "code", "minute"], set_={"count": refusal_tally.c.count + count}
        )
    )


async def take_tallies(session: WriteSession, *, before: datetime) -> list[Tally]:
    """Remove and return the tallies of minutes that began before an instant."""
    taken = await session.execute(
        delete(refusal_tally).where(refusal_tally.c.minute < before).returning(*refusal_tally.c)
    )
    return [Tally(**row) for row in taken.mappings()]


async def forget_expired(session: WriteSession) -> None:
    """Delete what the replay guard and idempotency need not remember any longer, and quotas of days that are over."""
    await session.execute(delete(replay_guard).where(replay_guard.c.expires_at < func.now()))
    await session.execute(delete(idempotency).where(idempotency.c.expires_at < func.now()))
    await forget_days(session)


async def empty_answers(session: WriteSession, subject_id: UUID) -> None:
    """Empty the stored answers about a borrower; their rows stay, so that a late retry is told ``erased``."""
    await session.execute(update(idempotency).where(idempotency.c.subject_id == subject_id).values(answer=None))


def jti_hash(jti: str) -> bytes:
    """Return the 16 bytes under which a jti is remembered."""
    return hashlib.sha256(jti.encode()).digest()[:16]


def replay_expiry(caller: Caller, skew_s: int) -> datetime:
    """Return until when a jti must be remembered: as long as its request could be accepted, and 300 s more."""
    return datetime.fromtimestamp(caller.expires_at + skew_s + REPLAY_GRACE_S, UTC)


def public_id(prefix: Prefix, text: str) -> UUID:
    """Return the UUID of an id in an address; anything else is simply not found."""
    try:
        return parse(prefix, text)
    except Malformed:
        raise Refused("not_found") from None


def _same(claim: Claim) -> ColumnElement[bool]:
    return and_(
        idempotency.c.member_id == claim.member_id,
        idempotency.c.route == claim.route,
        idempotency.c.key_hash == claim.key_hash,
    )
