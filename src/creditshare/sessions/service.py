"""Links, sessions and what waits to be confirmed. All of it is part of the caller's transaction."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import delete, select, update

from creditshare.access.keytable import KeyTable, KnownKey
from creditshare.access.service import Caller
from creditshare.audit.service import Entry, Recorded
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.sealing import Box, Place
from creditshare.errors import IntegrityError, Refused
from creditshare.ids import spell
from creditshare.members.service import MemberRole
from creditshare.sessions.models import console_challenge, console_link, console_session
from creditshare.sessions.rules import CONFIRM_WITHIN, IDLE, LINK_LIFE, LONGEST, LOOKS, why_ended
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.wire.confirmation import challenge_of
from creditshare.wire.strict_json import canonical, decode_object

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time code, told once, and until when it buys a session."""

    code: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """Who looks at pages: a member's person, by which key it came, in which role."""

    session_hash: bytes = field(repr=False)
    member_id: UUID
    kid: str
    sub: str
    role: MemberRole
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Begun:
    """A new session with the secret that only the browser keeps."""

    secret: str = field(repr=False)
    session: Session


class Sessions:
    """Makes, finds and ends sessions; keeps what a page showed until it is confirmed."""

    def __init__(self, *, key_table: KeyTable, box: Box, form_key: bytes) -> None:
        self._key_table = key_table
        self._box = box
        self._form_key = form_key

    async def make_link(self, session: WriteSession, caller: Caller, *, now: datetime) -> Recorded[Link]:
        """Make a code for the person who signed. ``now`` is the machine's clock, as for keys."""
        if caller.member.status not in LOOKS:
            raise Refused("member_suspended")
        await self._forget(session, now)
        code = b64url_encode(secrets.token_bytes(SECRET_BYTES))
        expires_at = now + LINK_LIFE
        bought = {
            "expires": int(expires_at.timestamp()),
            "kid": caller.kid,
            "member_id": str(caller.member_id),
            "sub": caller.sub,
        }
        name = _hash(code)
        sealed = self._box.seal(Place("console_link", "sealed", name), canonical(bought))
        await session.execute(console_link.insert().values(code_hash=name, expires_at=expires_at, sealed=sealed))
        return Recorded(Link(code, expires_at), Entry("create_console_link"))

    async def begin(self, session: WriteSession, code: str, *, now: datetime) -> Recorded[Begun]:
        """Use up a code and begin a session; ``console_code_invalid`` for one that is unknown, used or too old.

        The key and the member are looked at anew: a minute is long enough to lose either.
        """
        name = _hash(code)
        used = delete(console_link).where(console_link.c.code_hash == name).returning(console_link.c.sealed)
        sealed = (await session.execute(used)).scalar_one_or_none()
        if sealed is None:
            raise Refused("console_code_invalid")
        bought = decode_object(self._box.open(Place("console_link", "sealed", name), sealed))
        if int(str(bought["expires"])) <= now.timestamp():
            raise Refused("console_code_invalid")
        known = await self._key_table.find(str(bought["kid"]))
        if known is None or known.member.member_id != UUID(str(bought["member_id"])):
            raise Refused("console_code_invalid")
        secret = b64url_encode(secrets.token_bytes(SECRET_BYTES))
        begun = Session(
            _hash(secret),
            known.member.member_id,
            known.registered.kid,
            str(bought["sub"]),
            known.member.role,
            now + LONGEST,
        )
        require_standing(begun, known, now=now)
        await session.execute(
            console_session.insert().values(
                session_hash=begun.session_hash,
                member_id=begun.member_id,
                last_seen_at=now,
                ends_at=begun.ends_at,
                sealed=self._seal(begun),
            )
        )
        return Recorded(Begun(secret, begun), Entry("begin_console_session", references=_concerned(begun)))

    async def find(self, session: WriteSession, secret: str, *, now: datetime, used: bool) -> Session | None:
        """Return a session that lives; ``used`` says whether this look keeps it alive for longer."""
        name = _hash(secret)
        alive = (
            console_session.c.session_hash == name,
            console_session.c.last_seen_at > now - IDLE,
            console_session.c.ends_at > now,
        )
        if used:
            looked = update(console_session).where(*alive).values(last_seen_at=now).returning(console_session.c.sealed)
            sealed = (await session.execute(looked)).scalar_one_or_none()
        else:
            sealed = (await session.execute(select(console_session.c.sealed).where(*alive))).scalar_one_or_none()
        if sealed is None:
            return None
        found = self._open(name, sealed)
        return found if found.ends_at > now else None

    async def standing(self, found: Session, *, now: datetime) -> KnownKey:
        """Return the session's key with its member as the key table knows them, or refuse if either ended."""
        known = await self._key_table.find(found.kid)
        if known is None:
            raise Refused("key_revoked")
        require_standing(found, known, now=now)
        return known

    async def end(self, session: WriteSession, found: Session) -> Recorded[None]:
        """End a session, and what waits in it."""
        for table in (console_session, console_challenge):
            await session.execute(delete(table).where(table.c.session_hash == found.session_hash))
        return Recorded(None, Entry("end_console_session", references=_concerned(found)))

    async def offer(self, session: WriteSession, found: Session, document: bytes, *, now: datetime) -> bytes:
        """Keep a document that is shown for confirmation, and return the challenge that confirms it."""
        challenge = challenge_of(document)
        name = hashlib.sha256(challenge).digest()
        expires_at = now + CONFIRM_WITHIN
        kept = canonical({"document": document.decode(), "expires": int(expires_at.timestamp())})
        sealed = self._box.seal(Place("console_challenge", "sealed", name + found.session_hash), kept)
        row = {"challenge_hash": name, "session_hash": found.session_hash, "expires_at": expires_at, "sealed": sealed}
        await session.execute(console_challenge.insert().values(row))
        return challenge

    async def take(self, session: WriteSession, found: Session, challenge: bytes, *, now: datetime) -> bytes:
        """Use up what was shown in this session, and return its document.

        ``confirmation_ended`` for what was never shown in it, was confirmed already, or was shown too long ago.
        """
        name = hashlib.sha256(challenge).digest()
        taken = await session.execute(
            delete(console_challenge)
            .where(
                console_challenge.c.challenge_hash == name,
                console_challenge.c.session_hash == found.session_hash,
                console_challenge.c.expires_at > now,
            )
            .returning(console_challenge.c.sealed)
        )
        sealed = taken.scalar_one_or_none()
        if sealed is None:
            raise Refused("confirmation_ended")
        kept = decode_object(self._box.open(Place("console_challenge", "sealed", name + found.session_hash), sealed))
        if int(str(kept["expires"])) <= now.timestamp():
            raise Refused("confirmation_ended")
        return str(kept["document"]).encode()

    def form_token(self, found: Session) -> str:
        """Return what each form of a session carries, so that no other page can send one."""
        return b64url_encode(hmac.digest(self._form_key, found.session_hash, "sha256"))

    def require_form_token(self, found: Session, given: str) -> None:
        """Refuse a form without it, or with that of another session."""
        if not hmac.compare_digest(self.form_token(found).encode(), given.encode()):
            raise Refused("form_token_invalid")

    async def count(self, session: ReadSession, member_id: UUID, *, now: datetime) -> int:
        """Return how many sessions of a member live."""
        alive = select(console_session.c.session_hash).where(
            console_session.c.member_id == member_id,
            console_session.c.last_seen_at > now - IDLE,
            console_session.c.ends_at > now,
        )
        return len((await session.execute(alive)).all())

    async def _forget(self, session: WriteSession, now: datetime) -> None:
        """Delete what is over; there is little of it, so whoever comes next does it."""
        await session.execute(delete(console_link).where(console_link.c.expires_at <= now))
        await session.execute(delete(console_challenge).where(console_challenge.c.expires_at <= now))
        await session.execute(delete(console_session).where(console_session.c.last_seen_at <= now - IDLE))

    def _seal(self, begun: Session) -> bytes:
        said = {
            "ends": int(begun.ends_at.timestamp()),
            "kid": begun.kid,
            "member_id": str(begun.member_id),
            "role": begun.role,
            "sub": begun.sub,
        }
        return self._box.seal(Place("console_session", "sealed", begun.session_hash), canonical(said))

    def _open(self, name: bytes, sealed: bytes) -> Session:
        said = decode_object(self._box.open(Place("console_session", "sealed", name), sealed))
        role = _role(str(said["role"]))
        ends_at = datetime.fromtimestamp(int(str(said["ends"])), UTC)
        return Session(name, UUID(str(said["member_id"])), str(said["kid"]), str(said["sub"]), role, ends_at)


def require_standing(found: Session, known: KnownKey, *, now: datetime) -> None:
    """Refuse where the key or the member of a session is not what it was."""
    code = why_ended(
        status=known.member.status,
        role=known.member.role,
        began_as=found.role,
        key_state=known.registered.state,
        key_expires_at=known.registered.expires_at,
        now=now,
    )
    if code is not None:
        raise Refused(code)


def _role(text: str) -> MemberRole:
    if text in {"lender", "regulator", "operator"}:
        return text  # type: ignore[return-value]  # checked on this very line
    raise IntegrityError("a session of no known role")


def _hash(secret: str) -> bytes:
    return hashlib.sha256(b"creditshare/console|" + secret.encode()).digest()


def _concerned(found: Session) -> dict[str, str]:
    return {"member_id": spell("mem", found.member_id)}
