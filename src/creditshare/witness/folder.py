"""A witness's folder: ``witness.json`` (its name and private key), ``logs`` (keys it trusts), ``state.sqlite``.

What it cosigned is stored before the cosignature leaves, in the transaction in which it was decided. A log that showed
something that cannot be, signed by its own key, is remembered: that note and the one held are the proof of it.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from creditshare.errors import ConfigurationError, Malformed
from creditshare.tlog.checkpoint import open_checkpoint, peek_checkpoint
from creditshare.tlog.cosignature import Cosigner
from creditshare.tlog.note import Verifier, split_note
from creditshare.tlog.spelling import decode_std, encode_std
from creditshare.tlog.witness import AddCheckpoint, Held, OtherSize, decide

KEY_FILE: Final = "witness.json"
LOGS_FILE: Final = "logs"
STATE_FILE: Final = "state.sqlite"
SEED_BYTES: Final = 32
BUSY_S: Final = 10.0
MOST_CONTRADICTIONS: Final = 100
"""How many are remembered of one log; two are enough to show anybody."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS cosigned (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS never_back BEFORE UPDATE ON cosigned WHEN NEW.size < OLD.size
    BEGIN SELECT RAISE(ABORT, 'a witness never goes back'); END;
CREATE TRIGGER IF NOT EXISTS never_away BEFORE DELETE ON cosigned
    BEGIN SELECT RAISE(ABORT, 'a witness never forgets'); END;
CREATE TABLE IF NOT EXISTS contradiction (
    origin TEXT NOT NULL, note TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (origin, note)) WITHOUT ROWID;
"""


class Folder:
    """An existing witness. Raises ``ConfigurationError`` for a folder that holds none, or a file that is broken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cosigner = _cosigner(path)
        self._connect().close()

    @classmethod
    def create(cls, path: Path, *, name: str) -> "Folder":
        """Make a key under a name and the folder around it; one that is there already is never replaced."""
        key = Ed25519PrivateKey.generate()
        Cosigner(name, key)  # refuses a name that no key may have
        path.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path / KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ConfigurationError(f"{path} holds a witness already") from None
        with os.fdopen(descriptor, "w") as file:
            json.dump({"name": name, "ed25519_seed": encode_std(key.private_bytes_raw())}, file)
            file.flush()
            os.fsync(file.fileno())
        with closing(sqlite3.connect(path / STATE_FILE)) as state:
            state.executescript(_SCHEMA)
        return cls(path)

    def trust(self, vkey: str) -> Verifier:
        """Trust a log's key from now on; several may be of one log, while one replaces the other."""
        verifier = Verifier.parse(vkey)
        if verifier not in [known for keys in self.logs().values() for known in keys]:
            with (self.path / LOGS_FILE).open("a+") as file:
                file.seek(0)
                begun = file.read()
                file.write(("\n" if begun and not begun.endswith("\n") else "") + verifier.vkey + "\n")
        return verifier

    def logs(self) -> Mapping[str, Sequence[Verifier]]:
        """Return the trusted keys by the origin of their log. Read anew, so that nothing has to be started again."""
        found: dict[str, list[Verifier]] = {}
        path = self.path / LOGS_FILE
        for line in path.read_text().splitlines() if path.exists() else ():
            if line.strip() and not line.startswith("#"):
                try:
                    verifier = Verifier.parse(line.strip())
                except Malformed as error:
                    raise ConfigurationError(f"{path}: {error}") from error
                found.setdefault(verifier.name, []).append(verifier)
        return found

    def add(self, body: bytes, *, at: int) -> str:
        """Decide on a request, store its checkpoint and return the line that cosigns it at a time (seconds since 1970).

        Raises what ``tlog.witness.decide`` raises; nothing is stored then but a log's contradiction.
        """
        request = AddCheckpoint.parse(body)
        logs = self.logs()
        with self._deciding() as state:
            held = {
                origin: Held(size, root)
                for origin, size, root in state.execute("SELECT origin, size, root FROM cosigned")
            }
            try:
                shown = decide(request, logs=logs, held=held)
            except OtherSize:
                self._remember(state, request, logs, held, at=at)
                state.execute("COMMIT")
                raise
            line = self.cosigner.cosign(shown, at=at)
            state.execute(
                "INSERT INTO cosigned VALUES (?, ?, ?, ?) ON CONFLICT (origin) DO UPDATE"
                " SET size = excluded.size, root = excluded.root, note = excluded.note",
                [shown.origin, shown.size, shown.root, _signed(request.note, logs[shown.origin]) + line],
            )
            state.execute("COMMIT")
        return line

    def newest(self, origin: str) -> str | None:
        """Return the newest checkpoint of a log with this witness's line, or nothing where it cosigned none."""
        with closing(self._connect()) as state:
            row = state.execute("SELECT note FROM cosigned WHERE origin = ?", [origin]).fetchone()
        return None if row is None else str(row[0])

    def held(self) -> list[tuple[str, int, int]]:
        """Return each log it cosigned: origin, size, and how many contradictions it saw."""
        with closing(self._connect()) as state:
            return state.execute(
                "SELECT origin, size, (SELECT count(*) FROM contradiction x WHERE x.origin = c.origin)"
                " FROM cosigned c ORDER BY origin"
            ).fetchall()

    def contradictions(self, origin: str) -> list[str]:
        """Return the notes of a log that cannot be, each signed by its own key."""
        with closing(self._connect()) as state:
            found = state.execute("SELECT note FROM contradiction WHERE origin = ? ORDER BY at, note", [origin])
            return [str(note) for (note,) in found]

    @staticmethod
    def _remember(
        state: sqlite3.Connection,
        request: AddCheckpoint,
        logs: Mapping[str, Sequence[Verifier]],
        held: Mapping[str, Held],
        *,
        at: int,
    ) -> None:
        """Keep a checkpoint of the size that is held with another root. Nothing else shows by itself that it cannot be:
        a wrong proof may come from anybody.
        """
        shown = open_checkpoint(request.note, logs[peek_checkpoint(request.note).origin])
        last = held.get(shown.origin, Held())
        if shown.size == last.size and shown.root != last.root:
            state.execute(
                "INSERT OR IGNORE INTO contradiction SELECT ?, ?, ? WHERE"
                " (SELECT count(*) FROM contradiction WHERE origin = ?) < ?",
                [shown.origin, _signed(request.note, logs[shown.origin]), at, shown.origin, MOST_CONTRADICTIONS],
            )

    @contextmanager
    def _deciding(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as state:
            state.execute("BEGIN IMMEDIATE")  # nobody else reads what is about to change
            yield state

    def _connect(self) -> sqlite3.Connection:
        try:
            # Never made anew: a witness that forgot would cosign another past under the same name.
            address = (self.path / STATE_FILE).absolute().as_uri() + "?mode=rw"
            state = sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None)
            state.execute("PRAGMA synchronous = EXTRA")
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"{self.path / STATE_FILE} cannot be used ({error}). A witness that lost what it cosigned is none any"
                " more: make a new one under another name"
            ) from error
        return state


def _signed(note: str, verifiers: Sequence[Verifier]) -> str:
    """Return a note with the lines of trusted keys and no other: whoever sent it may have added any of his own."""
    unverified = split_note(note)
    keys = {(one.name, one.key_id) for one in verifiers}
    lines = {one.line: None for one in unverified.signatures if (one.name, one.key_id) in keys}  # each once, in order
    return unverified.text + "\n" + "".join(lines)


def _cosigner(path: Path) -> Cosigner:
    file = path / KEY_FILE
    try:
        content = json.loads(file.read_text())
        seed = decode_std(content["ed25519_seed"], what="the seed", size=SEED_BYTES)
        return Cosigner(content["name"], Ed25519PrivateKey.from_private_bytes(seed))
    except FileNotFoundError:
        raise ConfigurationError(f"{path} holds no witness: make one with creditshare witness new") from None
    except (OSError, ValueError, KeyError, TypeError, Malformed) as error:
        raise ConfigurationError(f"{file} is no witness's key") from error
