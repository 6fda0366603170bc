"""JSON with one reading: each ambiguity is refused, with our error only and in linear time."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.errors import Malformed
from creditshare.wire.strict_json import canonical, decode, decode_object

PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"   ", id="only-spaces"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte-order-mark"),
        pytest.param(b"\xff\xfe{\0}\0", id="utf-16"),
        pytest.param(b'{"a":"\xff"}', id="not-utf-8"),
        pytest.param(b'"\xed\xa0\x80"', id="surrogate-in-utf-8"),
        pytest.param(b'"\xc0\xaf"', id="overlong-utf-8"),
        pytest.param(b'"\\ud800"', id="lone-surrogate-escape"),
        pytest.param(b'{"\\uDC00":1}', id="lone-surrogate-in-a-name"),
        pytest.param(b'{"a":1,"a":2}', id="name-twice"),
        pytest.param(b'{"a":1,"\\u0061":2}', id="name-twice-by-escape"),
        pytest.param(b'{"x":[{"a":1,"a":1}]}', id="name-twice-inside"),
        pytest.param(b"NaN", id="nan"),
        pytest.param(b"[Infinity]", id="infinity"),
        pytest.param(b"[-Infinity]", id="minus-infinity"),
        pytest.param(b"1e400", id="float-overflow"),
        pytest.param(b"-1e400", id="float-overflow-below"),
        pytest.param(b"9007199254740992", id="2-to-the-53"),
        pytest.param(b"-9007199254740992", id="minus-2-to-the-53"),
        pytest.param(b"1" * 5000, id="integer-of-5000-digits"),
        pytest.param(b"01", id="leading-zero"),
        pytest.param(b"+1", id="plus-sign"),
        pytest.param(b"0x10", id="hexadecimal"),
        pytest.param(b".5", id="no-integer-part"),
        pytest.param(b"1.", id="no-fraction"),
        pytest.param(b"{'a':1}", id="single-quotes"),
        pytest.param(b'{"a":1,}', id="trailing-comma"),
        pytest.param(b"[1,]", id="trailing-comma-in-a-list"),
        pytest.param(b"{} {}", id="two-values"),
        pytest.param(b"{}x", id="more-after-the-value"),
        pytest.param(b'"\n"', id="raw-newline-in-a-string"),
        pytest.param(b'"\0"', id="raw-nul-in-a-string"),
        pytest.param(b"/* */ {}", id="comment"),
        pytest.param("１".encode(), id="full-width-digit"),
        pytest.param(b"\xc2\xa0{}", id="no-break-space"),
        pytest.param(b"True", id="python-true"),
        pytest.param(b'{"a"', id="unfinished"),
        pytest.param(b"[" * 33 + b"]" * 33, id="33-deep"),
        pytest.param(b'{"a":' * 33 + b"1" + b"}" * 33, id="33-objects-deep"),
        pytest.param(b"[" * 2_000_000, id="two-million-brackets"),
        pytest.param(b'["]]]]' + b"]" * 40 + b'",' + b"[" * 32 + b"]" * 33, id="brackets-in-a-string-do-not-close"),
        pytest.param(b'["\\"' + b"]" * 40 + b'",' + b"[" * 32 + b"]" * 33, id="nor-after-an-escaped-quote"),
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        pytest.param(b' {"a": [1, 2.5, true, null, "x"]}\n', {"a": [1, 2.5, True, None, "x"]}, id="ordinary"),
        pytest.param(b"9007199254740991", 2**53 - 1, id="largest-integer"),
        pytest.param(b'"\\ud83d\\ude00"', "\U0001f600", id="surrogate-pair"),
        pytest.param(b"[" * 32 + b"]" * 32, None, id="32-deep"),
        pytest.param(b'"' + b"[" * 100 + b'"', "[" * 100, id="brackets-in-a-string"),
        pytest.param(b"[" + b"[]," * 100 + b"[]]", [[]] * 101, id="wide-not-deep"),
    ],
)
def test_accepted(data: bytes, value: object) -> None:
    assert value is None or decode(data) == value
    decode(data)


@pytest.mark.parametrize("data", [b"1.0", b"1e0", b"[-0.5]", b"1E400"])
def test_floats_can_be_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data, allow_floats=False)


def test_depth_is_the_callers_choice() -> None:
    assert decode(b"[[]]", max_depth=2) == [[]]
    with pytest.raises(Malformed):
        decode(b"[[]]", max_depth=1)


@pytest.mark.parametrize("data", [b"[]", b'"{}"', b"null", b"1"])
def test_decode_object_wants_an_object(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_object(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'"' + b'\\"' * 500_000, id="unfinished-string-of-quotes"),
        pytest.param(b"[" * 40 + b'"' + b"\\" * 1_000_001, id="unfinished-string-of-backslashes"),
        pytest.param(b"[" * 33 + b'"a' * 300_000, id="many-strings"),
    ],
)
def test_hostile_input_costs_linear_time(data: bytes) -> None:
    started = time.perf_counter()
    with pytest.raises(Malformed):
        decode(data)
    assert time.perf_counter() - started < 2.0


@given(st.one_of(st.binary(max_size=60), st.text(alphabet='[]{}",:\\u0d8cea1.5-n', max_size=60).map(str.encode)))
def test_any_bytes_yield_a_value_or_malformed(data: bytes) -> None:
    try:
        value = decode(data)
    except Malformed:
        return
    json.dumps(value, allow_nan=False)


@given(PLAIN)
def test_canonical_is_read_back_and_stable(value: object) -> None:
    spelled = canonical(value)
    assert decode(spelled) == value
    assert canonical(decode(spelled)) == spelled
    assert spelled.isascii()


def test_canonical_spelling() -> None:
    value = {"b": (1, None), "a": {"é": True}, "B": '"\\/\b\t\n\f\r\0\x7f~\U0001f600'}
    assert canonical(value) == (rb'{"B":"\"\\/\b\t\n\f\r\u0000\u007f~\ud83d\ude00","a":{"\u00e9":true},"b":[1,null]}')


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(1.0, id="float"),
        pytest.param({"a": [0.5]}, id="float-inside"),
        pytest.param(float("nan"), id="nan"),
        pytest.param({1: 2}, id="name-not-text"),
        pytest.param(b"x", id="bytes"),
        pytest.param({"a"}, id="set"),
        pytest.param(2**53, id="integer-too-large"),
        pytest.param("\ud800", id="lone-surrogate"),
        pytest.param({"\ud800": 1}, id="lone-surrogate-in-a-name"),
        pytest.param(object(), id="object"),
    ],
)
def test_canonical_refuses(value: object) -> None:
    with pytest.raises(Malformed):
        canonical(value)


def test_canonical_refuses_what_contains_itself() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(Malformed):
        canonical(loop)


def test_canonical_is_as_deep_as_decode() -> None:
    value: object = []
    for _ in range(31):
        value = {"a": value}
    assert decode(canonical(value)) == value
    with pytest.raises(Malformed):
        canonical([value])
