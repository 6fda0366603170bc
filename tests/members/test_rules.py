"""Keys: what a revocation reaches, what it may not do, when a retired key ends."""

from datetime import UTC, datetime, timedelta

import pytest

from creditshare.errors import Refused
from creditshare.members.rules import OVERLAP, KeyFacts, retirement, revoked, warning

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def key(kid: str, *, days_old: int = 30, state: str = "active", by: str | None = None, ends_in: int = 300) -> KeyFacts:
    return KeyFacts(kid, state, NOW - days_old * DAY, NOW + ends_in * DAY, by)


def code(keys: list[KeyFacts], kid: str, by_kid: str) -> str:
    with pytest.raises(Refused) as caught:
        revoked(keys, kid, by_kid=by_kid, reason="other", since=None, now=NOW)
    return caught.value.code


def test_a_key_may_end_itself_even_as_the_last() -> None:
    assert revoked([key("a")], "a", by_kid="a", reason="other", since=None, now=NOW) == {"a"}


def test_no_key_leaves_itself_as_the_only_one() -> None:
    assert code([key("a"), key("b")], "b", "a") == "state_conflict"
    assert revoked([key("a"), key("b"), key("c")], "b", by_kid="a", reason="other", since=None, now=NOW) == {"b"}


@pytest.mark.parametrize("other", [key("c", state="revoked"), key("c", ends_in=0)])
def test_a_dead_key_does_not_count_as_another_live_one(other: KeyFacts) -> None:
    assert code([key("a"), key("b"), other], "b", "a") == "state_conflict"


def test_an_operator_may_revoke_even_the_last() -> None:
    assert revoked([key("a")], "a", by_kid="operators", reason="compromise", since=None, now=NOW) == {"a"}


def test_unknown_and_revoked_keys() -> None:
    assert code([key("a")], "x", "a") == "not_found"
    assert code([key("a"), key("b", state="revoked")], "b", "a") == "state_conflict"


def test_compromise_reaches_through_a_chain_but_not_before_its_day() -> None:
    keys = [
        key("stolen"),
        key("old", days_old=20, by="stolen"),
        key("thief", days_old=9, by="stolen"),
        key("thief2", days_old=5, by="thief"),
        key("unrelated", days_old=3, by="good"),
        key("good"),
    ]
    since = NOW - 10 * DAY
    reached = revoked(keys, "stolen", by_kid="good", reason="compromise", since=since, now=NOW)
    assert reached == {"stolen", "thief", "thief2"}
    assert revoked(keys, "stolen", by_kid="good", reason="compromise", since=None, now=NOW) == {"stolen"}
    assert revoked(keys, "stolen", by_kid="good", reason="other", since=since, now=NOW) == {"stolen"}


def test_a_chain_that_leads_back_to_itself_ends() -> None:
    circle = [key("a", days_old=2, by="b"), key("b", days_old=2, by="a")]
    since = NOW - 3 * DAY
    assert revoked(circle, "a", by_kid="a", reason="compromise", since=since, now=NOW) == {"a", "b"}


def test_what_was_registered_at_that_very_moment_is_reached() -> None:
    keys = [key("stolen"), key("child", days_old=4, by="stolen"), key("other"), key("spare")]
    for since, reached in (
        (NOW - 4 * DAY, {"stolen", "child"}),
        (NOW - 4 * DAY + timedelta(microseconds=1), {"stolen"}),
    ):
        assert revoked(keys, "stolen", by_kid="other", reason="compromise", since=since, now=NOW) == reached


def test_a_thief_cannot_use_the_chain_to_be_alone() -> None:
    keys = [key("owner"), key("owner2", days_old=5, by="owner"), key("thief", days_old=1, by="elsewhere")]
    with pytest.raises(Refused):
        revoked(keys, "owner", by_kid="thief", reason="compromise", since=NOW - 9 * DAY, now=NOW)


def test_a_retired_key_lives_through_the_overlap() -> None:
    keys = [key("old"), key("new", days_old=2)]
    assert retirement(keys, "old", now=NOW) == NOW - 2 * DAY + OVERLAP
    assert retirement([key("old"), key("new", days_old=8)], "old", now=NOW) == NOW
    assert retirement([key("old", ends_in=1), key("new", days_old=0)], "old", now=NOW) == NOW + DAY


@pytest.mark.parametrize(
    "keys",
    [
        [key("old")],
        [key("old"), key("older", days_old=60)],
        [key("old"), key("new", days_old=1, state="revoked")],
        [key("old", state="revoked"), key("new", days_old=1)],
    ],
)
def test_a_key_without_a_successor_is_not_retired(keys: list[KeyFacts]) -> None:
    with pytest.raises(Refused) as caught:
        retirement(keys, "old", now=NOW)
    assert caught.value.code == "state_conflict"


def test_a_key_of_one_that_may_sign_not_yet_is_ended_even_by_the_only_live_one() -> None:
    keys = [key("a"), key("b", state="pending")]
    assert revoked(keys, "b", by_kid="a", reason="other", since=None, now=NOW) == {"b"}


@pytest.mark.parametrize(("days", "told"), [(0, 7), (7, 7), (8, 30), (60, 60), (61, None)])
def test_of_an_end_the_nearest_warning_is_given(days: int, told: int | None) -> None:
    assert warning(NOW + days * DAY, now=NOW, days=(60, 30, 7)) == told
