"""A backup under load, restored elsewhere: the log goes on or is refused with a reason; nothing erased lives."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import sql
from tests.fixtures.erasures import erase
from tests.fixtures.postgres import open_folder
from tests.fixtures.processes import another_process, command
from tests.fixtures.service import RunningService, record_body, wait_for

from creditshare.audit.rebuild import rebuild
from creditshare.client.bank import Client, Problem
from creditshare.client.growth import check_growth
from creditshare.composition import keyring_file
from creditshare.errors import ConfigurationError, IntegrityError, VerificationFailed
from creditshare.operations.backup import back_up
from creditshare.operations.restoring import bring_keys, load
from creditshare.settings import Settings
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import Database
from creditshare.tlog.checkpoint import open_checkpoint, peek_checkpoint
from creditshare.tlog.note import Verifier
from creditshare.tlog.proof import InclusionProof

ERASED, KEPT, BUSY = "91999999DEM000022B", "91999999DEM000014G", "91999999DEM0000306"


@dataclass
class Elsewhere:
    """An empty database and data folder, as on another machine."""

    folder: Path
    database: str
    postgres: EmbeddedPostgres

    @property
    def urls(self) -> dict[str, str]:
        prefixes = {"app": "", "worker": "worker_", "owner": "owner_", "eraser": "eraser_"}
        return {f"{p}database_url": self.postgres.url(role, self.database) for role, p in prefixes.items()}

    @property
    def settings(self) -> Settings:
        return Settings.model_validate({"data": self.folder, "environment": "sandbox", **self.urls})


@contextlib.contextmanager
def elsewhere(postgres: EmbeddedPostgres) -> Iterator[Elsewhere]:
    name = f"t_{uuid4().hex}"
    postgres.create_database(name)
    with open_folder() as folder:
        try:
            yield Elsewhere(folder, name, postgres)
        finally:
            postgres.drop_database(name)


@contextlib.contextmanager
def load_on(client: Client, subject: dict[str, Any]) -> Iterator[list[str]]:
    """Submit records without pause until the block ends; lends the ids that were acknowledged."""
    acknowledged: list[str] = []
    stop = threading.Event()

    def submit() -> None:
        while not stop.is_set():
            body = record_body(subject, f"L-{len(acknowledged)}")
            acknowledged.append(str(client.call("POST", "/v1/records", data=body).data["record_id"]))

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        thread.join()


def checkpoint_of(url: str) -> str:
    return httpx.get(f"{url}/log/v1/checkpoint").text


def refusal(client: Client, path: str) -> str:
    with pytest.raises(Problem) as caught:
        client.call("GET", path)
    return caught.value.code


@pytest.mark.slow
def test_taken_under_load_and_restored_elsewhere_the_log_goes_on(service: RunningService, tmp_path: Path) -> None:
    lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
    assert lender.identity is not None
    assert asker.identity is not None
    subjects = dict(zip((ERASED, KEPT, BUSY), lender.tokenise([ERASED, KEPT, BUSY]), strict=True))
    records = {
        name: str(lender.call("POST", "/v1/records", data=record_body(subjects[name], name[-4:])).data["record_id"])
        for name in (ERASED, KEPT)
    }
    asker.tokenise([KEPT])
    consent = asker.grant_consent(
        subjects[KEPT], kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed", max_uses=5
    )
    answer = asker.query(subjects[KEPT], purpose="pre_loan", consent_id=consent["consent_id"])
    evidence = asker.evidence(answer)
    to, keys = tmp_path / "backup", tmp_path / "keys"
    with load_on(lender, subjects[BUSY]) as acknowledged:
        wait_for(lambda: len(acknowledged) > 5)
        before = list(acknowledged)
        done = command(
            service, "backup", "--data", str(service.folder), "--to", str(to), "--keys-to", str(keys), "--json"
        )
        assert done.returncode == 0, done.stderr
        wait_for(lambda: len(acknowledged) > len(before) + 5)
    assert {path.name for path in to.iterdir()} == {"database.dump", "manifest.json"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in (to, keys, *to.iterdir(), *keys.iterdir()))
    manifest = json.loads((to / "manifest.json").read_text())
    old = peek_checkpoint(manifest["checkpoint"])
    assert old.size == manifest["leaves"] > len(before)
    erase(service, records[ERASED], whole_borrower=True)

    with elsewhere(service.postgres) as other:
        # The tombstones that hold are the newest there are, not those of the backup's day.
        changes = {**other.urls, "tombstones_file": str(service.settings.tombstones_path)}
        arguments = ("restore", "load", str(to), "--data", str(other.folder), "--keys-from", str(keys), "--json")
        restored = command(service, *arguments, **changes)
        assert restored.returncode == 0, restored.stderr
        told = json.loads(restored.stdout)
        assert told["leaves"] == old.size
        assert told["buried"] == {"borrowers": 1, "records": 0, "keys": 0}

        serving = another_process(service, "--with-worker", folder=str(other.folder), **changes)
        with serving as url, Client(url, lender.identity) as bank, Client(url, asker.identity) as other_bank:
            assert refusal(bank, f"/v1/records/{records[ERASED]}") == "erased"
            assert all(bank.call("GET", f"/v1/records/{record}").status == 200 for record in (*before, records[KEPT]))
            again = other_bank.call("GET", f"/v1/queries/{answer.data['query_id']}")
            assert again.body == answer.body
            assert evidence.verify()
            assert answer.log_entry is not None
            proof = other_bank.inclusion_proof(answer.log_entry.event_id)
            assert proof is not None
            verifier = Verifier.parse(asker.discovery["log"]["vkey"])
            InclusionProof.from_dict(proof).verify([verifier])

            bank.call("POST", "/v1/records", data=record_body(subjects[KEPT], "after"))
            wait_for(lambda: peek_checkpoint(checkpoint_of(url)).size > old.size + manifest["pending"] + 1, seconds=60)
            new = open_checkpoint(checkpoint_of(url), [verifier])
            query = {"from": old.size, "to": new.size}
            check_growth(old, new, httpx.get(f"{url}/audit/v1/proof/consistency", params=query).json())


@pytest.fixture(scope="module")
def backed_up(shared_service: RunningService) -> Iterator[tuple[RunningService, Path, Path]]:
    """A backup, and the keys apart from it, of a service whose log has some leaves."""
    service = shared_service
    lender = service.admit("Lender", region="US")
    (subject,) = lender.tokenise([KEPT])
    for number in range(5):
        lender.call("POST", "/v1/records", data=record_body(subject, f"B-{number}"))
    wait_for(lambda: service.services.log_health.oldest_pending_s == 0 and _leaves(service) > 5)
    with open_folder() as folder:
        back_up(service.settings, folder / "backup", keys_to=folder / "keys")
        yield service, folder / "backup", folder / "keys"


def _leaves(service: RunningService) -> int:
    with service.superuser() as database:
        row = database.execute("SELECT count(*) FROM audit_leaf").fetchone()
        return int(row[0]) if row else 0


def tables(other: Elsewhere) -> int:
    url = other.postgres.url("superuser", other.database).replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as database:
        row = database.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    return int(row[0]) if row else -1


def test_a_log_that_others_saw_longer_is_not_cut_short(backed_up: tuple[RunningService, Path, Path]) -> None:
    service, folder, keys = backed_up
    size = peek_checkpoint(json.loads((folder / "manifest.json").read_text())["checkpoint"]).size
    service.admit("Later", region="US")
    wait_for(lambda: peek_checkpoint(checkpoint_of(service.url)).size > size)
    with elsewhere(service.postgres) as other:
        bring_keys(other.settings, keys)
        held = other.folder / "held"
        held.write_text(checkpoint_of(service.url))
        with pytest.raises(IntegrityError, match="would fork the log"):
            load(other.settings, folder, known=[held])
        held.write_text(held.read_text().replace("\n\n", "0\n\n", 1))
        with pytest.raises(VerificationFailed, match="no checkpoint that this service's key signed"):
            load(other.settings, folder, known=[held])
        assert tables(other) == 0
        held.write_text(json.loads((folder / "manifest.json").read_text())["checkpoint"])
        assert load(other.settings, folder, known=[held]).leaves == size
        with pytest.raises(ConfigurationError, match="the database is not empty"):
            load(other.settings, folder)


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        ({"dump_sha256": "0" * 64}, IntegrityError, "not the dump that the manifest describes"),
        ({"revision": "9999"}, ConfigurationError, "newer than this creditshare"),
        ({"issuer": "https://other.example"}, ConfigurationError, "signatures name the address"),
        ({"postgres_major": 99}, ConfigurationError, "never loaded into an older server"),
        ({"checkpoint": "x\n1\n"}, Exception, "note"),
        ({"leaves": 3}, IntegrityError, "do not serve it"),
        ({"format": 2}, ConfigurationError, "another form"),
        ({"more": 1}, ConfigurationError, "not a manifest"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_backup_that_is_not_what_it_says_is_refused(
    backed_up: tuple[RunningService, Path, Path],
    change: dict[str, object],
    kind: type[Exception],
    sentence: str,
    tmp_path: Path,
) -> None:
    service, folder, keys = backed_up
    (tmp_path / "database.dump").symlink_to(folder / "database.dump")
    manifest = json.loads((folder / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, **change}))
    with elsewhere(service.postgres) as other:
        bring_keys(other.settings, keys)
        with pytest.raises(kind, match=sentence):
            load(other.settings, tmp_path)


def test_open_keys_never_lie_with_the_dump_and_sealed_ones_only_if_asked(
    backed_up: tuple[RunningService, Path, Path], tmp_path: Path
) -> None:
    service, _, _ = backed_up
    for keys in (tmp_path / "one", tmp_path / "one" / "keys", tmp_path):
        with pytest.raises(ConfigurationError, match="the key file is not sealed"):
            back_up(service.settings, tmp_path / "one", keys_to=keys)
    assert not (tmp_path / "one").exists()
    (tmp_path / "passphrase").write_text("correct horse battery staple")
    sealed = service.settings.model_copy(
        update={"keyring_file": tmp_path / "sealed.json", "keyring_passphrase_file": tmp_path / "passphrase"}
    )
    keyring_file(sealed).replace(keyring_file(service.settings).load())
    back_up(sealed, tmp_path / "one", keys_to=tmp_path / "one")
    assert (tmp_path / "one" / "keyring.json").read_bytes() == (tmp_path / "sealed.json").read_bytes()
    with pytest.raises(ConfigurationError, match="is not empty"):
        back_up(sealed, tmp_path / "one")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        back_up(sealed, tmp_path / "two", keys_to=tmp_path / "passphrase" / "keys")
    assert not (tmp_path / "two").exists()


def test_keys_are_brought_once_and_tombstones_only_added(
    backed_up: tuple[RunningService, Path, Path], tmp_path: Path
) -> None:
    service, _, keys = backed_up
    settings = service.settings.model_copy(update={"data": tmp_path / "data"})
    stones = keys / "tombstones.ndjson"
    try:
        stones.write_text('{"id": "a"}\n{"id": "b"}\n')
        (tmp_path / "data").mkdir()
        settings.tombstones_path.write_text('{"id": "b"}\n{"id": "c"}\n')
        bring_keys(settings, keys)
        bring_keys(settings, keys)
    finally:
        stones.unlink()
    assert settings.tombstones_path.read_text() == '{"id": "b"}\n{"id": "c"}\n{"id": "a"}\n'
    settings.keyring_path.write_text("{}")
    with pytest.raises(ConfigurationError, match="another one than the backup's"):
        bring_keys(settings, keys)


@pytest.mark.parametrize(
    ("tampering", "sentence"),
    [
        ("UPDATE audit_leaf SET leaf_hash = sha256('x') WHERE idx = 2", "is not what its hash says"),
        ("DELETE FROM audit_leaf WHERE idx = 2", "leaf 2 is missing"),
        ("DELETE FROM audit_leaf WHERE idx = (SELECT max(idx) FROM audit_leaf)", "were taken away"),
        (
            "INSERT INTO audit_tile SELECT 0, 0, decode(repeat('00', 8192), 'hex'), sha256('x')",
            "full tiles",
        ),
    ],
    ids=["changed", "removed", "cut", "tile"],
)
def test_a_changed_log_is_not_rebuilt(
    backed_up: tuple[RunningService, Path, Path], tampering: str, sentence: str
) -> None:
    service, folder, keys = backed_up
    with elsewhere(service.postgres) as other:
        bring_keys(other.settings, keys)
        load(other.settings, folder)
        with service.superuser(other.database) as database:
            for table in ("audit_leaf", "audit_tile"):
                database.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(sql.Identifier(table)))
            database.execute(tampering.encode())
        with pytest.raises(IntegrityError, match=sentence):
            service.run(_rebuild_of(other))


async def _rebuild_of(other: Elsewhere) -> object:
    database = Database(other.urls["owner_database_url"], role="creditshare_owner", pool_size=1)
    try:
        async with database.reading() as session:
            return await rebuild(session)
    finally:
        await database.close()
