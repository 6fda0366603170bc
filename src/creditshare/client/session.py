"""One member's conversation with one service: what is asked, in which order, what is checked, what is tried again.

Everything here is a flow or a pure step; ``bank`` and ``aio`` add nothing but sockets and clocks.
"""

import hashlib
import json
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from creditshare.client.core import (
    ACCEPTED,
    ERROR_STATUS,
    JSON_TYPE,
    Identity,
    SignedAnswer,
    SignedRequest,
    build_request,
    check_answer,
    parse_jwks,
    signing_kid,
)
from creditshare.client.evidence import Evidence
from creditshare.client.flow import Flow, Received, Send, Wait, exchange
from creditshare.client.identifiers import IdType, borrower_input
from creditshare.client.pins import PinChanged, Pins, suite_label
from creditshare.client.problems import problem_of
from creditshare.client.reader import UNAUTHORIZED, NotAReader, reader_headers
from creditshare.client.receipt import Receipt
from creditshare.crypto import oprf
from creditshare.crypto.digests import content_digest
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.jws import SigningKey, VerifyingKey
from creditshare.errors import Malformed, Unavailable, VerificationFailed
from creditshare.wire.instants import spell_instant
from creditshare.wire.registration import make_proof

RETRIES: Final = 4
LONGEST_WAIT_S: Final = 30.0
FIRST_WAIT_S: Final = 0.1
PROOF_POLL_S: Final = 0.1
PAGE: Final = 500
"""Items of one page of a list, as many as the service gives."""
SALT_BYTES: Final = 32
EVALUATE: Final = "/v1/tokens/evaluate"
SKEW: Final = timedelta(minutes=1)
OK: Final = 200

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Service:
    """The service as it describes itself, read once: nothing of it is parsed again for a call."""

    discovery: dict[str, Any]
    jwks: dict[str, Any]
    issuer: str
    keys: Mapping[str, VerifyingKey] = field(repr=False)
    suite: Mapping[str, Any]
    tokeniser_key: bytes | None
    """None where this version is not among the pinned ones."""

    @classmethod
    def of(cls, discovery: dict[str, Any], jwks: dict[str, Any], pins: Pins | None) -> "Service":
        """Read discovery and keys, trusting of them only what the pins say, if there are pins."""
        suite = next(s for s in discovery["tokens"]["suites"] if s["current"])
        keys = parse_jwks(jwks)
        tokeniser_key: str | None = str(suite["public_key"])
        if pins is not None:
            keys = {kid: key for kid, key in keys.items() if kid in pins.service_keys}
            tokeniser_key = pins.tokeniser.get(suite_label(suite))
        decoded = None if tokeniser_key is None else b64url_decode(tokeniser_key)
        return cls(discovery, jwks, str(discovery["issuer"]), keys, suite, decoded)


class Session:
    """The state of a conversation: who speaks, to which service, trusting which keys."""

    def __init__(
        self,
        identity: Identity | None,
        *,
        clock: Clock = time.time,
        pins: Pins | None = None,
        on_first_use: Callable[[Pins], None] | None = None,
    ) -> None:
        self.identity = identity
        self.pins = pins
        self._clock = clock
        self._on_first_use = on_first_use
        self._service: Service | None = None

    def acting_for(self, identity: Identity) -> "Session":
        """Return the conversation of another member with the same service, of which nothing is read again."""
        other = Session(identity, clock=self._clock, pins=self.pins)
        other._service = self._service
        return other

    @property
    def service(self) -> Service:
        """What is known of the service since ``connect``."""
        if self._service is None:
            raise Unavailable("not connected yet: what the service says about itself was not read")
        return self._service

    @property
    def signer(self) -> Identity:
        """Who signs here."""
        if self.identity is None:
            raise VerificationFailed("this client has no identity to sign with")
        return self.identity

    def connect(self) -> Flow[Service]:
        """Read what the service says about itself, once, and compare it with the pins."""
        if self._service is None:
            discovery = yield from self.document("/.well-known/creditshare")
            jwks = yield from self.document("/.well-known/jwks.json")
            try:
                shown = Pins.of(discovery, jwks)
                if self.pins is not None:
                    self.pins.check(shown)
                elif self._on_first_use is not None:
                    self._on_first_use(shown)
                    self.pins = shown
                self._service = Service.of(discovery, jwks, self.pins)
            except (KeyError, TypeError, StopIteration, Malformed) as error:
                raise Unavailable("this address does not describe itself as a creditshare service") from error
        return self._service

    # Signed calls

    def sign(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        data: object = None,
        key: str | None = None,
        if_match: str | None = None,
        accept: str = ACCEPTED,
        language: str | None = None,
    ) -> SignedRequest:
        """Build a signed request without sending it; ``key`` is the idempotency key, made where a POST lacks one.

        ``if_match`` is the ``version`` of the answer that the change rests on.
        """
        return build_request(
            self.signer,
            issuer=self.service.issuer,
            method=method,
            path=path,
            query=query,
            data=data,
            idempotency_key=key or (str(uuid.uuid4()) if _needs_key(method, path) else None),
            if_match=if_match,
            accept=accept,
            language=language,
            now=int(self._clock()),
        )

    def transmit(self, request: SignedRequest) -> Flow[Received]:
        """Send a signed request once and return what came back, unchecked."""
        return exchange(Send(request.method, request.target, request.headers, request.body))

    def check(self, request: SignedRequest, got: Received) -> SignedAnswer:
        """Check what came back; ``VerificationFailed`` where it is not this service's answer to this request."""
        service = self.service
        try:
            return check_answer(
                request,
                status=got.status,
                headers=got.headers,
                body=got.body,
                issuer=service.issuer,
                member_id=self.signer.member_id,
                keys=service.keys,
            )
        except VerificationFailed as error:
            kid = signing_kid(got)
            if kid in parse_jwks(service.jwks) and kid not in service.keys:
                raise PinChanged(
                    f"the answer is signed by the key {kid}, which the service publishes but which is not pinned; if"
                    " its operator announced it, accept it with `creditshare profile trust NAME`"
                ) from error
            raise

    def send(self, request: SignedRequest) -> Flow[SignedAnswer]:
        """Send a signed request once and check the answer, which may be a refusal."""
        got = yield from self.transmit(request)
        return self.check(request, got)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        data: object = None,
        key: str | None = None,
        if_match: str | None = None,
        accept: str = ACCEPTED,
        language: str | None = None,
    ) -> Flow[SignedAnswer]:
        """Sign, send, check; retry what may be retried with a new token and the same idempotency key.

        Raises ``Problem`` for a refusal, ``Unavailable`` where no answer came. A wait that the service asks for is
        waited in full, or, where it is longer than half a minute, left to the caller.
        """
        yield from self.connect()
        chosen = (key or str(uuid.uuid4())) if _needs_key(method, path) else None
        repeatable = chosen is not None or method == "GET"
        for attempt in range(RETRIES + 1):
            last = attempt == RETRIES
            request = self.sign(
                method,
                path,
                query=query,
                data=data,
                key=chosen,
                if_match=if_match,
                accept=accept,
                language=language,
            )
            try:
                answer = yield from self.send(request)
            except Unavailable:
                if last or not repeatable:
                    raise
                yield Wait(FIRST_WAIT_S * 2**attempt)
                continue
            if answer.status < ERROR_STATUS:
                return answer
            problem = problem_of(answer)
            wait = FIRST_WAIT_S * 2**attempt if problem.retry_after is None else problem.retry_after
            if last or not problem.retryable or wait > LONGEST_WAIT_S:
                raise problem
            yield Wait(wait)
        raise AssertionError("the last attempt returns or raises")

    def pages(self, path: str, *, limit: int = PAGE) -> Flow[list[dict[str, Any]]]:
        """Return everything of a list, page after page."""
        found: list[dict[str, Any]] = []
        query = f"limit={limit}"
        while True:
            page = (yield from self.call("GET", path, query=query)).data
            found += page["data"]
            if page["next_cursor"] is None:
                return found
            query = f"limit={limit}&cursor={page['next_cursor']}"

    # Tokens

    def tokenise(self, identifiers: Sequence[str], *, id_type: IdType = "uscc") -> Flow[list[dict[str, Any]]]:
        """Turn identifiers into blind tokens, in batches, checking the tokeniser's proof for each batch.

        Raises ``PinChanged`` for a key version that is not pinned, ``VerificationFailed`` where the proof does not
        hold for the trusted key; then no token exists and nothing was asked about anybody.
        """
        service = yield from self.connect()
        if service.tokeniser_key is None:
            raise PinChanged(
                f"the tokeniser's key {suite_label(service.suite)} is not pinned; if its operator announced it, accept"
                " it with `creditshare profile trust NAME`"
            )
        named = {name: service.suite[name] for name in ("suite", "key_version")}
        tokens = []
        for start in range(0, len(identifiers), oprf.MAX_BATCH):
            blinded = [oprf.blind(borrower_input(id_type, i)) for i in identifiers[start : start + oprf.MAX_BATCH]]
            asked = {**named, "blinded": [b64url_encode(one.element) for one in blinded]}
            answer = (yield from self.call("POST", EVALUATE, data=asked)).data
            elements = oprf.open_evaluation(
                service.tokeniser_key,
                blinded,
                [b64url_decode(e) for e in answer["evaluated"]],
                b64url_decode(answer["proof"]),
            )
            tokens += [{**named, "element": b64url_encode(element)} for element in elements]
        return tokens

    # Everyday calls, for who holds a token already

    def business_time(self) -> Flow[datetime]:
        """Return what the service takes for now: a sandbox's business time may have run ahead of the clock."""
        service = yield from self.connect()
        ahead = int(service.discovery.get("clock", {}).get("ahead_s", 0))
        return datetime.fromtimestamp(int(self._clock()) + ahead, UTC)

    def grant_consent(
        self,
        subject: Mapping[str, Any],
        *,
        kind: str,
        purposes: Sequence[str],
        scopes: Sequence[str],
        document: bytes,
        salt: bytes | None = None,
        channel: str = "electronic",
        valid_days: int = 30,
        max_uses: int | None = None,
        key: str | None = None,
    ) -> Flow[SignedAnswer]:
        """Register a consent. The evidence digest is of ``salt``, 32 random bytes, and the document; keep both."""
        now = yield from self.business_time()
        body: dict[str, Any] = {
            "kind": kind,
            "subject": dict(subject),
            "purposes": list(purposes),
            "scopes": list(scopes),
            "valid_from": spell_instant(now - SKEW),
            "valid_until": spell_instant(now + timedelta(days=valid_days)),
            "evidence": {
                "digest": content_digest((salt or secrets.token_bytes(SALT_BYTES)) + document),
                "channel": channel,
                "signed_at": spell_instant(now - SKEW),
            },
        }
        if max_uses is not None:
            body["max_uses"] = max_uses
        return (yield from self.call("POST", "/v1/consents", data=body, key=key))

    def query(
        self,
        subject: Mapping[str, Any],
        *,
        purpose: str,
        consent_id: str,
        scopes: Sequence[str] = ("defaults",),
        as_of: str | None = None,
        key: str | None = None,
    ) -> Flow[SignedAnswer]:
        """Ask what other lenders reported about a borrower."""
        body = {"subject": dict(subject), "purpose": purpose, "consent_id": consent_id, "scopes": list(scopes)}
        if as_of is not None:
            body["as_of"] = as_of
        return self.call("POST", "/v1/queries", data=body, key=key)

    # Keys

    def proof_for(self, key: SigningKey) -> str:
        """Return the proof that we hold a key, for registering it."""
        return make_proof(
            key,
            member_id=self.signer.member_id,
            issuer=self.service.issuer,
            iat=int(self._clock()),
            jti=b64url_encode(secrets.token_bytes(18)),
        )

    def enrol(self, code: str) -> Flow[dict[str, Any]]:
        """Register this identity's key as the member's first, by its one-time code. Raises ``Problem``.

        Where an answer is lost the same bytes are sent again, and the service tells its first answer again.
        """
        yield from self.connect()
        identity = self.signer
        proof = self.proof_for(identity.key)
        body = json.dumps({"jwk": dict(identity.key.public_jwk), "proof": proof, "enrolment_code": code}).encode()
        path = f"/v1/members/{identity.member_id}/keys"
        headers = {"Content-Type": JSON_TYPE, "Idempotency-Key": hashlib.sha256(code.encode()).hexdigest()}
        got = yield from _insist(Send("POST", path, headers, body))
        request = SignedRequest("POST", path, "", headers, body, proof)
        if got.status >= ERROR_STATUS:  # the caller is nobody yet, so a refusal is not signed
            raise problem_of(SignedAnswer(got.status, got.headers, got.body, None, request))
        token = got.headers.get("cs-signature")
        if token is None:
            raise VerificationFailed("the enrolment was acknowledged without a signature")
        service = self.service
        Receipt(service.issuer, identity.member_id, token, got.status, got.body, proof, body, service.keys).check()
        enrolled: dict[str, Any] = json.loads(got.body)
        return enrolled

    # Proofs

    def evidence(self, answer: SignedAnswer, *, wait_s: float = 10.0) -> Flow[Evidence]:
        """Pack an answer as evidence, with its inclusion proof as soon as the log has it; only if all of it holds."""
        entry = answer.log_entry
        proof = None if entry is None else (yield from self.inclusion_proof(entry.event_id, wait_s=wait_s))
        packed = Evidence.of(
            answer,
            issuer=self.service.issuer,
            member_jwk=dict(self.signer.key.public_jwk),
            service_jwks=self.service.jwks,
            log_vkey=str(self.service.discovery["log"]["vkey"]),
            proof=proof,
        )
        packed.verify()
        return packed

    def inclusion_proof(self, event_id: str, *, wait_s: float = 10.0) -> Flow[dict[str, Any] | None]:
        """Fetch an event's inclusion proof, waiting for the sequencer; None if it is not in the log by then."""
        polls = max(1, round(wait_s / PROOF_POLL_S))
        for poll in range(polls):
            got = yield from exchange(Send("GET", f"/audit/v1/proof/inclusion?event_id={event_id}"))
            if got.status == OK:
                proof: dict[str, Any] = json.loads(got.body)
                return proof
            if poll < polls - 1:
                yield Wait(PROOF_POLL_S)
        return None

    def document(self, target: str, *, reader: str | None = None) -> Flow[dict[str, Any]]:
        """Read a JSON document of the service, unsigned; of the log with a reader's token where it asks for one."""
        got = yield from exchange(Send("GET", target, reader_headers(reader)))
        try:
            if got.status == UNAUTHORIZED:
                raise NotAReader(target)
            if got.status != OK:
                raise Unavailable(f"{target} cannot be read (status {got.status}); is the address right?")
            document: dict[str, Any] = json.loads(got.body)
        except ValueError as error:
            raise Unavailable(f"{target} is not JSON; is the address right?") from error
        return document


def _insist(step: Send) -> Flow[Received]:
    """Send the same bytes until an answer comes."""
    for attempt in range(RETRIES):
        try:
            return (yield from exchange(step))
        except Unavailable:
            yield Wait(FIRST_WAIT_S * 2**attempt)
    return (yield from exchange(step))


def _needs_key(method: str, path: str) -> bool:
    return method == "POST" and path != EVALUATE
