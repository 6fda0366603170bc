"""CSE-1: a sealed value opens in its place, under its key, unchanged, and nowhere else."""

import pytest

from creditshare.crypto.sealing import OVERHEAD_BYTES, Box, Place, derive_key, length_prefixed
from creditshare.errors import IntegrityError

KEY, KEY_ID = bytes(range(32)), b"key-0001"
PLACE = Place("record_event", "sealed", b"row-1")


def test_what_is_sealed_opens_in_its_place() -> None:
    box = Box.of(KEY, key_id=KEY_ID)
    sealed = box.seal(PLACE, b"98000.00")
    assert box.open(PLACE, sealed) == b"98000.00"
    assert len(sealed) == len(b"98000.00") + OVERHEAD_BYTES
    assert sealed != box.seal(PLACE, b"98000.00")


@pytest.mark.parametrize(
    "place",
    [
        Place("record_event", "sealed", b"row-2"),
        Place("record_event", "other", b"row-1"),
        Place("consent", "sealed", b"row-1"),
        Place("record_even", "tsealed", b"row-1"),
        Place("record_event", "sealedr", b"ow-1"),
    ],
    ids=["row", "column", "table", "boundary-1", "boundary-2"],
)
def test_a_moved_value_does_not_open(place: Place) -> None:
    box = Box.of(KEY, key_id=KEY_ID)
    with pytest.raises(IntegrityError):
        box.open(place, box.seal(PLACE, b"x"))


def test_every_flipped_byte_and_every_cut_is_noticed() -> None:
    box = Box.of(KEY, key_id=KEY_ID)
    sealed = box.seal(PLACE, b"x")
    for position in range(len(sealed)):
        flipped = bytearray(sealed)
        flipped[position] ^= 1
        with pytest.raises(IntegrityError):
            box.open(PLACE, bytes(flipped))
        with pytest.raises(IntegrityError):
            box.open(PLACE, sealed[:position])


def test_another_key_does_not_open() -> None:
    sealed = Box.of(KEY, key_id=KEY_ID).seal(PLACE, b"x")
    for other in (Box.of(bytes(32), key_id=KEY_ID), Box.of(KEY, key_id=b"key-0002")):
        with pytest.raises(IntegrityError):
            other.open(PLACE, sealed)


def test_derivation_is_hkdf_of_rfc_5869() -> None:
    # RFC 5869 appendix A.1, first 32 of its 42 bytes.
    secret, salt = bytes.fromhex("0b" * 22), bytes(range(13))
    derived = derive_key(secret, salt=salt, info=bytes(range(0xF0, 0xFA)))
    assert derived.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


def test_joined_parts_cannot_be_told_apart_wrongly() -> None:
    assert length_prefixed(b"ab", b"c") != length_prefixed(b"a", b"bc")


def test_a_box_hides_its_key() -> None:
    assert "AESGCM" not in repr(Box.of(KEY, key_id=KEY_ID))
