"""What must be true afterwards, read off the journals, the public API, the database, the mirror and the witness alone.

======  ================================================================================================
I1      every acknowledged write is there, with the content that was acknowledged (``lost``)
I2, I3  nothing is there twice or without an attempt; one key, one answer (``duplicate``, ``other_bytes``)
I4      every acknowledged action is in the log once, proved; no leaf without an action (``unlogged``, ``unexplained``)
I5      all checkpoints ever seen are heads of one growing tree (``forked``)
I6      no row of an append-only table was changed or removed (``rewritten``)
rules   no consent beyond its limit or after its revocation, no replay (``overused`` ``after_revocation`` ``replays``)
beside  mirror and witness saw this one log and nothing else, and every promise kept (``contradicted``); both came
        through (``unwitnessed``); the log was held when a cell says so and never else (``held``)
======  ================================================================================================
"""

import base64
import hashlib
import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from tests.faults.bank import ISSUER, Bank, line_to, receipt, transmit
from tests.faults.world import World, wait_for
from tests.fixtures import foreign
from tests.fixtures.foreign import unb64u

T = TypeVar("T")
U = TypeVar("U")
DRAIN_S = 120.0
FSCK_S = 120.0
COSIGNED_S = 60.0
READERS = 4
HELD_MESSAGE = '"the log is not signed on"'
ANSWERED = {"status": "status", "jws": "signature", "body": "body"}
"""Where the journal has what an evidence file says of an answer."""
APPEND_ONLY = {
    "audit_event": "event_id",
    "audit_leaf": "idx",
    "audit_tile": "level, n",
    "audit_checkpoint": "size",
    "audit_cosignature": "size, witness",
    "audit_anchor": "size, tsa",
    "record_event": "subject_id, event_no",
    "debt_statement": "subject_id, number",
}


@dataclass
class Verdict:
    """The figures of one cell; all but the measured ones must be nought."""

    acknowledged: int = 0
    attempts: int = 0
    outage_s: float = 0.0
    mirrored: int = 0
    cosigned: int = 0
    lost: int = 0
    duplicate: int = 0
    other_bytes: int = 0
    unlogged: int = 0
    unexplained: int = 0
    unsigned: int = 0
    forked: int = 0
    rewritten: int = 0
    overused: int = 0
    after_revocation: int = 0
    replays: int = 0
    failures_500: int = 0
    contradicted: int = 0
    unwitnessed: int = 0
    held: int = 0
    notes: list[str] = field(default_factory=list)

    def wrong(self) -> dict[str, int]:
        """Return the figures that should be nought and are not."""
        measured = {"acknowledged", "attempts", "outage_s", "mirrored", "cosigned", "notes"}
        return {name: value for name, value in asdict(self).items() if name not in measured and value}


@dataclass
class Attempt:
    """What the journal says of one attempt."""

    invoke: dict[str, Any]
    answer: dict[str, Any] | None = None
    lost: bool = False

    @property
    def ok(self) -> bool:
        return self.answer is not None and self.answer["status"] < 300

    @property
    def name(self) -> tuple[str, str, str]:
        """The key's full name."""
        return self.invoke["member"], self.invoke["path"], self.invoke["key"]

    @property
    def told(self) -> Any:
        assert self.answer is not None
        return json.loads(base64.b64decode(self.answer["body"]))

    @property
    def operation(self) -> str:
        return str(self.invoke["operation"])


@dataclass(frozen=True)
class Before:
    """What stood in the database before the load."""

    leaves: int
    rows: dict[str, set[str]]
    counts: dict[str, int]


def rows_of(world: World) -> dict[str, set[str]]:
    """Return a hash of every row of the append-only tables."""
    with world.superuser() as database:
        return {
            table: {row[0] for row in database.execute(f"SELECT md5(t::text) FROM {table} t").fetchall()}  # noqa: S608  our own names
            for table in APPEND_ONLY
        }


def counts_of(world: World) -> dict[str, int]:
    """Return how many things of each kind there are."""
    with world.superuser() as database:
        tables = ("record_lookup", "consent_lookup", "query_lookup")
        return {t: (database.execute(f"SELECT count(*) FROM {t}").fetchone() or (0,))[0] for t in tables}  # noqa: S608  our own names


def before(world: World) -> Before:
    """Look at the database before the load."""
    drain(world)
    with world.superuser() as database:
        leaves = (database.execute("SELECT count(*) FROM audit_leaf").fetchone() or (0,))[0]
    return Before(leaves, rows_of(world), counts_of(world))


def drain(world: World) -> None:
    """Wait until the log has caught up; it must, within the promised time."""

    def caught_up() -> bool:
        with world.superuser() as database:
            waiting: tuple[Any, ...] | None = database.execute(
                "SELECT count(*) FROM audit_pending p JOIN audit_event USING (event_id)"
            ).fetchone()
            return waiting == (0,)

    wait_for(caught_up, seconds=DRAIN_S, what="the log caught up with its queue")


def cosigned(world: World) -> bool:
    """Wait until the witness's line over the newest checkpoint is stored; whether it came."""

    def complete() -> bool:
        with world.superuser() as database:
            newest = database.execute(
                "SELECT max(size), (SELECT max(size) FROM audit_cosignature) FROM audit_checkpoint"
            )
            size, last = newest.fetchone() or (0, None)
            return bool(size == last)

    try:
        wait_for(complete, seconds=COSIGNED_S, what="the newest checkpoint was cosigned")
    except AssertionError:
        return False
    return True


def read_journal(world: World) -> tuple[list[Attempt], list[dict[str, Any]]]:
    """Return the attempts and the checkpoints seen."""
    attempts: dict[int, Attempt] = {}
    checkpoints = []
    for line in world.journal.file.read_text().splitlines():
        entry = json.loads(line)
        if entry["kind"] == "invoke":
            attempts[entry["attempt"]] = Attempt(entry)
        elif entry["kind"] == "answer":
            attempts[entry["attempt"]].answer = entry
        elif entry["kind"] == "lost":
            attempts[entry["attempt"]].lost = True
        else:
            checkpoints.append(entry)
    return list(attempts.values()), checkpoints


class Check:
    """One reading of everything."""

    def __init__(
        self,
        world: World,
        first: Before,
        *,
        snapshot: dict[str, set[str]] | None = None,
        failures_expected: bool = False,
        holds_expected: int = 0,
    ) -> None:
        self._world = world
        self._first = first
        self._snapshot = snapshot or first.rows
        self._failures_expected = failures_expected
        self._holds_expected = holds_expected
        self.attempts, self.checkpoints = read_journal(world)
        self.acknowledged = {a.name: a for a in self.attempts if a.ok and a.operation != "replay"}
        self.verdict = Verdict(acknowledged=len(self.acknowledged), attempts=len(self.attempts))

    def run(self) -> Verdict:
        """Check everything and return the verdict."""
        drain(self._world)
        with line_to(f"http://127.0.0.1:{self._world.http_port}", timeout=20) as http:
            self._come_to_rest(http)
            self._log(http)
            self._counts()
            self._answers()
            self._consents()
            self._contents(http)
        self._whole()
        self.verdict.outage_s = longest_outage(self.attempts)
        return self.verdict

    def _note(self, figure: str, text: str) -> None:
        setattr(self.verdict, figure, getattr(self.verdict, figure) + 1)
        if len(self.verdict.notes) < 20:
            self.verdict.notes.append(f"{figure}: {text}")

    # The log

    def _come_to_rest(self, http: httpx.Client) -> None:
        """The witness cosigns the newest checkpoint, and the mirror makes its last visit."""
        self.verdict.mirrored = self._world.mirror.visits
        if not self.verdict.mirrored:
            self._note("unwitnessed", "the mirror never came through under load")
        if not cosigned(self._world):
            self._note("unwitnessed", f"the witness did not cosign the newest checkpoint within {COSIGNED_S} s")
        if not self._world.mirror.visit(str(http.base_url), self._world.log_key):
            self._note("unwitnessed", "the mirror's last visit brought nothing")

    def _log(self, http: httpx.Client) -> None:
        vkey = self._world.log_key
        with self._world.superuser() as database:
            leaves = database.execute("SELECT idx, leaf_hash FROM audit_leaf ORDER BY idx").fetchall()
            notes = [row[0] for row in database.execute("SELECT note FROM audit_checkpoint ORDER BY size").fetchall()]
        if [row[0] for row in leaves] != list(range(len(leaves))):
            self._note("forked", "the indexes of the leaves have holes")
        hashes = [bytes(row[1]) for row in leaves]
        tree = Tree(hashes)
        for note in [*notes, *(seen["note"] for seen in self.checkpoints)]:
            _, size, root = foreign.open_checkpoint(note, vkey)
            if size > len(hashes) or tree.root(0, size) != root:
                self._note("forked", f"the checkpoint of size {size} is no head of this tree")
        self._witness(http, tree, len(hashes))
        self._mirror(tree, hashes)
        sizes = sorted({foreign.open_checkpoint(seen["note"], vkey)[1] for seen in self.checkpoints})
        for old, new in list(itertools.pairwise(sizes))[-15:]:
            got = patient(http, "/audit/v1/proof/consistency", {"from": str(old), "to": str(new)}).json()
            if [unb64u(h) for h in got["hashes"]] != foreign.consistency_path(old, hashes[:new]):
                self._note("forked", f"no consistency from {old} to {new}")
        grown = [foreign.open_checkpoint(seen["note"], vkey)[1] for seen in self.checkpoints]
        if grown != sorted(grown):
            self._note("forked", "a later answer told of a smaller tree")
        self._receipts(http, vkey, Counter(hashes))
        for table, rows in rows_of(self._world).items():
            if not self._snapshot[table] <= rows:
                self._note("rewritten", table)

    def _whole(self) -> None:
        """The operator's own check of the database finds nothing either."""
        status = self._world.run("log", "fsck", "--database").wait(FSCK_S)
        if status != 0:
            self._note("forked", f"log fsck --database ends with status {status}")

    # What stands beside

    def _witness(self, http: httpx.Client, tree: "Tree", size: int) -> None:
        """What the witness holds is of this tree, what the service stored of it is its own, and nobody was held."""
        witness, world = self._world.witness, self._world
        with world.superuser() as database:
            stored = database.execute(
                "SELECT size, witness, line, note FROM audit_cosignature LEFT JOIN audit_checkpoint USING (size)"
            ).fetchall()
        for at, vkey, line, note in stored:
            try:
                assert vkey == witness.vkey
                foreign.check_cosignature(note, line, vkey)
            except (AssertionError, ValueError, InvalidSignature) as error:
                self._note("contradicted", f"the cosignature over {at} leaves does not hold: {error!r}")
        self.verdict.cosigned = len(stored)
        origin = world.log_key.partition("+")[0]
        kept = httpx.get(f"{witness.url}/checkpoint", params={"origin": origin}).text
        *_, line = kept.splitlines()
        foreign.check_cosignature(kept, line, witness.vkey)
        self._head("witness", kept, tree, size)
        if witness.contradictions():
            self._note("contradicted", "the witness was shown what cannot be")
        holds = world.log().count(HELD_MESSAGE)
        now = patient(http, "/audit/v1/health").json()["held"]
        if now is not None or holds != self._holds_expected:
            self._note("held", f"held {holds} times, {self._holds_expected} expected; at the end: {now}")

    def _mirror(self, tree: "Tree", hashes: list[bytes]) -> None:
        """The mirror holds this log from its entries up, and never was shown another; its own program says so too."""
        mirror = self._world.mirror
        for finding in mirror.findings:
            self._note("contradicted", f"the mirror: {finding}")
        for note in mirror.notes():
            self._head("mirror", note, tree, len(hashes))
        entries = [foreign.leaf_hash(entry) for entry in mirror.entries()]
        if not entries or entries != hashes[: len(entries)]:
            self._note("contradicted", f"the mirror holds other entries than the log, {len(entries)} of {len(hashes)}")
        whole = self._world.outside("log", "fsck", str(mirror.folder))
        if whole.returncode != 0:
            self._note("contradicted", f"log fsck of the mirror: {whole.stderr.strip()[-500:]}")

    def _head(self, whose: str, note: str, tree: "Tree", most: int) -> None:
        _, size, root = foreign.open_checkpoint(note, self._world.log_key)
        if size > most or tree.root(0, size) != root:
            self._note("contradicted", f"the {whose} has a checkpoint of {size} leaves that is no head of this tree")

    def _promises(self, http: httpx.Client, promised: list[Attempt]) -> None:
        """Every receipt's promise is kept, by the mirror and the program that members run."""
        files = self._world.folder / "receipts"
        files.mkdir(exist_ok=True)
        jwks = patient(http, "/.well-known/jwks.json").json()
        members = {bank.member_id: bank.jwk for bank in self._world.banks}
        for attempt in promised:
            assert attempt.answer is not None
            evidence = {
                "kind": "creditshare-evidence/v1",
                "issuer": ISSUER,
                "request": {
                    "jws": attempt.invoke["token"],
                    "body": base64.b64encode(attempt.invoke["body"].encode()).decode(),
                },
                "answer": {name: attempt.answer[place] for name, place in ANSWERED.items()},
                "member_jwk": members[attempt.invoke["member"]],
                "service_jwks": jwks,
                "log_vkey": self._world.log_key,
                "proof": None,
            }
            (files / f"{attempt.invoke['attempt']}.json").write_text(json.dumps(evidence))
        mirror = str(self._world.mirror.folder)
        told = self._world.outside("log", "check-receipts", str(files), "--mirror", mirror, "--json")
        kept = json.loads(told.stdout)["kept"] if told.returncode == 0 else 0
        if kept != len(promised):
            self._note("contradicted", f"{kept} of {len(promised)} promises kept: {told.stderr.strip()[-500:]}")

    def _receipts(self, http: httpx.Client, vkey: str, hashes: Counter[bytes]) -> None:
        keys = public_keys(http)
        logged: list[dict[str, Any]] = []
        promised: list[Attempt] = []
        for attempt in self.attempts:
            answer = attempt.answer
            if answer is None or (not answer["signature"] and not attempt.ok):
                continue
            body = attempt.invoke["body"].encode()
            wrong, log = receipt(keys, answer, member_id=attempt.invoke["member"], request_body=body)
            if wrong or (attempt.ok and log is None):
                self._note("unsigned", f"{attempt.operation} {answer['status']}: {wrong or 'no receipt'}")
            if log is None:
                continue
            promised.append(attempt)
            digest = unb64u(log["leaf_hash"])
            if hashes[digest] != 1:
                self._note("unlogged", f"{attempt.operation} {log['event_id']} is in the log {hashes[digest]} times")
                continue
            logged.append(log)
        self._promises(http, promised)
        for log, proof in at_once(lambda one: inclusion(http, one["event_id"]), logged):
            try:
                foreign.check_inclusion(proof.json(), vkey, log["leaf"])
            except (AssertionError, KeyError) as error:
                self._note("unlogged", f"{log['event_id']}: no proof ({error!r})")
        uncertain = sum(
            a.answer is None or not a.answer["signature"] or a.operation == "replay" or self._vague(a)
            for a in self.attempts
        )
        extra = hashes.total() - self._first.leaves - len(logged)
        if extra > uncertain:
            self._note("unexplained", f"{extra} leaves without a receipt, {uncertain} attempts of unknown outcome")

    @staticmethod
    def _vague(attempt: Attempt) -> bool:
        return attempt.answer is not None and attempt.answer["status"] >= 500

    # The records, consents and answers

    def _counts(self) -> None:
        """Nothing is there that nobody sent, and nothing twice."""
        now = counts_of(self._world)
        unknown = {a.name: a for a in self.attempts if a.lost or a.answer is None or self._vague(a)}
        for table, operation in (("record_lookup", "record"), ("consent_lookup", "consent"), ("query_lookup", "query")):
            sure = {a.name for a in self.acknowledged.values() if a.invoke["path"] == f"/v1/{plural(operation)}"}
            vague = {n for n, a in unknown.items() if a.operation == operation} - sure
            made = now[table] - self._first.counts[table]
            if not len(sure) <= made <= len(sure) + len(vague):
                figure = "lost" if made < len(sure) else "duplicate"
                self._note(figure, f"{made} rows of {table}, {len(sure)} acknowledged, {len(vague)} unknown")

    def _answers(self) -> None:
        """One key, one answer; a replay never gets one; no failure but those that were ordered."""
        bodies: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for attempt in self.attempts:
            if attempt.ok and attempt.operation == "replay":
                self._note("replays", str(attempt.name))
            elif attempt.ok and attempt.answer is not None:
                bodies[attempt.name].add(attempt.answer["body"])
            elif attempt.answer is not None and attempt.answer["status"] == 500:
                if self._failures_expected:
                    continue
                self._note("failures_500", f"{attempt.operation} {attempt.invoke['path']}: 500")
            elif attempt.answer is not None and attempt.answer["status"] == 503 and not attempt.answer["retry_after"]:
                self._note("failures_500", f"{attempt.operation}: 503 without Retry-After")
        for name, seen in bodies.items():
            if len(seen) > 1:
                self._note("other_bytes", str(name))

    def _consents(self) -> None:
        limits = {a.told["consent_id"]: a.told["max_uses"] for a in self._of("consent")}
        told: Counter[str] = Counter()
        for attempt in self._of("query"):
            told[json.loads(attempt.invoke["body"])["consent_id"]] += 1
        with self._world.superuser() as database:
            uses = {
                f"cns_{row[0]}": row[1:]
                for row in database.execute(
                    "SELECT consent_id, uses, (SELECT count(*) FROM query_answer q WHERE q.consent_id = c.consent_id)"
                    " FROM consent c"
                ).fetchall()
            }
        for consent, limit in limits.items():
            used, answers = uses.get(consent, (-1, -1))
            if not told[consent] <= answers == used <= limit:
                self._note(
                    "overused", f"{consent}: limit {limit}, counted {used}, stored {answers}, told {told[consent]}"
                )
        revoked: dict[str, float] = {}
        for attempt in self._of("revocation"):
            assert attempt.answer is not None
            consent = attempt.invoke["path"].split("/")[3]
            revoked[consent] = min(attempt.answer["at"], revoked.get(consent, attempt.answer["at"]))
        for attempt in self.attempts:
            if attempt.operation == "query" and attempt.ok and attempt.answer and not attempt.answer["replayed"]:
                consent = json.loads(attempt.invoke["body"])["consent_id"]
                if attempt.invoke["at"] > revoked.get(consent, float("inf")):
                    self._note("after_revocation", consent)

    def _of(self, operation: str) -> list[Attempt]:
        """Return what was acknowledged of one kind, however often it was repeated."""
        first = {a.name: a for a in reversed(self.attempts) if a.ok and a.operation == operation}
        return list(first.values())

    def _contents(self, http: httpx.Client) -> None:
        banks = {bank.member_id: bank for bank in self._world.banks}
        corrected: dict[str, str] = {}
        maybe: dict[str, set[str]] = defaultdict(set)
        for attempt in self.attempts:
            if attempt.operation == "correction" and attempt.name not in self.acknowledged:
                changes = json.loads(attempt.invoke["body"])["changes"]
                maybe[attempt.invoke["path"].split("/")[3]].add(changes["outstanding_principal"])
        for attempt in sorted(self._of("correction"), key=lambda a: float(a.invoke["at"])):
            changes = json.loads(attempt.invoke["body"])["changes"]
            corrected[attempt.told["record_id"]] = changes["outstanding_principal"]
        records, consents, queries = self._of("record"), self._of("consent"), self._of("query")

        def shown(attempts: list[Attempt], path: str) -> Iterator[tuple[Attempt, httpx.Response | None]]:
            return at_once(lambda one: show(http, banks[one.invoke["member"]], path.format(**one.told)), attempts)

        for attempt, got in shown(records, "/v1/records/{record_id}"):
            told, sent = attempt.told, json.loads(attempt.invoke["body"])
            expected = {name: sent[name] for name in ("account_ref", "currency", "original_amount", "opened_on")}
            owed = {corrected.get(told["record_id"], sent["outstanding_principal"]), *maybe[told["record_id"]]}
            if (
                got is None
                or any(got.json().get(name) != value for name, value in expected.items())
                or got.json()["outstanding_principal"] not in owed
            ):
                self._note("lost", f"record {told['record_id']}")
        revoked = {attempt.invoke["path"].split("/")[3] for attempt in self._of("revocation")}
        for attempt, got in shown(consents, "/v1/consents/{consent_id}"):
            consent = attempt.told["consent_id"]
            if got is None or (consent in revoked) > (got.json().get("status") == "revoked"):
                self._note("lost", f"consent {consent}")
        for attempt, got in shown(queries, "/v1/queries/{query_id}"):
            assert attempt.answer is not None
            if got is None or got.content != base64.b64decode(attempt.answer["body"]):
                self._note("lost", f"answer {attempt.told['query_id']}")


class Tree:
    """Roots of stretches of leaves, each whole stretch computed once (RFC 9162 section 2.1.1)."""

    def __init__(self, hashes: list[bytes]) -> None:
        self._hashes = hashes
        self._known: dict[tuple[int, int], bytes] = {}

    def root(self, start: int, size: int) -> bytes:
        """Return the root over ``size`` leaves from ``start``."""
        if size == 0:
            return hashlib.sha256(b"").digest()
        if size == 1:
            return self._hashes[start]
        found = self._known.get((start, size))
        if found is None:
            k = foreign.split_at(size)
            found = hashlib.sha256(b"\x01" + self.root(start, k) + self.root(start + k, size - k)).digest()
            self._known[start, size] = found
        return found


def patient(http: httpx.Client, path: str, params: dict[str, str] | None = None) -> httpx.Response:
    """Ask as a client should that is told to come back: after a fault, a process may still hold a dead connection."""
    for _ in range(5):
        got = http.get(path, params=params)
        if got.status_code != 503:
            break
        time.sleep(float(got.headers["Retry-After"]))
    return got


def inclusion(http: httpx.Client, event_id: str) -> httpx.Response:
    """Ask for the proof that an event is in the log."""
    return patient(http, "/audit/v1/proof/inclusion", {"event_id": event_id})


def show(http: httpx.Client, bank: Bank, path: str) -> httpx.Response | None:
    """Read something of a member's; None where the service does not know it."""
    for _ in range(5):
        got = transmit(http, bank.sign("GET", path))
        if got.status_code not in {429, 503}:
            return got if got.status_code == 200 else None
        time.sleep(1)
    return None


def at_once(asks: Callable[[T], U], things: list[T]) -> Iterator[tuple[T, U]]:
    """Ask about many things, some at a time, so that all API processes have work; in their order."""
    with ThreadPoolExecutor(READERS) as pool:
        yield from zip(things, pool.map(asks, things), strict=True)


def public_keys(http: httpx.Client) -> dict[str, ec.EllipticCurvePublicKey]:
    """Return the service's keys by their name."""
    keys = {}
    for jwk in patient(http, "/.well-known/jwks.json").json()["keys"]:
        x, y = (int.from_bytes(unb64u(jwk[name]), "big") for name in ("x", "y"))
        keys[jwk["kid"]] = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    return keys


def plural(operation: str) -> str:
    """Return the path's word."""
    return "queries" if operation == "query" else f"{operation}s"


def longest_outage(attempts: list[Attempt]) -> float:
    """Return the longest time in which nobody at all was acknowledged, while somebody asked."""
    moments: list[float] = sorted(a.answer["at"] for a in attempts if a.ok and a.answer)
    if not moments:
        return 0.0
    first: float = min(a.invoke["at"] for a in attempts)
    return max(later - earlier for earlier, later in zip([first, *moments], moments, strict=False))
