"""The cells of the fault matrix: each one a fault on a loaded world, healed, then checked.

``F12`` (failover to a standby) and ``F17`` (Citus) need a second server and are not here; ``F18`` is a soak.
"""

import concurrent.futures
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from tests.faults.bank import Signed, default_body, line_to, transmit
from tests.faults.checker import Before, Check, Verdict, before, cosigned, read_journal, rows_of
from tests.faults.proxy import ANY_COMMIT, ANYTHING, Aim, Moment, Proxy, Trigger, committing, saying, writing
from tests.faults.world import First, World, command_line, open_folder, resident_bytes, wait_for
from tests.fixtures.commands import Command

from creditshare.storage import schema

FIRED_S = 120.0
DEADLINE_S = 12.0
STORM_S = 60.0  # a storm waits for every answer, also on a busy machine
STORM = 100
SLOW_SOCKETS = 300
MALFORMED = 2_000
PAGE = 8192
UNREACHED = 1_000_000
LOCKED_S = 5.0
RIGHT = {"+5s", "-5s", "+0s"}  # the clock is within the skew that is accepted
SILENT_S = 2.0
SLOWLY_S = 0.4  # the pace of work while nothing but time must pass
COMMITS = {
    "questions": committing("query_lookup"),
    "reports": committing("record_lookup"),
    "all else": committing("audit_event", without=frozenset({"query_lookup", "record_lookup"})),
}
"""What the service writes, by a table that only this is written to. Each kind ends its transactions in its own way."""

MOMENTS: tuple[Moment, ...] = ("before", "after")
MEMORY_BYTES = 50_000_000
UNVERIFIED = 3
"""The status of a command that found what does not hold, docs/operate.md."""


class NotHere(Exception):
    """The machine lacks what a cell needs."""


@dataclass(frozen=True)
class Cell:
    """A named fault."""

    name: str
    what: str
    run: Callable[[First, int], Verdict]


CELLS: dict[str, Cell] = {}


def cell(name: str, what: str) -> Callable[[Callable[[First, int], Verdict]], Callable[[First, int], Verdict]]:
    """Register a cell."""

    def register(run: Callable[[First, int], Verdict]) -> Callable[[First, int], Verdict]:
        CELLS[name] = Cell(name, what, run)
        return run

    return register


@contextlib.contextmanager
def under_load(world: World, *, lead: int = 60, tail: int = 40, pause_s: float = 0.04) -> Iterator[Before]:
    """Let lenders work before, during and after the block: so many acknowledged before it, so many after.

    Somebody mirrors the log all the while.
    """
    first = before(world)
    load = world.load(pause_s=pause_s)
    with world.mirror.visiting(world.url, world.log_key):
        load.start()
        try:
            load.wait_for_more(lead)
            yield first
            world.wait_ready()
            load.wait_for_more(tail)
        finally:
            load.stop()


def judged(world: World, first: Before, *, dead: int = 0, **choices: Any) -> Verdict:
    """Check everything, and that no process died except those we killed."""
    verdict = Check(world, first, **choices).run()
    gone = sum(worker.ended() for worker in world.workers)
    if gone != dead:
        verdict.notes.append(f"{gone} workers ended, {dead} were killed")
        verdict.unexplained += 1
    if not verdict.acknowledged:
        verdict.notes.append("nothing was acknowledged, so nothing was shown")
        verdict.unexplained += 1
    if verdict.failures_500:
        verdict.notes += [line[:3000] for line in world.log().splitlines() if '"level": "error"' in line][:3]
    return verdict


def arm(wire: Proxy, trigger: Trigger) -> None:
    """Set a trap on a wire and wait until it has sprung."""
    wire.triggers.append(trigger)
    if not trigger.struck.wait(FIRED_S):
        raise AssertionError(f"a trap for {trigger.aim.what} did not spring within {FIRED_S} s")
    wire.triggers.remove(trigger)


@cell("F1", "kill -9 PostgreSQL under load, twice, at a random moment")
def killed_postgres(first_world: First, seed: int) -> Verdict:
    with first_world.copy(seed) as world:
        with under_load(world) as first:
            for _ in range(2):
                time.sleep(world.random.random())
                world.kill_postgres()
                time.sleep(0.2)
                world.postgres.start()
                world.wait_ready()
        return judged(world, first)


@cell("F2", "kill -9 an API process just before and just after the commit of a question, a report and all else")
def killed_api(first_world: First, seed: int) -> Verdict:
    with first_world.copy(seed) as world:
        with under_load(world) as first:
            for aim in COMMITS.values():
                for moment in MOMENTS:
                    alive = world.api_processes()
                    arm(world.database_wire, Trigger(aim, moment, killing_api(world), skip=world.random.randrange(5)))
                    wait_for(lambda old=alive: missing(world, old), seconds=FIRED_S, what="an API process was killed")  # type: ignore[misc]  # binds this round's list
                wait_for(lambda: len(world.api_processes()) == 2, seconds=FIRED_S, what="other API processes")
                world.lenders.wait_for_more(5)
        return judged(world, first)


@cell("F3", "kill -9 the log's worker at five points of its transaction")
def killed_worker(first_world: First, seed: int) -> Verdict:
    points: list[tuple[Aim, Moment]] = [
        *((writing("audit_leaf"), moment) for moment in MOMENTS),
        (writing("audit_checkpoint"), "before"),
        *((committing("audit_leaf"), moment) for moment in MOMENTS),
    ]
    with first_world.copy(seed) as world:
        with under_load(world) as first:
            for aim, moment in points:
                dying = world.workers[-1]
                arm(world.worker_wire, Trigger(aim, moment, killing(dying), skip=world.random.randrange(4)))
                dying.wait(FIRED_S)
                world.start_worker()
        return judged(world, first, dead=len(points))


@cell("F4", "two workers; the leader is stopped within its transaction until the other leads, and goes on afterwards")
def paused_leader(first_world: First, seed: int) -> Verdict:
    with first_world.copy(seed) as world:
        (leader,) = world.workers
        with under_load(world) as first:
            stopping = Trigger(
                writing("audit_leaf"), "before", lambda _: leader.send_signal(signal.SIGSTOP), lose=False
            )
            arm(world.worker_wire, stopping)
            stopped, size = time.monotonic(), log_size(world)
            world.start_worker(world.new_wire())
            world.lenders.pause_s = SLOWLY_S
            wait_for(lambda: log_size(world) > size, seconds=40, what="the second worker took over")
            takeover = time.monotonic() - stopped
            size = log_size(world)
            wait_for(lambda: log_size(world) > size, seconds=40, what="the second worker went on")
            leader.send_signal(signal.SIGCONT)
            for _ in range(2):  # it finds its transaction gone, begins anew and comes round again
                arm(world.worker_wire, Trigger(saying("pg_advisory_xact_lock"), "after", lose=False))
        verdict = judged(world, first)
        verdict.notes.append(f"takeover after {takeover:.1f} s")
        return verdict


@cell("F5", "the database's volume is full for three seconds (tmpfs)")
def full_disk(first_world: First, seed: int) -> Verdict:
    with tmpfs(220) as volume, first_world.copy(seed, volume=volume) as world:
        with under_load(world) as first:
            ballast = volume / "ballast"
            free = shutil.disk_usage(volume).free
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                for _ in range(free // 65_536 + 2):
                    file.write(bytes(65_536))
            time.sleep(3)
            ballast.unlink()
            time.sleep(0.5)
            world.postgres.start()
        return judged(world, first)


@cell("F6", "network: late, silent, reset, cut; answers of commits lost; on all wires")
def bad_network(first_world: First, seed: int) -> Verdict:
    with first_world.copy(seed) as world:
        with under_load(world) as first:
            for wires in ([world.database_wire, world.worker_wire], [world.client_wire]):
                for wire in wires:
                    wire.delay_s = 0.2
                world.lenders.wait_for_more(6, of="answered")
                for wire in wires:
                    wire.heal()
                    wire.reset_share = 0.05
                wait_for(lambda some=wires: sum(wire.resets for wire in some) > 3, seconds=FIRED_S, what="resets")  # type: ignore[misc]  # binds this round's wires
                for wire in wires:
                    wire.heal()
                    wire.silent = True
                time.sleep(SILENT_S)
                for wire in wires:
                    wire.heal()
                    wire.cut()
                world.lenders.wait_for_more(1)
            for aim in COMMITS.values():
                for moment in MOMENTS:
                    arm(world.database_wire, Trigger(aim, moment, skip=world.random.randrange(5)))
            arm(world.worker_wire, Trigger(ANY_COMMIT, "after"))
        return judged(world, first)


@cell("F7", "the API's clock jumps: 5 s, 90 s, an hour, forwards and backwards (libfaketime)")
def jumping_clock(first_world: First, seed: int) -> Verdict:
    library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
    if library is None:
        raise NotHere("libfaketime is not installed (Debian: faketime)")
    with first_world.copy(seed, serving=False) as world:
        hand = world.folder / "clock"
        hand.write_text("+0s")
        world.start_worker()
        world.start_service(
            LD_PRELOAD=str(library),
            FAKETIME_TIMESTAMP_FILE=str(hand),
            FAKETIME_NO_CACHE="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
            DONT_FAKE_MONOTONIC="1",
        )
        windows: list[tuple[str, float, float]] = []
        with under_load(world) as first:
            for offset in ("+5s", "+90s", "-5s", "-90s", "+3600s", "+0s"):
                hand.write_text(offset)
                began = time.monotonic()
                # Each desk may have asked once before; half of the answers are to something asked since.
                answers = 2 * len(world.lenders.desks)
                world.lenders.wait_for_more(answers, of="acknowledged" if offset in RIGHT else "answered")
                windows.append((offset, began, time.monotonic()))
        verdict = judged(world, first)
        attempts, _ = read_journal(world)
        for offset, began, ended in windows:
            answered = [a for a in attempts if a.answer and began < a.invoke["at"] and a.answer["at"] < ended]
            accepted = sum(a.ok for a in answered)
            if not answered or bool(accepted) != (offset in RIGHT):
                verdict.unexplained += 1
                verdict.notes.append(f"clock {offset}: {accepted} of {len(answered)} accepted")
        return verdict


@cell("F8", "a lock on the hottest table for five seconds, 100 more clients than connections")
def exhausted_pool(first_world: First, seed: int) -> Verdict:
    with first_world.copy(seed) as world:
        with under_load(world) as first, world.superuser() as database:
            with concurrent.futures.ThreadPoolExecutor(STORM) as pool, database.transaction():
                database.execute("LOCK TABLE replay_guard IN ACCESS EXCLUSIVE MODE")
                locked = time.monotonic()
                asked = [pool.submit(ask_me, world, number) for number in range(STORM)]
                health = [health_time(world) for _ in range(20)]
                time.sleep(max(0.0, locked + LOCKED_S - time.monotonic()))
            answers = [one.result() for one in asked]
        verdict = judged(world, first)
        late = max(took for _, took in answers)
        statuses = {status for status, _ in answers}
        verdict.notes.append(f"100 clients: {sorted(statuses)}, slowest {late:.1f} s, health {max(health):.2f} s")
        if late > DEADLINE_S or not statuses <= {200, 503} or max(health) > 1:
            verdict.unexplained += 1
        return verdict


@cell("F9", f"{SLOW_SOCKETS} clients that send a byte a second")
def slow_clients(first_world: First, seed: int) -> Verdict:
    with first_world.copy(seed) as world, contextlib.ExitStack() as stack:
        with under_load(world) as first:
            quiet = [health_time(world) for _ in range(30)]
            request = b"POST /v1/queries HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n"
            slow = [
                stack.enter_context(socket.create_connection(("127.0.0.1", world.http_port)))
                for _ in range(SLOW_SOCKETS)
            ]
            for second in range(4):
                for one in slow:
                    one.sendall(request[second : second + 1])
                time.sleep(0.8)
            busy = [health_time(world) for _ in range(30)]
        verdict = judged(world, first)
        verdict.notes.append(f"health at most {max(quiet):.3f} s before, {max(busy):.3f} s during")
        if max(busy) > max(2 * max(quiet), 0.5):
            verdict.unexplained += 1
        return verdict


@cell("F10", f"{MALFORMED} malformed requests")
def malformed(first_world: First, seed: int) -> Verdict:
    with first_world.copy(seed) as world:
        with under_load(world) as first:
            memory = sum(map(resident_bytes, world.api_processes()))
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                shares = pool.map(lambda part: send_garbage(world, f"{seed}-{part}", MALFORMED // 4), range(4))
                failures = sum(shares)
            grown = sum(map(resident_bytes, world.api_processes())) - memory
        # Many of them are refusals of a known member, so each may have a leaf of its own.
        verdict = judged(world, replace(first, leaves=first.leaves + MALFORMED))
        verdict.failures_500 += failures
        verdict.notes.append(f"memory grew by {grown / 1e6:.1f} MB")
        if grown > MEMORY_BYTES or "forged-line" in "".join(x for x in world.log().splitlines() if x[:1] != "{"):
            verdict.unexplained += 1
        return verdict


@cell("F11", "kill -9 within a migration at a random statement, of an empty and of a full database")
def killed_migration(first_world: First, seed: int) -> Verdict:
    with first_world.copy(seed) as world:
        with under_load(world, tail=0) as first:
            snapshot = rows_of(world)
        world.stop_service()
        killed = []
        for name in ("counted", "fresh"):
            world.postgres.create_database(name)
        counted, fresh = (other_database(world, name) for name in ("counted", "fresh"))
        killed.append(kill_upgrade(world, statements=statements_of_upgrade(world, counted), settings=fresh))
        schema.downgrade(world.postgres.url("owner"))
        statements = statements_of_upgrade(world)
        # A step down may take columns with it that seals cover; those rows are known, and a person accepts them.
        taken = broken_rows(world)
        schema.downgrade(world.postgres.url("owner"))
        killed.append(kill_upgrade(world, statements=statements))
        assert broken_rows(world) == taken, "the kill broke other rows than the step down"
        if taken:
            assert world.run("seals", "accept", *taken).wait(FIRED_S) == 0, world.log()[-2000:]
        world.start_service()
        with under_load(world, lead=0):
            pass
        verdict = judged(world, replace(first, leaves=first.leaves + bool(taken)), snapshot=snapshot)
        verdict.notes += killed
        return verdict


@cell("F13", f"one signed request {STORM} times at once, and again after a restart")
def replay_storm(first_world: First, seed: int) -> Verdict:
    with first_world.copy(seed) as world:
        with under_load(world) as first:
            sent = [storm_request(world, "replays")] * STORM
            got = send_all(world, sent)
            world.stop_service()
            world.start_service()
            got += send_all(world, sent[:10])
        return stormed(world, first, [got])


@cell("F14", f"one idempotency key {STORM} times at once in {STORM} requests, and with another body")
def idempotency_storm(first_world: First, seed: int) -> Verdict:
    with first_world.copy(seed) as world:
        with under_load(world) as first:
            got = send_all(world, [storm_request(world, "twins") for _ in range(STORM)])
            (other,) = send_all(world, [storm_request(world, "twins", owed="78000.00")])
        verdict = stormed(world, first, [got])
        if (other.status_code, other.json()["code"]) != (422, "idempotency_mismatch"):
            verdict.unexplained += 1
            verdict.notes.append(f"another body: {other.status_code}")
        return verdict


def short(first_world: First, seed: int) -> Verdict:
    """Run the faults that matter most on one world, for every run of the tests."""
    with first_world.copy(seed) as world:
        with under_load(world, lead=20, tail=10, pause_s=0.2) as first:
            storms = [
                send_all(world, [storm_request(world, "replays")] * 30),
                send_all(world, [storm_request(world, "twins") for _ in range(30)]),
            ]
            for aim in COMMITS.values():
                (moment,) = world.random.sample(MOMENTS, 1)
                arm(world.database_wire, Trigger(aim, moment, killing_api(world), skip=world.random.randrange(3)))
            world.kill_postgres()
            world.postgres.start()
            world.wait_ready()
            leader = world.workers[0]
            arm(world.worker_wire, Trigger(writing("audit_leaf"), "after", killing(leader)))
            leader.wait(FIRED_S)
            world.start_worker()
        return stormed(world, first, storms, dead=1)


@cell("F15", "a base backup under load is restored: the witness holds it; its write-ahead log brings it back")
def restored_backup(first_world: First, seed: int) -> Verdict:
    with first_world.copy(seed) as world:
        with under_load(world) as first:
            snapshot, backup = rows_of(world), world.folder / "backup"
            world.base_backup(backup)
        assert cosigned(world), "the witness saw no more than the backup holds"
        cluster, lost = world.postgres.folder / "data", world.folder / "lost"
        stop_all(world)
        end_postgres(world)
        cluster.rename(lost)
        copy_cluster(backup, cluster)
        wrong = set_back(world, snapshot)
        stop_all(world)
        end_postgres(world)
        shutil.rmtree(cluster)
        copy_cluster(backup, cluster)
        copy_cluster(lost / "pg_wal", cluster / "pg_wal")
        world.postgres.start()
        dead = len(world.workers)
        world.start_worker()
        world.start_service()
        verdict = judged(world, first, dead=dead, holds_expected=1)
        verdict.notes += wrong
        verdict.held += len(wrong)
        return verdict


@cell("F16", "a byte flipped in every page of the records and of the log's leaves, later flipped back")
def flipped_bytes(first_world: First, seed: int) -> Verdict:
    with first_world.copy(seed) as world:
        with under_load(world) as first:
            with world.superuser() as database:
                files = [
                    world.postgres.folder
                    / "data"
                    / str((database.execute("SELECT pg_relation_filepath(%s)", [table]).fetchone() or ("",))[0])
                    for table in ("record_event", "audit_leaf")
                ]
            world.postgres.stop()
            places = places_of(files)
            flip(places)
            world.postgres.start()
            time.sleep(0.5)
            broken, began = time.monotonic(), set(acknowledged_questions(world))
            time.sleep(2)
            served = len(set(acknowledged_questions(world)) - began)
            world.postgres.stop()
            flip(places)
            world.postgres.start()
        verdict = judged(world, first, failures_expected=True)
        verdict.notes.append(f"{served} questions answered within {time.monotonic() - broken:.0f} s of broken pages")
        verdict.unexplained += served
        return verdict


# What the cells share


def killing(process: Command) -> Callable[[int], None]:
    """Return what a trap does to a process."""
    return lambda _port: process.kill()


def killing_api(world: World) -> Callable[[int], bool]:
    """Return what a trap does to the API process whose connection it sprang on.

    What a process sent just before it was killed may still be on its way; then there is nobody to kill.
    """

    def kill(port: int) -> bool:
        pid = world.api_process_of(port)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        return pid is not None

    return kill


def stop_all(world: World) -> None:
    """End the service and the workers."""
    world.stop_service()
    for worker in world.workers:
        worker.end()


def end_postgres(world: World) -> None:
    """End the server as a lost machine does: what it wrote ahead is all that is left of its last minutes."""
    server = world.postmaster()
    world.kill_postgres()
    wait_for(lambda: not command_line(server), seconds=FIRED_S, what="PostgreSQL ended")


def copy_cluster(source: Path, target: Path) -> None:
    """Copy files of the server with their owner, over those that are there."""
    subprocess.run(["cp", "-a", "-T", str(source), str(target)], check=True)


def set_back(world: World, snapshot: dict[str, set[str]]) -> list[str]:
    """Run the service on a database that was set back; return what is wrong with how it takes that.

    It has what the backup saw. As the witness saw more, nothing is signed and no data endpoint answers.
    """
    world.postgres.start()
    rows, size = rows_of(world), log_size(world)
    wrong = [f"{table} lacks rows of the backup" for table in snapshot if not snapshot[table] <= rows[table]]
    world.start_worker()
    wait_for(lambda: is_held(world), seconds=FIRED_S, what="the log is held")
    world.start_service(ready="/healthz")
    (asked,) = send_all(world, [storm_request(world, "held")])
    if asked.status_code != 503 or "Retry-After" not in asked.headers or world.status_of("/readyz", seconds=10) != 503:
        wrong.append(f"a report was answered with {asked.status_code}")
    if world.run("log", "fsck", "--database").wait(FIRED_S) != UNVERIFIED:
        wrong.append("log fsck --database finds nothing")
    if log_size(world) != size:
        wrong.append("the log was signed on")
    return wrong


def is_held(world: World) -> bool:
    """Whether the log is held."""
    with world.superuser() as database:
        return database.execute("SELECT count(*) FROM audit_hold").fetchone() == (1,)


def missing(world: World, old: list[int]) -> bool:
    """Whether one of the API processes is gone."""
    return bool(set(old) - set(world.api_processes()))


def log_size(world: World) -> int:
    """Return how many leaves the log has."""
    with world.superuser() as database:
        return int((database.execute("SELECT count(*) FROM audit_leaf").fetchone() or (0,))[0])


def health_time(world: World) -> float:
    """Return how long the health answer took."""
    began = time.monotonic()
    assert world.status_of("/healthz", seconds=10) == 200
    return time.monotonic() - began


def ask_me(world: World, number: int) -> tuple[int, float]:
    """Ask a small signed question; return its status and how long it took."""
    bank = world.banks[number % len(world.banks)]
    began = time.monotonic()
    with line_to(world.url, timeout=60) as http:
        status = transmit(http, bank.sign("GET", "/v1/me")).status_code
    return status, time.monotonic() - began


def acknowledged_questions(world: World) -> list[str]:
    """Return the answers to new questions about borrowers with records, as far as the journal goes."""
    attempts, _ = read_journal(world)
    return [a.invoke["rqh"] for a in attempts if a.ok and a.operation == "query" and a.told["match"] == "records"]


def storm_request(world: World, key: str, *, owed: str = "77000.00") -> Signed:
    """Sign a report; each call makes another token for the same key and body."""
    bank = world.banks[0]
    return bank.sign("POST", "/v1/records", json.dumps(default_body(bank.tokens[0], key, owed)).encode(), key=key)


def send_all(world: World, requests: list[Signed]) -> list[httpx.Response]:
    """Send requests at once."""
    with (
        line_to(world.url, timeout=STORM_S) as http,
        concurrent.futures.ThreadPoolExecutor(STORM) as pool,
    ):
        return list(pool.map(lambda one: transmit(http, one), requests))


def stormed(world: World, first: Before, storms: list[list[httpx.Response]], *, dead: int = 0) -> Verdict:
    """Judge storms: each has one answer and one record, all else are refusals or that same answer again."""
    counts = {**first.counts, "record_lookup": first.counts["record_lookup"] + len(storms)}
    told = sum(map(len, storms)) + len(storms)
    verdict = judged(world, Before(first.leaves + told, first.rows, counts), dead=dead)
    for got in storms:
        answers = {one.content for one in got if one.status_code < 300}
        statuses = Counter(one.status_code for one in got)
        verdict.notes.append(f"storm: {dict(statuses)}")
        # 429 and 503 are given before anything is used up: over the member's pace, or no place free.
        if len(answers) != 1 or set(statuses) - {200, 201, 401, 409, 429, 503}:
            verdict.duplicate += 1
    return verdict


def other_database(world: World, name: str) -> dict[str, str]:
    """Return the settings of an upgrade of another database."""
    return {
        "CREDITSHARE_OWNER_DATABASE_URL": f"{world.address('owner', world.database_wire).rpartition('/')[0]}/{name}"
    }


def upgrade(world: World, settings: Mapping[str, str] | None) -> Command:
    """Start an upgrade. After a step down, the rows have no seals any more; a person says that they get new ones."""
    return world.run("db", "upgrade", "--seal-anew", settings=settings)


def statements_of_upgrade(world: World, settings: Mapping[str, str] | None = None) -> int:
    """Upgrade undisturbed and return how many statements that took."""
    counting = Trigger(ANYTHING, "before", skip=UNREACHED)
    world.database_wire.triggers.append(counting)
    assert upgrade(world, settings).wait(FIRED_S) == 0, world.log()[-2000:]
    world.database_wire.triggers.remove(counting)
    return UNREACHED - counting.skip


def kill_upgrade(world: World, *, statements: int, settings: Mapping[str, str] | None = None) -> str:
    """Kill a migration at a random statement, run it to its end and compare the schema; say where it was killed."""
    number = world.random.randrange(statements)
    trap = Trigger(ANYTHING, "before", lambda _: dying.kill(), skip=number)
    world.database_wire.triggers.append(trap)
    dying = upgrade(world, settings)
    where = f"killed at statement {number} of {statements}"
    assert dying.wait(FIRED_S) == -signal.SIGKILL, f"not {where}"
    world.database_wire.triggers.remove(trap)
    assert upgrade(world, settings).wait(FIRED_S) == 0, f"no upgrade after it was {where}: {world.log()[-2000:]}"
    check = world.run("db", "check", settings=settings)
    assert check.wait(FIRED_S) == 0, f"another schema after it was {where}: {world.log()[-2000:]}"
    return where


def broken_rows(world: World) -> list[str]:
    """Return the names of the rows that do not match their seals, as the command tells them."""
    said = len(world.log())
    world.run("seals", "check", "--json").wait(FIRED_S)
    told = next(line for line in world.log()[said:].splitlines() if line.startswith('{"broken"'))
    return sorted(json.loads(told)["broken"])


def places_of(files: list[Path]) -> list[tuple[Path, int]]:
    """Return a place in every page as they are now, in the part that holds rows."""
    return [(file, page * PAGE + PAGE - 42) for file in files for page in range(file.stat().st_size // PAGE)]


def flip(places: list[tuple[Path, int]]) -> None:
    """Flip one bit in each place; a second time puts it right again."""
    for file, place in places:
        with file.open("r+b") as pages:
            pages.seek(place)
            (byte,) = pages.read(1)
            pages.seek(place)
            pages.write(bytes([byte ^ 0x10]))


@contextlib.contextmanager
def tmpfs(megabytes: int) -> Iterator[Path]:
    """Lend a small volume of its own."""
    with open_folder() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0711", "none", str(folder)],
            capture_output=True,
            check=False,
        )
        if mounted.returncode:
            raise NotHere("a small tmpfs cannot be mounted (needs root)")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def send_garbage(world: World, seed: str, count: int) -> int:
    """Send malformed requests over raw sockets; return how many were answered with 5xx."""
    dice = random.Random(seed)  # noqa: S311  reproducible garbage
    bank = world.banks[0]
    failures = 0
    for _ in range(count):
        body = dice.choice(
            [
                b"{",
                b'{"a":1,"a":2}',
                b"\xff\xfe{}",
                b"[" * 10_000,
                b'{"subject":"\\u0000"}',
                b"\x00" * 50,
                b'{"n":1e999}',
                dice.randbytes(200),
                b"x" * 300_000,
            ]
        )
        path = dice.choice(
            ["/v1/queries", "/v1/records", "/v1/consents", "/v1/tokens/evaluate", "/v1//me", "/%00", "/"]
        )
        sent = bank.sign("POST", path, body, key=dice.choice(["k", '"', "a" * 300, None]))
        headers = dict(sent.headers)
        kind = dice.randrange(6)
        if kind == 0:
            headers["Authorization"] = "Bearer eyJhbGciOiJub25lIn0.e30."
        elif kind == 1:
            headers["Authorization"] = "Bearer " + dice.randbytes(60).hex()
        elif kind == 2:
            headers["Authorization"] += "x"
        elif kind == 3:
            headers["X-Request-Id"] = "forged-line\\n{}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", world.http_port), timeout=10) as wire:
            wire.sendall(head.encode() + body)
            failures += wire.recv(12)[9:10] == b"5"
    return failures
