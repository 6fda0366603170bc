"""The command ``serve`` as an operator runs it: it starts all it needs and leaves nothing behind."""

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
