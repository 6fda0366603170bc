"""``creditshare doctor``: what is wrong, and at which hop."""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated

import typer

from creditshare.cli.options import AsJson, DataFolder
from creditshare.errors import ConfigurationError
from creditshare.operations.doctor import examine
from creditshare.settings import Settings
from creditshare.startup import Finding, line


def doctor(
    data: DataFolder = Path("creditshare-data"),
    url: Annotated[
        str | None, typer.Option("--url", help="Where to ask the service; default its public address.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at every hop a request takes and name what is wrong. Status 0 only if all is well; changes nothing."""
    os.environ["CREDITSHARE_DATA"] = str(data)
    try:
        settings = Settings.read()
    except ConfigurationError as error:
        findings = [Finding("settings", str(error))]
    else:
        findings = asyncio.run(examine(settings, url=url))
    well = all(finding.problem is None for finding in findings)
    rows = [{"check": f.check, "ok": f.problem is None, "problem": f.problem, "seen": f.seen} for f in findings]
    typer.echo(json.dumps({"ok": well, "findings": rows}) if as_json else "\n".join(map(line, findings)))
    if not well:
        raise typer.Exit(1)
