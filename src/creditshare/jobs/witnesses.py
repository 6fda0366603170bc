"""Asks witnesses to cosign the newest checkpoint (C2SP tlog-witness), and before anything else whether they saw more.

A witness that is away delays only the cosigned checkpoint. One that cosigned a longer log than the database holds, or
another one, saw what is missing here: a database that was set back, or a log that was forked. Then nothing is signed
any more until each that objected cosigns what is here, because what would be signed now contradicts what others hold.
"""

import asyncio
import http.client
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import structlog

from creditshare.audit.checkpoints import held_for, hold, keep_cosignatures, last_cosigned, latest_checkpoint
from creditshare.audit.proofs import prove_consistency
from creditshare.errors import IntegrityError, Malformed, Refused, Unavailable, VerificationFailed
from creditshare.jobs.exchange import exchange
from creditshare.storage.engine import Database, ReadSession
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from creditshare.tlog.cosignature import Cosigned, cosigned_by
from creditshare.tlog.merkle import verify_consistency
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
OURSELVES: Final = ""
"""Stands among those who object while the database's own newest checkpoint is not to be believed."""

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
        self._asked = policy.asked
        self._objectors: set[str] | None = None  # who holds the log; not known before all were asked once
        self._reason = ""
        self._answered = asyncio.Event()

    async def may_sign(self) -> bool:
        """Whether nobody objects. Waits until all were asked once."""
        await self._answered.wait()
        return not self._objectors

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
            held = await held_for(session)
            newest = await self._newest(session)
            last = await last_cosigned(session, [one.witness for one in self._asked])
        if isinstance(newest, str):
            await self._judge([], held=held, broken=newest)
            return
        if newest is None:
            answers = await asyncio.gather(*map(self._ask_for_any, self._asked))
            await self._judge(answers, held=held)
            return
        size, note = newest
        all_of_them = self._objectors is None or self._objectors or held is not None
        wanted = [one for one in self._asked if all_of_them or last.get(one.witness.vkey) != size]
        known = [min(last.get(one.witness.vkey, 0), size) for one in wanted]
        asked = (self._ask(one, size, note, old) for one, old in zip(wanted, known, strict=True))
        answers = await asyncio.gather(*asked)
        await self._judge(answers, held=held)
        async with self._database.writing() as session:
            await keep_cosignatures(session, size, [one.cosigned for one in answers if one.cosigned is not None])
            await session.commit()

    async def _newest(self, session: ReadSession) -> tuple[int, str] | str | None:
        """Return size and note of the newest checkpoint, nothing before there is one, or why it is not believed."""
        try:
            size, note = await latest_checkpoint(session)
        except Refused:
            return None
        try:
            signed = open_checkpoint(note, [self._verifier])
        except (Malformed, VerificationFailed):
            return "the newest checkpoint in the database is not signed by the log's key"
        return (size, note) if signed.size == size else "the newest checkpoint in the database is of another size"

    async def _ask_for_any(self, listed: Listed) -> Answer:
        """Ask what it holds where nothing was signed here yet: that it holds anything is its objection."""
        shown = await asyncio.to_thread(shown_by, listed, self._verifier)
        if shown is None or shown.size == 0:
            return Answer(listed)
        return Answer(listed, objection=f"it cosigned {shown.size} leaves, and none are here")

    async def _ask(self, listed: Listed, size: int, note: str, old: int) -> Answer:
        try:
            return await self._asked_twice(listed, size, note, old)
        except (OSError, http.client.HTTPException, TimeoutError) as error:
            log.warning("a witness does not answer", witness=listed.name, kind=type(error).__name__)
        except (Malformed, VerificationFailed) as error:
            log.warning("a witness's answer does not hold", witness=listed.name, why=str(error))
        except IntegrityError as error:
            return Answer(listed, objection=f"the rows here make no proof for it: {error}")
        except ValueError:
            log.exception("a witness cannot be asked", witness=listed.name)
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

    async def _judge(self, answers: Sequence[Answer], *, held: str | None, broken: str | None = None) -> None:
        """Hold the log where somebody shows what its key signed and is not here, or as many object as make a quorum.

        A single witness that only claims something cannot stop the log: an alarm is raised, and a person looks. Once
        held, whoever objected has to cosign what is here; that it cannot be reached any more changes nothing.
        """
        objecting = [one for one in answers if one.objection is not None]
        for one in objecting:
            log.error("a witness objects", witness=one.listed.name, why=one.objection)
        shown = [one for one in objecting if await self._shows(one.listed)]
        many = self._policy.quorum is not None and self._policy.suffices([one.listed.witness for one in objecting])
        fresh = {one.listed.name for one in objecting} if shown or many else set()
        names = {one.name for one in self._asked}
        # Held by another worker, or before this one started: it is not known by whose objection.
        before = self._objectors or (names if held is not None else set())
        convinced = {one.listed.name for one in answers if one.cosigned is not None}
        objectors = (before & names) - convinced | fresh | ({OURSELVES} if broken else set())
        if objecting and fresh:
            first = (shown or objecting)[0]
            self._reason = f"witness {first.listed.name}: {first.objection}"
        elif broken or not self._reason:
            self._reason = broken or held or ""
        first_time = self._objectors is None
        if objectors and not self._objectors:
            log.error("the log is not signed on", why=f"{self._reason}. {WAYS_OUT}")
        # Before it is written, so that this process is held even if it cannot be.
        self._objectors = objectors
        if objectors or held is not None or first_time:
            async with self._database.writing() as session:
                await hold(session, self._reason if objectors else None)
                await session.commit()
        if not objectors:
            self._reason = ""

    async def _shows(self, listed: Listed) -> bool:
        """Whether a witness shows a checkpoint of this log's own key that the leaves here do not continue."""
        shown = await asyncio.to_thread(shown_by, listed, self._verifier)
        if shown is None or shown.size == 0:
            return False
        async with self._database.reading() as session:
            newest = await self._newest(session)
            if not isinstance(newest, tuple) or shown.size > newest[0]:
                return True
            root = peek_checkpoint(newest[1]).root
            try:
                proof = await prove_consistency(session, size1=shown.size, size2=newest[0])
                verify_consistency(size1=shown.size, root1=shown.root, size2=newest[0], root2=root, proof=proof.hashes)
            except (IntegrityError, VerificationFailed):
                return True
        return False

    async def _post(self, listed: Listed, body: bytes) -> tuple[int, str]:
        patience = FIRST_TIMEOUT_S if self._objectors is None or self._objectors else TIMEOUT_S
        return await asyncio.to_thread(_answered, "POST", listed, "/add-checkpoint", body, timeout_s=patience)


def shown_by_all(policy: TrustPolicy | None, verifier: Verifier) -> dict[str, Checkpoint]:
    """Return what the witnesses of a policy show, by their names. One that is away shows nothing."""
    shown = {} if policy is None else {one.name: shown_by(one, verifier) for one in policy.asked}
    return {name: checkpoint for name, checkpoint in shown.items() if checkpoint is not None}


def shown_by(listed: Listed, verifier: Verifier) -> Checkpoint | None:
    """Return the newest checkpoint that a witness shows and the log's key signed, or nothing where it shows none."""
    path = f"/checkpoint?origin={quote(verifier.name, safe='')}"
    try:
        status, body = _answered("GET", listed, path, None, timeout_s=FIRST_TIMEOUT_S)
        return open_checkpoint(body, [verifier]) if status == COSIGNED else None
    except (OSError, ValueError, http.client.HTTPException, Malformed, VerificationFailed):
        return None


def _answered(method: str, listed: Listed, path: str, body: bytes | None, *, timeout_s: float) -> tuple[int, str]:
    """Ask a witness and return status and text; raises what ``exchange`` raises."""
    url = (listed.url or "").rstrip("/") + path
    status, answer = exchange(method, url, body, timeout_s=timeout_s, most=MAX_ANSWER)
    return status, answer.decode("utf-8", "replace")
