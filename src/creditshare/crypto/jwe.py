"""Encryption to a public key that somebody else made: compact JWE (RFC 7516) with ECDH-ES on P-256 and A256GCM.

Any JOSE library opens it. One key agreement and one cipher, as one row of a table each would be: a header that names
another is refused. The agreement is direct (RFC 7518 section 4.6): the key that comes out of it encrypts the content.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.jws import thumbprint
from creditshare.errors import Malformed, VerificationFailed

ALG: Final = "ECDH-ES"
ENC: Final = "A256GCM"
KEY_BITS: Final = 256
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SEGMENTS: Final = 5  # header, encrypted key (empty here), nonce, ciphertext, tag; RFC 7516 section 7.1
_OURS: Final = frozenset({"alg", "enc", "epk", "kid"})


@dataclass(frozen=True, slots=True)
class RecipientKey:
    """A public P-256 key that something is encrypted to. ``kid`` is its RFC 7638 thumbprint."""

    kid: str
    jwk: Mapping[str, str] = field(compare=False, repr=False)
    _key: ec.EllipticCurvePublicKey = field(compare=False, repr=False)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object]) -> Self:
        """Read a public JWK whose ``use`` is ``enc``; ``Malformed`` for all else, a private member included."""
        if "d" in jwk:
            raise Malformed("a public key must not carry private members")
        if jwk.get("use") != "enc" or jwk.get("alg", ALG) != ALG:
            raise Malformed(f"use must be enc; alg, where present, {ALG}")
        kid = thumbprint(jwk)
        if jwk.get("kid", kid) != kid:
            raise Malformed("kid, where present, must be the RFC 7638 thumbprint")
        return cls(kid=kid, jwk=_spelled(jwk, kid), _key=_point(jwk))

    def encrypt(self, plaintext: bytes, header: Mapping[str, object]) -> str:
        """Return the compact JWE of ``plaintext``; whoever made it cannot open it again.

        ``header`` is protected beside what the recipient needs, and readable by everybody.
        """
        if not _OURS.isdisjoint(header):
            raise Malformed("alg, enc, epk and kid are not the caller's to choose")
        ephemeral = ec.generate_private_key(ec.SECP256R1())
        public = ephemeral.public_key().public_numbers()
        epk = {"crv": "P-256", "kty": "EC", "x": _coordinate(public.x), "y": _coordinate(public.y)}
        members = {**header, "alg": ALG, "enc": ENC, "epk": epk, "kid": self.kid}
        text = json.dumps(members, sort_keys=True, separators=(",", ":"), allow_nan=False)
        protected = b64url_encode(text.encode("ascii"))
        key = agreed_key(ephemeral.exchange(ec.ECDH(), self._key), alg=ENC, bits=KEY_BITS)
        nonce = secrets.token_bytes(NONCE_BYTES)  # the key serves once, so any nonce would do
        sealed = AESGCM(key).encrypt(nonce, plaintext, protected.encode("ascii"))
        parts = (nonce, sealed[:-TAG_BYTES], sealed[-TAG_BYTES:])
        return ".".join([protected, "", *map(b64url_encode, parts)])


@dataclass(frozen=True, slots=True)
class Opened:
    """What a JWE held: its protected header, and the content."""

    header: Mapping[str, Any]
    plaintext: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpeningKey:
    """The private half. It hides in ``repr``; only ``private_jwk`` gives the secret away, visibly."""

    kid: str
    public_jwk: Mapping[str, str] = field(compare=False, repr=False)
    _key: ec.EllipticCurvePrivateKey = field(compare=False, repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a fresh key from the operating system's randomness."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_numbers()
        jwk = {"kty": "EC", "crv": "P-256", "x": _coordinate(public.x), "y": _coordinate(public.y)}
        kid = thumbprint(jwk)
        return cls(kid, _spelled(jwk, kid), key)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object]) -> Self:
        """Read a private JWK as ``private_jwk`` writes it; no message holds a part of the key."""
        public = RecipientKey.from_jwk({name: value for name, value in jwk.items() if name != "d"})
        secret = jwk.get("d")
        try:
            scalar = int.from_bytes(b64url_decode(secret), "big") if isinstance(secret, str) else 0
            key = ec.derive_private_key(scalar, ec.SECP256R1())
        except ValueError:
            raise Malformed("d is not a private key of P-256") from None
        numbers = key.public_key().public_numbers()
        if (_coordinate(numbers.x), _coordinate(numbers.y)) != (public.jwk["x"], public.jwk["y"]):
            raise Malformed("d does not belong to x and y")
        return cls(public.kid, public.jwk, key)

    def private_jwk(self) -> dict[str, str]:
        """Return the key with its secret ``d``, for a file that only the owner reads."""
        return {**self.public_jwk, "d": _coordinate(self._key.private_numbers().private_value)}

    def open(self, token: str | bytes) -> Opened:
        """Return what a compact JWE holds.

        ``Malformed`` for what is none of ours; ``VerificationFailed`` where it is for another key or was changed.
        """
        segments = (token.encode("ascii", "replace") if isinstance(token, str) else token).split(b".")
        if len(segments) != SEGMENTS or segments[1]:
            raise Malformed("a compact JWE of a direct agreement has five segments, the second empty")
        protected, _, nonce, ciphertext, tag = segments
        header = _header(b64url_decode(protected))
        if (header.get("alg"), header.get("enc")) != (ALG, ENC) or "crit" in header or "zip" in header:
            raise Malformed(f"only {ALG} with {ENC} is opened")
        epk = header.get("epk")
        if not isinstance(epk, dict):
            raise Malformed("epk is the sender's public key")
        if header.get("kid") != self.kid:
            raise VerificationFailed("it was encrypted to another key")
        thumbprint(epk)  # refuses what is no point's spelling
        key = agreed_key(self._key.exchange(ec.ECDH(), _point(epk)), alg=ENC, bits=KEY_BITS)
        iv = b64url_decode(nonce)
        if len(iv) != NONCE_BYTES:
            raise Malformed("a nonce has 12 bytes")
        try:
            plaintext = AESGCM(key).decrypt(iv, b64url_decode(ciphertext) + b64url_decode(tag), protected)
        except InvalidTag:
            raise VerificationFailed("it was changed, or is not for this key") from None
        return Opened(header, plaintext)


def agreed_key(shared: bytes, *, alg: str, bits: int, apu: bytes = b"", apv: bytes = b"") -> bytes:
    """Return the key of a direct agreement from the shared secret (RFC 7518 section 4.6.2; Concat KDF, SHA-256)."""
    parts = b"".join(len(part).to_bytes(4, "big") + part for part in (alg.encode("ascii"), apu, apv))
    info = parts + bits.to_bytes(4, "big")
    return ConcatKDFHash(algorithm=hashes.SHA256(), length=bits // 8, otherinfo=info).derive(shared)


def _header(data: bytes) -> dict[str, Any]:
    try:
        members = json.loads(data)
    except ValueError as error:
        raise Malformed("the header is not JSON") from error
    if not isinstance(members, dict):
        raise Malformed("the header is not an object")
    return members


def _point(jwk: Mapping[str, object]) -> ec.EllipticCurvePublicKey:
    x, y = (int.from_bytes(b64url_decode(str(jwk.get(name, ""))), "big") for name in ("x", "y"))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError:
        raise Malformed("x and y are not a point of P-256") from None


def _spelled(jwk: Mapping[str, object], kid: str) -> dict[str, str]:
    known = {"alg": ALG, "crv": "P-256", "kid": kid, "kty": "EC", "use": "enc"}
    return {**known, "x": str(jwk["x"]), "y": str(jwk["y"])}


def _coordinate(number: int) -> str:
    return b64url_encode(number.to_bytes(32, "big"))
