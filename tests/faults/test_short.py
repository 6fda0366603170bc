"""The short set of faults, in every run of the tests; `make faults` runs the whole matrix."""

import shutil
from pathlib import Path

import pytest
from tests.faults.cells import short
from tests.faults.world import first_world

SEED = 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the faults find processes by Linux's /proc")
@pytest.mark.skipif(shutil.which("cp") is None, reason="the worlds are copied by cp")
def test_nothing_acknowledged_is_lost_when_api_worker_and_database_are_killed() -> None:
    with first_world() as first:
        verdict = short(first, SEED)
    assert verdict.acknowledged > 0
    assert verdict.wrong() == {}, f"seed {SEED}: {verdict.notes}"
