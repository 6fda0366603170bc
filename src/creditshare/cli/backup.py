"""``creditshare backup``: a consistent copy while the service runs, the keys apart from it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from creditshare.cli.options import AsJson, DataFolder, show
from creditshare.operations.backup import back_up
from creditshare.settings import Settings


def backup(
    to: Annotated[Path, typer.Option("--to", help="An empty or new folder for dump and manifest.")],
    data: DataFolder = Path("creditshare-data"),
    keys_to: Annotated[
        Path | None,
        typer.Option(help="Also copy key file, tombstones and address, into this folder.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Back up the database with its log, as of one moment, while the service runs on.

    The key file is left out unless a folder is named for it: without it the dump cannot be read, and with an open one
    beside it everything can. The same folder is accepted only for a key file that is sealed by its passphrase.
    """
    os.environ["CREDITSHARE_DATA"] = str(data)
    manifest = back_up(Settings.read(), to, keys_to=keys_to)
    keys = f"keys in {keys_to}" if keys_to else "WITHOUT the key file: back it up elsewhere, or this cannot be read"
    show(
        {
            "folder": str(to),
            "bytes": manifest.dump_bytes,
            "sha256": manifest.dump_sha256,
            "leaves": manifest.leaves,
            "pending": manifest.pending,
            "keys": None if keys_to is None else str(keys_to),
        },
        as_json=as_json,
        line=f"{manifest.dump_bytes} bytes in {to}, with a log of {manifest.leaves} leaves; {keys}",
    )
