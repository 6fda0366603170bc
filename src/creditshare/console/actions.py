"""What an action of the pages is: whose it is, how a form becomes its document, what carries that out.

An action says how a form becomes its document, which command does the same, and which service call carries it out: the
call that the API's route makes, in the same transaction as the event. The event is named as the API's operation is.
What carries it out is given the document alone, never the form: it can do nothing that was not shown.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import Response

from creditshare.access.service import Caller
from creditshare.audit.service import Recorded
from creditshare.console.visits import Visit
from creditshare.errors import FieldError
from creditshare.members.service import MemberRole
from creditshare.services import Services
from creditshare.storage.engine import WriteSession
from creditshare.wire.confirmation import Confirmation

Terms = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hand:
    """With what an action is carried out: for whom, in which transaction, at which time."""

    services: Services
    session: WriteSession
    caller: Caller
    now: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action brought: about what, by its public id; its state; and a one-time code where one was made."""

    object: str
    state: str
    enrolment_code: str | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """A change that pages offer to the people of one role.

    ``asks`` returns the public id of what it is about, empty where that is yet to be made, and the terms.
    ``versioned``: it is made under the version of the member that was looked at.
    """

    name: str
    role: MemberRole
    asks: Callable[[Visit], Awaitable[tuple[str, Terms]]]
    runs: Callable[[Hand, Confirmation], Awaitable[Recorded[Outcome]]]
    command: Callable[[Confirmation], list[str]]
    versioned: bool = False
    again: Callable[[Visit, Sequence[FieldError]], Response] | None = None
    """Shows the form anew with all that was entered, where something in it is wrong."""
