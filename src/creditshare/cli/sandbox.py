"""A sandbox: moving its business time, seeding it. Every command asks the service first; production is refused."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from creditshare.cli.options import AsJson, KeyFile, ServiceUrl, client, out, show
from creditshare.cli.sandbox_seed import require_sandbox, seed

sandbox = typer.Typer(no_args_is_help=True, help="What only a sandbox may do: move its clock, be seeded.")


@sandbox.command("advance")
def advance(
    days: Annotated[int, typer.Option(min=1, max=3_660, help="Whole days to move forward; there is no way back.")],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    as_json: AsJson = False,
) -> None:
    """Move a sandbox's business time forward, signed by an operator: notice windows end, consents expire.

    All workers agree at once, restarts keep it, the log records it. Keys and signatures stay with the real clock.
    """
    with client(url, key_file) as service:
        require_sandbox(service)
        done = service.call("POST", "/v1/sandbox/clock", data={"days": days}).data
    line = f"business time is {done['business_time']}, {done['ahead_days']} days ahead"
    show(done, as_json=as_json, line=line)


@sandbox.command("seed")
def seed_scenarios(
    operators: Annotated[list[Path], typer.Option("--as", help="Both operators' key files: give --as twice.")],
    url: Annotated[str, typer.Option(help="The service's public address.")],
    keys: Annotated[
        Path, typer.Option(help="Folder for the sandbox lenders' key files and for what was seeded.")
    ] = Path("creditshare-sandbox"),
    as_json: AsJson = False,
) -> None:
    """Seed the fixed identifiers as ordinary data: lenders admitted by two operators report them through the API.

    May be repeated and interrupted. scenarios.json in the folder names the consents to ask under.
    """
    if len(operators) != 2:  # noqa: PLR2004  admission takes two people
        raise typer.BadParameter("give --as twice: admission takes two operators", param_hint="--as")
    with client(url, operators[0]) as first, client(url, operators[1]) as second:
        seeded = seed((first, second), keys)
    if as_json:
        show(seeded.document(), as_json=True, line="")
        return
    for line in seeded.lines():
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    out.print(
        f"try: {shlex.join(['creditshare', *seeded.arguments(url)])}", markup=False, highlight=False, soft_wrap=True
    )
