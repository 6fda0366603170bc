"""Releases: what may be told of the cells is told, part by part; each release names a checkpoint and has a digest."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from creditshare.audit.checkpoints import latest_checkpoint
from creditshare.audit.service import Audit, Entry
from creditshare.errors import IntegrityError, Refused
from creditshare.policy.service import STRICTEST, Policy
from creditshare.reports.cells import Cells, Part
from creditshare.reports.counting import hold_counting
from creditshare.reports.documents import Told
from creditshare.reports.protection import rules_of
from creditshare.reports.repository import FROZEN, CellStore, PartState, Position, still_waiting
from creditshare.reports.stocks import tell_stocks
from creditshare.reports.tables import DEFAULTS, MULTIPLE, ROLLS, VINTAGES, is_over
from creditshare.reports.telling import Telling, tell_cohort, tell_conduct, tell_year
from creditshare.reports.told import Release, ToldPart, ToldStore, digest_of
from creditshare.reports.views import DEFINITION
from creditshare.sandbox.service import business_time
from creditshare.storage.engine import Database, ReadSession, WriteSession
from creditshare.wire.strict_json import canonical, decode_object

log = structlog.get_logger()

PATIENCE: Final = timedelta(hours=1)
"""How long a release waits for what is not counted yet."""


class Releases:
    """Makes a release where something new may be told, at most every so often."""

    def __init__(
        self,
        *,
        database: Database,
        policy: Policy,
        store: CellStore,
        told: ToldStore,
        audit: Audit,
        every: timedelta,
    ) -> None:
        self._database = database
        self._audit = audit
        self._told = told
        self._policy = policy
        self._store = store
        self._every = every

    async def make_if_due(self) -> int | None:
        """Tell what may be told; return the release's number, or nothing where nothing is new or it is not time yet.

        Half of a file is no state of anything, so it waits until every borrower is counted, but not for ever: where
        reports come at every moment it tells what there is.
        """
        async with self._database.writing() as session:
            position = await self._store.position(session) if await hold_counting(session) else None
            if position is None or position.definition != DEFINITION:
                return None
            now = (await business_time(session)).now
            last = await self._told.last_release(session)
            due = now if last is None else last.made_at + self._every
            if now < due or (now < due + PATIENCE and await still_waiting(session, now=now)):
                return None
            if last is not None and digest_of(await self._told.parts(session)) != last.digest:
                raise IntegrityError("what stands told is not what the last release told")
            number = 1 if last is None else last.release + 1
            new = await self._tell(session, position, number, now=now)
            if not new:
                return None
            size, note = await _checkpoint(session)
            digest = digest_of(await self._told.parts(session))
            await self._told.keep_release(session, Release(number, now, size, note, self._policy.version, digest))
            entry = Entry("tell_reports", details={"release": number, "digest": digest})
            await self._audit.record_own_act(session, entry, sub="worker", now=now)
            await session.commit()
            log.info("reports told", release=number, documents=new)
            return number

    async def _tell(self, session: WriteSession, position: Position, number: int, *, now: datetime) -> int:
        """Tell every part that has changed or was not over; return how many documents are new."""
        asking = Asking(self._policy, now)
        told = {(one.report, one.part): one.document for one in await self._told.parts(session)}
        parts, new = dict(position.parts), 0
        for family, part in sorted(position.parts):
            if family == ROLLS:  # told with the defaults of its year
                continue
            members = {one: (one, part) for one in ((DEFAULTS, ROLLS) if family == DEFAULTS else (family,))}
            states = {one: parts.get(name, PartState()) for one, name in members.items()}
            if all([await self._as_told(session, members[one], states[one]) for one in members]):
                continue
            cells = {one: await self._store.load(session, name) for one, name in members.items()}
            before = {one: Told.of_json(decode_object(told[name])) for one, name in members.items() if name in told}
            try:
                telling = asking.tell(family, part, cells, before)
            except (ValueError, KeyError, AssertionError):  # of this part alone: no other waits for it
                log.exception("a part of the reports cannot be told", family=family, part=part)
                continue
            for one, document in telling.documents.items():
                data = canonical(document.as_json())
                if data != told.get((one, part)):
                    await self._told.keep(session, ToldPart(one, part, number, data))
                    new += 1
            for one, name in members.items():
                kept = await self._forget_who(session, name, cells[one], telling)
                parts[name] = PartState(kept or states[one].told_seq, complete=telling.complete)
        if parts != position.parts:
            await self._store.move(session, replace(position, parts=parts))
        return new

    async def _as_told(self, session: WriteSession, part: Part, state: PartState) -> bool:
        """Whether nothing happened to a part since all of it was told."""
        if state.told_seq == FROZEN:
            return True
        return state.complete and await self._store.is_at(session, part, state.told_seq)

    async def _forget_who(self, session: WriteSession, part: Part, cells: Cells, telling: Telling) -> int | None:
        """Forget who changed what is told now, and return where the part's cells stand from then on."""
        settled = [cell for key, cell in cells.items() if (part[0], *key) in telling.settled]
        if not settled:
            return None
        for cell in settled:
            cell.touched.clear()
        return await self._store.replace(session, part, {key: cell for key, cell in cells.items() if not cell.empty})


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
