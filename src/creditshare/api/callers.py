"""Who may call a route, visible in its signature: ``LenderWork``, ``OperatorWork``, ``MemberWork`` …

Coroutines although they wait for nothing: the framework sends a plain function to a thread, which costs more than it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request

from creditshare.api.exchange import Work
from creditshare.errors import Refused
from creditshare.members.service import MemberRole


async def any_member(request: Request) -> Work:
    """Admit any member with a live key, suspended or not: it may always read itself, correct and answer."""
    work: Work = request.state.work
    return work


def _only(request: Request, role: MemberRole, *, suspended: bool) -> Work:
    work: Work = request.state.work
    if work.caller.member.role != role:
        raise Refused("role_forbidden")
    if work.caller.member.status != "active" and not (suspended and work.caller.member.status == "suspended"):
        raise Refused("member_suspended")
    return work


async def active_lender(request: Request) -> Work:
    """Admit active lenders."""
    return _only(request, "lender", suspended=False)


async def correcting_lender(request: Request) -> Work:
    """Admit lenders, suspended ones too: they must be able to correct, withdraw and revoke."""
    return _only(request, "lender", suspended=True)


async def active_operator(request: Request) -> Work:
    """Admit the operator's people."""
    return _only(request, "operator", suspended=False)


MemberWork = Annotated[Work, Depends(any_member)]
LenderWork = Annotated[Work, Depends(active_lender)]
CorrectingLenderWork = Annotated[Work, Depends(correcting_lender)]
OperatorWork = Annotated[Work, Depends(active_operator)]


@dataclass(frozen=True, slots=True)
class Admits:
    """Whom a caller's dependency lets in, for the documentation: ``role`` is None where any member is."""

    who: str
    role: MemberRole | None = None
    suspended: bool = False


ADMITS: Final[dict[Callable[[Request], Awaitable[Work]], Admits]] = {
    any_member: Admits("any member with a live key, suspended or not", suspended=True),
    active_lender: Admits("active lenders", "lender"),
    correcting_lender: Admits("lenders, suspended ones too", "lender", suspended=True),
    active_operator: Admits("the operator's people", "operator"),
}
