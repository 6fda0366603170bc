"""The log and its witnesses: who is away delays only what is cosigned; who saw more than is here stops the signing."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.fixtures.attack import attempt
from tests.fixtures.loopback import listening
from tests.fixtures.processes import database_of, older_copy, serving
from tests.fixtures.service import RunningService, running_service, wait_for
from tests.fixtures.witnesses import RunningWitness, policy_file, witnesses

from creditshare.app import create_app
from creditshare.audit.checkpoints import newest_with_quorum
from creditshare.audit.proofs import prove_consistency
from creditshare.client.bank import Client
from creditshare.composition import build_services, sequencer
from creditshare.errors import VerificationFailed
from creditshare.jobs.witnesses import Witnesses
from creditshare.operations.fsck import examine_log
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import Database
from creditshare.tlog.checkpoint import open_checkpoint, peek_checkpoint
from creditshare.tlog.cosignature import Cosigner
from creditshare.tlog.merkle import verify_consistency
from creditshare.tlog.policy import TrustPolicy

ADMITTED = 4
"""Events of a service with one lender: bootstrap, proposal, approval, enrolment."""

NOTHING = "/v1/records/rec_01900000-0000-7000-8000-000000000000"


@contextlib.contextmanager
def witnessed_service(
    postgres: EmbeddedPostgres, template: str, folder: Path, *, quorum: str = "all"
) -> Iterator[tuple[RunningService, list[RunningWitness], Path]]:
    with witnesses(folder, 2) as both:
        policy = policy_file(folder / "policy", both, quorum=quorum)
        with running_service(postgres, template, witness_policy_file=policy, witness_poll_s=0.1) as service:
            for one in both:
                one.folder.trust(service.services.log_verifier.vkey)
            yield service, both, policy


def act(lender: Client) -> None:
    lender.send(lender.sign("GET", NOTHING))


def cosigned_size(service: RunningService) -> int:
    return int(httpx.get(service.url + "/audit/v1/health").json()["cosigned_size"])


def size(service: RunningService) -> int:
    return int(httpx.get(service.url + "/audit/v1/health").json()["size"])


def settle(service: RunningService, *, leaves: int) -> int:
    """Wait until the log has so many leaves at least and all are cosigned; return how many."""
    wait_for(lambda: size(service) >= leaves, seconds=30)
    wait_for(lambda: cosigned_size(service) == size(service), seconds=30)
    return size(service)


@pytest.fixture
def witnessed(
    postgres: EmbeddedPostgres, template: str, tmp_path: Path
) -> Iterator[tuple[RunningService, list[RunningWitness], Path]]:
    with witnessed_service(postgres, template, tmp_path) as running:
        yield running


Witnessed = tuple[RunningService, list[RunningWitness], Path]


def test_checkpoints_are_cosigned_and_one_that_is_away_delays_only_that(witnessed: Witnessed) -> None:
    service, both, file = witnessed
    verifier = service.services.log_verifier
    lender = service.admit("Lender", region="US")
    settle(service, leaves=ADMITTED)
    policy = TrustPolicy.parse(f"log {verifier.vkey}\n".encode() + file.read_bytes())
    note = httpx.get(service.url + "/log/v1/cosigned-checkpoint").text
    shown, by = policy.open(note)
    assert {one.witness for one in by} == {one.folder.cosigner.witness for one in both}
    assert note == httpx.get(f"{service.url}/audit/v1/checkpoints/{shown.size}").text
    # The log's newest checkpoint bears the lines too, and whoever knows no witness reads it as before.
    assert open_checkpoint(httpx.get(service.url + "/log/v1/checkpoint").text, [verifier]).size >= shown.size

    both[1].stop()
    before = size(service)
    for _ in range(3):
        act(lender)
    wait_for(lambda: size(service) >= before + 3)
    wait_for(lambda: both[0].folder.held()[0][1] == size(service))
    assert cosigned_size(service) <= before
    assert attempt(lender, "GET", "/v1/me") == "done"
    one_line = httpx.get(service.url + "/log/v1/checkpoint").text
    with pytest.raises(VerificationFailed, match=r"cosigned by witness\.example/1, too few"):
        policy.open(one_line)
    both[1].start()
    wait_for(lambda: cosigned_size(service) == size(service))


def test_before_a_quorum_there_is_no_cosigned_checkpoint(service: RunningService) -> None:
    assert httpx.get(service.url + "/log/v1/cosigned-checkpoint").json()["code"] == "not_integrated_yet"
    assert httpx.get(service.url + "/audit/v1/health").json()["cosigned_size"] is None
    assert httpx.get(service.url + "/audit/v1/checkpoints/999").json()["code"] == "not_found"


def test_a_database_that_was_set_back_is_not_signed_on_and_answers_no_question(witnessed: Witnessed) -> None:
    service, _, file = witnessed
    lender = service.admit("Lender", region="US")
    before = settle(service, leaves=ADMITTED)
    with older_copy(service) as copy:
        for _ in range(4):
            act(lender)
        seen = settle(service, leaves=before + 4)
        settings = {"witness_policy_file": str(file), "witness_poll_s": "0.1"}
        with serving(service, "--with-worker", **copy, **settings) as restored:
            wait_for(lambda: httpx.get(restored.url + "/audit/v1/health").json()["held"] is not None, seconds=30)
            state = httpx.get(restored.url + "/audit/v1/health").json()
            found = asyncio.run(examine_log(service.settings.model_copy(update={**copy, "witness_policy_file": file})))
            (problem,) = [one.problem for one in found if one.problem is not None]
            assert f"witness w1 is of {seen} leaves, and {state['size']} are there" in problem
            assert f"it cosigned {seen} leaves, and {state['size']} are here" in state["held"]
            client = service.client(service.operators[0])
            behind = Client(restored.url, client.identity)
            with behind:
                wait_for(lambda: httpx.get(restored.url + "/readyz").status_code == 503)
                assert attempt(behind, "GET", "/v1/me") == "done"
            stuck = Client(restored.url, lender.identity)
            with stuck:
                assert attempt(stuck, "GET", NOTHING) == "unavailable"
            # Nothing was signed there, whatever waits.
            assert httpx.get(restored.url + "/audit/v1/health").json()["size"] == state["size"] < seen


@contextlib.asynccontextmanager
async def worker_database(copy: dict[str, str]) -> AsyncIterator[Database]:
    database = Database(copy["worker_database_url"], role="creditshare_worker", pool_size=2)
    try:
        yield database
    finally:
        await database.close()


def on_a_copy(service: RunningService, copy: dict[str, str], policy: TrustPolicy) -> tuple[bool, int]:
    """Let the worker's part ask once over a copy; return whether it may sign, and the size that is there."""

    async def once() -> tuple[bool, int]:
        async with worker_database(copy) as database:
            asking = Witnesses(database, verifier=service.services.log_verifier, policy=policy, poll_s=60)
            task = asyncio.create_task(asking.run())
            allowed = await asking.may_sign()
            task.cancel()
            async with database.reading() as session:
                found = await session.run("SELECT max(size) AS size FROM audit_checkpoint", {})
            return allowed, int(found.scalar_one() or 0)

    return asyncio.run(once())


def worker_of(service: RunningService) -> dict[str, str]:
    return {"worker_database_url": str(service.settings.worker_database_url)}


SET_BACK = {
    "nothing more": (),
    "the newest checkpoint is garbage": (
        "DELETE FROM audit_cosignature",
        "INSERT INTO audit_checkpoint VALUES (1000000, sha256('x'), 'garbage')",
    ),
    "no checkpoint is left": ("DELETE FROM audit_cosignature", "DELETE FROM audit_checkpoint"),
    "a cosignature of more than there is": (
        "ALTER TABLE audit_cosignature DROP CONSTRAINT fk_audit_cosignature_size_audit_checkpoint",
        "INSERT INTO audit_cosignature SELECT DISTINCT ON (witness) 100000, witness, line FROM audit_cosignature",
    ),
    "a leaf is rewritten too": ("UPDATE audit_leaf SET leaf_hash = sha256('x') WHERE idx = 1",),
}


@pytest.mark.parametrize("more", SET_BACK)
def test_an_administrator_cannot_have_a_set_back_database_signed(witnessed: Witnessed, more: str) -> None:
    service, both, file = witnessed
    policy = TrustPolicy.parse(file.read_bytes())
    lender = service.admit("Lender", region="US")
    before = settle(service, leaves=ADMITTED)
    with older_copy(service) as copy:
        act(lender)
        settle(service, leaves=before + 1)
        with service.superuser(database_of(copy)) as database:
            for table in ("audit_checkpoint", "audit_cosignature", "audit_leaf"):
                database.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
            for statement in SET_BACK[more]:
                database.execute(statement.encode())
            waiting = database.execute("SELECT count(*) FROM audit_leaf").fetchone()
            assert on_a_copy(service, copy, policy)[0] is False
            # Whom it cannot reach any more it has not convinced; another worker and one that starts anew know it too.
            for one in both:
                one.stop()
            assert on_a_copy(service, copy, policy)[0] is False
            signed_on(service, copy, 1)
            assert database.execute("SELECT count(*) FROM audit_leaf").fetchone() == waiting


def test_a_worker_that_reaches_nobody_does_not_take_away_what_another_found(witnessed: Witnessed) -> None:
    service, both, file = witnessed
    policy = TrustPolicy.parse(file.read_bytes())
    service.admit("Lender", region="US")
    settle(service, leaves=ADMITTED)

    async def steps(asking: Witnesses) -> list[bool]:
        seen = []
        for reach in (True, False, True):
            for one in both:
                await asyncio.to_thread(one.start if reach else one.stop)
            await asking.step()
            asking._answered.set()
            seen.append(await asking.may_sign())
            if len(seen) == 1:  # another worker finds out something
                with service.superuser(database) as connection:
                    connection.execute("INSERT INTO audit_hold VALUES (true, 'another worker''s reason')")
        return seen

    async def asked() -> list[bool]:
        async with worker_database(copy) as opened:
            return await steps(Witnesses(opened, verifier=service.services.log_verifier, policy=policy, poll_s=60))

    with older_copy(service) as copy:
        database = database_of(copy)
        for one in both:
            one.stop()
        assert asyncio.run(asked()) == [True, False, True]
        with service.superuser(database) as connection:
            assert connection.execute("SELECT count(*) FROM audit_hold").fetchone() == (0,)


def test_a_process_that_starts_beside_a_held_log_knows_it_before_it_answers(service: RunningService) -> None:
    with service.superuser() as database:
        database.execute("INSERT INTO audit_hold VALUES (true, 'a reason')")

    async def start() -> tuple[bool, bool]:
        services = await build_services(service.settings)
        unseen = services.log_is_late()
        app = create_app(services=services)
        async with app.router.lifespan_context(app):
            return unseen, services.log_health.held

    assert asyncio.run(start()) == (True, True)


def signed_on(service: RunningService, copy: dict[str, str], leaves: int) -> None:
    """Let a worker that asks nobody sign a copy on, as a thief of the key would."""

    async def sign() -> None:
        async with worker_database(copy) as database:
            for number in range(leaves):
                async with database.writing() as session:
                    await session.run(
                        "INSERT INTO audit_event (event_id, leaf, leaf_hash)"
                        " VALUES (gen_random_uuid(), %(leaf)s, sha256('\\x00'::bytea || %(leaf)s))",
                        {"leaf": f"fork {number}".encode()},
                    )
                    await session.commit()
            async with database.writing() as session:
                await sequencer(service.settings).integrate(session)

    asyncio.run(sign())


def test_a_forked_continuation_is_cosigned_by_nobody_who_saw_the_other(witnessed: Witnessed, tmp_path: Path) -> None:
    service, both, file = witnessed
    policy = TrustPolicy.parse(file.read_bytes())
    lender = service.admit("Lender", region="US")
    before = settle(service, leaves=ADMITTED)
    with older_copy(service) as copy:
        act(lender)
        settle(service, leaves=before + 1)
        held = both[0].folder.held()
        signed_on(service, copy, 6)  # so that the fork is longer than what the witnesses hold
        allowed, forked = on_a_copy(service, copy, policy)
        assert forked > held[0][1]
        assert not allowed
        assert both[0].folder.held() == held
        # A witness that saw neither takes the fork for the log: two witnesses that compare find the split view.
        with witnesses(tmp_path / "fresh", 1) as (fresh,):
            fresh.folder.trust(service.services.log_verifier.vkey)
            alone = TrustPolicy.parse(policy_file(tmp_path / "alone", [fresh]).read_bytes())
            assert on_a_copy(service, copy, alone) == (True, forked)
            origin = service.services.log_verifier.name
            notes = [httpx.get(one.url + "/checkpoint", params={"origin": origin}).text for one in (both[0], fresh)]
        one, other = (open_checkpoint(note, [service.services.log_verifier]) for note in notes)
        hashes = consistency(copy, one.size, other.size)
        with pytest.raises(VerificationFailed):
            verify_consistency(size1=one.size, root1=one.root, size2=other.size, root2=other.root, proof=hashes)


def consistency(copy: dict[str, str], old: int, new: int) -> list[bytes]:
    async def proved() -> list[bytes]:
        database = Database(copy["database_url"], role="creditshare_app", pool_size=1)
        try:
            async with database.reading() as session:
                return list((await prove_consistency(session, size1=old, size2=new)).hashes)
        finally:
            await database.close()

    return asyncio.run(proved())


class Liar(BaseHTTPRequestHandler):
    """Claims to have cosigned more than there is, and shows nothing; or answers what is none."""

    answer: tuple[int, bytes] = (409, b"999999999\n")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(*self.answer)

    def do_GET(self) -> None:
        self._say(404, b"nothing\n")

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


KEYS = [Ed25519PrivateKey.generate() for _ in range(2)]
LIES = {
    "more, without showing it": (409, b"999999999\n"),
    "no number": (409, b"many\n"),
    "no line": (200, b"fine\n"),
    "a line of a stranger": (200, None),
    "an error": (500, b""),
    "a redirect": (302, b""),
    "endless": (200, b"\xe2\x80\x94 a b\n" * 20_000),
}


class Dripping(Liar):
    """Sends a byte of its header now and then, for ever."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while True:
                self.wfile.write(b"a")
                self.wfile.flush()
                time.sleep(0.1)


def test_a_witness_that_never_ends_its_answer_is_cut_off(
    shared_service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("creditshare.jobs.witnesses.FIRST_TIMEOUT_S", 1.0)
    wait_for(lambda: size(shared_service) > 0)
    with listening(Dripping) as url:
        policy = TrustPolicy.parse(f"witness a {Cosigner('a', KEYS[0]).witness.vkey} {url}\nquorum a\n".encode())
        assert on_a_copy(shared_service, worker_of(shared_service), policy)[0] is True


def test_the_cosigned_checkpoint_is_found_behind_any_number_of_others(witnessed: Witnessed) -> None:
    """Half of the witnesses go on for long while the other half is away."""
    service, both, _ = witnessed
    service.admit("Lender", region="US")
    whole = settle(service, leaves=ADMITTED)
    both[1].stop()
    with service.superuser() as database:
        database.execute("ALTER TABLE audit_cosignature DROP CONSTRAINT fk_audit_cosignature_size_audit_checkpoint")
        database.execute(
            "INSERT INTO audit_cosignature (size, witness, line)"
            " SELECT n, %s, '' FROM generate_series(%s::bigint, %s) n",
            [both[0].folder.cosigner.witness.vkey, whole + 1_000, whole + 4_500],
        )
    policy = service.services.witness_policy
    assert policy is not None

    async def found() -> int | None:
        async with service.services.watching.reading() as session:
            return await newest_with_quorum(session, policy)

    assert service.run(found()) == whole


@pytest.mark.parametrize("lie", LIES)
def test_a_single_witness_that_lies_stops_nothing(shared_service: RunningService, lie: str) -> None:
    service = shared_service
    wait_for(lambda: size(service) > 0)
    wait_for(lambda: httpx.get(service.url + "/audit/v1/health").json()["oldest_pending_s"] == 0)
    status, body = LIES[lie]
    if body is None:
        shown = peek_checkpoint(httpx.get(service.url + "/log/v1/checkpoint").text)
        body = Cosigner("liar.example", KEYS[1]).cosign(shown, at=1).encode()
    handler = type("Handler", (Liar,), {"answer": (status, body)})
    liar, honest = Cosigner("liar.example", KEYS[0]).witness, Cosigner("away.example", KEYS[1]).witness
    with listening(handler) as url:
        lines = [f"witness a {liar.vkey} {url}", f"witness b {honest.vkey} http://127.0.0.1:9", "group g all a b"]
        policy = TrustPolicy.parse("\n".join([*lines, "quorum g\n"]).encode())
        allowed, _ = on_a_copy(service, worker_of(service), policy)
    assert allowed
    with service.superuser() as database:
        assert database.execute("SELECT count(*) FROM audit_cosignature").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM audit_hold").fetchone() == (0,)
    # As many claims as make a quorum are another matter: then nothing is signed on, until they are gone.
    if status == 409 and body[:1] == b"9":
        with listening(handler) as url:
            policy = TrustPolicy.parse(f"witness a {liar.vkey} {url}\nquorum a\n".encode())
            assert on_a_copy(service, worker_of(service), policy)[0] is False
        # That it cannot be asked any more changes nothing: whoever objected has to cosign what is here.
        assert on_a_copy(service, worker_of(service), policy)[0] is False
        with service.superuser() as database:
            database.execute("DELETE FROM audit_hold")
