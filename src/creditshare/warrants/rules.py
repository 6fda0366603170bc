"""Pure decisions: what a regulator may ask for, what an approval must repeat, what a warrant is at an instant."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Literal, get_args
from uuid import UUID

from creditshare.errors import FieldError, Refused
from creditshare.records.rules import looks_like_identifier

LegalBasis = Literal["court_order", "criminal_investigation", "statutory_inspection", "borrower_complaint"]
Scope = Literal["records", "inquiries"]
State = Literal["requested", "active", "rejected", "withdrawn", "revoked"]
Status = Literal["requested", "lapsed", "active", "expired", "rejected", "withdrawn", "revoked"]
LEGAL_BASES: Final[tuple[LegalBasis, ...]] = get_args(LegalBasis)
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
APPROVALS: Final = 2
"""How many different operators must approve; who asked is none of them."""
LIVE: Final = frozenset[Status]({"requested", "active"})
_PAST_ITS_TIME: Final[Mapping[State, Status]] = MappingProxyType({"requested": "lapsed", "active": "expired"})


@dataclass(frozen=True, slots=True)
class Terms:
    """What a warrant says: which thing names the borrower, on what basis, why, what may be read and until when.

    ``scopes`` are in the order of their names, so that the same set is the same terms.
    """

    named: str
    legal_basis: str
    reference: str
    reason: str
    scopes: tuple[str, ...]
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Warrant:
    """A warrant as it stands, without what it says."""

    warrant_id: UUID
    subject_id: UUID
    regulator_id: UUID
    state: State
    requested_at: datetime
    lapses_at: datetime
    active_from: datetime | None
    ends_at: datetime

    def status(self, now: datetime) -> Status:
        """Return what it is at an instant; nobody has to act for its time to be over."""
        end = min(self.lapses_at, self.ends_at) if self.state == "requested" else self.ends_at
        return _PAST_ITS_TIME.get(self.state, self.state) if now >= end else self.state


def check(terms: Terms, *, most_days: int, now: datetime) -> None:
    """Refuse what may not be asked for, naming every wrong field."""
    wrong = [
        FieldError(f"/{name}", "identifier", "a case number or reason, not an identifier of the borrower")
        for name, text in (("reference", terms.reference), ("reason", terms.reason))
        if looks_like_identifier(text)
    ]
    if terms.ends_at <= now:
        wrong.append(FieldError("/ends_at", "in_past", "an instant that lies ahead"))
    if terms.ends_at > now + timedelta(days=most_days):
        wrong.append(FieldError("/ends_at", "too_late", f"at most {most_days} days ahead"))
    if wrong:
        raise Refused("validation_failed", fields=wrong)


def require_repeated(said: Terms, repeated: Terms, *, same_regulator: bool) -> None:
    """Refuse an approval of other terms than were asked for: it is won for these and used for no others."""
    wrong = [
        FieldError(f"/{one.name}", "not_as_proposed", "what was asked for, repeated by who approves it")
        for one in fields(Terms)
        if getattr(said, one.name) != getattr(repeated, one.name)
    ]
    if not same_regulator:
        wrong.append(FieldError("/regulator_id", "not_as_proposed", "who asked for it"))
    if wrong:
        raise Refused("validation_failed", fields=wrong)


def require_live(warrant: Warrant, now: datetime) -> None:
    """Refuse to decide about a warrant whose time is over, or that was decided about."""
    if warrant.status(now) not in LIVE:
        raise Refused("state_conflict", extra={"hint": f"the warrant is {warrant.status(now)}"})


def require_in_force(warrant: Warrant, scopes: tuple[str, ...], scope: Scope, now: datetime) -> None:
    """Refuse a reading that the warrant does not allow at this instant."""
    if warrant.status(now) != "active":
        raise Refused("warrant_not_in_force")
    if scope not in scopes:
        raise Refused("warrant_scope")
