"""Reading reports: which there are, and one of them cut from what was told. Asking opens no record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from creditshare.audit.service import Entry, Recorded
from creditshare.audit.state import LogState, log_state
from creditshare.crypto.jws import SigningKey
from creditshare.errors import FieldError, Refused
from creditshare.ids import spell
from creditshare.members import standing
from creditshare.members.service import Member, Members
from creditshare.policy.service import STRICTEST, Policy
from creditshare.reports import conduct
from creditshare.reports.catalogue import KINDS, LABELS, LOG_HEALTH, STATUSES, Kind
from creditshare.reports.cells import UNIT
from creditshare.reports.documents import Row, Told
from creditshare.reports.tables import MULTIPLE
from creditshare.reports.told import Newest, Release, ToldStore
from creditshare.reports.waiting import still_waiting
from creditshare.storage.engine import ReadSession
from creditshare.wire.instants import spell_instant
from creditshare.wire.reports import sign_report
from creditshare.wire.strict_json import decode_object

MOST_ROWS: Final = 20_000
"""A report of more is refused: ask for a shorter period."""
FIRST_MONTH: Final = "0001-01"
LAST_MONTH: Final = "9999-12"
UNSELECTABLE: Final = frozenset({"month", "year"})
"""Dimensions that the period selects by."""
RULES: Final = (
    "reports.min_borrowers",
    "reports.min_lenders",
    "reports.dominance_percent.1",
    "reports.dominance_percent.2",
    "reports.p_percent",
    "reports.month_closes_after_days",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A report that is asked for: months from and to, both included; the view; dimensions that rows must have."""

    name: str
    first: str | None = None
    last: str | None = None
    by: str | None = None
    filters: Mapping[str, str] | None = None
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Listed:
    """A report that there is, and the months of which something was told."""

    kind: Kind
    first: str | None
    last: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the reports stand: the newest release, if there is one, and how many events wait to be counted.

    Lenders are not told how many: it would tell when others report.
    """

    release: Mapping[str, Any] | None
    waiting: int | None


class Reports:
    """Shows what was told. Regulators and operators read all; a lender its own rows of what names lenders."""

    def __init__(
        self, *, members: Members, policy: Policy, told: ToldStore, signing_key: SigningKey, issuer: str
    ) -> None:
        self._members = members
        self._policy = policy
        self._told = told
        self._signing_key = signing_key
        self._issuer = issuer

    async def standing(self, session: ReadSession, reader: Member, *, now: datetime) -> Standing:
        """Return the newest release and what waits, as far as a member may know."""
        release = await self._told.last_release(session)
        return Standing(_released(release), await self._waiting(session, reader, now=now))

    @staticmethod
    async def _waiting(session: ReadSession, reader: Member, *, now: datetime) -> int | None:
        return None if reader.role == "lender" else await still_waiting(session, now=now)

    async def listed(self, session: ReadSession, reader: Member) -> list[Listed]:
        """Return the reports that a member may read, with the periods of which something was told."""
        _require_standing(reader)
        newest = await self._told.newest(session)
        parts: dict[str, list[str]] = {}
        for report, part in newest.manifest.documents if newest else ():
            parts.setdefault(report, []).append(part)
        listed = []
        for kind in KINDS.values():
            if reader.role == "lender" and not kind.own:
                continue
            told = sorted(part for family in kind.families for part in parts.get(family, []))
            listed.append(Listed(kind.as_read_by(reader.role), told[0] if told else None, told[-1] if told else None))
        return listed

    async def show(
        self, session: ReadSession, asked: Asked, reader: Member, *, now: datetime
    ) -> Recorded[dict[str, Any]]:
        """Return a report as a document with its digest and a signature over it; reading one is an event.

        ``not_found`` for a name that there is not, ``role_forbidden`` for one that is not for the reader's role,
        ``validation_failed`` naming a period, view or filter that it does not have, or more than it can hold.
        """
        kind = _kind(asked, reader)
        by, first, last = _checked(kind, asked, reader)
        filters = dict(asked.filters or {})
        if reader.role == "lender":
            filters["lender"] = spell("mem", reader.member_id)
            if "lender" not in kind.views[by]:
                raise Refused("role_forbidden")
        newest = await self._told.newest(session)
        told = {} if newest is None else await self._documents(session, newest, kind, first, last)
        rows, held = _rows(kind, by, told, first=first, last=last, filters=filters)
        if kind.name == LOG_HEALTH:
            rows = [_health(await log_state(session))]
        if len(rows) > MOST_ROWS:
            detail = f"a shorter period: it has {len(rows)} rows, and {MOST_ROWS} is the most"
            raise Refused("validation_failed", fields=[FieldError("/query/from", "too_long", detail)])
        content: dict[str, Any] = {
            "report": kind.name,
            "period": {"from": asked.first, "to": asked.last},
            "by": by,
            "filters": filters,
            "rows": rows,
            "lenders": await self._lenders(session, kind.views[by], rows),
            "held": held,
            "release": None if newest is None else _released(newest.release),
            "rules": [self._rule(name, now) for name in RULES],
        }
        digest, signature = sign_report(self._signing_key, content, issuer=self._issuer, iat=int(now.timestamp()))
        entry = Entry(
            "show_report", details={"report": kind.name, "by": by, "from": asked.first or "", "to": asked.last or ""}
        )
        content |= {"waiting": await self._waiting(session, reader, now=now), "digest": digest, "signature": signature}
        return Recorded(content | _explained(kind, by, asked.language), entry)

    async def _documents(
        self, session: ReadSession, newest: Newest, kind: Kind, first: str, last: str
    ) -> dict[tuple[str, str], Told]:
        """Return what was told of a report's families in a period. Parts are months, years, or one for all time."""
        names = [
            name
            for family in kind.families
            for name in (
                newest.names(family, first="", last="~")
                if family == MULTIPLE
                else newest.names(family, first=first[:4], last=last)
            )
        ]
        documents = await self._told.documents(session, newest, names)
        return {(one.report, one.part): Told.of_json(decode_object(one.document)) for one in documents}

    async def _lenders(
        self, session: ReadSession, view: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, str]:
        """Return the names of the lenders that rows name; one whose name somebody wrote is told by its id alone."""
        if "lender" not in view:
            return {}
        return dict(sorted((await self._members.names(session, {row["lender"] for row in rows})).items()))

    def _rule(self, name: str, now: datetime) -> dict[str, str]:
        rule = self._policy.rule(STRICTEST, name, now.date())
        return {"rule": rule.name, "value": rule.value, "basis": rule.article}


def _released(release: Release | None) -> dict[str, Any] | None:
    """Return a release as readers are told it."""
    if release is None:
        return None
    return {
        "number": release.release,
        "made_at": spell_instant(release.made_at),
        "digest": release.digest,
        "policy_version": release.policy_version,
        "log": {
            "size": release.log_size,
            "checkpoint": release.log_note,
            "unreadable": release.unreadable or 0,
        },
    }


def _explained(kind: Kind, by: str, language: str) -> dict[str, Any]:
    """Return what a report says about itself, in a language."""
    return {
        "title": kind.title.of(language),
        "method": kind.method.of(language),
        "sources": list(kind.sources),
        "columns": [
            {
                "name": name,
                "title": LABELS[name].of(language),
                "kind": "dimension" if name in kind.views[by] else "measure",
            }
            for name in (*kind.views[by], *kind.measures)
        ],
        "statuses": {status: text.of(language) for status, text in STATUSES.items()},
    }


def _health(state: LogState) -> dict[str, int]:
    return {
        "entries": state.size,
        "waiting": state.pending,
        "oldest_waiting_s": round(state.oldest_pending_s),
        "checkpoint_age_s": round(state.checkpoint_age_s),
        "unstamped_s": round(state.unanchored_s),
        "held": int(state.hold is not None),
    }


def _kind(asked: Asked, reader: Member) -> Kind:
    _require_standing(reader)
    kind = KINDS.get(asked.name)
    if kind is None:
        raise Refused("not_found")
    if reader.role == "lender" and not kind.own:
        raise Refused("role_forbidden")
    return kind


def _require_standing(reader: Member) -> None:
    """Lenders keep what is their own in any state; who reads what is others' must be active."""
    standing.require(reader.status, "keep" if reader.role == "lender" else "oversee")


def _checked(kind: Kind, asked: Asked, reader: Member) -> tuple[str, str, str]:
    by = asked.by or kind.as_read_by(reader.role).default_view
    if by not in kind.views:
        detail = "one of " + " | ".join(kind.views)
        raise Refused("validation_failed", fields=[FieldError("/query/by", "unknown_code", detail)])
    first, last = asked.first or FIRST_MONTH, asked.last or LAST_MONTH
    if first > last:
        raise Refused("validation_failed", fields=[FieldError("/query/to", "before_from", "a month not before from")])
    wrong = [name for name in asked.filters or {} if name not in kind.views[by] or name in UNSELECTABLE]
    if wrong:
        there = [name for name in kind.views[by] if name not in UNSELECTABLE]
        detail = f"the view {by} has " + (" | ".join(there) if there else "no dimension to select by")
        raise Refused(
            "validation_failed", fields=[FieldError(f"/query/{name}", "not_in_view", detail) for name in wrong]
        )
    return by, first, last


def _rows(
    kind: Kind,
    by: str,
    told: Mapping[tuple[str, str], Told],
    *,
    first: str,
    last: str,
    filters: Mapping[str, str],
) -> tuple[list[dict[str, Any]], list[str]]:
    dimensions = kind.views[by]
    if kind.of_conduct:
        cut = conduct.cut(kind.name, dimensions, {name: document.rows for name, document in told.items()})
        found = [
            {**_named(dimensions, values), **{name: counts.get(name, 0) for name in kind.measures}}
            for values, counts in sorted(cut.items())
        ]
    else:
        found = [
            _shown(kind, dimensions, row)
            for document in told.values()
            for row in document.rows
            if MULTIPLE in kind.families or row.table == by
        ]
    rows = [
        row for row in found if _within(row, first, last) and all(row[name] == value for name, value in filters.items())
    ]
    rows.sort(key=lambda row: [row[name] for name in dimensions])
    held = sorted({period for document in told.values() for period in document.held if period})
    return rows, held


def _shown(kind: Kind, dimensions: Sequence[str], row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = dict(zip(dimensions, row.values, strict=True))
    shown |= {name: getattr(row, name) for name in kind.measures if name != "exposure"}
    shown["status"] = row.status
    if "exposure" in kind.measures:
        shown["exposure"] = None if row.amount is None else amount_text(row.amount)
        shown["exposure_status"] = row.sum_status
    return shown


def amount_text(units: int) -> str:
    """Return an amount as decimal text with at least two places."""
    amount = Decimal(units) / UNIT
    places = max(2, -int(amount.normalize().as_tuple().exponent))
    return f"{amount:.{places}f}"


def _named(dimensions: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    named = dict(zip(dimensions, values, strict=True))
    if "lender" in named:
        named["lender"] = spell("mem", UUID(named["lender"]))
    return named


def _within(row: Mapping[str, Any], first: str, last: str) -> bool:
    period = row.get("month") or row.get("year") or row.get("opened") or ""
    return first[: len(period)] <= period <= last[: len(period)]
