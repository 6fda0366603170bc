"""The members' keys as one worker knows them: in memory, confirmed against the database all the time.

A revocation reaches every worker within two seconds: the table is reloaded on NOTIFY, its version is
polled as a fallback, and a table that could not be confirmed for two seconds answers nothing. For what
writes, the action's own transaction looks at the key again, so there it takes effect at once.

Every row is checked against its seal when it is read. One that was planted, edited, or put back to an older state that
this process knows to be past, is believed no more: its key, or its member's keys, open nothing until it is mended, and
all others go on. What has a tombstone is revoked whatever the database says. A process that begins anew has no memory
to go by: it does not serve from a table that is not whole.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from creditshare.crypto.jws import VerifyingKey
from creditshare.crypto.rowseals import NO_ROWS, accounted, added
from creditshare.errors import ConfigurationError, IntegrityError, Unavailable
from creditshare.ids import spell
from creditshare.keys.tombstones import Tombstones
from creditshare.members.key_table import (
    KeyRow,
    KeyTableChanges,
    MemberRow,
    RowState,
    read_key_table,
    read_key_table_state,
)
from creditshare.members.repository import SealedRows
from creditshare.members.service import Member
from creditshare.storage.engine import Database
from creditshare.telemetry import BROKEN_SEALS
from creditshare.wire.requests import KeyState, RegisteredKey

log = structlog.get_logger()

UNKNOWN_KEY_WAIT_S = 0.2
CONFIRMATION_WAIT_S = 1.0
NOTHING_KNOWN = -1
GATHER_S = 0.05
"""A change after a quiet time is read at once; of many in a row, such as admissions, several are read together."""


KEY_STATES: Final[Mapping[str, KeyState]] = {"active": "active", "retiring": "retiring"}
"""States in which a key signs; another one that is not ``revoked`` opens nothing."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A member's key, its parsed form kept, and the member as of the last reload."""

    registered: RegisteredKey
    member: Member
    bootstrap: bool
    seals: tuple[bytes, bytes]
    """Of the key's row and the member's: who reads the same ones later reads what was checked here."""


class KeyTable:
    """One per worker process. ``run`` keeps it fresh; ``find`` never touches the database for a known key."""

    def __init__(
        self,
        database: Database,
        *,
        rows: SealedRows,
        tombstones: Tombstones,
        poll_s: float,
        stale_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._rows = rows
        self._tombstones = tombstones
        self._poll_s = poll_s
        self._stale_s = stale_s
        self._monotonic = monotonic
        self._parsed: dict[str, VerifyingKey] = {}
        self._buried: frozenset[str] = frozenset()
        self._stamp: tuple[int, int] | None = None
        self._confirmed = float("-inf")
        self._reloading: asyncio.Task[None] | None = None
        # One after the other: rows read earlier and taken in later would look like rows put back.
        self._alone = asyncio.Lock()
        self._forget()

    def _forget(self) -> None:
        self._members: dict[UUID, MemberRow] = {}
        self._keys: dict[str, KeyRow] = {}
        self._newest: dict[UUID | str, tuple[int, bytes]] = {}
        self._disbelieved: dict[UUID | str, bytes] = {}
        self._sum = NO_ROWS
        self._known: dict[str, KnownKey] = {}
        self._version = NOTHING_KNOWN
        self._sealed_sum = b""

    @property
    def fresh(self) -> bool:
        """Whether the table was confirmed recently enough to be believed."""
        return self.age_s <= self._stale_s

    @property
    def age_s(self) -> float:
        """How long ago the table was last confirmed."""
        return self._monotonic() - self._confirmed

    def known(self, kid: str) -> KnownKey | None:
        """Return a key if it is known already, without asking anybody. A row that is not believed raises."""
        known = self._known.get(kid)
        if known is None:
            row = self._keys.get(kid)
            if row is None:
                return None
            known = self._known[kid] = self._checked(row)
        return known

    def is_buried(self, name: str) -> bool:
        """Whether a tombstone says that a key or passkey was revoked, whatever its row says after a restore."""
        return name in self._buried

    async def find(self, kid: str) -> KnownKey | None:
        """Return a key by its id. An unknown one costs a coalesced reload, and 200 ms before it is given up.

        ``IntegrityError``: the key's row or its member's was written behind the service's back.
        """
        if not self.fresh:
            await self._reload_once()
        if not self.fresh:
            raise Unavailable("the key table could not be confirmed")
        known = self.known(kid)
        if known is None:  # it may have been registered a moment ago, through another process
            asked = self._monotonic()
            await self._reload_once()
            known = self.known(kid)
            if known is None:
                await asyncio.sleep(max(0.0, UNKNOWN_KEY_WAIT_S - (self._monotonic() - asked)))
                known = self.known(kid)
        return known

    async def reload(self, *, everything: bool = False) -> None:
        """Read what changed since the last time; keys are never deleted, so all else stays as it is known.

        ``everything`` does not rely on the trigger that counts changes; what is known is compared, not forgotten.
        """
        async with self._alone:
            await self._reload(NOTHING_KNOWN if everything else self._version)

    async def _reload(self, since: int) -> None:
        asked = self._monotonic()
        await self._read_tombstones()
        changes = await self._changes(since)
        if changes.version < self._version:  # another database, such as a restored one, answers now
            self._forget()
            changes = await self._changes(NOTHING_KNOWN)
        first = self._version == NOTHING_KNOWN
        self._take(changes)
        whole = changes.total is not None and accounted(changes.total, self._sum, self._disbelieved.values())
        BROKEN_SEALS.set(len(self._disbelieved) + (not whole))
        if not whole:
            log.error("key table is not whole", part="key table")
            if first:
                self._forget()
                raise Unavailable("rows of members or keys were taken away or put back to an older state")
        self._confirmed = asked

    async def _changes(self, since: int) -> KeyTableChanges:
        async with self._database.reading() as session:
            return await read_key_table(session, self._rows, since=since)

    def _take(self, changes: KeyTableChanges) -> None:
        for row in changes.members:
            identity = row.member.member_id
            older = self._members.get(identity)
            self._judge(identity, older.state if older else None, row.state, part="member", member_id=identity)
            self._members[identity] = row
        for key in changes.keys:
            known = self._keys.get(key.kid)
            self._judge(key.kid, known.state if known else None, key.state, part="member_key", member_id=key.member_id)
            self._keys[key.kid] = key
        self._known = {}
        self._version, self._sealed_sum = changes.version, changes.sealed_sum

    def _judge(
        self, identity: UUID | str, older: RowState | None, row: RowState, *, part: str, member_id: UUID
    ) -> None:
        """Believe a row or not, and keep the sum of those that are. A good row may still be one of before."""
        if older is not None and self._disbelieved.pop(identity, None) is None:
            self._sum = added(self._sum, older.share)
        revision, seal = self._newest.get(identity, (0, b""))
        if row.holds and (row.revision > revision or row.seal == seal):
            self._newest[identity] = (row.revision, row.seal)
            self._sum = added(self._sum, row.share)
        else:
            self._disbelieved[identity] = row.share
            log.error("row does not match its seal", part=part, member_id=spell("mem", member_id))

    async def _read_tombstones(self) -> None:
        """Read which keys and passkeys are buried, if one was added; what was read before stays where it cannot be."""
        stamp = self._tombstones.stamp()
        if stamp != self._stamp:
            with contextlib.suppress(ConfigurationError):
                buried = await asyncio.to_thread(self._tombstones.read)
                self._buried = frozenset((*buried.keys, *buried.passkeys))
                self._stamp, self._known = stamp, {}

    async def confirm(self) -> None:
        """Ask for the version and the sum, and reload if they moved; all of it, if the sum did without the version."""
        asked = self._monotonic()
        await self._read_tombstones()
        async with self._database.reading() as session:
            version, sealed_sum = await read_key_table_state(session)
        if (version, sealed_sum) == (self._version, self._sealed_sum):
            self._confirmed = asked
            return
        await self.reload(everything=version == self._version)

    async def run(self) -> None:
        """Poll for ever, woken early by NOTIFY. Failures leave the table to grow stale, which closes the gate."""
        async with asyncio.TaskGroup() as tasks:
            woken = asyncio.Event()
            tasks.create_task(self._database.listen("creditshare_keys", woken))
            while True:
                with contextlib.suppress(Unavailable):
                    await self.confirm()
                await asyncio.sleep(GATHER_S)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), self._poll_s)
                woken.clear()

    async def _reload_once(self) -> None:
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload_quietly())
        # Nobody waits longer, however long the database takes: the reload goes on for those who come later.
        await asyncio.wait({self._reloading}, timeout=CONFIRMATION_WAIT_S)

    async def _reload_quietly(self) -> None:
        with contextlib.suppress(Unavailable):
            await self.reload()

    def _checked(self, row: KeyRow) -> KnownKey:
        owner = self._members.get(row.member_id)
        if owner is None or row.kid in self._disbelieved or row.member_id in self._disbelieved:
            raise IntegrityError("a key's row or its member's does not match its seal")
        parsed = self._parsed.get(row.kid)
        if parsed is None:
            parsed = self._parsed[row.kid] = VerifyingKey.from_jwk(row.jwk)
        ended = row.key_state == "revoked" or owner.member.status == "terminated"
        gone = ended or row.kid in self._buried
        registered = RegisteredKey(
            kid=row.kid,
            member_id=spell("mem", row.member_id),
            key=parsed,
            state="revoked" if gone else KEY_STATES.get(row.key_state, "pending"),
            expires_at=int(row.expires_at.timestamp()),
        )
        return KnownKey(registered, owner.member, row.bootstrap, (row.state.seal, owner.state.seal))
