"""The thirteen checks of ``creditshare log fsck --database``: the log, what it says, and the rows that it speaks of.

One read-only transaction sees one moment of the whole, so the service may run on. What a database administrator can do
to rows he can do to checkpoints too, short of their signatures, and he can take away the end of the log with the newest
of them: only a checkpoint that somebody else holds shows that. So name those you have, and receipts.
"""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from creditshare.audit.anchors import check_anchors
from creditshare.audit.openings import Act, check_openings
from creditshare.audit.proofs import missing_leaves
from creditshare.audit.rebuild import Check, Progress, Rebuilt, named, rebuild
from creditshare.audit.state import log_state
from creditshare.client.promises import due, promised
from creditshare.clock import Clock, SystemClock
from creditshare.composition import (
    cell_store,
    database_url,
    keyring_file,
    log_signer,
    public_address,
    stamp_roots,
    tally,
    told_store,
)
from creditshare.consents.service import ids_of_consents
from creditshare.errors import ConfigurationError, Malformed, VerificationFailed
from creditshare.ids import Prefix, parse, spell
from creditshare.indebtedness.service import ids_of_statements
from creditshare.jobs.witnesses import shown_by_all
from creditshare.keys.custody import Custody
from creditshare.keys.keyring import FileProvider
from creditshare.members.service import ids_of_members
from creditshare.records.service import ids_of_records
from creditshare.reports.activity import TOLD
from creditshare.reports.review import Review
from creditshare.settings import Settings
from creditshare.sharing.service import ids_of_questions
from creditshare.startup import Finding, witness_policy
from creditshare.storage.engine import Database, ReadSession
from creditshare.subjects.service import erased_of, keys_of
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint
from creditshare.tlog.note import Verifier
from creditshare.warrants.repository import ids_of_warrants
from creditshare.wire.leaf import LogEntry

PAGE: Final = 4_096
MOST_PROBLEMS: Final = 20
"""How many problems of one check are told."""

_NONE: Final = "none was named"

Page = Callable[[UUID | None], Awaitable[Sequence[tuple[UUID, UUID | None]]]]
"""Returns the next rows behind an id, in the order of ids, each with the borrower that it belongs to."""


@dataclass(slots=True)
class _Some:
    """The first few of many, and how many there are."""

    first: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, one: str) -> None:
        self.count += 1
        if len(self.first) < MOST_PROBLEMS:
            self.first.append(one)


@dataclass(slots=True)
class _Report:
    problems: dict[Check, _Some] = field(default_factory=lambda: defaultdict(_Some))
    seen: dict[Check, str] = field(default_factory=dict)

    def tell(self, check: Check, problem: str) -> None:
        self.problems[check].add(problem)

    def findings(self) -> list[Finding]:
        return [Finding(check.value, self._problem(check), self.seen.get(check, "")) for check in Check]

    def _problem(self, check: Check) -> str | None:
        found = self.problems[check]
        more = [f"and {found.count - len(found.first)} more"] if found.count > len(found.first) else []
        return "; ".join([*found.first, *more]) or None


async def examine_log(
    settings: Settings,
    *,
    held: Sequence[Path] = (),
    receipts: Path | None = None,
    progress: Progress = lambda _read: None,
    clock: Clock | None = None,
) -> list[Finding]:
    """Make all thirteen checks and return what each found, in their order. Nothing is changed.

    ``held`` are checkpoints that somebody else kept, beside those that the log's witnesses show; ``receipts`` is a
    folder of evidence files. Raises ``ConfigurationError`` for a file that is none of these, ``Unavailable`` where the
    database does not answer.
    """
    keyring = keyring_file(settings).load()
    verifier = log_signer(keyring, public_address(settings)).verifier
    custody = Custody(
        FileProvider(keyring_file(settings)), cache_entries=settings.dek_cache_entries, cache_s=settings.dek_cache_s
    )
    kept = {file.name: _held(file, verifier) for file in held}
    policy, roots = witness_policy(settings), stamp_roots(settings)
    kept |= {f"witness {name}": shown for name, shown in shown_by_all(policy, verifier).items()}
    # What was promised before the database is looked at.
    kept_receipts = None if receipts is None else promised(receipts, verifier.name)
    report, now = _Report(), (clock or SystemClock()).now()
    database = Database(database_url(settings, "app"), role="creditshare_app", pool_size=1)
    try:
        async with database.examining() as session:
            await _check_delay(report, session, settings.merge_delay_s)
            sizes = [checkpoint.size for checkpoint in kept.values()]
            rebuilt = await rebuild(session, at=sizes, verifier=verifier, tell=report.tell, progress=progress)
            _saw(report, rebuilt)
            if roots is not None:
                stamped = await check_anchors(session, roots, report.tell)
                report.seen[Check.SIGNATURES] += f", {stamped} anchors"
            _compare_held(report, rebuilt, kept)
            report.seen[Check.HELD] = (
                f"{len(held)} files, {len(kept) - len(held)} of {len(policy.asked) if policy else 0} witnesses"
            )
            with closing(_Mentioned()) as mentioned:
                await check_openings(
                    session,
                    keeper=keyring.box("log_opening"),
                    keys_of=lambda ids: keys_of(session, custody, ids, monotonic=time.monotonic()),
                    tell=report.tell,
                    told=mentioned.hear,
                    progress=progress,
                )
                report.seen[Check.OPENINGS] = f"{mentioned.acts} events opened"
                await _compare_rows(report, session, mentioned)
                review = Review(
                    session,
                    cell_store(settings),
                    told_store(settings),
                    tally(settings),
                    mentioned.releases,
                    lambda problem: report.tell(Check.REPORTS, problem),
                )
                report.seen[Check.REPORTS] = await review.run()
            await _check_receipts(report, session, kept_receipts, rebuilt.size, now=now.timestamp())
    finally:
        await database.close()
    return report.findings()


def _held(file: Path, verifier: Verifier) -> Checkpoint:
    try:
        return open_checkpoint(file.read_bytes(), [verifier])
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read ({error.strerror})") from error
    except (Malformed, VerificationFailed) as error:
        raise VerificationFailed(f"{file} is no checkpoint that this service's key signed: {error}") from error


def _saw(report: _Report, rebuilt: Rebuilt) -> None:
    report.seen |= {
        Check.SIGNATURES: f"{rebuilt.checkpoints} checkpoints",
        Check.ENTRIES: f"{rebuilt.size} entries",
        Check.NEWEST: f"{rebuilt.size} entries, root {rebuilt.roots[rebuilt.size].hex()}",
    }


def _compare_held(report: _Report, rebuilt: Rebuilt, kept: dict[str, Checkpoint]) -> None:
    for name, checkpoint in kept.items():
        if checkpoint.size > rebuilt.size:
            what = f"is of {checkpoint.size} leaves, and {rebuilt.size} are there: the end of the log was taken away"
            report.tell(Check.HELD, f"{name} {what}")
        elif rebuilt.roots[checkpoint.size] != checkpoint.root:
            report.tell(
                Check.HELD,
                f"{name} was signed over other leaves than the first {checkpoint.size} that are there",
            )


async def _check_delay(report: _Report, session: ReadSession, merge_delay_s: int) -> None:
    state = await log_state(session)
    if state.oldest_pending_s > merge_delay_s:
        report.tell(
            Check.DELAY,
            f"{state.pending} events wait for the log, the oldest since {state.oldest_pending_s:.0f} s; receipts"
            f" promise {merge_delay_s} s: does a worker run?",
        )
    report.seen[Check.DELAY] = f"{state.pending} events wait"


class _Mentioned:
    """What the events name, kept in a file that is gone with this process: in the order of ids it is compared."""

    def __init__(self) -> None:
        self.acts = 0
        self.releases: dict[int, set[str]] = {}
        self._fresh: list[tuple[str, bytes]] = []
        self._store = sqlite3.connect("")
        self._store.execute("CREATE TABLE named (kind TEXT, id BLOB, PRIMARY KEY (kind, id)) WITHOUT ROWID")

    def close(self) -> None:
        self._store.close()

    def hear(self, act: Act) -> None:
        self.acts += 1
        if act.outcome != "ok":
            return
        number, digest = act.details.get("release"), act.details.get("digest")
        if act.action == TOLD and isinstance(number, int):
            self.releases.setdefault(number, set()).add(str(digest))
        for value in act.references.values():
            kind: Prefix
            for kind in ("rec", "cns", "dbt", "qry", "mem", "wrt"):
                if value.startswith(f"{kind}_"):
                    self._fresh.append((kind, parse(kind, value).bytes))
        if len(self._fresh) >= PAGE:
            self._keep()

    def ids(self, kind: Prefix) -> Iterator[UUID]:
        self._keep()
        for (found,) in self._store.execute("SELECT id FROM named WHERE kind = ? ORDER BY id", [kind]):
            yield UUID(bytes=found)

    def _keep(self) -> None:
        self._store.executemany("INSERT OR IGNORE INTO named VALUES (?, ?)", self._fresh)
        self._fresh.clear()


async def _compare_rows(report: _Report, session: ReadSession, mentioned: _Mentioned) -> None:
    async def members(after: UUID | None) -> list[tuple[UUID, UUID | None]]:
        return [(one, None) for one in await ids_of_members(session, after=after, limit=PAGE)]

    pages: dict[Prefix, tuple[str, Page]] = {
        "rec": ("records", lambda after: ids_of_records(session, after=after, limit=PAGE)),
        "cns": ("consents", lambda after: ids_of_consents(session, after=after, limit=PAGE)),
        "dbt": ("debt statements", lambda after: ids_of_statements(session, after=after, limit=PAGE)),
        "qry": ("questions", lambda after: ids_of_questions(session, after=after, limit=PAGE)),
        "mem": ("members", members),
        "wrt": ("warrants", lambda after: ids_of_warrants(session, after=after, limit=PAGE)),
    }
    seen = []
    for kind, (what, page) in pages.items():
        without_event, without_row = _Some(), _Some()
        rows = await _compare(session, kind, page, mentioned.ids(kind), without_event, without_row)
        seen.append(f"{rows} {what}")
        for found, sentence in (
            (without_event, f"{what} that no event names"),
            (without_row, f"events name {what} that are not there"),
        ):
            if found.count:
                report.tell(Check.ROWS, f"{sentence}: {named(found.first, found.count)}")
    report.seen[Check.ROWS] = ", ".join(seen)


async def _compare(
    session: ReadSession, kind: Prefix, page: Page, named_ids: Iterator[UUID], without_event: _Some, without_row: _Some
) -> int:
    """Walk rows and named ids side by side, noting rows that nothing names and names without a row; count the rows."""
    count, after = 0, None
    expected = next(named_ids, None)
    while rows := await page(after):
        unnamed: list[tuple[UUID, UUID | None]] = []
        for row_id, subject_id in rows:
            while expected is not None and expected < row_id:
                without_row.add(spell(kind, expected))
                expected = next(named_ids, None)
            if expected == row_id:
                expected = next(named_ids, None)
            else:
                unnamed.append((row_id, subject_id))
        # What names the rows of an erased borrower was erased with it.
        erased = await erased_of(session, [subject for _, subject in unnamed if subject is not None])
        for row_id, subject in unnamed:
            if subject not in erased:
                without_event.add(spell(kind, row_id))
        count, after = count + len(rows), rows[-1][0]
    while expected is not None:
        without_row.add(spell(kind, expected))
        expected = next(named_ids, None)
    return count


async def _check_receipts(
    report: _Report, session: ReadSession, receipts: Mapping[str, LogEntry] | None, size: int, *, now: float
) -> None:
    report.seen[Check.RECEIPTS] = _NONE
    if receipts is None:
        return
    report.seen[Check.RECEIPTS] = f"{len(receipts)} receipts"
    late, unknown = await missing_leaves(session, {entry.leaf_hash for entry in receipts.values()}, size=size)
    for file, entry in receipts.items():
        # A receipt is signed after the commit: the event is there from then on, and its leaf when the delay is over.
        if entry.leaf_hash in late and (entry.leaf_hash in unknown or now > due(entry)):
            report.tell(Check.RECEIPTS, f"{file}: {entry.event_id} was promised and is not in the log")
