"""Requests that wait at the same moment go through one statement together.

A statement costs much the same for one request as for a few: the round trip, the transaction, its place in the
write-ahead log. So what comes while one runs is gathered and goes with the next, all of it at once. Nobody waits for
company: with nothing running, a request goes at once and alone. Under load the groups grow by themselves, and each
request becomes cheaper.

One request must not be worse off for the others beside it. Whoever would get in another's way, such as a second use of
one consent, goes with a later group. A group that fails is tried again one by one, so that the failure is that of the
request it belongs to. A statement that takes long holds up its own group only: others go past it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from typing import Final, Generic, TypeVar

from creditshare.errors import Unavailable

One = TypeVar("One")
Result = TypeVar("Result")

MOST: Final = 64
LANES: Final = 4
PATIENCE_S: Final = 0.005


class Gathering(Generic[One, Result]):
    """Runs requests in groups.

    ``together`` takes up to ``most`` requests and returns what came of each, in their order; an exception among the
    results is raised for that request alone. ``apart`` names what a request touches: two with a name in common never
    go in one group. ``lanes`` groups at most run at once, and a second only where one has run for ``patience_s``.
    """

    def __init__(
        self,
        together: Callable[[Sequence[One]], Awaitable[Sequence[Result | Exception]]],
        *,
        apart: Callable[[One], Collection[Hashable]] = lambda _: (),
        most: int = MOST,
        lanes: int = LANES,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._together = together
        self._apart = apart
        self._most = most
        self._lanes = lanes
        self._patience_s = patience_s
        self._waiting: deque[tuple[One, asyncio.Future[Result]]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._awaited = 0
        """Lanes that others wait for: those whose statement has not run for long."""

    async def one(self, request: One) -> Result:
        """Run a request, with others or alone, and return what came of it.

        Raises ``Unavailable`` if the database does not answer, else what ``together`` raises or returns for it.
        """
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, outcome))
        self._begin()
        return await outcome

    def _begin(self) -> None:
        if self._waiting and not self._awaited and len(self._running) < self._lanes:
            self._awaited += 1
            # A task begins after everything that is ready to run now: who asks at this very moment goes along.
            lane = asyncio.create_task(self._lane())
            self._running.add(lane)
            lane.add_done_callback(self._ended)

    def _ended(self, lane: asyncio.Task[None]) -> None:
        self._running.discard(lane)
        self._begin()

    async def _lane(self) -> None:
        awaited = True

        def go_past() -> None:
            nonlocal awaited
            awaited = False
            self._awaited -= 1
            self._begin()

        try:
            while awaited and self._waiting:
                group = self._next_group()
                overdue = asyncio.get_running_loop().call_later(self._patience_s, go_past)
                try:
                    await self._serve(group)
                finally:
                    overdue.cancel()
        finally:
            if awaited:
                self._awaited -= 1

    def _next_group(self) -> list[tuple[One, asyncio.Future[Result]]]:
        group: list[tuple[One, asyncio.Future[Result]]] = []
        later: list[tuple[One, asyncio.Future[Result]]] = []
        touched: set[Hashable] = set()
        while self._waiting and len(group) < self._most:
            waiting = self._waiting.popleft()
            if waiting[1].done():  # nobody waits for it any more
                continue
            names = self._apart(waiting[0])
            (later if any(name in touched for name in names) else group).append(waiting)
            # The names of those put off count too, so that none overtakes another.
            touched.update(names)
        self._waiting.extendleft(reversed(later))
        return group

    async def _serve(self, group: Sequence[tuple[One, asyncio.Future[Result]]]) -> None:
        if not group:
            return
        try:
            results = await self._together([request for request, _ in group])
        except Exception as error:  # noqa: BLE001  whatever it is belongs to those who asked
            if len(group) > 1 and not isinstance(error, Unavailable):
                await asyncio.gather(*(self._serve([waiting]) for waiting in group))
                return
            results = [_own(error) if len(group) > 1 else error for _ in group]
        for (_, outcome), result in zip(group, results, strict=True):
            if outcome.done():
                continue
            if isinstance(result, Exception):
                outcome.set_exception(result)
            else:
                outcome.set_result(result)


def _own(error: Exception) -> Exception:
    """Return an exception for one of several who share a failure: each raises its own."""
    own = Unavailable(str(error))
    own.__cause__ = error
    return own
