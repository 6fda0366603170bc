"""Composing the answer: pure, so that the same events, question and instant always give the same bytes.

An unknown borrower, one whose records are all pending or withdrawn and one without any give the same
answer. Handles are HMACs of member and record, so two members cannot join what they were told.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from creditshare.ids import spell, uuid8
from creditshare.records.grid import SEVERITY, Bucket
from creditshare.records.history import History
from creditshare.records.rules import RecordState, Report, defaulted_debt, shown
from creditshare.sharing.rules import Grant, Question
from creditshare.wire.instants import spell_instant
from creditshare.wire.strict_json import canonical

AMOUNT_BANDS: Final[tuple[tuple[int, str], ...]] = (
    (10_000, "under_10k"),
    (50_000, "10k_to_50k"),
    (200_000, "50k_to_200k"),
    (1_000_000, "200k_to_1m"),
    (5_000_000, "1m_to_5m"),
    (20_000_000, "5m_to_20m"),
)
TOP_BAND: Final = "20m_and_more"
NO_EXPOSURE: Final = "none"
MIXED_CURRENCIES: Final = "mixed_currencies"
EXACT_AMOUNTS: Final = (
    "original_amount",
    "outstanding_principal",
    "overdue_principal",
    "overdue_interest",
    "written_off_amount",
)


@dataclass(frozen=True, slots=True)
class Asking:
    """Everything besides the records that an answer depends on."""

    query_id: UUID
    member_id: UUID
    question: Question
    grant: Grant
    now: datetime
    version: int
    policy_version: str


def instant(value: datetime) -> str:
    """Spell an instant in UTC with ``Z`` and milliseconds."""
    return spell_instant(value, timespec="milliseconds")


def band(amount: Decimal) -> str:
    """Return the band of an amount in its own currency; edges belong to the band above."""
    return next((name for edge, name in AMOUNT_BANDS if amount < edge), TOP_BAND)


def exposure(state: RecordState) -> Decimal:
    """Return what is still owed as far as reported: nothing once ended, else the closest amount given."""
    return defaulted_debt(state) if state.open else Decimal(0)


def compose(asking: Asking, histories: Sequence[History], *, handle_key: bytes) -> bytes:
    """Return the answer's exact bytes: canonical JSON of `../design/api.md`, core bodies."""
    seen = [(history, state) for history in histories if (state := told(history, asking)) is not None]
    others = [(h, s) for h, s in seen if h.member_id != asking.member_id and s.open]
    body: dict[str, Any] = {
        "as_of": instant(asking.question.as_of or asking.now),
        "consent": {"id": spell("cns", asking.question.consent_id)},
        "match": "records" if seen else "none",
        "policy_version": asking.policy_version,
        "query_id": spell("qry", asking.query_id),
        "records": [
            _record(asking, history, state, handle_key)
            for history, state in seen
            if asking.grant.rows or history.member_id == asking.member_id
        ],
        "summary": {
            "exposure_band": _total_band([state for _, state in others]),
            "lenders": len({history.member_id for history, _ in others}),
            "open_defaults": len(others),
            "worst_bucket": _worst([state.bucket for _, state in others]),
        },
        "withheld": [{"what": w.what, "why": w.why} for w in asking.grant.withheld],
    }
    return canonical(body)


def told(history: History, asking: Asking) -> RecordState | None:
    """Return the state in which a record appears in this answer, or None where it does not."""
    state = history.state(version=asking.version, until=asking.question.as_of)
    at = asking.question.as_of or asking.now
    return state if state is not None and shown(state, visible_from=history.visible_from, at=at) else None


def _record(asking: Asking, history: History, state: RecordState, handle_key: bytes) -> dict[str, Any]:
    return row_of(state, now=asking.now, amounts="amounts" in asking.grant.scopes) | {
        "handle": _handle(asking.member_id, history.record_id, handle_key),
        "own": history.member_id == asking.member_id,
    }


def row_of(state: RecordState, *, now: datetime, amounts: bool) -> dict[str, Any]:
    """Return what is told of a record, whoever is told it: neither whose it is nor how to name it."""
    report = state.report
    row: dict[str, Any] = {
        "amount_band": band(exposure(state)) if state.open else NO_EXPOSURE,
        "as_of": state.last_recorded_at.astimezone(UTC).date().isoformat(),
        "bucket": state.bucket,
        "classification": state.tier,
        "days_past_due": report.days_past_due,
        "default_on": report.default_on.isoformat(),
        "disputed": False,
        "freshness_days": (now.astimezone(UTC).date() - state.last_recorded_at.astimezone(UTC).date()).days,
        "product": report.product,
        "role": report.role,
        "status": state.status,
    }
    if amounts:
        row["amounts"] = _amounts(report)
    return row


def _amounts(report: Report) -> dict[str, str]:
    given = {name: getattr(report, name) for name in EXACT_AMOUNTS}
    return {"currency": report.currency} | {name: f"{amount:f}" for name, amount in given.items() if amount is not None}


def _worst(buckets: Sequence[Bucket]) -> str:
    return max(buckets, key=SEVERITY.index, default="current")


def _total_band(states: Sequence[RecordState]) -> str:
    if not states:
        return NO_EXPOSURE
    if len({state.report.currency for state in states}) > 1:
        return MIXED_CURRENCIES
    return band(sum((exposure(state) for state in states), Decimal(0)))


def _handle(member_id: UUID, record_id: UUID, key: bytes) -> str:
    return spell("hnd", uuid8(hmac.digest(key, member_id.bytes + record_id.bytes, "sha256")))
