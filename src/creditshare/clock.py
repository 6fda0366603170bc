"""Where time comes from. Nothing in creditshare reads the system clock except through here.

The gate judges signatures by ``Clock.now``; business rules use the database's time plus
``Clock.offset``, so that all workers agree. The offset is zero in production; a sandbox or a test may
move it forward to see a notice window end or a consent expire.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    @property
    def offset(self) -> timedelta:
        """How far business time runs ahead of the database's clock."""

    def now(self) -> datetime:
        """Return the present instant, in UTC, without the business offset."""


@dataclass(slots=True)
class SystemClock:
    """The machine's clock, with an offset that only a sandbox or a test may set."""

    offset: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        """Return the machine's present instant in UTC."""
        return datetime.now(UTC)
