"""Running the service: ``serve``, ``worker``, ``db``, ``openapi``."""

import asyncio
import contextlib
import functools
import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvicorn

from creditshare.api.codelists import CODE_LISTS
from creditshare.api.connection import BoundedProtocol
from creditshare.api.openapi_diff import diff
from creditshare.app import openapi_document, require_database, upgrade_schema, write_json
from creditshare.cli.companion import Companion
from creditshare.cli.options import DATA_VARIABLE, AsJson, DataFolder, out, show
from creditshare.composition import (
    database_url,
    embedded_postgres,
    keyring_file,
    public_address,
)
from creditshare.errors import ConfigurationError
from creditshare.registry import metadata
from creditshare.settings import Settings
from creditshare.startup import check_settings, require
from creditshare.storage import schema
from creditshare.telemetry import MULTIPROCESS_VARIABLE, configure_logging
from creditshare.worker import run_worker

db = typer.Typer(no_args_is_help=True, help="The database's schema.")
openapi = typer.Typer(no_args_is_help=True, help="The OpenAPI document.")
log = structlog.get_logger()


def settings_of(data: Path) -> Settings:
    """Read the settings for a data folder; processes that this one starts read the same."""
    os.environ[DATA_VARIABLE] = str(data)
    return Settings.read()


def prepare(settings: Settings) -> bool:
    """Start the embedded database unless there is one of one's own, migrate a sandbox's, make the keys, check.

    Returns whether this call started the database, so that the caller stops what it started.
    """
    require(check_settings(settings))
    started = embedded_postgres(settings).start() if settings.embedded else False
    try:
        keyring = keyring_file(settings).load_or_create()
        if settings.embedded or settings.mode == "sandbox":
            upgrade_schema(settings, keyring)
        asyncio.run(require_database(settings, restored=False))
    except BaseException:
        if started:
            embedded_postgres(settings).stop()
        raise
    return started


@contextlib.contextmanager
def prepared(settings: Settings) -> Iterator[None]:
    """Have everything of ``prepare`` until the block ends; the database is stopped if this started it."""
    started = prepare(settings)
    try:
        yield
    finally:
        if started:
            embedded_postgres(settings).stop()


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[None]:
    """Have the database until the block ends, as it is: nothing is made, migrated or checked."""
    started = embedded_postgres(settings).start() if settings.embedded else False
    try:
        yield
    finally:
        if started:
            embedded_postgres(settings).stop()


def serve(
    data: DataFolder = Path("creditshare-data"),
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    public_url: Annotated[str | None, typer.Option(help="Address as members reach it; kept for ever.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    with_worker: Annotated[bool, typer.Option("--with-worker", help="Also run the log's worker.")] = False,
) -> None:
    """Serve the API. Without CREDITSHARE_DATABASE_URL a PostgreSQL runs inside the data folder."""
    if public_url:
        os.environ["CREDITSHARE_PUBLIC_URL"] = public_url
    settings = settings_of(data)
    configure_logging()
    address = settings.public_url or f"http://{host}:{port}"
    require(check_settings(settings, address=address))
    public_address(settings, write=address)
    # The server hands a signal on when it has stopped; without a handler that would end the process before `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    started = prepare(settings)
    helper: Companion | None = None
    shared = tempfile.TemporaryDirectory(prefix="creditshare-metrics-") if workers > 1 else None
    if shared is not None:  # read by each worker process when it starts
        os.environ[MULTIPROCESS_VARIABLE] = shared.name
    try:
        asyncio.run(require_database(settings))
        if with_worker:
            command = [sys.executable, "-m", "creditshare", "worker", "--data", str(data), "--until-input-ends"]
            helper = Companion(command)
            helper.start()
        uvicorn.run(
            "creditshare.app:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http=functools.partial(  # type: ignore[arg-type]  # uvicorn calls it like the class it asks for
                BoundedProtocol,
                header_time_limit_s=settings.header_time_limit_s,
                max_header_bytes=settings.max_header_bytes,
            ),
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_config=None,
            log_level="warning",
            timeout_keep_alive=settings.idle_connection_s,
            limit_concurrency=settings.max_connections,
            timeout_graceful_shutdown=math.ceil(settings.request_time_limit_s) + 1,
        )
    finally:
        if helper is not None:
            helper.stop()
        if started:
            embedded_postgres(settings).stop()
        if shared is not None:
            shared.cleanup()


def worker(
    data: DataFolder = Path("creditshare-data"),
    until_input_ends: Annotated[
        bool, typer.Option("--until-input-ends", help="End with the process at the other end of standard input.")
    ] = False,
) -> None:
    """Run the log's sequencer, the batches and the chores. Several may run; one leads the log."""
    run_worker(settings_of(data), until_input_ends=until_input_ends)


@db.command("upgrade")
def upgrade(
    data: DataFolder = Path("creditshare-data"),
    seal_anew: Annotated[
        bool, typer.Option("--seal-anew", help="Seal members, keys and policy as they stand, after a step down.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database to this version's schema. Needs the key file, and makes one for an empty database."""
    settings = settings_of(data)
    if settings.embedded:
        embedded_postgres(settings).start()
    url = database_url(settings, "owner")
    file = keyring_file(settings)
    # A database that is in use already belongs to a key file: another one must not seal what is in it.
    keyring = file.load_or_create() if schema.current(url) is None else file.load()
    upgrade_schema(settings, keyring, seal_anew=seal_anew)
    show({"schema": schema.head()}, as_json=as_json, line=f"the schema is at {schema.head()}")


@db.command("check")
def check(data: DataFolder = Path("creditshare-data"), as_json: AsJson = False) -> None:
    """Say whether the database's schema fits this version."""
    settings = settings_of(data)
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


@openapi.command("diff")
def compare(
    old: Annotated[Path, typer.Argument(help="The OpenAPI document that clients were written against.")],
    new: Annotated[Path, typer.Argument(help="The one that shall replace it.")],
    as_json: AsJson = False,
) -> None:
    """Name what changed between two OpenAPI documents; status 1 where a client may break."""
    changes = diff(_document(old), _document(new))
    if as_json:
        rows = [{"breaking": c.breaking, "where": c.where, "what": c.what} for c in changes]
        typer.echo(json.dumps({"breaking": any(c.breaking for c in changes), "changes": rows}))
    else:
        for change in changes:
            typer.echo(f"{'breaking' if change.breaking else 'added   '}  {change.where}: {change.what}")
        if not changes:
            typer.echo("no change that a client could notice")
    if any(change.breaking for change in changes):
        raise typer.Exit(1)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read as JSON ({type(error).__name__})") from error
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3.1"):
        raise ConfigurationError(f"{path} is no OpenAPI 3.1 document")
    return document
