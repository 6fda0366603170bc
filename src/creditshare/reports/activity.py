"""Counting the log into cells, in the order of its index: who did what, how it ended, and when in the day.

The log's own key opens who did what; no borrower is in it. An act is counted in the month in which it was recorded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from creditshare.audit.service import Audit, LoggedAct
from creditshare.errors import Malformed
from creditshare.ids import parse
from creditshare.members.service import Members
from creditshare.policy.service import Policy
from creditshare.reports.cells import Cell, Cells, Holding, Key, Part
from creditshare.reports.counting import counts_on, hold_counting
from creditshare.reports.repository import CellStore
from creditshare.reports.tables import ACTIVITY
from creditshare.reports.views import month_of
from creditshare.storage.engine import Database

log = structlog.get_logger()

SERVICE: Final = UUID(int=0)
"""Stands for the service itself where an act is nobody's."""
AT_ONCE: Final = 2_000
MOST_NAMED: Final = 5
TOLD: Final = "tell_reports"
WORKING_DAYS: Final = range(5)  # Monday to Friday
WORKING_HOURS: Final = range(8, 20)
COUNTED: Final[Mapping[str, tuple[str, ...]]] = {
    "evaluate_tokens": ("elements",),
    "finish_job": ("accepted", "refused"),
}
"""Details that say how many there were of something; each is counted under a name of its own."""


class LogCounting:
    """Counts the events behind the position. ``reading`` is the service's own database: who is where stands there."""

    def __init__(
        self,
        *,
        database: Database,
        reading: Database,
        audit: Audit,
        members: Members,
        policy: Policy,
        store: CellStore,
    ) -> None:
        self._database = database
        self._reading = reading
        self._audit = audit
        self._members = members
        self._policy = policy
        self._store = store

    async def step(self) -> bool:
        """Count the next events; return whether more may wait. Does nothing where another process counts."""
        async with self._database.writing() as session:
            position = await self._store.position(session) if await hold_counting(session) else None
            if position is None or not counts_on(position):
                return False
            acts = await self._audit.acts(session, start=position.log_index, limit=AT_ONCE)
            if acts.until == position.log_index:
                return False
            if acts.unreadable:  # the others are counted all the same, and each release says how many these were
                some = acts.unreadable[:MOST_NAMED]
                kind = "entries of the log cannot be opened"
                log.error("integrity", part="reports", kind=kind, entries=some, count=len(acts.unreadable))
            async with self._reading.reading() as reading:
                regions = await self._members.regions(reading)
            changes: dict[Part, Cells] = {}
            for act in acts.read:
                for part, key, who, count in self._names_of(act, regions):
                    cell = changes.setdefault(part, {}).setdefault(key, Cell())
                    cell.add(Cell(lenders={who: Holding(count)}))
            position = await self._store.add(session, position, changes)
            release = max((position.release, *(_release_of(act) for act in acts.read)))
            unreadable = position.unreadable + len(acts.unreadable)
            counted = replace(position, log_index=acts.until, release=release, unreadable=unreadable)
            await self._store.move(session, counted)
            await session.commit()
            return acts.until - position.log_index == AT_ONCE

    def _names_of(self, act: LoggedAct, regions: Mapping[UUID, str]) -> Iterator[tuple[Part, Key, UUID, int]]:
        who = _member_of(act.actor)
        month = month_of(act.at.date())
        part = (ACTIVITY, month)
        local = act.at.astimezone(self._policy.timezone(regions.get(who, ""), act.at.date()))
        times, hours = _said(act, "count", otherwise=1), hours_of(local)
        yield part, (act.action, act.outcome, act.purpose, hours), who, times
        for purpose in str(act.details.get("purposes", "")).split():  # a consent is for several
            yield part, (act.action, act.outcome, purpose, hours), who, times
        for name in COUNTED.get(act.action, ()):
            yield part, (f"{act.action}.{name}", act.outcome, "", ""), who, _said(act, name, otherwise=0)


def hours_of(local: datetime) -> str:
    """Say whether somebody is at work at a member's own time; holidays are not looked up."""
    at_work = local.weekday() in WORKING_DAYS and local.hour in WORKING_HOURS
    return "working" if at_work else "after"


def _said(act: LoggedAct, name: str, *, otherwise: int) -> int:
    value = act.details.get(name, otherwise)
    return value if isinstance(value, int) else otherwise


def _release_of(act: LoggedAct) -> int:
    """Return the release that an act of ours told: one that is not here any more was taken away."""
    return _said(act, "release", otherwise=0) if act.action == TOLD and not act.actor else 0


def _member_of(actor: str) -> UUID:
    try:
        return parse("mem", actor)
    except Malformed:
        return SERVICE
