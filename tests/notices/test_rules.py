"""When a record may be seen: windows to the day, in the jurisdiction's own time zone."""

from datetime import UTC, date, datetime

import pytest

from creditshare.errors import Refused
from creditshare.notices.rules import AttestedNotice, addressee, visible_from
from creditshare.policy.service import Policy, Rule

ROWS = {
    "timezone": "Asia/Shanghai",
    "notice.required": "yes",
    "notice.exempt_basis": "public_record",
    "notice.window_days.enterprise": "15",
    "notice.window_days.individual": "28",
    "notice.lapse_days": "90",
}
POLICY = Policy(Rule("CN", name, value, "test", date(2013, 3, 15), None) for name, value in ROWS.items())
NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


def seen(
    sent_on: date, *, to: str = "enterprise", now: datetime = NOW, basis: str = "legal_duty", ref: bool = False
) -> datetime:
    return visible_from(
        AttestedNotice(sent_on, "post", "x"),
        policy=POLICY,
        jurisdiction="CN",
        lawful_basis=basis,
        has_public_ref=ref,
        to="individual" if to == "individual" else "enterprise",
        now=now,
    )


def test_the_window_ends_at_midnight_in_shanghai_and_knows_leap_days() -> None:
    assert seen(date(2024, 2, 14)) == datetime(2024, 2, 29, 16, tzinfo=UTC)  # 1 March 00:00 in Shanghai
    assert seen(date(2023, 2, 14), now=datetime(2023, 3, 1, tzinfo=UTC)) == datetime(2023, 3, 1, 16, tzinfo=UTC)


def test_persons_get_the_longer_window() -> None:
    assert seen(date(2024, 2, 14), to="individual") == datetime(2024, 3, 13, 16, tzinfo=UTC)
    assert addressee(role="guarantor", size_class=None) == "individual"
    assert addressee(role="guarantor", size_class="small") == "enterprise"
    assert addressee(role="borrower", size_class=None) == "enterprise"


def test_today_is_the_jurisdictions_today() -> None:
    late = datetime(2024, 3, 1, 17, tzinfo=UTC)  # 2 March in Shanghai
    seen(date(2024, 3, 2), now=late)
    with pytest.raises(Refused):
        seen(date(2024, 3, 2), now=NOW)


def test_a_notice_lapses_after_ninety_days() -> None:
    seen(date(2023, 12, 2))
    with pytest.raises(Refused) as caught:
        seen(date(2023, 12, 1))
    assert caught.value.fields[0].code == "notice_lapsed"


def test_lawfully_public_facts_are_exempt_only_with_a_reference() -> None:
    assert seen(date(2024, 3, 1), basis="public_record", ref=True) == NOW
    assert seen(date(2024, 3, 1), basis="public_record") > NOW


def test_without_a_notice_the_duty_refuses() -> None:
    with pytest.raises(Refused) as caught:
        visible_from(
            None,
            policy=POLICY,
            jurisdiction="CN",
            lawful_basis="legal_duty",
            has_public_ref=False,
            to="enterprise",
            now=NOW,
        )
    assert caught.value.code == "notice_required"
