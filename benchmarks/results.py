"""Figures beside their goals: shown, and kept in results.json and results.md. A goal is never a test."""

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).parent
GOALS = {
    "query_cpu_vs_limit": "<= 2.5",
    "query_cpu_vs_usual": ">= 8",
    "submit_cpu_vs_usual": ">= 8",
    "service_cpu_vs_bare": "<= 7",
    "query_rps_vs_pgbench": ">= 0.2",
    "query_p99_ms_at_half_load": "<= 15",
    "gate_vs_raw_verify": "<= 1.6",
    "seal_ops_vs_fernet": ">= 4",
    "voprf_evaluations_per_s_core": "",
    "query_cpu_1M_vs_100k": "<= 1.2",
    "batch_vs_copy": ">= 0.35",
    "log_leaves_per_s": ">= 20000",
    "log_integration_s_at_1000_per_s": "<= 2",
    "inclusion_proof_ms_at_1M": "<= 5",
    "consistency_proof_ms_at_1M": "<= 5",
    "audit_cost_on_writes": "<= 1.5",
    "fsck_entries_per_s": "",
    "report_count_many_vs_few": "<= 1.5",
    "report_worker_counting_mib": "<= 512",
    "report_worker_mib": "<= 512",
    "report_told_s": "",
    "report_ms": "<= 300",
    "report_pack_s": "<= 60",
}
Figures = Mapping[str, Mapping[str, object]]


def figure(value: float, how: str) -> dict[str, object]:
    """Return a figure with how it was made."""
    return {"value": round(value, 3), "how": how}


def show(figures: Figures) -> None:
    """Print the figures with their goals."""
    for name, one in figures.items():
        print(f"{name:30} {one['value']:>10}  {GOALS.get(name, ''):8} {one['how']}", flush=True)


def write(figures: Figures) -> None:
    """Put figures into results.json, beside those of other runs, and write results.md anew from it."""
    file, day = FOLDER / "results.json", str(datetime.now(UTC).date())
    kept = json.loads(file.read_text())["figures"] if file.exists() else {}
    kept |= {name: {**one, "measured": day} for name, one in figures.items()}
    file.write_text(json.dumps({"figures": kept}, indent=2) + "\n")
    rows = [f"| `{n}` | {f['value']} | {GOALS.get(n, '')} | {f['measured']} | {f['how']} |" for n, f in kept.items()]
    where = f"{platform.machine()}, Python {platform.python_version()}"
    others = "`benchmarks.batches`, `benchmarks.growth`, `benchmarks.log` and `benchmarks.reports`"
    head = f"Written by `make bench ARGS=--write`, {others}, on {where}."
    table = ["| figure | value | goal | measured | how |", "|---|---|---|---|---|", *rows]
    (FOLDER / "results.md").write_text("\n".join(["# What it costs", "", head, "", *table]) + "\n")
