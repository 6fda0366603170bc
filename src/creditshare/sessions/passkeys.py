"""Passkeys: made on a page, worth nothing until the member's own key signs their digest, used to confirm changes."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from creditshare.access.keytable import KeyTable
from creditshare.access.service import Caller
from creditshare.audit.service import Entry, Recorded
from creditshare.crypto.rowseals import RowSeals
from creditshare.errors import FieldError, IntegrityError, Refused
from creditshare.ids import spell
from creditshare.keys.tombstones import Tombstones
from creditshare.sessions.models import passkey
from creditshare.sessions.rules import PASSKEY_LIMIT, PASSKEY_WITHIN, counts_on
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.wire.confirmation import passkey_digest
from creditshare.wire.requests import RegisteredKey

TABLE: Final = "passkey"


@dataclass(frozen=True, slots=True)
class Passkey:
    """A person's authenticator at one member, by its public half."""

    credential_id: bytes
    digest: str
    member_id: UUID
    jwk: Mapping[str, str]
    sign_count: int
    label: str
    state: str
    made_at: datetime
    confirmed_by: str | None
    confirmed_at: datetime | None


class Passkeys:
    """Passkeys as named actions; each row is checked against its seal before it counts."""

    def __init__(self, *, key_table: KeyTable, tombstones: Tombstones, seals: RowSeals) -> None:
        self._key_table = key_table
        self._tombstones = tombstones
        self._seals = seals

    async def of_member(self, session: ReadSession, member_id: UUID) -> list[Passkey]:
        """Return a member's passkeys that are neither revoked nor forgotten, newest first."""
        found = await session.execute(
            select(passkey)
            .where(passkey.c.member_id == member_id, passkey.c.state != "revoked")
            .order_by(passkey.c.made_at.desc())
        )
        return [_passkey(row) for row in found.mappings() if self._holds(row)]

    async def usable(self, session: ReadSession, member_id: UUID, *, now: datetime) -> list[Passkey]:
        """Return those of them that confirm: active, and the key that confirmed them is neither revoked nor ended."""
        return [one for one in await self.of_member(session, member_id) if self._counts(one, now)]

    def ends(self, one: Passkey) -> datetime | None:
        """Return when a passkey ends, which is with the key that confirmed it; None where it is pending or revoked."""
        key = self._vouching(one)
        return None if key is None else datetime.fromtimestamp(key.expires_at, UTC)

    async def offer(
        self,
        session: WriteSession,
        member_id: UUID,
        *,
        credential_id: bytes,
        jwk: Mapping[str, str],
        sign_count: int,
        label: str,
        now: datetime,
    ) -> Recorded[Passkey]:
        """Keep a new passkey that waits for a signature of the member's key; one that anybody has is refused."""
        await session.execute(
            delete(passkey).where(passkey.c.state == "pending", passkey.c.made_at <= now - PASSKEY_WITHIN)
        )
        kept = await self.of_member(session, member_id)
        if sum(one.state == "pending" or self._counts(one, now) for one in kept) >= PASSKEY_LIMIT:
            raise Refused("key_limit")
        digest = passkey_digest(credential_id, jwk)
        row: dict[str, Any] = {
            "credential_id": credential_id,
            "digest": digest,
            "member_id": member_id,
            "jwk": dict(jwk),
            "sign_count": sign_count,
            "label": label,
            "state": "pending",
            "made_at": now,
            "confirmed_by": None,
            "confirmed_at": None,
        }
        seal = self._seals.seal(TABLE, row)
        made = await session.execute(
            insert(passkey).values(**row, seal=seal).on_conflict_do_nothing().returning(passkey)
        )
        if made.first() is None:
            raise Refused("key_exists")
        entry = Entry("offer_passkey", references={"member_id": spell("mem", member_id)}, details={"passkey": digest})
        return Recorded(Passkey(**row), entry)

    async def confirm(self, session: WriteSession, caller: Caller, digest: str, *, now: datetime) -> Recorded[Passkey]:
        """Let a passkey count from now on: the member's key signed its digest. Not with a bootstrap key."""
        if caller.bootstrap:
            raise Refused("role_forbidden", extra={"hint": "bootstrap keys only admit operators"})
        row = await self._lock(session, caller.member_id, digest)
        if row["state"] != "pending" or row["made_at"] <= now - PASSKEY_WITHIN:
            raise Refused("state_conflict", extra={"hint": "make the passkey anew and confirm it within ten minutes"})
        changed = await self._change(session, row, state="active", confirmed_by=caller.kid, confirmed_at=now)
        return Recorded(changed, _entry("confirm_passkey", changed))

    async def revoke(self, session: WriteSession, caller: Caller, digest: str, *, now: datetime) -> Recorded[Passkey]:
        """End a passkey of the caller's member for good, also where an older backup brings its row back."""
        row = await self._lock(session, caller.member_id, digest)
        if row["state"] == "revoked":
            raise Refused("state_conflict")
        changed = await self._change(session, row, state="revoked")
        await asyncio.to_thread(self._tombstones.add, "passkey", [digest], now=now)
        return Recorded(changed, _entry("revoke_passkey", changed))

    async def find(self, session: WriteSession, member_id: UUID, credential_id: bytes, *, now: datetime) -> Passkey:
        """Return a passkey that this member may confirm with, locked; ``passkey_invalid`` for any other."""
        found = await session.execute(select(passkey).where(passkey.c.credential_id == credential_id).with_for_update())
        row = found.mappings().one_or_none()
        if row is None or row["member_id"] != member_id:
            raise Refused("passkey_invalid")
        if not self._holds(row):
            raise IntegrityError("a row of passkey does not match its seal")
        one = _passkey(row)
        if not self._counts(one, now):
            raise Refused("passkey_invalid")
        return one

    async def used(self, session: WriteSession, one: Passkey, *, sign_count: int) -> None:
        """Note what the authenticator counts; ``passkey_invalid`` where it did not go on, as a copy's would not."""
        if not counts_on(one.sign_count, sign_count):
            raise Refused("passkey_invalid")
        found = await session.execute(
            select(passkey).where(passkey.c.credential_id == one.credential_id).with_for_update()
        )
        await self._change(session, found.mappings().one(), sign_count=sign_count)

    def _counts(self, one: Passkey, now: datetime) -> bool:
        key = self._vouching(one)
        return key is not None and key.expires_at > now.timestamp()

    def _vouching(self, one: Passkey) -> RegisteredKey | None:
        """Return the key that confirmed a passkey, ended or not; None where either of them was revoked."""
        known = self._key_table.known(one.confirmed_by) if one.confirmed_by else None
        if known is None or one.state != "active" or self._key_table.is_buried(one.digest):
            return None
        return None if known.registered.state == "revoked" else known.registered

    async def _lock(self, session: WriteSession, member_id: UUID, digest: str) -> RowMapping:
        found = await session.execute(
            select(passkey).where(passkey.c.member_id == member_id, passkey.c.digest == digest).with_for_update()
        )
        row = found.mappings().one_or_none()
        if row is None:
            raise Refused("not_found")
        if not self._holds(row):
            raise IntegrityError("a row of passkey does not match its seal")
        return row

    async def _change(self, session: WriteSession, row: RowMapping, **changes: Any) -> Passkey:
        whole = {**_decisive(row), **changes}
        seal = self._seals.seal(TABLE, whole)
        await session.execute(
            update(passkey).where(passkey.c.credential_id == row["credential_id"]).values(**changes, seal=seal)
        )
        return Passkey(**whole)

    def _holds(self, row: RowMapping) -> bool:
        return self._seals.holds(TABLE, _decisive(row), bytes(row["seal"]))


async def broken_passkeys(session: ReadSession, seals: RowSeals) -> list[str]:
    """Return the digests of passkeys whose rows do not match their seals."""
    rows = (await session.execute(select(passkey))).mappings()
    return [row["digest"] for row in rows if not seals.holds(TABLE, _decisive(row), bytes(row["seal"]))]


async def accept_passkey(session: WriteSession, seals: RowSeals, digest: str) -> None:
    """Seal a passkey's row as it stands, for an operator who looked at it."""
    found = await session.execute(select(passkey).where(passkey.c.digest == digest).with_for_update())
    seal = seals.seal(TABLE, _decisive(found.mappings().one()))
    await session.execute(update(passkey).where(passkey.c.digest == digest).values(seal=seal))


def digest_of(text: str) -> str:
    """Return a passkey's digest as it was given, or refuse naming the field."""
    if len(text) != 43 or not text.replace("-", "").replace("_", "").isalnum() or not text.isascii():  # noqa: PLR2004  SHA-256
        raise Refused("validation_failed", fields=[FieldError("/passkey", "format", "as the page shows it")])
    return text


def _decisive(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {column.name: row[column.name] for column in passkey.c if column.name != "seal"}


def _passkey(row: RowMapping) -> Passkey:
    return Passkey(**_decisive(row))


def _entry(action: str, one: Passkey) -> Entry:
    return Entry(action, references={"member_id": spell("mem", one.member_id)}, details={"passkey": one.digest})
