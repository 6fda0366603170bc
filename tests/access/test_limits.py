"""The bounds of a worker process: pace, places, tallies. Pure, with the time passed in."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from creditshare.access.limits import REMEMBERED, Pace, Places, Rate, Tallies, peer_name
from creditshare.errors import Refused

MEMBER = UUID(int=1)
MINUTE = datetime(2026, 5, 4, 10, 30, tzinfo=UTC)


def test_a_burst_is_granted_at_once_and_then_the_pace_holds() -> None:
    pace = Pace(Rate(per_s=10, burst=5))
    granted = [pace.use("a", now=100.0) for _ in range(7)]
    assert [standing.remaining for standing in granted] == [4, 3, 2, 1, 0, 0, 0]
    assert [standing.wait_s for standing in granted] == [0, 0, 0, 0, 0, 1, 1]
    assert pace.use("a", now=100.1).wait_s == 0
    assert pace.use("a", now=100.1).wait_s == 1
    assert pace.look("a", now=101.0).remaining == 5


def test_a_refused_request_uses_nothing_up() -> None:
    pace = Pace(Rate(per_s=1, burst=1))
    pace.use("a", now=0.0)
    for tenth in range(1, 10):
        assert pace.use("a", now=tenth / 10).wait_s == 1
    assert pace.use("a", now=1.0).wait_s == 0


def test_names_do_not_share_an_allowance() -> None:
    pace = Pace(Rate(per_s=1, burst=1))
    assert pace.use("a", now=0.0).wait_s == 0
    assert pace.use("b", now=0.0).wait_s == 0
    assert pace.use("a", now=0.0).wait_s == 1


def test_no_stretch_of_time_grants_more_than_burst_and_pace() -> None:
    chance = random.Random(20_260_504)  # noqa: S311  a repeatable course of requests
    pace, now, granted = Pace(Rate(per_s=7, burst=20)), 0.0, []
    for _ in range(4_000):
        now += chance.expovariate(15)
        if pace.use("a", now=now).wait_s == 0:
            granted.append(now)
    for first in range(0, len(granted), 17):
        for last in range(first, len(granted), 23):
            assert last - first + 1 <= 20 + 7 * (granted[last] - granted[first]) + 1e-6
    assert len(granted) >= 7 * now * 0.95


def test_memory_for_names_is_bounded_and_the_oldest_go_first() -> None:
    pace = Pace(Rate(per_s=0.001, burst=1))
    for name in range(REMEMBERED + 1):
        assert pace.use(name, now=0.0).wait_s == 0
    assert pace.look(0, now=0.0).wait_s == 0
    assert pace.look(1, now=0.0).wait_s > 0


def test_nobody_waits_for_a_place_and_one_member_never_takes_all() -> None:
    places = Places(total=3, each=2)
    with places.take("a"), places.take("a"):
        with pytest.raises(Refused, match="rate_limited"):
            places.take("a")
        with places.take("b"), pytest.raises(Refused, match="unavailable") as full:
            places.take("c")
        assert full.value.retry_after == 1
        with places.take("c"):
            pass
    with places.take("a"), places.take("a"):
        pass


def test_a_place_is_given_back_when_the_work_fails() -> None:
    places = Places(total=1, each=1)
    with pytest.raises(ZeroDivisionError), places.take("a"):
        raise ZeroDivisionError
    with places.take("b"):
        pass


def test_tallies_are_by_member_code_and_minute_and_survive_a_failed_handover() -> None:
    tallies = Tallies()
    for second in (0, 59, 60):
        tallies.count(MEMBER, "rate_limited", now=MINUTE + timedelta(seconds=second))
    taken = tallies.take()
    tallies.count(MEMBER, "rate_limited", now=MINUTE)
    tallies.put_back(taken)
    assert tallies.take() == {
        (MEMBER, "rate_limited", MINUTE): 3,
        (MEMBER, "rate_limited", MINUTE + timedelta(minutes=1)): 1,
    }
    assert tallies.take() == {}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),  # one customer's network
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        (None, "not an address", True),
    ],
)
def test_a_peer_is_named_by_its_address_or_its_network(one: str | None, other: str, *, same: bool) -> None:
    assert (peer_name(one) == peer_name(other)) is same
