"""The async client over httpx: the same flows as ``bank``, awaited."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx

from creditshare.client.bank import TIMEOUT_S, received, trusted_authorities, unreachable
from creditshare.client.core import Identity
from creditshare.client.flow import Bound, Done, Flow, Step, Told, Wait, advance
from creditshare.client.pins import Pins
from creditshare.client.profile import Profile
from creditshare.client.resources import ConsentFlows, DebtFlows, KeyFlows, QueryFlows, RecordFlows
from creditshare.client.session import Clock, Session

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")


class AsyncTransport:
    """Runs flows over one pool of connections of one event loop."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None) -> None:
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/"), transport=transport, timeout=TIMEOUT_S, verify=trusted_authorities()
        )

    async def run(self, flow: Flow[T]) -> T:
        """Do what the flow says until it ends."""
        step = advance(flow, None)
        while not isinstance(step, Done):
            step = advance(flow, await self._do(step))
        return step.value

    async def _do(self, step: Step) -> Told:
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            return None
        try:
            got = await self._http.request(step.method, step.target, headers=dict(step.headers), content=step.body)
        except httpx.HTTPError as error:
            return unreachable(error)
        return received(got)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def awaiting(
    flow: Callable[Concatenate[S, P], Flow[T]],
) -> Callable[Concatenate[Bound[S, AsyncTransport], P], Awaitable[T]]:
    """Return the coroutine method that runs a flow to its end: the same arguments, the same result."""

    @functools.wraps(flow)
    async def run(self: Bound[S, AsyncTransport], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._transport.run(flow(self._flows, *args, **kwargs))

    return run


class AsyncConsents(Bound[ConsentFlows, AsyncTransport]):
    """``bank.consents``."""

    grant = awaiting(ConsentFlows.grant)
    show = awaiting(ConsentFlows.show)
    revoke = awaiting(ConsentFlows.revoke)
    pause = awaiting(ConsentFlows.pause)
    resume = awaiting(ConsentFlows.resume)


class AsyncRecords(Bound[RecordFlows, AsyncTransport]):
    """``bank.records``."""

    submit = awaiting(RecordFlows.submit)
    submit_batch = awaiting(RecordFlows.submit_batch)
    start_batch = awaiting(RecordFlows.start_batch)
    follow = awaiting(RecordFlows.follow)
    show = awaiting(RecordFlows.show)
    advance = awaiting(RecordFlows.advance)
    correct = awaiting(RecordFlows.correct)
    withdraw = awaiting(RecordFlows.withdraw)


class AsyncDebts(Bound[DebtFlows, AsyncTransport]):
    """``bank.debts``."""

    state = awaiting(DebtFlows.state)


class AsyncQueries(Bound[QueryFlows, AsyncTransport]):
    """``bank.queries``."""

    run = awaiting(QueryFlows.run)
    non_performing = awaiting(QueryFlows.non_performing)
    show = awaiting(QueryFlows.show)


class AsyncKeys(Bound[KeyFlows, AsyncTransport]):
    """``bank.keys``."""

    register = awaiting(KeyFlows.register)
    revoke = awaiting(KeyFlows.revoke)
    retire = awaiting(KeyFlows.retire)
    list = awaiting(KeyFlows.list)


class AsyncClient(Bound[Session, AsyncTransport]):
    """The async twin of ``Client``. It reads what the service says about itself with its first call."""

    def __init__(
        self,
        url: str,
        identity: Identity | None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock = time.time,
        pins: Pins | None = None,
        on_first_use: Callable[[Pins], None] | None = None,
    ) -> None:
        session = Session(identity, clock=clock, pins=pins, on_first_use=on_first_use)
        super().__init__(session, AsyncTransport(url, transport))
        self.consents = AsyncConsents(ConsentFlows(session), self._transport)
        self.records = AsyncRecords(RecordFlows(session), self._transport)
        self.debts = AsyncDebts(DebtFlows(session), self._transport)
        self.queries = AsyncQueries(QueryFlows(session), self._transport)
        self.keys = AsyncKeys(KeyFlows(session), self._transport)

    @classmethod
    def from_profile(cls, name: str | Path, *, transport: httpx.AsyncBaseTransport | None = None) -> Self:
        """Open the client that a profile describes; its pinned keys are checked, or pinned now and said aloud."""
        profile = Profile.load(name)
        return cls(
            profile.url, profile.identity(), transport=transport, pins=profile.pins, on_first_use=profile.remember
        )

    connect = awaiting(Session.connect)
    call = awaiting(Session.call)
    pages = awaiting(Session.pages)
    send = awaiting(Session.send)
    tokenise = awaiting(Session.tokenise)
    business_time = awaiting(Session.business_time)
    grant_consent = awaiting(Session.grant_consent)
    query = awaiting(Session.query)
    enrol = awaiting(Session.enrol)
    evidence = awaiting(Session.evidence)
    inclusion_proof = awaiting(Session.inclusion_proof)

    @property
    def session(self) -> Session:
        """The conversation's state; ``sign`` and ``service`` are there once connected."""
        return self._flows

    async def __aenter__(self) -> Self:
        """Use as a context manager."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()
