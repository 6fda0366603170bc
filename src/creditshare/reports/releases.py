"""Releases: what may be told of the cells is told, part by part; each release names a checkpoint and has a digest."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from creditshare.audit.checkpoints import latest_checkpoint
from creditshare.audit.service import Audit, Entry
from creditshare.errors import IntegrityError, Refused
from creditshare.policy.service import STRICTEST, Policy
from creditshare.reports.cells import Cells, Part
from creditshare.reports.counting import counts_on, hold_counting
from creditshare.reports.documents import Told
from creditshare.reports.protection import rules_of
from creditshare.reports.repository import CellStore, Position
from creditshare.reports.stocks import tell_stocks
from creditshare.reports.tables import DEFAULTS, MULTIPLE, ROLLS, VINTAGES, is_over
from creditshare.reports.tally import Tally
from creditshare.reports.telling import Telling, tell_cohort, tell_conduct, tell_year
from creditshare.reports.told import Manifest, Newest, Release, ToldPart, ToldStore
from creditshare.reports.waiting import enqueue, forgotten, still_waiting, sum_of_counted
from creditshare.sandbox.service import business_time
from creditshare.storage.engine import Database, ReadSession, WriteSession
from creditshare.wire.strict_json import canonical, decode_object

log = structlog.get_logger()

PATIENCE: Final = timedelta(hours=1)
"""How long a release waits for what is not counted yet."""
MOST_FORGOTTEN: Final = 20_000
"""How many borrowers that were taken out of the queue are put back at once."""


class Releases:
    """Makes a release where something new may be told, at most every so often."""

    def __init__(
        self,
        *,
        database: Database,
        policy: Policy,
        store: CellStore,
        told: ToldStore,
        tally: Tally,
        audit: Audit,
        every: timedelta,
    ) -> None:
        self._database = database
        self._audit = audit
        self._told = told
        self._tally = tally
        self._policy = policy
        self._store = store
        self._every = every
        self._nothing_new: tuple[Position, date] | None = None

    async def make_if_due(self) -> int | None:
        """Tell what may be told; return the release's number, or nothing where nothing is new or it is not time yet.

        Half of a file is no state of anything, so it waits until every borrower is counted, but not for ever: where
        reports come at every moment it tells what there is. What may be told of a year of many cells takes seconds to
        work out, so that is done in a thread and in no transaction, and is not believed if somebody counted meanwhile.
        """
        begun = await self._begin()
        if begun is None or self._nothing_new == (begun.position, begun.now.date()):
            return None
        tellings = await self._tell(begun)
        if tellings is None:
            return None
        new = [document for one in tellings for document in one.new]
        if not new and not begun.is_first_with_manifest:
            self._nothing_new = begun.position, begun.now.date()
            return None
        async with self._database.writing() as session:
            if not await hold_counting(session) or await self._store.position(session) != begun.position:
                return None
            position = begun.position
            for one in tellings:
                position = await self._forget_who(session, position, one)
            missing = await forgotten(session, limit=MOST_FORGOTTEN)
            if not missing:
                return await self._release(session, position, begun.manifest, new, now=begun.now)
        await self._put_back(missing, now=begun.now)
        return None

    async def _begin(self) -> "_Begun | None":
        """Return how everything stands if a release is due."""
        async with self._database.reading() as session:
            position = await self._store.position(session)
            if position is None or not counts_on(position):
                return None
            now = (await business_time(session)).now
            last = await self._told.last_release(session)
            due = now if last is None else last.made_at + self._every
            if now < due or (now < due + PATIENCE and await still_waiting(session, now=now)):
                return None
            if position.release != (0 if last is None else last.release):
                if await self._store.position(session) != position:
                    return None  # another process told
                raise IntegrityError("the newest release is not the last that was made")
            newest = await self._told.newest(session)
            told = {} if newest is None else await self._standing(session, newest)
            manifest = Manifest() if newest is None else newest.manifest
            first = last is not None and last.manifest is None
            return _Begun(position, manifest, told, now, is_first_with_manifest=first)

    async def _release(
        self, session: WriteSession, position: Position, before: Manifest, new: Sequence[ToldPart], *, now: datetime
    ) -> int:
        """Keep what is new, and the release that tells it; return its number."""
        if await sum_of_counted(session, self._tally) != position.counted:
            raise IntegrityError("the rows of report_counted are not those that were counted")
        number, manifest = position.release + 1, before.followed_by(new)
        size, note = await _checkpoint(session)
        release = Release(
            number,
            now,
            size,
            note,
            self._policy.version,
            manifest.digest,
            unreadable=position.unreadable,
            manifest=manifest.spelled(),
        )
        for one in new:
            await self._told.keep(session, one)
        await self._told.keep_release(session, release)
        await self._store.move(session, replace(position, release=number))
        entry = Entry("tell_reports", details={"release": number, "digest": manifest.digest})
        await self._audit.record_own_act(session, entry, sub="worker", now=now)
        await session.commit()
        log.info("reports told", release=number, documents=len(new))
        return number

    async def _put_back(self, missing: Sequence[UUID], *, now: datetime) -> None:
        """Have those counted whom somebody took out of the queue; nothing is told before they are."""
        log.error("integrity", part="reports", kind="borrowers were taken out of report_due", borrowers=len(missing))
        async with self._database.writing() as session:
            await enqueue(session, missing, at=now)
            await session.commit()

    async def _standing(self, session: ReadSession, newest: Newest) -> dict[Part, bytes]:
        documents = await self._told.documents(session, newest, newest.manifest.documents)
        return {(one.report, one.part): one.document for one in documents}

    async def _tell(self, begun: "_Begun") -> "list[_Telling] | None":
        """Tell every part that has changed or was not over; nothing if somebody counted meanwhile."""
        asking = Asking(self._policy, begun.now)
        tellings = []
        for family, part in sorted(begun.position.parts):
            if family == ROLLS:  # told with the defaults of its year
                continue
            members = {one: (one, part) for one in ((DEFAULTS, ROLLS) if family == DEFAULTS else (family,))}
            states = [begun.position.of(name) for name in members.values()]
            # Of what was counted by another definition nothing may be there yet.
            if all(state.as_told for state in states) or not any(state.live for state in states):
                continue
            cells = await self._cells(begun.position, members)
            if cells is None:
                return None
            told = {one: begun.told[name] for one, name in members.items() if name in begun.told}
            before = {one: Told.of_json(decode_object(document)) for one, document in told.items()}
            try:
                telling = await asyncio.to_thread(asking.tell, family, part, cells, before)
            except (
                ArithmeticError,
                ValueError,
                LookupError,
                AssertionError,
            ):  # of this part alone: no other waits for it
                log.exception("a part of the reports cannot be told", family=family, part=part)
                continue
            documents = {one: canonical(document.as_json()) for one, document in telling.documents.items()}
            number = begun.position.release + 1
            new = tuple(ToldPart(one, part, number, data) for one, data in documents.items() if data != told.get(one))
            tellings.append(_Telling(tuple(members.values()), telling, new))
        return tellings

    async def _cells(self, position: Position, members: Mapping[str, Part]) -> dict[str, Cells] | None:
        """Return the cells of parts; nothing if they are not those of this position, because somebody counted."""
        async with self._database.reading() as session:
            try:
                return {one: await self._store.load(session, position, name) for one, name in members.items()}
            except IntegrityError:
                if await self._store.position(session) != position:
                    return None
                raise

    async def _forget_who(self, session: WriteSession, position: Position, told: "_Telling") -> Position:
        """Forget who changed what is told now, and note where the parts' cells stand from then on."""
        for part in told.parts:
            told_seq = position.of(part).told_seq
            if any(name[0] == part[0] for name in told.telling.settled):
                cells = await self._store.load(session, position, part)
                for key, cell in cells.items():
                    if (name := (part[0], *key)) in told.telling.settled:
                        told.telling.settle(name, cell)
                left = {key: cell for key, cell in cells.items() if not cell.empty}
                position = await self._store.replace(session, position, part, left)
                told_seq = position.seq
            state = replace(position.of(part), told_seq=told_seq, complete=told.telling.complete)
            position = position.with_parts({part: state})
        return position


@dataclass(frozen=True, slots=True)
class _Begun:
    """How everything stood when a release was begun. One from before there were manifests is followed by one with."""

    position: Position
    manifest: Manifest
    told: Mapping[Part, bytes]
    now: datetime
    is_first_with_manifest: bool


@dataclass(frozen=True, slots=True)
class _Telling:
    """What is told of parts that are told together, and the documents that are new by it."""

    parts: tuple[Part, ...]
    telling: Telling
    new: tuple[ToldPart, ...]


class Asking:
    """How each family is told, at an instant, by the policy in force."""

    def __init__(self, policy: Policy, now: datetime) -> None:
        self._rules = rules_of(policy, now.date())
        self._today = now.date()
        self._closes_after_days = policy.number(STRICTEST, "reports.month_closes_after_days", now.date())

    def over(self, month: str) -> bool:
        """Whether a month is told now."""
        return is_over(month, on=self._today, closes_after_days=self._closes_after_days)

    def tell(self, family: str, part: str, cells: Mapping[str, Cells], before: Mapping[str, Told]) -> Telling:
        """Tell a part of a family."""
        if family == DEFAULTS:
            return tell_year(cells[DEFAULTS], cells[ROLLS], before, year=part, over=self.over, rules=self._rules)
        if family == VINTAGES:
            if not self.over(f"{part}-12"):
                return Telling()
            return tell_cohort(cells[family], before, year=part, rules=self._rules)
        if family == MULTIPLE:
            told, settled = tell_stocks(cells[family], before.get(family), over=self.over, rules=self._rules)
            return Telling({family: told}, settled, complete=all(self.over(key[1]) for key in cells[family]))
        return tell_conduct(family, cells[family])


async def _checkpoint(session: ReadSession) -> tuple[int, str]:
    try:
        return await latest_checkpoint(session)
    except Refused:  # nothing is in the log yet
        return 0, ""
