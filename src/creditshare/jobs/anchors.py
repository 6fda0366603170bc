"""Has a time-stamping authority stamp the newest checkpoint, hourly (RFC 3161).

An authority that is away, slow or wrong delays nothing: it is asked again at the next look. Several workers may run.
Each looks first when the last stamp was taken, so that they and their restarts do not ask more often than one does; two
that ask in the same moment take two stamps, which is no harm.
"""

import asyncio
import http.client
from typing import Final

import structlog

from creditshare.audit.anchors import Anchor, keep_anchor, last_anchor
from creditshare.audit.checkpoints import latest_checkpoint
from creditshare.crypto.timestamps import MAX_REPLY, REQUEST_TYPE, Stamp, StampRoots, stamp_request
from creditshare.errors import Malformed, Refused, Unavailable, VerificationFailed
from creditshare.jobs.exchange import exchange
from creditshare.storage.engine import Database
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint
from creditshare.tlog.note import Verifier

log = structlog.get_logger()

LOOK_EVERY_S: Final = 30.0
"""How often it is looked whether a stamp is due; so long waits a next try too."""
TIMEOUT_S: Final = 10.0
OK: Final = 200


class Anchors:
    """Collects the stamps of one authority, until cancelled. ``url`` is its address and stands in the rows for it."""

    def __init__(self, database: Database, *, verifier: Verifier, url: str, roots: StampRoots, every_s: float) -> None:
        self._database = database
        self._verifier = verifier
        self._url = url
        self._roots = roots
        self._every_s = every_s

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.step()
            except Unavailable:
                log.warning("anchors wait for the database")
            except Exception:
                log.exception("taking an anchor failed")
            await asyncio.sleep(min(LOOK_EVERY_S, self._every_s))

    async def step(self) -> None:
        """Take an anchor if one is due and the authority gives it."""
        checkpoint = await self._due()
        if checkpoint is None:
            return
        try:
            stamp = await asyncio.to_thread(self._ask, checkpoint.text.encode())
        except (OSError, http.client.HTTPException) as error:
            log.warning("the time-stamping authority does not answer", kind=type(error).__name__)
            return
        except (Malformed, VerificationFailed) as error:
            log.warning("the time-stamping authority's answer does not hold", why=str(error))
            return
        async with self._database.writing() as session:
            await keep_anchor(session, Anchor(checkpoint.size, self._url, stamp.token, stamp.at))
            await session.commit()

    async def _due(self) -> Checkpoint | None:
        """Return the newest checkpoint, unless it is stamped already or the last stamp is young."""
        async with self._database.reading() as session:
            try:
                size, note = await latest_checkpoint(session)
            except Refused:  # nothing was signed yet
                return None
            last = await last_anchor(session, self._url)
        if last is not None and (last.age_s < self._every_s or last.size >= size):
            return None
        try:
            return _signed(size, note, self._verifier)
        except (Malformed, VerificationFailed) as error:
            log.warning("the newest checkpoint is not stamped", why=str(error))
            return None

    def _ask(self, text: bytes) -> Stamp:
        request = stamp_request(text)
        headers = {"Content-Type": REQUEST_TYPE}
        status, reply = exchange("POST", self._url, request.body, headers=headers, timeout_s=TIMEOUT_S, most=MAX_REPLY)
        if status != OK:
            raise VerificationFailed(f"it answers with status {status}")
        return self._roots.accept(reply, request, text)


def _signed(size: int, note: str, verifier: Verifier) -> Checkpoint:
    """Return a stored checkpoint, if the log signed it: who writes another one into the database gets no time for it.

    Raises ``Malformed`` or ``VerificationFailed``.
    """
    checkpoint = open_checkpoint(note, [verifier])
    if checkpoint.size != size:
        raise VerificationFailed("it is of another size than its row")
    return checkpoint
