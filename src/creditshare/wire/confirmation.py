"""What a person confirms on a page: a document that says all of it, the challenge made of it, the evidence left by it.

The challenge of the passkey is SHA-256 over the canonical document, so that what was signed is exactly what the page
showed. The evidence is canonical JSON. It is kept where a signed request would be: in the event's opening, and ``rqh``
of the event's body is its digest. ``check`` needs nothing but the evidence and the address of the service.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from creditshare.crypto.assertions import Assertion, check_assertion
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.sealing import length_prefixed
from creditshare.errors import Malformed, VerificationFailed
from creditshare.wire.strict_json import canonical, decode_object

TYP: Final = "cs-confirm/1"
MEMBERS: Final = frozenset({"typ", "iss", "by", "sub", "action", "object", "terms", "version", "iat", "nonce"})


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Who confirms which action on what, with which terms, under which version of it, when.

    ``object`` is a public id; ``terms`` hold all that the action takes, its reason and a proposal's id among them.
    ``version`` is that of what was looked at, empty where the action needs none.
    """

    issuer: str
    by: str
    sub: str
    action: str
    object: str
    terms: Mapping[str, Any]
    version: str
    iat: int
    nonce: str

    def document(self) -> bytes:
        """Return the canonical document."""
        return canonical(
            {
                "typ": TYP,
                "iss": self.issuer,
                "by": self.by,
                "sub": self.sub,
                "action": self.action,
                "object": self.object,
                "terms": dict(self.terms),
                "version": self.version,
                "iat": self.iat,
                "nonce": self.nonce,
            }
        )

    @classmethod
    def read(cls, document: bytes) -> "Confirmation":
        """Return what a canonical document says; ``Malformed`` for any other bytes."""
        said = decode_object(document)
        if said.keys() != MEMBERS or said["typ"] != TYP or canonical(said) != document:
            raise Malformed("a confirmation is a canonical document of the known members")
        terms, iat = said["terms"], said["iat"]
        if not isinstance(terms, dict) or not isinstance(iat, int):
            raise Malformed("a confirmation has terms and a time")
        names = ("iss", "by", "sub", "action", "object")
        issuer, by, sub, action, concerned = (str(said[name]) for name in names)
        return cls(issuer, by, sub, action, concerned, terms, str(said["version"]), iat, str(said["nonce"]))


def challenge_of(document: bytes) -> bytes:
    """Return what the passkey signs."""
    return hashlib.sha256(document).digest()


def page_origin(issuer: str) -> str:
    """Return where the pages are. Passkeys belong to names, so a service on a loopback address is ``localhost``."""
    parts = urlsplit(issuer)
    if parts.hostname not in {"127.0.0.1", "::1"}:
        return issuer
    return f"{parts.scheme}://localhost" + (f":{parts.port}" if parts.port else "")


def rp_id(issuer: str) -> str:
    """Return the name that passkeys of the pages are made for."""
    return urlsplit(page_origin(issuer)).hostname or ""


def passkey_digest(credential_id: bytes, jwk: Mapping[str, str]) -> str:
    """Return the name of a passkey: SHA-256 over its id and public key, which a member's key signs."""
    point = b64url_decode(jwk["x"]) + b64url_decode(jwk["y"])
    return b64url_encode(hashlib.sha256(length_prefixed(b"creditshare/passkey", credential_id, point)).digest())


def evidence(document: bytes, *, credential_id: bytes, jwk: Mapping[str, str], assertion: Assertion) -> str:
    """Return what is kept of a confirmation: the document, the passkey and what it signed."""
    return canonical(
        {
            "assertion": {
                "authenticator_data": b64url_encode(assertion.authenticator_data),
                "client_data": b64url_encode(assertion.client_data),
                "signature": b64url_encode(assertion.signature),
            },
            "credential": {"id": b64url_encode(credential_id), "jwk": dict(jwk)},
            "document": document.decode(),
        }
    ).decode()


def check(text: str, *, issuer: str) -> tuple[Confirmation, str]:
    """Return what was confirmed and by which passkey, by its digest; or raise.

    That the passkey is the member's says the event in which the member's key confirmed that digest.
    """
    kept = decode_object(text.encode())
    try:
        document = str(kept["document"]).encode()
        credential, signed = kept["credential"], kept["assertion"]
        identity, jwk = b64url_decode(str(credential["id"])), {k: str(v) for k, v in credential["jwk"].items()}  # type: ignore[index]
        assertion = Assertion(
            *(b64url_decode(str(signed[name])) for name in ("authenticator_data", "client_data", "signature"))  # type: ignore[index]
        )
    except (KeyError, TypeError, AttributeError):
        raise Malformed("the evidence of a confirmation has a document, a credential and an assertion") from None
    confirmed = Confirmation.read(document)
    if confirmed.issuer != issuer:
        raise VerificationFailed("the confirmation was made to another service")
    origin, name = page_origin(issuer), rp_id(issuer)
    check_assertion(jwk, assertion, challenge=challenge_of(document), origin=origin, rp_id=name)
    return confirmed, passkey_digest(identity, jwk)
