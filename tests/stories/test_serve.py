"""The command ``serve`` as an operator runs it: it starts all it needs and leaves nothing behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fixtures.postgres import open_folder
from tests.fixtures.service import wait_for

from creditshare.cli.demo.stage import wait_until_ready
from creditshare.storage.embedded import EmbeddedPostgres


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of living processes that name a folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile
        if str(folder) in line:
            lines.append(line)
    return lines


def workers_of(folder: Path) -> list[int]:
    """Return the living workers of a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"worker" in words and str(folder / "data").encode() in words:
                found.append(int(process.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs a /proc to look for processes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_service_leaves_neither_worker_nor_database_behind(number: signal.Signals) -> None:
    with open_folder() as folder, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.close()
        log = folder / "log"
        command = [sys.executable, "-m", "creditshare", "serve", "--data", str(folder / "data"), "--port", str(port)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CREDITSHARE_")}
        with log.open("w") as output:
            process = subprocess.Popen([*command, "--with-worker"], stdout=output, stderr=output, env=environment)
            wait_until_ready(f"http://127.0.0.1:{port}", process, log)
            assert len(processes_of(folder)) >= 3
            process.send_signal(number)
            assert process.wait(30) == 0
        wait_for(lambda: not processes_of(folder))
        assert "Traceback" not in log.read_text()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs a /proc to look for processes")
def test_a_worker_that_dies_is_started_again_and_ends_with_a_killed_service() -> None:
    with open_folder() as folder, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.close()
        log, data = folder / "log", folder / "data"
        command = [sys.executable, "-m", "creditshare", "serve", "--data", str(data), "--port", str(port)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CREDITSHARE_")}
        with log.open("w") as output:
            process = subprocess.Popen([*command, "--with-worker"], stdout=output, stderr=output, env=environment)
            try:
                wait_until_ready(f"http://127.0.0.1:{port}", process, log)
                (first,) = workers_of(folder)
                os.kill(first, signal.SIGKILL)
                wait_for(lambda: bool(set(workers_of(folder)) - {first}), seconds=30)
                process.kill()
                process.wait(30)
                wait_for(lambda: not workers_of(folder), seconds=30)
            finally:
                process.kill()
                process.wait(30)
                EmbeddedPostgres(data / "postgres").stop()
