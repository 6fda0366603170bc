"""After a restore of the database: find what was erased or revoked since the backup, and bury it again."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from creditshare.cli.options import AsJson, DataFolder, show
from creditshare.cli.service import prepared, settings_of
from creditshare.composition import build_services, database_url, embedded_postgres
from creditshare.keys.tombstones import Tombstones
from creditshare.operations.restoring import bring_keys, check_backup, load
from creditshare.records.erasure import Erasure
from creditshare.restore import Returned, returned
from creditshare.restore import apply as bury_again
from creditshare.settings import Settings
from creditshare.sharing.service import empty_answers
from creditshare.storage.engine import Database

restore = typer.Typer(
    no_args_is_help=True,
    help="Bringing a backup back. What was erased or revoked since must not live again: the service refuses to start"
    " until `restore load`, or `restore apply` after a restore by other means, has buried it.",
)


@restore.command("check")
def check(data: DataFolder = Path("creditshare-data"), as_json: AsJson = False) -> None:
    """Say what is alive in the database though a tombstone names it. Status 1 if there is anything."""
    found = _with_database(data, apply=False)
    line = f"{found} are alive again: run `creditshare restore apply`" if found else "nothing that was erased is alive"
    show({"alive": found.counts, "ok": not found}, as_json=as_json, line=line)
    if found:
        raise typer.Exit(1)


@restore.command("apply")
def apply(data: DataFolder = Path("creditshare-data"), as_json: AsJson = False) -> None:
    """Erase and revoke again what a restore brought back; each is an event. May be repeated and interrupted."""
    found = _with_database(data, apply=True)
    show({"buried": found.counts}, as_json=as_json, line=f"erased or revoked again: {found}")


@restore.command("load")
def load_backup(
    folder: Annotated[Path, typer.Argument(help="A folder that `creditshare backup` wrote.")],
    data: DataFolder = Path("creditshare-data"),
    keys_from: Annotated[
        Path | None, typer.Option(help="Folder of the backed-up key file, tombstones and address.", show_default=False)
    ] = None,
    known_checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint of this log that somebody else holds; may be repeated.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load a backup into an empty database, prove its log, and bury again what was erased and revoked since.

    Refused where the log would become shorter or different than a known checkpoint says. Status 0 means that the
    service may be started.
    """
    settings = settings_of(data)
    check_backup(folder)
    if keys_from is not None:
        bring_keys(settings, keys_from)
    started = embedded_postgres(settings).start() if settings.embedded else False
    try:
        loaded = load(settings, folder, known=known_checkpoint or ())
        buried = _with_database(data, apply=True)
    finally:
        if started:
            embedded_postgres(settings).stop()
    manifest = loaded.manifest
    show(
        {"made_at": manifest.made_at, "leaves": loaded.leaves, "pending": manifest.pending, "buried": buried.counts},
        as_json=as_json,
        line=f"loaded the backup of {manifest.made_at}: the log's {loaded.leaves} leaves are those of its checkpoint;"
        f" buried again: {buried}. The service may be started",
    )


def _with_database(data: Path, *, apply: bool) -> Returned:
    settings = settings_of(data)
    with prepared(settings):
        return asyncio.run(_run(settings, apply=apply))


async def _run(settings: Settings, *, apply: bool) -> Returned:
    services = await build_services(settings)
    eraser = Database(database_url(settings, "eraser"), role="creditshare_eraser", pool_size=1)
    try:
        async with services.database.reading() as session:
            found = await returned(session, Tombstones(settings.tombstones_path).read())
        if apply:
            await bury_again(
                found,
                database=services.database,
                eraser=eraser,
                erasure=Erasure(subjects=services.subjects, audit=services.audit, empty_answers=empty_answers),
                keys=services.member_keys,
                now=services.clock.now(),
            )
        return found
    finally:
        await eraser.close()
        await services.database.close()
