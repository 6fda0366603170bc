"""Commands. ``creditshare --help`` teaches; ``--json`` is for scripts.

Exit statuses are stable: 0 all went well · 1 the service refused, or a check that was asked for found a difference ·
2 the command, a file or the settings are wrong · 3 a signature, proof or pinned key does not hold · 4 the service
cannot be reached or cannot answer now. With ``--json`` a failure is one JSON object on standard error.
"""

import json
import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from creditshare.cli import (
    erase,
    imports,
    keys,
    lender,
    members,
    profiles,
    proofs,
    restore,
    sandbox,
    seals,
    service,
    vectors,
)
from creditshare.cli.backup import backup
from creditshare.cli.call import call
from creditshare.cli.demo.run import demo
from creditshare.cli.doctor import doctor
from creditshare.cli.options import PROFILE_VARIABLE, printable
from creditshare.client.bank import Problem
from creditshare.errors import CreditshareError, IntegrityError, Refused, Unavailable, VerificationFailed

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Competing lenders share default records without exposing who the borrowers are.",
    epilog="Exit status: 0 done, 1 refused, 2 wrong command or file, 3 does not verify, 4 service not reachable.",
)
app.command("serve")(service.serve)
app.command("worker")(service.worker)
app.command("demo")(demo)
app.command("doctor")(doctor)
app.command("backup")(backup)
app.add_typer(service.db, name="db")
app.add_typer(service.openapi, name="openapi")
app.add_typer(vectors.vectors, name="vectors")
app.add_typer(members.operator, name="operator")
app.add_typer(members.member, name="member")
app.add_typer(keys.keys, name="keys")
app.add_typer(erase.erase, name="erase")
app.add_typer(restore.restore, name="restore")
app.add_typer(seals.seals, name="seals")
app.add_typer(sandbox.sandbox, name="sandbox")
app.add_typer(lender.consent, name="consent")
lender.record.command("import", help=imports.HELP)(imports.import_file)
app.add_typer(lender.record, name="record")
app.add_typer(lender.query, name="query")
app.add_typer(proofs.log, name="log")
app.command("verify-evidence")(proofs.verify_evidence)
app.add_typer(profiles.profile, name="profile")
app.command("call")(call)

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNVERIFIED = 3
EXIT_UNAVAILABLE = 4


@app.callback()
def choose_profile(
    profile: Annotated[
        str | None, typer.Option(help="Sign as this profile says, instead of --as and --url.", envvar=PROFILE_VARIABLE)
    ] = None,
) -> None:
    """Competing lenders share default records without exposing who the borrowers are."""
    if profile:
        os.environ[PROFILE_VARIABLE] = profile


def main() -> None:
    """Run the command line; an expected failure is one clear sentence, not a trace."""
    try:
        app()
    except (Problem, CreditshareError) as error:
        fail(error)


def fail(error: Problem | CreditshareError) -> None:
    """Say why a command failed and end the process with the status of that kind of failure."""
    match error:
        case Problem():
            _end(f"refused: {error}", code=error.code, status=EXIT_REFUSED)
        case Refused():
            hint = f" ({error.extra['hint']})" if "hint" in error.extra else ""
            _end(f"refused: {error.code}{hint}", code=error.code, status=EXIT_REFUSED)
        case VerificationFailed() | IntegrityError():
            _end(f"does not verify: {error}", code="verification_failed", status=EXIT_UNVERIFIED)
        case Unavailable():
            _end(f"creditshare: {error}", code="unavailable", status=EXIT_UNAVAILABLE)
        case _:
            _end(f"creditshare: {error}", code="usage", status=EXIT_USAGE)


def _end(sentence: str, *, code: str, status: int) -> None:
    if "--json" in sys.argv:
        sys.stderr.write(json.dumps({"error": code, "detail": sentence, "status": status}) + "\n")
    else:
        Console(stderr=True).print(printable(sentence), style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(status)
