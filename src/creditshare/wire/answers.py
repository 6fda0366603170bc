"""Signed answers: the token in ``CS-Signature``, which is also the receipt of the event in the log.

Made by the service after the commit, checked by the member at once and by anybody years later, so checking asks for no
time: an answer does not expire. Its ``log`` member is opened by ``creditshare.wire.leaf.LogEntry``.

Wire forms only grow: a reader ignores payload claims it does not know, and refuses header members it does not know.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from creditshare.crypto.digests import content_digest
from creditshare.crypto.encoding import b64url_decode
from creditshare.crypto.jws import ES256, SigningKey, VerifyingKey, split
from creditshare.errors import Malformed, VerificationFailed
from creditshare.wire.strict_json import canonical, decode_object

TYP: Final = "cs-res+jwt"
MAX_TOKEN: Final = 16 * 1024
MAX_PAYLOAD: Final = MAX_TOKEN * 3 // 4
_HASH_BYTES: Final = 32
_JTI: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_STATUS: Final = range(200, 600)


@dataclass(frozen=True, slots=True)
class AnswerClaims:
    """What the service signed: who answered whom, when (seconds), which request, status, body digest and receipt.

    ``log`` is the receipt's mapping, read-only, or None where the answer belongs to no event.
    """

    iss: str
    aud: str
    iat: int
    jti: str
    rqh: str
    sts: int
    cdg: str
    log: Mapping[str, object] | None = field(default=None, hash=False)


def sign_answer(
    key: SigningKey,
    *,
    issuer: str,
    audience: str,
    iat: int,
    jti: str,
    rqh: str,
    status: int,
    body: bytes,
    log: Mapping[str, object] | None,
) -> str:
    """Return the compact JWS for ``CS-Signature``.

    ``audience`` is the member id, ``rqh`` base64url(SHA-256) of the request's JWS, ``status`` the final HTTP status,
    ``body`` the bytes of the answer (zero bytes have a digest too), ``log`` as ``LogEntry.to_mapping`` returns it.
    Raises ``Malformed`` for what ``verify_answer`` would not read, or above 16 KiB.
    """
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "iat": iat,
        "jti": jti,
        "rqh": rqh,
        "sts": status,
        "cdg": content_digest(body),
    }
    if log is not None:
        claims["log"] = log
    _checked(claims)
    token = key.sign({"typ": TYP, "kid": key.kid}, canonical(claims))
    if len(token) > MAX_TOKEN:
        raise Malformed("the answer's signature is too long")
    return token


def verify_answer(
    token: str | bytes,
    *,
    keys: Mapping[str, VerifyingKey],
    issuer: str,
    audience: str,
    rqh: str,
    status: int,
    body: bytes,
) -> AnswerClaims:
    """Check that ``issuer`` gave this answer to ``audience`` for the request with hash ``rqh``; return its claims.

    ``keys`` are the service's public keys by thumbprint, retired ones included. Raises ``Malformed`` if the token does
    not have the form of an answer, ``VerificationFailed`` if it is not by one of the keys or says something else.
    """
    compact = split(token, max_token=MAX_TOKEN, max_payload=MAX_PAYLOAD)
    header = decode_object(compact.header)
    if header.keys() != {"alg", "kid", "typ"} or header["alg"] != ES256.name or header["typ"] != TYP:
        raise Malformed(f"the header of an answer is exactly alg ES256, kid and typ {TYP}")
    kid = header["kid"]
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None or key.kid != kid or not key.verify(compact.signing_input, compact.signature):
        raise VerificationFailed("the answer is not signed by a key of the service")
    claims = _checked(decode_object(compact.payload))
    expected = {"iss": issuer, "aud": audience, "rqh": rqh, "sts": status, "cdg": content_digest(body)}
    for name, value in expected.items():
        if getattr(claims, name) != value:
            raise VerificationFailed(f"the answer's {name} belongs to another exchange")
    return claims


def _checked(members: Mapping[str, object]) -> AnswerClaims:
    """Return claims that have the form of an answer's, on their way out or in."""
    log = members.get("log")
    if "log" in members and not isinstance(log, dict):
        raise Malformed("log is an object")
    iat, status = members.get("iat"), members.get("sts")
    if type(iat) is not int or type(status) is not int or status not in _STATUS:
        raise Malformed("iat and sts are integers, sts a final HTTP status")
    jti, rqh = _text(members, "jti"), _text(members, "rqh")
    if not _JTI.fullmatch(jti) or len(b64url_decode(rqh)) != _HASH_BYTES:
        raise Malformed("jti is 16 to 64 of [A-Za-z0-9_-], rqh the base64url of 32 bytes")
    return AnswerClaims(
        iss=_text(members, "iss"),
        aud=_text(members, "aud"),
        iat=iat,
        jti=jti,
        rqh=rqh,
        sts=status,
        cdg=_text(members, "cdg"),
        log=MappingProxyType(log) if isinstance(log, dict) else None,
    )


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise Malformed(f"{name} is a string")
    return value
