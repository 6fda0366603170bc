"""The client's core without I/O: build a signed request, check a signed answer."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from creditshare.crypto.digests import sha256_b64url
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jws import SigningKey, VerifyingKey
from creditshare.errors import VerificationFailed
from creditshare.wire.answers import AnswerClaims, verify_answer
from creditshare.wire.leaf import LogEntry
from creditshare.wire.requests import sign_request

JSON_TYPE: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs: a member, one of its keys, and the officer or system that acts."""

    member_id: str
    key: SigningKey = field(repr=False)
    sub: str = "sdk"

    @classmethod
    def from_file(cls, path: Path, *, member_id: str | None = None, sub: str = "sdk") -> "Identity":
        """Read a key file as ``creditshare keys new`` and ``operator bootstrap`` write it (a private JWK)."""
        stored = json.loads(path.read_text())
        owner = member_id or stored.pop("creditshare_member_id", None)
        stored.pop("creditshare_member_id", None)
        if not owner:
            raise VerificationFailed(f"{path} does not name its member; enrol the key, or name the member")
        return cls(str(owner), SigningKey.from_jwk(stored), sub)


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


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """An answer whose signature, digest and log entry were checked against the request."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    claims: AnswerClaims | None
    request: SignedRequest

    @property
    def data(self) -> Any:
        """The answer's JSON."""
        return json.loads(self.body) if self.body else None

    @property
    def log_entry(self) -> LogEntry | None:
        """The answer's log entry, if the exchange is an event."""
        log = self.claims.log if self.claims else None
        return None if log is None else LogEntry.from_mapping(log)


def build_request(
    identity: Identity,
    *,
    issuer: str,
    method: str,
    path: str,
    query: str = "",
    data: object = None,
    idempotency_key: str | None = None,
    now: int,
    lifetime: int = 60,
) -> SignedRequest:
    """Sign one request. A retry is built anew with the same idempotency key: the token serves once."""
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
    )
    headers = {"Authorization": f"Bearer {token}", "Accept": JSON_TYPE, "Accept-Encoding": "identity"}
    if body:
        headers["Content-Type"] = JSON_TYPE
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
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

    Refusals before authentication are unsigned; a success never is, so an unsigned one is ``VerificationFailed``.
    """
    token = headers.get("cs-signature")
    if token is None:
        if status < 400:  # noqa: PLR2004
            raise VerificationFailed("the answer is not signed")
        return SignedAnswer(status, headers, body, None, request)
    claims = verify_answer(
        token, keys=keys, issuer=issuer, audience=member_id, rqh=request.rqh, status=status, body=body
    )
    answer = SignedAnswer(status, headers, body, claims, request)
    entry = answer.log_entry
    if entry is not None:
        entry.check(rqh=request.rqh, request_body=request.body, answer_body=body)
    return answer


def parse_jwks(document: Mapping[str, Any]) -> dict[str, VerifyingKey]:
    """Return the service's keys by id."""
    keys = [
        VerifyingKey.from_jwk({name: jwk[name] for name in ("kty", "crv", "x", "y", "use") if name in jwk})
        for jwk in document["keys"]
    ]
    return {key.kid: key for key in keys}
