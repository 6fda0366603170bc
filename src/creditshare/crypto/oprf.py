"""The oblivious pseudorandom function: RFC 9497, suite P256-SHA256, modes OPRF and VOPRF.

A member blinds its input, the holder of the key evaluates without learning it and proves that it used
the published key, the member unblinds to ``N = k·H(input)``. ``finalize``, the RFC's outer hash, stands
here for the vectors only: creditshare leaves it out on purpose and uses the element ``N`` itself, so that
keys can be rotated by a factor without anyone knowing an identifier.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from creditshare.crypto.p256 import (
    N,
    Point,
    add,
    decode_point,
    decode_scalar,
    encode_point,
    encode_scalar,
    hash_to_curve,
    hash_to_scalar,
    multiply,
    multiply_base,
    multiply_public,
)
from creditshare.errors import Malformed, VerificationFailed

SUITE: Final = "P256-SHA256"
ELEMENT_BYTES: Final = 33
PROOF_BYTES: Final = 64
MAX_BATCH: Final = 256
MODE_OPRF: Final = 0x00
MODE_VOPRF: Final = 0x01

RandomBytes = Callable[[int], bytes]


def context(mode: int) -> bytes:
    """Return the context string of a mode (RFC 9497 §3.1)."""
    return b"OPRFV1-" + bytes((mode,)) + b"-P256-SHA256"


_CONTEXT: Final = context(MODE_VOPRF)


@dataclass(frozen=True, slots=True)
class SecretKey:
    """The function's key: a scalar, hidden in its repr."""

    scalar: int = field(repr=False)

    @classmethod
    def generate(cls, random_bytes: RandomBytes = secrets.token_bytes) -> "SecretKey":
        """Make a key from fresh randomness."""
        return cls(random_scalar(random_bytes))

    @classmethod
    def from_bytes(cls, data: bytes) -> "SecretKey":
        """Read a key from its 32 bytes; 0 and ±1 are no keys."""
        scalar = decode_scalar(data)
        if scalar in (0, 1, N - 1):
            raise Malformed("a key is neither 0 nor 1 nor -1")
        return cls(scalar)

    def to_bytes(self) -> bytes:
        """Return the key's 32 bytes."""
        return encode_scalar(self.scalar)

    @property
    def public_key(self) -> bytes:
        """The public key, 33 bytes."""
        return encode_point(multiply_base(self.scalar))


@dataclass(frozen=True, slots=True)
class Blinded:
    """An input's blind (secret) and its blinded element (33 bytes, to be sent)."""

    blind: int = field(repr=False)
    element: bytes


def random_scalar(random_bytes: RandomBytes = secrets.token_bytes) -> int:
    """Return a uniform scalar that is not 0, 1 or -1 (RFC 9497 §4.7.1, rejection sampling)."""
    while True:
        value = int.from_bytes(random_bytes(32), "big")
        if 1 < value < N - 1:
            return value


def derive_key(seed: bytes, info: bytes, *, mode: int = MODE_VOPRF) -> SecretKey:
    """Return the key of a seed (RFC 9497 §3.2.1)."""
    derive_input = seed + len(info).to_bytes(2, "big") + info
    for counter in range(256):
        scalar = hash_to_scalar(derive_input + bytes((counter,)), b"DeriveKeyPair" + context(mode))
        if scalar not in (0, 1, N - 1):
            return SecretKey(scalar)
    raise Malformed("this seed gives no key")


def blind(
    data: bytes, *, random_bytes: RandomBytes = secrets.token_bytes, scalar: int | None = None, mode: int = MODE_VOPRF
) -> Blinded:
    """Blind an input. ``scalar`` is given only by tests with vectors. Blinding needs no constant time: it is local."""
    chosen = random_scalar(random_bytes) if scalar is None else scalar
    point = hash_to_curve(data, b"HashToGroup-" + context(mode))
    return Blinded(chosen, encode_point(multiply(chosen, point)))


def evaluate(
    key: SecretKey, blinded: Sequence[bytes], *, random_bytes: RandomBytes = secrets.token_bytes
) -> tuple[list[bytes], bytes]:
    """Evaluate blinded elements and prove it for all at once (RFC 9497 §3.3.2).

    Returns the evaluated elements in order and a proof of 64 bytes. ``Malformed`` names the position of a bad element.
    """
    _require_batch(len(blinded))
    points = []
    for position, element in enumerate(blinded):
        try:
            points.append(decode_point(element))
        except Malformed as error:
            raise Malformed(f"element {position}: {error}") from None
    evaluated = [multiply(key.scalar, point) for point in points]
    proof = prove(key, points, evaluated, nonce=random_scalar(random_bytes))
    return [encode_point(point) for point in evaluated], proof


def prove(key: SecretKey, points: Sequence[Point], evaluated: Sequence[Point], *, nonce: int) -> bytes:
    """Return the batched DLEQ proof (RFC 9497 §2.2.1)."""
    public = multiply_base(key.scalar)
    m, _ = _composites(public, points, evaluated, key=key)
    z = multiply(key.scalar, m)
    t2, t3 = multiply_base(nonce), multiply(nonce, m)
    challenge = _challenge(public, m, z, t2, t3)
    return encode_scalar(challenge) + encode_scalar(nonce - challenge * key.scalar)


def verify(public_key: bytes, blinded: Sequence[bytes], evaluated: Sequence[bytes], proof: bytes) -> None:
    """Check a batched proof against the published key (RFC 9497 §2.2.2), or raise ``VerificationFailed``."""
    _require_batch(len(blinded))
    if len(blinded) != len(evaluated) or len(proof) != PROOF_BYTES:
        raise VerificationFailed("another number of elements, or a proof of another length")
    public = decode_point(public_key)
    points, results = [decode_point(e) for e in blinded], [decode_point(e) for e in evaluated]
    challenge, response = decode_scalar(proof[:32]), decode_scalar(proof[32:])
    m, z = _composites(public, points, results, key=None)
    t2 = add(None if response == 0 else multiply_base(response), multiply_public(challenge, public))
    t3 = add(multiply_public(response, m), multiply_public(challenge, z))
    if t2 is None or t3 is None or _challenge(public, m, z, t2, t3) != challenge:
        raise VerificationFailed("the proof does not hold for the published key")


def unblind(blinded: Blinded, evaluated: bytes) -> bytes:
    """Return ``N = k·H(input)``, 33 bytes."""
    return encode_point(multiply(pow(blinded.blind, -1, N), decode_point(evaluated)))


def open_evaluation(
    public_key: bytes, blinded: Sequence[Blinded], evaluated: Sequence[bytes], proof: bytes
) -> list[bytes]:
    """Check the proof, then unblind every element: the member's whole second half."""
    verify(public_key, [one.element for one in blinded], evaluated, proof)
    return [unblind(one, element) for one, element in zip(blinded, evaluated, strict=True)]


def finalize(data: bytes, element: bytes) -> bytes:
    """Return the RFC's output hash (§3.3.1). Only the vectors use it; see the module's docstring."""
    framed = len(data).to_bytes(2, "big") + data + len(element).to_bytes(2, "big") + element
    return hashlib.sha256(framed + b"Finalize").digest()


def delta(old: SecretKey, new: SecretKey) -> int:
    """Return new/old: multiplying a stored element by it rotates the key. As secret as a key."""
    return new.scalar * pow(old.scalar, -1, N) % N


def rotate(element: bytes, factor: int) -> bytes:
    """Return a stored element under the new key."""
    return encode_point(multiply(factor, decode_point(element)))


def _require_batch(size: int) -> None:
    if not 1 <= size <= MAX_BATCH:
        raise Malformed(f"a batch has 1 to {MAX_BATCH} elements")


def _composites(
    public: Point, points: Sequence[Point], evaluated: Sequence[Point], *, key: SecretKey | None
) -> tuple[Point, Point]:
    """ComputeComposites (RFC 9497 §2.2.1); the key's holder multiplies once instead of summing Z (the Fast form)."""
    encoded_key = encode_point(public)
    seed_dst = b"Seed-" + _CONTEXT
    seed = hashlib.sha256(
        len(encoded_key).to_bytes(2, "big") + encoded_key + len(seed_dst).to_bytes(2, "big") + seed_dst
    ).digest()
    m: Point | None = None
    z: Point | None = None
    for i, (point, result) in enumerate(zip(points, evaluated, strict=True)):
        c, d = encode_point(point), encode_point(result)
        transcript = (
            len(seed).to_bytes(2, "big")
            + seed
            + i.to_bytes(2, "big")
            + len(c).to_bytes(2, "big")
            + c
            + len(d).to_bytes(2, "big")
            + d
            + b"Composite"
        )
        weight = hash_to_scalar(transcript, b"HashToScalar-" + _CONTEXT)
        m = add(m, multiply_public(weight, point))
        if key is None:
            z = add(z, multiply_public(weight, result))
    if m is None:
        raise Malformed("this batch cancels out")
    if key is not None:
        return m, m
    if z is None:
        raise VerificationFailed("the evaluated elements cancel out")
    return m, z


def _challenge(public: Point, m: Point, z: Point, t2: Point, t3: Point) -> int:
    framed = b"".join(
        len(part).to_bytes(2, "big") + part for part in (encode_point(point) for point in (public, m, z, t2, t3))
    )
    return hash_to_scalar(framed + b"Challenge", b"HashToScalar-" + _CONTEXT)
