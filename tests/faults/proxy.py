"""A TCP proxy that misbehaves on order: delays, cuts, goes silent, or strikes at one chosen statement of PostgreSQL.

It reads PostgreSQL's protocol (chapter "Message Formats" of its manual) far enough to know which statement is about to
run, prepared ones too, what it makes durable and when it has been answered. So a fault can be put exactly before or
after a commit, be it a COMMIT or a writing statement that is a transaction of its own.
"""

import asyncio
import contextlib
import functools
import random
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Moment = Literal["before", "after"]
CHUNK = 65_536
NEGOTIATION = 1234  # in the high half of the code of requests that come before the start message
WRITES = re.compile(
    r"\b(?:INSERT\s+INTO|DELETE\s+FROM|(?<!FOR )(?<!KEY )(?<!DO )UPDATE)\s+(?:ONLY\s+)?\"?(\w+)", re.IGNORECASE
)


@dataclass(frozen=True)
class Statement:
    """A statement that is about to run, and the tables whose rows last as soon as it has: none, unless it commits."""

    sql: str
    lasting: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Aim:
    """Which statements a trap springs at."""

    what: str
    hits: Callable[[Statement], bool]


ANYTHING = Aim("any statement", lambda _: True)
ANY_COMMIT = Aim("a commit", lambda statement: bool(statement.lasting))


def saying(text: str) -> Aim:
    """Aim at statements that contain a text."""
    return Aim(f"a statement with {text!r}", lambda statement: text in statement.sql)


def writing(table: str) -> Aim:
    """Aim at statements that write to a table, whatever else they do."""
    return Aim(f"a statement that writes to {table}", lambda statement: table in written(statement.sql))


def committing(table: str, *, without: frozenset[str] = frozenset()) -> Aim:
    """Aim at whatever makes rows of a table last, and none of certain others."""
    return Aim(
        f"a commit of {table}",
        lambda statement: table in statement.lasting and not statement.lasting & without,
    )


@dataclass
class Trigger:
    """Once armed, strikes at one statement: before it is sent on, or when it has run and before its answer is told.

    "After" means that the server has answered the statement, not with an error, and everything sent together with it;
    what commits is durable then. The connection is lost at that moment, unless ``lose`` is false. ``act`` gets the port
    of the client's side; false means that nobody is there any more, and the trap waits on.
    """

    aim: Aim
    moment: Moment
    act: Callable[[int], object] = lambda _port: None
    skip: int = 0
    lose: bool = True
    struck: threading.Event = field(default_factory=threading.Event)
    waiting: bool = True

    def hits(self, statement: Statement) -> bool:
        """Whether this is the statement; then it waits for no other."""
        if not self.waiting or not self.aim.hits(statement):
            return False
        self.skip -= 1
        self.waiting = self.skip >= 0
        return not self.waiting

    def strike(self, port: int) -> bool:
        """Do what it is there for; return whether the connection is lost."""
        self.waiting = self.act(port) is False
        if self.waiting:
            return False
        self.struck.set()
        return self.lose


@functools.cache
def written(sql: str) -> frozenset[str]:
    """Return the tables that a statement writes."""
    return frozenset(table.lower() for table in WRITES.findall(sql))


class Statements:
    """Follows what one client sends: which statements start, and how many answers the server owes for it."""

    def __init__(self) -> None:
        self._begun = False
        self._buffer = b""
        self._prepared: dict[bytes, str] = {}
        self._pending: frozenset[str] | None = None  # what the open transaction wrote, None outside of any
        self.refusable = 0  # requests that the server answers by a single byte, before the start
        self.rounds = 0

    def feed(self, data: bytes) -> list[tuple[Statement, int]]:
        """Return the statements that begin in this piece of the stream, each with the number of its round's answer."""
        self._buffer += data
        found: list[tuple[Statement, int]] = []
        while True:
            head = 1 if self._begun else 0
            if len(self._buffer) < head + 4:
                return found
            size = head + int.from_bytes(self._buffer[head : head + 4], "big")
            if len(self._buffer) < size:
                return found
            kind, payload, self._buffer = self._buffer[:head], self._buffer[head + 4 : size], self._buffer[size:]
            if not self._begun:
                self._begun = int.from_bytes(payload[:2], "big") != NEGOTIATION
                self.refusable += not self._begun
                self.rounds += self._begun
            elif (sql := self._sql(kind, payload)) is not None:
                found.append((self._follow(sql), self.rounds + 1))
            if kind in {b"Q", b"S"}:
                self.rounds += 1

    def _sql(self, kind: bytes, payload: bytes) -> str | None:
        if kind == b"Q":
            return payload.rstrip(b"\0").decode()
        if kind == b"P":
            name, sql, _ = payload.split(b"\0", 2)
            self._prepared[name] = sql.decode()
        if kind == b"B":
            return self._prepared.get(payload.split(b"\0", 2)[1])
        return None

    def _follow(self, sql: str) -> Statement:
        """Follow the transaction. A COMMIT makes last what was written since BEGIN, a lone statement what it writes."""
        verb = sql.split(maxsplit=1)[0].rstrip(";").upper() if sql.strip() else ""
        if verb == "BEGIN":
            self._pending = frozenset()
        elif verb in {"COMMIT", "ROLLBACK"} and "SAVEPOINT" not in sql.upper():
            lasting, self._pending = self._pending or frozenset(), None
            return Statement(sql, lasting if verb == "COMMIT" else frozenset())
        elif self._pending is None:
            return Statement(sql, written(sql))
        else:
            self._pending |= written(sql)
        return Statement(sql)


class Answers:
    """Follows what the server sends: how many rounds it has answered, and whether the last one failed."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._buffer = b""
        self._failed = False
        self.rounds = 0
        self.failed: set[int] = set()

    def feed(self, data: bytes) -> None:
        """Take a piece of the stream."""
        self._buffer += data
        while self._statements.refusable and self._buffer:
            self._statements.refusable -= 1
            self._buffer = self._buffer[1:]
        while len(self._buffer) >= 5 and len(self._buffer) > (size := int.from_bytes(self._buffer[1:5], "big")):
            kind, self._buffer = self._buffer[:1], self._buffer[1 + size :]
            self._failed |= kind == b"E"
            if kind == b"Z":
                self.rounds += 1
                self.failed |= {self.rounds} if self._failed else set()
                self._failed = False


class Traps:
    """The traps on one connection to PostgreSQL."""

    def __init__(self, triggers: list[Trigger], port: int) -> None:
        self._triggers = triggers
        self._port = port
        self._statements = Statements()
        self._answers = Answers(self._statements)
        self._awaited: list[tuple[int, Trigger]] = []

    def upwards(self, data: bytes) -> bool:
        """Look at what the client sends; false: the connection is lost before it goes on."""
        for statement, number in self._statements.feed(data):
            for trigger in [one for one in self._triggers if one.hits(statement)]:
                if trigger.moment == "after":
                    self._awaited.append((number, trigger))
                    continue
                if trigger.strike(self._port):
                    return False
        return True

    def downwards(self, data: bytes) -> bool:
        """Look at what the server answers; false: the connection is lost before it is told."""
        self._answers.feed(data)
        while self._awaited and self._awaited[0][0] <= self._answers.rounds:
            number, trigger = self._awaited.pop(0)
            if number in self._answers.failed:  # it did not run; the next one may
                trigger.waiting = True
                continue
            if trigger.strike(self._port):
                return False
        return True

    def close(self) -> None:
        """Let those wait for another statement whose answer did not come."""
        for _, trigger in self._awaited:
            trigger.waiting = True


def untouched(_data: bytes) -> bool:
    """Pass on whatever it is."""
    return True


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
        self.resets = 0
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
                traps = Traps(self.triggers, port) if isinstance(self._upstream, Path) else None
                ways = [
                    asyncio.create_task(self._pass_on(reader, up_writer, traps.upwards if traps else untouched)),
                    asyncio.create_task(self._pass_on(up_reader, writer, traps.downwards if traps else untouched)),
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
                    if traps:
                        traps.close()
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

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, goes: Callable[[bytes], bool]
    ) -> None:
        while (data := await reader.read(CHUNK)) and goes(data):
            await self._disturb()
            writer.write(data)
            await writer.drain()

    async def _disturb(self) -> None:
        while self.silent:  # noqa: ASYNC110  set from another thread
            await asyncio.sleep(0.05)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.reset_share and self._random.random() < self.reset_share:
            self.resets += 1
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
