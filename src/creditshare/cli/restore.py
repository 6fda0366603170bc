"""After a restore of the database: find what was erased or revoked since the backup, and bury it again."""

import asyncio
from pathlib import Path

import typer

from creditshare.app import build_services, database_url
from creditshare.cli.options import AsJson, DataFolder, settings_of, show
from creditshare.cli.service import prepared
from creditshare.keys.tombstones import Tombstones
from creditshare.records.erasure import Erasure
from creditshare.restore import Returned, returned
from creditshare.restore import apply as bury_again
from creditshare.settings import Settings
from creditshare.sharing.service import empty_answers
from creditshare.storage.engine import Database

restore = typer.Typer(
    no_args_is_help=True,
    help="After a restore: what was erased or revoked since the backup must not live again. The service refuses to"
    " start until `restore apply` has run.",
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
                members=services.members,
                now=services.clock.now(),
            )
        return found
    finally:
        await eraser.close()
        await services.database.close()
