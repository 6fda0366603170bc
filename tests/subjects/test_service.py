"""Event times never stand still or run back; an element has one spelling."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.p256 import GENERATOR, P, encode_point
from creditshare.errors import Refused
from creditshare.keys.custody import SubjectKeys
from creditshare.subjects.service import EMPTY_CHAIN, SubjectState, chain_step, element_bytes, next_event_time, row_mac

SUBJECT = UUID(int=7)
KEYS = SubjectKeys.of(SUBJECT, bytes(8), bytes(32))
TICK = timedelta(milliseconds=1)
moments = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  hypothesis wants naive bounds


def after(last: datetime) -> SubjectState:
    return SubjectState(SUBJECT, 1, 1, EMPTY_CHAIN, last, KEYS)


@given(last=moments, now=moments)
def test_the_next_event_is_after_the_last_in_whole_milliseconds(last: datetime, now: datetime) -> None:
    at = next_event_time(after(last), now)
    assert at > last
    assert at.microsecond % 1000 == 0
    assert at - TICK < max(now, last + TICK)
    assert now < at + TICK


def test_events_of_one_millisecond_and_of_a_clock_that_ran_back_are_told_apart() -> None:
    now = datetime(2026, 1, 1, 12, 0, 0, 5_999, tzinfo=UTC)
    assert next_event_time(after(now - timedelta(seconds=1)), now) == now.replace(microsecond=5_000)
    assert next_event_time(after(now.replace(microsecond=5_000)), now) == now.replace(microsecond=6_000)
    assert next_event_time(after(now), now - timedelta(hours=1)) == now.replace(microsecond=6_000)


POINT = encode_point(GENERATOR)
SPELLED = b64url_encode(POINT)


def test_a_point_of_the_curve_is_read_from_its_only_spelling() -> None:
    assert element_bytes(SPELLED) == POINT
    assert len(POINT) == 33


@pytest.mark.parametrize(
    "text",
    [
        "",
        SPELLED[:-1],
        SPELLED + "A",
        SPELLED + "=",
        SPELLED + "\n",
        " " + SPELLED,
        SPELLED.replace("-", "+").replace("_", "/"),
        SPELLED[:20] + "é" + SPELLED[21:],
        b64url_encode(b"\x04" + POINT[1:]),
        b64url_encode(b"\x00" + POINT[1:]),
        b64url_encode(bytes(33)),
        b64url_encode(POINT[:32]),
        b64url_encode(POINT + b"\x00"),
        b64url_encode(b"\x02" + P.to_bytes(32)),
        b64url_encode(b"\x02" + (GENERATOR.x + 2).to_bytes(32)),
        b64url_encode(b"\x04" + GENERATOR.x.to_bytes(32) + GENERATOR.y.to_bytes(32)),
    ],
)
def test_anything_else_is_refused_naming_the_field_and_not_the_value(text: str) -> None:
    with pytest.raises(Refused) as caught:
        element_bytes(text)
    assert caught.value.code == "element_invalid"
    (field,) = caught.value.fields
    assert field.pointer == "/subject/element"
    assert not text or text not in f"{caught.value!r}{field}"


@given(st.binary(min_size=30, max_size=36))
def test_what_is_read_is_spelled_again_the_same(data: bytes) -> None:
    text = b64url_encode(data)
    try:
        assert b64url_encode(element_bytes(text)) == text
        assert b64url_decode(text) == data
    except Refused as refusal:
        assert refusal.code == "element_invalid"  # noqa: PT017  most random bytes are no point


def test_the_seal_of_a_row_and_the_chain_depend_on_every_part() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    seals = [
        row_mac(KEYS, version=version, event_count=count, chain=chain, last_event_at=at)
        for version, count, chain, at in [
            (1, 2, EMPTY_CHAIN, moment),
            (2, 1, EMPTY_CHAIN, moment),
            (1, 2, bytes(31) + b"\x01", moment),
            (1, 2, EMPTY_CHAIN, moment + timedelta(microseconds=1)),
        ]
    ]
    other = SubjectKeys.of(UUID(int=8), bytes(8), bytes(32))
    seals.append(row_mac(other, version=1, event_count=2, chain=EMPTY_CHAIN, last_event_at=moment))
    one, two = b"1" * 32, b"2" * 32
    seals += [chain_step(KEYS, chain_step(KEYS, EMPTY_CHAIN, a), b) for a, b in [(one, two), (two, one)]]
    assert len(set(seals)) == len(seals)
