"""What a borrower adds to which cells: pure, so that what was counted before can be worked out again at any time.

Only fixed tables are kept (decision 30): a question put together freely could be answered twice with one borrower's
difference. ``DEFINITION`` names this file's meaning; a worker that finds another one counts everything anew.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from creditshare.records.grid import bucket
from creditshare.records.history import History
from creditshare.records.rules import Coded, RecordState, defaulted_debt, shown
from creditshare.reports.cells import UNIT, Holding, Key, Part, Share
from creditshare.reports.tables import DEFAULTS, MULTIPLE, QUALITY, ROLLS, VINTAGES

DEFINITION: Final = 1

UNKNOWN: Final = "unknown"
OLDEST: Final = 10
"""Years from its opening to the default of a loan; those of more stand together."""
MOST_LENDERS: Final = 4
"""Borrowers in default at so many lenders or more stand together."""
LATE: Final[tuple[tuple[int, str], ...]] = ((30, "within_30"), (90, "within_90"), (180, "within_180"))
LATEST: Final = "after_180"


@dataclass(frozen=True, slots=True)
class Counted:
    """A record as the reports see it: in which cells it stands, and for how much."""

    member_id: UUID
    state: RecordState
    reported_at: datetime
    visible: bool


def share_of(histories: Sequence[History], *, version: int | None, at: datetime) -> Share:
    """Return what a borrower adds to the cells, as of a version of it and an instant of business time."""
    share: dict[tuple[Part, Key], dict[UUID, Holding]] = {}
    counted = [one for history in histories if (one := _counted(history, version, at)) is not None]
    for one in counted:
        for name in _names_of(one):
            holding = share.setdefault(name, {}).setdefault(one.member_id, Holding())
            holding.records += 1
            if name[0][0] == DEFAULTS:
                holding.amount += units(defaulted_debt(one.state))
    for name, lenders in _lenders_by_month([one for one in counted if one.visible]):
        share.setdefault(name, {}).update({lender: Holding(1) for lender in lenders})
    return share


def next_change(histories: Sequence[History], at: datetime) -> datetime | None:
    """Return when one of these records will begin to be seen, if one is not yet: it is counted anew then."""
    return min((history.visible_from for history in histories if history.visible_from > at), default=None)


def units(amount: Decimal) -> int:
    """Return an amount as a whole number of units."""
    return int(amount * UNIT)


def month_of(day: date) -> str:
    """Return a day's month as ``YYYY-MM``."""
    return f"{day.year:04}-{day.month:02}"


def year_of(day: date) -> str:
    """Return a day's year as ``YYYY``: also one that nobody meant, such as 202."""
    return f"{day.year:04}"


def region_of(region: Coded) -> str:
    """Return the first level below a country: a province's six digits (GB/T 2260), a subdivision (ISO 3166-2)."""
    return f"{region.code[:2]}0000" if region.scheme == "GB/T 2260" else region.code


def industry_of(industry: Coded | None) -> str:
    """Return the section of an industry, with its scheme: a letter of GB/T 4754, NACE or ISIC, else two digits."""
    if industry is None:
        return UNKNOWN
    return f"{industry.scheme} {industry.code[:1] if industry.code[:1].isalpha() else industry.code[:2]}"


def _counted(history: History, version: int | None, at: datetime) -> Counted | None:
    state = history.state(version=version)
    if state is None:
        return None
    reported_at = history.events[0][1].recorded_at
    return Counted(history.member_id, state, reported_at, shown(state, visible_from=history.visible_from, at=at))


def _names_of(one: Counted) -> Iterator[tuple[Part, Key]]:
    """Yield every cell that a record stands in, but those of how many lenders its borrower has."""
    if one.visible:
        report = one.state.report
        year, month, currency = year_of(report.default_on), month_of(report.default_on), report.currency
        region, industry = region_of(report.region), industry_of(report.industry)
        size = report.size_class or UNKNOWN
        for key in (
            ("month", month),
            ("month,region", month, region),
            ("month,industry", month, industry),
            ("month,size", month, size),
            ("year", year),
            ("year,region", year, region),
            ("year,industry", year, industry),
            ("year,size", year, size),
            ("year,region,industry", year, region, industry),
        ):
            yield (DEFAULTS, year), (*key[:1], currency, *key[1:])
        opened, age = year_of(report.opened_on), min(_years(report.opened_on, report.default_on), OLDEST)
        yield (VINTAGES, opened), ("opened", opened)
        yield (VINTAGES, opened), ("opened,age", opened, f"{age:02}")
        began, stands = _beginning(one.state), one.state.status
        yield (ROLLS, year), ("year", year)
        yield (ROLLS, year), ("year,from", year, began)
        yield (ROLLS, year), ("year,to", year, stands)
        yield (ROLLS, year), ("year,from,to", year, began, stands)
    yield from _quality_of(one)


def _beginning(state: RecordState) -> str:
    """Return the bucket of the grid in which a record was reported."""
    return bucket(state.report.days_past_due, written_off=state.report.written_off_on is not None)


def _quality_of(one: Counted) -> Iterator[tuple[Part, Key]]:
    """Yield what a record says about its lender's reporting, by the month in which it came."""
    reported = one.reported_at.astimezone(UTC).date()
    part, month = (QUALITY, year_of(reported)), month_of(reported)
    for measure in _measures(one, reported):
        yield part, (month, measure)


def _measures(one: Counted, reported: date) -> Iterator[str]:
    yield "records"
    days = (reported - one.state.report.default_on).days
    yield next((name for edge, name in LATE if days <= edge), LATEST)
    if one.state.corrected:
        yield "corrected"
    if one.state.withdrawn:
        yield "withdrawn"
    elif one.state.open:
        yield "open"
        if (one.state.last_recorded_at.astimezone(UTC).date() - reported).days > 0:
            yield "open_updated"
    notice = one.state.report.notice
    if notice is not None:
        yield "notice"


def _lenders_by_month(counted: Iterable[Counted]) -> Iterator[tuple[tuple[Part, Key], set[UUID]]]:
    """Yield the months in which a borrower came to be in default at another number of lenders, and left the one before.

    What it adds is a change of the number at a month's end; how many stand at it is the sum of all months before.
    """
    part = (MULTIPLE, "all")
    changes: dict[str, list[tuple[UUID, int]]] = {}
    for one in counted:
        changes.setdefault(month_of(one.state.report.default_on), []).append((one.member_id, 1))
        if one.state.ended_on is not None:
            changes.setdefault(month_of(one.state.ended_on), []).append((one.member_id, -1))
    open_at: dict[UUID, int] = {}
    before: set[UUID] = set()
    for month in sorted(changes):
        for member_id, change in changes[month]:
            open_at[member_id] = open_at.get(member_id, 0) + change
        after = {member_id for member_id, count in open_at.items() if count > 0}
        if before != after:
            if before:
                yield (part, ("month,lenders", month, _number(before), "left")), before
            if after:
                yield (part, ("month,lenders", month, _number(after), "came")), after
        before = after


def _number(lenders: set[UUID]) -> str:
    return str(min(len(lenders), MOST_LENDERS))


def _years(start: date, end: date) -> int:
    return end.year - start.year - ((end.month, end.day) < (start.month, start.day))
