"""Loading a file of real loans through the public API, as the lenders themselves would.

The N largest lenders become members; every loan's borrower is tokenised; each charged-off loan becomes a
default record with its real dates and amounts; each borrower with loans at several of these lenders is
asked about by its other lenders. Nothing that the file does not say is invented: a charge-off is an
``unlikely_to_pay`` default of unknown cause, and rows without a date or an amount go to the error file.
"""

import csv
import gzip
import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from creditshare.cli.admission import admit
from creditshare.cli.demo.stage import step
from creditshare.cli.options import out
from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.crypto import oprf
from creditshare.errors import Unavailable, VerificationFailed
from creditshare.members.service import QUOTAS
from creditshare.settings import Settings

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
PROCESSES: Final = 4
BATCH: Final = oprf.MAX_BATCH
ROWS_AT_ONCE: Final = 2_000
"""Of one file of records: the largest lenders' files shall not keep one process busy while the others are done."""
DEFAULTS: Final = {name: int(Settings.model_fields[name].default) for name in QUOTAS}
CONSENT_TEXT: Final = b"Demonstration: the file holds no consents, so this document stands in for each borrower's."

Loan = dict[str, str]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class Tally:
    """What came of the run."""

    loaded: int = 0
    defaults: set[tuple[str, str]] = field(default_factory=set)  # borrower and lender of each loaded record
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


def load_loans(url: str, operators: tuple[Path, Path], data: Path, path: Path, lenders: str) -> None:
    """Run the whole file through the API and print what came of it."""
    loans = read_loans(path)
    counted = Counter(loan["lender"] for loan in loans)
    wanted = how_many(lenders, len(counted))
    names = [name for name, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:wanted]]
    mine = defaultdict(list)
    for loan in loans:
        mine[loan["lender"]].append(loan)
    chosen = {name: mine[name] for name in names}
    out.print(f"{len(loans):,} loans of {len(counted):,} lenders in the file; source: {SOURCE}", highlight=False)
    began = time.monotonic()
    tally = Tally()
    error_file = data / "loan-errors.ndjson"
    shared = {b: where for b, where in _lenders_of(chosen).items() if len(where) > 1}
    # Spawned, because a fork would share the parent's threads and connections.
    with bar() as progress, ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        crew = Crew(url, progress, pool)
        files = _admit(crew, operators, data, chosen)
        tokens = _tokenise(crew, files, chosen)
        with error_file.open("w") as errors:
            _report(crew, files, chosen, tokens, tally, errors)
        _ask(crew, files, shared, tokens, tally)
    _print_totals(chosen, shared, tally, error_file, time.monotonic() - began)


def how_many(lenders: str, there_are: int) -> int:
    """Return how many lenders become members: the number given, or all."""
    if lenders == "all":
        return there_are
    if not (lenders.isascii() and lenders.isdigit() and int(lenders)):
        raise typer.BadParameter("a number from 1, or all", param_hint="--lenders")
    return min(int(lenders), there_are)


def bar() -> Progress:
    """Return a progress bar that shows count and time."""
    return Progress(
        TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=out
    )


@dataclass(frozen=True, slots=True)
class Crew:
    """Processes that act for one member at a time, as the members' own systems would."""

    url: str
    progress: Progress
    pool: ProcessPoolExecutor

    def each(
        self,
        label: str,
        work: Callable[[str, Path, Sequence[T]], list[R]],
        shares: Iterable[tuple[Path, Sequence[T]]],
        *,
        size: int = BATCH,
    ) -> Iterator[tuple[T, R]]:
        """Do a work on every item of each member's share, in batches, and yield items with results as they come."""
        began = time.monotonic()
        batches = [
            (file, items[start : start + size]) for file, items in shares for start in range(0, len(items), size)
        ]
        total = sum(len(items) for _, items in batches)
        task = self.progress.add_task(label, total=total)
        waiting = {self.pool.submit(work, self.url, file, items): items for file, items in batches}
        for done in as_completed(waiting):
            self.progress.advance(task, len(waiting[done]))
            yield from zip(waiting[done], done.result(), strict=True)
        step(f"{label}: {total:,} in {time.monotonic() - began:.1f} s")


# What runs in the processes: a member's client and a batch of its work.


@cache
def _line(url: str) -> Client:
    return Client(url, None)


@cache
def _client(url: str, key_file: Path) -> Client:
    return _line(url).acting_for(Identity.from_file(key_file, sub="demo"))


@dataclass(frozen=True, slots=True)
class Admission:
    """A lender to be admitted: its name, where its key will lie, and the quotas of its day that must be raised."""

    name: str
    file: Path
    quotas: Mapping[str, int]


def admit_all(url: str, operator: Path, lenders: Sequence[Admission]) -> list[None]:
    """Admit lenders: proposed by the operator of this key file, approved by the one beside it."""
    operators = _client(url, operator), _client(url, operator.with_name("operator-2.jwk.json"))
    for lender in lenders:
        admit(operators, lender.name, "lender", "US", lender.file, lender.quotas)
    return [None] * len(lenders)


def tokenise_all(url: str, key_file: Path, borrowers: Sequence[str]) -> list[dict[str, Any]]:
    """Make the blind tokens of a lender's own borrowers."""
    return _client(url, key_file).tokenise(borrowers)


def report_all(url: str, key_file: Path, due: Sequence[tuple[Loan, dict[str, Any]]]) -> list[str | None]:
    """Report charged-off loans as one file of records; the result is why one could not be, or None."""
    reasons = [lacking(loan) for loan, _ in due]
    sent = [place for place, reason in enumerate(reasons) if reason is None]
    if not sent:
        return reasons
    named = hashlib.sha256(b"|".join(due[place][0]["loan_id"].encode() for place in sent)).hexdigest()
    batch = _client(url, key_file).records.submit_batch(
        (as_record(*due[place]) for place in sent), key=f"loans-{named}"
    )
    if batch.job["status"] != "done":
        raise Unavailable(f"{batch.job['job_id']} failed: {batch.job['code']}")
    for line in batch.errors:
        fields = ",".join(error["pointer"] for error in line["errors"])
        reasons[sent[line["row"] - 1]] = f"validation_failed {fields}" if fields else line["errors"][0]["code"]
    return reasons


def ask_all(url: str, key_file: Path, subjects: Sequence[dict[str, Any]]) -> list[bool | str]:
    """Ask about borrowers under a consent each: whether another lender's default was shown, or the refusal's code."""
    client, purpose = _client(url, key_file), "post_loan_monitoring"
    consents = [
        client.grant_consent(subject, kind="query", purposes=[purpose], scopes=["defaults"], document=CONSENT_TEXT)[
            "consent_id"
        ]
        for subject in subjects
    ]
    questions = [
        {"subject": subject, "purpose": purpose, "consent_id": consent, "scopes": ["defaults"]}
        for subject, consent in zip(subjects, consents, strict=True)
    ]
    results = client.call("POST", "/v1/query-batches", data={"queries": questions})["results"]
    return [one["code"] or bool(one["answer"]["summary"]["open_defaults"]) for one in results]


# The phases, in order.


def _admit(
    crew: Crew, operators: tuple[Path, Path], data: Path, chosen: Mapping[str, Sequence[Loan]]
) -> dict[str, Path]:
    """Admit the lenders, the quotas of the large ones raised by two operators; return each one's key file."""
    needed = {name: 2 * len(loans) + BATCH for name, loans in chosen.items()}
    lenders = {
        name: Admission(
            f"{name[:100]} ({number})",
            data / "loan-members" / f"{number:04d}.jwk.json",
            {quota: needed[name] for quota, default in DEFAULTS.items() if needed[name] > default},
        )
        for number, name in enumerate(chosen)
    }
    everyone = list(lenders.values())
    # A batch is too coarse here: every process shall have its part of even a few lenders.
    shares = [(operators[0], everyone[start::PROCESSES]) for start in range(PROCESSES)]
    for _ in crew.each("lenders admitted", admit_all, shares):
        pass
    raised = sum(bool(lender.quotas) for lender in everyone)
    step(f"quotas of {raised} large lenders raised by two operators")
    return {name: lender.file for name, lender in lenders.items()}


def _tokenise(crew: Crew, files: Mapping[str, Path], chosen: Mapping[str, Sequence[Loan]]) -> dict[str, dict[str, Any]]:
    """Each lender makes the tokens of its own borrowers; equal borrowers must give equal tokens."""
    shares = [(files[name], sorted({loan["borrower_uscc"] for loan in loans})) for name, loans in chosen.items()]
    tokens: dict[str, dict[str, Any]] = {}
    for borrower, token in crew.each("blind tokens", tokenise_all, shares):
        if tokens.setdefault(borrower, token) != token:
            raise VerificationFailed("two lenders made different tokens of one borrower")
    return tokens


def _report(
    crew: Crew,
    files: Mapping[str, Path],
    chosen: Mapping[str, Sequence[Loan]],
    tokens: Mapping[str, dict[str, Any]],
    tally: Tally,
    errors: TextIO,
) -> None:
    """Each lender reports its charged-off loans, in date order."""
    shares = []
    for name, loans in chosen.items():
        off = sorted((loan for loan in loans if loan["status"] == CHARGED_OFF), key=lambda loan: loan["charged_off_on"])
        shares.append((files[name], [(loan, tokens[loan["borrower_uscc"]]) for loan in off]))
    for (loan, _), reason in crew.each("defaults reported", report_all, shares, size=ROWS_AT_ONCE):
        if reason is None:
            tally.loaded += 1
            tally.defaults.add((loan["borrower_uscc"], loan["lender"]))
        else:
            tally.errors[reason] += 1
            errors.write(json.dumps({"loan_id": loan["loan_id"], "reason": reason}) + "\n")


def _ask(
    crew: Crew,
    files: Mapping[str, Path],
    shared: Mapping[str, set[str]],
    tokens: Mapping[str, dict[str, Any]],
    tally: Tally,
) -> None:
    """Each lender of a shared borrower asks about it once; a hit is an answer that shows another lender's default."""
    questions = defaultdict(list)
    for borrower, lenders in sorted(shared.items()):
        for name in sorted(lenders):
            questions[name].append(tokens[borrower])
    shares = [(files[name], subjects) for name, subjects in questions.items()]
    for _, outcome in crew.each("questions of other lenders", ask_all, shares):
        tally.asked += 1
        if isinstance(outcome, str):
            tally.refusals[outcome] += 1
        else:
            tally.hits += outcome


def _lenders_of(chosen: Mapping[str, Sequence[Loan]]) -> dict[str, set[str]]:
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
    chosen: Mapping[str, Sequence[Loan]],
    shared: Mapping[str, set[str]],
    tally: Tally,
    error_file: Path,
    seconds: float,
) -> None:
    loans = [loan for mine in chosen.values() for loan in mine]
    off = [loan for loan in loans if loan["status"] == CHARGED_OFF]
    reporters = defaultdict(set)
    for borrower, lender in tally.defaults:
        reporters[borrower].add(lender)
    expected_hits = sum(bool(reporters[borrower] - {asker}) for borrower, askers in shared.items() for asker in askers)
    lines = {
        "loans of these lenders": len(loans),
        "charged off in the file": len(off),
        "loaded as default records": tally.loaded,
        "in the error file": sum(tally.errors.values()),
        "borrowers with several lenders": len(shared),
        "of them with a default": len(shared.keys() & {loan["borrower_uscc"] for loan in off}),
        "questions asked": tally.asked,
        "answered with another's default": tally.hits,
        "expected of them from the file": expected_hits,
        "refused": sum(tally.refusals.values()),
    }
    for name, number in lines.items():
        out.print(f"  {name:34}{number:>10,}", highlight=False)
    for reason, number in [*tally.errors.items(), *tally.refusals.items()]:
        out.print(f"    {reason:32}{number:>10,}", highlight=False, markup=False)
    exact = tally.loaded + sum(tally.errors.values()) == len(off) and tally.hits == expected_hits
    verdict = "exact" if exact else "WRONG"
    out.print(f"  loaded + errors = charged off, hits as expected: {verdict}", highlight=False)
    out.print(f"  error file {error_file}", highlight=False, soft_wrap=True)
    out.print(f"  {seconds:.1f} s", highlight=False)
    if not exact:
        raise typer.Exit(1)
