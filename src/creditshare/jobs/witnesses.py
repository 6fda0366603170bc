"""Asks witnesses to cosign the newest checkpoint (C2SP tlog-witness), and before anything else whether they saw more.

A witness that is away delays only the cosigned checkpoint. One that cosigned a longer log than the database holds, or
another one, saw what is missing here: a database that was set back, or a log that was forked. Then nothing is signed
any more until a person decides, because what would be signed now contradicts what others hold.
"""

import asyncio
import contextlib
import http.client
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

import structlog

from creditshare.audit.checkpoints import hold, keep_cosignatures, last_cosigned, latest_checkpoint, root_of
from creditshare.audit.proofs import prove_consistency
from creditshare.errors import Malformed, Refused, Unavailable, VerificationFailed
from creditshare.storage.engine import Database
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint
from creditshare.tlog.cosignature import Cosigned, cosigned_by
from creditshare.tlog.note import Verifier, parse_signatures, split_note
from creditshare.tlog.policy import Listed, TrustPolicy
from creditshare.tlog.spelling import decode_decimal
from creditshare.tlog.witness import AddCheckpoint

log = structlog.get_logger()

TIMEOUT_S: Final = 1.0
FIRST_TIMEOUT_S: Final = 10.0
"""Before anything is signed it is worth waiting for who may have seen more."""
MAX_ANSWER: Final = 65_536
COSIGNED: Final = 200
CONFLICT: Final = 409
UNPROVED: Final = 422
WAYS_OUT: Final = (
    "Recover the database to a moment at which it holds what the witness saw; or end this log where it was cosigned and"
    " begin another"
)
"""What an operator can do, as docs/operate.md says it at length."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness answered: a cosignature, or what it objects to, or neither where it did not help."""

    listed: Listed
    cosigned: Cosigned | None = None
    objection: str | None = None


class Witnesses:
    """Collects cosignatures by a policy, until cancelled. ``may_sign`` is false while the log is held."""

    def __init__(self, database: Database, *, verifier: Verifier, policy: TrustPolicy, poll_s: float) -> None:
        self._database = database
        self._verifier = verifier
        self._policy = policy
        self._poll_s = poll_s
        self._asked = [listed for listed in policy.witnesses.values() if listed.url is not None]
        self._held: bool | None = None  # not known before all were asked once
        self._answered = asyncio.Event()

    async def may_sign(self) -> bool:
        """Whether nobody objects. Waits until all were asked once."""
        await self._answered.wait()
        return self._held is False

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            try:
                await self.step()
            except Unavailable:
                log.warning("witnesses wait for the database")
            except Exception:
                log.exception("asking the witnesses failed")
            else:
                self._answered.set()
            await asyncio.sleep(self._poll_s)

    async def step(self) -> None:
        """Ask every witness that did not cosign the newest checkpoint yet; all of them at first, and while held."""
        async with self._database.reading() as session:
            try:
                size, note = await latest_checkpoint(session)
            except Refused:
                self._held = False  # nothing was signed yet
                return
            last = await last_cosigned(session)
        wanted = [one for one in self._asked if self._held is not False or last.get(one.witness.vkey) != size]
        answers = await asyncio.gather(*(self._ask(one, size, note, last.get(one.witness.vkey, 0)) for one in wanted))
        await self._judge(answers)
        async with self._database.writing() as session:
            await keep_cosignatures(session, size, [one.cosigned for one in answers if one.cosigned is not None])
            await session.commit()

    async def _ask(self, listed: Listed, size: int, note: str, old: int) -> Answer:
        try:
            return await self._asked_twice(listed, size, note, old)
        except (OSError, http.client.HTTPException, TimeoutError) as error:
            log.warning("a witness does not answer", witness=listed.name, kind=type(error).__name__)
        except (Malformed, VerificationFailed) as error:
            log.warning("a witness's answer does not hold", witness=listed.name, why=str(error))
        return Answer(listed)

    async def _asked_twice(self, listed: Listed, size: int, note: str, old: int) -> Answer:
        """Ask by what is known of it, and once more by the size that it says it holds."""
        for known in (True, False):
            status, body = await self._post(listed, await self._request(old, size, note))
            if status == COSIGNED:
                return Answer(listed, cosigned=self._line(listed, note, body))
            if status == UNPROVED:
                return Answer(listed, objection=f"it cosigned {old} leaves that are not the first {old} here")
            if status != CONFLICT:
                break
            said = decode_decimal(body.removesuffix("\n"), what="the witness's size")
            if said > size:
                if await self._grew(to=said):
                    return Answer(listed)  # another worker was quicker
                return Answer(listed, objection=f"it cosigned {said} leaves, and {size} are here")
            if said == old:
                return Answer(listed, objection=f"it cosigned another tree of {said} leaves")
            if not known:
                break
            old = said
        log.warning("a witness refuses", witness=listed.name, status=status)
        return Answer(listed)

    async def _request(self, old: int, size: int, note: str) -> bytes:
        if not 0 < old < size:
            return AddCheckpoint(old, (), note).encode()
        async with self._database.reading() as session:
            proof = await prove_consistency(session, size1=old, size2=size)
        return AddCheckpoint(old, proof.hashes, note).encode()

    async def _grew(self, *, to: int) -> bool:
        async with self._database.reading() as session:
            size, _ = await latest_checkpoint(session)
        return size >= to

    @staticmethod
    def _line(listed: Listed, note: str, body: str) -> Cosigned:
        found = cosigned_by(split_note(note).text, parse_signatures(body), [listed.witness])
        if not found:
            raise VerificationFailed("it cosigned with another key than the policy names")
        return found[0]

    async def _judge(self, answers: list[Answer]) -> None:
        """Hold the log where somebody shows what its key signed and is not here, or as many object as make a quorum.

        A single witness that only claims something cannot stop the log: an alarm is raised, and a person looks.
        """
        objecting = [one for one in answers if one.objection is not None]
        for one in objecting:
            log.error("a witness objects", witness=one.listed.name, why=one.objection)
        shown = [one for one in objecting if await self._shows(one.listed)]
        many = self._policy.quorum is not None and self._policy.suffices([one.listed.witness for one in objecting])
        reason = None
        if objecting and (shown or many):
            first = (shown or objecting)[0]
            reason = f"witness {first.listed.name}: {first.objection}"
        held = reason is not None
        if held or self._held is not False:
            # Again each time: whoever takes the row away has not made the log whole.
            async with self._database.writing() as session:
                await hold(session, reason)
                await session.commit()
            if held and not self._held:
                log.error("the log is not signed on", why=f"{reason}. {WAYS_OUT}")
        self._held = held

    async def _shows(self, listed: Listed) -> bool:
        """Whether a witness shows a checkpoint of this log's own key that is not in the database."""
        shown = await asyncio.to_thread(shown_by, listed, self._verifier)
        if shown is None:
            return False
        async with self._database.reading() as session:
            return await root_of(session, shown.size) != shown.root

    async def _post(self, listed: Listed, body: bytes) -> tuple[int, str]:
        patience = FIRST_TIMEOUT_S if self._held is None else TIMEOUT_S
        return await asyncio.to_thread(_exchange, "POST", listed.url or "", "/add-checkpoint", body, timeout_s=patience)


def shown_by(listed: Listed, verifier: Verifier) -> Checkpoint | None:
    """Return the newest checkpoint that a witness shows and the log's key signed, or nothing where it shows none."""
    path = f"/checkpoint?origin={quote(verifier.name, safe='')}"
    try:
        status, body = _exchange("GET", listed.url or "", path, None)
        return open_checkpoint(body, [verifier]) if status == COSIGNED else None
    except (OSError, http.client.HTTPException, Malformed, VerificationFailed):
        return None


def _exchange(
    method: str, url: str, path: str, body: bytes | None, *, timeout_s: float | None = None
) -> tuple[int, str]:
    """Send one request and return status and text; nothing is followed, and no more is read than an answer can be.

    The time limit is for all of it: whoever sends a byte now and then is cut off like whoever sends none.
    """
    at, limit_s = urlsplit(url), timeout_s or FIRST_TIMEOUT_S
    connection: http.client.HTTPConnection
    if at.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(at.hostname or "", at.port, timeout=limit_s, context=context)
    else:
        connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=limit_s)
    end = threading.Timer(limit_s, _cut, [connection])
    end.start()
    try:
        connection.request(method, at.path.rstrip("/") + path, body=body, headers={"User-Agent": "creditshare"})
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_ANSWER).decode("utf-8", "replace")
    finally:
        end.cancel()
        connection.close()


def _cut(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
