"""``python -m benchmarks.growth``: what a question costs in CPU among a million records, beside a hundred thousand.

The borrowers that are asked about come through the API. The others are copies of their rows under ids and indexes of
their own: nobody asks about them and they could not be opened, but tables and indexes are as large as they would be.
"""

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Column, Uuid

from benchmarks import ours
from benchmarks.load import closed_loop, repeat
from benchmarks.processes import scratch_folder
from benchmarks.results import figure, show, write
from creditshare.registry import metadata

NAME = "query_cpu_1M_vs_100k"
PORT = 8976
BORROWERS = 500
RECORDS_EACH = 2
CONNECTIONS = 16
ROUNDS = 3
COPIED = (
    "subject",
    "subject_index",
    "consent",
    "record_current",
    "record_event",
    "record_secret",
    "record_lookup",
    "member_subject",
)


def measure(sizes: Sequence[int], seconds: float) -> dict[str, dict[str, object]]:
    """Return the figure: CPU of a question among the last number of records, over that among the first."""
    costs = []
    with (
        scratch_folder() as folder,
        ours.running(folder, PORT, borrowers=BORROWERS, spare=0) as stage,
        stage.database() as database,
    ):
        copies = 0
        for size in sizes:
            wanted = size // (BORROWERS * RECORDS_EACH) - 1
            fill(database, copies + 1, wanted)
            copies = wanted
            costs.append(statistics.median(cost(stage, seconds) for _ in range(ROUNDS)))
            print(f"{size:>9,} records: {costs[-1]:.3f} ms a question", flush=True)
    how = "; ".join(f"{size:,} records {ms:.3f} ms" for size, ms in zip(sizes, costs, strict=True))
    how += f"; questions about {BORROWERS} borrowers, service and PostgreSQL, median of {ROUNDS}"
    return {NAME: figure(costs[-1] / costs[0], how)}


def fill(database: "psycopg.Connection[Any]", first: int, last: int) -> None:
    """Copy the borrowers' rows so often, each copy under ids made of the old ones and its number."""
    with database.transaction():
        # Rows of the first borrowers alone are copied, so that copies are not copied again.
        database.execute("CREATE TEMPORARY TABLE IF NOT EXISTS original AS SELECT subject_id FROM subject")
        database.execute("SET LOCAL session_replication_role = replica")  # no checks of references between copies
        for name in COPIED:
            columns = metadata.tables[name].columns
            chosen = [_copied(column) for column in columns]
            names = [sql.Identifier(column.name) for column in columns]
            database.execute(
                sql.SQL(
                    "INSERT INTO {table} ({names}) SELECT {values} FROM {table} t JOIN original USING (subject_id)"
                    " CROSS JOIN generate_series({first}, {last}) AS copy"
                ).format(
                    table=sql.Identifier(name),
                    names=sql.SQL(", ").join(names),
                    values=sql.SQL(", ").join(chosen),
                    first=sql.Literal(first),
                    last=sql.Literal(last),
                )
            )
    database.execute("VACUUM ANALYZE")
    database.execute("CHECKPOINT")


def _copied(column: "Column[Any]") -> sql.Composed:
    name = sql.Identifier("t", column.name)
    if isinstance(column.type, Uuid) and column.name != "member_id":
        return sql.SQL("md5({}::text || copy)::uuid").format(name)
    if column.name == "index":
        return sql.SQL("sha256({} || copy::text::bytea)").format(name)
    return sql.SQL("{}").format(name)


def cost(stage: ours.Stage, seconds: float) -> float:
    """Return the CPU milliseconds of one question, service and PostgreSQL together."""
    make = repeat(stage.question)
    closed_loop(stage.port, make, connections=CONNECTIONS, seconds=1.0)
    before = stage.cpu()
    load = closed_loop(stage.port, make, connections=CONNECTIONS, seconds=seconds)
    ours.check(load.statuses, 200)
    return stage.cpu().since(before, load.count).total


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    options.add_argument("--records", type=int, nargs=2, default=[100_000, 1_000_000], help="few and many")
    options.add_argument("--seconds", type=float, default=5.0, help="length of each load")
    options.add_argument("--write", action="store_true", help="put the figure into results.json and results.md")
    chosen = options.parse_args()
    figures = measure(chosen.records, chosen.seconds)
    show(figures)
    if chosen.write:
        write(figures)


if __name__ == "__main__":
    main()
