"""When a consent covers an act: every state, both sides of every instant, every limit at its edge."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.consents.rules import Consent, Frequency, exhausted, refusal, status

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
ME, OTHER = UUID(int=1), UUID(int=2)
CONSENT = Consent(
    consent_id=UUID(int=9),
    member_id=ME,
    kind="query",
    state="active",
    purposes=("pre_loan", "restructuring"),
    scopes=("defaults", "amounts"),
    valid_from=NOW - timedelta(days=1),
    valid_until=NOW + timedelta(days=1),
    max_uses=None,
    uses=0,
    frequency=None,
    window_start=None,
    window_used=0,
)


def why(consent: Consent | None, *, now: datetime = NOW, scopes: tuple[str, ...] = ("defaults",)) -> str | None:
    return refusal(consent, kind="query", member_id=ME, purpose="pre_loan", scopes=scopes, now=now)


def test_it_holds_from_its_first_instant_until_just_before_its_last() -> None:
    assert why(CONSENT, now=CONSENT.valid_from - INSTANT) == "consent_not_yet_valid"
    assert why(CONSENT, now=CONSENT.valid_from) is None
    assert why(CONSENT, now=CONSENT.valid_until - INSTANT) is None
    assert why(CONSENT, now=CONSENT.valid_until) == "consent_expired"
    assert status(CONSENT, CONSENT.valid_from - INSTANT) == "pending"
    assert status(CONSENT, CONSENT.valid_until) == "expired"


def test_none_another_lenders_and_one_of_the_other_kind_are_the_same_answer() -> None:
    assert {
        why(None),
        why(replace(CONSENT, member_id=OTHER)),
        why(replace(CONSENT, kind="provide")),
        why(replace(CONSENT, member_id=OTHER, state="revoked")),
    } == {"consent_missing"}


def test_what_is_final_is_said_before_what_may_pass() -> None:
    before, after = CONSENT.valid_from - INSTANT, CONSENT.valid_until
    paused, revoked = replace(CONSENT, state="paused"), replace(CONSENT, state="revoked")
    assert [why(paused, now=now) for now in (before, NOW, after)] == [
        "consent_paused",
        "consent_paused",
        "consent_expired",
    ]
    assert {why(revoked, now=now) for now in (before, NOW, after)} == {"consent_revoked"}


@pytest.mark.parametrize(
    ("purpose", "scopes", "expected"),
    [
        ("pre_loan", ("defaults", "amounts"), None),
        ("restructuring", (), None),
        ("guarantor_check", ("defaults",), "purpose_not_allowed"),
        ("pre_loan", ("defaults", "history"), "consent_scope"),
        ("guarantor_check", ("history",), "purpose_not_allowed"),
        (None, ("amounts",), None),
    ],
)
def test_purpose_and_every_scope_must_lie_inside(
    purpose: str | None, scopes: tuple[str, ...], expected: str | None
) -> None:
    assert refusal(CONSENT, kind="query", member_id=ME, purpose=purpose, scopes=scopes, now=NOW) == expected


@pytest.mark.parametrize(("uses", "left"), [(0, True), (2, True), (3, False), (4, False)])
def test_the_last_use_is_the_last(uses: int, left: bool) -> None:  # noqa: FBT001  a column of the table above
    consent = replace(CONSENT, max_uses=3, uses=uses)
    assert why(consent) == (None if left else "consent_exhausted")
    assert status(consent, NOW) == ("active" if left else "exhausted")


def test_a_question_outside_the_consent_is_told_so_even_when_it_is_used_up() -> None:
    assert why(replace(CONSENT, max_uses=1, uses=1), scopes=("history",)) == "consent_scope"


MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("per", "window", "used_up", "free_again"),
    [
        ("day", date(2026, 2, 28), MIDNIGHT - INSTANT, MIDNIGHT),
        ("month", date(2026, 2, 1), MIDNIGHT - INSTANT, MIDNIGHT),
        ("day", date(2024, 2, 29), datetime(2024, 2, 29, 23, 59, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)),
        ("month", date(2026, 12, 1), datetime(2026, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_windows_are_calendar_days_and_months_in_utc(
    per: str, window: date, used_up: datetime, free_again: datetime
) -> None:
    frequency = Frequency(2, "day" if per == "day" else "month")
    consent = replace(CONSENT, frequency=frequency, window_start=window, window_used=2)
    assert exhausted(consent, used_up)
    assert not exhausted(consent, free_again)
    assert not exhausted(replace(consent, window_used=1), used_up)
    assert not exhausted(replace(consent, window_start=None, window_used=0), used_up)


def test_a_clock_that_steps_back_over_midnight_does_not_open_the_counter_again() -> None:
    consent = replace(CONSENT, frequency=Frequency(1, "day"), window_start=date(2026, 3, 2), window_used=1)
    assert exhausted(consent, datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC))


@given(
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  hypothesis wants naive bounds
    st.integers(min_value=-14, max_value=14),
    st.sampled_from(["day", "month"]),
)
def test_a_window_is_the_same_in_every_zone_and_never_lies_ahead(now: datetime, hours: int, per: str) -> None:
    frequency = Frequency(1, "day" if per == "day" else "month")
    window = frequency.window(now.astimezone(timezone(timedelta(hours=hours))))
    assert window == frequency.window(now)
    assert window <= now.date() < window + timedelta(days=1 if per == "day" else 31)
