"""Where time comes from. Nothing in creditshare reads the system clock except through here.

The gate and the keys' lives go by ``Clock.now``; business rules go by the database's ``creditshare_now()``,
so that all workers agree, and a sandbox may move that forward (``sandbox``).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now(self) -> datetime:
        """Return the present instant, in UTC."""


@dataclass(slots=True)
class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's present instant in UTC."""
        return datetime.now(UTC)
