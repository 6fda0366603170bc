"""Signed reports: the digest over what a report says, and the service's signature over it.

Titles and methods may be in another language or change later; they are not what was reported. Lenders' names are. Made
by the service, checked by whoever keeps the document, with nothing but the service's public keys.
"""

from collections.abc import Mapping
from typing import Any, Final

from creditshare.crypto.digests import content_digest
from creditshare.crypto.jws import SigningKey, VerifyingKey, split
from creditshare.errors import Malformed, VerificationFailed
from creditshare.wire.strict_json import canonical, decode_object

TYP: Final = "cs-report+jwt"
CONTENT: Final = ("report", "period", "by", "filters", "rows", "lenders", "held", "release", "rules")
"""The members that the digest is over, as canonical JSON of an object that holds them."""


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the digest (RFC 9530) over what a report says. Raises ``Malformed`` where a member lacks."""
    try:
        return content_digest(canonical({name: document[name] for name in CONTENT}))
    except KeyError as error:
        raise Malformed(f"the report lacks {error}") from None


def sign_report(key: SigningKey, document: Mapping[str, Any], *, issuer: str, iat: int) -> tuple[str, str]:
    """Return a report's digest and the compact JWS over it."""
    digest = digest_of(document)
    payload = {"digest": digest, "iat": iat, "iss": issuer, "report": document["report"]}
    return digest, key.sign({"kid": key.kid, "typ": TYP}, canonical(payload))


def verify_report(document: Mapping[str, Any], keys: Mapping[str, VerifyingKey], *, issuer: str) -> int:
    """Return when a report was signed (seconds), if it says what the service with these keys signed.

    Raises ``Malformed`` or ``VerificationFailed``.
    """
    signature = document.get("signature")
    if not isinstance(signature, str):
        raise Malformed("the report lacks its signature")
    compact = split(signature)
    header = decode_object(compact.header)
    key = keys.get(str(header.get("kid")))
    if key is None or header.get("typ") != TYP or header.keys() - {"alg", "kid", "typ"}:
        raise VerificationFailed("the report is not signed by a key of this service")
    if not key.verify(compact.signing_input, compact.signature):
        raise VerificationFailed("the report's signature does not hold")
    said = decode_object(compact.payload)
    digest = digest_of(document)
    if document.get("digest") != digest or said.get("digest") != digest:
        raise VerificationFailed("the report does not say what was signed")
    if said.get("iss") != issuer or said.get("report") != document["report"]:
        raise VerificationFailed("the report was signed by another service or as another report")
    return int(str(said["iat"]))
