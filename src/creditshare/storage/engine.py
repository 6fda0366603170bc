"""The database as the service sees it: reading and writing sessions, and a pool for the hot path.

Every connection takes a restricted role (``SET ROLE`` by connection option), whatever the login, so
that the service never acts as the owner of its tables. Nobody below the edge commits: a writing
session that is left without ``commit`` rolls back.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy import URL, Executable, func, make_url, select
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from creditshare.errors import ConfigurationError, Refused, Unavailable
from creditshare.telemetry import DATABASE_FAILURES, DATABASE_WAIT

DriverConnection = psycopg.AsyncConnection[TupleRow]
Role = Literal["creditshare_app", "creditshare_worker", "creditshare_eraser", "creditshare_owner"]

CONNECT_TIMEOUT_S = 5
POOL_WAIT_S = 5.0
LISTEN_AGAIN_S = 1.0
RECONNECT_S = 2.0  # the pool tries anew at the next request instead of waiting ever longer by itself
KEEPALIVE: Mapping[str, int] = {  # a peer that vanished without a word is noticed after about ten seconds
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
LOCK_TIMEOUT_S = 2  # a twin of an idempotent request waits this long, then 409
STATEMENT_TIMEOUT_S = 10
LOOKUPS = "".join(f" -c enable_{way}=off" for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"))
"""For statements that find everything by a key. What the planner knows of a table that just began to grow is not much,
and a plan is kept: one that reads whole tables while they are small would go on doing so."""
IDLE_IN_TRANSACTION_TIMEOUT_S = 10  # a process that hangs within a transaction must not hold its locks for ever


class Changed(Exception):
    """Something that a statement rested on changed since it was read; nothing was written. Read again."""


def all_of(*parts: str) -> str:
    """Return the condition that each of these parts has one row for each row of ``q``."""
    return " AND ".join(f"(SELECT count(*) FROM {part}) = (SELECT count(*) FROM q)" for part in parts)  # noqa: S608  names of ours


def whole(condition: str, *, tells: str = "0") -> str:
    """Return the end of a writing statement that makes it all or nothing: without this condition it fails.

    It divides by zero then, which is the error that SQL itself can raise; ``write_whole`` knows it. ``tells`` is a
    value that the caller wants to know.
    """
    return f"SELECT 1 / ({condition})::int, {tells}"


class ReadSession:
    """One connection in a read-only transaction, or the reading side of a writing one."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run one statement and return its result, already fetched."""
        return await self._connection.execute(statement, parameters)

    async def run(self, statement: str, parameters: Mapping[str, Any]) -> CursorResult[Any]:
        """Run a statement in the driver's own spelling and return its result, already fetched.

        Lists go as row sets (``storage/rowsets.py``): as text they cost both sides ten times as much.
        """
        return await self._connection.exec_driver_sql(statement, parameters)


class WriteSession(ReadSession):
    """One transaction that may change rows. Only the edge that opened it commits."""

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection)
        self._last: list[Callable[[], Awaitable[None]]] = []

    def at_the_end(self, step: Callable[[], Awaitable[None]]) -> None:
        """Put off a step until just before the commit.

        For rows that many transactions change, such as a member's counters: their lock is then held only while the
        commit itself runs. The step may still refuse, and nothing of the transaction happens.
        """
        self._last.append(step)

    async def write_whole(self, statement: str, parameters: Mapping[str, Any]) -> int:
        """Run a statement that ends in ``whole``, in the driver's spelling; return the number that it tells.

        After ``Changed`` the transaction can only roll back.
        """
        try:
            return int((await self.run(statement, parameters)).scalars(1).one())
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.errors.DivisionByZero):
                raise Changed from None
            raise

    async def commit(self) -> None:
        """Make everything of this transaction durable, or raise and have nothing of it."""
        while self._last:
            await self._last.pop(0)()
        await self._connection.commit()


def driver_url(url: str | URL) -> URL:
    """Return the address with psycopg 3 as its driver; any other driver is a configuration error."""
    parsed = make_url(url)
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "postgresql+psycopg":
        raise ConfigurationError("the database address must start with postgresql+psycopg://")
    return parsed


def connection_options(role: Role) -> str:
    """Return libpq's ``options`` for a session of this role."""
    return (
        f"-c role={role} -c application_name={role} -c timezone=UTC -c lock_timeout={LOCK_TIMEOUT_S}s"
        f" -c statement_timeout={STATEMENT_TIMEOUT_S}s -c search_path=public"
        f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_S}s"
    )


class Database:
    """Pools of one role on one address."""

    def __init__(self, url: str | URL, *, role: Role, pool_size: int = 8, pool_wait_s: float = POOL_WAIT_S) -> None:
        self.url = driver_url(url)
        self.role = role
        options = connection_options(role)
        self._engine = create_async_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_wait_s,
            hide_parameters=True,
            connect_args={
                "options": options,
                "connect_timeout": CONNECT_TIMEOUT_S,
                "prepare_threshold": 1,
                **KEEPALIVE,
            },
        )
        self._pool = AsyncConnectionPool[DriverConnection](
            conninfo=self.conninfo,
            min_size=1,
            max_size=pool_size,
            timeout=pool_wait_s,
            reconnect_timeout=RECONNECT_S,
            kwargs={
                "options": options + LOOKUPS,
                "prepare_threshold": 0,
                "autocommit": True,
                "connect_timeout": CONNECT_TIMEOUT_S,
                **KEEPALIVE,
            },
            open=False,
        )
        self._renewal: asyncio.Task[None] | None = None

    @property
    def conninfo(self) -> str:
        """The address in libpq's form (RFC 3986 URI without the driver)."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)

    async def open(self) -> None:
        """Open the hot path's pool. Does not wait for the database: readiness is asked separately."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        await self._pool.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[ReadSession]:
        """Open a read-only transaction; an unreachable database is ``Unavailable``."""
        async with self._session(readonly=True) as connection:
            yield ReadSession(connection)

    @asynccontextmanager
    async def examining(self) -> AsyncIterator[ReadSession]:
        """Open a read-only transaction that sees one moment of the whole database and may take as long as it needs."""
        async with self._session(readonly=True, isolation_level="REPEATABLE READ") as connection:
            for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
                await connection.execute(select(func.set_config(limit, "0", True)))  # noqa: FBT003  SQL's own argument
            yield ReadSession(connection)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[WriteSession]:
        """Open a transaction; it rolls back unless ``commit`` is called inside."""
        async with self._session(readonly=False) as connection:
            yield WriteSession(connection)

    @asynccontextmanager
    async def alone(self, lock: int) -> AsyncIterator[bool]:
        """Hold an advisory lock as long as the block runs, in no transaction; lends whether it was free.

        It is lost with its connection, so what must not happen twice has to be secured in a transaction as well.
        """
        async with self._session(readonly=False, isolation_level="AUTOCOMMIT") as connection:
            free = bool((await connection.execute(select(func.pg_try_advisory_lock(lock)))).scalar_one())
            try:
                yield free
            finally:
                if free:
                    await connection.execute(select(func.pg_advisory_unlock(lock)))

    @asynccontextmanager
    async def _session(self, *, readonly: bool, **options: str) -> AsyncIterator[AsyncConnection]:
        asked = time.perf_counter()
        try:
            async with self._engine.connect() as connection:
                DATABASE_WAIT.observe(time.perf_counter() - asked)
                if readonly or options:
                    await connection.execution_options(**({"postgresql_readonly": True} if readonly else {}), **options)
                yield connection
        except (OperationalError, PoolExhausted) as error:
            DATABASE_FAILURES.inc()
            raise Unavailable("the database does not answer") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                DATABASE_FAILURES.inc()
                raise Unavailable("the database closed the connection") from error
            raise

    async def listen(self, channel: str, woken: asyncio.Event) -> None:
        """Set an event at each NOTIFY on a channel, for ever.

        Nobody is woken while the database is away, or behind a pooler that hands sessions around: it is polled too.
        """
        while True:
            with contextlib.suppress(psycopg.Error):
                async with await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True) as connection:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                    async for _ in connection.notifies():
                        woken.set()
            await asyncio.sleep(LISTEN_AGAIN_S)

    @asynccontextmanager
    async def raw(self, *, transaction: bool = False) -> AsyncIterator[DriverConnection]:
        """Lend a bare driver connection for prepared statements of the hot path.

        Each statement is a transaction of its own, unless the block is to be one: then leaving it commits, and an
        exception rolls back. The pool sends no reset statement.
        """
        asked = time.perf_counter()
        try:
            async with self._pool.connection() as connection:
                DATABASE_WAIT.observe(time.perf_counter() - asked)
                if transaction:
                    async with connection.transaction():
                        yield connection
                else:
                    yield connection
        except PoolTimeout as error:
            DATABASE_FAILURES.inc()
            raise Unavailable("no connection became free in time") from error
        except psycopg.OperationalError as error:
            DATABASE_FAILURES.inc()
            self._renew()
            raise Unavailable("the database does not answer") from error

    def _renew(self) -> None:
        """Let the pool look at its idle connections, so that after a restart of the database only one request fails."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._pool.check())


async def read_rows(
    connection: DriverConnection, statement: str, parameters: Mapping[str, Any], *, count: int
) -> list[dict[str, Any] | None]:
    """Run a prepared statement over a numbered row set; return what it found for each of ``count`` rows, or None."""
    found: list[dict[str, Any] | None] = [None] * count
    async with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        await cursor.execute(statement, parameters)
        for row in await cursor.fetchall():
            found[row["n"] - 1] = row
    return found


async def read_row(
    connection: DriverConnection, statement: str, parameters: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Run a prepared statement and return its one row, or None."""
    async with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        await cursor.execute(statement, parameters)
        return await cursor.fetchone()


async def write_whole(connection: DriverConnection, statement: str, parameters: Mapping[str, Any]) -> Any:
    """Run a statement that ends in ``whole``: everything, or ``Changed`` and nothing. Return the value that it tells.

    A row that a twin holds for longer than the lock's time limit is ``idempotency_in_progress``.
    """
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(statement, parameters)
            row = await cursor.fetchone()
    except (psycopg.errors.DivisionByZero, psycopg.errors.DeadlockDetected):
        raise Changed from None
    except psycopg.errors.LockNotAvailable as error:
        raise Refused("idempotency_in_progress", retry_after=1) from error
    return row[1] if row else None
