"""Seals of rows: no two rows spell alike, a rotation keeps old seals checkable, a sum tells which sets it may be of."""

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import combinations
from uuid import UUID

import pytest

from creditshare.crypto.rowseals import MOST_BROKEN, NO_ROWS, RowSeals, Value, accounted, added, spelled
from creditshare.errors import IntegrityError
from creditshare.keys.keyring import Keyring

NAME = UUID("01900000-0000-7000-8000-000000000001")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
VALUES: tuple[Value, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        10,
        "",
        "1",
        "n",
        "i1",
        b"",
        b"1",
        NAME,
        NAME.bytes,
        str(NAME),
        NOON,
        NOON.isoformat(),
    ),
    *(
        NOON.date(),
        date(2026, 1, 3),
        NOON + timedelta(microseconds=1),
        [],
        [""],
        ["a", "b"],
        ["ab"],
        ["a", ["b"]],
        ["l"],
    ),
    *({}, {"a": "b"}, {"a": {"b": "c"}}, {"a": "b", "c": None}, {"ab": ""}, ["a", "sb"], {"": "ab"}, {"a": ["b"]}),
)


@pytest.fixture
def seals() -> RowSeals:
    return Keyring.generate().row_seals()


def test_no_two_values_are_spelled_alike() -> None:
    for one, other in combinations(VALUES, 2):
        assert spelled(one) != spelled(other), (one, other)


def test_the_same_value_is_spelled_alike_however_the_driver_gives_it() -> None:
    assert spelled(("a", "b")) == spelled(["a", "b"])
    assert spelled(memoryview(b"x")) == spelled(b"x")
    assert spelled(NOON) == spelled(NOON.astimezone(timezone(timedelta(hours=8))))
    assert spelled({"a": 1, "b": 2}) == spelled({"b": 2, "a": 1})
    with pytest.raises(TypeError):
        spelled(1.5)  # type: ignore[arg-type]  # floats have more spellings than one


def test_a_seal_is_of_one_row_of_one_table(seals: RowSeals) -> None:
    row: dict[str, Value] = {"id": NAME, "status": "active"}
    seal = seals.seal("member", row)
    assert seals.holds("member", row, seal)
    assert not seals.holds("member_key", row, seal)
    assert not seals.holds("member", {**row, "status": "suspended"}, seal)
    assert not seals.holds("member", {"id": NAME, "state": "active"}, seal)
    assert not seals.holds("member", row, b"")
    assert not seals.holds("member", row, seal[:-1])
    assert not seals.holds("member", row, seal[:-1] + bytes([seal[-1] ^ 1]))


def test_after_a_rotation_old_seals_and_sums_hold_and_new_ones_bear_the_new_key() -> None:
    before = Keyring.generate()
    after = before.with_new_version("service")
    old, new, without = before.row_seals(), after.row_seals(), after.without_version("service", "1").row_seals()
    row = {"id": NAME}
    seal, total = old.seal("member", row), old.share("member", NAME, old.seal("member", row))
    assert new.holds("member", row, seal)
    assert new.share("member", NAME, seal) == total
    assert new.open_sum("key_table", old.seal_sum("key_table", total)) == total
    assert new.seal("member", row)[:8] != seal[:8]
    assert not without.holds("member", row, seal)
    with pytest.raises(IntegrityError, match="not sealed by a key of this key file"):
        without.open_sum("key_table", old.seal_sum("key_table", total))


def test_a_share_is_of_one_row_with_one_seal(seals: RowSeals) -> None:
    seal, other = seals.seal("member", {"id": NAME}), seals.seal("member", {"id": NOON})
    shares = {
        seals.share("member", NAME, seal),
        seals.share("member", NAME, other),
        seals.share("member", NOON, seal),
        seals.share("member_key", NAME, seal),
    }
    assert len(shares) == 4


def test_a_sum_is_of_the_good_rows_with_or_without_broken_ones_and_of_no_others() -> None:
    a, b, c = (bytes([number]) * 32 for number in (1, 2, 4))
    assert added(a, b, b) == a
    assert added() == NO_ROWS
    assert accounted(added(a, b), added(a, b), [])
    assert accounted(added(a, b), added(a, b), [c])
    assert accounted(added(a, b, c), added(a, b), [c])
    assert not accounted(added(a, b), a, [])
    assert not accounted(added(a, b), a, [c])
    many = [bytes([0, *[number] * 31]) for number in range(MOST_BROKEN + 1)]
    assert accounted(a, a, many[:MOST_BROKEN])
    assert not accounted(a, a, many)
