"""The oblivious function that turns borrowers into tokens: RFC 9497, suite P256-SHA256, modes OPRF and VOPRF.

A member hashes a borrower's identifier onto the curve and multiplies it by a random blind (`blind`). The tokeniser
multiplies what it gets, which tells it nothing, by its key, with one proof for the whole batch that it used the key it
published (`evaluate`). The member checks the proof and takes its blind away again (`open_evaluation`). What remains,
N = k·H(input), is the token.

**Finalize's outer hash is left out on purpose.** RFC 9497 §3.3 ends with Hash(input, N, "Finalize"). Everywhere in
creditshare a borrower is N itself, because then the key can be rotated without anybody's identifier: `delta` times
every stored N gives the tokens under the new key (`rotate`). `finalize` exists for members that want the RFC's
output, and for its test vectors.

What is constant-time and what is not (RFC 9497 §7.4). All multiplications by the key, by blinds and by proof nonces are
OpenSSL's. Three steps on secrets are Python's integers, whose time may depend on their values: the one product c·k of a
proof, the inverse of a blind and `delta`. The first hides behind a fresh nonce for each batch, the others run with
the member alone and in the tokeniser's rotation job. Hashing an input onto the curve is the member's own, too.

Left out: mode POPRF, since its outputs cannot be rotated; other suites; key custody, budgets and key versions.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from creditshare.crypto import p256
from creditshare.errors import Malformed, VerificationFailed

SUITE: Final = "P256-SHA256"
ELEMENT_BYTES: Final = p256.ELEMENT_BYTES
PROOF_BYTES: Final = 2 * p256.SCALAR_BYTES
MAX_BATCH: Final = 256
"""How many elements one call and one proof may cover."""
MODE_VOPRF: Final = 0x01

_MAX_INPUT: Final = 2**16 - 1  # RFC 9497 §5.1
_RANDOM_SCALAR_BYTES: Final = 48  # RFC 9497 §4.7.2: half as many bits again as the order has
_KEY_ATTEMPTS: Final = 256

RandomBytes = Callable[[int], bytes]
"""Where randomness comes from: that many bytes, of cryptographic quality."""


def context(mode: int) -> bytes:
    """Return the suffix of every domain separation tag (RFC 9497 §3.1, CreateContextString)."""
    return b"OPRFV1-" + bytes((mode,)) + b"-" + SUITE.encode()


# ── keys and scalars ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class SecretKey:
    """The tokeniser's key k in [1, n), with its ``public_key`` kG in 33 bytes. The scalar never shows in a repr."""

    scalar: int = field(repr=False, compare=False)  # equal public keys are equal scalars, and are no secret
    public_key: bytes = field(init=False)
    multiplier: p256.Multiplier = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        multiplier = p256.multiplier(self.scalar)
        object.__setattr__(self, "multiplier", multiplier)
        object.__setattr__(self, "public_key", p256.encode_point(multiplier.base))

    @classmethod
    def generate(cls, random_bytes: RandomBytes = secrets.token_bytes) -> "SecretKey":
        """Draw a new key (RFC 9497 §3.2)."""
        return cls(random_scalar(random_bytes))

    @classmethod
    def from_bytes(cls, data: bytes) -> "SecretKey":
        """Read 32 bytes big-endian, less than n; 0 and ±1 are no keys. Raises `Malformed`."""
        scalar = p256.decode_scalar(data)
        if scalar in (0, 1, p256.N - 1):
            raise Malformed("a key is neither 0 nor 1 nor -1")
        return cls(scalar)

    def to_bytes(self) -> bytes:
        """Return the 32 secret bytes that `from_bytes` reads."""
        return p256.encode_scalar(self.scalar)


def derive_key(seed: bytes, info: bytes, *, mode: int = MODE_VOPRF) -> SecretKey:
    """Derive a key from a 32-byte secret seed and a public label (RFC 9497 §3.2.1).

    Raises `Malformed` for a seed of another length or a label over 65535 bytes.
    """
    if len(seed) != p256.SCALAR_BYTES or len(info) > _MAX_INPUT:
        raise Malformed("a key is derived from a 32-byte seed and a label of at most 65535 bytes")
    message = seed + _framed(info)
    for counter in range(_KEY_ATTEMPTS):
        scalar = p256.hash_to_scalar(message + bytes((counter,)), b"DeriveKeyPair" + context(mode))
        if scalar:
            return SecretKey(scalar)
    raise Malformed("no key follows from this seed")  # DeriveKeyPairError; has probability 2^-65536


def random_scalar(random_bytes: RandomBytes = secrets.token_bytes) -> int:
    """Draw a scalar in [1, n) from 48 bytes, off uniform by less than 2^-128 (RFC 9497 §4.7.2)."""
    return 1 + int.from_bytes(random_bytes(_RANDOM_SCALAR_BYTES)) % (p256.N - 1)


# ── the member's first step ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Blinded:
    """What the member keeps (``blind``, secret, in [1, n)) and what it sends (``element``, 33 bytes)."""

    blind: int = field(repr=False, compare=False)
    element: bytes


def blind(
    data: bytes,
    *,
    random_bytes: RandomBytes = secrets.token_bytes,
    scalar: int | None = None,
    mode: int = MODE_VOPRF,
) -> Blinded:
    """Hash ``data`` onto the curve and multiply it by a fresh blind (RFC 9497 §3.3.1, Blind).

    The element is uniformly random whatever the input, so it may travel. A ``scalar`` given, for test vectors, is the
    blind; used twice it would link two elements. Raises `Malformed` for more than 65535 bytes.
    """
    if len(data) > _MAX_INPUT:
        raise Malformed("an input has at most 65535 bytes")
    point = p256.hash_to_curve(data, b"HashToGroup-" + context(mode))
    drawn = random_scalar(random_bytes) if scalar is None else scalar
    return Blinded(drawn, p256.encode_point(p256.multiplier(drawn).times([point])[0]))


# ── the tokeniser's step ────────────────────────────────────────────────────────────────────────────────────────────


def evaluate(
    key: SecretKey, blinded: Sequence[bytes], *, random_bytes: RandomBytes = secrets.token_bytes
) -> tuple[list[bytes], bytes]:
    """Multiply 1 to 256 blinded elements by the key and prove it (RFC 9497 §3.3.2, BlindEvaluate).

    Returns the evaluated elements in the same order, 33 bytes each, and one proof of 64 bytes for all of them.
    Raises `Malformed`, naming the position counted from 0, if any element is not one; nothing is evaluated then.
    """
    points = _decode_batch(blinded, "blinded")
    evaluated = [p256.encode_point(point) for point in key.multiplier.times(points)]
    nonce = random_scalar(random_bytes)
    return evaluated, _prove(key, blinded, points, evaluated, nonce)


def prove(key: SecretKey, points: Sequence[p256.Point], evaluated: Sequence[p256.Point], *, nonce: int) -> bytes:
    """Prove that each evaluated point is k times its blinded one, k being the public key's (RFC 9497 §2.2.1).

    Returns c and s, 32 bytes each. If the claim is false the proof does not verify. A ``nonce`` in [1, n) must never
    serve twice: two proofs with the same one reveal the key.
    """
    blinded = [p256.encode_point(point) for point in points]
    return _prove(key, blinded, points, [p256.encode_point(point) for point in evaluated], nonce)


def _prove(
    key: SecretKey, blinded: Sequence[bytes], points: Sequence[p256.Point], evaluated: Sequence[bytes], nonce: int
) -> bytes:
    (m,) = p256.combine(weights(key.public_key, blinded, evaluated), points)
    if m is None:
        raise Malformed("the blinded elements cancel each other")  # would need control over the hash of the batch
    (z,) = key.multiplier.times([m])  # ComputeCompositesFast: who holds the key need not add up the evaluated elements
    once = p256.multiplier(nonce)
    (t3,) = once.times([m])
    c = _challenge(key.public_key, m, z, once.base, t3)
    return p256.encode_scalar(c) + p256.encode_scalar((nonce - c * key.scalar) % p256.N)


# ── the member's second step ────────────────────────────────────────────────────────────────────────────────────────


def open_evaluation(
    public_key: bytes, blinded: Sequence[Blinded], evaluated: Sequence[bytes], proof: bytes
) -> list[bytes]:
    """Check the proof for the whole batch, then take the blinds away: N = k·H(input) in 33 bytes for each input.

    ``public_key`` is the member's own pinned copy, never one that came with the answer. Raises `Malformed` for
    anything that is not in the prescribed form and `VerificationFailed` if the proof does not hold; in neither case
    does any token leave.
    """
    points = _verify(public_key, [one.element for one in blinded], evaluated, proof)
    unblinders = p256.inverses([one.blind for one in blinded], p256.N)
    return [p256.encode_point(token) for token in p256.multiply_each(unblinders, points)]


def verify(public_key: bytes, blinded: Sequence[bytes], evaluated: Sequence[bytes], proof: bytes) -> None:
    """Check a batched proof (RFC 9497 §2.2.2). Raises `Malformed`, or `VerificationFailed` if it does not hold."""
    _verify(public_key, blinded, evaluated, proof)


def unblind(blinded: Blinded, evaluated: bytes) -> bytes:
    """Take the blind away from an evaluated element: N in 33 bytes (RFC 9497 §3.3.1). Raises `Malformed`.

    This alone proves nothing about the key that was used; `open_evaluation` does.
    """
    return rotate(evaluated, pow(blinded.blind, -1, p256.N))


def finalize(data: bytes, element: bytes) -> bytes:
    """Return the RFC's own output, 32 bytes, from N (RFC 9497 §3.3.1, Finalize).

    The rest of creditshare stops at `unblind` and deliberately leaves out this outer hash, so that keys can be rotated
    by `delta` without identifiers.
    """
    return hashlib.sha256(_framed(data, element) + b"Finalize").digest()


def _verify(
    public_key: bytes, blinded: Sequence[bytes], evaluated: Sequence[bytes], proof: bytes
) -> Sequence[p256.Point]:
    """Check the proof and return the evaluated points, decoded."""
    if len(blinded) != len(evaluated) or len(proof) != PROOF_BYTES:
        raise VerificationFailed("another number of elements, or a proof of another length")
    key = p256.decode_point(public_key)
    sent = _decode_batch(blinded, "blinded")
    received = _decode_batch(evaluated, "evaluated")
    c = p256.decode_scalar(proof[: p256.SCALAR_BYTES])
    s = p256.decode_scalar(proof[p256.SCALAR_BYTES :])
    m, z = p256.combine(weights(public_key, blinded, evaluated), sent, received)
    if m is None or z is None:
        raise VerificationFailed("the batch adds up to the identity, for which no proof can stand")
    t2, t3 = p256.combine((s, c), (p256.GENERATOR, key), (m, z))
    if t2 is None or t3 is None or _challenge(public_key, m, z, t2, t3) != c:
        raise VerificationFailed("the evaluation was not made with the published key")
    return received


# ── rotation ────────────────────────────────────────────────────────────────────────────────────────────────────────


def delta(old: SecretKey, new: SecretKey) -> int:
    """Return new / old modulo n, by which tokens move from the old key to the new.

    It is as secret as a key: with either key it gives the other. Raises ValueError if the keys are the same.
    """
    if old == new:
        raise ValueError("a rotation needs two different keys")
    return new.scalar * pow(old.scalar, -1, p256.N) % p256.N


def rotate(element: bytes, factor: int) -> bytes:
    """Return a stored element under the new key. Raises `Malformed`; ValueError for a factor outside [1, n)."""
    return rotate_all([element], factor)[0]


def rotate_all(elements: Sequence[bytes], factor: int) -> list[bytes]:
    """Return any number of stored elements under the new key; the factor is prepared once.

    Raises `Malformed`, naming the position counted from 0; ValueError for a factor outside [1, n).
    """
    points = _decode_each(elements, "stored")
    return [p256.encode_point(point) for point in p256.multiplier(factor).times(points)]


# ── transcripts and batches ─────────────────────────────────────────────────────────────────────────────────────────


def weights(public_key: bytes, blinded: Sequence[bytes], evaluated: Sequence[bytes]) -> list[int]:
    """Derive the weights d_i of the composites from everything they cover (RFC 9497 §2.2.1, ComputeComposites)."""
    suffix = context(MODE_VOPRF)
    seed = _framed(hashlib.sha256(_framed(public_key, b"Seed-" + suffix)).digest())
    return [
        p256.hash_to_scalar(seed + i.to_bytes(2) + _framed(c, d) + b"Composite", b"HashToScalar-" + suffix)
        for i, (c, d) in enumerate(zip(blinded, evaluated, strict=True))
    ]


def _challenge(public_key: bytes, m: p256.Point, z: p256.Point, t2: p256.Point, t3: p256.Point) -> int:
    """Derive the challenge c (RFC 9497 §2.2.1)."""
    transcript = _framed(public_key, *(p256.encode_point(point) for point in (m, z, t2, t3))) + b"Challenge"
    return p256.hash_to_scalar(transcript, b"HashToScalar-" + context(MODE_VOPRF))


def _framed(*parts: bytes) -> bytes:
    """Join parts, each behind its length in two bytes."""
    return b"".join(len(part).to_bytes(2) + part for part in parts)


def _decode_batch(elements: Sequence[bytes], kind: str) -> list[p256.Point]:
    if not 0 < len(elements) <= MAX_BATCH:
        raise Malformed(f"a batch has 1 to {MAX_BATCH} elements")
    return _decode_each(elements, kind)


def _decode_each(elements: Sequence[bytes], kind: str) -> list[p256.Point]:
    points = []
    for position, element in enumerate(elements):
        try:
            points.append(p256.decode_point(element))
        except Malformed as error:
            raise Malformed(f"{kind} element {position}: {error}") from error
    return points
