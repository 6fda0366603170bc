"""The command ``demo``."""

import contextlib
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from creditshare.cli.demo.desk import leave_tasks
from creditshare.cli.demo.loans import load_loans, require_file
from creditshare.cli.demo.portfolio import report_portfolios, wait_until_told
from creditshare.cli.demo.stage import operator_files, reachable, service, step, stop_leftovers
from creditshare.cli.demo.story import admit_cast, tell_story
from creditshare.cli.options import out
from creditshare.cli.sandbox_seed import seed
from creditshare.client.bank import Client
from creditshare.client.core import Identity

NEVER_S: Final = "86400"
WORKERS: Final = 2  # while loans are loaded; the story needs one


def demo(
    # Not CREDITSHARE_DATA, as elsewhere: a demo has a folder of its own, whatever a service of this machine uses.
    data: Annotated[Path, typer.Option(help="Folder of the demo's keyring and database.")] = Path("demo-data"),
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 8600,
    once: Annotated[bool, typer.Option("--once", help="End after the story instead of serving on.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Throw away the data of earlier demos first.")] = False,
    loans: Annotated[Path | None, typer.Option(help="File of real loans to load through the API.")] = None,
    lenders: Annotated[str, typer.Option(help="How many of the largest lenders become members, or all.")] = "40",
) -> None:
    """Show the main job with real processes and real requests, then serve on.

    Two operators, five lenders and a regulator act it out; with --loans the lenders of a file load their loans instead.
    """
    if loans is not None:
        require_file(loans)
    # Ends as Ctrl-C does: the service, its worker and the database are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    data = reachable(data.resolve())
    if reset and data.exists():
        stop_leftovers(data)
        shutil.rmtree(data)
    data.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    # Nothing is told while it is being loaded: half of a market would stand as its past.
    with service(data, port, workers=1 if loans is None else WORKERS, reports_every_s=NEVER_S) as url:
        out.print(f"[bold]creditshare[/bold] serves at {url} after {time.monotonic() - began:.1f} s", highlight=False)
        operators = operator_files(data)
        tryout = cast = None
        if loans is not None:
            load_loans(url, operators, data, loans, lenders)
        else:
            cast = admit_cast(url, operators, data)
            tell_story(cast, data)
            records = report_portfolios(cast, seed=(data / "stories").read_text().strip())
            leave_tasks(cast, operators, records)
            tryout = seed_identifiers(url, operators, data)
    with service(data, port, reports_every_s="1") as url:
        if cast is not None:
            wait_until_told(cast)
            out.print(f"\nthe story took {time.monotonic() - began:.1f} s in all", highlight=False)
        if not once:
            keep_serving(url, data, tryout)


def seed_identifiers(url: str, operators: tuple[Path, Path], data: Path) -> list[str]:
    """Seed the fixed identifiers of the sandbox, for trying things out; return a command that asks about one."""
    first, second = (Identity.from_file(file, sub="demo") for file in operators)
    with Client(url, first) as one, Client(url, second) as other:
        seeded = seed((one, other), data / "sandbox")
    step(f"{len(seeded.scenarios)} fixed identifiers are seeded for trying things out; {data / 'sandbox'} lists them")
    return seeded.arguments(url)


def print_links(url: str, keys: Mapping[str, Path]) -> None:
    """Print a link for each kind of user that signs in to the pages, and the command that makes another."""
    out.print("\npages; each link signs in once, within a minute:", highlight=False)
    there = {who: file for who, file in keys.items() if file.exists()}
    for who, file in there.items():
        with Client(url, Identity.from_file(file, sub=f"demo-{who}")) as client:
            link = client.call("POST", "/v1/console-links", data={}).data["url"]
        out.print(f"  {who:13} {link}", markup=False, highlight=False, soft_wrap=True)
    again = shlex.join([sys.executable, "-m", "creditshare", "console", "login"])
    out.print(f"  another one   {again} --url {url} --key one of", markup=False, highlight=False, soft_wrap=True)
    for who, file in there.items():
        out.print(f"  {who:13} {file}", markup=False, highlight=False, soft_wrap=True)


def keep_serving(url: str, data: Path, tryout: list[str] | None) -> None:
    """Print where to go next and serve until interrupted."""
    out.print(
        f"\nserving at {url} until Ctrl-C; {url}/docs describes the API. To try:", highlight=False, soft_wrap=True
    )
    bank, operator, evidence = (
        data / name for name in ("members/harbour-bank.jwk.json", "operator-1.jwk.json", "evidence.json")
    )
    commands = {
        "a bank signs": ["call", "GET", "/v1/me", "--explain", "--as", str(bank), "--url", url]
        if bank.exists()
        else None,
        "a bank asks": tryout,
        "a regulator": ["verify-evidence", str(evidence)] if evidence.exists() else None,
        "an operator": ["member", "list", "--as", str(operator), "--url", url],
    }
    for who, arguments in commands.items():
        if arguments:
            line = shlex.join([sys.executable, "-m", "creditshare", *arguments])
            out.print(f"  {who:13} {line}", markup=False, highlight=False, soft_wrap=True)
    print_links(url, {"regulator": data / "members/regulator.jwk.json", "operator": operator, "bank": bank})
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
