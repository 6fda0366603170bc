"""Lanes: processes that each run one cell after the other, on worlds of their own."""

import contextlib
import multiprocessing
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.faults.cells import CELLS, NotHere
from tests.faults.checker import Verdict
from tests.faults.world import First, tools


class Lane:
    """What a lane's process keeps between its runs."""

    first: First
    open_now = contextlib.ExitStack()


def lanes(count: int, folder: Path) -> ProcessPoolExecutor:
    """Return the lanes; each begins with nothing but the folder of the first world."""
    fresh = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=fresh, initializer=open_lane, initargs=(folder,))


def open_lane(folder: Path) -> None:
    """Prepare this process to run cells."""
    Lane.first = First(folder, Lane.open_now.enter_context(tools()))


def run(name: str, seed: int) -> tuple[str, Verdict | None]:
    """Run one cell with one seed; return what came out in words, and None if the fault could not be healed."""
    began = time.monotonic()
    try:
        verdict = CELLS[name].run(Lane.first, seed)
    except NotHere as reason:
        return f"left out, {reason}", Verdict(notes=[str(reason)])
    except Exception:  # noqa: BLE001  whatever a cell fell over is told, and the next one runs
        return f"FAILED\n{traceback.format_exc()}", None
    took = time.monotonic() - began
    state = f"WRONG {verdict.wrong()}" if verdict.wrong() else "ok"
    figures = f"{verdict.acknowledged} acknowledged, outage {verdict.outage_s:.1f} s, took {took:.0f} s"
    return f"{state}, {figures} {'; '.join(verdict.notes)}", verdict
