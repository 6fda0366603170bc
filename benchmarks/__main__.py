"""``python -m benchmarks``: measure side by side in one run, print ratios, write results.json and results.md.

Absolute times depend on the machine and who else uses it; ratios of CPU hold from machine to machine. Each figure says
how it was made. Goals stand beside the figures and are never a test.
"""

import argparse

from benchmarks import limit, micro, ours, usual
from benchmarks.load import closed_loop, drain, open_loop, post, repeat
from benchmarks.processes import Cpu, cpu_of, postmaster_of, scratch_folder, uvicorn_app
from benchmarks.results import figure, show, write

CONNECTIONS = 16
PORTS = {"ours": 8971, "usual": 8972, "bare": 8973, "raw": 8974}


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--seconds", type=float, default=6.0, help="length of each load")
    options.add_argument("--borrowers", type=int, default=500, help="borrowers with two records and a consent each")
    options.add_argument("--only-micro", action="store_true", help="our own parts only; no service is started")
    options.add_argument("--write", action="store_true", help="write results.json and results.md")
    chosen = options.parse_args()
    figures = {name: figure(value, how) for name, (value, how) in micro.measure(1.0).items()}
    if not chosen.only_micro:
        figures |= macro(chosen.seconds, chosen.borrowers, figures)
    show(figures)
    if chosen.write:
        write(figures)


def macro(seconds: float, borrowers: int, parts: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Run ours, the usual way, the bare endpoint and the limit, one after the other, each under the same load."""
    with scratch_folder() as folder:
        spare = int(seconds * 400)
        with ours.running(folder, PORTS["ours"], borrowers=borrowers, spare=spare) as stage:
            query, query_load = _ours(stage, "question", 200, seconds)
            submit, _ = _ours(stage, "submission", 201, seconds)
            half = open_loop(
                stage.port, repeat(stage.question), connections=CONNECTIONS, seconds=seconds, rate=query_load.rate / 2
            )
            ours.check(half.statuses, 200)
            floor = limit.measure(stage, seconds=int(seconds))
            usual_query, usual_submit = _usual(stage, seconds, borrowers)
            bare, raw = (
                _bare(app, PORTS[name], stage, seconds)
                for name, app in (("bare", "benchmarks.bare:app"), ("raw", "benchmarks.bare:raw"))
            )
    least = (
        floor.postgres_ms
        + raw
        + (float(str(parts["raw_verify_us"]["value"])) + float(str(parts["raw_sign_us"]["value"]))) / 1e3
    )
    return {
        "query_cpu_vs_limit": figure(
            query.total / least,
            f"ours {_say(query)}; limit {least:.2f} ms: pgbench {floor.postgres_ms:.2f}, HTTP {raw:.2f},"
            " one verification and one signature",
        ),
        "query_cpu_vs_usual": figure(
            usual_query.total / query.total, f"usual way {_say(usual_query)}; ours {_say(query)}"
        ),
        "submit_cpu_vs_usual": figure(
            usual_submit.total / submit.total, f"usual way {_say(usual_submit)}; ours {_say(submit)}"
        ),
        "service_cpu_vs_bare": figure(
            query.service / bare, f"ours {query.service:.2f} ms; FastAPI answering a constant {bare:.2f} ms"
        ),
        "query_rps_vs_pgbench": figure(
            query_load.rate / floor.rate,
            f"ours {query_load.rate:.0f}/s with one process; pgbench {floor.rate:.0f}/s on the same statements",
        ),
        "query_p99_ms_at_half_load": figure(
            half.percentile(0.99), f"open loop at {query_load.rate / 2:.0f}/s; p50 {half.percentile(0.5):.1f} ms"
        ),
    }


def _say(cpu: Cpu) -> str:
    return f"{cpu.total:.2f} ms (service {cpu.service:.2f}, PostgreSQL {cpu.postgres:.2f})"


def _ours(stage: ours.Stage, kind: str, expected: int, seconds: float):  # type: ignore[no-untyped-def]
    make = repeat(getattr(stage, kind))
    closed_loop(stage.port, make, connections=CONNECTIONS, seconds=min(1.0, seconds))
    before = stage.cpu()
    load = closed_loop(stage.port, make, connections=CONNECTIONS, seconds=seconds)
    ours.check(load.statuses, expected)
    return stage.cpu().since(before, load.count), load


def _usual(stage: ours.Stage, seconds: float, borrowers: int) -> tuple[Cpu, Cpu]:
    with usual.running(stage.postgres(), PORTS["usual"]) as (_, pid, database, pem):
        names = [f"91999999BENCH{n:05d}" for n in range(borrowers)]
        consents = usual.grant(database, names)
        filling = iter([usual.submission(pem, n, name) for n, name in enumerate(names * 2)])
        drain(PORTS["usual"], filling, connections=CONNECTIONS)
        costs = []
        for make, expected in (
            (repeat(lambda n: usual.question(pem, names[n % borrowers], consents[names[n % borrowers]])), 200),
            (repeat(lambda n: usual.submission(pem, n, f"91999999SPARE{n:05d}")), 201),
        ):
            closed_loop(PORTS["usual"], make, connections=CONNECTIONS, seconds=min(1.0, seconds))
            before = Cpu(cpu_of(pid), cpu_of(postmaster_of(stage.data)))
            load = closed_loop(PORTS["usual"], make, connections=CONNECTIONS, seconds=seconds)
            ours.check(load.statuses, expected)
            costs.append(Cpu(cpu_of(pid), cpu_of(postmaster_of(stage.data))).since(before, load.count))
    return costs[0], costs[1]


def _bare(app: str, port: int, stage: ours.Stage, seconds: float) -> float:
    body = b'{"subject":{"suite":"P256-SHA256"},"purpose":"pre_loan","consent_id":"cns_0","scopes":["defaults"]}'
    request = post("/v1/queries", {"Content-Type": "application/json"}, body)
    del stage
    with uvicorn_app(app, port) as (_, pid):
        closed_loop(port, repeat(lambda _: request), connections=CONNECTIONS, seconds=min(1.0, seconds))
        before = cpu_of(pid)
        load = closed_loop(port, repeat(lambda _: request), connections=CONNECTIONS, seconds=seconds)
        ours.check(load.statuses, 200)
        return (cpu_of(pid) - before) / load.count * 1e3


if __name__ == "__main__":
    main()
