"""The tables that are told, how their cells add up to each other's, and when a cell's period is over.

All of a year's tables are one system: whoever has them all can subtract any from any other, so they are protected
together (``telling.py``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from creditshare.reports.cells import Key

DEFAULTS: Final = "defaults"
VINTAGES: Final = "vintages"
ROLLS: Final = "rolls"
MULTIPLE: Final = "multiple"
QUALITY: Final = "quality"
ACTIVITY: Final = "activity"
"""The families: tables whose cells are kept together, part by part."""
PROTECTED: Final = frozenset({DEFAULTS, VINTAGES, ROLLS, MULTIPLE})
"""Families that say something about borrowers, if only about many."""
MONTHS: Final = 12
Name = tuple[str, ...]
"""A cell among those of all families: the family, the table, then its value in each dimension."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its name, which lists its dimensions, and whether sums of amounts are told with the counts."""

    name: str
    sums: bool = False

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions in the order of a cell's values. Sums are of one currency, which stands before all others."""
        listed = tuple(self.name.split(","))
        return ("currency", *listed) if self.sums else listed


DEFAULT_TABLES: Final = tuple(
    Table(name, sums=True)
    for name in (
        "month",
        "month,region",
        "month,industry",
        "month,size",
        "year",
        "year,region",
        "year,industry",
        "year,size",
        "year,region,industry",
    )
)
ROLL_TABLES: Final = tuple(Table(name) for name in ("year", "year,from", "year,to", "year,from,to"))
VINTAGE_TABLES: Final = tuple(Table(name) for name in ("opened", "opened,age"))

Margins = Sequence[tuple[Table, Table]]
"""Pairs of tables of which the first one's cells are sums of the second one's."""


def _margins(tables: Sequence[Table], *pairs: tuple[str, str]) -> Margins:
    named = {table.name: table for table in tables}
    return tuple((named[total], named[part]) for total, part in pairs)


MONTH_MARGINS: Final = _margins(
    DEFAULT_TABLES, ("month", "month,region"), ("month", "month,industry"), ("month", "month,size")
)
YEAR_MARGINS: Final = (
    *MONTH_MARGINS,
    *_margins(
        DEFAULT_TABLES,
        ("year", "month"),
        ("year", "year,region"),
        ("year", "year,industry"),
        ("year", "year,size"),
        ("year,region", "month,region"),
        ("year,industry", "month,industry"),
        ("year,size", "month,size"),
        ("year,region", "year,region,industry"),
        ("year,industry", "year,region,industry"),
    ),
)
ROLL_MARGINS: Final = _margins(
    ROLL_TABLES, ("year", "year,from"), ("year", "year,to"), ("year,from", "year,from,to"), ("year,to", "year,from,to")
)
VINTAGE_MARGINS: Final = _margins(VINTAGE_TABLES, ("opened", "opened,age"))


@dataclass(frozen=True, slots=True)
class Relation:
    """A cell that is the sum of others, all named."""

    total: Name
    parts: tuple[Name, ...]


def relations(family: str, names: Iterable[Key], margins: Margins) -> list[Relation]:
    """Return how the cells of a family add up; a cell that is not among ``names`` is nought and left out."""
    by_table: dict[str, list[Key]] = {}
    for name in names:
        by_table.setdefault(name[0], []).append(name)
    found = []
    for total, part in margins:
        grouped: dict[Key, list[Name]] = {}
        for name in by_table.get(part.name, ()):
            grouped.setdefault(_total_of(name, part, total), []).append((family, *name))
        found += [Relation((family, *key), tuple(parts)) for key, parts in sorted(grouped.items())]
    return found


def across(total_family: str, total: Key, family: str, parts: Iterable[Key]) -> Relation:
    """Return that a cell of one family is the sum of cells of another."""
    return Relation((total_family, *total), tuple((family, *part) for part in parts))


def _total_of(name: Key, part: Table, total: Table) -> Key:
    values = dict(zip(part.dimensions, name[1:], strict=True))
    if "year" in total.dimensions and "year" not in values:
        values["year"] = values["month"][:4]
    return (total.name, *(values[dimension] for dimension in total.dimensions))


def is_over(month: str, *, on: date, closes_after_days: int) -> bool:
    """Whether a month's late reports are in, so that it may be told."""
    year, number = int(month[:4]), int(month[5:])
    following = date(year + number // MONTHS, number % MONTHS + 1, 1)
    return following + timedelta(days=closes_after_days) <= on
