"""``python -m tests.faults``: run cells for a range of seeds and print the table of what came out.

The runs are shared out among lanes, and what came out is put together here.
"""

import argparse
import json
import sys
from collections import defaultdict
from concurrent.futures import as_completed
from pathlib import Path

from tests.faults.cells import CELLS
from tests.faults.checker import Verdict
from tests.faults.lanes import lanes, run
from tests.faults.world import first_world

HEAD = (
    "cell",
    "seeds",
    "acknowledged",
    "attempts",
    "lost",
    "duplicate",
    "unlogged",
    "other",
    "mirrored",
    "cosigned",
    "longest outage",
    "fault",
)


def main() -> int:
    """Run and report; 1 if any cell was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed-start", type=int, default=1)
    parser.add_argument("--cells", default=",".join(CELLS), help="names separated by commas")
    parser.add_argument("--lanes", type=int, default=1, help="how many runs at once, as a rule one for each core")
    parser.add_argument("--results", type=Path, help="write every verdict to this file, a JSON line each")
    chosen = parser.parse_args()
    verdicts: dict[str, list[Verdict]] = {name: [] for name in chosen.cells.split(",")}
    broken: dict[str, list[int]] = defaultdict(list)
    with first_world() as first, lanes(chosen.lanes, first.folder) as pool:
        seeds = range(chosen.seed_start, chosen.seed_start + chosen.seeds)
        runs = {pool.submit(run, name, seed): (name, seed) for seed in seeds for name in verdicts}
        for ended in as_completed(runs):
            name, seed = runs[ended]
            told, verdict = ended.result()
            say(f"{name} seed {seed}: {told}")
            if verdict is None:
                broken[name].append(seed)
                continue
            verdicts[name].append(verdict)
            if chosen.results:
                with chosen.results.open("a") as file:
                    file.write(json.dumps({"cell": name, "seed": seed, **vars(verdict)}) + "\n")
    say(table(verdicts))
    for name, unended in broken.items():
        say(f"{name}: did not end as it should, seeds {sorted(unended)}")
    return int(bool(broken) or any(v.wrong() for found in verdicts.values() for v in found))


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def table(verdicts: dict[str, list[Verdict]]) -> str:
    """Return the table of ``docs/reliability.md``."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for name, found in verdicts.items():
        wrong = [verdict.wrong() for verdict in found]
        counts = [sum(one.get(figure, 0) for one in wrong) for figure in ("lost", "duplicate", "unlogged")]
        other = sum(sum(one.values()) for one in wrong) - sum(counts)
        acknowledged, attempts, mirrored, cosigned = (
            sum(getattr(one, what) for one in found) for what in ("acknowledged", "attempts", "mirrored", "cosigned")
        )
        outage = max((verdict.outage_s for verdict in found), default=0.0)
        seen = (mirrored, cosigned, f"{outage:.1f} s", CELLS[name].what)
        row = (name, len(found), acknowledged, attempts, *counts, other, *seen)
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
