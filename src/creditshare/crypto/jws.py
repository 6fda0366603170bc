"""Compact JWS with ES256, and the fence around python-jose.

No other module imports ``jose``. Only two of its doors are used: ``jwk.construct``, once per key, and ``sign`` /
``verify`` of the object it returns. Its token functions are never used, because they ignore ``crit``, ``typ``, ``kid``,
duplicate names and missing claims, and try every key. What a header or payload must contain is decided in
``creditshare.wire``; here a token is three byte strings.

ECDSA signatures are malleable: whoever sees (r, s) can write (r, n - s), and ES256 (RFC 7518 section 3.4) accepts both.
So neither a token nor its hash may serve as the key of a replay guard; only ``(iss, jti)`` may.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from jose import jwk as jose_jwk
from jose.exceptions import JWKError

from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.errors import ConfigurationError, Malformed


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One allowed signature algorithm: its JOSE name, key type, curve and sizes in bytes."""

    name: str
    kty: str
    crv: str
    coordinate_bytes: int
    signature_bytes: int


ES256: Final = Algorithm(name="ES256", kty="EC", crv="P-256", coordinate_bytes=32, signature_bytes=64)

ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType({ES256.name: ES256})
"""Every algorithm there is. A name not in it is refused; a message never chooses (RFC 8725 section 3.1)."""

_FIELD_PRIME: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1  # of P-256, SP 800-186 section 3.2.1.3
_SECRET_MEMBERS: Final = frozenset({"d", "k", "p", "q", "dp", "dq", "qi", "oth"})  # RFC 7518 section 6
_MAX_TOKEN: Final = 8192
_MAX_PAYLOAD: Final = 4096


def assert_backend() -> None:
    """Raise ``ConfigurationError`` unless python-jose does ES256 with the ``cryptography`` package.

    Without its extra it silently falls back to python-ecdsa, whose signing leaks the key by timing (CVE-2024-23342).
    """
    backend = jose_jwk.get_key(ES256.name)
    if getattr(backend, "__module__", "") != "jose.backends.cryptography_backend":
        raise ConfigurationError("python-jose has no cryptography backend: install python-jose[cryptography]")


def thumbprint(jwk: Mapping[str, object]) -> str:
    """Return the RFC 7638 SHA-256 thumbprint (43 characters) of an EC P-256 key's public members.

    Other members are left out of the hash, as section 3.2 prescribes. Raises ``Malformed`` if a required one is absent.
    """
    x, y = _public_coordinates(jwk)
    return _thumbprint(x, y)


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public ES256 key, checked once and kept ready. Two are equal when their thumbprints are.

    ``kid`` is the RFC 7638 thumbprint. ``jwk`` is the canonical public mapping (``alg, crv, kid, kty, use, x, y``, all
    strings, read-only; copy it with ``dict`` to serialise it).
    """

    kid: str
    jwk: Mapping[str, str] = field(compare=False, repr=False)
    _key: Any = field(compare=False, repr=False)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object], *, require_use: bool = False) -> Self:
        """Read a public JWK (RFC 7517, RFC 7518 section 6.2.1).

        ``require_use`` is for registration, where ``use`` must be said and be ``sig``. Members that the RFCs define and
        that could contradict ours (``use``, ``key_ops``, ``alg``, ``kid``) must agree with them. Unknown members are
        ignored, because RFC 7517 section 4 says they MUST be and web browsers export ``ext``; none of them reaches
        ``self.jwk``. Raises ``Malformed`` for anything else: other type or curve, coordinates that are not 32 bytes of
        canonical base64url or not a point of the curve, a private or symmetric member.
        """
        if not _SECRET_MEMBERS.isdisjoint(jwk):
            raise Malformed("a public key must not carry private members")
        x, y = _public_coordinates(jwk)
        kid = _thumbprint(x, y)
        _check_intent(jwk, kid=kid, operation="verify", require_use=require_use)
        return cls(kid=kid, jwk=_public_jwk(x, y, kid), _key=_construct({"kty": "EC", "crv": "P-256", "x": x, "y": y}))

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Tell whether ``signature`` (64 bytes, R then S) over ``signing_input`` is by this key.

        Both S and its twin n - S are accepted, as ES256 does: see the module's note on replay.
        """
        if len(signature) != ES256.signature_bytes:
            return False
        return bool(self._key.verify(signing_input, signature))


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private ES256 key. It hides in ``repr``; only ``private_jwk`` gives the secret away, visibly."""

    kid: str
    public_jwk: Mapping[str, str] = field(compare=False, repr=False)
    _d: str = field(compare=False, repr=False)
    _key: Any = field(compare=False, repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a fresh key from the operating system's randomness."""
        numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
        return cls._from_numbers(numbers.private_value, numbers.public_numbers.x, numbers.public_numbers.y)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object]) -> Self:
        """Read a private JWK (RFC 7518 section 6.2.2) as ``private_jwk`` writes it.

        Raises ``Malformed`` if a member is missing or not canonical, or if ``d`` does not belong to ``x`` and ``y``.
        The message never holds a part of the key.
        """
        x, y = _public_coordinates(jwk)
        _check_intent(jwk, kid=_thumbprint(x, y), operation="sign", require_use=False)
        d = int.from_bytes(b64url_decode(_coordinate(jwk, "d")), "big")
        try:
            public = ec.derive_private_key(d, ec.SECP256R1()).public_key().public_numbers()
        except ValueError:
            # Not chained: the backend's message could describe the secret.
            raise Malformed("d is not a private key of P-256") from None
        if (_spell(public.x), _spell(public.y)) != (x, y):
            raise Malformed("d does not belong to x and y")
        return cls._from_numbers(d, public.x, public.y)

    @classmethod
    def _from_numbers(cls, d: int, x: int, y: int) -> Self:
        members = {"kty": "EC", "crv": "P-256", "x": _spell(x), "y": _spell(y), "d": _spell(d)}
        kid = _thumbprint(members["x"], members["y"])
        public = _public_jwk(members["x"], members["y"], kid)
        return cls(kid=kid, public_jwk=public, _d=members["d"], _key=_construct(members))

    @property
    def verifying_key(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey.from_jwk(self.public_jwk)

    def deterministic(self) -> Self:
        """Return the same key with the signatures of RFC 6979: equal bytes for equal input, for published vectors.

        A verifier sees no difference.
        """
        scalar = int.from_bytes(b64url_decode(self._d), "big")
        return replace(self, _key=_DeterministicSigner(ec.derive_private_key(scalar, ec.SECP256R1())))

    def private_jwk(self) -> dict[str, str]:
        """Return the key with its secret ``d``, to be sealed or written to a file that only the owner reads."""
        return {**self.public_jwk, "d": self._d}

    def sign(self, header: Mapping[str, object], payload: bytes) -> str:
        """Return the compact JWS (RFC 7515 section 7.1) of ``payload`` under ``header`` plus ``alg``.

        ``header`` is written with sorted names, no spaces, in ASCII. An ``alg`` other than ES256 raises ``Malformed``.
        """
        if header.get("alg", ES256.name) != ES256.name:
            raise Malformed("this key signs ES256 only")
        members = {**header, "alg": ES256.name}
        text = json.dumps(members, sort_keys=True, separators=(",", ":"), allow_nan=False)
        signing_input = f"{b64url_encode(text.encode('ascii'))}.{b64url_encode(payload)}"
        signature: bytes = self._key.sign(signing_input.encode("ascii"))
        return f"{signing_input}.{b64url_encode(signature)}"


@dataclass(frozen=True, slots=True)
class _DeterministicSigner:
    """Signs as RFC 6979 section 3.2 says, which python-jose does not offer."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)

    def sign(self, signing_input: bytes) -> bytes:
        r, s = decode_dss_signature(self.key.sign(signing_input, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
        return r.to_bytes(ES256.coordinate_bytes, "big") + s.to_bytes(ES256.coordinate_bytes, "big")


@dataclass(frozen=True, slots=True)
class Compact:
    """The decoded parts of a compact JWS; ``token`` and ``signing_input`` are the ASCII bytes as received."""

    token: bytes = field(repr=False)
    header: bytes
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)


def split(token: str | bytes, *, max_token: int = _MAX_TOKEN, max_payload: int = _MAX_PAYLOAD) -> Compact:
    """Take a compact JWS apart: size, then three segments, then strict base64url, cheap checks first.

    ``max_token`` limits the characters of the whole token, ``max_payload`` the decoded payload's bytes. Nothing is
    verified. Raises ``Malformed``.
    """
    if len(token) > max_token:
        raise Malformed("the token is too long")
    try:
        ascii_token = token.encode("ascii") if isinstance(token, str) else token
    except UnicodeEncodeError as error:
        raise Malformed("the token is not ASCII") from error
    segments = ascii_token.split(b".")
    if len(segments) != 3:  # noqa: PLR2004 - header, payload, signature; RFC 7515 section 7.1
        raise Malformed("a compact JWS has three segments")
    header, payload, signature = segments
    if len(payload) * 3 // 4 > max_payload:
        raise Malformed("the payload is too long")
    return Compact(
        token=ascii_token,
        header=b64url_decode(header),
        payload=b64url_decode(payload),
        signature=b64url_decode(signature),
        signing_input=ascii_token[: len(header) + 1 + len(payload)],
    )


def _construct(members: Mapping[str, str]) -> Any:  # python-jose has no types
    try:
        return jose_jwk.construct(dict(members), ES256.name)
    except (JWKError, ValueError):
        # Not chained: python-jose's messages repeat the key they were given.
        raise Malformed("x and y are not a point of P-256") from None


def _public_coordinates(jwk: Mapping[str, object]) -> tuple[str, str]:
    if jwk.get("kty") != ES256.kty or jwk.get("crv") != ES256.crv:
        raise Malformed("a key is EC on P-256")
    x, y = _coordinate(jwk, "x"), _coordinate(jwk, "y")
    # OpenSSL takes x + p for x where that fits 32 bytes. One key would have two thumbprints, and could be registered
    # by two members.
    if any(int.from_bytes(b64url_decode(coordinate), "big") >= _FIELD_PRIME for coordinate in (x, y)):
        raise Malformed("a coordinate is smaller than the field's prime")
    return x, y


def _coordinate(jwk: Mapping[str, object], name: str) -> str:
    """Return member ``name``, the canonical base64url of exactly 32 bytes (RFC 7518 section 6.2.1.2)."""
    text = jwk.get(name)
    if not isinstance(text, str) or len(b64url_decode(text)) != ES256.coordinate_bytes:
        raise Malformed(f"{name} is the base64url of 32 bytes")
    return text


def _check_intent(jwk: Mapping[str, object], *, kid: str, operation: str, require_use: bool) -> None:
    """Refuse a key whose owner meant it for something else (RFC 7517 sections 4.2 to 4.5)."""
    if jwk.get("use", None if require_use else "sig") != "sig":
        raise Malformed("use must be sig")
    if jwk.get("alg", ES256.name) != ES256.name:
        raise Malformed("alg, where present, must be ES256")
    if jwk.get("kid", kid) != kid:
        # Replacing it silently would surface much later, as a signature by an unknown key.
        raise Malformed("kid, where present, must be the RFC 7638 thumbprint")
    if "key_ops" in jwk and jwk["key_ops"] != [operation]:
        raise Malformed(f"key_ops, where present, must be {operation} alone")


def _public_jwk(x: str, y: str, kid: str) -> Mapping[str, str]:
    return MappingProxyType({"alg": "ES256", "crv": "P-256", "kid": kid, "kty": "EC", "use": "sig", "x": x, "y": y})


def _thumbprint(x: str, y: str) -> str:
    # Sorted names and no spaces, and no character of base64url needs escaping, so this is the JSON of section 3.
    members = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
    return b64url_encode(hashlib.sha256(members.encode("ascii")).digest())


def _spell(number: int) -> str:
    return b64url_encode(number.to_bytes(ES256.coordinate_bytes, "big"))
