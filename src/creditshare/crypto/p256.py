"""The group P-256 for the oblivious function (RFC 9497 §4.3), on the ``cryptography`` package alone.

Every multiplication by a *secret* scalar is OpenSSL's ECDH, which gives the x of k·P. The x of (k+1)·P,
from a second exchange, gives y without a square root (Okeya-Sakurai recovery for y² = x³ - 3x + b).
Python's own arithmetic touches only values that are sent over the wire anyway.
"""

import hashlib
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from creditshare.errors import Malformed

P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B: Final = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
A: Final = P - 3
Z: Final = P - 10  # RFC 9380 §8.2
ELEMENT_BYTES: Final = 33
SCALAR_BYTES: Final = 32
_L: Final = 48  # RFC 9380 §8.2: bytes per field element before reduction

Point = tuple[int, int]
_CURVE: Final = ec.SECP256R1()


def decode_point(data: bytes) -> Point:
    """Return the point of a 33-byte compressed encoding (SEC 1 §2.3.4); one encoding per point, never infinity."""
    if len(data) != ELEMENT_BYTES or data[0] not in (2, 3):
        raise Malformed("an element is 33 bytes that begin with 02 or 03")
    x = int.from_bytes(data[1:], "big")
    if x >= P:
        raise Malformed("an element's coordinate lies below the field's prime")
    square = (x * x * x + A * x + B) % P
    y = pow(square, (P + 1) // 4, P)
    if y * y % P != square:
        raise Malformed("an element lies on the curve P-256")
    return x, y if y & 1 == data[0] & 1 else P - y


def encode_point(point: Point) -> bytes:
    """Return the 33-byte compressed encoding."""
    return bytes((2 + (point[1] & 1),)) + point[0].to_bytes(32, "big")


def decode_scalar(data: bytes) -> int:
    """Return a scalar below the group's order from its 32 bytes."""
    value = int.from_bytes(data, "big")
    if len(data) != SCALAR_BYTES or value >= N:
        raise Malformed("a scalar is 32 bytes, below the group's order")
    return value


def encode_scalar(value: int) -> bytes:
    """Return a scalar's 32 bytes."""
    return (value % N).to_bytes(SCALAR_BYTES, "big")


def negate(point: Point) -> Point:
    """Return the point's inverse."""
    return point[0], (P - point[1]) % P


def add(p: Point | None, q: Point | None) -> Point | None:
    """Add public points; None is the point at infinity."""
    if p is None or q is None:
        return q if p is None else p
    if p[0] == q[0]:
        if (p[1] + q[1]) % P == 0:
            return None
        slope = (3 * p[0] * p[0] + A) * pow(2 * p[1], -1, P) % P
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, P) % P
    x = (slope * slope - p[0] - q[0]) % P
    return x, (slope * (p[0] - x) - p[1]) % P


@lru_cache(maxsize=16)
def _private(scalar: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(scalar, _CURVE)


def multiply_base(scalar: int) -> Point:
    """Return scalar·G, through OpenSSL."""
    numbers = ec.derive_private_key(scalar % N, _CURVE).public_key().public_numbers()
    return numbers.x, numbers.y


def multiply(scalar: int, point: Point) -> Point:
    """Return scalar·point, through OpenSSL's constant-time exchange. The scalar must not be 0, 1 or -1 mod n."""
    k = scalar % N
    if k in (0, 1, N - 1):
        raise Malformed("a scalar is neither 0 nor 1 nor -1")
    public = ec.EllipticCurvePublicNumbers(point[0], point[1], _CURVE).public_key()
    x1 = int.from_bytes(_private(k).exchange(ec.ECDH(), public), "big")
    x2 = point[0] if k == N - 2 else int.from_bytes(_private(k + 1).exchange(ec.ECDH(), public), "big")
    x, y = point
    if x1 == x:  # k·P = ±P happens only for the scalars refused above
        raise Malformed("the product has no recoverable coordinate")
    top = (2 * B + (A + x * x1) * (x + x1) - x2 * (x - x1) ** 2) % P
    return x1, top * pow(2 * y, -1, P) % P


def multiply_public(scalar: int, point: Point) -> Point | None:
    """Return scalar·point for values that are public anyway; handles every scalar."""
    k = scalar % N
    if k in (0, 1, N - 1):
        return None if k == 0 else point if k == 1 else negate(point)
    return multiply(k, point)


def expand_message(message: bytes, dst: bytes, length: int) -> bytes:
    """Return ``length`` uniform bytes: expand_message_xmd with SHA-256 (RFC 9380 §5.3.1)."""
    dst_prime = dst + bytes((len(dst),))
    blocks = -(-length // 32)
    b0 = hashlib.sha256(bytes(64) + message + length.to_bytes(2, "big") + b"\0" + dst_prime).digest()
    block = hashlib.sha256(b0 + b"\x01" + dst_prime).digest()
    out = [block]
    for i in range(2, blocks + 1):
        mixed = bytes(a ^ b for a, b in zip(b0, block, strict=True))
        block = hashlib.sha256(mixed + bytes((i,)) + dst_prime).digest()
        out.append(block)
    return b"".join(out)[:length]


def hash_to_scalar(message: bytes, dst: bytes) -> int:
    """Return a scalar from a message (RFC 9497 §4.3)."""
    return int.from_bytes(expand_message(message, dst, _L), "big") % N


def hash_to_curve(message: bytes, dst: bytes) -> Point:
    """Return a point from a message: P256_XMD:SHA-256_SSWU_RO_ (RFC 9380 §8.2)."""
    uniform = expand_message(message, dst, 2 * _L)
    u0, u1 = (int.from_bytes(uniform[i : i + _L], "big") % P for i in (0, _L))
    point = add(_map_to_curve(u0), _map_to_curve(u1))
    if point is None:  # probability 2^-256
        raise Malformed("this input has no element")
    return point


def _map_to_curve(u: int) -> Point:
    """Simplified SWU (RFC 9380 §6.6.2)."""
    t = Z * u * u % P
    denominator = (t * t + t) % P
    x1 = B * pow(Z * A, -1, P) % P if denominator == 0 else -B * pow(A, -1, P) * (1 + pow(denominator, -1, P)) % P
    for x in (x1, t * x1 % P):
        square = (x * x * x + A * x + B) % P
        y = pow(square, (P + 1) // 4, P)
        if y * y % P == square:
            return x, y if y & 1 == u & 1 else P - y
    raise AssertionError("one of the two candidates lies on the curve")
