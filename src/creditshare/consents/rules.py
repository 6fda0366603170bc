"""Pure decisions about consents: may this lender do this, for this purpose, with these fields, now?"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, Literal, get_args
from uuid import UUID

Kind = Literal["provide", "query"]
State = Literal["active", "paused", "revoked"]
Status = Literal["pending", "active", "paused", "revoked", "expired", "exhausted"]

QueryPurpose = Literal["pre_loan", "post_loan_monitoring", "guarantor_check", "restructuring"]
QUERY_PURPOSES: Final[tuple[QueryPurpose, ...]] = get_args(QueryPurpose)
PROVIDE_PURPOSES: Final = (*QUERY_PURPOSES, "default_reporting")
SCOPES: Final = ("defaults", "amounts", "history", "legal", "inquiries")
Channel = Literal["paper", "electronic", "branch", "app", "video"]
CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)


@dataclass(frozen=True, slots=True)
class Frequency:
    """At most ``uses`` answers per calendar day or month (UTC)."""

    uses: int
    per: Literal["day", "month"]

    def window(self, now: datetime) -> date:
        """Return the first day of the window that an instant falls in."""
        day = now.astimezone(UTC).date()
        return day if self.per == "day" else day.replace(day=1)


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent as it stands: what was agreed, and how far it is used up."""

    consent_id: UUID
    member_id: UUID
    kind: Kind
    state: State
    purposes: tuple[str, ...]
    scopes: tuple[str, ...]
    valid_from: datetime
    valid_until: datetime
    max_uses: int | None
    uses: int
    frequency: Frequency | None
    window_start: date | None
    window_used: int


def status(consent: Consent, now: datetime) -> Status:
    """Return the state as a reader should see it; pending and expired follow from the clock."""
    if consent.state == "revoked":
        return "revoked"
    if now >= consent.valid_until:
        return "expired"
    if consent.state == "paused":
        return "paused"
    if now < consent.valid_from:
        return "pending"
    return "exhausted" if exhausted(consent, now) else "active"


def exhausted(consent: Consent, now: datetime) -> bool:
    """Whether its uses, in all or in the present window, are used up."""
    if consent.max_uses is not None and consent.uses >= consent.max_uses:
        return True
    if consent.frequency is None or consent.window_start is None:
        return False
    if consent.window_start < consent.frequency.window(now):
        return False
    # A later window than the present one is a clock that ran behind: it must not open the counter again.
    return consent.window_used >= consent.frequency.uses


def refusal(
    consent: Consent | None, *, kind: Kind, member_id: UUID, purpose: str | None, scopes: tuple[str, ...], now: datetime
) -> str | None:
    """Return why this consent does not cover the act, or None if it does.

    Another member's consent, one of another kind and an unknown one are the same answer.
    """
    if consent is None or consent.member_id != member_id or consent.kind != kind:
        return "consent_missing"
    standing = {
        "revoked": "consent_revoked",
        "expired": "consent_expired",
        "paused": "consent_paused",
        "pending": "consent_not_yet_valid",
    }.get(status(consent, now))
    if standing is not None:
        return standing
    if purpose is not None and purpose not in consent.purposes:
        return "purpose_not_allowed"
    if not set(scopes) <= set(consent.scopes):
        return "consent_scope"
    if exhausted(consent, now):
        return "consent_exhausted"
    return None
