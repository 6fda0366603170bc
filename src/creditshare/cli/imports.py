"""``record import``: a lender's file of defaults into records, as often as it likes.

First every row is checked, then the good ones are sent. Reading, asking and sending stand here; what a row means
and how it stands to a record is decided in ``client/importing.py``.
"""

import contextlib
import json
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from threading import Event
from typing import Annotated, Any, Final, Literal, TypeVar

import httpx
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.prompt import Confirm, Prompt

from creditshare.cli.import_files import ErrorFile, SourceFile, State, read_layout
from creditshare.cli.options import AsJson, KeyFile, ServiceUrl, client, out, printable
from creditshare.client.bank import Client, Problem
from creditshare.client.importing import Comparison, Digests, Layout, Tally, compare
from creditshare.client.record_form import CodeLists, Row, pointer, read_record
from creditshare.client.resources import Batch
from creditshare.crypto import oprf
from creditshare.errors import ConfigurationError, FieldError, Unavailable
from creditshare.wire.reasons import REASONS

A = TypeVar("A")

GROUP: Final = 4 * oprf.MAX_BATCH
"""Rows of one file of records: its tokens take four calls, and some seconds of the worker's time."""
HALTING: Final = frozenset({"member_suspended", "role_forbidden", "key_version_retired", "suite_unknown"})
"""Refusals that every further row would meet as well; so would those of status 401, 429 and 5xx."""
DONE: Final = frozenset({"sent", "unchanged", "corrected"})
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130

HELP: Final = """Report every default of a file; again, and only news is sent.

First every row is checked; nothing is sent before the last one was.
Rows that fail are left out and named in the error file (row, field, code,
what was expected; never a value), the others are sent. On a terminal you
are asked first (--yes: not asked). Rows count from 1, without the header,
in the error file too.

Rows are sent as files of records (POST /v1/record-batches): one signed
request for --rows-at-once of them, judged one by one by the service. With
--dry-run the service judges them too and takes none in; like sending,
this uses up one evaluation of your daily budget for each row.

Columns are named like the fields of POST /v1/records, nested ones with a
dot (region.code), and one of uscc, cnid or lei, which is blinded here and
never leaves this machine. Other columns need a mapping file:

\b
  encoding = "gb18030"     # default utf-8
  delimiter = ";"          # default ,
  \\[fields]
  uscc = "credit code"     # a column; below: constants, your codes,
  currency = { constant = "CNY" }         # dates, amounts, defaults
  product = { column = "kind", codes = { TL = "term_loan" } }
  opened_on = { column = "opened", date = "%d/%m/%Y" }
  original_amount = { column = "amount", decimal = "," }
  cause = { column = "cause", default = "unknown" }
  "region.scheme" = { constant = "ISO 3166-2" }
  "region.code" = { column = "state", prefix = "US-" }

A .parquet file needs the extra creditshare\\[parquet]; its dates, numbers
and nulls are read as what they are, its nested columns as region.code.

A row whose account is reported already is compared with your record.
Equal: unchanged. Different: shown, and sent as a correction once you
confirm. An empty cell says that the field is empty; a field that the file
does not have is left as it is.

Interrupt it (Ctrl-C) and run it again: it goes on where it stopped, by
FILE.import-state, which holds keyed digests and record ids only. What is
under way is awaited; a second Ctrl-C does not wait for it.

Exit status: 0 all went well; 1 a row failed, was not confirmed or not
sent; 2 the file or its mapping cannot be used; 130 interrupted.
"""

screen = Console(stderr=True)


class CorrectionMode(StrEnum):
    """What to do with a row that differs from its record."""

    ASK = "ask"
    YES = "yes"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Job:
    """A row to be settled, and the record that it is known to have become."""

    row: Row
    content: bytes
    record_id: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a row."""

    kind: Literal["sent", "unchanged", "corrected", "different", "refused", "not_sent"]
    record_id: str = ""
    comparison: Comparison | None = None
    code: str = ""
    errors: tuple[FieldError, ...] = ()


@dataclass(slots=True)
class Run:
    """One import under way."""

    source: SourceFile
    layout: Layout
    lists: CodeLists
    digests: Digests
    state: State
    errors: ErrorFile
    tally: Tally = field(default_factory=Tally)
    today: Any = field(default_factory=lambda: datetime.now(UTC).date())

    def rows(self, at: Callable[[int], object]) -> Iterator[tuple[int, Row | tuple[FieldError, ...]]]:
        """Read the file once more: each row as it may be sent, or all that is wrong with it."""
        for number, raw in self.source.rows(at):
            if isinstance(raw, FieldError):
                yield number, (raw,)
                continue
            values, unread = self.layout.values(raw)
            row = read_record(number, values, lists=self.lists, today=self.today)
            if unread or not isinstance(row, Row):
                named = {one.pointer for one in unread}
                further = () if isinstance(row, Row) else tuple(one for one in row if one.pointer not in named)
                yield number, (*unread, *further)
            elif (first := self.state.first_row(self.digests.account(row), number)) != number:
                detail = f"an account and role once in the file; row {first} has them too"
                yield number, (FieldError("/account_ref", "duplicate", detail),)
            else:
                yield number, row

    def fail(self, number: int, errors: tuple[FieldError, ...]) -> None:
        """Note what is wrong with a row."""
        for error in errors:
            self.tally.reasons[error.code] += 1
            self.errors.write(number, error)


def import_file(
    file: Annotated[
        Path, typer.Argument(help="CSV (with a header) or NDJSON, also .gz; or Parquet.", show_default=False)
    ],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    mapping: Annotated[Path | None, typer.Option(help="TOML or JSON: which column is which field; see below.")] = None,
    errors: Annotated[Path | None, typer.Option(help="Error file; default FILE.errors.ndjson.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every row, here and at the service.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before sending when some rows failed.")] = False,
    corrections: Annotated[
        CorrectionMode, typer.Option(help="Rows that differ from their record. Without a terminal, ask means no.")
    ] = CorrectionMode.ASK,
    reason: Annotated[str, typer.Option(help="Why they differ: a code of correction_reasons.")] = "other",
    rows_at_once: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of one signed request.")] = GROUP,
    parallel: Annotated[int, typer.Option(min=1, max=32, help="Requests under way at once.")] = 4,
    as_json: AsJson = False,
) -> None:
    """Report every default of a file (the help text is ``HELP``)."""
    began = time.monotonic()
    layout = read_layout(mapping)
    with contextlib.ExitStack() as open_now:
        # A pilot-region code is counted in the summary instead.
        open_now.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="a pilot-region code")
        source = SourceFile(file, layout)
        open_now.callback(source.close)
        service = open_now.enter_context(client(url, key_file))
        # Public and unsigned; the service checks every code again.
        lists: CodeLists = service.document("/v1/code-lists")
        if reason not in lists["correction_reasons"]:
            raise ConfigurationError(f"--reason is one of {', '.join(lists['correction_reasons'])}")
        state_file = None if dry_run else file.with_name(file.name + ".import-state")
        run = Run(
            source,
            layout,
            lists,
            Digests.of(service.session.signer, service.issuer),
            open_now.enter_context(State(state_file)),
            ErrorFile(errors or file.with_name(file.name + ".errors.ndjson")),
        )
        open_now.callback(run.errors.close)
        _validate(run)
        sending = None
        if run.tally.valid and _agreed(run, ask=not yes and not dry_run):
            mode = CorrectionMode.NO if dry_run else _mode(corrections)
            orders = Orders(mode, reason, dry_run=dry_run, rows_at_once=rows_at_once, parallel=parallel)
            sending = Sending(run, service, orders)
            sending.send()
        else:
            run.tally.not_sent = run.tally.valid
        if sending is not None and not sending.stopped:
            run.state.finish()
    _summarise(run, sending, seconds=time.monotonic() - began, dry_run=dry_run, as_json=as_json)


def _validate(run: Run) -> None:
    """First pass: check every row, send nothing."""
    with _bar(TextColumn("{task.fields[rows]:,} rows")) as progress:
        task = progress.add_task("checking", total=run.source.size, rows=0)
        for number, row in run.rows(lambda at: progress.update(task, completed=at, rows=run.tally.read)):
            run.tally.read += 1
            if isinstance(row, Row):
                run.tally.doubtful_identifiers += row.doubtful_identifier
            else:
                run.tally.invalid += 1
                run.fail(number, row)
        progress.update(task, rows=run.tally.read)
    run.errors.flush()


def _agreed(run: Run, *, ask: bool) -> bool:
    """Ask, where somebody is there to answer, whether to send the good rows of a file that has bad ones."""
    if not ask or not run.tally.invalid or not _somebody_there():
        return True
    reasons = ", ".join(f"{code} {count:,}" for code, count in run.tally.reasons.most_common())
    screen.print(f"{run.tally.invalid:,} of {run.tally.read:,} rows failed ({reasons}); see {run.errors.path}")
    return Confirm.ask(f"Send the other {run.tally.valid:,}?", console=screen, default=False)


def _mode(chosen: CorrectionMode) -> CorrectionMode:
    return CorrectionMode.NO if chosen is CorrectionMode.ASK and not _somebody_there() else chosen


def _somebody_there() -> bool:
    return sys.stdin.isatty() and screen.is_terminal


class RateColumn(ProgressColumn):
    """Rows a second, as far as that can be said."""

    def render(self, task: Task) -> str:
        """Return the text of one bar."""
        return f"{task.speed or 0:.0f} rows/s"


def _bar(*columns: ProgressColumn) -> Progress:
    first, last = (TextColumn("{task.description:10}"), BarColumn()), (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*first, *columns, *last, console=screen, disable=not screen.is_terminal)


@dataclass(frozen=True, slots=True)
class Orders:
    """How the rows are to be sent."""

    mode: CorrectionMode
    reason: str
    dry_run: bool
    rows_at_once: int
    parallel: int


class Sending:
    """The second pass: groups of rows, several at once, settled in the file's order.

    New rows of a group go as one file of records. The service's errors and records are told apart by their place in
    that file; here they get the numbers of the lender's own rows again.
    """

    def __init__(self, run: Run, service: Client, orders: Orders) -> None:
        self._run = run
        self._service = service
        self._orders = orders
        self._mode = orders.mode
        self._name = ""
        self._stop = Event()
        self._abandoned = Event()  # by a second interrupt: what is under way is not awaited either
        self._broken = Event()
        self._no_tokens = False
        self._asking = False
        self.interrupted = False
        self.halted_by = ""

    @property
    def stopped(self) -> bool:
        """Whether rows were left for another run."""
        return self._stop.is_set() or self._no_tokens

    def send(self) -> None:
        """Send every good row that is not done yet, until the end or until something stops it."""
        label = "trying" if self._orders.dry_run else "sending"
        self._name = self._run.state.name  # the state is this thread's own
        with (
            self._interruptible(),
            ThreadPoolExecutor(self._orders.parallel) as pool,
            _bar(MofNCompleteColumn(), RateColumn()) as progress,
        ):
            task = progress.add_task(label, total=self._run.tally.valid)
            waiting: deque[tuple[list[Job], Future[list[Outcome]]]] = deque()

            def settle_down_to(limit: int) -> None:
                while len(waiting) > limit or (waiting and waiting[0][1].done()):
                    jobs, outcomes = waiting.popleft()
                    self._settle_group(progress, jobs, outcomes.result())

            def advance(count: int) -> None:
                progress.advance(task, count)

            try:
                for group in self._groups(advance):
                    settle_down_to(self._orders.parallel - 1)
                    if self.stopped:
                        break
                    waiting.append((group, pool.submit(self._deal, group, advance)))
                settle_down_to(0)
                self._run.tally.not_sent += self._run.tally.valid - self._run.tally.settled
            except BaseException:
                self._stop.set()
                raise

    def _groups(self, advance: Callable[[int], None]) -> Iterator[list[Job]]:
        """Yield the good rows that are not done yet, in the file's order; all but the last group are of one size.

        So an interrupted import forms the same groups again, and a file of records that was sent already is known by
        its key.
        """
        group: list[Job] = []
        for _, row in self._run.rows(lambda _: None):
            if self.stopped:
                return
            if not isinstance(row, Row):
                continue
            job = self._prepare(row)
            if job is None:
                self._run.tally.done_before += 1
                advance(1)
                continue
            group.append(job)
            if len(group) == self._orders.rows_at_once:
                yield group
                group = []
        if group:
            yield group

    def _prepare(self, row: Row) -> Job | None:
        content = self._run.digests.content(row)
        known = self._run.state.find(content)
        if known is None:
            return Job(row, content)
        record_id, in_this_run = known
        return None if in_this_run else Job(row, content, record_id)

    def _deal(self, group: list[Job], advance: Callable[[int], None]) -> list[Outcome]:
        """Find out what came of each row of a group: compared where its record is known, else reported."""
        outcomes: dict[int, Outcome] = {}
        new: list[Job] = []
        for job in group:
            outcome = None if job.record_id is None else self._attempt(partial(self._compare_if_kept, job))
            if outcome is None:
                new.append(job)
            else:
                outcomes[job.row.number] = outcome
                advance(1)
        outcomes |= self._report(new, advance)
        return [outcomes.get(job.row.number, Outcome("not_sent")) for job in group]

    def _compare_if_kept(self, job: Job) -> Outcome | None:
        try:
            return self._compare(job, job.record_id or "")
        except Problem as problem:
            # An erased record stays erased; one that this service never had is reported.
            if problem.code != "not_found":
                raise
        return None

    def _report(self, jobs: list[Job], advance: Callable[[int], None]) -> dict[int, Outcome]:
        """Send rows as one file of records and return what came of each, by its number."""
        due = self._with_tokens(jobs)
        if not due or self._stop.is_set():
            return {}
        seen = 0

        def told(job: Mapping[str, Any]) -> None:
            nonlocal seen
            if self._abandoned.is_set():
                raise Unavailable("not awaited")
            dealt = int(job["accepted"]) + int(job["refused"])
            advance(dealt - seen)
            seen = dealt

        try:
            answer = self._service.records.start_batch(
                ({**job.row.body, "subject": token} for job, token in due),
                dry_run=self._orders.dry_run,
                key=self._key(due),
            )
            batch = self._service.records.follow(str(answer["job_id"]), told=told)
        except (Problem, Unavailable) as error:
            self._halt(str(error))
            return {}
        if batch.job["status"] == "failed":
            self._broken.set()
            self._halt(f"the service ended a file of records: {batch.job['code']}")
        again = answer.headers.get("idempotent-replayed") == "true"
        return self._read(due, batch, again=again)

    def _read(self, due: list[tuple[Job, dict[str, Any]]], batch: Batch, *, again: bool) -> dict[int, Outcome]:
        """Return what a file's end says of each row; one that was not dealt with is left out."""
        outcomes: dict[int, Outcome] = {}
        for place, record_id in batch.record_ids.items():
            job = due[place - 1][0]
            # A file told of again is as old as the first time: a record may have been corrected since.
            compared = partial(self._compare, job, record_id)
            outcomes[job.row.number] = self._attempt(compared) if again else Outcome("sent", record_id)
        for line in batch.errors:
            job = due[line["row"] - 1][0]
            reported = next((str(one["record_id"]) for one in line["errors"] if "record_id" in one), None)
            compared = partial(self._compare, job, reported or "")
            outcomes[job.row.number] = _refusal(line["errors"]) if reported is None else self._attempt(compared)
        return outcomes

    def _key(self, due: list[tuple[Job, dict[str, Any]]]) -> str:
        token = due[0][1]
        version = f"{token['suite']}/{token['key_version']}"
        return self._run.digests.idempotency_key(self._name, version, [job.content for job, _ in due])

    def _with_tokens(self, jobs: list[Job]) -> list[tuple[Job, dict[str, Any]]]:
        """Make the blind tokens of rows, as few calls as can be.

        Where that fails the rows before are still sent: a spent budget of evaluations is no reason to drop them.
        """
        due: list[tuple[Job, dict[str, Any]]] = []
        for start in range(0, len(jobs), oprf.MAX_BATCH):
            part = jobs[start : start + oprf.MAX_BATCH]
            if self._stop.is_set():
                return []
            tokens: dict[int, dict[str, Any]] = {}
            try:
                for id_type in sorted({job.row.id_type for job in part}):
                    alike = [job.row for job in part if job.row.id_type == id_type]
                    made = self._service.tokenise([row.identifier for row in alike], id_type=id_type)
                    tokens |= {row.number: token for row, token in zip(alike, made, strict=True)}
            except (Problem, Unavailable) as error:
                self._no_tokens = True
                self.halted_by = self.halted_by or str(error)
            due += [(job, tokens[job.row.number]) for job in part if job.row.number in tokens]
            if self._no_tokens:
                break
        return due

    def _attempt(self, act: Callable[[], A]) -> A | Outcome:
        """Do something with the service; whatever it refuses becomes an outcome, or stops the run."""
        if self._stop.is_set():
            return Outcome("not_sent")
        try:
            return act()
        except Problem as problem:
            status = int(problem.document.get("status", httpx.codes.INTERNAL_SERVER_ERROR))
            if status not in {401, 429} and status < httpx.codes.INTERNAL_SERVER_ERROR and problem.code not in HALTING:
                return _refusal(problem.fields or [{"pointer": "", "code": problem.code, "detail": _why(problem)}])
            self._halt(str(problem))
        except Unavailable as error:
            self._halt(str(error))
        return Outcome("not_sent")

    def _compare(self, job: Job, record_id: str) -> Outcome:
        record = self._service.call("GET", f"/v1/records/{record_id}").data
        if record["status"] == "withdrawn":
            detail = "an account that was not withdrawn; a withdrawn record stays as it is"
            return Outcome(
                "refused", record_id, None, "record_withdrawn", (FieldError("", "record_withdrawn", detail),)
            )
        found = compare(job.row, record)
        if not found.differences:
            return Outcome("unchanged", record_id)
        if found.fixed:
            detail = "as the record has it; this field identifies the record or made it lawful"
            wrong = tuple(FieldError(pointer(name), "not_correctable", detail) for name in found.fixed)
            return Outcome("refused", record_id, found, "not_correctable", wrong)
        if self._mode is CorrectionMode.YES:
            return self._correct(record_id, found)
        return Outcome("different", record_id, found)

    def _correct(self, record_id: str, found: Comparison) -> Outcome:
        body = {"reason": self._orders.reason, "changes": dict(found.changes)}
        self._service.call("POST", f"/v1/records/{record_id}/corrections", data=body)
        return Outcome("corrected", record_id, found)

    def _settle_group(self, progress: Progress, group: list[Job], outcomes: list[Outcome]) -> None:
        """Settle rows and bring to disk what is done, all at once: the next run's groups begin where one ended."""
        for job, outcome in zip(group, outcomes, strict=True):
            self._settle(progress, job, outcome)
        if self._broken.is_set():
            self._run.state.rename()
        self._run.state.save()

    def _settle(self, progress: Progress, job: Job, outcome: Outcome) -> None:
        """Count a row, keep it as done or name it in the error file. Runs in the main thread only."""
        tally, found = self._run.tally, outcome.comparison
        if outcome.kind == "different" and found is not None:
            outcome = self._confirm(progress, job, outcome.record_id, found)
        elif outcome.kind == "corrected" and found is not None:
            self._show(progress.console, job, found)
        match outcome.kind:
            case "sent":
                tally.sent += 1
            case "unchanged":
                tally.unchanged += 1
            case "corrected":
                tally.corrected += 1
            case "different":
                tally.not_confirmed += 1
                self._run.fail(job.row.number, _unconfirmed(found))
            case "refused":
                tally.refused[outcome.code] += 1
                self._run.fail(job.row.number, outcome.errors)
            case "not_sent":
                tally.not_sent += 1
        if outcome.kind in DONE:
            self._run.state.keep(job.content, outcome.record_id)

    def _confirm(self, progress: Progress, job: Job, record_id: str, found: Comparison) -> Outcome:
        """Show a correction and send it once it is confirmed."""
        self._show(progress.console, job, found)
        if self._mode is CorrectionMode.ASK and not self._stop.is_set():
            progress.stop()
            answer = self._ask()
            progress.start()
            if answer in {"all", "none"}:
                self._mode = CorrectionMode.YES if answer == "all" else CorrectionMode.NO
            confirmed = answer in {"yes", "all"}
        else:
            # Compared before somebody said "all", settled after it.
            confirmed = self._mode is CorrectionMode.YES
        if not confirmed and not self._stop.is_set():
            return Outcome("different", record_id, found)
        return self._attempt(partial(self._correct, record_id, found))

    def _ask(self) -> str:
        self._asking = True
        try:
            return Prompt.ask(
                "Correct this record?", console=screen, choices=["yes", "no", "all", "none"], default="no"
            )
        except (KeyboardInterrupt, EOFError):
            self.interrupted = True
            self._stop.set()
            return "none"
        finally:
            self._asking = False

    @staticmethod
    def _show(console: Console, job: Job, found: Comparison) -> None:
        """Show what differs, to a terminal only: these are the borrower's data, and output may be kept."""
        if not console.is_terminal:
            return
        console.print(f"row {job.row.number} differs from its record:", highlight=False)
        for one in found.differences:
            console.print(printable(f"  {one.name}: {one.ours} → {one.theirs}"), markup=False, highlight=False)

    def _halt(self, why: str) -> None:
        self.halted_by = self.halted_by or why
        self._stop.set()

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let the first Ctrl-C end the run in good order; a second one ends it at once."""

        def interrupt(_number: int, _frame: object) -> None:
            if self._asking or self.interrupted:
                self._abandoned.set()
                raise KeyboardInterrupt
            self.interrupted = True
            self._stop.set()

        before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _unconfirmed(found: Comparison | None) -> tuple[FieldError, ...]:
    detail = "as the record has it, or a confirmed correction (--corrections)"
    differences = () if found is None else found.differences
    return tuple(FieldError(pointer(one.name), "correction_not_confirmed", detail) for one in differences)


def _refusal(errors: Sequence[Mapping[str, Any]]) -> Outcome:
    """Return the outcome of a row that the service refuses: for its fields, or whole, which names no field."""
    named = tuple(FieldError(str(one["pointer"]), str(one["code"]), str(one["detail"])) for one in errors)
    code = named[0].code if named[0].code in REASONS else "validation_failed"
    return Outcome("refused", code=code, errors=named)


def _why(problem: Problem) -> str:
    return str(problem.document.get("detail", ""))


def _summarise(run: Run, sending: Sending | None, *, seconds: float, dry_run: bool, as_json: bool) -> None:
    """Print what became of every row, and end with the status that says it."""
    tally = run.tally
    counts: dict[str, Any] = {
        "read": tally.read,
        "invalid": tally.invalid,
        "valid": tally.valid,
        "sent": tally.sent,
        "done_before": tally.done_before,
        "unchanged": tally.unchanged,
        "corrected": tally.corrected,
        "not_confirmed": tally.not_confirmed,
        "refused": dict(tally.refused),
        "not_sent": tally.not_sent,
    }
    rate = tally.read / seconds if seconds else 0.0
    interrupted = sending is not None and sending.interrupted
    if as_json:
        more = {
            "reasons": dict(tally.reasons),
            "doubtful_identifiers": tally.doubtful_identifiers,
            "error_file": str(run.errors.path) if run.errors.entries else None,
            "dry_run": dry_run,
            "interrupted": interrupted,
            "seconds": round(seconds, 3),
            "rows_per_second": round(rate, 1),
        }
        typer.echo(json.dumps({**counts, **more}))
    else:
        for name, count in {**counts, "refused": tally.refused.total()}.items():
            out.print(f"  {name.replace('_', ' '):24}{count:>10,}", highlight=False)
        for code, count in tally.reasons.most_common():
            out.print(f"    {code:22}{count:>10,}  in the error file", highlight=False, markup=False)
        if tally.doubtful_identifiers:
            out.print(f"  {tally.doubtful_identifiers:,} pilot-region codes: compare them with the licences")
        if run.errors.entries:
            out.print(f"  what is wrong, row by row: {run.errors.path}", highlight=False, markup=False, soft_wrap=True)
        out.print(f"  {seconds:.1f} s, {rate:.0f} rows a second", highlight=False)
    if sending is not None and sending.stopped:
        why = sending.halted_by or "interrupted"
        screen.print(f"stopped: {why}; run it again to go on", style="red", markup=False, highlight=False)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    stopped = sending is not None and sending.stopped
    if tally.failed or stopped or (tally.not_sent and not dry_run):
        raise typer.Exit(EXIT_FAILED)
