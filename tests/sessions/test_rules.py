"""When a session is over, and when an authenticator's count shows a copy."""

from datetime import UTC, datetime

import pytest

from creditshare.sessions.rules import counts_on, why_ended

NOW = datetime(2026, 11, 27, tzinfo=UTC)
GOOD = {"status": "active", "role": "operator", "began_as": "operator", "key_state": "active"}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({}, None),
        ({"status": "limited"}, None),
        ({"key_state": "retiring"}, None),
        ({"status": "suspended"}, "member_suspended"),
        ({"status": "terminated"}, "member_suspended"),
        ({"key_state": "revoked"}, "key_revoked"),
        ({"role": "lender"}, "role_forbidden"),
    ],
)
def test_a_session_ends_with_key_standing_and_role(changed: dict[str, str], code: str | None) -> None:
    expires = int(NOW.timestamp()) + 1
    assert why_ended(**{**GOOD, **changed}, key_expires_at=expires, now=NOW) == code


def test_a_session_ends_with_the_end_of_its_key() -> None:
    assert why_ended(**GOOD, key_expires_at=int(NOW.timestamp()), now=NOW) == "key_expired"


@pytest.mark.parametrize(
    ("before", "told", "on"), [(0, 0, True), (4, 5, True), (5, 5, False), (5, 4, False), (5, 0, False)]
)
def test_a_count_goes_on_or_is_never_kept(before: int, told: int, on: bool) -> None:  # noqa: FBT001  a table's column
    assert counts_on(before, told) is on
