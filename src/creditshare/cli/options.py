"""Options that many commands share, and how results are printed."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from creditshare.client.bank import Client
from creditshare.client.core import Identity

DataFolder = Annotated[Path, typer.Option("--data", help="Folder of keyring and embedded database.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]
KeyFile = Annotated[Path, typer.Option("--as", help="Your key file (a private JWK that names its member).")]
ServiceUrl = Annotated[str, typer.Option("--url", help="The service's public address.")]

out = Console()


def show(result: dict[str, Any], *, as_json: bool, line: str) -> None:
    """Print a result as JSON for scripts or as a sentence for people."""
    if as_json:
        typer.echo(json.dumps(result))
    else:
        out.print(line, markup=False, highlight=False)


def client(url: str, key_file: Path, *, member_id: str | None = None, sub: str = "cli") -> Client:
    """Open a client for a key file."""
    return Client(url, Identity.from_file(key_file, member_id=member_id, sub=sub))


def write_private(path: Path, content: dict[str, Any], *, replace: bool = False) -> None:
    """Write a private file, mode 0600; an existing one is never overwritten unless asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if replace else os.O_EXCL)
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(content, indent=2) + "\n")
