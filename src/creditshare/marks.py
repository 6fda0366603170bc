"""What commands leave in the data folder for a running service to show: when the last backup was finished.

A mark decides nothing. One that is missing or cannot be read is none.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

BACKUP: Final = "last_backup"


@dataclass(frozen=True, slots=True)
class BackupMark:
    """A finished backup: when, and how many leaves of the log it holds."""

    at: datetime
    leaves: int


def mark_backup(data: Path, *, at: datetime, leaves: int) -> None:
    """Note a finished backup."""
    draft = data / f".{BACKUP}"
    draft.write_text(json.dumps({"at": at.astimezone(UTC).isoformat(timespec="seconds"), "leaves": leaves}) + "\n")
    draft.replace(data / BACKUP)


def last_backup(data: Path) -> BackupMark | None:
    """Return the last finished backup that is known of, or None."""
    try:
        said = json.loads((data / BACKUP).read_text())
        return BackupMark(datetime.fromisoformat(said["at"]), int(said["leaves"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
