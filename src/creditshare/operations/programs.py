"""Finds the ``pg_dump`` and ``pg_restore`` of exactly a server's major version, and runs them.

An older program does not know a newer server, and a newer one writes what the older server cannot load. Looked through,
in this order: the wheel of the embedded server, Debian's folder of each version, the path. The password travels in the
environment, because everyone on the machine can read a command line.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import URL

from creditshare.errors import ConfigurationError, Unavailable
from creditshare.storage.embedded import installed_programs

DEBIAN: Final = "/usr/lib/postgresql/{major}/bin"
VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)")


def find(name: str, major: int) -> Path:
    """Return the program of a major version; ``ConfigurationError`` says what to install."""
    for candidate in _candidates(name, major):
        if candidate.is_file() and _major(candidate) == major:
            return candidate
    raise ConfigurationError(
        f"{name} of PostgreSQL {major} is needed for a server of that version and was not found:"
        f" install the client programs of version {major} (Debian: postgresql-client-{major})"
    )


def run(program: Path, arguments: Sequence[str], *, database: URL) -> None:
    """Run a program against a database; what it complains about becomes the error, without the address."""
    address = database.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    environment = {**os.environ, "PGPASSWORD": str(database.password or ""), "PGCONNECT_TIMEOUT": "10"}
    done = subprocess.run(  # noqa: S603  a program of PostgreSQL, found above
        [str(program), *arguments, f"--dbname={address}"], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["nothing"]
        raise Unavailable(f"{program.name} failed: {said[0]}")


def _candidates(name: str, major: int) -> Iterator[Path]:
    if (folder := installed_programs()) is not None:
        yield folder / name
    yield Path(DEBIAN.format(major=major)) / name
    if (found := shutil.which(name)) is not None:
        yield Path(found)


def _major(program: Path) -> int | None:
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)  # noqa: S603  as above
    found = VERSION.search(said.stdout)
    return int(found[1]) if found else None
