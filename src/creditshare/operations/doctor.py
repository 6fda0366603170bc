"""Walks the way of a request hop by hop and names the one that fails, in an order in which the first is the cause.

The checks that a start makes (``startup``) are made here too; the others look at what changes while a service runs.
A hop that cannot be looked at from here, because an earlier one failed or a login is kept elsewhere, says so.
Nothing is changed, nothing is started, and no answer holds a password, a key or a borrower.
"""

import email.utils
import shutil
import socket
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import psycopg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from creditshare.audit.state import LogState, log_state
from creditshare.composition import database_url, embedded_postgres, keyring_file, log_signer, public_address
from creditshare.errors import ConfigurationError, CreditshareError, Unavailable
from creditshare.ids import spell
from creditshare.keys.keyring import Keyring
from creditshare.members.keys import LastKey, last_keys
from creditshare.settings import Settings
from creditshare.startup import Finding, check_database, check_restored, check_seals, check_settings
from creditshare.storage.engine import Database, ReadSession, Role, connection_options
from creditshare.tlog.checkpoint import open_checkpoint

CLOCK_TOLERANCE_S: Final = 5.0
"""A tenth of what a signed request may be off, so that clocks are mended before members are refused."""
DATE_HEADER_S: Final = 1.0  # its resolution
LEAST_FREE_BYTES: Final = 1 << 30
CERTIFICATE_DAYS: Final = 14
TIMEOUT_S: Final = 5.0
HTTP_OK: Final = 200
LOGINS: Final[dict[str, Role]] = {
    "app": "creditshare_app",
    "worker": "creditshare_worker",
    "owner": "creditshare_owner",
    "eraser": "creditshare_eraser",
}
SERVER: Final = text("""
    SELECT clock_timestamp() AS now, current_setting('server_version') AS version,
           pg_database_size(current_database()) AS bytes,
           (SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'creditshare_worker') AS workers""")


async def examine(settings: Settings, *, url: str | None = None) -> list[Finding]:
    """Look at every hop. ``url`` is where the service is asked; by default its public address."""
    issuer, address = _issuer(settings)
    keyring, keys = _keyring(settings)
    findings = [address, keys, *check_settings(settings, address=issuer), *_disks(settings)]
    databases = [database_answers(settings, name) for name in LOGINS]
    findings += databases
    if databases[0].problem is None:
        findings += await _inside(settings, issuer, keyring)
    else:
        findings.append(Finding("schema, clocks, log, keys", None, "not looked at: the database does not answer"))
    if (asked := url or issuer) is not None:
        findings += ask_service(asked, issuer=issuer)
    return findings


def _issuer(settings: Settings) -> tuple[str | None, Finding]:
    try:
        issuer = public_address(settings)
    except ConfigurationError as error:
        return None, Finding("issuer", str(error))
    return issuer, Finding("issuer", None, issuer)


def _keyring(settings: Settings) -> tuple[Keyring | None, Finding]:
    try:
        keyring = keyring_file(settings).load()
    except (ConfigurationError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return None, Finding("key file", f"the key file cannot be opened: {reason}")
    return keyring, Finding("key file", None, keyring.describe())


def _disks(settings: Settings) -> list[Finding]:
    folders = {"data folder": settings.data, "tombstones' folder": settings.tombstones_path.parent}
    return [_disk(name, folder) for name, folder in folders.items()]


def _disk(name: str, folder: Path) -> Finding:
    nearest = next(step for step in (folder, *folder.resolve().parents) if step.exists())
    free = shutil.disk_usage(nearest).free
    seen = f"{free / 1e9:.1f} GB free"
    problem = f"only {seen} under {nearest}: make room before the disk is full" if free < LEAST_FREE_BYTES else None
    return Finding(f"disk of the {name}", problem, seen)


def database_answers(settings: Settings, name: str) -> Finding:
    """Say whether the login of a role reaches the database and may act in that role."""
    check, role = f"database, {name}", LOGINS[name]
    try:
        address = database_url(settings, name)
    except ConfigurationError as error:
        if settings.embedded or name == "app":
            return Finding(check, str(error))
        return Finding(check, None, f"not looked at: CREDITSHARE_{name.upper()}_DATABASE_URL is not set here")
    if settings.embedded and not embedded_postgres(settings).running():
        return Finding(check, "the embedded database does not run: `creditshare serve` starts it")
    try:
        database = Database(address, role=role)
        with psycopg.connect(
            database.conninfo, options=connection_options(role), connect_timeout=int(TIMEOUT_S)
        ) as connection:
            plain = name != "owner" or _acts_as_owner(database)
            version = connection.info.server_version
    except ConfigurationError as error:
        return Finding(check, str(error))
    except psycopg.Error as error:
        return Finding(check, f"the login for the {name} does not get in as {role}: {_first_line(error)}")
    problem = None if plain else "this login makes tables of its own: ALTER ROLE … SET role = creditshare_owner"
    return Finding(check, problem, f"PostgreSQL {version // 10_000}, acts as {role}")


def _acts_as_owner(database: Database) -> bool:
    """Whether what the migrations make will belong to the group and not to this login alone."""
    with psycopg.connect(database.conninfo, connect_timeout=int(TIMEOUT_S)) as connection:
        return connection.execute("SELECT current_user").fetchone() == ("creditshare_owner",)


async def _inside(settings: Settings, issuer: str | None, keyring: Keyring | None) -> list[Finding]:
    database = Database(database_url(settings, "app"), role="creditshare_app", pool_size=1)
    try:
        findings = await check_database(settings, database)
        if findings[0].problem is not None:
            return [*findings, Finding("clocks, log, keys", None, "not looked at: the schema does not fit")]
        findings += await check_restored(settings, database)
        if keyring is not None:
            findings += await check_seals(database, keyring.row_seals())
        async with database.reading() as session:
            findings += await _server(session)
            findings.append(log_keeps_up(await log_state(session), settings.merge_delay_s))
            if keyring is not None and issuer is not None:
                findings.append(checkpoint_is_ours(await log_state(session), keyring, issuer))
            now = datetime.now(UTC)
            days = sorted(settings.key_warning_days)
            last = await last_keys(session, before=now + timedelta(days=max(days)))
            findings.append(keys_last(last, now=now, days=days))
    except (Unavailable, DBAPIError, ConfigurationError) as error:
        return [Finding("database", f"a question to the database failed: {_first_line(error)}")]
    finally:
        await database.close()
    return findings


async def _server(session: ReadSession) -> list[Finding]:
    before = datetime.now(UTC)
    row = (await session.execute(SERVER)).one()
    middle = before + (datetime.now(UTC) - before) / 2
    alone = "no worker is connected to this database: start `creditshare worker`, or the data endpoints close"
    return [
        clocks_agree("clock against the database", middle, row.now, tolerance_s=CLOCK_TOLERANCE_S),
        Finding("worker", None if row.workers else alone, f"{row.workers} connections"),
        Finding("database's size", None, f"{row.bytes / 1e9:.2f} GB; its disk is watched on its own machine"),
    ]


def clocks_agree(check: str, ours: datetime, theirs: datetime, *, tolerance_s: float) -> Finding:
    """Compare two clocks read at the same moment."""
    apart = abs((theirs - ours).total_seconds())
    seen = f"{apart:.1f} s apart"
    problem = f"the clocks are {seen}: requests are refused beyond the accepted difference; repair time synchronisation"
    return Finding(check, problem if apart > tolerance_s else None, seen)


def log_keeps_up(state: LogState, merge_delay_s: int) -> Finding:
    """Say whether every event gets its index within the time that receipts promise."""
    seen = f"{state.size} leaves, {state.pending} waiting, the oldest for {state.oldest_pending_s:.1f} s"
    late = state.oldest_pending_s > merge_delay_s
    problem = f"the log is behind its promise of {merge_delay_s} s ({seen}): look at the worker's own output"
    return Finding("log", problem if late else None, seen)


def checkpoint_is_ours(state: LogState, keyring: Keyring, issuer: str) -> Finding:
    """Say whether the newest checkpoint was signed by the key in the key file: both belong to one service."""
    if state.note is None:
        return Finding("checkpoint", None, "none yet")
    try:
        open_checkpoint(state.note, [log_signer(keyring, issuer).verifier])
    except CreditshareError as error:
        problem = f"the newest checkpoint does not verify by this key file and address ({error}): do not serve with it"
        return Finding("checkpoint", problem)
    return Finding("checkpoint", None, f"of {state.size} leaves, {state.checkpoint_age_s:.0f} s old, verifies")


def keys_last(last: list[LastKey], *, now: datetime, days: Sequence[int]) -> Finding:
    """Say whose last key ends soon; within the fewest days it is a problem, before that a note."""
    soonest, *later = [timedelta(days=one) for one in days]
    ending = [key for key in last if key.ends <= now + soonest]
    counts = [f"{sum(key.ends <= now + span for key in last)} within {span.days} days" for span in (soonest, *later)]
    seen = "members whose last key ends: " + ", ".join(counts)
    if not ending:
        return Finding("members' keys", None, seen)
    names = ", ".join(f"{spell('mem', key.member_id)} ({key.role}, {key.ends:%Y-%m-%d})" for key in ending)
    return Finding(
        "members' keys", f"the last key of these ends within {soonest.days} days or has ended: {names}", seen
    )


def ask_service(url: str, *, issuer: str | None) -> list[Finding]:
    """Ask the service where its members reach it: certificate, identity, clock, readiness."""
    findings = [certificate_lasts(url)] if urlsplit(url).scheme == "https" else []
    context = ssl.create_default_context()
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT_S, verify=context) as http:
            began = time.monotonic()
            found = http.get("/.well-known/creditshare")
            middle = datetime.now(UTC) - timedelta(seconds=(time.monotonic() - began) / 2)
            ready = http.get("/readyz")
    except httpx.HTTPError as error:
        return [*findings, Finding("service", f"{url} cannot be reached: {_first_line(error)}")]
    findings.append(_same_service(found, url, issuer))
    if (date := _date(found)) is not None:
        tolerance = CLOCK_TOLERANCE_S + DATE_HEADER_S
        findings.append(clocks_agree("clock against the service", middle, date, tolerance_s=tolerance))
    findings.append(_is_ready(ready))
    return findings


def certificate_lasts(url: str) -> Finding:
    """Open a TLS connection as a member would, and say how long the certificate is good for."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        with (
            socket.create_connection((host, port), timeout=TIMEOUT_S) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secured,
        ):
            certificate: Any = secured.getpeercert()
    except OSError as error:
        return Finding("certificate", f"no TLS connection to {host}:{port}: {_first_line(error)}")
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    left = (ends - datetime.now(UTC)).days
    seen = f"good until {ends:%Y-%m-%d}"
    problem = f"the certificate of {host} is {seen}, {left} days: renew it"
    return Finding("certificate", problem if left < CERTIFICATE_DAYS else None, seen)


def _same_service(found: httpx.Response, url: str, issuer: str | None) -> Finding:
    try:
        named = found.json()["issuer"] if found.status_code == HTTP_OK else None
    except (ValueError, KeyError, TypeError):
        named = None
    if named is None:
        return Finding("service", f"{url} answers {found.status_code}, but not as creditshare")
    if issuer is not None and named != issuer:
        return Finding("service", f"{url} is the service of another issuer than this data folder's {issuer}")
    return Finding("service", None, f"{url} answers as {named}")


def _is_ready(ready: httpx.Response) -> Finding:
    if ready.status_code == HTTP_OK:
        return Finding("readiness", None, "ready")
    try:
        part = str(ready.json().get("part", "unknown"))
    except (ValueError, AttributeError):
        part = "unknown"
    return Finding("readiness", f"the service answers {ready.status_code}; what is not ready: {part}")


def _date(found: httpx.Response) -> datetime | None:
    try:
        return email.utils.parsedate_to_datetime(found.headers["date"])
    except (KeyError, ValueError):
        return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
