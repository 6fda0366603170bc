"""The synchronous client of one member, over httpx."""

import hashlib
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

import httpx

from creditshare.client.core import Identity, SignedAnswer, SignedRequest, build_request, check_answer, parse_jwks
from creditshare.client.evidence import Evidence
from creditshare.client.identifiers import IdType, borrower_input
from creditshare.crypto import oprf
from creditshare.crypto.digests import content_digest
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.errors import CreditshareError, Unavailable, VerificationFailed
from creditshare.wire.registration import make_proof

TIMEOUT_S: Final = 30.0
RETRIES: Final = 4
RETRY_STATUSES: Final = frozenset({409, 503})


class Problem(CreditshareError):
    """The service said no. ``code`` is stable; ``document`` is the RFC 9457 problem."""

    def __init__(self, answer: SignedAnswer) -> None:
        self.answer = answer
        self.document: dict[str, Any] = answer.data or {}
        self.code = str(self.document.get("code", answer.status))
        wrong = ", ".join(f"{e['pointer']}: {e['detail']}" for e in self.document.get("errors", []))
        super().__init__(f"{self.code}: {self.document.get('detail', '')}" + (f" ({wrong})" if wrong else ""))


class Client:
    """Signs, sends and checks on behalf of one member. Nothing of a borrower leaves it unblinded."""

    def __init__(
        self,
        url: str,
        identity: Identity | None,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = httpx.Client(base_url=url.rstrip("/"), transport=transport, timeout=TIMEOUT_S)
        self.identity = identity
        self._clock = clock
        self.discovery: dict[str, Any] = self._get_json("/.well-known/creditshare")
        self.service_jwks: dict[str, Any] = self._get_json("/.well-known/jwks.json")
        self.issuer = str(self.discovery["issuer"])
        self._keys = parse_jwks(self.service_jwks)

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # Signed calls

    def sign(
        self, method: str, path: str, *, query: str = "", data: object = None, key: str | None = None
    ) -> SignedRequest:
        """Build a signed request without sending it; ``key`` is the idempotency key, made where a POST lacks one."""
        if self.identity is None:
            raise VerificationFailed("this client has no identity to sign with")
        idempotency_key = key or (str(uuid.uuid4()) if method == "POST" and path != "/v1/tokens/evaluate" else None)
        return build_request(
            self.identity,
            issuer=self.issuer,
            method=method,
            path=path,
            query=query,
            data=data,
            idempotency_key=idempotency_key,
            now=int(self._clock()),
        )

    def send(self, request: SignedRequest) -> SignedAnswer:
        """Send a signed request once and check the answer."""
        if self.identity is None:
            raise VerificationFailed("this client has no identity to check answers for")
        target = request.path + ("?" + request.query if request.query else "")
        try:
            got = self._http.request(request.method, target, headers=dict(request.headers), content=request.body)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.issuer} cannot be reached ({type(error).__name__})") from error
        return check_answer(
            request,
            status=got.status_code,
            headers={name.lower(): value for name, value in got.headers.items()},
            body=got.content,
            issuer=self.issuer,
            member_id=self.identity.member_id,
            keys=self._keys,
        )

    def call(
        self, method: str, path: str, *, query: str = "", data: object = None, key: str | None = None
    ) -> SignedAnswer:
        """Sign, send, check; retry what may be retried with a new token and the same idempotency key."""
        chosen = key or str(uuid.uuid4())
        for attempt in range(RETRIES + 1):
            needs_key = method == "POST" and path != "/v1/tokens/evaluate"
            request = self.sign(method, path, query=query, data=data, key=chosen if needs_key else None)
            try:
                answer = self.send(request)
            except Unavailable:
                if attempt == RETRIES or not (needs_key or method == "GET"):
                    raise
                time.sleep(0.1 * 2**attempt)
                continue
            if answer.status < 400:  # noqa: PLR2004
                return answer
            problem = Problem(answer)
            if attempt == RETRIES or not (answer.status in RETRY_STATUSES and problem.document.get("retryable")):
                raise problem
            time.sleep(min(float(answer.headers.get("retry-after", 0.2)), 5.0))
        raise Unavailable("no answer")

    # Tokens

    def tokenise(self, identifiers: Sequence[str], *, id_type: IdType = "uscc") -> list[dict[str, Any]]:
        """Turn identifiers into blind tokens, in batches, checking the tokeniser's proof for each batch."""
        suite = next(s for s in self.discovery["tokens"]["suites"] if s["current"])
        public_key = b64url_decode(suite["public_key"])
        tokens = []
        for start in range(0, len(identifiers), oprf.MAX_BATCH):
            blinded = [oprf.blind(borrower_input(id_type, i)) for i in identifiers[start : start + oprf.MAX_BATCH]]
            asked = {
                "suite": suite["suite"],
                "key_version": suite["key_version"],
                "blinded": [b64url_encode(one.element) for one in blinded],
            }
            answer = self.call("POST", "/v1/tokens/evaluate", data=asked).data
            elements = oprf.open_evaluation(
                public_key, blinded, [b64url_decode(e) for e in answer["evaluated"]], b64url_decode(answer["proof"])
            )
            tokens += [
                {"suite": suite["suite"], "key_version": suite["key_version"], "element": b64url_encode(element)}
                for element in elements
            ]
        return tokens

    # Everyday calls

    def business_time(self) -> datetime:
        """Return what the service takes for now: a sandbox's business time may have run ahead of the clock."""
        ahead = int(self.discovery.get("clock", {}).get("ahead_s", 0))
        return datetime.fromtimestamp(int(self._clock()) + ahead, UTC)

    def grant_consent(
        self,
        subject: Mapping[str, Any],
        *,
        kind: str,
        purposes: Sequence[str],
        scopes: Sequence[str],
        document: bytes,
        valid_days: int = 30,
        max_uses: int | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Register a consent. The evidence digest is of 32 random bytes and the document; keep both."""
        now = self.business_time()
        body: dict[str, Any] = {
            "kind": kind,
            "subject": dict(subject),
            "purposes": list(purposes),
            "scopes": list(scopes),
            "valid_from": _instant(now - timedelta(minutes=1)),
            "valid_until": _instant(now + timedelta(days=valid_days)),
            "evidence": {
                "digest": content_digest(secrets.token_bytes(32) + document),
                "channel": "electronic",
                "signed_at": _instant(now - timedelta(minutes=1)),
            },
        }
        if max_uses is not None:
            body["max_uses"] = max_uses
        granted: dict[str, Any] = self.call("POST", "/v1/consents", data=body, key=key).data
        return granted

    def query(
        self,
        subject: Mapping[str, Any],
        *,
        purpose: str,
        consent_id: str,
        scopes: Sequence[str] = ("defaults",),
        key: str | None = None,
    ) -> SignedAnswer:
        """Ask what other lenders reported about a borrower."""
        body = {"subject": dict(subject), "purpose": purpose, "consent_id": consent_id, "scopes": list(scopes)}
        return self.call("POST", "/v1/queries", data=body, key=key)

    def evidence(self, answer: SignedAnswer, *, wait_s: float = 10.0) -> Evidence:
        """Pack an answer as evidence, with its inclusion proof as soon as the log has it."""
        if self.identity is None:
            raise VerificationFailed("evidence needs the identity that signed")
        entry = answer.log_entry
        proof = None if entry is None else self.inclusion_proof(entry.event_id, wait_s=wait_s)
        return Evidence.of(
            answer,
            issuer=self.issuer,
            member_jwk=dict(self.identity.key.public_jwk),
            service_jwks=self.service_jwks,
            log_vkey=str(self.discovery["log"]["vkey"]),
            proof=proof,
        )

    def inclusion_proof(self, event_id: str, *, wait_s: float = 10.0) -> dict[str, Any] | None:
        """Fetch an event's inclusion proof, waiting for the sequencer; None if it is not in the log by then."""
        deadline = time.monotonic() + wait_s
        while True:
            got = self._http.get("/audit/v1/proof/inclusion", params={"event_id": event_id})
            if got.status_code == httpx.codes.OK:
                proof: dict[str, Any] = got.json()
                return proof
            if time.monotonic() > deadline:
                return None
            time.sleep(0.1)

    def enrol(self, code: str) -> dict[str, Any]:
        """Register this identity's key as the member's first, by its one-time code."""
        if self.identity is None:
            raise VerificationFailed("enrolling needs an identity")
        proof = make_proof(
            self.identity.key,
            member_id=self.identity.member_id,
            issuer=self.issuer,
            iat=int(self._clock()),
            jti=b64url_encode(secrets.token_bytes(18)),
        )
        body = {"jwk": dict(self.identity.key.public_jwk), "proof": proof, "enrolment_code": code}
        key = hashlib.sha256(code.encode()).hexdigest()
        got = self._http.post(
            f"/v1/members/{self.identity.member_id}/keys", json=body, headers={"Idempotency-Key": key}
        )
        document: dict[str, Any] = got.json()
        if got.status_code != httpx.codes.CREATED:
            raise VerificationFailed(f"{document.get('code')}: {document.get('detail')}")
        return document

    def _get_json(self, path: str) -> dict[str, Any]:
        try:
            got = self._http.get(path)
            got.raise_for_status()
        except httpx.HTTPError as error:
            raise Unavailable(f"{path} cannot be read ({type(error).__name__}); is the address right?") from error
        document: dict[str, Any] = got.json()
        return document


def _instant(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")
