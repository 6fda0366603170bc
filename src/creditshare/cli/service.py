"""Running the service: ``serve``, ``worker``, ``demo``, ``db``, ``openapi``."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from creditshare.api.codelists import CODE_LISTS
from creditshare.app import (
    database_url,
    embedded_postgres,
    keyring_file,
    openapi_document,
    public_address,
    require_database,
    sequencer,
    write_json,
)
from creditshare.audit.service import Audit
from creditshare.cli.options import AsJson, DataFolder, out, show
from creditshare.jobs.worker import Worker
from creditshare.registry import metadata
from creditshare.settings import Settings
from creditshare.startup import check_settings, require
from creditshare.storage import schema
from creditshare.storage.engine import Database
from creditshare.telemetry import configure_logging

db = typer.Typer(no_args_is_help=True, help="The database's schema.")
openapi = typer.Typer(no_args_is_help=True, help="The OpenAPI document.")


def prepare(settings: Settings) -> bool:
    """Start the embedded database unless there is one of one's own, migrate a sandbox's, make the keys, check.

    Returns whether this call started the database, so that the caller stops what it started.
    """
    require(check_settings(settings))
    started = embedded_postgres(settings).start() if settings.embedded else False
    try:
        if settings.embedded or settings.mode == "sandbox":
            schema.upgrade(database_url(settings, "owner"))
        keyring_file(settings).load_or_create()
        asyncio.run(require_database(settings, restored=False))
    except BaseException:
        if started:
            embedded_postgres(settings).stop()
        raise
    return started


def serve(
    data: DataFolder = Path("creditshare-data"),
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    public_url: Annotated[str | None, typer.Option(help="Address as members reach it; kept for ever.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    with_worker: Annotated[bool, typer.Option("--with-worker", help="Also run the log's worker.")] = False,
) -> None:
    """Serve the API. Without CREDITSHARE_DATABASE_URL a PostgreSQL runs inside the data folder."""
    os.environ["CREDITSHARE_DATA"] = str(data)
    if public_url:
        os.environ["CREDITSHARE_PUBLIC_URL"] = public_url
    settings = Settings()
    address = settings.public_url or f"http://{host}:{port}"
    require(check_settings(settings, address=address))
    public_address(settings, write=address)
    started = prepare(settings)
    helper = None
    try:
        asyncio.run(require_database(settings))
        if with_worker:
            helper = subprocess.Popen([sys.executable, "-m", "creditshare", "worker", "--data", str(data)])  # noqa: S603  our own command
        uvicorn.run(
            "creditshare.app:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http="httptools",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_level="warning",
            timeout_graceful_shutdown=10,
            h11_max_incomplete_event_size=65_536,
        )
    finally:
        if helper is not None:
            helper.terminate()
            helper.wait(timeout=15)
        if started:
            embedded_postgres(settings).stop()


def worker(data: DataFolder = Path("creditshare-data")) -> None:
    """Run the log's sequencer and the chores. Several may run; one leads."""
    os.environ["CREDITSHARE_DATA"] = str(data)
    settings = Settings()
    configure_logging()
    require(check_settings(settings))
    if settings.embedded:
        embedded_postgres(settings).start()
    asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    database = Database(database_url(settings, "worker"), role="creditshare_worker", pool_size=2)
    keyring = keyring_file(settings).load()
    runner = Worker(
        database=database,
        sequencer=sequencer(settings),
        audit=Audit(opening_box=keyring.box("log_opening"), merge_delay_s=settings.merge_delay_s),
        poll_s=settings.sequencer_poll_ms / 1000,
    )
    task = asyncio.create_task(runner.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await database.close()


def demo(
    data: DataFolder = Path("demo-data"),
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 8600,
    once: Annotated[bool, typer.Option("--once", help="End after the story instead of serving on.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Throw away the data of earlier demos first.")] = False,
    loans: Annotated[Path | None, typer.Option(help="File of real loans to load through the API.")] = None,
    lenders: Annotated[str, typer.Option(help="How many of the largest lenders become members, or all.")] = "40",
) -> None:
    """Show the main job: real processes, real requests, two operators, five lenders, a regulator."""
    from creditshare.cli.demo import run_demo  # noqa: PLC0415  the story needs nothing of it to be loaded by `serve`

    run_demo(data=data, port=port, once=once, reset=reset, loans=loans, lenders=lenders)


@db.command("upgrade")
def upgrade(data: DataFolder = Path("creditshare-data")) -> None:
    """Bring the database to this version's schema."""
    os.environ["CREDITSHARE_DATA"] = str(data)
    settings = Settings()
    if settings.embedded:
        embedded_postgres(settings).start()
    schema.upgrade(database_url(settings, "owner"))
    out.print(f"the schema is at {schema.head()}")


@db.command("check")
def check(data: DataFolder = Path("creditshare-data"), as_json: AsJson = False) -> None:
    """Say whether the database's schema fits this version."""
    os.environ["CREDITSHARE_DATA"] = str(data)
    settings = Settings()
    url = database_url(settings, "owner")
    current, head, drift = schema.current(url), schema.head(), schema.drift(url, metadata)
    show(
        {"current": current, "head": head, "drift": len(drift)},
        as_json=as_json,
        line=f"schema at {current}, this version needs {head}, differences beyond that: {len(drift)}",
    )
    if current != head or drift:
        raise typer.Exit(1)


@openapi.command("export")
def export(
    folder: Annotated[Path, typer.Option(help="Folder of the committed documents.")] = Path("openapi"),
    check_only: Annotated[bool, typer.Option("--check", help="Only compare; status 1 where they differ.")] = False,
) -> None:
    """Write openapi.json and code-lists.json, or check that the committed ones are what the code generates."""
    documents = {"openapi.json": openapi_document(), "code-lists.json": CODE_LISTS}
    for name, document in documents.items():
        path = folder / name
        if not check_only:
            write_json(path, document)
        elif not path.exists() or json.loads(path.read_text()) != json.loads(json.dumps(document)):
            out.print(f"{path} is not what the code generates: run `make openapi`")
            raise typer.Exit(1)
