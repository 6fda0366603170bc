"""The short set of faults, in every run of the tests; `make faults` runs the whole matrix."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.cells import short
from tests.faults.world import First, first_world, wait_for

SEED = 1

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the faults find processes by Linux's /proc"),
    pytest.mark.skipif(shutil.which("cp") is None, reason="the worlds are copied by cp"),
]


@pytest.fixture(scope="module")
def first() -> Iterator[First]:
    with first_world() as built:
        yield built


def test_nothing_acknowledged_is_lost_when_api_worker_and_database_are_killed(first: First) -> None:
    verdict = short(first, SEED)
    assert verdict.acknowledged > 0
    assert verdict.wrong() == {}, f"seed {SEED}: {verdict.notes}"


def test_api_processes_that_start_while_the_database_is_away_wait_for_it(first: First) -> None:
    with first.copy(SEED) as world:
        killed = set(world.api_processes())
        world.kill_postgres()
        for process in killed:
            os.kill(process, signal.SIGKILL)
        said = len(world.log())
        wait_for(
            lambda: world.log()[said:].count("service waits for the database") >= len(killed),
            seconds=60,
            what="the new processes wait",
        )
        waiting = set(world.api_processes())
        world.postgres.start()
        world.wait_ready()
        assert set(world.api_processes()) == waiting
        assert not waiting & killed
