"""Writing the protocol's vectors: ``vectors export``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from creditshare.app import write_json
from creditshare.cli.exchange_vectors import make_vectors
from creditshare.cli.options import out

vectors = typer.Typer(no_args_is_help=True, help="One complete exchange under fixed keys, for other implementations.")


@vectors.callback()
def _group() -> None:
    """Keep ``export`` a command of its own, although it is the only one."""


@vectors.command("export")
def export(
    folder: Annotated[Path, typer.Option(help="Folder of the committed files.")] = Path("docs/vectors"),
    check: Annotated[bool, typer.Option("--check", help="Only compare; status 1 where they differ.")] = False,
) -> None:
    """Write the files that docs/protocol.md explains, or check that the committed ones are what the code makes."""
    made = make_vectors()
    if not check:
        for name, document in made.items():
            write_json(folder / name, document)
        out.print(f"{len(made)} files in {folder}", markup=False, highlight=False)
        return
    wrong = {path.name for path in folder.glob("*.json")} ^ made.keys()
    wrong |= {name for name in made.keys() - wrong if json.loads((folder / name).read_text()) != made[name]}
    if wrong:
        names = ", ".join(sorted(wrong))
        out.print(f"not what the code makes: {names}; if it should be, run `creditshare vectors export`", markup=False)
        raise typer.Exit(1)
