"""What stays erased or revoked whatever backup is restored: a file beside the key file, outside the database.

One line of JSON per borrower, record, member's key or passkey. A line is written and forced to disk *before* the
transaction that erases or revokes commits: a crash in between leaves an order that is carried out later
(``creditshare restore apply``), never an erasure that a restore would undo. Lines are only ever added.
A torn last line is one whose transaction never committed, so it is cut off.
"""

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

from creditshare.errors import ConfigurationError

Kind = Literal["borrower", "record", "key", "passkey"]


@dataclass(frozen=True, slots=True)
class Buried:
    """All that must not be alive: borrowers and records by UUIDs, keys by kids, passkeys by digests."""

    borrowers: tuple[UUID, ...] = ()
    records: tuple[UUID, ...] = ()
    keys: tuple[str, ...] = ()
    passkeys: tuple[str, ...] = ()
    orders: frozenset[str] = frozenset()
    """By whose orders erasures were made, where two people ordered them."""


class Tombstones:
    """Reads the file and adds to it. Any number of processes may add."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, kind: Kind, names: Sequence[UUID | str], *, now: datetime, order: str | None = None) -> None:
        """Add one line per name; returns when they are on disk. Call it before the commit."""
        common = {"at": now.astimezone(UTC).isoformat(timespec="seconds"), "kind": kind}
        common |= {} if order is None else {"order": order}
        lines = "".join(json.dumps({**common, "id": str(name)}) + "\n" for name in names)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"{self.path} cannot be written ({error.strerror}): nothing is erased or revoked without its tombstone"
            ) from error
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            whole = file.read().rpartition(b"\n")
            file.truncate(len(whole[0]) + len(whole[1]))
            file.seek(0, os.SEEK_END)
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self.path.parent)

    def stamp(self) -> tuple[int, int] | None:
        """Return what changes whenever a line is added; None while there is no file that can be looked at."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    def read(self) -> Buried:
        """Return all that is buried; a line that is no tombstone is a ``ConfigurationError``."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return Buried()
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read ({error.strerror})") from error
        borrowers: dict[UUID, None] = {}
        records: dict[UUID, None] = {}
        named: dict[str, dict[str, None]] = {"key": {}, "passkey": {}}
        orders: set[str] = set()
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            try:
                stone = json.loads(line)
                kind, name = stone["kind"], str(stone["id"])
                if kind in named:
                    named[kind][name] = None
                else:
                    {"borrower": borrowers, "record": records}[kind][UUID(name)] = None
                    orders |= {str(stone["order"])} if "order" in stone else set()
            except (ValueError, KeyError, TypeError):
                raise ConfigurationError(
                    f"line {number} of {self.path} is not a tombstone: restore the file from its backup"
                ) from None
        return Buried(tuple(borrowers), tuple(records), tuple(named["key"]), tuple(named["passkey"]), frozenset(orders))


def _sync_folder(folder: Path) -> None:
    """Force the folder's entry of a new file to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
