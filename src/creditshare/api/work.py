"""One signed request being answered, and whom a route lets in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from fastapi import Request, Response

from creditshare.access.service import Caller, Claim
from creditshare.audit.service import Entry, Recorded
from creditshare.errors import Refused
from creditshare.members import standing
from creditshare.members.service import Member, MemberRole
from creditshare.storage.engine import WriteSession
from creditshare.wire.leaf import LogEntry

T = TypeVar("T")


@dataclass(slots=True)
class Work:
    """Who asks, in which transaction, at which time, and what was done.

    ``content`` is the request's body, read strictly. ``purpose`` is what the caller asks for, where the route knows it:
    a refusal is logged with it too. A route with a transaction of its own sets ``committed``; or ``retell``, which says
    in a transaction of the edge what is to be told instead; or neither, where the request was answered before and the
    stored answer is told again. What a route lets be made of what it read is ``drawn`` between two transactions.
    """

    caller: Caller
    request_digest: str
    claim: Claim | None
    content: object = None
    purpose: str = ""
    session: WriteSession | None = None
    now: datetime | None = None
    entry: Entry | None = None
    committed: LogEntry | None = None
    retell: "Callable[[Work], Awaitable[Response]] | None" = None
    drawn: Callable[[], Awaitable[Response]] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def record(self, done: Recorded[T]) -> T:
        """Note what must be in the log for this exchange to count, and return the service's result."""
        self.entry = done.entry
        return done.value


@dataclass(frozen=True, slots=True)
class Admits:
    """A route's caller: which role (or one of two), and which kind of act its state must allow.

    Its instances are the dependencies in routes' signatures. The edge asks ``check`` itself before it tells a stored
    answer again, when the route does not run.
    """

    who: str
    role: MemberRole | None = None
    also: MemberRole | None = None
    act: standing.Act = "oversee"

    def check(self, member: Member) -> None:
        """Refuse a member of another role, or one whose state does not allow this."""
        if self.role is not None and member.role not in {self.role, self.also}:
            raise Refused("role_forbidden")
        standing.require(member.status, self.act)

    async def __call__(self, request: Request) -> Work:
        """Return the work, admitted. A coroutine, because the framework would send a plain function to a thread."""
        work: Work = request.state.work
        self.check(work.caller.member)
        return work
