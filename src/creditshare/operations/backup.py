"""Takes a backup while the service runs: one consistent dump with a manifest, and the keys apart from it.

FOLDER/
    database.dump   pg_dump's custom format, of one snapshot: records and log belong to the same moment
    manifest.json   what it is of: version, schema, log size and checkpoint of that very snapshot, digests
KEYS/               asked for by name; may only be the same folder if the key file is sealed by its passphrase
    keyring.json    as it lies on disk
    tombstones.ndjson, public_address

Whoever has dump and open key file together can read everything, so they never lie in one folder. Tombstones stay out
of the dump's folder too: a restore must follow the newest ones there are, not those of the backup's day.
Left out: physical backups and the archive of the write-ahead log, which PostgreSQL's own tools do better.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psycopg

from creditshare.composition import ADDRESS_FILE, database_url, public_address
from creditshare.errors import ConfigurationError, Unavailable
from creditshare.keys.keyring import is_sealed
from creditshare.marks import mark_backup
from creditshare.operations import programs
from creditshare.settings import Settings
from creditshare.storage.engine import Database
from creditshare.tlog.checkpoint import peek_checkpoint

FORMAT: Final = 1
DUMP: Final = "database.dump"
MANIFEST: Final = "manifest.json"
KEYRING: Final = "keyring.json"
TOMBSTONES: Final = "tombstones.ndjson"
OWNER: Final = "creditshare_owner"
CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is of. ``checkpoint`` is the newest signed note in the dump, None for a log that never began."""

    creditshare: str
    made_at: str
    issuer: str
    postgres_major: int
    revision: str
    checkpoint: str | None
    leaves: int
    pending: int
    dump_bytes: int
    dump_sha256: str

    def write(self, folder: Path) -> None:
        """Write it last, so that a folder without it is no backup."""
        content = {"format": FORMAT, **{name: getattr(self, name) for name in self.__slots__}}
        write_whole(folder / MANIFEST, (json.dumps(content, indent=2) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read it; ``ConfigurationError`` for a folder that is no finished backup of a form we know."""
        try:
            content: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
            if content.pop("format") != FORMAT:
                raise ConfigurationError(f"{folder} is a backup of another form than this creditshare reads")
            return cls(**content)
        except OSError as error:
            raise ConfigurationError(
                f"{folder / MANIFEST} cannot be read ({error.strerror}): not a finished backup"
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ConfigurationError(f"{folder / MANIFEST} is not a manifest of a backup") from None

    @property
    def log_size(self) -> int:
        """How many leaves the checkpoint covers."""
        return peek_checkpoint(self.checkpoint).size if self.checkpoint else 0


def back_up(settings: Settings, folder: Path, *, keys_to: Path | None = None) -> Manifest:
    """Write a backup into an empty folder, and the keys into one of their own if it is named."""
    issuer = public_address(settings)
    if keys_to is not None:
        require_apart(settings, folder, keys_to)
        private_folder(keys_to)
    private_folder(folder)
    if any(folder.iterdir()):
        raise ConfigurationError(f"{folder} is not empty: a backup goes into a folder of its own")
    database = Database(database_url(settings, "owner"), role=OWNER)
    try:
        manifest = _dump(database, folder, issuer=issuer)
    except psycopg.OperationalError as error:
        raise Unavailable("the database does not answer, or cut the connection; nothing was backed up") from error
    manifest.write(folder)
    if keys_to is not None:
        _copy_keys(settings, keys_to)
    mark_backup(settings.data, at=datetime.fromisoformat(manifest.made_at), leaves=manifest.leaves)
    return manifest


def require_apart(settings: Settings, folder: Path, keys_to: Path) -> None:
    """Refuse to lay an open key file where the dump lies; ``ConfigurationError`` says what to do instead."""
    together = keys_to.resolve() == folder.resolve()
    nested = folder.resolve() in keys_to.resolve().parents or keys_to.resolve() in folder.resolve().parents
    if (together or nested) and not is_sealed(settings.keyring_path):
        raise ConfigurationError(
            "the key file is not sealed, so it may not lie with the dump: name another folder for --keys-to, on other"
            " storage, or seal it first (`creditshare keys seal`)"
        )


def _dump(database: Database, folder: Path, *, issuer: str) -> Manifest:
    """Dump under a snapshot that we hold open, so that what the manifest says is exactly what the dump holds."""
    with psycopg.connect(database.conninfo, options=f"-c role={OWNER}", connect_timeout=10) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        major = connection.info.server_version // 10_000
        program = programs.find("pg_dump", major)
        try:
            (snapshot,) = _one(connection, "SELECT pg_export_snapshot()")
            (revision,) = _one(connection, "SELECT version_num FROM alembic_version")
            last = connection.execute("SELECT note FROM audit_checkpoint ORDER BY size DESC LIMIT 1").fetchone()
            leaves, pending = _one(
                connection, "SELECT (SELECT count(*) FROM audit_leaf), (SELECT count(*) FROM audit_pending)"
            )
        except psycopg.errors.UndefinedTable:
            raise ConfigurationError("there is no creditshare schema in this database: nothing to back up") from None
        dump = folder / DUMP
        write_whole(dump, b"")  # ours before the program writes into it: mode 0600
        arguments = ["--format=custom", f"--snapshot={snapshot}", f"--role={OWNER}", "--no-owner", f"--file={dump}"]
        programs.run(program, arguments, database=database.url)
    size, digest = measure(dump)
    return Manifest(
        creditshare=_own_version(),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        issuer=issuer,
        postgres_major=major,
        revision=revision,
        checkpoint=last[0] if last else None,
        leaves=leaves,
        pending=pending,
        dump_bytes=size,
        dump_sha256=digest,
    )


def _one(connection: "psycopg.Connection[Any]", statement: str) -> tuple[Any, ...]:
    row = connection.execute(statement.encode()).fetchone()
    if row is None:
        raise ConfigurationError("the database's schema has no version: run `creditshare db upgrade`")
    return tuple(row)


def _copy_keys(settings: Settings, target: Path) -> None:
    named = {
        KEYRING: settings.keyring_path,
        TOMBSTONES: settings.tombstones_path,
        ADDRESS_FILE: settings.data / ADDRESS_FILE,
    }
    for name, source in named.items():
        if source.exists():
            write_whole(target / name, source.read_bytes())


def private_folder(folder: Path) -> None:
    """Make a folder that only we may enter, unless it is there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the folder {folder} cannot be made ({error.strerror}): make it, and give it to the user that runs this"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f"the folder {folder} cannot be written by the user that runs this")


def write_whole(path: Path, content: bytes) -> None:
    """Write a private file and force it to disk; an existing one is never overwritten."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists already and is not overwritten") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def measure(path: Path) -> tuple[int, str]:
    """Return a file's size and SHA-256, and force it to disk."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def _own_version() -> str:
    try:
        return version("creditshare")
    except PackageNotFoundError:  # a checkout without a build
        return "checkout"
