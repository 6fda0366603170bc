"""Entry bundles: what is written is read back, and nothing else is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.errors import Malformed
from creditshare.tlog.bundles import MAX_ENTRY, encode_bundle, parse_bundle

SMALL = st.lists(st.binary(max_size=40), max_size=20)


@given(SMALL)
def test_a_bundle_is_read_as_it_was_written(entries: list[bytes]) -> None:
    assert parse_bundle(encode_bundle(entries), width=len(entries)) == entries


def test_each_entry_follows_its_length_in_two_bytes() -> None:
    assert encode_bundle([b"ab", b"", b"c" * 258]) == b"\0\2ab" + b"\0\0" + b"\1\2" + b"c" * 258


def test_the_largest_bundle_is_read() -> None:
    entries = [b"e" * MAX_ENTRY] * 256
    assert parse_bundle(encode_bundle(entries), width=256) == entries


@given(SMALL.filter(len), st.data())
def test_no_part_of_a_bundle_and_nothing_behind_it_is_taken(entries: list[bytes], data: st.DataObject) -> None:
    body = encode_bundle(entries)
    cut = data.draw(st.integers(0, len(body) - 1))
    for wrong in (body[:cut], body + b"\0", body + b"\0\0"):
        with pytest.raises(Malformed):
            parse_bundle(wrong, width=len(entries))
    for width in (len(entries) - 1, len(entries) + 1):
        with pytest.raises(Malformed):
            parse_bundle(body, width=width)


@pytest.mark.parametrize("entries", [[b""] * 257, [b"e" * (MAX_ENTRY + 1)]])
def test_what_no_bundle_can_hold_is_not_written(entries: list[bytes]) -> None:
    with pytest.raises(ValueError, match="256 entries"):
        encode_bundle(entries)
