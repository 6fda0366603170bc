"""The outermost shell: no request takes longer than the time limit, and open reads leave room for members.

A request that is late is answered 503 and let go: its task is cancelled, and where even that hangs, because the
database's connection neither answers nor ends, it is left behind to unwind alone. Nobody waits for it, and its
connection stays out of the pool until it has ended.

Health answers always: it has neither a place to wait for nor a connection to borrow.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from creditshare.access.limits import Places
from creditshare.api.problems import refused
from creditshare.errors import Refused

log = structlog.get_logger()

MEMBERS: Final = "/v1/"
ALWAYS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
LATE: Final = "This took too long and was given up. It may still have been done: send it again, with the same key."


class Bounded:
    """An application with a time limit for each request and a bound on open reads.

    ``longer`` names the paths to which files are sent, and their own time limits.
    """

    def __init__(
        self, app: ASGIApp, *, time_limit_s: float, open_reads: int, longer: Mapping[str, float] | None = None
    ) -> None:
        self._app = app
        self._time_limit_s = time_limit_s
        self._longer = dict(longer or {})
        self._open_reads = Places(total=open_reads, each=open_reads)
        self._unwinding: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on within its bounds."""
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
        elif scope["path"].startswith(MEMBERS):
            await self._in_time(scope, receive, send)
        else:
            try:
                with self._open_reads.take(None):
                    await self._in_time(scope, receive, send)
            except Refused as refusal:
                await _tell(refusal, scope, receive, send)

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = _Sending(send)
        task = asyncio.ensure_future(self._app(scope, receive, sending))
        try:
            done, _ = await asyncio.wait({task}, timeout=self._longer.get(scope["path"], self._time_limit_s))
        except asyncio.CancelledError:
            task.cancel()
            raise
        if done:
            task.result()
            return
        log.warning("late", path=scope["path"], answering=sending.started)
        sending.closed = True
        self._unwinding.add(task)
        task.add_done_callback(self._unwound)
        task.cancel()
        # An answer that has begun cannot become another one: the server cuts the connection of a half one.
        if not sending.started:
            await _tell(Refused("unavailable", retry_after=2, extra={"hint": LATE}), scope, receive, send)

    def _unwound(self, task: asyncio.Task[None]) -> None:
        self._unwinding.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("late request failed", kind=type(error).__name__)


class _Sending:
    """Passes an answer on, until the request was given up."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False
        self.closed = False

    async def __call__(self, message: Message) -> None:
        if not self.closed:
            self.started = True
            await self._send(message)


async def _tell(refusal: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    answer = refused(Request(scope), refusal)
    answer.headers["Connection"] = "close"
    await answer(scope, receive, send)
