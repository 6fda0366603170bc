"""Computing lenders' figures and tiers, and telling them with the rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, select
from sqlalchemy.dialects.postgresql import insert

from creditshare.audit.service import Audit, Entry
from creditshare.batches.service import rows_ended_since
from creditshare.crypto.rowseals import RowSeals, Value
from creditshare.errors import Refused
from creditshare.ids import spell
from creditshare.members.keys import MemberKeys
from creditshare.members.service import Member, Members
from creditshare.members.standing import MAY
from creditshare.members.tiers import TIERS, Demands, Figures, Tier, percent, tier_of
from creditshare.policy.service import Policy
from creditshare.reciprocity.models import member_figures
from creditshare.records.history import History
from creditshare.records.service import Records, borrowers_reported, sample_of_records
from creditshare.sharing.service import borrowers_asked_about
from creditshare.storage.engine import Database, ReadSession
from creditshare.subjects.service import Subjects

log = structlog.get_logger()

PAGE: Final = 200
EVERY: Final = timedelta(hours=23)
"""A little less than a day, so that a worker that starts at the same hour each day finds yesterday's figures old."""
MONTH: Final = timedelta(days=30)
YEAR_DAYS: Final = 365
SUB: Final = "reciprocity"
EVERYWHERE: Final = "*"


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers in force on a day, from the policy table."""

    demands: Mapping[Tier, Demands]
    ramp_months: int
    window_days: int
    fresh_days: int
    sample: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A lender's tier with the figures that it follows from; none before they were computed for the first time."""

    tier: str
    computed_at: datetime | None
    figures: Figures | None


def rules_on(policy: Policy, day: date) -> Rules:
    """Return the rules in force on a day."""

    def number(name: str) -> int:
        return policy.number(EVERYWHERE, f"reciprocity.{name}", day)

    demands: dict[Tier, Demands] = {
        tier: Demands(
            number(f"{tier}.coverage_min"),
            number(f"{tier}.freshness_min"),
            number(f"{tier}.corrections_max"),
            number(f"{tier}.refusals_max"),
        )
        for tier in TIERS[:-1]
    }
    return Rules(demands, *(number(name) for name in ("ramp_months", "window_days", "fresh_days", "sample")))


class Reciprocity:
    """The only door to lenders' figures."""

    def __init__(
        self,
        *,
        database: Database,
        members: Members,
        member_keys: MemberKeys,
        subjects: Subjects,
        records: Records,
        audit: Audit,
        policy: Policy,
        seals: RowSeals,
    ) -> None:
        self._database = database
        self._members = members
        self._member_keys = member_keys
        self._subjects = subjects
        self._records = records
        self._audit = audit
        self._policy = policy
        self._seals = seals

    def rules(self, now: datetime) -> Rules:
        """Return the rules in force."""
        return rules_on(self._policy, now.date())

    async def standing(self, session: ReadSession, member: Member) -> Standing:
        """Return a lender's own standing."""
        row = await self._row(session, member.member_id)
        return Standing(member.tier, row["computed_at"] if row else None, _figures(row) if row else None)

    async def compute_due(self, *, now: datetime) -> int:
        """Compute the figures of each lender for whom they are a day old; return how many those were."""
        done, after = 0, None
        while True:
            async with self._database.reading() as session:
                page = await self._members.list_all(session, after=after, limit=PAGE)
            for member in page:
                if member.role == "lender" and member.status in MAY:
                    done += await self._compute(member, now=now)
            if len(page) < PAGE:
                return done
            after = page[-1].member_id

    async def _compute(self, member: Member, *, now: datetime) -> bool:
        async with self._database.examining() as session:
            before = await self._row(session, member.member_id)
            if before is not None and now - before["computed_at"] < EVERY:
                return False
            values = await self._counted(session, member.member_id, before, now=now)
        rules = self.rules(now)
        figures = _figures(values)
        tier = tier_of(figures, rules.demands, ramp=rules.ramp_months)
        async with self._database.writing() as session:
            sealed = {**values, "seal": self._seals.seal(member_figures.name, values)}
            made = insert(member_figures).values(sealed)
            await session.execute(made.on_conflict_do_update(index_elements=["member_id"], set_=sealed))
            if tier != member.tier:
                try:
                    await self._members.set_tier(session, member.member_id, tier)
                except Refused:
                    return False  # terminated meanwhile
                details: dict[str, str | int] = {
                    "tier": tier,
                    "before": member.tier,
                    "coverage": figures.coverage,
                    "freshness": figures.freshness,
                    "corrections": figures.corrections,
                    "refusals": figures.refusals,
                }
                entry = Entry("set_tier", references={"member_id": spell("mem", member.member_id)}, details=details)
                await self._audit.record_own_act(session, entry, sub=SUB, now=now)
            await session.commit()
        return True

    async def _counted(
        self, session: ReadSession, member_id: UUID, before: RowMapping | None, *, now: datetime
    ) -> dict[str, Value]:
        rules = self.rules(now)
        since = now - timedelta(days=rules.window_days)
        keys = await self._member_keys.keys_of(session, member_id)
        began = min((key.registered_at for key in keys), default=now)
        last = began if before is None else before["computed_at"]
        sent, refused = await rows_ended_since(session, member_id, since=last)
        sampled = live = fresh = corrected = 0
        for subject_id, record_id in await sample_of_records(session, member_id, day=now.date(), limit=rules.sample):
            history = await self._own(session, subject_id, record_id)
            if history is None:
                continue
            sampled += 1
            events = [event for _, event in history.events]
            corrected += any(one.kind in {"corrected", "withdrawn"} and one.recorded_at >= since for one in events)
            state = history.state()
            if state is not None and state.open:
                live += 1
                fresh += (now - events[-1].recorded_at).days <= rules.fresh_days
        return {
            "member_id": member_id,
            "computed_at": now,
            "asked_about": await borrowers_asked_about(session, member_id, since=since),
            "reported": await borrowers_reported(session, member_id),
            "sampled": sampled,
            "sampled_live": live,
            "fresh": fresh,
            "corrected": corrected,
            "rows_sent": _faded(before, "rows_sent", now) + sent,
            "rows_refused": _faded(before, "rows_refused", now) + refused,
            "months": max(0, (now - began) // MONTH),
        }

    async def _own(self, session: ReadSession, subject_id: UUID, record_id: UUID) -> History | None:
        """Return a record's history, None where its borrower or it was erased."""
        try:
            state = await self._subjects.read(session, subject_id)
        except Refused:
            return None
        histories = await self._records.histories(session, state)
        return next((history for history in histories if history.record_id == record_id), None)

    async def _row(self, session: ReadSession, member_id: UUID) -> RowMapping | None:
        """Return a lender's figures. Those that somebody else wrote are none, so that they are computed anew."""
        found = await session.execute(select(member_figures).where(member_figures.c.member_id == member_id))
        row = found.mappings().one_or_none()
        if row is None or row["seal"] is None:
            return None
        figures = {name: value for name, value in row.items() if name != "seal"}
        if not self._seals.holds(member_figures.name, figures, bytes(row["seal"])):
            log.error("integrity", part="reciprocity", kind="a row of member_figures does not match its seal")
            return None
        return row


def _figures(row: Mapping[str, object] | RowMapping) -> Figures:
    count = {name: int(str(row[name])) for name in _COUNTS}
    return Figures(
        coverage=percent(count["reported"], count["asked_about"], of_nothing=100),
        freshness=percent(count["fresh"], count["sampled_live"], of_nothing=100),
        corrections=percent(count["corrected"], count["sampled"], of_nothing=0),
        refusals=percent(count["rows_refused"], count["rows_sent"], of_nothing=0),
        months=count["months"],
    )


_COUNTS: Final = (
    "asked_about",
    "reported",
    "sampled",
    "sampled_live",
    "fresh",
    "corrected",
    "rows_sent",
    "rows_refused",
    "months",
)


def _faded(before: RowMapping | None, name: str, now: datetime) -> int:
    """Return what is left of an older count: each day takes its part of a year off it."""
    if before is None:
        return 0
    days = min(YEAR_DAYS, max(0, (now - before["computed_at"]).days))
    kept: int = before[name] * (YEAR_DAYS - days) // YEAR_DAYS
    return kept
