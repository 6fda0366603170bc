"""The worker's process: it is always there beside the service, so it loads neither routes nor commands.

``python -m creditshare worker`` begins here (``__main__``); the command line names it too, for its help.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import select

from creditshare.composition import (
    address_known,
    anchors,
    build_services,
    database_url,
    embedded_postgres,
    reports,
    sequencer,
    spare_the_collector,
    witnesses,
)
from creditshare.errors import Unavailable
from creditshare.jobs.keywatch import KeyWatch
from creditshare.jobs.tiers import Tiers
from creditshare.jobs.worker import Worker
from creditshare.settings import Settings
from creditshare.startup import check_settings, require
from creditshare.storage.engine import Database
from creditshare.telemetry import configure_logging

log = structlog.get_logger()

DATABASE_AGAIN_S: Final = 1.0
WORKER_KEYS: Final = 256
"""Borrowers' keys that a worker keeps. Those of a file's borrowers are each needed once."""


def main() -> None:
    """Run a worker by the arguments of the command line; what they mean is said there (``cli.service.worker``)."""
    arguments = argparse.ArgumentParser(prog="creditshare", add_help=False, allow_abbrev=False)
    arguments.add_argument("command", choices=["worker"])
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--until-input-ends", action=argparse.BooleanOptionalAction, default=False)
    given = arguments.parse_args()
    settings = Settings.read() if given.data is None else Settings.read(data=given.data)
    run_worker(settings, until_input_ends=given.until_input_ends)


def run_worker(settings: Settings, *, until_input_ends: bool) -> None:
    """Work until told to stop, or until the process at the other end of standard input ends."""
    configure_logging()
    require(check_settings(settings))
    if settings.embedded:
        embedded_postgres(settings).start()
    asyncio.run(_until_told(settings, until_input_ends=until_input_ends))


async def _until_told(settings: Settings, *, until_input_ends: bool) -> None:
    task = asyncio.create_task(_work(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    if until_input_ends:
        # Nothing is ever written to it: it becomes readable when its other end is closed.
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _work(settings: Settings) -> None:
    async with contextlib.AsyncExitStack() as open_now:
        database = Database(database_url(settings, "worker"), role="creditshare_worker", pool_size=4)
        open_now.push_async_callback(database.close)
        await _wait_for(database)
        await _wait_for_address(settings)
        # Batches write what single reports write, so they do it under the same role. The borrowers of a file come once.
        kept = min(settings.dek_cache_entries, WORKER_KEYS)
        services = await build_services(settings.model_copy(update={"dek_cache_entries": kept}))
        open_now.push_async_callback(services.database.close)
        open_now.push_async_callback(services.watching.close)
        runner = Worker(
            database=database,
            sequencer=sequencer(settings),
            audit=services.audit,
            batches=services.batches,
            poll_s=settings.sequencer_poll_ms / 1000,
            witnesses=witnesses(settings, database),
            anchors=anchors(settings, database),
            reports=reports(settings, database, services),
            key_watch=KeyWatch(services.database, days=settings.key_warning_days, clock=services.clock),
            tiers=Tiers(services.database, services.reciprocity),
        )
        spare_the_collector()
        await runner.run()


async def _wait_for_address(settings: Settings) -> None:
    """Wait until it is written down whose log this is: what was signed under another name would stop it for good."""
    while not address_known(settings):
        log.warning("worker waits for the service's address: `creditshare serve` writes it, or CREDITSHARE_PUBLIC_URL")
        await asyncio.sleep(DATABASE_AGAIN_S)


async def _wait_for(database: Database) -> None:
    """Wait until the database answers: a worker that ended for its absence would have to be started by a person."""
    while True:
        try:
            async with database.reading() as session:
                await session.execute(select(1))
        except Unavailable:
            log.warning("worker waits for the database")
            await asyncio.sleep(DATABASE_AGAIN_S)
        else:
            return
