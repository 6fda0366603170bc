"""The project's commands as processes, forked from one that has imported the project (``forks``)."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
STARTED_S = 60.0
ENDED_S = 15.0


class Command:
    """A process that runs one command."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._told = b""
        self.status: int | None = None
        line.settimeout(STARTED_S)
        self.pid = self._number()

    def ended(self) -> bool:
        """Whether it has ended."""
        with contextlib.suppress(TimeoutError):
            self.wait(0)
        return self.status is not None

    def wait(self, seconds: float) -> int:
        """Wait for its end and return its status, negative for a signal; later than that is a ``TimeoutError``."""
        if self.status is None:
            self._line.settimeout(seconds)
            with contextlib.suppress(BlockingIOError):
                self.status = self._number()
                self._line.close()
                return self.status
            raise TimeoutError
        return self.status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it is known to have ended; from any thread."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as the kernel does that has no memory left."""
        self.send_signal(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end, by force if it does not go."""
        self.send_signal(signal.SIGCONT)
        self.send_signal(number)
        try:
            self.wait(ENDED_S)
        except TimeoutError:
            self.kill()
            self.wait(ENDED_S)

    def _number(self) -> int:
        while not self._told.endswith(b"\n"):
            part = self._line.recv(1)
            if not part:
                raise AssertionError("the process that forks commands is gone")
            self._told += part
        number, self._told = int(self._told), b""
        return number


class Commands:
    """Starts commands."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders

    def start(self, *arguments: str, environment: Mapping[str, str], log: int) -> Command:
        """Start a command that writes to an open file."""
        ours, theirs = socket.socketpair()
        order = json.dumps({"arguments": arguments, "environment": dict(environment)}).encode()
        with theirs:
            socket.send_fds(self._orders, [order], [log, theirs.fileno()])
        return Command(ours)


@contextlib.contextmanager
def commands() -> Iterator[Commands]:
    """Lend what starts commands; it knows nothing of this process's settings."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CREDITSHARE_")}
    with ours:
        with theirs:
            number = theirs.fileno()
            forks = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.forks", str(number)],
                cwd=ROOT,
                env={**inherited, "PYTHONPATH": str(SOURCE)},
                stdin=subprocess.DEVNULL,
                pass_fds=[number],
            )
        yield Commands(ours)
    forks.wait(ENDED_S)
