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

from creditshare.cli.commands import commands_at
from creditshare.cli.options import (
    EXIT_REFUSED,
    EXIT_UNAVAILABLE,
    EXIT_UNVERIFIED,
    EXIT_USAGE,
    PROFILE_VARIABLE,
    printable,
)
from creditshare.client.problems import Problem
from creditshare.errors import CreditshareError, IntegrityError, Refused, Unavailable, VerificationFailed

app = typer.Typer(
    cls=commands_at(
        {
            "serve": "creditshare.cli.service:serve",
            "worker": "creditshare.cli.service:worker",
            "demo": "creditshare.cli.demo.run:demo",
            "doctor": "creditshare.cli.doctor:doctor",
            "backup": "creditshare.cli.backup:backup",
            "db": "creditshare.cli.service:db",
            "openapi": "creditshare.cli.service:openapi",
            "vectors": "creditshare.cli.vectors:vectors",
            "operator": "creditshare.cli.operators:operator",
            "member": "creditshare.cli.members:member",
            "hand-back": "creditshare.cli.hand_back:hand_back",
            "keys": "creditshare.cli.keys:keys",
            "erase": "creditshare.cli.erase:erase",
            "restore": "creditshare.cli.restore:restore",
            "seals": "creditshare.cli.seals:seals",
            "sandbox": "creditshare.cli.sandbox:sandbox",
            "report": "creditshare.cli.reports:report",
            "warrant": "creditshare.cli.warrants:warrant",
            "consent": "creditshare.cli.lender:consent",
            "record": "creditshare.cli.lender:record",
            "debt": "creditshare.cli.lender:debt",
            "query": "creditshare.cli.lender:query",
            "log": "creditshare.cli.proofs:log",
            "witness": "creditshare.cli.witness:witness",
            "verify-evidence": "creditshare.cli.proofs:verify_evidence",
            "profile": "creditshare.cli.profiles:profile",
            "call": "creditshare.cli.call:call",
            "console": "creditshare.cli.console:console",
        }
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Competing lenders share default records without exposing who the borrowers are.",
    epilog="Exit status: 0 done, 1 refused, 2 wrong command or file, 3 does not verify, 4 service not reachable.",
)


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
