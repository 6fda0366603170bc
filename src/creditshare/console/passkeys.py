"""The WebAuthn ceremonies, by the library: making a passkey, and confirming with one. ES256 alone; the person verified.

What an assertion covers is decided elsewhere: its challenge is the digest of the document that the page showed.
"""

from collections.abc import Mapping
from typing import Any, Final

from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import decode_credential_public_key, encode_cbor
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.decode_credential_public_key import DecodedEC2PublicKey
from webauthn.helpers.exceptions import WebAuthnException

from creditshare.crypto.assertions import Assertion
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.errors import Malformed, Refused
from creditshare.sessions.passkeys import Passkey
from creditshare.wire.confirmation import page_origin, rp_id

LONGEST: Final = 16_384
MOST_ID: Final = 1_023
"""WebAuthn level 2, section 4: no credential id is longer."""
EC2: Final = 2
P_256: Final = 1


def made(form: Mapping[str, str], *, challenge: bytes, issuer: str) -> tuple[bytes, dict[str, str], int]:
    """Return id, public key and sign count of a passkey that a page's authenticator made, or ``passkey_invalid``."""
    identity = _bytes(form, "credential")
    credential = {
        "id": b64url_encode(identity),
        "rawId": b64url_encode(identity),
        "type": "public-key",
        "response": {
            "clientDataJSON": b64url_encode(_bytes(form, "client_data")),
            "attestationObject": b64url_encode(_bytes(form, "attestation")),
        },
    }
    try:
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=rp_id(issuer),
            expected_origin=page_origin(issuer),
            require_user_verification=True,
            supported_pub_key_algs=[COSEAlgorithmIdentifier.ECDSA_SHA_256],
        )
        key = decode_credential_public_key(verified.credential_public_key)
    except (WebAuthnException, ValueError, KeyError):
        raise Refused("passkey_invalid") from None
    if not isinstance(key, DecodedEC2PublicKey) or key.crv != P_256 or len(verified.credential_id) > MOST_ID:
        raise Refused("passkey_invalid")
    jwk = {"kty": "EC", "crv": "P-256", "x": b64url_encode(key.x), "y": b64url_encode(key.y)}
    return verified.credential_id, jwk, verified.sign_count


def credential_of(form: Mapping[str, str]) -> bytes:
    """Return the id of the passkey that a form says it was confirmed with."""
    return _bytes(form, "credential")


def signed(form: Mapping[str, str], passkey: Passkey, *, challenge: bytes, issuer: str) -> Assertion:
    """Return an assertion that this passkey made of this challenge, or ``passkey_invalid``."""
    assertion = Assertion(_bytes(form, "authenticator_data"), _bytes(form, "client_data"), _bytes(form, "signature"))
    identity = b64url_encode(passkey.credential_id)
    credential: dict[str, Any] = {
        "id": identity,
        "rawId": identity,
        "type": "public-key",
        "response": {
            "authenticatorData": b64url_encode(assertion.authenticator_data),
            "clientDataJSON": b64url_encode(assertion.client_data),
            "signature": b64url_encode(assertion.signature),
        },
    }
    x, y = b64url_decode(passkey.jwk["x"]), b64url_decode(passkey.jwk["y"])
    algorithm = COSEAlgorithmIdentifier.ECDSA_SHA_256
    try:
        verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=rp_id(issuer),
            expected_origin=page_origin(issuer),
            credential_public_key=encode_cbor({1: EC2, 3: int(algorithm), -1: P_256, -2: x, -3: y}),
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError):
        raise Refused("passkey_invalid") from None
    return assertion


def _bytes(form: Mapping[str, str], name: str) -> bytes:
    given = form.get(name, "")
    try:
        if 0 < len(given) <= LONGEST:
            return b64url_decode(given)
    except Malformed:
        pass
    raise Refused("passkey_invalid")
