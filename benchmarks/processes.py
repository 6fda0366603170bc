"""Processes under measurement and the CPU time that they used, by the kernel's own accounting."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

TICKS = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds of the service's processes and of PostgreSQL's."""

    service: float
    postgres: float

    def since(self, before: "Cpu", requests: int) -> "Cpu":
        """Return milliseconds per request since an earlier reading."""
        return Cpu(
            *((b - a) / requests * 1e3 for a, b in ((before.service, self.service), (before.postgres, self.postgres)))
        )

    @property
    def total(self) -> float:
        return self.service + self.postgres


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_of(pid: int, *, but: str = "creditshare worker") -> float:
    """Return the CPU seconds of a process and its living and reaped children, the log's worker apart."""
    total = 0.0
    for process in Path("/proc").glob("[0-9]*"):
        number = int(process.name)
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if but in line or not _descends(number, pid):
                continue
            fields = _stat(number)
            total += sum(int(fields[i]) for i in (11, 12, *((13, 14) if number == pid else ()))) / TICKS
        except (OSError, IndexError, ValueError):
            continue  # it ended meanwhile
    return total


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        pid = int(_stat(pid)[1])
    return False


def postmaster_of(data: Path) -> int:
    """Return the pid of the PostgreSQL of a data folder."""
    return int((data / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Lend a folder that PostgreSQL's user may pass through, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="creditshare-bench-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def uvicorn_app(app: str, port: int, environment: dict[str, str] | None = None) -> Iterator[tuple[str, int]]:
    """Run an ASGI application of this folder as a process of its own; yield its address and pid."""
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning", "--no-access-log"]
    command += ["--loop", "uvloop", "--http", "httptools"]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", **(environment or {})}
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                httpx.get(url + "/healthz")
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        yield url, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
