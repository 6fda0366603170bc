"""What production refuses: each row plants one fault in an otherwise good setup and reads the sentence."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from tests.fixtures.processes import command
from tests.fixtures.service import KEYRING, RunningService

from creditshare.app import require_database
from creditshare.cli.service import prepare
from creditshare.composition import address_known, database_url, keyring_file, public_address, stamp_roots
from creditshare.crypto.jws import SigningKey
from creditshare.errors import ConfigurationError
from creditshare.keys.keyring import KeyringFile
from creditshare.keys.tombstones import Tombstones
from creditshare.members.service import bootstrap_operators
from creditshare.seals import Reviewed, review
from creditshare.settings import Settings
from creditshare.startup import check_settings, require
from creditshare.storage import schema
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import Database
from creditshare.worker import _wait_for_address

PUBLIC = "https://credit.example"


@dataclass
class Production:
    """A production setup on disk, good until a test changes it."""

    folder: Path
    changes: dict[str, object]

    @property
    def passphrase(self) -> Path:
        return self.folder / "passphrase"

    @property
    def key_file(self) -> Path:
        return self.folder / "keyring.json"

    def settings(self) -> Settings:
        given: dict[str, object] = {
            "data": self.folder,
            "environment": "production",
            "database_url": "postgresql+psycopg://app@db.example/creditshare",
            "public_url": PUBLIC,
            "keyring_passphrase_file": self.passphrase,
            **self.changes,
        }
        return Settings.model_validate(given)


@pytest.fixture
def production(tmp_path: Path) -> Production:
    (tmp_path / "passphrase").write_text("correct horse battery staple")
    (tmp_path / "passphrase").chmod(0o400)
    made = Production(tmp_path, {})
    keyring_file(made.settings()).replace(KEYRING)
    return made


def change(**changes: object) -> Callable[[Production], None]:
    return lambda production: production.changes.update(changes)


def unseal(production: Production) -> None:
    production.key_file.unlink()
    KeyringFile(production.key_file, passphrase=None).load_or_create()


def bury_where_no_file_can_be(production: Production) -> None:
    production.changes["tombstones_file"] = production.passphrase / "tombstones.ndjson"


FAULTS: dict[str, tuple[Callable[[Production], object], str]] = {
    "embedded": (change(database_url=None), "set CREDITSHARE_DATABASE_URL"),
    "no passphrase": (change(keyring_passphrase_file=None), "set CREDITSHARE_KEYRING_PASSPHRASE_FILE"),
    "passphrase gone": (lambda p: p.passphrase.unlink(), "which does not exist"),
    "passphrase for all": (lambda p: p.passphrase.chmod(0o444), "passphrase is open to other users"),
    "passphrase writable by group": (lambda p: p.passphrase.chmod(0o460), "passphrase is open to other users"),
    "keys for the group": (lambda p: p.key_file.chmod(0o640), "keyring.json is open to other users"),
    "keys for all": (lambda p: p.key_file.chmod(0o604), "keyring.json is open to other users"),
    "keys unsealed": (unseal, "is not sealed: run `creditshare keys seal`"),
    "http": (change(public_url="http://credit.example"), "production needs https"),
    "http by number": (change(public_url="http://192.0.2.7:8000"), "production needs https"),
    "other scheme": (change(public_url="ftp://credit.example"), "production needs https"),
    "tombstones": (bury_where_no_file_can_be, "set CREDITSHARE_TOMBSTONES_FILE"),
}
GOOD: dict[str, Callable[[Production], object]] = {
    "as it is": lambda _: None,
    "http on this machine": change(public_url="http://127.0.0.1:8000"),
    "http on this machine, by name": change(public_url="http://localhost:8000"),
    "http on this machine, version 6": change(public_url="http://[::1]:8000"),
    "embedded by choice": change(database_url=None, embedded_in_production=True),
    "passphrase for the group": lambda p: p.passphrase.chmod(0o440),
    "first start": lambda p: p.key_file.unlink(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_production_refuses_and_says_what_is_missing(production: Production, fault: str) -> None:
    plant, sentence = FAULTS[fault]
    plant(production)
    with pytest.raises(ConfigurationError) as caught:
        require(check_settings(production.settings()))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)  # this fault and no other


@pytest.mark.parametrize("fault", FAULTS)
def test_a_sandbox_minds_none_of_this(production: Production, fault: str) -> None:
    FAULTS[fault][0](production)
    production.changes["environment"] = "sandbox"
    require(check_settings(production.settings()))


@pytest.mark.parametrize("variant", GOOD)
def test_production_accepts(production: Production, variant: str) -> None:
    GOOD[variant](production)
    require(check_settings(production.settings()))


def test_all_faults_are_said_at_once(production: Production) -> None:
    for plant, _ in (FAULTS["http"], FAULTS["keys for all"], FAULTS["embedded"]):
        plant(production)
    with pytest.raises(ConfigurationError) as caught:
        require(check_settings(production.settings()))
    assert str(caught.value).count("\n") == 2


@pytest.mark.parametrize("role", ["owner", "worker", "eraser"])
def test_production_wants_a_login_for_each_role(production: Production, role: str) -> None:
    with pytest.raises(ConfigurationError, match=f"CREDITSHARE_{role.upper()}_DATABASE_URL"):
        database_url(production.settings(), role)


# The database's part, on a real one.


@dataclass
class Prepared:
    """A migrated database and the settings of a production service on it."""

    postgres: EmbeddedPostgres
    name: str
    settings: Settings

    def administer(self, statement: str) -> None:
        url = self.postgres.url("superuser", self.name).replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(url, autocommit=True) as administrator:
            administrator.execute(statement.encode())

    def require(self, **changes: object) -> None:
        asyncio.run(require_database(self.settings.model_copy(update=changes)))


@pytest.fixture
def prepared(postgres: EmbeddedPostgres, template: str, production: Production) -> Iterator[Prepared]:
    name = "t_startup"
    postgres.create_database(name, template=template)
    production.changes["database_url"] = postgres.url("app", name)
    try:
        yield Prepared(postgres, name, production.settings())
    finally:
        postgres.drop_database(name)


def test_a_good_database_is_accepted(prepared: Prepared) -> None:
    prepared.require()


@pytest.mark.parametrize(
    ("grant", "revoke", "sentence"),
    [
        ("GRANT creditshare_owner TO {0}", "REVOKE creditshare_owner FROM {0}", "owner of the tables"),
        ("GRANT creditshare_worker TO {0}", "REVOKE creditshare_worker FROM {0}", "member of creditshare_worker"),
        ("GRANT creditshare_eraser TO {0}", "REVOKE creditshare_eraser FROM {0}", "member of creditshare_eraser"),
        ("ALTER ROLE {0} SUPERUSER", "ALTER ROLE {0} NOSUPERUSER", "is superuser"),
        ("ALTER ROLE {0} CREATEROLE", "ALTER ROLE {0} NOCREATEROLE", "a maker of roles"),
        ("ALTER ROLE {0} BYPASSRLS", "ALTER ROLE {0} NOBYPASSRLS", "exempt from row security"),
    ],
    ids=["owner", "worker", "eraser", "superuser", "createrole", "bypassrls"],
)
def test_an_app_that_can_be_more_than_the_app_is_refused(
    prepared: Prepared, grant: str, revoke: str, sentence: str
) -> None:
    login = "creditshare_app_login"
    prepared.administer(grant.format(login))
    try:
        with pytest.raises(ConfigurationError, match="CREDITSHARE_OWNER_DATABASE_URL") as caught:
            prepared.require()
        assert sentence in str(caught.value)
        prepared.require(environment="sandbox")
    finally:
        prepared.administer(revoke.format(login))


def test_a_database_that_was_a_sandbox_is_refused(prepared: Prepared) -> None:
    prepared.administer("UPDATE business_clock SET ahead_s = 86400 * 3")
    with pytest.raises(ConfigurationError, match="runs 3 days ahead and cannot be turned back"):
        prepared.require()
    prepared.require(environment="sandbox")


def bootstrap(prepared: Prepared, *, production: bool) -> None:
    keys = [SigningKey.generate().verifying_key for _ in range(2)]

    async def made() -> None:
        database = Database(prepared.settings.database_url or "", role="creditshare_app", pool_size=1)
        try:
            async with database.writing() as session:
                now = datetime.now(UTC)
                await bootstrap_operators(
                    session, keys, seals=KEYRING.row_seals(), production=production, evaluations_per_day=1, now=now
                )
                await session.commit()
        finally:
            await database.close()

    asyncio.run(made())


@pytest.mark.parametrize("bootstrapped_in", ["sandbox", "production"])
def test_operators_that_a_sandbox_made_do_not_serve_in_production(
    prepared: Prepared, bootstrapped_in: Literal["sandbox", "production"]
) -> None:
    bootstrap(prepared, production=bootstrapped_in == "production")
    prepared.require(environment="sandbox")
    if bootstrapped_in == "production":
        prepared.require()
        return
    with pytest.raises(ConfigurationError, match="2 live keys of this database were made by a sandbox's bootstrap"):
        prepared.require()


def test_rows_keep_the_seals_that_they_got_before_columns_were_added(prepared: Prepared) -> None:
    """What 0009 sealed, over the columns of that time, holds after every later migration."""
    bootstrap(prepared, production=True)
    owner, seals = prepared.postgres.url("owner", prepared.name), KEYRING.row_seals()
    schema.downgrade(owner, revision="0008")
    prepared.administer(
        "INSERT INTO member_budget (member_id, day, evaluated_today, evaluated, introduced)"
        " SELECT member_id, current_date, 3, 3, 1 FROM member"
    )
    schema.upgrade(owner, seals=seals)

    async def reviewed() -> Reviewed:
        database = Database(prepared.settings.database_url or "", role="creditshare_app", pool_size=1)
        try:
            return await review(database, seals)
        finally:
            await database.close()

    assert asyncio.run(reviewed()) == Reviewed((), whole=True, policy=None)
    prepared.administer("UPDATE member SET queries_per_day = 9; UPDATE member_budget SET unnamed = 0")
    assert len(asyncio.run(reviewed()).broken) == 4, "a value that nobody sealed is noticed"


@pytest.mark.parametrize("revision", ["-1", "base"])
def test_a_schema_of_another_version_is_refused(prepared: Prepared, revision: str) -> None:
    schema.downgrade(prepared.postgres.url("owner", prepared.name), revision=revision)
    with pytest.raises(ConfigurationError, match="run `creditshare db upgrade`"):
        prepared.require()
    with pytest.raises(ConfigurationError, match="run `creditshare db upgrade`"):
        prepare(prepared.settings)


def test_a_revoked_key_that_is_alive_is_refused(prepared: Prepared) -> None:
    prepared.administer(
        "INSERT INTO member (member_id, name, role, region, jurisdictions, status, evaluations_per_day,"
        " revision, seal)"
        " VALUES ('01900000-0000-7000-8000-000000000001', 'M', 'lender', 'US', '{}', 'active', 1, 1, '')"
    )
    prepared.administer(
        "INSERT INTO member_key (kid, member_id, jwk, state, registered_at, expires_at, revision, seal)"
        " VALUES ('k', '01900000-0000-7000-8000-000000000001', '{}', 'active', now(), now(), 1, '')"
    )
    Tombstones(prepared.settings.tombstones_path).add("key", ["k"], now=datetime.now(UTC))
    with pytest.raises(ConfigurationError, match="1 revoked keys are alive again"):
        prepared.require()


@pytest.mark.slow
def test_serve_refuses_before_it_writes_anything(service: RunningService) -> None:
    folder = service.folder / "fresh"
    served = command(
        service,
        *("serve", "--data", str(folder), "--port", "1", "--public-url", "http://credit.example"),
        environment="production",
        public_url="http://credit.example",
    )
    assert served.returncode == 2
    assert "production needs https" in served.stderr
    assert "CREDITSHARE_KEYRING_PASSPHRASE_FILE" in served.stderr
    assert "Traceback" not in served.stderr
    assert not folder.exists()


def test_traces_without_their_library_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    require(check_settings(Settings()))
    monkeypatch.setattr("creditshare.startup.TRACES_NEED", "opentelemetry.nowhere.proto")
    require(check_settings(Settings()))
    with pytest.raises(ConfigurationError, match=r"creditshare\[otel\]"):
        require(check_settings(Settings(traces=True)))


AUTHORITY = "https://tsa.example/stamp"
STAMPS: dict[str, tuple[dict[str, object], str]] = {
    "no roots": ({"timestamp_url": AUTHORITY}, "CREDITSHARE_TIMESTAMP_CERTIFICATES_FILE"),
    "no http": ({"timestamp_url": "ftp://tsa.example"}, "no http"),
    "no host": ({"timestamp_url": "https:///stamp"}, "no http"),
    "a login": ({"timestamp_url": "https://name:word@tsa.example/"}, "no http"),
    "a key in the query": ({"timestamp_url": AUTHORITY + "?key=1"}, "no http"),
    "no port": ({"timestamp_url": "https://tsa.example:99999/"}, "no http"),
}


@pytest.mark.parametrize("what", STAMPS)
def test_an_authority_that_cannot_be_used_is_refused(what: str, tmp_path: Path) -> None:
    given, words = STAMPS[what]
    with pytest.raises(ConfigurationError, match=words):
        require(check_settings(Settings.model_validate(given)))
    given = {**given, "timestamp_certificates_file": tmp_path / "roots.pem"}
    if what == "no roots":
        require(check_settings(Settings.model_validate(given)))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        stamp_roots(Settings.model_validate(given))
    (tmp_path / "roots.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match="not certificates in PEM"):
        stamp_roots(Settings.model_validate(given))


def test_stamps_without_their_library_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("creditshare.startup.STAMPS_NEED", "rfc3161_nowhere")
    require(check_settings(Settings()))
    with pytest.raises(ConfigurationError, match=r"creditshare\[anchors\]"):
        require(check_settings(Settings(timestamp_url=AUTHORITY, timestamp_certificates_file=tmp_path / "roots.pem")))


def test_a_policy_of_witnesses_that_cannot_be_read_is_refused_before_anything_is_opened(
    shared_service: RunningService, tmp_path: Path
) -> None:
    folder, file = str(shared_service.folder), tmp_path / "policy"
    missing = command(shared_service, "worker", "--data", folder, witness_policy_file=str(file))
    assert (missing.returncode, "cannot be read" in missing.stderr) == (2, True)
    file.write_text("quorum nobody\n")
    wrong = command(shared_service, "worker", "--data", folder, witness_policy_file=str(file))
    assert (wrong.returncode, "line 1" in wrong.stderr) == (2, True)
    named = {one.check: one.problem for one in check_settings(Settings(witness_policy_file=file))}
    assert "line 1" in str(named["witnesses"])


def test_a_setting_that_cannot_be_is_named_as_it_is_set(shared_service: RunningService) -> None:
    for process in ("worker", "serve"):
        ended = command(shared_service, process, "--data", str(shared_service.folder), log_readers="nobody")
        assert ended.returncode == 2
        assert "CREDITSHARE_LOG_READERS: " in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_worker_signs_nothing_before_it_is_known_whose_log_it_is(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    assert not address_known(settings)
    assert address_known(settings.model_copy(update={"public_url": "https://credit.example"}))
    waiting = asyncio.new_event_loop()
    with contextlib.closing(waiting):
        task = waiting.create_task(_wait_for_address(settings))
        waiting.run_until_complete(asyncio.sleep(0.1))
        assert not task.done()
        public_address(settings, write="http://127.0.0.1:8731")
        waiting.run_until_complete(asyncio.wait_for(task, 5))
