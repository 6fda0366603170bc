"""The group: strict encodings, products against plain affine arithmetic, hashing against RFC 9380 J.1.1 and K.1."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from creditshare.crypto import p256
from creditshare.crypto.p256 import GENERATOR, N, P, Point
from creditshare.errors import Malformed

SCALARS = st.integers(min_value=1, max_value=N - 1)
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B


def plain_sum(left: Point | None, right: Point | None) -> Point | None:
    """The textbook's addition, written independently of the module."""
    if left is None or right is None:
        return right if left is None else left
    if left.x == right.x and left.y != right.y:
        return None
    if left.x == right.x:
        slope = (3 * left.x**2 - 3) * pow(2 * left.y, P - 2, P)
    else:
        slope = (left.y - right.y) * pow(left.x - right.x, P - 2, P)
    x = (slope**2 - left.x - right.x) % P
    return Point(x, (slope * (left.x - x) - left.y) % P)


def plain_product(scalar: int, point: Point) -> Point | None:
    total: Point | None = None
    for bit in f"{scalar:b}":
        total = plain_sum(total, total)
        if bit == "1":
            total = plain_sum(total, point)
    return total


@given(SCALARS, SCALARS)
@example(1, 1)
@example(N - 1, 1)
@example(1, N - 1)  # P = -G: the one point whose shift by G is the identity
@example(7, N - 1)
@example(2, 1)
@example(N - 1, N - 1)
@example(N - 2, 2)
@example(5, N - 2)  # P + G = -G
def test_a_product_agrees_with_plain_arithmetic(k: int, r: int) -> None:
    point = p256.multiply_base(r)
    assert point == plain_product(r, GENERATOR)
    assert p256.multiply(k, point) == plain_product(k, point)


@given(st.lists(st.tuples(st.integers(min_value=0, max_value=N - 1), SCALARS), max_size=6))
@example([])
@example([(0, 5)])
@example([(3, 5), (N - 3, 5)])  # cancels
@example([(3, 5), (3, N - 5), (1, 9)])
@example([(4, 2), (4, 2)])  # doubles
def test_a_combination_agrees_with_plain_arithmetic(terms: list[tuple[int, int]]) -> None:
    total = sum(weight * r for weight, r in terms) % N
    points = [p256.multiply_base(r) for _, r in terms]
    doubled = [p256.multiply(2, point) for point in points]
    assert p256.combine([weight for weight, _ in terms], points, doubled) == [
        plain_product(total, GENERATOR) if total else None,
        plain_product(2 * total % N, GENERATOR) if total else None,
    ]


@given(SCALARS, SCALARS)
@example(1, 1)
@example(1, N - 1)
def test_addition(r: int, s: int) -> None:
    left, right = p256.multiply_base(r), p256.multiply_base(s)
    assert p256.add(left, right) == plain_sum(left, right)
    assert p256.add(left, p256.negate(left)) is None
    assert p256.add(left, None) == p256.add(None, left) == left


def test_each_scalar_meets_its_own_point() -> None:
    points = [p256.multiply_base(r) for r in (3, 5, N - 1)]
    assert p256.multiply_each([2, 7, 9], points) == [p256.multiply_base(k) for k in (6, 35, N - 9)]


@pytest.mark.parametrize("scalar", [0, N, -1, N + 1])
def test_a_scalar_out_of_range_is_the_callers_mistake(scalar: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        p256.multiply(scalar, GENERATOR)


def test_a_multiplier_hides_its_scalar() -> None:
    assert str(12345678901234567) not in repr(p256.multiplier(12345678901234567))


@given(SCALARS)
def test_an_element_has_one_spelling(r: int) -> None:
    point = p256.multiply_base(r)
    assert p256.decode_point(p256.encode_point(point)) == point
    assert p256.decode_point(p256.encode_point(p256.negate(point))) == p256.negate(point)


G_X, G_Y = GENERATOR.x.to_bytes(32, "big"), GENERATOR.y.to_bytes(32, "big")
BAD_ELEMENTS = {
    "empty": b"",
    "infinity-one-byte": b"\x00",
    "infinity-33-zeros": bytes(33),
    "compressed-zero-x-bad-prefix": b"\x01" + G_X,
    "short": b"\x03" + G_X[:-1],
    "long": b"\x03" + G_X + b"\x00",
    "uncompressed": b"\x04" + G_X + G_Y,
    "hybrid": b"\x07" + G_X + G_Y,
    "prefix-04-in-33-bytes": b"\x04" + G_X,
    "prefix-05": b"\x05" + G_X,
    "x-is-p": b"\x02" + P.to_bytes(32, "big"),
    "x-is-p-plus-a-valid-x": b"\x02" + (P + 5).to_bytes(32, "big"),
    "x-is-all-ones": b"\x02" + b"\xff" * 32,
    "off-curve": b"\x02" + (1).to_bytes(32, "big"),
}


@pytest.mark.parametrize("data", BAD_ELEMENTS.values(), ids=BAD_ELEMENTS.keys())
def test_another_spelling_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        p256.decode_point(data)


def test_the_classes_above_are_what_they_say() -> None:
    """x = 5 is on the curve, so only the range check refuses p + 5; x = 1 is not a square."""
    p256.decode_point(b"\x02" + (5).to_bytes(32, "big"))
    assert pow(1 - 3 + B, (P - 1) // 2, P) == P - 1


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33), N.to_bytes(32, "big"), b"\xff" * 32])
def test_another_spelling_of_a_scalar_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        p256.decode_scalar(data)


def test_scalars_round_trip() -> None:
    for scalar in (0, 1, N - 1):
        assert p256.decode_scalar(p256.encode_scalar(scalar)) == scalar
    with pytest.raises(ValueError, match="out of range"):
        p256.encode_scalar(N)


CURVE_TAG = b"QUUX-V01-CS02-with-P256_XMD:SHA-256_SSWU_RO_"
CURVE_VECTORS = [
    (
        b"",
        0x2C15230B26DBC6FC9A37051158C95B79656E17A1A920B11394CA91C44247D3E4,
        0x8A7A74985CC5C776CDFE4B1F19884970453912E9D31528C060BE9AB5C43E8415,
    ),
    (
        b"abc",
        0x0BB8B87485551AA43ED54F009230450B492FEAD5F1CC91658775DAC4A3388A0F,
        0x5C41B3D0731A27A7B14BC0BF0CCDED2D8751F83493404C84A88E71FFD424212E,
    ),
    (
        b"abcdef0123456789",
        0x65038AC8F2B1DEF042A5DF0B33B1F4ECA6BFF7CB0F9C6C1526811864E544ED80,
        0xCAD44D40A656E7AFF4002A8DE287ABC8AE0482B5AE825822BB870D6DF9B56CA3,
    ),
]


@pytest.mark.parametrize(("message", "x", "y"), CURVE_VECTORS, ids=["empty", "abc", "16-bytes"])
def test_hash_to_curve_gives_the_values_of_rfc_9380(message: bytes, x: int, y: int) -> None:
    assert p256.hash_to_curve(message, CURVE_TAG) == (x, y)


def test_expand_message_gives_the_values_of_rfc_9380() -> None:
    tag = b"QUUX-V01-CS02-with-expander-SHA256-128"
    assert p256.expand_message(b"", tag, 32).hex() == "68a985b87eb6b46952128911f2a4412bbc302a9d759667f87f7a21d803f07235"
    assert (
        p256.expand_message(b"abc", tag, 32).hex() == "d8ccab23b5985ccea865c6c97b6e5b8350e794e603b4b97902f53a8a0d605615"
    )
    assert p256.expand_message(b"abc", tag, 0x80).hex().startswith("abba86a6129e366fc877aab32fc4ffc70120d8996c88aee2")


def test_expand_message_refuses_what_its_length_bytes_cannot_say() -> None:
    for tag, length in ((bytes(256), 32), (b"tag", 255 * 32 + 1)):
        with pytest.raises(ValueError, match="too long"):
            p256.expand_message(b"", tag, length)


@given(st.integers(min_value=0, max_value=P - 1))
@example(0)  # the exceptional case, for which the general formula divides by zero
@example(1)
def test_a_mapped_point_is_on_the_curve_and_has_its_field_elements_sign(u: int) -> None:
    point = p256.map_to_curve(u)
    assert (point.y**2 - point.x**3 + 3 * point.x - B) % P == 0
    assert point.y & 1 == u & 1
