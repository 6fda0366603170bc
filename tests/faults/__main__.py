"""``python -m tests.faults``: run cells for a range of seeds and print the table of what came out."""

import argparse
import json
import sys
import time
import traceback
from collections import defaultdict
from pathlib import Path

from tests.faults.cells import CELLS, NotHere
from tests.faults.checker import Verdict
from tests.faults.world import First, first_world

HEAD = ("cell", "seeds", "acknowledged", "lost", "duplicate", "unlogged", "other", "longest outage", "fault")


def main() -> int:
    """Run and report; 1 if any cell was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed-start", type=int, default=1)
    parser.add_argument("--cells", default=",".join(CELLS), help="names separated by commas")
    parser.add_argument("--results", type=Path, help="write every verdict to this file, a JSON line each")
    chosen = parser.parse_args()
    verdicts: dict[str, list[Verdict]] = defaultdict(list)
    broken: dict[str, list[int]] = defaultdict(list)
    with first_world() as first:
        for seed in range(chosen.seed_start, chosen.seed_start + chosen.seeds):
            for name in chosen.cells.split(","):
                verdict = run(first, name, seed)
                if verdict is None:
                    broken[name].append(seed)
                else:
                    verdicts[name].append(verdict)
                    if chosen.results:
                        with chosen.results.open("a") as file:
                            line = {"cell": name, "seed": seed, **vars(verdict)}
                            file.write(json.dumps(line) + "\n")
    say(table(verdicts))
    for name, seeds in broken.items():
        say(f"{name}: did not end as it should, seeds {seeds}")
    return int(bool(broken) or any(v.wrong() for found in verdicts.values() for v in found))


def run(first: First, name: str, seed: int) -> Verdict | None:
    """Run one cell with one seed and say what came out; None if the fault could not be healed."""
    began = time.monotonic()
    try:
        verdict = CELLS[name].run(first, seed)
    except NotHere as reason:
        say(f"{name} seed {seed}: left out, {reason}")
        return Verdict(notes=[str(reason)])
    except Exception:  # noqa: BLE001  whatever a cell fell over is told, and the next one runs
        say(f"{name} seed {seed}: FAILED\n{traceback.format_exc()}")
        return None
    took = time.monotonic() - began
    state = f"WRONG {verdict.wrong()}" if verdict.wrong() else "ok"
    say(
        f"{name} seed {seed}: {state}, {verdict.acknowledged} acknowledged, outage {verdict.outage_s:.1f} s,"
        f" took {took:.0f} s {'; '.join(verdict.notes)}",
    )
    return verdict


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
        acknowledged = sum(verdict.acknowledged for verdict in found)
        outage = max((verdict.outage_s for verdict in found), default=0.0)
        row = (name, len(found), acknowledged, *counts, other, f"{outage:.1f} s", CELLS[name].what)
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
