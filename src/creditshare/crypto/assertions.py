"""What a person's passkey signed (W3C WebAuthn level 2, sections 6.1 and 7.2): checked from the bytes alone.

Left out: attestation, extensions, and any algorithm but ES256. A page's server also checks with a library when it
takes an assertion in; this is for whoever holds the evidence years later.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from creditshare.crypto.encoding import b64url_decode
from creditshare.errors import Malformed, VerificationFailed

FLAG_PRESENT: Final = 0x01
FLAG_VERIFIED: Final = 0x04
COORDINATE_BYTES: Final = 32
AUTHENTICATOR_DATA: Final = 37
"""The least there is of it: hash of the relying party, flags, sign count."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an authenticator gave: its data, what the browser collected, and a DER signature over both."""

    authenticator_data: bytes
    client_data: bytes
    signature: bytes

    @property
    def sign_count(self) -> int:
        """How often the authenticator says to have signed; 0 where it does not count."""
        return int.from_bytes(self.authenticator_data[33:37], "big")


def check_assertion(jwk: Mapping[str, str], assertion: Assertion, *, challenge: bytes, origin: str, rp_id: str) -> None:
    """Raise ``VerificationFailed`` unless this passkey signed this challenge, its person verified, on this origin."""
    data = assertion.authenticator_data
    if len(data) < AUTHENTICATOR_DATA:
        raise Malformed("authenticator data has at least 37 bytes")
    said = _client_data(assertion.client_data)
    if said.get("type") != "webauthn.get":
        raise VerificationFailed("the passkey was asked for something else than an assertion")
    if said.get("challenge") is None or b64url_decode(str(said["challenge"])) != challenge:
        raise VerificationFailed("the passkey signed another challenge")
    if said.get("origin") != origin or said.get("crossOrigin", False) is not False:
        raise VerificationFailed("the passkey was asked by another page")
    if data[:32] != hashlib.sha256(rp_id.encode()).digest():
        raise VerificationFailed("the passkey belongs to another service")
    if not data[32] & FLAG_PRESENT or not data[32] & FLAG_VERIFIED:
        raise VerificationFailed("the authenticator did not verify its person")
    try:
        public_key(jwk).verify(
            assertion.signature, data + hashlib.sha256(assertion.client_data).digest(), ec.ECDSA(SHA256())
        )
    except InvalidSignature:
        raise VerificationFailed("the passkey's signature does not hold") from None


def public_key(jwk: Mapping[str, str]) -> ec.EllipticCurvePublicKey:
    """Return the P-256 key of a passkey, as it is kept: ``kty``, ``crv``, ``x``, ``y``."""
    x, y = b64url_decode(jwk.get("x", "")), b64url_decode(jwk.get("y", ""))
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256" or len(x) != COORDINATE_BYTES or len(y) != COORDINATE_BYTES:
        raise Malformed("a passkey's key is EC P-256")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
    except ValueError:
        raise Malformed("a passkey's key is a point of P-256") from None


def _client_data(data: bytes) -> dict[str, Any]:
    # A browser's own JSON: section 5.8.1 lets it add members, so it is no canonical text of ours.
    try:
        said = json.loads(data.decode())
    except (UnicodeDecodeError, ValueError):
        raise Malformed("client data is JSON in UTF-8") from None
    if not isinstance(said, dict):
        raise Malformed("client data is a JSON object")
    return said
