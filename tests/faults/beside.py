"""What stands beside a world and takes nothing on trust: a regulator's witness and a member's mirror, real programs.

Both know the log's public key since the first world and nothing else of the service; neither is ever struck by a fault.
"""

import contextlib
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

UNAVAILABLE = 4
"""The status of a command to which nobody answered, docs/operate.md."""
REST_S = 0.5
NAME = "witness.example/1"

Run = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs a command of the project to its end, as whoever has none of the service's settings."""


class Witness:
    """The folder of a witness, the address where it answers, and the policy by which the log asks it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.serving = ("witness", "serve", str(folder), "--port", str(port))
        self.vkey = (folder / "vkey").read_text()
        self.policy = folder.with_name(f"{folder.name}-policy")
        self.policy.write_text(f"witness w {self.vkey} {self.url}\nquorum w\n")

    @classmethod
    def make(cls, folder: Path, run: Run) -> None:
        """Make a key; whoever relies on the witness keeps the public one."""
        made = run("witness", "new", str(folder), "--name", NAME)
        assert made.returncode == 0, made.stderr
        (folder / "vkey").write_text(made.stdout.strip())

    def contradictions(self) -> int:
        """Return how many notes it was shown that cannot be, read without its own program."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder / 'state.sqlite'}?mode=ro", uri=True)) as state:
            return int(state.execute("SELECT count(*) FROM contradiction").fetchone()[0])


class Mirror:
    """A copy of the log. That nobody answers a visit is no finding; whatever else goes wrong with it is."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder = folder
        self._run = run
        self.visits = 0
        self.findings: list[str] = []

    def visit(self, url: str, vkey: str) -> bool:
        """Fetch what is new; return whether the log answered and all of it holds."""
        got = self._run("log", "mirror", url, str(self.folder), "--vkey", vkey)
        self.visits += got.returncode == 0
        finding = f"status {got.returncode}: {got.stderr.strip()[-500:]}"
        if got.returncode not in {0, UNAVAILABLE} and finding not in self.findings:
            self.findings.append(finding)
        return got.returncode == 0

    @contextlib.contextmanager
    def visiting(self, url: str, vkey: str) -> Iterator[None]:
        """Visit again and again while the block runs."""
        ending = threading.Event()

        def go_on() -> None:
            while not ending.wait(REST_S):
                self.visit(url, vkey)

        with ThreadPoolExecutor(1) as visitor:
            visits = visitor.submit(go_on)
            try:
                yield
            finally:
                ending.set()
        visits.result()

    def notes(self) -> list[str]:
        """Return every checkpoint that it ever saw, as it came."""
        return [path.read_text() for path in (self.folder / "checkpoints").iterdir() if path.name.isdecimal()]

    def entries(self) -> list[bytes]:
        """Return the leaves that it holds (C2SP tlog-tiles, entry bundles), read without its own program."""
        found: list[bytes] = []
        bundles = {path for path in (self.folder / "tile" / "entries").rglob("*") if path.is_file()}
        for path in sorted(bundles, key=first_index):
            body = path.read_bytes()
            while body:
                size = int.from_bytes(body[:2])
                found.append(body[2 : 2 + size])
                body = body[2 + size :]
        return found


def first_index(bundle: Path) -> int:
    """Return the place of a bundle by its name: ``x001/234`` or, while it is not full, ``x001/234.p/56``."""
    _, _, name = str(bundle).rpartition("/entries/")
    return int(name.partition(".p/")[0].replace("x", "").replace("/", ""))
