"""The members' keys as one worker knows them: in memory, confirmed against the database all the time.

A revocation reaches every worker within two seconds: the table is reloaded on NOTIFY, its version is
polled as a fallback, and a table that could not be confirmed for two seconds answers nothing. For what
writes, the action's own transaction looks at the key again, so there it takes effect at once.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from creditshare.crypto.jws import VerifyingKey
from creditshare.errors import Unavailable
from creditshare.ids import spell
from creditshare.members.service import KeyRow, Member, read_key_table, read_key_table_version
from creditshare.storage.engine import Database
from creditshare.wire.requests import RegisteredKey

UNKNOWN_KEY_WAIT_S = 0.2
CONFIRMATION_WAIT_S = 1.0
NOTHING_KNOWN = -1
GATHER_S = 0.05
"""A change after a quiet time is read at once; of many in a row, such as admissions, several are read together."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A member's key, its parsed form kept, and the member as of the last reload."""

    registered: RegisteredKey
    member: Member
    bootstrap: bool


class KeyTable:
    """One per worker process. ``run`` keeps it fresh; ``find`` never touches the database for a known key."""

    def __init__(
        self,
        database: Database,
        *,
        poll_s: float,
        stale_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._poll_s = poll_s
        self._stale_s = stale_s
        self._monotonic = monotonic
        self._keys: dict[str, KnownKey] = {}
        self._parsed: dict[str, VerifyingKey] = {}
        self._version = NOTHING_KNOWN
        self._confirmed = float("-inf")
        self._reloading: asyncio.Task[None] | None = None

    @property
    def fresh(self) -> bool:
        """Whether the table was confirmed recently enough to be believed."""
        return self.age_s <= self._stale_s

    @property
    def age_s(self) -> float:
        """How long ago the table was last confirmed."""
        return self._monotonic() - self._confirmed

    def known(self, kid: str) -> KnownKey | None:
        """Return a key if it is known already, without asking anybody."""
        return self._keys.get(kid)

    async def find(self, kid: str) -> KnownKey | None:
        """Return a key by its id. An unknown one costs a coalesced reload, and 200 ms before it is given up."""
        if not self.fresh:
            await self._reload_once()
        if not self.fresh:
            raise Unavailable("the key table could not be confirmed")
        known = self._keys.get(kid)
        if known is None:  # it may have been registered a moment ago, through another process
            asked = self._monotonic()
            await self._reload_once()
            known = self._keys.get(kid)
            if known is None:
                await asyncio.sleep(max(0.0, UNKNOWN_KEY_WAIT_S - (self._monotonic() - asked)))
                known = self._keys.get(kid)
        return known

    async def reload(self) -> None:
        """Read what changed since the last time; keys are never deleted, so all else stays as it is known."""
        asked = self._monotonic()
        async with self._database.reading() as session:
            version, rows = await read_key_table(session, since=self._version)
        self._keys |= {row.kid: self._known(row) for row in rows}
        self._version = version
        self._confirmed = asked

    async def confirm(self) -> None:
        """Ask for the version and reload if it moved."""
        asked = self._monotonic()
        async with self._database.reading() as session:
            version = await read_key_table_version(session)
        if version != self._version:
            if version < self._version:  # another database, such as a restored one, answers now
                self._keys, self._version = {}, NOTHING_KNOWN
            await self.reload()
        else:
            self._confirmed = asked

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

    def _known(self, row: KeyRow) -> KnownKey:
        parsed = self._parsed.get(row.kid)
        if parsed is None:
            parsed = self._parsed[row.kid] = VerifyingKey.from_jwk(row.jwk)
        registered = RegisteredKey(
            kid=row.kid,
            member_id=spell("mem", row.member.member_id),
            key=parsed,
            state="active" if row.state == "active" else "retiring" if row.state == "retiring" else "revoked",
            expires_at=int(row.expires_at.timestamp()),
        )
        return KnownKey(registered, row.member, row.bootstrap)
