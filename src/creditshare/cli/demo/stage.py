"""The stage of every demonstration: the service as processes of their own, its operators, its members."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
from rich.table import Table
from rich.text import Text

from creditshare.cli.options import out
from creditshare.composition import embedded_postgres
from creditshare.errors import ConfigurationError, CreditshareError
from creditshare.settings import Settings

START_TIMEOUT_S: Final = 60.0


@contextlib.contextmanager
def service(data: Path, port: int, *, workers: int = 1, **settings: str) -> Iterator[str]:
    """Run the service and its worker as processes of their own until the block ends; ``settings`` by their names."""
    require_free(port)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "creditshare", "serve", "--data", str(data), "--port", str(port), "--with-worker"]
    command += ["--workers", str(workers)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CREDITSHARE_")}
    environment |= {f"CREDITSHARE_{name.upper()}": value for name, value in settings.items()}
    with (data / "service.log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)  # noqa: S603  our own command
        try:
            wait_until_ready(url, process, data / "service.log")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def require_free(port: int) -> None:
    """Say so if something else listens on the port already, rather than talk to it by mistake."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ConfigurationError(
            f"port {port} of this machine is in use: stop what listens there, or choose another --port and a new --data"
        ) from error


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the service says that it is ready; say why if it ends before."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ConfigurationError(f"the service did not start; the end of {log}:\n{log.read_text()[-2000:]}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url + "/readyz").status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise ConfigurationError(f"the service was not ready within {START_TIMEOUT_S:.0f} s; see {log}")


def reachable(data: Path) -> Path:
    """Return a folder that the embedded server's user can reach; as root that may need to be another one."""
    closed = [p for p in data.parents if p.exists() and not p.stat().st_mode & 0o001]
    if os.geteuid() != 0 or not closed:
        return data
    other = Path(tempfile.gettempdir()) / "creditshare-demo"
    out.print(f"{closed[0]} is closed to the database's user, so the demo's data lies in {other}", markup=False)
    return other


def stop_leftovers(data: Path) -> None:
    """Stop an embedded database that an interrupted demo left running."""
    with contextlib.suppress(CreditshareError):
        embedded_postgres(Settings(data=data)).stop()


def operator_files(data: Path) -> tuple[Path, Path]:
    """Return the key files of the two operators, bootstrapping them where an earlier demo did not."""
    first, second = data / "operator-1.jwk.json", data / "operator-2.jwk.json"
    if not (first.exists() and second.exists()):
        command = [sys.executable, "-m", "creditshare", "operator", "bootstrap", "--data", str(data), "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  our own command
    return first, second


def step(text: str) -> None:
    """Print one step of the story: indented in a terminal, on one line in a file."""
    mark, said = Text("✓", style="green"), Text(text)
    if not out.is_terminal:
        out.print(Text("  ") + mark + " " + said, soft_wrap=True)
        return
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(Text(" "), mark, said)
    out.print(row)
