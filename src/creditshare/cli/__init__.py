"""Commands. ``creditshare --help`` teaches; ``--json`` is for scripts; exit status 0 only when all went well."""

import sys

import typer
from rich.console import Console

from creditshare.cli import erase, imports, keys, lender, members, proofs, service
from creditshare.client.bank import Problem
from creditshare.errors import CreditshareError, Refused

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Competing lenders share default records without exposing who the borrowers are.",
)
app.command("serve")(service.serve)
app.command("worker")(service.worker)
app.command("demo")(service.demo)
app.add_typer(service.db, name="db")
app.add_typer(service.openapi, name="openapi")
app.add_typer(members.operator, name="operator")
app.add_typer(members.member, name="member")
app.add_typer(keys.keys, name="keys")
app.add_typer(erase.erase, name="erase")
app.add_typer(lender.consent, name="consent")
lender.record.command("import", help=imports.HELP)(imports.import_file)
app.add_typer(lender.record, name="record")
app.add_typer(lender.query, name="query")
app.add_typer(proofs.log, name="log")
app.command("verify-evidence")(proofs.verify_evidence)
app.command("call")(lender.call)

EXIT_REFUSED = 1
EXIT_USAGE = 2


def main() -> None:
    """Run the command line; an expected failure is one clear sentence, not a trace."""
    try:
        app()
    except Problem as problem:
        Console(stderr=True).print(f"refused: {problem}", style="red", markup=False, highlight=False)
        sys.exit(EXIT_REFUSED)
    except Refused as refusal:
        hint = f" ({refusal.extra['hint']})" if "hint" in refusal.extra else ""
        Console(stderr=True).print(f"refused: {refusal.code}{hint}", style="red", markup=False, highlight=False)
        sys.exit(EXIT_REFUSED)
    except CreditshareError as error:
        Console(stderr=True).print(f"creditshare: {error}", style="red", markup=False, highlight=False)
        sys.exit(EXIT_USAGE)
