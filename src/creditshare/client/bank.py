"""The blocking client over httpx: it does what the flows say, and nothing else."""

import functools
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

import httpx

from creditshare.client.core import Identity, SignedRequest
from creditshare.client.flow import Bound, Done, Flow, Received, Step, Told, Wait, advance
from creditshare.client.pins import Pins
from creditshare.client.problems import Problem
from creditshare.client.profile import Profile
from creditshare.client.resources import ConsentFlows, DebtFlows, KeyFlows, QueryFlows, RecordFlows
from creditshare.client.session import Clock, Session
from creditshare.errors import Unavailable

TIMEOUT_S: Final = 30.0

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")


class Transport:
    """Runs flows over one pool of connections."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None) -> None:
        self._http = httpx.Client(
            base_url=url.rstrip("/"), transport=transport, timeout=TIMEOUT_S, verify=trusted_authorities()
        )

    def run(self, flow: Flow[T]) -> T:
        """Do what the flow says until it ends."""
        step = advance(flow, None)
        while not isinstance(step, Done):
            step = advance(flow, self._do(step))
        return step.value

    def _do(self, step: Step) -> Told:
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            return None
        try:
            got = self._http.request(step.method, step.target, headers=dict(step.headers), content=step.body)
        except httpx.HTTPError as error:
            return unreachable(error)
        return received(got)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def blocking(flow: Callable[Concatenate[S, P], Flow[T]]) -> Callable[Concatenate[Bound[S, Transport], P], T]:
    """Return the method that runs a flow to its end: the same arguments, the same result."""

    @functools.wraps(flow)
    def run(self: Bound[S, Transport], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._transport.run(flow(self._flows, *args, **kwargs))

    return run


class Consents(Bound[ConsentFlows, Transport]):
    """``bank.consents``."""

    grant = blocking(ConsentFlows.grant)
    show = blocking(ConsentFlows.show)
    revoke = blocking(ConsentFlows.revoke)
    pause = blocking(ConsentFlows.pause)
    resume = blocking(ConsentFlows.resume)


class Records(Bound[RecordFlows, Transport]):
    """``bank.records``."""

    submit = blocking(RecordFlows.submit)
    submit_batch = blocking(RecordFlows.submit_batch)
    start_batch = blocking(RecordFlows.start_batch)
    follow = blocking(RecordFlows.follow)
    show = blocking(RecordFlows.show)
    advance = blocking(RecordFlows.advance)
    correct = blocking(RecordFlows.correct)
    withdraw = blocking(RecordFlows.withdraw)


class Debts(Bound[DebtFlows, Transport]):
    """``bank.debts``."""

    state = blocking(DebtFlows.state)


class Queries(Bound[QueryFlows, Transport]):
    """``bank.queries``."""

    run = blocking(QueryFlows.run)
    non_performing = blocking(QueryFlows.non_performing)
    show = blocking(QueryFlows.show)


class Keys(Bound[KeyFlows, Transport]):
    """``bank.keys``."""

    register = blocking(KeyFlows.register)
    revoke = blocking(KeyFlows.revoke)
    retire = blocking(KeyFlows.retire)
    list = blocking(KeyFlows.list)


class Client(Bound[Session, Transport]):
    """Signs, sends and checks on behalf of one member. Nothing of a borrower leaves it unblinded."""

    def __init__(
        self,
        url: str,
        identity: Identity | None,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Clock = time.time,
        pins: Pins | None = None,
        on_first_use: Callable[[Pins], None] | None = None,
    ) -> None:
        session = Session(identity, clock=clock, pins=pins, on_first_use=on_first_use)
        self._bind(session, Transport(url, transport))
        try:
            self._transport.run(session.connect())
        except BaseException:
            self.close()
            raise

    def acting_for(self, identity: Identity) -> "Client":
        """Return a client of another member over the same connections; closing one of them closes them all.

        For who speaks for many members: nothing of the service is read or parsed again.
        """
        other = Client.__new__(Client)
        other._bind(self._flows.acting_for(identity), self._transport)  # noqa: SLF001  of this very class
        return other

    def _bind(self, session: Session, transport: Transport) -> None:
        super().__init__(session, transport)
        self.consents = Consents(ConsentFlows(session), transport)
        self.records = Records(RecordFlows(session), transport)
        self.debts = Debts(DebtFlows(session), transport)
        self.queries = Queries(QueryFlows(session), transport)
        self.keys = Keys(KeyFlows(session), transport)

    @classmethod
    def from_profile(cls, name: str | Path, *, transport: httpx.BaseTransport | None = None) -> Self:
        """Open the client that a profile describes; its pinned keys are checked, or pinned now and said aloud."""
        profile = Profile.load(name)
        return cls(
            profile.url, profile.identity(), transport=transport, pins=profile.pins, on_first_use=profile.remember
        )

    call = blocking(Session.call)
    pages = blocking(Session.pages)
    send = blocking(Session.send)
    transmit = blocking(Session.transmit)
    tokenise = blocking(Session.tokenise)
    business_time = blocking(Session.business_time)
    grant_consent = blocking(Session.grant_consent)
    query = blocking(Session.query)
    enrol = blocking(Session.enrol)
    evidence = blocking(Session.evidence)
    inclusion_proof = blocking(Session.inclusion_proof)
    document = blocking(Session.document)

    def sign(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        data: object = None,
        key: str | None = None,
        if_match: str | None = None,
    ) -> SignedRequest:
        """Build a signed request without sending it (``Session.sign``)."""
        return self._flows.sign(method, path, query=query, data=data, key=key, if_match=if_match)

    @property
    def session(self) -> Session:
        """The conversation's state."""
        return self._flows

    @property
    def identity(self) -> Identity | None:
        """Who signs."""
        return self._flows.identity

    @property
    def issuer(self) -> str:
        """The service's public address, by its own word."""
        return self._flows.service.issuer

    @property
    def discovery(self) -> dict[str, Any]:
        """What the service says about itself."""
        return self._flows.service.discovery

    @property
    def service_jwks(self) -> dict[str, Any]:
        """The service's public keys as published."""
        return self._flows.service.jwks

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


@functools.cache
def trusted_authorities() -> ssl.SSLContext:
    """Return the certificate authorities, read once for all clients: reading them costs more than many calls."""
    return httpx.create_ssl_context()


def received(got: httpx.Response) -> Received:
    """Return an answer in the flows' terms."""
    return Received(got.status_code, {name.lower(): value for name, value in got.headers.items()}, got.content)


def unreachable(error: httpx.HTTPError) -> Unavailable:
    """Return the error that a flow is told when no answer came."""
    unavailable = Unavailable(f"the service cannot be reached ({type(error).__name__})")
    unavailable.__cause__ = error
    return unavailable


__all__ = ["Client", "Problem"]
