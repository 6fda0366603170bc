"""Erasure, by the operator on the service's own machine. What is erased cannot be brought back."""

import asyncio
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from creditshare.cli.options import AsJson, DataFolder, show
from creditshare.cli.service import prepared, settings_of
from creditshare.composition import build_services, database_url
from creditshare.ids import parse
from creditshare.keys.tombstones import Tombstones
from creditshare.records.erasure import Erasure, Named
from creditshare.settings import Settings
from creditshare.sharing.service import empty_answers
from creditshare.storage.engine import Database

Sure = Annotated[bool, typer.Option("--yes", help="Do it; without this only what would happen is said.")]

erase = typer.Typer(no_args_is_help=True, help="Make a record or a borrower unreadable for ever.")


@erase.command("record")
def erase_record(
    record_id: str, data: DataFolder = Path("creditshare-data"), yes: Sure = False, as_json: AsJson = False
) -> None:
    """Erase one record, and all stored answers about its borrower."""
    _erase(data, "record", record_id, whole_borrower=False, yes=yes, as_json=as_json)


@erase.command("borrower")
def erase_borrower(
    object_id: Annotated[str, typer.Argument(help="A record (rec_…) or consent (cns_…) of the borrower.")],
    data: DataFolder = Path("creditshare-data"),
    yes: Sure = False,
    as_json: AsJson = False,
) -> None:
    """Erase everything about a borrower: records, consents, answers, openings; the log stays provable."""
    named: Named = "consent" if object_id.startswith("cns_") else "record"
    _erase(data, named, object_id, whole_borrower=True, yes=yes, as_json=as_json)


def _erase(data: Path, named: Named, text: str, *, whole_borrower: bool, yes: bool, as_json: bool) -> None:
    what = "the whole borrower of " if whole_borrower else ""
    if not yes:
        typer.echo(f"this erases {what}{text} for ever; repeat with --yes", err=True)
        raise typer.Exit(1)
    settings = settings_of(data)
    object_id = parse("cns" if named == "consent" else "rec", text)
    with prepared(settings):
        asyncio.run(_run(settings, named, object_id, whole_borrower=whole_borrower))
    show({"erased": text, "whole_borrower": whole_borrower}, as_json=as_json, line=f"erased {what}{text}")


async def _run(settings: Settings, named: Named, object_id: UUID, *, whole_borrower: bool) -> None:
    services = await build_services(settings)
    database = Database(database_url(settings, "eraser"), role="creditshare_eraser", pool_size=1)
    erasure = Erasure(subjects=services.subjects, audit=services.audit, empty_answers=empty_answers)
    tombstones = Tombstones(settings.tombstones_path)
    try:
        now = services.clock.now()
        async with database.writing() as session:
            if whole_borrower:
                subject_id = await erasure.erase_borrower(session, named, object_id, sub="erase borrower", now=now)
                tombstones.add("borrower", [subject_id], now=now)
            else:
                await erasure.erase_record(session, object_id, sub="erase record", now=now)
                tombstones.add("record", [object_id], now=now)
            # The tombstone is on disk: from here on the erasure is certain, whatever happens to the commit.
            await session.commit()
    finally:
        await database.close()
        await services.database.close()
