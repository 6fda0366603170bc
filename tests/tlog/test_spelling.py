"""One spelling of numbers and bytes: what is written is read back, and nothing else is."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.errors import Malformed
from creditshare.tlog.spelling import (
    MAX_SIZE,
    decode_decimal,
    decode_std,
    decode_text,
    decode_url,
    encode_std,
    encode_url,
    has_control,
)

Decoder = Callable[..., bytes]


@given(st.binary(max_size=100))
def test_bytes_come_back(data: bytes) -> None:
    assert decode_std(encode_std(data), what="x", size=len(data)) == data
    assert decode_url(encode_url(data), what="x", size=len(data)) == data


@given(st.text(max_size=12) | st.text(alphabet="AB+/-_= \n", max_size=12))
def test_what_is_read_is_what_would_be_written(text: str) -> None:
    for decode, encode in ((decode_std, encode_std), (decode_url, encode_url)):
        try:
            assert encode(decode(text, what="x")) == text
        except Malformed:
            continue


@pytest.mark.parametrize(("decode", "text"), [(decode_std, "AAAA"), (decode_url, "AAAA")])
@pytest.mark.parametrize("size", [0, 2, 4])
def test_another_number_of_bytes_is_malformed(decode: Decoder, text: str, size: int) -> None:
    with pytest.raises(Malformed):
        decode(text, what="x", size=size)


@given(st.integers(0, MAX_SIZE))
def test_numbers_come_back(value: int) -> None:
    assert decode_decimal(str(value), what="x") == value


@pytest.mark.parametrize(
    "text", ["", "00", "01", "+1", "-1", " 1", "1\n", "1_0", "\u0661", "\u00b2", str(MAX_SIZE + 1)]
)
def test_other_numbers_are_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        decode_decimal(text, what="x")


def test_text() -> None:
    assert decode_text("é".encode(), what="x", limit=2) == decode_text("é", what="x", limit=1) == "é"
    for wrong in (b"\xff", "\ud800", "ab", b"ab"):
        with pytest.raises(Malformed):
            decode_text(wrong, what="x", limit=1)
    assert not has_control("a\n\x7f\u0085")
    assert all(has_control(chr(code)) for code in range(32) if chr(code) != "\n")
