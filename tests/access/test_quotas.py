"""Quotas of the day: leased in blocks, spent in memory, exact over processes, closed where the database is silent."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.fixtures.attack import attempt
from tests.fixtures.database_line import database_line
from tests.fixtures.service import RunningService, record_body

from creditshare.access.limits import Rate, Standing
from creditshare.access.quotas import ASK_AGAIN_S, BLOCK, PARTS, DayStanding, Lease, Quotas, forget_days
from creditshare.api.ratelimit import rate_headers
from creditshare.client.bank import Client
from creditshare.errors import Refused, Unavailable
from creditshare.members.service import Member
from creditshare.storage.engine import Database

TODAY, TOMORROW = date(2026, 5, 4), date(2026, 5, 5)
DEFAULTS: Any = {"queries": 1_000, "reports": 1_000}


# One process's share of a day, the time passed in


def lease_of(block: int, *, leased: int | None = None, ends_at: float = 100.0) -> Lease:
    lease = Lease()
    lease.take_in(block, day=TODAY, leased=block if leased is None else leased, ends_at=ends_at)
    return lease


def test_a_block_is_spent_and_not_a_piece_more() -> None:
    lease = lease_of(3)
    assert [lease.spend(2, now=0.0), lease.spend(2, now=0.0), lease.spend(1, now=0.0)] == [True, False, True]
    assert not lease.spend(1, now=0.0)
    assert lease.lacks(5, now=0.0) == 5


def test_what_is_held_ends_with_the_day() -> None:
    lease = lease_of(3, ends_at=100.0)
    assert lease.spend(1, now=99.9)
    assert not lease.spend(1, now=100.0)
    assert lease.lacks(1, now=100.0) == 1, "yesterday's rest is nothing today"
    lease.take_in(2, day=TOMORROW, leased=2, ends_at=200.0)
    assert (lease.held, lease.own) == (2, 2)


def test_a_day_that_the_database_ends_earlier_than_this_clock_ends_too() -> None:
    """A sandbox moved its clock, or the two clocks differ."""
    lease = lease_of(3, ends_at=100.0)
    lease.take_in(1, day=TOMORROW, leased=1, ends_at=200.0)
    assert lease.held == 1


def test_a_count_that_went_back_is_not_believed() -> None:
    lease = lease_of(64, leased=200)
    with pytest.raises(Unavailable):
        lease.take_in(1, day=TODAY, leased=64, ends_at=100.0)
    assert lease.held == 0


def test_a_refusal_is_remembered_for_as_many_of_the_same_quota_and_a_short_time() -> None:
    lease = lease_of(0, leased=95, ends_at=100.0)
    lease.refuse(10, per_day=100, now=0.0)
    assert lease.known_refused(10, per_day=100, now=ASK_AGAIN_S - 1)
    assert not lease.known_refused(5, per_day=100, now=0.0), "fewer may fit"
    assert not lease.known_refused(10, per_day=200, now=0.0), "two operators raised it"
    assert not lease.known_refused(10, per_day=100, now=ASK_AGAIN_S)


def test_a_standing_is_what_is_held_and_what_is_left_for_all() -> None:
    lease = lease_of(10, leased=40, ends_at=100.0)
    lease.spend(4, now=0.0)
    assert lease.standing(100, now=98.5) == DayStanding(100, 66, 2)
    assert lease.standing(30, now=0.0) == DayStanding(30, 6, 100), "lowered below what is leased"
    assert lease.standing(100, now=100.0) is None


def test_headers_list_what_is_allowed_and_what_is_left() -> None:
    rate, standing = Rate(per_s=200, burst=400), Standing(399, 1)
    assert rate_headers(rate, standing, None) == {
        "RateLimit-Policy": '"burst";q=400;w=2',
        "RateLimit": '"burst";r=399;t=1',
    }
    assert rate_headers(rate, standing, DayStanding(20_000, 19_999, 3_600)) == {
        "RateLimit-Policy": '"burst";q=400;w=2, "daily";q=20000;w=86400',
        "RateLimit": '"burst";r=399;t=1, "daily";r=19999;t=3600',
    }


# Several processes and one database


@dataclass
class Clock:
    """A monotonic clock that a test moves."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def member(**quotas: Any) -> Member:
    return Member(uuid4(), "Lender", "lender", "US", ("US",), "active", 1, **quotas)


@contextmanager
def process(service: RunningService, url: str = "", clock: Clock | None = None) -> Iterator[Quotas]:
    """Lend what one process counts by, over a pool of its own."""
    database = Database(url or service.settings.database_url or "", role="creditshare_app", pool_size=2, pool_wait_s=1)
    service.run(database.open())
    try:
        yield Quotas(database, defaults=DEFAULTS, monotonic=clock or Clock())
    finally:
        service.run(database.close())


def spend(service: RunningService, quotas: Quotas, whose: Member, count: int = 1) -> str:
    async def spent() -> str:
        try:
            await quotas.spend(whose, "queries", count)
        except Refused as refusal:
            return refusal.code
        except Unavailable:
            return "unavailable"
        return "done"

    return str(service.run(spent()))


def leased(service: RunningService, whose: Member) -> list[tuple[int, int]]:
    with service.superuser() as database:
        return database.execute(
            "SELECT leased, newest FROM daily_quota WHERE member_id = %s ORDER BY day", [whose.member_id]
        ).fetchall()


@pytest.mark.parametrize("per_day", [1, 31, 64, 500])
def test_processes_that_race_grant_the_quota_and_nothing_more(shared_service: RunningService, per_day: int) -> None:
    whose = member(queries_per_day=per_day)

    async def race(crew: list[Quotas]) -> int:
        granted = 0

        async def one(quotas: Quotas) -> None:
            nonlocal granted
            while True:
                try:
                    await quotas.spend(whose, "queries")
                except Refused:
                    return
                granted += 1
                await asyncio.sleep(0)

        await asyncio.gather(*(one(quotas) for quotas in crew for _ in range(8)))
        return granted

    with process(shared_service) as first, process(shared_service) as second:
        assert shared_service.run(race([first, second])) == per_day
    assert leased(shared_service, whose)[0][0] == per_day


def test_a_block_takes_one_statement_and_is_a_small_part_of_what_is_left(
    shared_service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    whose, asked = member(queries_per_day=10_000), 0
    with process(shared_service) as quotas:
        raw = quotas._database.raw

        def counted(**options: Any) -> Any:
            nonlocal asked
            asked += 1
            return raw(**options)

        monkeypatch.setattr(quotas._database, "raw", counted)
        for _ in range(BLOCK):
            assert spend(shared_service, quotas, whose) == "done"
        assert (asked, leased(shared_service, whose)) == (1, [(BLOCK, BLOCK)])
        assert spend(shared_service, quotas, whose) == "done"
        assert asked == 2
    small = member(queries_per_day=PARTS * 3)
    with process(shared_service) as quotas:
        assert spend(shared_service, quotas, small) == "done"
    assert leased(shared_service, small) == [(3, 3)]


def test_many_at_once_are_counted_whole_or_not_at_all(shared_service: RunningService) -> None:
    whose = member(queries_per_day=100)
    with process(shared_service) as quotas:
        assert spend(shared_service, quotas, whose, 98) == "done"
        assert spend(shared_service, quotas, whose, 3) == "quota_exhausted"
        assert spend(shared_service, quotas, whose, 2) == "done"
        assert spend(shared_service, quotas, whose) == "quota_exhausted"
        assert spend(shared_service, quotas, whose, 101) == "quota_exhausted"
        assert shared_service.run(_hint(quotas, whose, 101)).startswith("this is more than a whole day's quota")


async def _hint(quotas: Quotas, whose: Member, count: int) -> str:
    with pytest.raises(Refused) as caught:
        await quotas.spend(whose, "queries", count)
    assert caught.value.retry_after is None, "waiting would not help"
    return str(caught.value.extra["hint"])


def test_questions_and_reports_and_members_have_days_of_their_own(shared_service: RunningService) -> None:
    whose, other = member(queries_per_day=1, reports_per_day=2), member(queries_per_day=1)
    with process(shared_service) as quotas:
        assert [spend(shared_service, quotas, one) for one in (whose, other, whose)] == [
            "done",
            "done",
            "quota_exhausted",
        ]
        shared_service.run(quotas.spend(whose, "reports", 2))


def test_a_raise_holds_at_once_though_the_day_was_used_up(shared_service: RunningService) -> None:
    before = member(queries_per_day=1)
    after = Member(before.member_id, "Lender", "lender", "US", ("US",), "active", 1, queries_per_day=2)
    with process(shared_service) as quotas:
        assert [spend(shared_service, quotas, before) for _ in range(2)] == ["done", "quota_exhausted"]
        assert [spend(shared_service, quotas, after) for _ in range(2)] == ["done", "quota_exhausted"]


def test_a_new_day_begins_with_the_whole_quota(service: RunningService) -> None:
    clock, whose = Clock(), member(queries_per_day=2)
    with process(service, clock=clock) as quotas:
        assert [spend(service, quotas, whose) for _ in range(3)] == ["done", "done", "quota_exhausted"]
        standing = quotas.standing(whose, "queries")
        assert standing is not None
        service.advance(days=1)
        assert spend(service, quotas, whose) == "quota_exhausted", "remembered for a moment"
        clock.now += ASK_AGAIN_S
        assert [spend(service, quotas, whose) for _ in range(3)] == ["done", "done", "quota_exhausted"]
        clock.now += standing.ends_in_s
        assert quotas.standing(whose, "queries") is None
    assert leased(service, whose) == [(2, 1), (2, 1)]


def test_without_the_database_what_is_held_is_granted_and_no_more(shared_service: RunningService) -> None:
    whose = member(queries_per_day=PARTS * 2)
    with (
        database_line(shared_service.settings.database_url or "") as line,
        process(shared_service, line.url) as quotas,
    ):
        assert spend(shared_service, quotas, whose) == "done"
        line.cut()
        assert [spend(shared_service, quotas, whose) for _ in range(3)] == ["done", "unavailable", "unavailable"]


def test_days_that_are_over_are_forgotten(service: RunningService) -> None:
    whose = member(queries_per_day=2)
    with process(service) as quotas:
        assert spend(service, quotas, whose) == "done"
    with service.superuser() as database:
        database.execute("INSERT INTO daily_quota SELECT member_id, counted, day - 1, 1, 1 FROM daily_quota")
    worker = Database(service.settings.worker_database_url or "", role="creditshare_worker", pool_size=1)

    async def forget() -> None:
        async with worker.writing() as session:
            await forget_days(session)
            await session.commit()
        await worker.close()

    service.run(forget())
    assert leased(service, whose) == [(1, 1)]


# Through the service


def test_a_question_shows_the_day_and_ends_with_it(service: RunningService) -> None:
    lender = service.admit("Lender", region="US", queries_per_day=2)
    body = {
        "subject": {
            "suite": "P256-SHA256",
            "key_version": 1,
            "element": "A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW",
        },
        "purpose": "pre_loan",
        "consent_id": f"cns_{UUID(int=0)}",
        "scopes": ["defaults"],
    }
    looks = [lender.send(lender.sign("POST", "/v1/queries", data=body)) for _ in range(4)]
    assert [look.data["code"] for look in looks] == ["consent_missing"] * 2 + ["quota_exhausted"] * 2
    day = [look.headers["ratelimit"].partition(", ")[2].rpartition(";")[0] for look in looks]
    assert day == ['"daily";r=1', '"daily";r=0', '"daily";r=0', '"daily";r=0']
    assert {look.headers["ratelimit-policy"].partition(", ")[2] for look in looks} == {'"daily";q=2;w=86400'}
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    waits = int(looks[-1].headers["retry-after"])
    assert abs((midnight - datetime.now(UTC)).total_seconds() - waits) < 60
    assert "daily" not in lender.send(lender.sign("GET", "/v1/me")).headers["ratelimit"]
    told = lender.call("GET", "/v1/me/quota").data
    assert (told["queries_per_day"], told["queries_used_today"], told["reports_used_today"]) == (2, 2, 0)
    batch = {"queries": [body]}
    assert attempt(lender, "POST", "/v1/query-batches", batch) == "quota_exhausted"


def test_reports_count_one_by_one_and_by_the_rows_of_files_and_dry_runs_do_not(service: RunningService) -> None:
    lender = service.admit("Lender", region="US", reports_per_day=5)
    (subject,) = lender.tokenise(["91999999DEM000022B"])
    rows = [record_body(subject, f"B-{number}") for number in range(4)]

    def left() -> int:
        told = lender.call("GET", "/v1/me/quota").data
        return int(told["reports_per_day"] - told["reports_used_today"])

    lender.records.submit_batch(rows, dry_run=True)
    assert left() == 5
    lender.records.submit_batch(rows)
    assert left() == 1
    with pytest.raises(Exception, match="quota_exhausted"):
        lender.records.submit_batch([record_body(subject, f"C-{number}") for number in range(2)])
    assert left() == 1
    assert attempt(lender, "POST", "/v1/records", record_body(subject, "D-1")) == "done"
    assert attempt(lender, "POST", "/v1/records", record_body(subject, "D-2")) == "quota_exhausted"


def test_a_quota_is_raised_by_two_operators_who_say_the_same(service: RunningService) -> None:
    lender = service.admit("Lender", region="US")
    first, second = (service.client(operator) for operator in service.operators)
    path = f"/v1/members/{lender.session.signer.member_id}"
    terms = {"queries_per_day": 50_000, "reports_per_day": 7}
    seen = first.call("GET", path).version
    assert attempt(first, "POST", f"{path}/quotas", {}, if_match=seen) == "validation_failed"
    seen = first.call("POST", f"{path}/quotas", data=terms, if_match=seen).version

    def approve(who: Client, terms: dict[str, int]) -> str:
        return attempt(who, "POST", f"{path}/approvals", {"action": "quotas", **terms}, if_match=seen)

    assert approve(first, terms) == "role_forbidden"
    assert approve(second, {**terms, "queries_per_day": 60_000}) == "validation_failed"
    assert first.call("GET", path)["queries_per_day"] is None
    assert approve(second, terms) == "done"
    told = first.call("GET", path).data
    assert (told["evaluations_per_day"], told["queries_per_day"], told["reports_per_day"]) == (2_000, 50_000, 7)
    assert lender.call("GET", "/v1/me/quota")["reports_per_day"] == 7
