"""Pure decisions about notices: plain values in, an instant or a refusal out."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal, get_args

from creditshare.errors import FieldError, Refused
from creditshare.policy.service import Policy

Addressee = Literal["enterprise", "individual"]
Channel = Literal["paper", "electronic", "branch", "app", "video", "sms", "email", "post"]
CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)


@dataclass(frozen=True, slots=True)
class AttestedNotice:
    """What the lender says about its notice to the borrower: day, channel, digest of the document."""

    sent_on: date
    channel: str
    evidence_digest: str


def addressee(*, role: str, size_class: str | None) -> Addressee:
    """Say whose window applies. The service is blind, so the record must tell.

    A firm has a size class; a guarantor without one is taken for a person, who is given the longer window.
    """
    return "individual" if role == "guarantor" and size_class is None else "enterprise"


def visible_from(
    notice: AttestedNotice | None,
    *,
    policy: Policy,
    jurisdiction: str,
    lawful_basis: str,
    has_public_ref: bool,
    to: Addressee,
    now: datetime,
) -> datetime:
    """Return the instant from which a record may appear in answers.

    Without a duty of notice, or for lawfully public facts, that is now. Otherwise it is the start of the
    day after ``sent_on`` plus the window, in the jurisdiction's time zone. ``notice_required`` if the duty
    holds and no notice is attested; ``validation_failed`` for one that lies ahead or has lapsed.
    """
    zone = policy.timezone(jurisdiction, now.date())
    today = now.astimezone(zone).date()
    exempt = lawful_basis == policy.text(jurisdiction, "notice.exempt_basis", today) and has_public_ref
    if exempt or not policy.requires(jurisdiction, "notice.required", today):
        return now
    if notice is None:
        raise Refused("notice_required")
    window = policy.number(jurisdiction, f"notice.window_days.{to}", today)
    if notice.sent_on > today:
        raise Refused("validation_failed", fields=[FieldError("/notice/sent_on", "in_future", "a day not after today")])
    if (today - notice.sent_on).days > policy.number(jurisdiction, "notice.lapse_days", today):
        raise Refused(
            "validation_failed",
            fields=[FieldError("/notice/sent_on", "notice_lapsed", "a notice that has not lapsed; give it again")],
        )
    first_day = notice.sent_on + timedelta(days=window + 1)
    return datetime.combine(first_day, time(), tzinfo=zone).astimezone(UTC)
