"""The worker: woken when a job is put, and patient with a database that is not there yet."""

import asyncio
import contextlib
import random
import subprocess
import sys
from pathlib import Path

from tests.fixtures.database_line import database_line
from tests.fixtures.processes import command_environment
from tests.fixtures.service import RunningService, record_body, running_service, wait_for

from creditshare.cli.demo.story import synthetic_uscc
from creditshare.composition import sequencer
from creditshare.jobs.worker import Worker
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import Database


def listeners(service: RunningService) -> int:
    with service.superuser() as database:
        found = database.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN \"creditshare_jobs\"' AND datname = %s",
            [service.database],
        ).fetchone()
    return int(found[0]) if found else 0


def test_a_job_wakes_a_worker_that_would_sleep_for_a_minute(postgres: EmbeddedPostgres, template: str) -> None:
    with running_service(postgres, template, with_worker=False) as service:
        lender = service.admit("Wakes", region="US")
        (token,) = lender.tokenise([synthetic_uscc(random.Random(7))])  # noqa: S311  a synthetic borrower

        async def work() -> None:
            database = Database(postgres.url("worker", service.database), role="creditshare_worker", pool_size=2)
            worker = Worker(
                database=database,
                sequencer=sequencer(service.settings),
                audit=service.services.audit,
                batches=service.services.batches,
                poll_s=60,
            )
            try:
                await worker.run()
            finally:
                await database.close()

        running = asyncio.run_coroutine_threadsafe(work(), service.loop)
        wait_for(lambda: listeners(service) == 1)
        batch = lender.records.submit_batch([record_body(token, "woken")], wait_s=20)
        assert batch.job["accepted"] == 1
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            wait_for(running.done)
        wait_for(lambda: listeners(service) == 0)


def test_a_worker_waits_for_its_database_and_says_so(service: RunningService, tmp_path: Path) -> None:
    said = tmp_path / "worker.log"
    with database_line(str(service.settings.worker_database_url)) as line, said.open("w") as log:
        line.cut()
        worker = subprocess.Popen(
            [sys.executable, "-m", "creditshare", "worker", "--data", str(service.folder)],
            env=command_environment(service, worker_database_url=line.url),
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(lambda: said.read_text().count("worker waits for the database") > 1, seconds=60)
            assert worker.poll() is None
            line.mend()
            wait_for(lambda: listeners(service) == 2, seconds=60)  # the service's own worker, and this one
        finally:
            worker.terminate()
        assert worker.wait(20) == 0
