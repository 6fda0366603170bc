"""Small charts as the server draws them: geometry only; colours and words stand in style sheet and template."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

WIDTH: Final = 640
BASE: Final = 100


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: where it stands, how high, and what it says."""

    x: float
    y: float
    width: float
    height: float
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of counts by day."""

    bars: tuple[Bar, ...]
    most: int
    total: int
    first: str
    last: str


def days(counts: Mapping[date, int], *, last: date, number: int) -> Bars:
    """Return a bar for each of the ``number`` days that end with the last one, days without any included."""
    dates = [last - timedelta(days=back) for back in range(number - 1, -1, -1)]
    most = max((counts.get(day, 0) for day in dates), default=0)
    step = WIDTH / number
    bars = []
    for place, day in enumerate(dates):
        count = counts.get(day, 0)
        height = round(BASE * count / most, 2) if most else 0.0
        bars.append(Bar(round(place * step + 2, 2), BASE - height, round(step - 4, 2), height, day.isoformat(), count))
    total = sum(bar.count for bar in bars)
    return Bars(tuple(bars), most, total, dates[0].isoformat(), dates[-1].isoformat())
