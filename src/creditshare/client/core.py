"""The client's pure core: who signs, a signed request, a checked answer."""

import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from creditshare.client.flow import Received
from creditshare.client.receipt import Receipt
from creditshare.crypto.digests import sha256_b64url
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jws import SigningKey, VerifyingKey, split
from creditshare.errors import ConfigurationError, Malformed, VerificationFailed
from creditshare.wire.answers import MAX_TOKEN, AnswerClaims
from creditshare.wire.leaf import LogEntry
from creditshare.wire.requests import sign_request
from creditshare.wire.strict_json import decode_object

JSON_TYPE: Final = "application/json"
ACCEPTED: Final = f"{JSON_TYPE}, application/x-ndjson"
ERROR_STATUS: Final = 400
UNSIGNED: Final = frozenset({400, 401, 404, 405, 408, 413, 414, 415, 429, 431, 500, 502, 503, 504})
"""Statuses that may come without a signature: the caller was not known yet, or a machine between answered. Every other
refusal presumes an authenticated caller and is signed, or somebody else gave it."""

_MEMBER: Final = "creditshare_member_id"
_OTHERS_MAY_READ: Final = 0o077
log = logging.getLogger("creditshare.client")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs: a member, one of its keys, and the officer or system that acts."""

    member_id: str
    key: SigningKey = field(repr=False)
    sub: str = "sdk"

    @classmethod
    def from_file(cls, path: Path, *, member_id: str | None = None, sub: str = "sdk") -> "Identity":
        """Read a key file as ``creditshare keys new`` and ``operator bootstrap`` write it (a private JWK)."""
        try:
            stored = json.loads(path.read_text())
            if path.stat().st_mode & _OTHERS_MAY_READ:
                log.warning("others on this machine may read %s; chmod 600 it", path)
            named = stored.pop(_MEMBER, None)
            key = SigningKey.from_jwk(stored)
        except OSError as error:
            raise ConfigurationError(f"the key file {path} cannot be read ({error.strerror})") from error
        except (ValueError, AttributeError, Malformed) as error:
            raise ConfigurationError(f"{path} is not a key file as `creditshare keys new` writes it") from error
        owner = member_id or named
        if not owner:
            raise ConfigurationError(f"{path} does not name its member; enrol the key, or name the member")
        return cls(str(owner), key, sub)

    def stored(self) -> dict[str, str]:
        """Return the key file's content, which is secret."""
        return {**self.key.private_jwk(), _MEMBER: self.member_id}


@dataclass(frozen=True, slots=True)
class File:
    """A body that is not JSON, as it is sent."""

    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request ready to be sent, byte for byte."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    token: str

    @property
    def rqh(self) -> str:
        """The hash by which the answer names this request."""
        return sha256_b64url(self.token.encode())

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """An answer whose signature, digest and log entry were checked against the request.

    ``claims`` is None for a refusal that came unsigned, because the service did not know the caller yet.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    claims: AnswerClaims | None
    request: SignedRequest
    keys: Mapping[str, VerifyingKey] = field(default_factory=dict, repr=False, compare=False)

    @property
    def data(self) -> Any:
        """The answer's JSON."""
        return json.loads(self.body) if self.body else None

    def __getitem__(self, name: str) -> Any:
        """Return a member of the answer's JSON object."""
        return self.data[name]

    @property
    def version(self) -> str | None:
        """The version of what was answered, for ``if_match`` of a change that rests on it; None where it has none."""
        return self.headers.get("etag")

    @property
    def receipt(self) -> Receipt:
        """The signature with all that it covers, to be kept and to be verified again without the service."""
        if self.claims is None:
            raise VerificationFailed("this refusal was not signed, so there is no receipt")
        return Receipt(
            issuer=self.claims.iss,
            member_id=self.claims.aud,
            token=self.headers["cs-signature"],
            status=self.status,
            answer_body=self.body,
            request_token=self.request.token,
            request_body=self.request.body,
            keys=self.keys,
        )

    @property
    def log_entry(self) -> LogEntry | None:
        """The answer's log entry, if the exchange is an event."""
        entry = self.claims.log if self.claims else None
        return None if entry is None else LogEntry.from_mapping(entry)


def build_request(
    identity: Identity,
    *,
    issuer: str,
    method: str,
    path: str,
    query: str = "",
    data: object = None,
    idempotency_key: str | None = None,
    if_match: str | None = None,
    accept: str = ACCEPTED,
    language: str | None = None,
    now: int,
    lifetime: int = 60,
) -> SignedRequest:
    """Sign one request. A retry is built anew with the same idempotency key: the token serves once.

    ``accept`` and ``language`` are media types and languages of the answer; neither is signed.
    """
    media_type = data.media_type if isinstance(data, File) else JSON_TYPE
    if isinstance(data, File):
        body = data.content
    else:
        body = b"" if data is None else json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
    token = sign_request(
        identity.key,
        issuer=issuer,
        member_id=identity.member_id,
        sub=identity.sub,
        method=method,
        path=path,
        query=query.encode(),
        body=body,
        iat=now,
        lifetime=lifetime,
        jti=b64url_encode(secrets.token_bytes(18)),
        idempotency_key=idempotency_key,
        if_match=if_match,
    )
    headers = {"Authorization": f"Bearer {token}", "Accept": accept, "Accept-Encoding": "identity"}
    if body:
        headers["Content-Type"] = media_type
    if language is not None:
        headers["Accept-Language"] = language
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    if if_match is not None:
        headers["If-Match"] = if_match
    return SignedRequest(method, path, query, headers, body, token)


def check_answer(
    request: SignedRequest,
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    issuer: str,
    member_id: str,
    keys: Mapping[str, VerifyingKey],
) -> SignedAnswer:
    """Check an answer's signature, that it answers this request, and that its leaf commits to this exchange.

    Raises ``VerificationFailed`` for everything that does not hold, a success without a signature and an action
    without a place in the log included.
    """
    token = headers.get("cs-signature")
    if token is None:
        if status not in UNSIGNED:
            raise VerificationFailed(f"an answer with status {status} is always signed, and this one is not")
        return SignedAnswer(status, headers, body, None, request)
    receipt = Receipt(issuer, member_id, token, status, body, request.token, request.body, keys)
    claims = receipt.check()
    if claims.log is None and status < ERROR_STATUS and request.method != "GET":
        raise VerificationFailed("the service acted, but promises no place in the log for it")
    return SignedAnswer(status, headers, body, claims, request, keys)


def signing_kid(got: Received) -> str | None:
    """Return the key that an answer names as its signer, unchecked; None where it names none."""
    try:
        return str(decode_object(split(got.headers.get("cs-signature", ""), max_token=MAX_TOKEN).header).get("kid"))
    except Malformed:
        return None


def parse_jwks(document: Mapping[str, Any]) -> dict[str, VerifyingKey]:
    """Return the service's keys by id; ``Malformed`` for what is no set of keys (RFC 7517 section 5)."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not all(isinstance(jwk, dict) for jwk in listed):
        raise Malformed("a set of keys is an object with an array `keys` (RFC 7517)")
    keys = [
        VerifyingKey.from_jwk({name: jwk[name] for name in ("kty", "crv", "x", "y", "use") if name in jwk})
        for jwk in listed
    ]
    return {key.kid: key for key in keys}
