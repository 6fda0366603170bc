"""How a conversation with the service proceeds, without I/O.

A flow is a generator: it yields what is to be done next, a request to send or a pause, and is told what came of it.
All decisions stand in flows; a transport only does what it is told, so the blocking and the async client cannot differ.
A transport that cannot reach the service throws ``Unavailable`` into the flow, which decides whether to go on.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from creditshare.errors import Unavailable

T = TypeVar("T")
F = TypeVar("F")
X = TypeVar("X")


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request, byte for byte, to the service's address plus ``target``."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Pause before going on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Received:
    """What came back, unchecked. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Step = Send | Wait
Flow = Generator[Step, Received | None, T]


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The flow's result."""

    value: T


Told = Received | Unavailable | None


def advance(flow: Flow[T], told: Told) -> Step | Done[T]:
    """Tell a flow what came of its last step, None at the start and after a pause; return its next one, or its end."""
    try:
        return flow.throw(told) if isinstance(told, Unavailable) else flow.send(told)
    except StopIteration as ended:
        return Done(ended.value)


def exchange(step: Send) -> Flow[Received]:
    """Send one request and return what came back."""
    got = yield step
    if got is None:
        raise TypeError("a transport answers a request")
    return got


class Bound(Generic[F, X]):
    """An object whose methods are flows, with the transport that runs them."""

    def __init__(self, flows: F, transport: X) -> None:
        self._flows = flows
        self._transport = transport
