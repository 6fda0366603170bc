"""What must hold before the service starts, in one place: each check says what is missing and how to bring it.

A check returns a ``Finding``; ``require`` turns what is wrong into one ``ConfigurationError``. The checks of
settings and files need no database, so that they run before anything is started or written.

==========  ===========================================================================  ==========
check       refuses                                                                      where
==========  ===========================================================================  ==========
traces      spans without the library that sends them                                     everywhere
timestamps  an authority without roots to check it by, or without the library             everywhere
witnesses   a policy of witnesses that cannot be read                                     everywhere
database    the embedded database, unless it is chosen by name                           production
address     http on an address that other machines reach                                 production
keys        a key file or passphrase file that others may read, a key file not sealed    production
tombstones  a file of erasures that cannot be written                                    production
logins      an app login that can act as owner, worker, eraser or superuser              production
clock       a database whose business time was ever advanced                             production
operators   keys of operators that were made in a sandbox, on one machine, for a year    production
schema      another schema than this version's                                           everywhere
restored    erased borrowers or records, or revoked keys, that are alive again           everywhere
policy      policy rows that no migration wrote so                                       everywhere
key table   members or keys that were taken away, or put back to an older state          everywhere
==========  ===========================================================================  ==========
"""

import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from creditshare.crypto.rowseals import RowSeals
from creditshare.crypto.timestamps import MISSING
from creditshare.errors import ConfigurationError, Malformed
from creditshare.keys.keyring import is_sealed
from creditshare.keys.tombstones import Tombstones
from creditshare.members.keys import sandbox_operators
from creditshare.restore import returned
from creditshare.sandbox.service import business_time
from creditshare.seals import review
from creditshare.settings import Settings
from creditshare.storage import schema
from creditshare.storage.engine import Database
from creditshare.tlog.policy import TrustPolicy

TRACES_NEED: Final = "opentelemetry.exporter.otlp.proto.http"
STAMPS_NEED: Final = "rfc3161_client"
NAMED_ROWS: Final = 5
KEY_FILE_OTHERS: Final = 0o077
PASSPHRASE_FILE_OTHERS: Final = 0o027
"""A mounted secret may be readable by the service's group; nobody else reads it, and only its owner writes it."""

LOGIN: Final = text("""
    SELECT rolsuper, rolcreaterole, rolbypassrls,
           ARRAY(SELECT g.rolname::text FROM pg_roles g
                 WHERE g.rolname IN ('creditshare_owner', 'creditshare_worker', 'creditshare_eraser')
                   AND pg_has_role(session_user, g.oid, 'MEMBER') ORDER BY 1) AS groups,
           EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
                     AND pg_has_role(session_user, c.relowner, 'MEMBER')) AS owns_tables,
           (SELECT pg_has_role(session_user, d.datdba, 'MEMBER') FROM pg_database d
            WHERE d.datname = current_database()) AS owns_database
    FROM pg_roles WHERE rolname = session_user""")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: its name, a sentence for the operator where something is wrong, and what was seen."""

    check: str
    problem: str | None
    seen: str = ""


def line(finding: Finding) -> str:
    """Return a finding as a person reads it."""
    state = "ok   " if finding.problem is None else "WRONG"
    return f"{state}  {finding.check}: {finding.problem or finding.seen or 'well'}"


def require(findings: Iterable[Finding]) -> None:
    """Refuse to go on if any check found something wrong, saying all of it at once."""
    wrong = [finding.problem for finding in findings if finding.problem is not None]
    if wrong:
        raise ConfigurationError("\n".join(wrong))


def check_settings(settings: Settings, *, address: str | None = None) -> list[Finding]:
    """Check settings and files. ``address`` is the issuer, where it is known already."""
    everywhere = [
        Finding("traces", _traces(settings)),
        Finding("timestamps", _timestamps(settings)),
        Finding("witnesses", _witnesses(settings)),
    ]
    if settings.mode != "production":
        return everywhere
    return [
        *everywhere,
        Finding("database", _embedded(settings)),
        Finding("address", _address(address or settings.public_url)),
        Finding("keys", passphrase_problem(settings) or _key_files(settings)),
        Finding("tombstones", _tombstones(settings.tombstones_path)),
    ]


async def check_database(settings: Settings, database: Database) -> list[Finding]:
    """Check the schema, and in production the app's login and the clock, under the app's own login."""
    current = await _revision(database)
    behind = current != schema.head()
    problem = f"the database's schema is at {current or 'nothing'}, not {schema.head()}: run `creditshare db upgrade`"
    findings = [Finding("schema", problem if behind else None)]
    if settings.mode == "production":
        findings.append(Finding("logins", await _login(database)))
        findings.append(Finding("clock", None if behind else await _clock(database)))
        findings.append(Finding("operators", None if behind else await _operators(database)))
    return findings


async def check_restored(settings: Settings, database: Database) -> list[Finding]:
    """Check that nothing which was erased or revoked is alive, as after the restore of an older backup."""
    buried = Tombstones(settings.tombstones_path).read()
    async with database.reading() as session:
        found = await returned(session, buried)
    problem = (
        f"{found} are alive again: this database is older than what {settings.tombstones_path} says."
        " Nothing is served before `creditshare restore apply` has erased and revoked them again"
    )
    return [Finding("restored", problem if found else None)]


async def check_seals(database: Database, seals: RowSeals) -> list[Finding]:
    """Check that policy, members and keys are what the service wrote; a start has no memory of its own to go by.

    Single rows that do not match their seals close nobody's way but their own member's; the last finding names them.
    """
    found = await review(database, seals)
    taken = (
        "rows of members or keys were taken away, or put back to an older state of theirs: compare them with the log,"
        " mend them, or run `creditshare seals accept key_table`"
    )
    some = ", ".join(found.broken[:NAMED_ROWS]) + (" and others" if len(found.broken) > NAMED_ROWS else "")
    rows = f"written behind the service's back, and not believed: {some}. See `creditshare seals check`"
    return [
        Finding(
            "policy",
            None
            if found.policy is None
            else f"{found.policy}: put the row back as it was, unless this is another key file than the database's",
        ),
        Finding("key table", None if found.whole else taken),
        Finding("sealed rows", rows if found.broken else None),
    ]


def passphrase_problem(settings: Settings) -> str | None:
    """Return what is missing for a sealed key file in production."""
    if settings.mode == "production" and settings.keyring_passphrase_file is None:
        return "production needs a sealed key file: set CREDITSHARE_KEYRING_PASSPHRASE_FILE to a file with a passphrase"
    return None


def _traces(settings: Settings) -> str | None:
    if not settings.traces or _installed(TRACES_NEED):
        return None
    return "CREDITSHARE_TRACES needs OpenTelemetry: install creditshare[otel], or take the setting away"


def _timestamps(settings: Settings) -> str | None:
    if settings.timestamp_url is None:
        return None
    if not _plain_address(settings.timestamp_url):
        return (
            "CREDITSHARE_TIMESTAMP_URL is no http:// or https:// address without login and query: everybody reads it"
            " beside each stamp"
        )
    if settings.timestamp_certificates_file is None:
        return (
            "CREDITSHARE_TIMESTAMP_URL needs CREDITSHARE_TIMESTAMP_CERTIFICATES_FILE: the roots (PEM) that the"
            " authority's tokens must lead to"
        )
    return None if _installed(STAMPS_NEED) else f"CREDITSHARE_TIMESTAMP_URL: {MISSING}"


def witness_policy(settings: Settings) -> TrustPolicy | None:
    """Return whom the log asks for cosignatures and how many suffice, or nothing where nobody is asked."""
    file = settings.witness_policy_path
    if file is None:
        return None
    try:
        return TrustPolicy.parse(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"the witness policy {file} cannot be read ({error.strerror})") from error
    except Malformed as error:
        raise ConfigurationError(f"the witness policy {file}: {error}") from error


def _witnesses(settings: Settings) -> str | None:
    try:
        witness_policy(settings)
    except ConfigurationError as error:
        return str(error)
    return None


def _plain_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and parts.hostname is not None and parts.port != 0
    except ValueError:  # no port is that large, no address has such brackets
        return False
    return known and "@" not in parts.netloc and not parts.query and not parts.fragment


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a part of its path is not there either
        return False


def _embedded(settings: Settings) -> str | None:
    if not settings.embedded or settings.embedded_in_production:
        return None
    return (
        "production needs a PostgreSQL of its own: set CREDITSHARE_DATABASE_URL. The embedded one keeps the passwords"
        " of all its roles in one folder; to run it all the same, set CREDITSHARE_EMBEDDED_IN_PRODUCTION=true"
    )


def _address(address: str | None) -> str | None:
    parts = urlsplit(address or "https://")
    if parts.scheme == "https" or _loopback(parts.hostname or ""):
        return None
    return "production needs https: set CREDITSHARE_PUBLIC_URL to the https:// address that members reach"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key_files(settings: Settings) -> str | None:
    passphrase = settings.keyring_passphrase_file
    for path, others, mode in (
        (passphrase, PASSPHRASE_FILE_OTHERS, "0400"),
        (settings.keyring_path, KEY_FILE_OTHERS, "0600"),
    ):
        if path is not None and path.exists() and path.stat().st_mode & others:
            return f"{path} is open to other users of this machine: chmod {mode} {path}, and renew what was in it"
    if passphrase is not None and not passphrase.exists():
        return f"CREDITSHARE_KEYRING_PASSPHRASE_FILE names {passphrase}, which does not exist"
    if settings.keyring_path.exists() and not is_sealed(settings.keyring_path):
        return (
            f"the key file {settings.keyring_path} is not sealed: run `creditshare keys seal` with the passphrase set"
        )
    return None


def _tombstones(path: Path) -> str | None:
    nearest = next(p for p in (path, *path.parents) if p.exists())
    fitting = path.is_file() if nearest == path else nearest.is_dir()
    if fitting and os.access(nearest, os.W_OK):
        return None
    return f"{path} cannot be written, but each erasure and revocation is noted there: set CREDITSHARE_TOMBSTONES_FILE"


async def _revision(database: Database) -> str | None:
    try:
        async with database.reading() as session:
            found = await session.execute(text("SELECT version_num FROM alembic_version"))
            return found.scalar_one_or_none()
    except ProgrammingError:  # an empty database, or one of before the app could read its revision
        return None


async def _login(database: Database) -> str | None:
    async with database.reading() as session:
        row = (await session.execute(LOGIN)).one()
    powers = [
        name
        for name, held in (
            ("superuser", row.rolsuper),
            ("a maker of roles", row.rolcreaterole),
            ("exempt from row security", row.rolbypassrls),
            ("owner of the tables", row.owns_tables),
            ("owner of the database", row.owns_database),
        )
        if held
    ] + [f"member of {group}" for group in row.groups]
    if not powers:
        return None
    return (
        f"the login of CREDITSHARE_DATABASE_URL is {', '.join(powers)}: give the app a login that is a member of"
        " creditshare_app and nothing else, with logins of their own for the owner (CREDITSHARE_OWNER_DATABASE_URL),"
        " the worker (CREDITSHARE_WORKER_DATABASE_URL) and the eraser (CREDITSHARE_ERASER_DATABASE_URL)"
    )


async def _clock(database: Database) -> str | None:
    async with database.reading() as session:
        ahead = (await business_time(session)).ahead
    if not ahead:
        return None
    return (
        f"this database was a sandbox: its business time runs {ahead.days} days ahead and cannot be turned back."
        " Production begins with a new database"
    )


async def _operators(database: Database) -> str | None:
    async with database.reading() as session:
        count = await sandbox_operators(session)
    if not count:
        return None
    return (
        f"{count} live keys of this database were made by a sandbox's bootstrap: one person holds them, for a year, and"
        " they admit anybody. Production begins with a new database and its own `creditshare operator bootstrap`"
    )
