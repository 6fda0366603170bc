"""The group P-256 as RFC 9497 §4.3 needs it: elements, scalars, products and hashing onto the curve.

``cryptography`` offers ECDH on this curve, which reveals only the x coordinate of a product, and no addition of points.
Both are enough. For a scalar k with public point T = kG two exchanges give x(kP) and x(k(P + G)) = x(kP + T), and the
y coordinate of kP follows from these and T without a square root and without ambiguity (`Multiplier`).

What runs where. Each multiplication of a point by a scalar, secret or not, is OpenSSL's, in constant time. Python's
integers only add points, invert coordinates and recover y. The party that holds a long-lived key does this with values
that travel on the wire anyway, or follow from them. Whoever hashes an input onto the curve (`hash_to_curve`) does it in
variable time, so that is for the party that knows the input already.

Left out: the identity has no encoding here and is ``None`` where a sum may be it; uncompressed and hybrid forms;
other curves; any use of a scalar as a signing key.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from creditshare.errors import Malformed

P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
"""p, the order of the field of coordinates (SP 800-186 §3.2.1.3)."""
N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""n, the prime order of the group; scalars are integers modulo n. The cofactor is 1."""
ELEMENT_BYTES: Final = 33
SCALAR_BYTES: Final = 32

A: Final = -3
B: Final = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_CURVE: Final = ec.SECP256R1()
_ECDH: Final = ec.ECDH()


class Point(NamedTuple):
    """An element of the group other than the identity, by its affine coordinates, each in [0, p)."""

    x: int
    y: int


GENERATOR: Final = Point(
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


# ── encodings ───────────────────────────────────────────────────────────────────────────────────────────────────────


def decode_point(data: bytes) -> Point:
    """Read the compressed form of SEC 1 §2.3.4: 33 bytes, first 02 or 03, then x < p big-endian, on the curve.

    No other form is accepted, so an element has one spelling and the identity has none (RFC 9497 §2.1,
    DeserializeElement). Raises `Malformed`, whose message names the rule and never the value.
    """
    return _point(checked_point(data))


def checked_point(data: bytes) -> ec.EllipticCurvePublicKey:
    """Check what `decode_point` checks, for whom it is enough that it is a point. Raises `Malformed`, likewise."""
    if len(data) != ELEMENT_BYTES:
        raise Malformed(f"a group element has {ELEMENT_BYTES} bytes")
    if data[0] not in (2, 3):
        raise Malformed("a group element begins with 02 or 03")
    if int.from_bytes(data[1:]) >= P:
        raise Malformed("the x coordinate of a group element is less than p")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, data)
    except ValueError as error:
        raise Malformed("a group element is a point of the curve") from error


def encode_point(point: Point) -> bytes:
    """Write the 33 bytes that `decode_point` reads."""
    return bytes((2 | point.y & 1,)) + point.x.to_bytes(32)


def decode_scalar(data: bytes) -> int:
    """Read 32 bytes big-endian, less than n; zero is allowed (RFC 9497 §4.3, DeserializeScalar). Raises `Malformed`."""
    if len(data) != SCALAR_BYTES:
        raise Malformed(f"a scalar has {SCALAR_BYTES} bytes")
    scalar = int.from_bytes(data)
    if scalar >= N:
        raise Malformed("a scalar is less than the order of the group")
    return scalar


def encode_scalar(scalar: int) -> bytes:
    """Write the 32 bytes that `decode_scalar` reads. A scalar outside [0, n) is a mistake of the caller: ValueError."""
    if not 0 <= scalar < N:
        raise ValueError("scalar out of range")
    return scalar.to_bytes(SCALAR_BYTES)


# ── sums, on values that need not be kept secret from a clock ───────────────────────────────────────────────────────


def negate(point: Point) -> Point:
    """Return −P."""
    return Point(point.x, P - point.y)  # y is never 0: a point of order 2 would divide the odd order


def add(left: Point | None, right: Point | None) -> Point | None:
    """Return P + Q, also for P = Q; ``None`` is the identity. Takes a time that depends on the values."""
    if left is None or right is None:
        return right if left is None else left
    return _add_pairs([(left, right)])[0]


def inverses(values: Sequence[int], modulus: int) -> list[int]:
    """Invert all values modulo a prime for the price of one inversion (Montgomery). Values are not 0 modulo it."""
    prefixes = []
    product = 1
    for value in values:
        prefixes.append(product)
        product = product * value % modulus
    inverse = pow(product, -1, modulus)
    results = [0] * len(values)
    for i in range(len(values) - 1, -1, -1):
        results[i] = inverse * prefixes[i] % modulus
        inverse = inverse * values[i] % modulus
    return results


def _add_pairs(pairs: Sequence[tuple[Point, Point]]) -> list[Point | None]:
    """Add within each pair. One inversion, the dearest step, serves all pairs."""
    slopes = [_slope(left, right) for left, right in pairs]
    # Where the line is vertical there is no sum to compute; 1 stands in so that the shared inversion goes through.
    denominators = inverses([slope[1] if slope else 1 for slope in slopes], P)
    sums: list[Point | None] = []
    for (left, right), slope, inverse in zip(pairs, slopes, denominators, strict=True):
        if slope is None:
            sums.append(None)
            continue
        gradient = slope[0] * inverse % P
        x = (gradient * gradient - left.x - right.x) % P
        sums.append(Point(x, (gradient * (left.x - x) - left.y) % P))
    return sums


def _slope(left: Point, right: Point) -> tuple[int, int] | None:
    """Return numerator and denominator of the slope of the line through both, the tangent if they are the same."""
    if left.x != right.x:
        return right.y - left.y, right.x - left.x
    if left.y == right.y:
        return 3 * left.x * left.x + A, 2 * left.y
    return None


def _sum(points: Sequence[Point]) -> Point | None:
    """Add all points pairwise, level by level, so that each level shares one inversion."""
    while len(points) > 1:
        odd = [points[-1]] if len(points) % 2 else []
        added = _add_pairs(list(zip(points[::2], points[1::2], strict=False)))
        points = [point for point in added if point is not None] + odd
    return points[0] if points else None


# ── products, in OpenSSL's constant time ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Multiplier:
    """A scalar k, never 0, ready to multiply many points; made by `multiplier`. ``base`` is T = kG.

    Recovering y (after Okeya and Sakurai 2001, Brier and Joye 2002, for short Weierstrass curves): the line through
    Q = kP and T gives (y_Q − y_T)² = (x_{Q+T} + x_Q + x_T)(x_Q − x_T)², and with both curve equations
    y_Q = (2b + (a + x_T·x_Q)(x_T + x_Q) − x_{Q+T}(x_T − x_Q)²) / 2y_T. It also holds for Q = T. Taking T = kG rather
    than the more usual T = P and a second scalar k + 1 leaves one secret per key, one key to set up per scalar and no
    scalar for which the formula fails; its price is one addition of G, and the one exception P = −G has Q = −T.
    """

    base: Point
    _key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)
    _half_inverse: int = field(repr=False, compare=False)  # 1 / 2y_T

    def times(self, points: Sequence[Point]) -> list[Point]:
        """Return kP for each point P, in order."""
        return _products([(self, point) for point in points])

    def _exchange(self, point: Point) -> int:
        # Loading the point makes OpenSSL check that it is on the curve, so no secret ever meets another group.
        form = b"\x04" + point.x.to_bytes(32) + point.y.to_bytes(32)
        return int.from_bytes(self._key.exchange(_ECDH, ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, form)))

    def _recover(self, x_product: int, x_shifted: int) -> Point:
        x_base = self.base.x
        difference = x_base - x_product
        numerator = 2 * B + (A + x_base * x_product) * (x_base + x_product) - x_shifted * difference * difference
        return Point(x_product, numerator * self._half_inverse % P)


def multiplier(scalar: int) -> Multiplier:
    """Prepare a scalar in [1, n) for `Multiplier.times`. Another value is a mistake of the caller: ValueError."""
    return _multipliers([scalar])[0]


def multiply_base(scalar: int) -> Point:
    """Return kG for a scalar in [1, n), else ValueError."""
    return multiplier(scalar).base


def multiply(scalar: int, point: Point) -> Point:
    """Return kP for a scalar in [1, n), else ValueError; `multiplier` serves many points."""
    return multiplier(scalar).times([point])[0]


def multiply_each(scalars: Sequence[int], points: Sequence[Point]) -> list[Point]:
    """Return k_i·P_i for each i. The scalars may be secret; each is in [1, n), else ValueError."""
    return _products(list(zip(_multipliers(scalars), points, strict=True)))


def combine(weights: Sequence[int], *columns: Sequence[Point]) -> list[Point | None]:
    """Return the sum of w_i·P_i over i for each column of points, ``None`` where it is the identity.

    Weights are in [0, n), else ValueError. Multiplying term by term in OpenSSL is faster than a bucket method in
    Python's integers: measured 1.3 times at 256 terms and 2 times at 64. What the columns share, the preparation of
    each weight, is paid once.
    """
    live = [i for i, weight in enumerate(weights) if weight != 0]
    prepared = _multipliers([weights[i] for i in live])
    return [
        _sum(_products([(weight, column[i]) for weight, i in zip(prepared, live, strict=True)])) for column in columns
    ]


def _multipliers(scalars: Iterable[int]) -> list[Multiplier]:
    keys = []
    bases = []
    for scalar in scalars:
        if not 0 < scalar < N:
            raise ValueError("scalar out of range")
        key = ec.derive_private_key(scalar, _CURVE)
        numbers = key.public_key().public_numbers()
        keys.append(key)
        bases.append(Point(numbers.x, numbers.y))
    halves = inverses([2 * base.y for base in bases], P)
    return [Multiplier(base, key, half) for base, key, half in zip(bases, keys, halves, strict=True)]


def _products(terms: Sequence[tuple[Multiplier, Point]]) -> list[Point]:
    shifted = _add_pairs([(point, GENERATOR) for _, point in terms])
    products = []
    for (scalar, point), moved in zip(terms, shifted, strict=True):
        if point == GENERATOR:
            products.append(scalar.base)
        elif moved is None:
            products.append(negate(scalar.base))
        else:
            products.append(scalar._recover(scalar._exchange(point), scalar._exchange(moved)))  # noqa: SLF001 - its own module
    return products


# ── hashing (RFC 9380) ──────────────────────────────────────────────────────────────────────────────────────────────

_SSWU_Z: Final = -10  # RFC 9380 §8.2
_DRAW_BYTES: Final = 48  # L of RFC 9380 §5.1 at 128-bit security; the same for p and n, which have the same length
_HASH_BYTES: Final = 32
_HASH_BLOCK: Final = bytes(64)  # Z_pad, one input block of SHA-256
_MAX_OUTPUT: Final = 255 * _HASH_BYTES
_MAX_TAG: Final = 255
_B_OVER_A: Final = B * pow(A, -1, P) % P
_EXCEPTIONAL_X: Final = _B_OVER_A * pow(_SSWU_Z, -1, P) % P


def expand_message(message: bytes, tag: bytes, length: int) -> bytes:
    """Stretch a message to ``length`` uniform bytes with SHA-256 (RFC 9380 §5.3.1); ``tag`` is the DST.

    Raises ValueError for a tag over 255 bytes or a length over 8160: both are constants of the caller.
    """
    if len(tag) > _MAX_TAG or length > _MAX_OUTPUT:
        raise ValueError("tag or output too long for expand_message_xmd")
    suffix = tag + bytes((len(tag),))
    first = hashlib.sha256(_HASH_BLOCK + message + length.to_bytes(2) + b"\x00" + suffix).digest()
    block = hashlib.sha256(first + b"\x01" + suffix).digest()
    output = block
    for i in range(2, -(-length // _HASH_BYTES) + 1):
        mixed = (int.from_bytes(first) ^ int.from_bytes(block)).to_bytes(_HASH_BYTES)
        block = hashlib.sha256(mixed + bytes((i,)) + suffix).digest()
        output += block
    return output[:length]


def hash_to_field(message: bytes, tag: bytes, count: int, modulus: int = P) -> list[int]:
    """Hash to ``count`` integers modulo p, or another 256-bit modulus, free of bias (RFC 9380 §5.2)."""
    uniform = expand_message(message, tag, count * _DRAW_BYTES)
    return [int.from_bytes(uniform[i : i + _DRAW_BYTES]) % modulus for i in range(0, len(uniform), _DRAW_BYTES)]


def hash_to_scalar(message: bytes, tag: bytes) -> int:
    """Hash to a scalar in [0, n) (RFC 9497 §4.3, HashToScalar)."""
    return hash_to_field(message, tag, 1, N)[0]


def hash_to_curve(message: bytes, tag: bytes) -> Point:
    """Hash to a point nobody knows the logarithm of: P256_XMD:SHA-256_SSWU_RO_ (RFC 9380 §3, §8.2).

    Takes a time that depends on the message. Raises `Malformed` for the identity, which no known message gives.
    """
    u0, u1 = hash_to_field(message, tag, 2)
    point = add(map_to_curve(u0), map_to_curve(u1))
    if point is None:
        raise Malformed("the input maps to the identity")
    return point


def map_to_curve(u: int) -> Point:
    """Map a field element to a point by the simplified SWU method, in its plain form (RFC 9380 §6.6.2)."""
    square = _SSWU_Z * u * u % P
    denominator = (square * square + square) % P
    x = -_B_OVER_A * (1 + pow(denominator, -1, P)) % P if denominator else _EXCEPTIONAL_X
    # Of both candidates at least one is on the curve. Decompressing is the square root and the test for it at once,
    # and the prefix asks for the root whose sign sgn0(y) is that of u, as steps 7 to 9 do.
    prefix = bytes((2 | u & 1,))
    try:
        return _decompress(prefix + x.to_bytes(32))
    except ValueError:
        return _decompress(prefix + (square * x % P).to_bytes(32))


def _decompress(data: bytes) -> Point:
    """Let OpenSSL find y; ValueError if there is none."""
    return _point(ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, data))


def _point(key: ec.EllipticCurvePublicKey) -> Point:
    numbers = key.public_numbers()
    return Point(numbers.x, numbers.y)
