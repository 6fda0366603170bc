"""May a question be answered? The asker's own standing first, then the consent, then the past."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from creditshare.consents.rules import Consent
from creditshare.sharing.rules import Grant, Question, Refusal, Withheld, decide

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
ME = UUID(int=1)
CONSENT = Consent(
    consent_id=UUID(int=9),
    member_id=ME,
    kind="query",
    state="active",
    purposes=("pre_loan",),
    scopes=("defaults", "amounts", "history", "legal", "inquiries"),
    valid_from=NOW - timedelta(days=1),
    valid_until=NOW + timedelta(days=1),
    max_uses=None,
    uses=0,
    frequency=None,
    window_start=None,
    window_used=0,
)
PRESENT = Question("pre_loan", CONSENT.consent_id, ("defaults",), None)


def decided(question: Question, consent: Consent | None = CONSENT, *, status: str = "active") -> Grant | Refusal:
    return decide(question, consent, member_id=ME, member_status=status, now=NOW)


def test_a_question_inside_its_consent_is_answered() -> None:
    assert decided(PRESENT) == Grant(("defaults",), ())


@pytest.mark.parametrize("status", ["applicant", "certified", "suspended", "terminated"])
def test_only_an_active_member_may_ask_and_hears_that_first(status: str) -> None:
    assert decided(PRESENT, None, status=status) == Refusal("member_suspended")


@pytest.mark.parametrize(
    ("consent", "reason"),
    [
        (None, "consent_missing"),
        (replace(CONSENT, member_id=UUID(int=2)), "consent_missing"),
        (replace(CONSENT, kind="provide"), "consent_missing"),
        (replace(CONSENT, state="revoked"), "consent_revoked"),
        (replace(CONSENT, state="paused"), "consent_paused"),
        (replace(CONSENT, valid_until=NOW), "consent_expired"),
        (replace(CONSENT, valid_from=NOW + INSTANT), "consent_not_yet_valid"),
        (replace(CONSENT, purposes=("restructuring",)), "purpose_not_allowed"),
        (replace(CONSENT, scopes=("amounts",)), "consent_scope"),
        (replace(CONSENT, max_uses=1, uses=1), "consent_exhausted"),
    ],
)
def test_every_reason_of_the_consent_comes_through(consent: Consent | None, reason: str) -> None:
    assert decided(PRESENT, consent) == Refusal(reason)


def test_the_past_needs_the_scope_history_in_the_question_and_in_the_consent() -> None:
    past = replace(PRESENT, as_of=NOW - INSTANT)
    asked = replace(past, scopes=("defaults", "history"))
    without = replace(CONSENT, scopes=("defaults",))
    assert decided(asked) == Grant(("defaults", "history"), ())
    assert decided(past) == Refusal("consent_scope")
    assert decided(past, without) == Refusal("consent_scope")
    assert decided(asked, without) == Refusal("consent_scope")
    assert decided(replace(PRESENT, as_of=NOW), without) == Grant(("defaults",), ())


def test_a_past_question_without_the_scope_is_told_so_before_the_consent_is_called_used_up() -> None:
    past = replace(PRESENT, as_of=NOW - INSTANT)
    assert decided(past, replace(CONSENT, max_uses=1, uses=1)) == Refusal("consent_scope")
    assert decided(past, replace(CONSENT, state="revoked")) == Refusal("consent_revoked")


def test_what_the_service_does_not_offer_yet_is_withheld_and_named_in_the_order_asked() -> None:
    assert decided(replace(PRESENT, scopes=("inquiries", "defaults", "legal"))) == Grant(
        ("defaults",), (Withheld("inquiries", "not_offered_yet"), Withheld("legal", "not_offered_yet"))
    )


@pytest.mark.parametrize(
    ("tier", "withheld", "rows"),
    [("full", (), True), ("standard", ("amounts",), True), ("basic", ("amounts", "records"), False)],
)
def test_a_lower_tier_gets_less_and_is_told_what_and_why(tier: str, withheld: tuple[str, ...], *, rows: bool) -> None:
    question = replace(PRESENT, scopes=("defaults", "amounts"))
    got = decide(question, CONSENT, member_id=ME, member_status="active", tier=tier, now=NOW)
    assert isinstance(got, Grant)
    assert got.withheld == tuple(Withheld(what, "reciprocity_tier") for what in withheld)
    assert got.scopes == (("defaults",) if withheld else ("defaults", "amounts"))
    assert got.rows is rows


def test_what_was_not_asked_for_is_not_named_as_left_out() -> None:
    assert decide(PRESENT, CONSENT, member_id=ME, member_status="active", tier="standard", now=NOW) == Grant(
        ("defaults",), (), "standard"
    )
