"""``python -m benchmarks.log``: what the audit log adds to a write, and what a log of a million leaves costs.

Events are composed and sealed by the service's own code and copied in, which queues them; then the sequencer integrates
all of them, and only that is timed. Proofs and ``fsck`` are of the log that came of it, and every proof is verified.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
import uvloop
from sqlalchemy import select

from benchmarks import writes
from benchmarks.batches import peak_of
from benchmarks.processes import ROOT, cpu_of, postmaster_of, scratch_folder
from benchmarks.results import figure, show, write
from creditshare.audit.models import audit_checkpoint, audit_leaf
from creditshare.audit.proofs import prove_consistency, prove_inclusion
from creditshare.audit.sequencer import BATCH
from creditshare.audit.service import Actor, Audit, ComposedEvent, Entry, ExchangeDigests
from creditshare.cli.service import prepared
from creditshare.composition import (
    database_url,
    embedded_postgres,
    keyring_file,
    log_signer,
    public_address,
    sequencer,
    spare_the_collector,
)
from creditshare.operations.fsck import examine_log
from creditshare.settings import Settings
from creditshare.storage.engine import Database
from creditshare.tlog.merkle import verify_consistency

PROOFS: Final = 200
WRITES: Final = 1_024
CHUNK: Final = 10_000
RATE: Final = 1_000
STEADY_S: Final = 20
AT_ONCE: Final = 50
WAITED: Final = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY waited)::float8, max(waited)::float8, count(DISTINCT size)
FROM (SELECT c.size, extract(epoch FROM c.created_at - e.recorded_at) AS waited
      FROM audit_leaf l JOIN audit_event e USING (event_id)
      CROSS JOIN LATERAL (SELECT size, created_at FROM audit_checkpoint WHERE size > l.idx ORDER BY size LIMIT 1) c
      WHERE l.idx >= %s) AS each"""
Figures = dict[str, dict[str, object]]


def measure(leaves: int) -> Figures:
    """Return all figures, the log's of this many leaves."""
    spare_the_collector()  # as service and worker do when they start
    with scratch_folder() as folder:
        figures = {"audit_cost_on_writes": figure(*writes.measure(folder, WRITES))}
    show(figures)
    with scratch_folder() as folder:
        settings = Settings(data=folder)
        with prepared(settings):
            queue(settings, leaves)
            for part in (sequenced, proved, examined, kept_up):
                made = part(settings, leaves)
                show(made)
                figures |= made
    return figures


def queue(settings: Settings, leaves: int) -> None:
    """Copy events in as the service composes them for an act of its own; the trigger queues each."""
    audit = Audit(opening_box=keyring_file(settings).load().box("log_opening"), merge_delay_s=settings.merge_delay_s)
    series = audit.series(
        Entry("benchmark"), actor=Actor(sub="benchmark"), exchange=ExchangeDigests(), now=datetime.now(UTC)
    )
    with superuser(settings) as database:
        if database.execute("SELECT count(*) FROM audit_leaf").fetchone() != (0,):
            raise AssertionError("the log is not empty")
        for start in range(0, leaves, CHUNK):
            copy_in(database, [series.event(None, {}) for _ in range(min(CHUNK, leaves - start))])
        # Otherwise the server would do it while something is timed.
        database.execute("VACUUM ANALYZE")
        database.execute("CHECKPOINT")


def superuser(settings: Settings) -> "psycopg.Connection[Any]":
    return psycopg.connect(embedded_postgres(settings).url("superuser").replace("+psycopg", ""), autocommit=True)


def copy_in(database: "psycopg.Connection[Any]", events: list[ComposedEvent]) -> None:
    """Copy events and what opens them."""
    openings = [(one.event_id, o.group, o.subject_id, o.sealed) for one in events for o in one.openings]
    copied: dict[str, tuple[list[str], Iterable[tuple[Any, ...]]]] = {
        "audit_event (event_id, leaf, leaf_hash)": (
            ["uuid", "bytea", "bytea"],
            ((one.event_id, one.leaf, one.leaf_hash) for one in events),
        ),
        "audit_opening (event_id, grp, subject_id, sealed)": (["uuid", "text", "uuid", "bytea"], openings),
    }
    with database.cursor() as cursor:
        for table, (types, rows) in copied.items():
            with cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as into:
                into.set_types(types)
                for row in rows:
                    into.write_row(row)


def sequenced(settings: Settings, leaves: int) -> Figures:
    """Integrate all that waits into the empty log."""

    async def integrate() -> None:
        database = Database(database_url(settings, "worker"), role="creditshare_worker", pool_size=2)
        try:
            runner, size = sequencer(settings), 0
            while size < leaves:
                async with database.writing() as session:
                    done = await runner.integrate(session)
                size = done.size
                if not done.leaves:
                    raise AssertionError(f"nothing waits any more, and the log has {size} leaves")
        finally:
            await database.close()

    postgres = postmaster_of(settings.data)
    cpu_before, mine_before, began = cpu_of(postgres), time.process_time(), time.perf_counter()
    asyncio.run(integrate())
    seconds = time.perf_counter() - began
    mine, theirs = time.process_time() - mine_before, cpu_of(postgres) - cpu_before
    how = (
        f"{leaves:,} queued events into an empty log, {BATCH:,} to a checkpoint, one sequencer: {seconds:.1f} s;"
        f" {mine / leaves * 1e6:.1f} us of CPU a leaf in the process and {theirs / leaves * 1e6:.1f} in PostgreSQL"
    )
    return {"log_leaves_per_s": figure(leaves / seconds, how)}


def proved(settings: Settings, leaves: int) -> Figures:
    """Prove random leaves, and that random older logs are beginnings of this one."""
    return uvloop.run(_proved(settings, leaves))


async def _proved(settings: Settings, leaves: int) -> Figures:
    verifier = log_signer(keyring_file(settings).load(), public_address(settings)).verifier
    chosen, postgres = random.Random(1), postmaster_of(settings.data)
    database = Database(database_url(settings, "app"), role="creditshare_app", pool_size=1)
    try:
        async with database.reading() as session:
            places = chosen.sample(range(leaves), min(PROOFS, leaves))
            found = await session.execute(select(audit_leaf.c.event_id).where(audit_leaf.c.idx.in_(places)))
            events = [UUID(str(one)) for one in found.scalars()]
            found = await session.execute(select(audit_checkpoint.c.size, audit_checkpoint.c.root))
            roots = {int(row.size): bytes(row.root) for row in found}
        sizes = chosen.choices(sorted(roots.keys() - {0, leaves}), k=PROOFS)
        chosen.shuffle(events)

        async def include(event_id: UUID) -> Callable[[], object]:
            async with database.reading() as session:
                proof = await prove_inclusion(session, event_id=event_id)
            return lambda: proof.verify([verifier])

        async def agree(size: int) -> Callable[[], object]:
            async with database.reading() as session:
                proof = await prove_consistency(session, size1=size, size2=None)
            roots_of = {"root1": roots[size], "root2": roots[leaves]}
            return lambda: verify_consistency(size1=size, size2=leaves, proof=proof.hashes, **roots_of)

        return {
            "inclusion_proof_ms_at_1M": await _each(
                postgres, [partial(include, one) for one in events], f"random leaves of {leaves:,}, asked for by event"
            ),
            "consistency_proof_ms_at_1M": await _each(
                postgres,
                [partial(agree, one) for one in sizes],
                f"random checkpoints of {len(roots):,} against that of {leaves:,} leaves",
            ),
        }
    finally:
        await database.close()


async def _each(
    postgres: int, proofs: list[Callable[[], Awaitable[Callable[[], object]]]], what: str
) -> dict[str, object]:
    """Time proofs one after the other; each returns how it is verified, which is done afterwards."""
    (await proofs[0]())()
    took, verifications = [], []
    mine, theirs = time.process_time(), cpu_of(postgres)
    for prove in proofs:
        began = time.perf_counter()
        verifications.append(await prove())
        took.append((time.perf_counter() - began) * 1e3)
    mine, theirs = time.process_time() - mine, cpu_of(postgres) - theirs
    for verify in verifications:
        verify()
    how = (
        f"median of {len(took)} {what}, one at a time, each in a transaction of its own; p99"
        f" {sorted(took)[int(len(took) * 0.99)]:.1f} ms; CPU of process {mine / len(took) * 1e3:.1f} ms, of PostgreSQL"
        f" {theirs / len(took) * 1e3:.1f}"
    )
    return figure(statistics.median(took), how)


def examined(settings: Settings, leaves: int) -> Figures:
    """Make all checks of ``log fsck --database`` in a process of its own, so that the memory is theirs alone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        seen = alone.submit(examine, settings.data, leaves).result()
    walk, rest = seen.walked - seen.began, seen.ended - seen.walked
    start, *peaks = seen.peaks
    how = (
        f"all checks of {leaves:,} events of the service's own, two openings each, in one process and one"
        f" transaction: {walk + rest:.1f} s; entries, tiles and checkpoints {leaves / walk:.0f}/s, then the rest, of"
        f" which most is openings, {leaves / rest:.0f}/s; {seen.cpu / leaves * 1e6:.0f} us of CPU an entry in the"
        f" process; most memory {start:.0f} MiB before, {peaks[0]:.0f} and {peaks[1]:.0f} at half and end of the"
        f" entries, {peaks[2]:.0f} and {peaks[3]:.0f} of the openings; no event names a borrower or a business row"
    )
    return {"fsck_entries_per_s": figure(leaves / (walk + rest), how)}


def kept_up(settings: Settings, leaves: int) -> Figures:
    """Bring in a thousand events a second beside a running worker, and see when a checkpoint covers each."""
    audit = Audit(opening_box=keyring_file(settings).load().box("log_opening"), merge_delay_s=settings.merge_delay_s)
    series = audit.series(
        Entry("benchmark"), actor=Actor(sub="benchmark"), exchange=ExchangeDigests(), now=datetime.now(UTC)
    )
    events = [series.event(None, {}) for _ in range(RATE * STEADY_S)]
    environment = {**os.environ, "CREDITSHARE_DATA": str(settings.data), "PYTHONPATH": str(ROOT / "src")}
    worker = subprocess.Popen([sys.executable, "-m", "creditshare", "worker"], env=environment)
    late = 0.0
    try:
        with superuser(settings) as database:
            copy_in(database, events[:AT_ONCE])
            wait_until_covered(database, leaves + AT_ONCE)
            began = time.perf_counter()
            for start in range(AT_ONCE, len(events), AT_ONCE):
                due = began + start / RATE
                late = max(late, time.perf_counter() - due)
                time.sleep(max(0.0, due - time.perf_counter()))
                copy_in(database, events[start : start + AT_ONCE])
            wait_until_covered(database, leaves + len(events))
            waited = database.execute(WAITED, [leaves + AT_ONCE]).fetchone()
    finally:
        worker.terminate()
        worker.wait(30)
    if waited is None:
        raise AssertionError("no event was integrated")
    median, most, checkpoints = waited
    how = (
        f"the longest of {len(events) - AT_ONCE:,} events, {AT_ONCE} committed every {AT_ONCE / RATE * 1e3:.0f} ms for"
        f" {STEADY_S} s beside a worker, from an event's row to the checkpoint that covers it: median {median:.2f} s,"
        f" {checkpoints} checkpoints; the log had {leaves:,} leaves; they came at most {late:.2f} s late"
    )
    return {"log_integration_s_at_1000_per_s": figure(float(most), how)}


def wait_until_covered(database: "psycopg.Connection[Any]", size: int) -> None:
    """Wait until a checkpoint covers so many leaves."""
    for _ in range(600):
        if database.execute("SELECT max(size) FROM audit_checkpoint").fetchone() == (size,):
            return
        time.sleep(0.05)
    raise AssertionError(f"no checkpoint of {size} leaves within 30 s")


@dataclass(frozen=True, slots=True)
class Moment:
    """How many entries or openings were read, when, and the most memory until then in MiB."""

    read: int
    at: float
    peak: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Times of one examination, CPU seconds, and the most memory: before it, then at each half and each end."""

    began: float
    walked: float
    ended: float
    cpu: float
    peaks: tuple[float, ...]


def examine(data: Path, leaves: int) -> Seen:
    """Examine a log, in this process; every check must hold."""
    moments: list[Moment] = []

    def note(read: int) -> None:
        moments.append(Moment(read, time.perf_counter(), peak_of(os.getpid())))

    note(0)
    cpu = time.process_time()
    findings = asyncio.run(examine_log(Settings(data=data), progress=note))
    cpu = time.process_time() - cpu
    note(leaves)
    if problems := [f"{one.check}: {one.problem}" for one in findings if one.problem]:
        raise AssertionError("; ".join(problems))
    # Entries are counted to the end, then events opened from the beginning.
    last = next(place for place, one in enumerate(moments) if one.read == leaves)
    entries, openings = moments[: last + 1], moments[last + 1 :]
    halves = [next(one for one in part if one.read >= leaves / 2) for part in (entries, openings)]
    peaks = (moments[0].peak, halves[0].peak, entries[-1].peak, halves[1].peak, moments[-1].peak)
    return Seen(moments[0].at, entries[-1].at, moments[-1].at, cpu, peaks)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.log", description=__doc__)
    options.add_argument("--leaves", type=int, default=1_000_000, help="leaves of the log")
    options.add_argument("--write", action="store_true", help="put the figures into results.json and results.md")
    chosen = options.parse_args()
    figures = measure(chosen.leaves)
    if chosen.write:
        write(figures)


if __name__ == "__main__":
    main()
