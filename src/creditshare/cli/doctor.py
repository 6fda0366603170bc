"""``creditshare doctor``: what is wrong, and at which hop."""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from creditshare.cli.options import AsJson, DataFolder
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
        findings = asyncio.run(examine(Settings(), url=url))
    except ValidationError as error:
        findings = [_of_settings(error)]
    well = all(finding.problem is None for finding in findings)
    rows = [{"check": f.check, "ok": f.problem is None, "problem": f.problem, "seen": f.seen} for f in findings]
    typer.echo(json.dumps({"ok": well, "findings": rows}) if as_json else "\n".join(map(line, findings)))
    if not well:
        raise typer.Exit(1)


def _of_settings(error: ValidationError) -> Finding:
    wrong = [f"CREDITSHARE_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
    return Finding("settings", "; ".join(wrong))
