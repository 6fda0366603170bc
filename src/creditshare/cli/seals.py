"""The seals of rows that decide who may do what: checking them, and accepting a row after somebody looked."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from creditshare.audit.service import Audit
from creditshare.cli.options import AsJson, DataFolder, show
from creditshare.cli.service import prepared, settings_of
from creditshare.clock import SystemClock
from creditshare.composition import database_url, keyring_file
from creditshare.seals import WHOLE, Reviewed, accept, review
from creditshare.settings import Settings
from creditshare.storage.engine import Database

seals = typer.Typer(
    no_args_is_help=True,
    help="Seals of members, keys, budgets and policy: a row that was written behind the service's back shows here.",
)


@seals.command("check")
def check(data: DataFolder = Path("creditshare-data"), as_json: AsJson = False) -> None:
    """Name every row that does not match its seal. Status 1 if there is any, or if rows were taken away or put back."""
    found = _with_database(data, ())
    lines = [f"does not match its seal: {name}" for name in found.broken]
    if not found.whole:
        lines.append(f"{WHOLE}: rows of members or keys were taken away or put back to an older state")
    if found.policy is not None:
        lines.append(found.policy)
    value = {"broken": list(found.broken), "whole": found.whole, "policy": found.policy, "ok": bool(found)}
    show(value, as_json=as_json, line="\n".join(lines) or "all seals hold")
    if not found:
        raise typer.Exit(1)


@seals.command("accept")
def accept_rows(
    names: Annotated[list[str], typer.Argument(help=f"As `seals check` shows them: table:id, or {WHOLE}.")],
    data: DataFolder = Path("creditshare-data"),
    as_json: AsJson = False,
) -> None:
    """Seal rows as they stand now, after you compared them with the log. It is an event. Then restart the service."""
    _with_database(data, tuple(names))
    show({"accepted": names}, as_json=as_json, line=f"sealed as they stand: {', '.join(names)}. Restart the service")


def _with_database(data: Path, names: tuple[str, ...]) -> Reviewed:
    settings = settings_of(data)
    with prepared(settings):
        return asyncio.run(_run(settings, names))


async def _run(settings: Settings, names: tuple[str, ...]) -> Reviewed:
    keyring = keyring_file(settings).load()
    database = Database(database_url(settings, "app"), role="creditshare_app", pool_size=1)
    audit = Audit(opening_box=keyring.box("log_opening"), merge_delay_s=settings.merge_delay_s)
    try:
        if names:
            now = SystemClock().now()
            await accept(names, database=database, seals=keyring.row_seals(), audit=audit, now=now)
        return await review(database, keyring.row_seals())
    finally:
        await database.close()
