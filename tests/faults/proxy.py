"""A TCP proxy that misbehaves on order: delays, cuts, goes silent, or loses one chosen statement of PostgreSQL.

It reads the frontend side of PostgreSQL's protocol (chapter "Message Formats" of its manual) far enough to know
which statement is about to run, prepared ones too, so that a fault can be put exactly before or after a COMMIT.
"""

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Moment = Literal["before", "after"]
CHUNK = 65_536


@dataclass
class Trigger:
    """Once armed, acts on the next statement that contains ``text``, before it is sent or before its answer is told.

    The connection is lost at that moment, unless ``lose`` is false. ``act`` gets the port of the client's side.
    """

    text: str
    moment: Moment
    act: Callable[[int], None] = lambda _port: None
    skip: int = 0
    lose: bool = True
    fired: threading.Event = field(default_factory=threading.Event)

    def hits(self, sql: str) -> bool:
        if self.fired.is_set() or self.text not in sql:
            return False
        self.skip -= 1
        return self.skip < 0


class Statements:
    """Follows one connection's frontend messages and tells which statement each one starts."""

    def __init__(self) -> None:
        self._begun = False
        self._buffer = b""
        self._prepared: dict[bytes, str] = {}

    def feed(self, data: bytes) -> list[str]:
        """Return the statements that begin in this piece of the stream."""
        self._buffer += data
        found: list[str] = []
        while True:
            head = 1 if self._begun else 0
            if len(self._buffer) < head + 4:
                return found
            size = head + int.from_bytes(self._buffer[head : head + 4], "big")
            if len(self._buffer) < size:
                return found
            kind, payload, self._buffer = self._buffer[:head], self._buffer[head + 4 : size], self._buffer[size:]
            if not self._begun:
                # SSL and GSS requests carry a code of 1234 in the high half and come before the start message.
                self._begun = int.from_bytes(payload[:2], "big") != 1234
            elif (sql := self._statement(kind, payload)) is not None:
                found.append(sql)

    def _statement(self, kind: bytes, payload: bytes) -> str | None:
        if kind == b"Q":
            return payload.rstrip(b"\0").decode()
        if kind == b"P":
            name, sql, _ = payload.split(b"\0", 2)
            self._prepared[name] = sql.decode()
        if kind == b"B":
            return self._prepared.get(payload.split(b"\0", 2)[1])
        return None


class Proxy:
    """Listens on a free loopback port and passes on to a port or a unix socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, upstream: int | Path, seed: int = 0) -> None:
        self._loop = loop
        self._upstream = upstream
        self._random = random.Random(seed)  # noqa: S311  a reproducible fault, not a secret
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.triggers: list[Trigger] = []
        self.delay_s = 0.0
        self.reset_share = 0.0
        self.silent = False
        self.closed = False
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def cut(self) -> None:
        """Reset every connection."""

        async def abort() -> None:
            for writer in list(self._writers):
                writer.transport.abort()

        self._run(abort())

    def heal(self) -> None:
        """Behave again; connections that went silent are reset, as the kernel's timers do in the end."""
        was_silent, self.silent, self.closed = self.silent, False, False
        self.delay_s = self.reset_share = 0.0
        if was_silent:
            self.cut()

    def close(self) -> None:
        """Stop."""

        async def stop() -> None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._run(stop())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self.closed:
                return
            async with self._connected() as (up_reader, up_writer):
                port = writer.get_extra_info("peername")[1]
                await self._both_ways(reader, writer, up_reader, up_writer, port)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        if isinstance(self._upstream, Path):
            reader, writer = await asyncio.open_unix_connection(self._upstream)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._writers.add(writer)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
        port: int,
    ) -> None:
        statements = Statements() if isinstance(self._upstream, Path) else None
        awaited: list[Trigger] = []

        async def upwards() -> None:
            while data := await reader.read(CHUNK):
                for sql in statements.feed(data) if statements else ():
                    for trigger in [t for t in self.triggers if t.hits(sql)]:
                        trigger.fired.set()
                        if trigger.moment == "after":
                            awaited.append(trigger)
                            continue
                        trigger.act(port)
                        if trigger.lose:
                            return
                await self._disturb()
                up_writer.write(data)
                await up_writer.drain()

        async def downwards() -> None:
            while data := await up_reader.read(CHUNK):
                if awaited:
                    trigger = awaited.pop()
                    trigger.act(port)
                    if trigger.lose:
                        return
                await self._disturb()
                writer.write(data)
                await writer.drain()

        ways = [asyncio.create_task(upwards()), asyncio.create_task(downwards())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _disturb(self) -> None:
        while self.silent:  # noqa: ASYNC110  set from another thread
            await asyncio.sleep(0.05)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.reset_share and self._random.random() < self.reset_share:
            raise ConnectionResetError


@contextlib.contextmanager
def proxy_loop() -> Any:
    """Lend a loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
