"""Proof that whoever registers a key holds it: a compact JWS signed by the new key itself.

The key travels by value, in the body and in the header, and is never fetched. Using the proof once, and finding that
a key is already somebody's, are matters of the database.
"""

import re
from collections.abc import Mapping
from typing import Final

from creditshare.crypto.jws import ES256, SigningKey, VerifyingKey, split
from creditshare.errors import Malformed, Refused, VerificationFailed
from creditshare.wire.strict_json import canonical, decode_object

TYP: Final = "cs-keyreg+jwt"
MAX_LIFETIME: Final = 120
SKEW: Final = 30
_JTI: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")


def make_proof(key: SigningKey, *, member_id: str, issuer: str, iat: int, jti: str, lifetime: int = 120) -> str:
    """Return the proof for ``key``; send it beside ``dict(key.public_jwk)``, which its header repeats.

    ``iat`` in seconds, ``lifetime`` 1 to 120 seconds, ``jti`` 16 to 64 of ``[A-Za-z0-9_-]``; else ``Malformed``.
    """
    if not 1 <= lifetime <= MAX_LIFETIME or not _JTI.fullmatch(jti):
        raise Malformed("a proof lives 1 to 120 seconds and has a jti of 16 to 64 of [A-Za-z0-9_-]")
    claims = {"iss": member_id, "aud": issuer, "iat": iat, "exp": iat + lifetime, "jti": jti, "jkt": key.kid}
    return key.sign({"typ": TYP, "jwk": dict(key.public_jwk)}, canonical(claims))


def check_proof(
    proof: str | bytes, *, jwk: Mapping[str, object], member_id: str, issuer: str, now: int, skew: int = SKEW
) -> VerifyingKey:
    """Return the key that ``jwk`` (of the request's body) spells, if ``proof`` shows that the sender holds it.

    ``now`` and ``skew`` in seconds. Raises ``Refused("proof_invalid")`` for anything wrong with proof or key, without
    saying what: before enrolment the caller is nobody, and the cause stands in ``__cause__``.
    """
    try:
        return _check(proof, jwk=jwk, member_id=member_id, issuer=issuer, now=now, skew=skew)
    except (Malformed, VerificationFailed) as error:
        raise Refused("proof_invalid") from error


def _check(
    proof: str | bytes, *, jwk: Mapping[str, object], member_id: str, issuer: str, now: int, skew: int
) -> VerifyingKey:
    compact = split(proof)
    header = decode_object(compact.header)
    if header.keys() != {"alg", "typ", "jwk"} or header["alg"] != ES256.name or header["typ"] != TYP:
        raise Malformed(f"the header of a proof is exactly alg ES256, typ {TYP} and jwk")
    if header["jwk"] != dict(jwk):
        raise VerificationFailed("the proof is for another spelling of the key")
    key = VerifyingKey.from_jwk(jwk, require_use=True)
    if not key.verify(compact.signing_input, compact.signature):
        raise VerificationFailed("the proof is not signed by the key")
    claims = decode_object(compact.payload)
    expected = {"iss": member_id, "aud": issuer, "jkt": key.kid}
    if any(claims.get(name) != value for name, value in expected.items()):
        raise VerificationFailed("the proof is for another member, service or key")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not _JTI.fullmatch(jti):
        raise Malformed("jti is 16 to 64 of [A-Za-z0-9_-]")
    _check_times(claims, now=now, skew=skew)
    return key


def _check_times(claims: Mapping[str, object], *, now: int, skew: int) -> None:
    iat, exp = claims.get("iat"), claims.get("exp")
    if type(iat) is not int or type(exp) is not int:
        raise Malformed("iat and exp are integers")
    if not 1 <= exp - iat <= MAX_LIFETIME:
        raise VerificationFailed("a proof lives 1 to 120 seconds")
    if iat > now + skew or now >= exp + skew:
        raise VerificationFailed("the proof is not valid now")
