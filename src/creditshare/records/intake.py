"""What taking in one default has in common with taking in a file of them: the last rules, and its sealed event."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from creditshare.consents import rules as consent_rules
from creditshare.consents.rules import Consent
from creditshare.errors import Malformed, Refused
from creditshare.ids import parse, spell
from creditshare.keys.custody import SALT_BYTES
from creditshare.records.history import CurrentRow, History, current_mac_bytes, seal_event
from creditshare.records.rules import Happened, RecordState, Report, follows
from creditshare.subjects.service import SubjectState, advanced, next_event_time, sealed_row


@dataclass(frozen=True, slots=True)
class Held:
    """A record as its own lender sees it."""

    record_id: UUID
    visible_from: datetime
    state: RecordState
    now: datetime

    @property
    def status(self) -> str:
        """``pending_notice`` while the notice window of an open default runs, else where it stands in its life."""
        if self.now < self.visible_from and self.state.open:
            return "pending_notice"
        return self.state.status


@dataclass(frozen=True, slots=True)
class Due:
    """A submission that passed the rules: whose it is, and its clear columns."""

    report: Report
    subject_id: UUID
    row: CurrentRow


def consent_named(report: Report) -> UUID | None:
    """Return the consent to provide that a report names, or None; what is no consent's number is none either."""
    try:
        return parse("cns", report.provide_consent_id) if report.provide_consent_id is not None else None
    except Malformed:
        return None


def require_consent(report: Report, consent: Consent | None, member_id: UUID, now: datetime) -> None:
    """A named consent to provide must hold; the basis ``consent`` must name one (征信业管理条例 art. 29)."""
    if report.provide_consent_id is None:
        return
    reason = consent_rules.refusal(consent, kind="provide", member_id=member_id, purpose=None, scopes=(), now=now)
    if reason is not None:
        raise Refused(reason)


def happens(due: Due, state: SubjectState, now: datetime) -> tuple[SubjectState, tuple[Any, ...], Held]:
    """Make a default the next event of its borrower: the borrower after it, the values of its row, the record."""
    changed, row, event = seal_default(due, state, now)
    history = History(due.row.record_id, due.row.member_id, due.row.visible_from, ((changed.version, event),))
    return changed, row, as_held(history, now)


def seal_default(due: Due, state: SubjectState, now: datetime) -> tuple[SubjectState, tuple[Any, ...], Happened]:
    """Seal a default as the next event of its borrower: the borrower after it, the values of its row, the event."""
    record_id, salt = due.row.record_id, secrets.token_bytes(SALT_BYTES)
    at = next_event_time(state, now)
    # The clear columns are repeated inside the sealed event, so that an edit of them is noticed on reading.
    event = Happened("submitted", at, report=due.report, reason=current_mac_bytes(due.row).decode())
    sealed = seal_event(
        state.keys, salt, record_id, event_no=state.event_count + 1, version=state.version + 1, event=event
    )
    changed = advanced(state, event_macs=[sealed.mac], at=at)
    row = (
        state.subject_id,
        record_id,
        due.row.visible_from,
        due.row.account_index,
        salt,
        sealed.event_no,
        sealed.version,
        sealed.sealed,
        sealed.mac,
    )
    return changed, row, event


def borrower_row(state: SubjectState, version_before: int) -> tuple[Any, ...]:
    """Return the values of ``BORROWER``: whose row, at which version it is expected, and what it becomes."""
    return (
        state.subject_id,
        version_before,
        state.keys.key_id,
        state.version,
        state.event_count,
        state.chain,
        state.last_event_at,
        sealed_row(state),
    )


def require_way(histories: Sequence[History], member_id: UUID, earlier: UUID, report: Report) -> None:
    """Refuse a second report of an account, unless its earlier default, this member's own, had ended before.

    A loan that was cured may default again; that is a new record with its own notice, and what ended before stays as it
    was.
    """
    if not follows(state_of(own_of(histories, member_id, earlier)), report):
        raise already_reported(earlier)


def own_of(histories: Sequence[History], member_id: UUID, record_id: UUID) -> History:
    """Return a member's record among a borrower's. It is known to be there, so if it is not, it was erased."""
    for history in histories:
        if history.record_id == record_id and history.member_id == member_id:
            return history
    raise Refused("erased")


def already_reported(record_id: UUID) -> Refused:
    """Return the refusal of a second report. It names the record, which is this member's own: the index says so."""
    hint = "this account is reported already; correct that record"
    return Refused("state_conflict", extra={"hint": hint, "record_id": spell("rec", record_id)})


def state_of(history: History) -> RecordState:
    """Return where a record stands; ``not_found`` for one without an event."""
    state = history.state()
    if state is None:
        raise Refused("not_found")
    return state


def as_held(history: History, now: datetime) -> Held:
    """Return a record as its lender sees it at an instant."""
    return Held(history.record_id, history.visible_from, state_of(history), now)
