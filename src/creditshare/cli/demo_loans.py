"""Loading a file of real loans through the public API, as the lenders themselves would.

The N largest lenders become members; every loan's borrower is tokenised; each charged-off loan becomes a
default record with its real dates and amounts; each borrower with loans at several of these lenders is
asked about by its other lenders. Nothing that the file does not say is invented: a charge-off is an
``unlikely_to_pay`` default of unknown cause, and rows without a date or an amount go to the error file.
"""

import csv
import gzip
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from creditshare.cli.admission import admit
from creditshare.cli.options import out
from creditshare.client.bank import Client, Problem
from creditshare.client.core import Identity

COLUMNS: Final = (
    "loan_id",
    "borrower_uscc",
    "lender",
    "state",
    "naics",
    "approved_on",
    "disbursed_on",
    "approved_amount",
    "disbursed_amount",
    "status",
    "charged_off_on",
    "charged_off_amount",
    "revolving",
)
SOURCE: Final = (
    "US Small Business Administration, 7(a) and 504 loan data released under FOIA, published with Li, Mickel and"
    " Taylor, Journal of Statistics Education 26(1), 2018"
)
CHARGED_OFF: Final = "CHGOFF"
THREADS: Final = 4
CONSENT_TEXT: Final = b"Demonstration: the file holds no consents, so this document stands in for each borrower's."

Loan = dict[str, str]


@dataclass(slots=True)
class Tally:
    """What came of the run."""

    loaded: int = 0
    asked: int = 0
    hits: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


def require_file(path: Path) -> None:
    """End with status 2, naming the public source and the columns, if there is no such file."""
    if not path.exists():
        typer.echo(f"there is no file {path}. The data: {SOURCE}.\nColumns needed: {', '.join(COLUMNS)}", err=True)
        raise typer.Exit(2)


def read_loans(path: Path) -> list[Loan]:
    """Read the file, plain or gzipped; a missing column is named."""
    opener: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            typer.echo(f"{path} lacks the columns {', '.join(missing)}. The data: {SOURCE}.", err=True)
            raise typer.Exit(2)
        return list(reader)


def load_loans(url: str, operators: tuple[Identity, Identity], data: Path, path: Path, lenders: str) -> None:
    """Run the whole file through the API and print what came of it."""
    from creditshare.cli.demo import step  # noqa: PLC0415  the story and this module need each other's parts

    loans = read_loans(path)
    counted = Counter(loan["lender"] for loan in loans)
    wanted = len(counted) if lenders == "all" else int(lenders)
    names = [name for name, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:wanted]]
    mine = defaultdict(list)
    for loan in loans:
        mine[loan["lender"]].append(loan)
    chosen = {name: mine[name] for name in names}
    out.print(f"{len(loans):,} loans of {len(counted):,} lenders in the file; source: {SOURCE}", highlight=False)
    began = time.monotonic()
    tally = Tally()
    with Client(url, operators[0]) as first, Client(url, operators[1]) as second:
        members = {
            name: admit(
                (first, second),
                f"{name[:100]} ({number})",
                "lender",
                "US",
                data / "loan-members" / f"{number:04d}.jwk.json",
                evaluations_per_day=2 * len(chosen[name]) + 256,
            )
            for number, name in enumerate(names)
        }
    step(f"{len(members)} lenders admitted in {time.monotonic() - began:.1f} s, budgets raised by two operators")
    error_file = data / "loan-errors.ndjson"
    with bar() as progress, ThreadPoolExecutor(THREADS) as pool, error_file.open("w") as errors:
        clients = {name: Client(url, identity) for name, identity in members.items()}
        tokens = _tokenise(progress, pool, clients, chosen)
        _report(progress, pool, clients, chosen, tokens, tally, errors)
        asked = {b for b, where in _lenders_of(chosen).items() if len(where) > 1}
        _ask(progress, pool, clients, _lenders_of(chosen), tokens, asked, tally)
        for client in clients.values():
            client.close()
    _print_totals(chosen, asked, tally, error_file, time.monotonic() - began)


def bar() -> Progress:
    """Return a progress bar that shows count and time."""
    return Progress(
        TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=out
    )


def _tokenise(
    progress: Progress, pool: ThreadPoolExecutor, clients: dict[str, Client], chosen: dict[str, list[Loan]]
) -> dict[str, dict[str, Any]]:
    """Each lender makes the tokens of its own borrowers; equal borrowers must give equal tokens."""
    task = progress.add_task("blind tokens", total=sum(len(loans) for loans in chosen.values()))
    tokens: dict[str, dict[str, Any]] = {}

    def one(name: str) -> None:
        borrowers = sorted({loan["borrower_uscc"] for loan in chosen[name]})
        for start in range(0, len(borrowers), 256):
            batch = borrowers[start : start + 256]
            for borrower, token in zip(batch, clients[name].tokenise(batch), strict=True):
                if tokens.setdefault(borrower, token) != token:
                    raise ValueError("two lenders made different tokens of one borrower")
        progress.advance(task, len(chosen[name]))

    list(pool.map(one, chosen))
    return tokens


def _report(
    progress: Progress,
    pool: ThreadPoolExecutor,
    clients: dict[str, Client],
    chosen: dict[str, list[Loan]],
    tokens: dict[str, dict[str, Any]],
    tally: Tally,
    errors: Any,
) -> None:
    """Report every charged-off loan, in date order."""
    due = [(name, loan) for name, loans in chosen.items() for loan in loans if loan["status"] == CHARGED_OFF]
    due.sort(key=lambda pair: pair[1]["charged_off_on"])
    task = progress.add_task("defaults reported", total=len(due))

    def one(pair: tuple[str, Loan]) -> tuple[Loan, str | None]:
        name, loan = pair
        missing = lacking(loan)
        if missing is None:
            try:
                body = as_record(loan, tokens[loan["borrower_uscc"]])
                clients[name].call("POST", "/v1/records", data=body, key=f"loan-{loan['loan_id']}")
            except Problem as problem:
                fields = [error["pointer"] for error in problem.document.get("errors", [])]
                missing = problem.code + (f" {','.join(fields)}" if fields else "")
        progress.advance(task)
        return loan, missing

    for loan, reason in pool.map(one, due):
        if reason is None:
            tally.loaded += 1
        else:
            tally.errors[reason] += 1
            errors.write(json.dumps({"loan_id": loan["loan_id"], "reason": reason}) + "\n")


def _ask(
    progress: Progress,
    pool: ThreadPoolExecutor,
    clients: dict[str, Client],
    lenders_of: dict[str, set[str]],
    tokens: dict[str, dict[str, Any]],
    asked: Iterable[str],
    tally: Tally,
) -> None:
    """Each lender of a shared borrower asks about it once; a hit is an answer that shows another lender's default."""
    questions = [(borrower, name) for borrower in sorted(asked) for name in sorted(lenders_of[borrower])]
    task = progress.add_task("questions of other lenders", total=len(questions))

    def one(question: tuple[str, str]) -> bool | str:
        borrower, name = question
        client, subject = clients[name], tokens[borrower]
        try:
            consent = client.grant_consent(
                subject, kind="query", purposes=["post_loan_monitoring"], scopes=["defaults"], document=CONSENT_TEXT
            )
            answer = client.query(subject, purpose="post_loan_monitoring", consent_id=str(consent["consent_id"]))
        except Problem as problem:
            return problem.code
        finally:
            progress.advance(task)
        return bool(answer.data["summary"]["open_defaults"])

    for outcome in pool.map(one, questions):
        tally.asked += 1
        if isinstance(outcome, str):
            tally.refusals[outcome] += 1
        else:
            tally.hits += outcome


def _lenders_of(chosen: dict[str, list[Loan]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for name, loans in chosen.items():
        for loan in loans:
            found[loan["borrower_uscc"]].add(name)
    return found


def lacking(loan: Loan) -> str | None:
    """Say which required fact a charged-off loan's row does not give."""
    needed = {
        "no_charge_off_date": loan["charged_off_on"],
        "no_charge_off_amount": loan["charged_off_amount"],
        "no_opening_date": loan["disbursed_on"] or loan["approved_on"],
        "no_amount": loan["disbursed_amount"] or loan["approved_amount"],
    }
    return next((reason for reason, value in needed.items() if not value), None)


def as_record(loan: Loan, subject: dict[str, Any]) -> dict[str, Any]:
    """Return a charged-off loan as a default record, with what the row says and nothing else."""
    body: dict[str, Any] = {
        "subject": subject,
        "role": "borrower",
        "account_ref": loan["loan_id"],
        "product": "revolving" if loan["revolving"] == "Y" else "term_loan",
        "currency": "USD",
        "original_amount": money(loan["disbursed_amount"] or loan["approved_amount"]),
        "opened_on": loan["disbursed_on"] or loan["approved_on"],
        "default_on": loan["charged_off_on"],
        "written_off_on": loan["charged_off_on"],
        "written_off_amount": money(loan["charged_off_amount"]),
        "default_reason": "unlikely_to_pay",
        "cause": "unknown",
        "region": {"scheme": "ISO 3166-2", "code": f"US-{loan['state']}" if loan["state"] else "US"},
        "lawful_basis": "public_record",
        "public_ref": f"SBA FOIA loan data, row {loan['loan_id']}",
    }
    if loan["naics"] not in {"", "0"}:
        body["industry"] = {"scheme": "NAICS", "code": loan["naics"]}
    return body


def money(text: str) -> str:
    """Return the file's amount as a decimal string with cents."""
    whole, _, cents = text.partition(".")
    return f"{whole}.{(cents + '00')[:2]}"


def _print_totals(
    chosen: dict[str, list[Loan]], shared: set[str], tally: Tally, error_file: Path, seconds: float
) -> None:
    loans = [loan for mine in chosen.values() for loan in mine]
    off = [loan for loan in loans if loan["status"] == CHARGED_OFF]
    defaulted = {loan["borrower_uscc"] for loan in off}
    requests = tally.loaded + 2 * tally.asked + len(loans) // 256
    lines = {
        "loans of these lenders": len(loans),
        "charged off in the file": len(off),
        "loaded as default records": tally.loaded,
        "in the error file": sum(tally.errors.values()),
        "borrowers with several lenders": len(shared),
        "of them with a default": len(shared & defaulted),
        "questions asked": tally.asked,
        "answered with another's default": tally.hits,
        "refused": sum(tally.refusals.values()),
    }
    for name, number in lines.items():
        out.print(f"  {name:34}{number:>10,}", highlight=False)
    for reason, number in [*tally.errors.items(), *tally.refusals.items()]:
        out.print(f"    {reason:32}{number:>10,}", highlight=False, markup=False)
    balance = "exact" if tally.loaded + sum(tally.errors.values()) == len(off) else "WRONG"
    out.print(f"  loaded + errors = charged off: {balance}; error file {error_file}", highlight=False)
    out.print(f"  {seconds:.1f} s, {requests / seconds:.0f} requests a second", highlight=False)
    if balance != "exact":
        raise typer.Exit(1)
