"""The service's own log, on the operator's machine."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn

from creditshare.cli.options import EXIT_UNVERIFIED
from creditshare.cli.service import running, settings_of
from creditshare.operations.fsck import examine_log
from creditshare.startup import line


def fsck(data: Path, *, held: Sequence[Path], receipts: Path | None, as_json: bool) -> None:
    """Make the thirteen checks of the database and print what each found; status 3 where one does not hold."""
    settings = settings_of(data)
    columns = (TextColumn("{task.completed} entries read"),)
    with running(settings), Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        findings = asyncio.run(
            examine_log(
                settings, held=held, receipts=receipts, progress=lambda read: progress.update(task, completed=read)
            )
        )
    holds = all(finding.problem is None for finding in findings)
    rows = [{"check": f.check, "ok": f.problem is None, "problem": f.problem, "seen": f.seen} for f in findings]
    typer.echo(json.dumps({"holds": holds, "findings": rows}) if as_json else "\n".join(map(line, findings)))
    if not holds:
        raise typer.Exit(EXIT_UNVERIFIED)
