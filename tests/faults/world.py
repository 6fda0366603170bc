"""A small world of real processes: PostgreSQL, ``serve --workers 2``, workers of the log, a proxy on every wire.

A first world is built once and kept as a folder, with schema, members, keys and borrowers' tokens; every cell works on
a copy of it. Of the service only the embedded server is imported, because something must start PostgreSQL.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg
from cryptography.hazmat.primitives.asymmetric import ec
from tests.faults.bank import ISSUER, Bank, Journal
from tests.faults.load import Load
from tests.faults.proxy import Proxy, proxy_loop

from creditshare.storage.embedded import EmbeddedPostgres

SOURCE = Path(__file__).resolve().parents[2] / "src"
LENDERS = 3
BORROWERS = [f"91999999FLT{number:06d}X" for number in range(10)]
READY_S = 240.0  # a machine that runs much else beside this is slow, not broken


class World:
    """The processes of one cell."""

    def __init__(self, folder: Path, loop: AbstractEventLoop, seed: int, *, data: Path | None = None) -> None:
        self.folder = folder
        self.data = data or folder / "data"
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311  reproducible faults, not a secret
        self.postgres = EmbeddedPostgres(self.data / "postgres")
        self.postgres.start()
        self._loop = loop
        self._stack = contextlib.ExitStack()
        self._log = self._stack.enter_context((folder / "log").open("a"))
        self.http_port = free_port()
        query = dict(part.split("=") for part in self.postgres.url("app").partition("?")[2].split("&"))
        self.socket = Path(query["host"].replace("%2F", "/")) / f".s.PGSQL.{query['port']}"
        self.proxies: list[Proxy] = []
        # One for the service and one for the worker, so that a trap knows whose statement it springs at.
        self.database_wire = self.new_wire()
        self.worker_wire = self.new_wire()
        self.client_wire = self.new_wire(self.http_port)
        self.url = f"http://127.0.0.1:{self.client_wire.port}"
        self.service: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        keys = json.loads((folder / "banks.json").read_text()) if (folder / "banks.json").exists() else []
        self.banks = [Bank.of_jwk(key) for key in keys]
        self.journal = Journal(folder / "journal.ndjson")

    # Processes

    def environment(self, wire: Proxy) -> dict[str, str]:
        """Return the settings of a process whose database lies behind a proxy."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("CREDITSHARE_")}
        ours = {
            "PYTHONPATH": str(SOURCE),
            "CREDITSHARE_DATABASE_URL": self.address("app", wire),
            "CREDITSHARE_PUBLIC_URL": ISSUER,
            "CREDITSHARE_ENVIRONMENT": "sandbox",
            **{f"CREDITSHARE_{r.upper()}_DATABASE_URL": self.address(r, wire) for r in ("worker", "owner", "eraser")},
        }
        return {**inherited, **ours}

    def address(self, role: str, wire: Proxy) -> str:
        """Return the address of a role by way of a proxy."""
        start = self.postgres.url(role).partition("?")[0].rpartition("@")
        database = start[2].rpartition("/")[2]
        return f"{start[0]}@127.0.0.1:{wire.port}/{database}"

    def run(
        self, *arguments: str, wire: Proxy | None = None, settings: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start one of the project's commands."""
        command = [sys.executable, "-m", "creditshare", *arguments, "--data", str(self.data)]
        environment = {**self.environment(wire or self.database_wire), **(settings or {})}
        return subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)

    def start_service(self, workers: int = 2, **changes: str) -> None:
        """Start ``serve`` and wait until it is ready."""
        port = str(self.http_port)
        self.service = self.run("serve", "--port", port, "--workers", str(workers), settings=changes)
        self.wait_ready()

    def wait_ready(self, seconds: float = READY_S) -> float:
        """Wait until readiness is answered; return how long it took."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{self.http_port}/readyz", timeout=2).status_code == 200:
                    return time.monotonic() - began
            time.sleep(0.05)
        raise AssertionError(f"the service was not ready within {seconds} s: {self.log()[-2000:]}")

    def start_worker(self, wire: Proxy | None = None) -> "subprocess.Popen[bytes]":
        """Start a worker of the log, by default on the worker's wire."""
        worker = self.run("worker", wire=wire or self.worker_wire)
        self.workers.append(worker)
        return worker

    def new_wire(self, upstream: int | Path | None = None) -> Proxy:
        """Return another wire, by default to the database."""
        wire = Proxy(self._loop, upstream=upstream or self.socket, seed=self.seed)
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

    def kill_postgres(self) -> None:
        """End the server as a power cut ends it."""
        os.kill(int((self.postgres.folder / "data" / "postmaster.pid").read_text().split("\n")[0]), signal.SIGKILL)

    def base_backup(self, target: Path) -> None:
        """Take a copy of the running server, as its owner."""
        owner = self.postgres.folder.joinpath("data").stat()
        program = command_line(int((self.postgres.folder / "data" / "postmaster.pid").read_text().split("\n")[0]))
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
            end(self.service, number)
            self.service = None

    def superuser(self) -> "psycopg.Connection[Any]":
        """Return a direct connection for the checker."""
        return psycopg.connect(
            self.postgres.url("superuser").replace("postgresql+psycopg", "postgresql"), autocommit=True
        )

    def load(self, *, pause_s: float = 0.04) -> Load:
        """Return the lenders' work on this world."""
        return Load(self.url, self.banks, self.journal, self.seed, pause_s=pause_s)

    def log(self) -> str:
        """Return what the processes said."""
        return (self.folder / "log").read_text(errors="replace")

    def close(self) -> None:
        """End everything."""
        self.stop_service()
        for worker in self.workers:
            end(worker)
        for proxy in self.proxies:
            proxy.close()
        with contextlib.suppress(Exception):  # a broken cluster is thrown away with its folder
            self.postgres.stop()
        self.journal.close()
        self._stack.close()


def end(process: "subprocess.Popen[bytes]", number: int = signal.SIGTERM) -> None:
    """End a process that we started, by force if it does not go."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(15)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
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


class First:
    """The world that all others are copied from."""

    def __init__(self, folder: Path, loop: AbstractEventLoop) -> None:
        self.folder = folder
        self._loop = loop

    def build(self) -> None:
        """Migrate, admit the lenders and make the borrowers' tokens."""
        world = World(self.folder, self._loop, 0)
        try:
            assert world.run("operator", "bootstrap").wait(120) == 0, world.log()
            world.start_worker()
            world.start_service(1)
            operators = [
                Bank.of_jwk({"tokens": [], **json.loads((world.data / f"operator-{number}.jwk.json").read_text())})
                for number in (1, 2)
            ]
            with httpx.Client(base_url=world.url, timeout=30) as http:
                banks = [admit(http, operators, f"Lender {number}") for number in range(LENDERS)]
            (self.folder / "banks.json").write_text(json.dumps([bank.key_file for bank in banks]))
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
            shutil.copy(self.folder / "banks.json", folder)
            world = World(folder, self._loop, seed, data=data)
            try:
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
def first_world() -> Iterator[First]:
    """Build the first world; everything of it is gone afterwards."""
    with open_folder() as folder, proxy_loop() as loop:
        first = First(folder, loop)
        first.build()
        yield first
