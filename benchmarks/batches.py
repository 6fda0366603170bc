"""``python -m benchmarks.batches``: what a file of records costs beside plain COPY, and how much memory it takes.

One file is signed, sent, and dealt with by the worker: every row is judged, its token looked up, its borrower made, its
fields sealed, its event logged and sequenced. Then the very rows that came of it are copied, binary, into empty copies
of the same tables with the same indexes: the least that PostgreSQL takes for them. Both are CPU time of all processes.
"""

import argparse
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import ours
from benchmarks.processes import Cpu, cpu_of, postmaster_of, scratch_folder
from benchmarks.results import figure, show, write

PORT = 8975
NAME = "batch_vs_copy"
NOTHING = "(no such process)"
A_WORD_EACH = 50_000


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most memory that a process ever held, in MiB."""

    service: float
    worker: float


@dataclass(frozen=True, slots=True)
class Intake:
    """One file taken in: CPU seconds, the time it took, and the memory at its start, its middle and its end."""

    cpu: Cpu
    seconds: float
    peaks: tuple[Peaks, Peaks, Peaks]


def measure_memory(rows: int, borrowers: int) -> None:
    """Print what a long file takes, its rows about some borrowers in turn: memory of both processes, and time."""
    with (
        scratch_folder() as folder,
        ours.running(folder, PORT, borrowers=1, spare=borrowers) as stage,
        stage.database() as database,
    ):
        intake = take_in(stage, database, rows)
    for place, peak in zip(("at its start", "at its middle", "at its end"), intake.peaks, strict=True):
        print(f"{place:>13}: service {peak.service:.0f} MiB, worker {peak.worker:.0f} MiB")
    print(f"{rows:,} rows about {borrowers:,} borrowers in {intake.seconds:.0f} s, {rows / intake.seconds:.0f} rows/s")


def measure(rows: int) -> dict[str, dict[str, object]]:
    """Return the figure of a file of this many rows, each of a borrower that nobody named before."""
    with (
        scratch_folder() as folder,
        ours.running(folder, PORT, borrowers=1, spare=rows) as stage,
        stage.database() as database,
    ):
        before = counts(database)
        intake = take_in(stage, database, rows)
        after = counts(database)
        grown = [table for table in after if after[table] - before.get(table, 0) >= rows]
        copied = sum(copy(database, stage, table) for table in grown)
    first, middle, last = intake.peaks
    slope = (last.worker - middle.worker) / (rows / 2) * 1e5
    how = (
        f"{rows:,} rows of new borrowers in one file: {intake.cpu.total / rows * 1e6:.0f} us of CPU a row"
        f" (service and worker {intake.cpu.service / rows * 1e6:.0f}, PostgreSQL"
        f" {intake.cpu.postgres / rows * 1e6:.0f}), {rows / intake.seconds:.0f} rows/s; COPY of the"
        f" {len(grown)} table rows that a record becomes {copied / rows * 1e6:.0f} us ({', '.join(grown)});"
        f" most memory: service {last.service:.0f} MiB ({first.service:.0f} before the file), worker"
        f" {last.worker:.0f} MiB ({first.worker:.0f} before, {slope:+.1f} MiB per 100,000 rows in the second half)"
    )
    return {NAME: figure(copied / intake.cpu.total, how)}


def take_in(stage: ours.Stage, database: "psycopg.Connection[Any]", rows: int) -> Intake:
    """Send one file and wait until all its rows are records and their events are in the log."""
    worker = pid_of("creditshare worker", stage.data)
    started, first = now(stage, worker), peaks(stage, worker)
    began = time.monotonic()
    answer = stage.reporter.records.start_batch(
        ours.record(stage.spare[n % len(stage.spare)], f"F-{n}") for n in range(rows)
    )
    middle: list[Peaks] = []
    next_word = A_WORD_EACH

    def told(job: Any) -> None:
        nonlocal next_word
        if job["accepted"] >= next_word:
            print(
                f"{job['accepted']:>11,} rows taken in, worker at most {peaks(stage, worker).worker:.0f} MiB",
                flush=True,
            )
            next_word = job["accepted"] + A_WORD_EACH
        if not middle and job["accepted"] >= rows / 2:
            middle.append(peaks(stage, worker))

    batch = stage.reporter.records.follow(str(answer["job_id"]), told=told)
    if batch.job["accepted"] != rows:
        raise AssertionError(f"not every row was taken in: {dict(batch.job)}")
    while database.execute("SELECT count(*) FROM audit_pending").fetchone() != (0,):
        time.sleep(0.1)
    seconds, cpu, last = time.monotonic() - began, now(stage, worker), peaks(stage, worker)
    used = Cpu(cpu.service - started.service, cpu.postgres - started.postgres)
    return Intake(used, seconds, (first, middle[0] if middle else last, last))


def now(stage: ours.Stage, worker: int) -> Cpu:
    """Return the CPU time so far of service and worker, and of PostgreSQL."""
    ours_so_far = cpu_of(stage.pid) + cpu_of(worker, but=NOTHING)
    return Cpu(ours_so_far, cpu_of(postmaster_of(stage.data)))


def peaks(stage: ours.Stage, worker: int) -> Peaks:
    return Peaks(peak_of(stage.pid), peak_of(worker))


def peak_of(pid: int) -> float:
    """Return a process's high-water mark of resident memory in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def pid_of(command: str, data: Path) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if command in line and str(data) in line:
            return int(process.name)
    raise LookupError(f"{command} was not found")


def counts(database: "psycopg.Connection[Any]") -> dict[str, int]:
    """Return the number of rows of each table."""
    names = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
    found = {}
    for (name,) in names:
        row = database.execute(f'SELECT count(*) FROM "{name}"').fetchone()
        found[name] = int(row[0]) if row else 0
    return found


def copy(database: "psycopg.Connection[Any]", stage: ours.Stage, table: str) -> float:
    """Copy a table's rows into an empty one with the same indexes; return the CPU seconds of the copying in."""
    fresh = f"bench_{secrets.token_hex(4)}"
    database.execute(f'CREATE TABLE {fresh} (LIKE "{table}" INCLUDING ALL)')
    with database.cursor() as cursor:
        with cursor.copy(f'COPY "{table}" TO STDOUT (FORMAT BINARY)') as out:
            rows = [bytes(part) for part in out]
        blocks = [b"".join(rows[start : start + 1_000]) for start in range(0, len(rows), 1_000)]
        began, mine = cpu_of(postmaster_of(stage.data)), time.process_time()
        with cursor.copy(f"COPY {fresh} FROM STDIN (FORMAT BINARY)") as into:
            for block in blocks:
                into.write(block)
        used = cpu_of(postmaster_of(stage.data)) - began + time.process_time() - mine
    database.execute(f"DROP TABLE {fresh}")
    return used


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.batches", description=__doc__)
    options.add_argument("--rows", type=int, default=20_000, help="rows of the file")
    options.add_argument("--write", action="store_true", help="put the figure into results.json")
    options.add_argument(
        "--memory-only", type=int, metavar="BORROWERS", help="print what a long file about so many borrowers takes"
    )
    chosen = options.parse_args()
    if chosen.memory_only:
        measure_memory(chosen.rows, chosen.memory_only)
        return
    figures = measure(chosen.rows)
    show(figures)
    if chosen.write:
        write(figures)


if __name__ == "__main__":
    main()
