"""Loads a backup into an empty database and proves the log before anything may be served.

In this order, and nothing is written before the first four hold:

1. The dump is the one that the manifest describes, and this code knows its schema.
2. The key file opens, and its log key signed the manifest's checkpoint, under this address.
3. No checkpoint that somebody else holds is of a longer log: serving the shorter one would fork it.
4. The database is empty, has the roles, and is no older than the server that the dump came from.
5. The dump is loaded whole or not at all, the log is rebuilt from its leaves and compared with the checkpoint and with
   those that others hold, and the schema is brought to this version.

What others hold is named by hand and asked of the log's witnesses. Then ``creditshare restore apply`` buries what was
erased and revoked since (the command does both).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from creditshare.app import upgrade_schema
from creditshare.audit.rebuild import Rebuilt, rebuild
from creditshare.composition import (
    ADDRESS_FILE,
    database_url,
    keyring_file,
    log_signer,
    public_address,
)
from creditshare.errors import ConfigurationError, IntegrityError, Malformed, Unavailable, VerificationFailed
from creditshare.jobs.witnesses import shown_by_all
from creditshare.operations import programs
from creditshare.operations.backup import DUMP, KEYRING, OWNER, TOMBSTONES, Manifest, measure, write_whole
from creditshare.settings import Settings
from creditshare.startup import witness_policy
from creditshare.storage import schema
from creditshare.storage.embedded import GROUPS
from creditshare.storage.engine import Database
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from creditshare.tlog.note import Verifier

ROLES_MISSING: Final = (
    "run the statements of docs/operate.md, “Roles and logins”, as the database's administrator first"
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What now stands in the database: the backup's manifest, and how many leaves were rebuilt."""

    manifest: Manifest
    leaves: int


def check_backup(folder: Path) -> Manifest:
    """Return the manifest of a backup whose dump is whole and whose schema this code knows."""
    manifest = Manifest.read(folder)
    try:
        found = measure(folder / DUMP)
    except OSError as error:
        raise ConfigurationError(f"{folder / DUMP} cannot be read ({error.strerror})") from error
    if found != (manifest.dump_bytes, manifest.dump_sha256):
        raise IntegrityError(f"{folder / DUMP} is not the dump that the manifest describes: take another backup")
    if not schema.knows(manifest.revision):
        raise ConfigurationError(
            f"the backup's schema {manifest.revision} is newer than this creditshare: use the version that made it"
        )
    return manifest


def bring_keys(settings: Settings, folder: Path) -> None:
    """Put key file and address in their places unless they are there, and add tombstones that are not.

    ``ConfigurationError`` where another key file or address is there already.
    """
    for name, target in ((KEYRING, settings.keyring_path), (ADDRESS_FILE, settings.data / ADDRESS_FILE)):
        content = _read(folder / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            write_whole(target, content)
        elif target.read_bytes() != content:
            raise ConfigurationError(f"{target} is there already and is another one than the backup's")
    if (folder / TOMBSTONES).exists():
        _add_tombstones(_read(folder / TOMBSTONES), settings.tombstones_path)


def load(settings: Settings, folder: Path, *, known: Sequence[Path] = ()) -> Loaded:
    """Load a backup into the settings' database, which must be empty and must be running."""
    manifest = check_backup(folder)
    verifier = _log_verifier(settings, manifest)
    if manifest.checkpoint is not None:
        open_checkpoint(manifest.checkpoint, [verifier])
    # A witness that is away is asked again before anything is signed.
    held = [_held(file, verifier) for file in known]
    held += shown_by_all(witness_policy(settings), verifier).values()
    require_not_shorter(manifest.log_size, held)
    database = Database(database_url(settings, "owner"), role=OWNER, pool_size=1)
    program = _fitting_program(database, manifest)
    arguments = ["--single-transaction", "--exit-on-error", "--no-owner", f"--role={OWNER}", str(folder / DUMP)]
    programs.run(program, arguments, database=database.url)
    rebuilt = asyncio.run(_rebuild(database, [checkpoint.size for checkpoint in held]))
    require_same_log(rebuilt, manifest, held)
    # Whoever loads a backup of before the seals vouches for it, as for all that it brings back.
    upgrade_schema(settings, keyring_file(settings).load(), seal_anew=True)
    return Loaded(manifest, rebuilt.size)


def require_not_shorter(size: int, held: Sequence[Checkpoint]) -> None:
    """Refuse a backup that ends before what others have already seen signed."""
    longest = max((checkpoint.size for checkpoint in held), default=0)
    if longest > size:
        raise IntegrityError(
            f"the log was already at {longest} leaves, and this backup ends at {size}: members hold receipts for what"
            " is missing, and going on from here would fork the log. Nothing was loaded. Take a newer backup, or"
            " recover the database to a later moment from its archive of write-ahead logs"
        )


def require_same_log(rebuilt: Rebuilt, manifest: Manifest, held: Sequence[Checkpoint]) -> None:
    """Refuse a tree that is not the one of the manifest's checkpoint and of every checkpoint that others hold."""
    own = [peek_checkpoint(manifest.checkpoint)] if manifest.checkpoint else []
    if rebuilt.size != manifest.log_size or rebuilt.size != manifest.leaves:
        raise IntegrityError(f"the restored log has {rebuilt.size} leaves, not {manifest.log_size}: do not serve it")
    for checkpoint in (*own, *held):
        if rebuilt.roots.get(checkpoint.size) != checkpoint.root:
            raise IntegrityError(
                f"the restored log of {checkpoint.size} leaves has another root than the signed checkpoint of that"
                " size: the leaves were changed, or it is another log. Do not serve it: drop this database"
            )


def _log_verifier(settings: Settings, manifest: Manifest) -> Verifier:
    issuer = public_address(settings)
    if issuer != manifest.issuer:
        raise ConfigurationError(
            f"the backup is of {manifest.issuer}, this service is {issuer}: signatures name the address, so a restored"
            " service keeps it. Bring the address with --keys-from, or set CREDITSHARE_PUBLIC_URL"
        )
    return log_signer(keyring_file(settings).load(), issuer).verifier


def _held(file: Path, verifier: Verifier) -> Checkpoint:
    try:
        return open_checkpoint(_read(file), [verifier])
    except (Malformed, VerificationFailed) as error:
        raise VerificationFailed(f"{file} is no checkpoint that this service's key signed: {error}") from error


def _fitting_program(database: Database, manifest: Manifest) -> Path:
    try:
        with psycopg.connect(database.conninfo, options=f"-c role={OWNER}", connect_timeout=10) as connection:
            major = connection.info.server_version // 10_000
            tables = connection.execute(
                "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.relkind IN ('r', 'p', 'v', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
            ).fetchone()
            roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
    except psycopg.OperationalError as error:
        reason = str(error).strip().partition("\n")[0]
        raise Unavailable(f"the owner's login does not get in: {reason}") from error
    if major < manifest.postgres_major:
        raise ConfigurationError(
            f"the dump is of PostgreSQL {manifest.postgres_major}, this server is {major}: a dump is never loaded into"
            " an older server"
        )
    if tables != (0,):
        raise ConfigurationError("the database is not empty: a backup is loaded into an empty one only")
    if missing := sorted(set(GROUPS.values()) - roles):
        raise ConfigurationError(f"the server lacks the roles {', '.join(missing)}: {ROLES_MISSING}")
    return programs.find("pg_restore", major)


async def _rebuild(database: Database, sizes: Sequence[int]) -> Rebuilt:
    try:
        async with database.reading() as session:
            return await rebuild(session, at=sizes)
    finally:
        await database.close()


def _add_tombstones(copied: bytes, target: Path) -> None:
    """Add the lines that are not there. Tombstones are only ever added, so the union is the newest of both."""
    present = target.read_bytes() if target.exists() else b""
    missing = [line for line in copied.splitlines(keepends=True) if line not in present.splitlines(keepends=True)]
    if not target.exists():
        write_whole(target, copied)
    elif missing:
        with target.open("ab") as file:
            file.writelines(missing)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror})") from error
