"""A member that signs by docs/protocol.md and shares no code with the service; it writes down all that it is told.

``cryptography`` makes its ES256 signatures, everything else comes from the foreign client of the tests.
"""

import base64
import json
import os
import secrets
import ssl
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from tests.fixtures import foreign
from tests.fixtures.foreign import b64u, canonical, digest_string, unb64u

ISSUER = "https://faults.example"
ES256 = ec.ECDSA(hashes.SHA256())


class Journal:
    """One line per event, on the disk before anybody goes on."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = threading.Lock()
        self._count = 0

    def number(self) -> int:
        """Return a number that names one attempt."""
        with self._lock:
            self._count += 1
            return self._count

    def write(self, kind: str, attempt: int, **told: Any) -> None:
        """Write a line and wait until it is safe."""
        line = json.dumps({"kind": kind, "attempt": attempt, "at": time.monotonic(), **told}) + "\n"
        os.write(self._descriptor, line.encode())
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


@dataclass(frozen=True)
class Signed:
    """A request as it goes over the wire; sending it twice is a replay."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    rqh: str

    @property
    def token(self) -> str:
        return self.headers["Authorization"].removeprefix("Bearer ")


@dataclass
class Bank:
    """One member with its key."""

    member_id: str
    key: ec.EllipticCurvePrivateKey
    clock_offset_s: float = 0.0
    tokens: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of_jwk(cls, jwk: dict[str, Any]) -> "Bank":
        """Return the member of a key file."""
        secret = int.from_bytes(unb64u(jwk["d"]), "big")
        return cls(jwk["creditshare_member_id"], ec.derive_private_key(secret, ec.SECP256R1()), tokens=jwk["tokens"])

    @property
    def jwk(self) -> dict[str, str]:
        public = self.key.public_key().public_numbers()
        x, y = (b64u(number.to_bytes(32, "big")) for number in (public.x, public.y))
        return {"kty": "EC", "crv": "P-256", "use": "sig", "x": x, "y": y}

    @property
    def key_file(self) -> dict[str, Any]:
        """What ``of_jwk`` reads."""
        secret = self.key.private_numbers().private_value.to_bytes(32, "big")
        return {**self.jwk, "d": b64u(secret), "creditshare_member_id": self.member_id, "tokens": self.tokens}

    def jws(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """Sign a compact JWS."""
        message = f"{b64u(canonical(header))}.{b64u(canonical(claims))}"
        r, s = decode_dss_signature(self.key.sign(message.encode(), ES256))
        return f"{message}.{b64u(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def claims(self) -> dict[str, Any]:
        """Return the claims that every token has."""
        now = int(time.time() + self.clock_offset_s)
        return {
            "iss": self.member_id,
            "aud": ISSUER,
            "iat": now,
            "exp": now + 60,
            "jti": b64u(secrets.token_bytes(16)),
        }

    def sign(
        self, method: str, path: str, body: bytes = b"", *, key: str | None = None, if_match: str | None = None
    ) -> Signed:
        """Sign one attempt."""
        claims = {**self.claims(), "sub": "desk:1", "htm": method, "htu": ISSUER + path, "ver": "1"}
        headers = {}
        if body:
            headers["Content-Type"] = "application/json"
            claims["cdg"] = digest_string(body)
        if key is not None:
            headers["Idempotency-Key"] = claims["idk"] = key
        if if_match is not None:
            headers["If-Match"] = claims["ifm"] = if_match
        token = self.jws({"alg": "ES256", "typ": "cs-req+jwt", "kid": foreign.thumbprint(self.jwk)}, claims)
        headers["Authorization"] = f"Bearer {token}"
        return Signed(method, path, headers, body, b64u(foreign.sha256(token.encode())))

    def call(
        self, http: httpx.Client, method: str, path: str, data: object = None, *, if_match: str | None = None
    ) -> Any:
        """Call once, outside any fault; an unexpected answer raises."""
        body = b"" if data is None else json.dumps(data).encode()
        key = secrets.token_hex(8) if method == "POST" and path != "/v1/tokens/evaluate" else None
        got = transmit(http, self.sign(method, path, body, key=key, if_match=if_match))
        if got.status_code >= 300:
            raise AssertionError(f"{method} {path}: {got.status_code} {got.text}")
        return got.json()

    def enrol(self, http: httpx.Client, code: str) -> None:
        """Register the first key."""
        header = {"alg": "ES256", "typ": "cs-keyreg+jwt", "jwk": self.jwk}
        proof = self.jws(header, {**self.claims(), "jkt": foreign.thumbprint(self.jwk)})
        body = {"jwk": self.jwk, "proof": proof, "enrolment_code": code}
        got = http.post(f"/v1/members/{self.member_id}/keys", json=body, headers={"Idempotency-Key": "first"})
        assert got.status_code == 201, got.text

    def tokenise(self, http: httpx.Client, identifiers: list[str]) -> None:
        """Make the tokens of borrowers, in one batch."""
        discovery = http.get("/.well-known/creditshare").json()
        (suite,) = [one for one in discovery["tokens"]["suites"] if one["current"]]
        named = {"suite": suite["suite"], "key_version": suite["key_version"]}
        points = [foreign.hash_to_curve(f"creditshare/v1|uscc|{one}".encode()) for one in identifiers]
        blinds = [1 + secrets.randbelow(foreign.N - 1) for _ in points]
        blinded = [
            b64u(foreign.compress(foreign.times(blind, point))) for blind, point in zip(blinds, points, strict=True)
        ]
        told = self.call(http, "POST", "/v1/tokens/evaluate", {**named, "blinded": blinded})
        self.tokens = [
            {**named, "element": b64u(foreign.unblind(blind, unb64u(element)))}
            for blind, element in zip(blinds, told["evaluated"], strict=True)
        ]


def line_to(url: str, *, timeout: float) -> httpx.Client:
    """Return a client of the service; as it is http, no authorities are loaded, which takes longer than a request."""
    return httpx.Client(base_url=url, timeout=timeout, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def transmit(http: httpx.Client, request: Signed) -> httpx.Response:
    """Send a signed request."""
    return http.request(request.method, request.path, content=request.body, headers=request.headers)


def receipt(
    keys: dict[str, ec.EllipticCurvePublicKey], told: dict[str, Any], *, member_id: str, request_body: bytes
) -> tuple[str, dict[str, Any] | None]:
    """Check a journaled answer's signature and receipt; return what is wrong, empty if nothing, and the receipt."""
    body = base64.b64decode(told["body"])
    try:
        header, payload, signature = told["signature"].split(".")
        raw = unb64u(signature)
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        key = keys[json.loads(unb64u(header))["kid"]]
        key.verify(encode_dss_signature(r, s), f"{header}.{payload}".encode(), ES256)
    except (ValueError, KeyError, InvalidSignature) as error:
        return f"signature: {type(error).__name__}", None
    claims = json.loads(unb64u(payload))
    expected = {
        "iss": ISSUER,
        "aud": member_id,
        "rqh": told["rqh"],
        "sts": told["status"],
        "cdg": digest_string(body),
    }
    if {name: claims.get(name) for name in expected} != expected:
        return "claims", None
    log: dict[str, Any] | None = claims.get("log")
    if log is None:
        return "", None
    leaf = json.loads(log["leaf"])
    bound = {
        "answer_digest": digest_string(body),
        "request_body_digest": digest_string(request_body),
        "rqh": told["rqh"],
    }
    right = (
        b64u(foreign.leaf_hash(log["leaf"].encode())) == log["leaf_hash"]
        and foreign.commitment("meta", log["s_meta"], log["meta"].encode()) == leaf["c_meta"]
        and foreign.commitment("body", log["s_body"], canonical(bound)) == leaf["c_body"]
    )
    return ("" if right else "receipt"), log


def consent_body(token: dict[str, Any], max_uses: int) -> dict[str, Any]:
    """Return a query consent with a limit."""
    now = datetime.now(UTC).replace(microsecond=0)

    def stamp(moment: datetime) -> str:
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    return {
        "kind": "query",
        "subject": token,
        "purposes": ["pre_loan"],
        "scopes": ["defaults", "amounts"],
        "valid_from": stamp(now - timedelta(minutes=10)),
        "valid_until": stamp(now + timedelta(days=30)),
        "max_uses": max_uses,
        "evidence": {
            "digest": digest_string(secrets.token_bytes(32) + b"signed"),
            "channel": "paper",
            "signed_at": stamp(now - timedelta(days=1)),
        },
    }


def default_body(token: dict[str, Any], account_ref: str, owed: str) -> dict[str, Any]:
    """Return a default record that is visible at once (US, public record)."""
    today = datetime.now(UTC).date()
    return {
        "subject": token,
        "role": "borrower",
        "account_ref": account_ref,
        "product": "term_loan",
        "currency": "USD",
        "original_amount": "150000.00",
        "outstanding_principal": owed,
        "opened_on": (today - timedelta(days=900)).isoformat(),
        "default_on": (today - timedelta(days=100)).isoformat(),
        "days_past_due": 200,
        "default_reason": "days_past_due",
        "region": {"scheme": "ISO 3166-2", "code": "US-CA"},
        "lawful_basis": "public_record",
        "public_ref": f"register {account_ref}",
    }
