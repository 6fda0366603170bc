"""Requests that wait together go together, and none is worse off for it."""

import asyncio
from collections.abc import Sequence

import pytest

from creditshare.errors import Refused, Unavailable
from creditshare.storage.gathering import Gathering

PATIENCE_S = 0.02


class Statement:
    """Something slow that many may share. It notes who came in which group."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.held = 0

    async def __call__(self, group: Sequence[str]) -> list[str | Exception]:
        self.groups.append(list(group))
        self.held += 1
        await self.gate.wait()
        self.held -= 1
        if "cut" in group:
            raise Unavailable("the connection is gone")
        if "poison" in group:
            raise ValueError("one of them")
        return [Refused("consent_missing") if one == "refused" else one.upper() for one in group]


async def held(statement: Statement, count: int) -> None:
    async with asyncio.timeout(2):
        while statement.held < count:  # noqa: ASYNC110  held sinks too
            await asyncio.sleep(0.001)


async def test_alone_it_goes_at_once_and_those_who_wait_go_together() -> None:
    statement = Statement()
    gathering = Gathering(statement, patience_s=60)
    statement.gate.clear()
    first = asyncio.create_task(gathering.one("a"))
    await held(statement, 1)
    rest = [asyncio.create_task(gathering.one(name)) for name in "bcd"]
    await asyncio.sleep(0)
    statement.gate.set()
    assert list(await asyncio.gather(first, *rest)) == ["A", "B", "C", "D"]
    assert statement.groups == [["a"], ["b", "c", "d"]]


async def test_who_asks_at_the_same_moment_goes_along() -> None:
    statement = Statement()
    gathering = Gathering(statement)
    assert list(await asyncio.gather(*(gathering.one(name) for name in "abc"))) == ["A", "B", "C"]
    assert statement.groups == [["a", "b", "c"]]


async def test_a_group_has_no_more_than_most() -> None:
    statement = Statement()
    gathering = Gathering(statement, most=2)
    await asyncio.gather(*(gathering.one(name) for name in "abcde"))
    assert statement.groups == [["a", "b"], ["c", "d"], ["e"]]


async def test_what_is_in_each_others_way_goes_apart_and_in_its_order() -> None:
    statement = Statement()
    gathering = Gathering(statement, apart=lambda one: [one[0]])
    await asyncio.gather(*(gathering.one(name) for name in ("x1", "y1", "x2", "x3", "z1")))
    assert statement.groups == [["x1", "y1", "z1"], ["x2"], ["x3"]]


async def test_who_is_put_off_is_not_overtaken_by_what_it_touches() -> None:
    statement = Statement()
    touches = {"a": ["1"], "b": ["1", "2"], "c": ["2"], "d": ["3"]}
    gathering = Gathering(statement, apart=touches.__getitem__)
    await asyncio.gather(*(gathering.one(name) for name in "abcd"))
    assert statement.groups == [["a", "d"], ["b"], ["c"]]


async def test_a_refusal_is_of_its_own_request() -> None:
    statement = Statement()
    gathering = Gathering(statement)
    got = await asyncio.gather(*(gathering.one(n) for n in ("a", "refused", "b")), return_exceptions=True)
    assert [str(one) if isinstance(one, str) else type(one) for one in got] == ["A", Refused, "B"]
    assert len(statement.groups) == 1


async def test_a_group_that_fails_is_tried_again_one_by_one() -> None:
    statement = Statement()
    gathering = Gathering(statement)
    got = await asyncio.gather(*(gathering.one(n) for n in ("a", "poison", "b")), return_exceptions=True)
    assert [one if isinstance(one, str) else type(one) for one in got] == ["A", ValueError, "B"]
    assert statement.groups == [["a", "poison", "b"], ["a"], ["poison"], ["b"]]


async def test_a_lost_connection_is_told_to_each_and_nothing_is_tried_again() -> None:
    statement = Statement()
    gathering = Gathering(statement)
    got = await asyncio.gather(*(gathering.one(n) for n in ("a", "cut")), return_exceptions=True)
    assert [type(one) for one in got] == [Unavailable, Unavailable]
    assert got[0] is not got[1]
    assert len(statement.groups) == 1


async def test_a_statement_that_takes_long_holds_up_its_own_group_only() -> None:
    statement = Statement()
    gathering = Gathering(statement, lanes=2, patience_s=PATIENCE_S)
    statement.gate.clear()
    slow = asyncio.create_task(gathering.one("slow"))
    await held(statement, 1)
    fast = asyncio.create_task(gathering.one("fast"))
    await held(statement, 2)
    third = asyncio.create_task(gathering.one("third"))
    await asyncio.sleep(3 * PATIENCE_S)
    assert statement.groups == [["slow"], ["fast"]]  # no more lanes than there are
    statement.gate.set()
    assert list(await asyncio.gather(slow, fast, third)) == ["SLOW", "FAST", "THIRD"]


async def test_nobody_waits_for_company_of_a_quick_statement() -> None:
    statement = Statement()
    gathering = Gathering(statement)
    for name in "abc":
        assert await gathering.one(name) == name.upper()
    assert statement.groups == [["a"], ["b"], ["c"]]


async def test_who_gave_up_is_left_out() -> None:
    statement = Statement()
    gathering = Gathering(statement, patience_s=60)
    statement.gate.clear()
    first = asyncio.create_task(gathering.one("a"))
    await held(statement, 1)
    gone, stays = asyncio.create_task(gathering.one("gone")), asyncio.create_task(gathering.one("stays"))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    statement.gate.set()
    assert list(await asyncio.gather(first, stays)) == ["A", "STAYS"]
    assert statement.groups == [["a"], ["stays"]]
