"""A small world of real processes: PostgreSQL, ``serve --workers 2``, workers of the log, a proxy on every wire.

A witness that the log asks and a mirror stand beside it. A first world is built once and kept as a folder, with schema,
members, keys and borrowers' tokens; every cell works on a copy of it. Of the service only the embedded server is
imported, because something must start PostgreSQL.
"""

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
from cryptography.hazmat.primitives.asymmetric import ec
from tests.faults.bank import ISSUER, Bank, Journal, line_to
from tests.faults.beside import Mirror, Witness
from tests.faults.load import Load
from tests.faults.proxy import Proxy, proxy_loop
from tests.fixtures.commands import SOURCE, Command, Commands, commands

from creditshare.storage.embedded import EmbeddedPostgres

LENDERS = 3
BORROWERS = [f"91999999FLT{number:06d}X" for number in range(10)]
ASK_S = "0.2"
READY_S = 240.0  # a machine that runs much else beside this is slow, not broken
PORTS = range(10_000, 32_000)  # below those that the kernel gives to connections, of which a load makes many


class World:
    """The processes of one cell."""

    lenders: Load

    def __init__(self, folder: Path, tools: "Tools", seed: int, *, data: Path | None = None) -> None:
        self.folder = folder
        self.data = data or folder / "data"
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311  reproducible faults, not a secret
        self.postgres = EmbeddedPostgres(self.data / "postgres")
        self.postgres.start()
        self._tools = tools
        self._stack = contextlib.ExitStack()
        self._log = self._stack.enter_context((folder / "log").open("a"))
        (folder / "tmp").mkdir()
        self.http_port = free_port()
        query = dict(part.split("=") for part in self.postgres.url("app").partition("?")[2].split("&"))
        self.socket = Path(query["host"].replace("%2F", "/")) / f".s.PGSQL.{query['port']}"
        self.proxies: list[Proxy] = []
        # One for the service and one for the worker, so that a trap knows whose statement it springs at.
        self.database_wire = self.new_wire()
        self.worker_wire = self.new_wire()
        self.client_wire = self.new_wire(self.http_port)
        self.url = f"http://127.0.0.1:{self.client_wire.port}"
        self.service: Command | None = None
        self.workers: list[Command] = []
        keys = json.loads((folder / "banks.json").read_text()) if (folder / "banks.json").exists() else []
        self.banks = [Bank.of_jwk(key) for key in keys]
        self.journal = Journal(folder / "journal.ndjson")
        self.witness = Witness(folder / "witness", free_port())
        self.mirror = Mirror(folder / "mirror", tools.outside)
        self.log_key = (folder / "log-key").read_text() if (folder / "log-key").exists() else ""

    # Processes

    def environment(self, wire: Proxy) -> dict[str, str]:
        """Return the settings of a process whose database lies behind a proxy."""
        ours = {
            "TMPDIR": str(self.folder / "tmp"),  # what a killed process leaves there goes with the world
            "CREDITSHARE_DATABASE_URL": self.address("app", wire),
            "CREDITSHARE_PUBLIC_URL": ISSUER,
            "CREDITSHARE_ENVIRONMENT": "sandbox",
            "CREDITSHARE_WITNESS_POLICY_FILE": str(self.witness.policy),
            "CREDITSHARE_WITNESS_POLL_S": ASK_S,
            **{f"CREDITSHARE_{r.upper()}_DATABASE_URL": self.address(r, wire) for r in ("worker", "owner", "eraser")},
        }
        return {**stranger(), **ours}

    def address(self, role: str, wire: Proxy) -> str:
        """Return the address of a role by way of a proxy."""
        start = self.postgres.url(role).partition("?")[0].rpartition("@")
        database = start[2].rpartition("/")[2]
        return f"{start[0]}@127.0.0.1:{wire.port}/{database}"

    def run(self, *arguments: str, wire: Proxy | None = None, settings: Mapping[str, str] | None = None) -> Command:
        """Start one of the project's commands."""
        environment = {**self.environment(wire or self.database_wire), **(settings or {})}
        log = self._log.fileno()
        return self._tools.commands.start(*arguments, "--data", str(self.data), environment=environment, log=log)

    def start_service(self, workers: int = 2, *, ready: str = "/readyz", **changes: str) -> None:
        """Start ``serve`` and wait until it is ready, or answers something else well."""
        port = str(self.http_port)
        self.service = self.run("serve", "--port", port, "--workers", str(workers), settings=changes)
        self.wait_ready(ready)

    def wait_ready(self, path: str = "/readyz", *, seconds: float = READY_S) -> float:
        """Wait until readiness is answered; return how long it took."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.status_of(path, seconds=2) == 200:
                    return time.monotonic() - began
            time.sleep(0.05)
        raise AssertionError(f"{path} was not well within {seconds} s: {self.log()[-2000:]}")

    def status_of(self, path: str, *, seconds: float) -> int:
        """Return the status of a plain GET that goes past the proxy."""
        line = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=seconds)
        with contextlib.closing(line):
            line.request("GET", path)
            return line.getresponse().status

    def start_worker(self, wire: Proxy | None = None) -> Command:
        """Start a worker of the log, by default on the worker's wire."""
        worker = self.run("worker", wire=wire or self.worker_wire)
        self.workers.append(worker)
        return worker

    @contextlib.contextmanager
    def witnessed(self) -> Iterator[None]:
        """Let the witness answer while the block runs."""
        with (self.folder / "witness.log").open("w") as log:
            serving = self._tools.commands.start(*self.witness.serving, environment=stranger(), log=log.fileno())
            try:
                yield
            finally:
                serving.kill()
                serving.wait(READY_S)

    def outside(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run one of the project's commands as whoever has none of the service's settings."""
        return self._tools.outside(*arguments)

    def new_wire(self, upstream: int | Path | None = None) -> Proxy:
        """Return another wire, by default to the database."""
        wire = Proxy(self._tools.loop, upstream=upstream or self.socket, seed=self.seed)
        self.proxies.append(wire)
        return wire

    def api_processes(self) -> list[int]:
        """Return the numbers of the processes that answer requests."""
        assert self.service is not None
        return [pid for pid in children(self.service.pid) if b"spawn_main" in command_line(pid)]

    def api_process_of(self, port: int) -> int | None:
        """Return the process that holds a connection to the database, by the connection's local port."""
        ends = f":{port:04X}", f":{self.database_wire.port:04X}"
        inode = next(
            (
                fields[9]
                for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
                if (fields := line.split())[1].endswith(ends[0]) and fields[2].endswith(ends[1])
            ),
            None,
        )
        for pid in self.api_processes():
            with contextlib.suppress(OSError):
                if any(str(fd.readlink()) == f"socket:[{inode}]" for fd in Path(f"/proc/{pid}/fd").iterdir()):
                    return pid
        return None

    def postmaster(self) -> int:
        """Return the server's process."""
        return int((self.postgres.folder / "data" / "postmaster.pid").read_text().split("\n")[0])

    def kill_postgres(self) -> None:
        """End the server as a power cut ends it."""
        os.kill(self.postmaster(), signal.SIGKILL)

    def base_backup(self, target: Path) -> None:
        """Take a copy of the running server, as its owner."""
        owner = self.postgres.folder.joinpath("data").stat()
        program = command_line(self.postmaster())
        binary = Path(os.fsdecode(program.split(b"\0")[0])).with_name("pg_basebackup")
        url = self.postgres.url("superuser").replace("postgresql+psycopg", "postgresql")
        target.mkdir(mode=0o700)
        os.chown(target, owner.st_uid, owner.st_gid)
        subprocess.run(
            [str(binary), "-D", str(target), "-X", "stream", "-c", "fast", "-d", url],
            check=True,
            user=owner.st_uid if os.geteuid() == 0 else None,
            group=owner.st_gid if os.geteuid() == 0 else None,
            stdout=self._log,
            stderr=self._log,
        )

    def stop_service(self, number: int = signal.SIGTERM) -> None:
        """Stop ``serve``."""
        if self.service is not None:
            self.service.end(number)
            self.service = None

    def superuser(self) -> "psycopg.Connection[Any]":
        """Return a direct connection for the checker."""
        return psycopg.connect(
            self.postgres.url("superuser").replace("postgresql+psycopg", "postgresql"), autocommit=True
        )

    def load(self, *, pause_s: float) -> Load:
        """Return the lenders' work on this world."""
        self.lenders = Load(self.url, self.banks, self.journal, self.seed, pause_s=pause_s)
        return self.lenders

    def log(self) -> str:
        """Return what the processes said."""
        return (self.folder / "log").read_text(errors="replace")

    def close(self) -> None:
        """End everything at once: it is thrown away."""
        ending = list(self.workers)
        if self.service is not None:
            self.service.send_signal(signal.SIGSTOP)  # so that it starts no process again
            for pid in children(self.service.pid):
                os.kill(pid, signal.SIGKILL)
            ending.append(self.service)
        for command in ending:
            command.kill()
            command.wait(READY_S)
        for proxy in self.proxies:
            proxy.close()
        with contextlib.suppress(OSError, ValueError):  # it may be gone already
            server = self.postmaster()
            os.kill(server, signal.SIGQUIT)
            wait_for(lambda: not command_line(server), seconds=READY_S, what="PostgreSQL ended")
        self.journal.close()
        self._stack.close()


def free_port() -> int:
    """Return a port that nobody uses."""
    while True:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", random.choice(PORTS))) as listener:  # noqa: S311  no secret
            return int(listener.getsockname()[1])


def children(pid: int) -> list[int]:
    """Return a process's children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command_line(pid: int) -> bytes:
    """Return a process's command line, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait_for(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Lend a folder that the database's own user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="creditshare-faults-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def stranger() -> dict[str, str]:
    """Return the environment of whoever has none of the service's settings."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CREDITSHARE_")}
    return {**inherited, "PYTHONPATH": str(SOURCE)}


@dataclass(frozen=True)
class Tools:
    """What a process needs to make worlds: the loop of the proxies, and what starts commands."""

    loop: AbstractEventLoop
    commands: Commands

    def outside(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run one of the project's commands to its end, as whoever has none of the service's settings."""
        return self.commands.run(*arguments, environment=stranger())


class First:
    """The world that all others are copied from."""

    def __init__(self, folder: Path, tools: Tools) -> None:
        self.folder = folder
        self._tools = tools

    def build(self) -> None:
        """Migrate, admit the lenders, make the borrowers' tokens, and tell the witness the log's key."""
        Witness.make(self.folder / "witness", self._tools.outside)
        world = World(self.folder, self._tools, 0)
        try:
            assert world.run("operator", "bootstrap").wait(READY_S) == 0, world.log()
            world.start_worker()
            world.start_service(1)
            operators = [
                Bank.of_jwk({"tokens": [], **json.loads((world.data / f"operator-{number}.jwk.json").read_text())})
                for number in (1, 2)
            ]
            with line_to(world.url, timeout=30) as http:
                banks = [admit(http, operators, f"Lender {number}") for number in range(LENDERS)]
                log_key = http.get("/.well-known/creditshare").json()["log"]["vkey"]
            (self.folder / "banks.json").write_text(json.dumps([bank.key_file for bank in banks]))
            (self.folder / "log-key").write_text(log_key)
            assert world.outside("witness", "trust", str(world.witness.folder), log_key).returncode == 0
            world.stop_service()
            world.postgres.stop()
        finally:
            world.close()
        (self.folder / "log").unlink()
        (self.folder / "journal.ndjson").unlink()

    @contextlib.contextmanager
    def copy(self, seed: int, *, volume: Path | None = None, serving: bool = True) -> Iterator[World]:
        """Lend a fresh world, its data on another volume where one is named."""
        with open_folder() as folder:
            data = (volume or folder) / "data"
            subprocess.run(["cp", "-a", str(self.folder / "data"), str(data)], check=True)
            for file in ("banks.json", "log-key"):
                shutil.copy(self.folder / file, folder)
            shutil.copytree(self.folder / "witness", folder / "witness")
            world = World(folder, self._tools, seed, data=data)
            try:
                with world.witnessed():
                    if serving:
                        world.start_worker()
                        world.start_service()
                    yield world
            finally:
                world.close()


def admit(http: httpx.Client, operators: list[Bank], name: str) -> Bank:
    """Admit a lender by two operators."""
    proposed = operators[0].call(http, "POST", "/v1/members", {"name": name, "role": "lender", "region": "US-CA"})
    approvals = f"/v1/members/{proposed['member_id']}/approvals"
    # A member that nobody knew a moment ago: whatever its version is.
    approved = operators[1].call(http, "POST", approvals, {"action": "admission"}, if_match="*")
    bank = Bank(str(proposed["member_id"]), ec.generate_private_key(ec.SECP256R1()))
    bank.enrol(http, approved["enrolment_code"])
    bank.tokenise(http, BORROWERS)
    return bank


@contextlib.contextmanager
def tools() -> Iterator[Tools]:
    """Lend what worlds are made with."""
    with proxy_loop() as loop, commands() as starting:
        yield Tools(loop, starting)


@contextlib.contextmanager
def first_world() -> Iterator[First]:
    """Build the first world; everything of it is gone afterwards."""
    with open_folder() as folder, tools() as here:
        first = First(folder, here)
        first.build()
        yield first
