"""A witness of your own: for members and regulators, on a machine that the service's operator does not rule."""

from pathlib import Path
from typing import Annotated, Final

import typer

from creditshare.cli.options import AsJson, out, show
from creditshare.witness.folder import Folder

IDLE_S: Final = 60
HEADER_S: Final = 10.0
HEADER_BYTES: Final = 16_384

WitnessFolder = Annotated[Path, typer.Argument(help="The witness's folder.", file_okay=False)]

witness = typer.Typer(
    no_args_is_help=True, help="Cosign a log's checkpoints, so that it can show nobody another past than it showed you."
)


@witness.command("new")
def new(
    folder: WitnessFolder,
    name: Annotated[str, typer.Option(help="Its name for ever, such as witness.bank.example/1.")],
    as_json: AsJson = False,
) -> None:
    """Make a witness. Its verifier key is for the logs that ask it and for whoever relies on it."""
    vkey = Folder.create(folder, name=name).cosigner.witness.vkey
    show({"vkey": vkey}, as_json=as_json, line=vkey)


@witness.command("trust")
def trust(
    folder: WitnessFolder,
    vkey: Annotated[str, typer.Argument(help="The log's verifier key, as you know it from elsewhere.")],
    as_json: AsJson = False,
) -> None:
    """Cosign this log from now on; a running witness sees it at once."""
    verifier = Folder(folder).trust(vkey)
    show({"origin": verifier.name}, as_json=as_json, line=f"trusted: {verifier.name}")


@witness.command("serve")
def serve(
    folder: WitnessFolder,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8010,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Answer logs that ask for cosignatures, until stopped. What it cosigned is stored before it answers."""
    import functools  # noqa: PLC0415  the server, which no other command of a witness needs

    import uvicorn  # noqa: PLC0415

    from creditshare.api.connection import BoundedProtocol  # noqa: PLC0415
    from creditshare.clock import SystemClock  # noqa: PLC0415
    from creditshare.telemetry import configure_logging  # noqa: PLC0415
    from creditshare.witness.server import create_witness  # noqa: PLC0415

    configure_logging()
    held = Folder(folder)
    if not held.logs():
        out.print("this witness trusts no log yet: creditshare witness trust", style="yellow")
    uvicorn.run(
        create_witness(held, SystemClock()),
        host=host,
        port=port,
        http=functools.partial(  # type: ignore[arg-type]  # uvicorn calls it like the class it asks for
            BoundedProtocol, header_time_limit_s=HEADER_S, max_header_bytes=HEADER_BYTES
        ),
        access_log=False,
        server_header=False,
        log_config=None,
        log_level="warning",
        timeout_keep_alive=IDLE_S,
    )


@witness.command("status")
def status(folder: WitnessFolder, as_json: AsJson = False) -> None:
    """Show its key, the logs it trusts, and what it cosigned last of each."""
    held = Folder(folder)
    logs = [
        {"origin": origin, "size": size, "contradictions": contradictions}
        for origin, size, contradictions in held.held()
    ]
    vkey = held.cosigner.witness.vkey
    lines = [vkey, *(f"{one['origin']}: {one['size']} leaves, {one['contradictions']} contradictions" for one in logs)]
    show({"vkey": vkey, "trusted": sorted(held.logs()), "held": logs}, as_json=as_json, line="\n".join(lines))


@witness.command("contradictions")
def contradictions(folder: WitnessFolder, origin: Annotated[str, typer.Argument(help="The log's origin.")]) -> None:
    """Print what a log signed that cannot be, and what this witness holds: together they show it to anybody."""
    held = Folder(folder)
    for note in (held.newest(origin), *held.contradictions(origin)):
        if note is not None:
            typer.echo(note)
