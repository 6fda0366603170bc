"""How much may be asked of one worker process at once and in a short time. In memory, without the database.

Three bounds, each for another fault:

``Pace``      a member that sends too fast is told to wait (``rate_limited``), before its request costs a transaction
``Places``    when the database is slow, requests are turned away at once instead of queueing without end
``Tallies``   refusals by pace become one event per member, code and minute; they are counted here and handed over later

Each process keeps its own, so a member's pace over the whole service is at most this times the processes: a shared
counter would be a write per request, which is what a burst limit is there to prevent. Quotas of the day are exact over
all processes (``quotas.py``). Times are seconds of a monotonic clock and are passed in.
"""

import contextlib
import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Address, ip_address
from typing import Final
from uuid import UUID

from creditshare.errors import Refused

REMEMBERED: Final = 10_000
IPV6_NETWORK_BITS: Final = 64
ROUNDING: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` at once, refilled by ``per_s`` a second."""

    per_s: float
    burst: int

    @property
    def window_s(self) -> int:
        """How long an empty allowance takes to be full again."""
        return math.ceil(self.burst / self.per_s)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of an allowance. ``wait_s`` is positive where nothing is left: then nothing was used either."""

    remaining: int
    full_in_s: int
    wait_s: int = 0


class Pace:
    """Allowances by name: the generic cell rate algorithm (ITU-T I.371), one number for each name.

    The number is the instant at which the allowance is full again; a name that is not remembered is full. At most
    ``REMEMBERED`` names are kept, and those that were used longest ago go first.
    """

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def look(self, name: Hashable, *, now: float) -> Standing:
        """Return what is left without using it."""
        debt_s = max(0.0, self._full_at.get(name, now) - now)
        left = self.rate.burst - debt_s * self.rate.per_s + ROUNDING
        wait = 0 if left >= 1 else math.ceil((1 - left) / self.rate.per_s)
        return Standing(max(0, math.floor(left)), math.ceil(debt_s), wait)

    def use(self, name: Hashable, *, now: float) -> Standing:
        """Use one, if there is one, and return what is left."""
        standing = self.look(name, now=now)
        if standing.wait_s:
            return standing
        self._full_at[name] = max(now, self._full_at.get(name, now)) + 1 / self.rate.per_s
        self._full_at.move_to_end(name)
        if len(self._full_at) > REMEMBERED:
            self._full_at.popitem(last=False)
        left = self.look(name, now=now)
        return Standing(left.remaining, left.full_in_s)


class Places:
    """How many requests a process works on at the same time, and how many of them may be one member's."""

    def __init__(self, *, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._taken: dict[Hashable, int] = {}
        self._sum = 0

    def take(self, name: Hashable) -> AbstractContextManager[None]:
        """Take a place until the block ends, or raise ``Refused``: who had to wait for a place might wait for ever."""
        mine = self._taken.get(name, 0)
        if self._sum >= self._total:
            raise Refused("unavailable", retry_after=1)
        if mine >= self._each:
            raise Refused("rate_limited", retry_after=1)
        self._taken[name] = mine + 1
        self._sum += 1
        return self._held(name)

    @contextlib.contextmanager
    def _held(self, name: Hashable) -> Iterator[None]:
        try:
            yield
        finally:
            self._sum -= 1
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]


class Tallies:
    """Refusals that were counted and not yet handed to the database, by member, code and minute."""

    def __init__(self) -> None:
        self._counts: dict[tuple[UUID, str, datetime], int] = {}

    def count(self, member_id: UUID, code: str, *, now: datetime) -> None:
        """Count one refusal."""
        key = (member_id, code, now.replace(second=0, microsecond=0))
        self._counts[key] = self._counts.get(key, 0) + 1

    def take(self) -> dict[tuple[UUID, str, datetime], int]:
        """Return what was counted and begin anew."""
        taken, self._counts = self._counts, {}
        return taken

    def put_back(self, taken: dict[tuple[UUID, str, datetime], int]) -> None:
        """Count again what could not be handed over."""
        for key, count in taken.items():
            self._counts[key] = self._counts.get(key, 0) + count


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one worker process."""

    members: Pace
    strangers: Pace
    places: Places
    tallies: Tallies


def peer_name(host: str | None) -> str:
    """Return the name under which a peer's failures are counted: its address, for IPv6 the network it came from."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        return (address.packed[: IPV6_NETWORK_BITS // 8]).hex()
    return address.compressed
