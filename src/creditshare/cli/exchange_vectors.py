"""One complete exchange under fixed keys, for whoever writes a client in another language.

Made by the service's and the client's own code; only the network and the database are left out. Keys, randomness and
clock are fixed, and signatures are those of RFC 6979, so the same code always makes the same bytes and a changed byte
is a changed protocol. ``docs/protocol.md`` explains the files. The keys are published: nothing real may use them.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from creditshare.api.problems import MEDIA_TYPE, problem
from creditshare.api.schemas.consents import ConsentIn, ConsentOut
from creditshare.api.schemas.consents import consent_id as parse_consent_id
from creditshare.api.schemas.keys import KeyIn, KeyOut
from creditshare.api.schemas.queries import QueryIn
from creditshare.api.schemas.records import RecordIn
from creditshare.api.schemas.records import RecordOut as RecordAnswer
from creditshare.api.schemas.tokens import EvaluateIn, EvaluateOut
from creditshare.audit.service import Actor, Audit, ComposedEvent, Entry, ExchangeDigests
from creditshare.client.identifiers import borrower_input
from creditshare.composition import log_signer
from creditshare.consents.rules import Consent
from creditshare.consents.service import Held as HeldConsent
from creditshare.crypto import oprf, p256
from creditshare.crypto.digests import content_digest, sha256_b64url
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.jws import SigningKey, split
from creditshare.crypto.sealing import Place
from creditshare.edge.tracing import Trace
from creditshare.errors import IntegrityError, Refused
from creditshare.ids import spell, uuid7
from creditshare.keys.custody import SubjectKeys
from creditshare.keys.keyring import Keyring
from creditshare.members.keys import KEY_LIFE, Key
from creditshare.notices import rules as notices
from creditshare.policy.service import Policy, Rule
from creditshare.records.history import History
from creditshare.records.intake import Held as HeldRecord
from creditshare.records.rules import Happened, check, jurisdiction
from creditshare.sharing.answer import Asking, compose
from creditshare.sharing.rules import Question, Refusal, decide
from creditshare.tlog.checkpoint import Checkpoint, sign_checkpoint
from creditshare.tlog.merkle import ProofPlan, consistency_nodes, fold_proof, inclusion_nodes, verify_consistency
from creditshare.tlog.proof import InclusionProof
from creditshare.tlog.tiles import evaluate, extend, reads, root_from_edge
from creditshare.wire.answers import sign_answer, verify_answer
from creditshare.wire.consent_receipt import make_receipt
from creditshare.wire.leaf import LogEntry
from creditshare.wire.registration import check_proof, make_proof
from creditshare.wire.requests import Authenticated, Received, RegisteredKey, authenticate, parse, sign_request
from creditshare.wire.strict_json import canonical, decode_object

Document = dict[str, Any]

ISSUER: Final = "https://creditshare.example"
BEGIN: Final = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
MERGE_DELAY_S: Final = 60
KEY_VERSION: Final = 1
IDENTIFIERS: Final = ("91999999DEM000014G", "91999999DEM000006M")
"""Two made-up codes with valid check digits: no firm has them."""
TRACED: Final = {"traceparent": "00-7d3c1f0a9b5e48d2a6f4c0e8b1d29753-5a1e9c7b3d2f4806-01"}

POLICY: Final = Policy(
    Rule(scope, name, value, "for these vectors", date(2013, 3, 15), None)
    for scope, name, value in (
        ("US", "timezone", "America/New_York"),
        ("US", "notice.required", "no"),
        ("US", "notice.exempt_basis", "public_record"),
        ("US", "default.days_past_due", "90"),
    )
)


def fixed_bytes(label: str, count: int) -> bytes:
    """Return bytes that look random and are the same for ever."""
    blocks = (hashlib.sha256(f"creditshare vectors|{label}|{i}".encode()).digest() for i in range(-(-count // 32)))
    return b"".join(blocks)[:count]


@dataclass(slots=True)
class Stream:
    """A source of fixed randomness that never gives the same bytes twice."""

    label: str
    drawn: int = 0

    def __call__(self, count: int) -> bytes:
        """Return the next bytes."""
        self.drawn += 1
        return fixed_bytes(f"{self.label}|{self.drawn}", count)


def fixed_key(label: str) -> SigningKey:
    """Return the ES256 key of a label, which signs the same bytes always the same."""
    scalar = oprf.random_scalar(lambda count: fixed_bytes(label, count))
    point = p256.multiply_base(scalar)
    members = {"x": point.x, "y": point.y, "d": scalar}
    spelled = {name: b64url_encode(number.to_bytes(32, "big")) for name, number in members.items()}
    return SigningKey.from_jwk({"kty": "EC", "crv": "P-256", **spelled}).deterministic()


def fixed_keyring(signing: SigningKey) -> Keyring:
    """Return the service's key file as the service itself would open it."""
    plain = {name: fixed_bytes(name, 32) for name in ("log", "log_opening", "handle")}
    plain["tokeniser"] = oprf.SecretKey.generate(lambda count: fixed_bytes("tokeniser", count)).to_bytes()
    sets: dict[str, Any] = {
        name: {"current": "1", "keys": {"1": base64.b64encode(key).decode()}} for name, key in plain.items()
    }
    return Keyring({**sets, "signing": {"current": "1", "keys": {"1": signing.private_jwk()}}})


@dataclass(frozen=True, slots=True)
class Lender:
    """A member of the story: its id and its key."""

    member_id: UUID
    key: SigningKey

    @property
    def name(self) -> str:
        """The member id as it travels."""
        return spell("mem", self.member_id)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the service's action came to, before the exchange became an event."""

    status: int
    body: bytes
    entry: Entry
    outcome: str = "ok"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One exchange of the story: the file that tells it, its event, and the exact bytes of the answer."""

    document: Document
    event: ComposedEvent
    body: bytes

    @property
    def data(self) -> Any:
        """The answer's JSON."""
        return json.loads(self.body)


class Story:
    """The fixed world: keys, members, one borrower, and the clock that moves two seconds with every exchange."""

    def __init__(self) -> None:
        self.service_key = fixed_key("service")
        self.keyring = fixed_keyring(self.service_key)
        self.tokeniser = self.keyring.tokeniser_key(KEY_VERSION)
        self.log = log_signer(self.keyring, ISSUER)
        self.asker = Lender(uuid7(BEGIN, Stream("asker's id")), fixed_key("asker"))
        self.reporter = Lender(uuid7(BEGIN, Stream("reporter's id")), fixed_key("reporter"))
        subject_id = uuid7(BEGIN, Stream("subject's id"))
        self.borrower = SubjectKeys.of(subject_id, fixed_bytes("data key's id", 8), fixed_bytes("data key", 32))
        self.audit = Audit(
            opening_box=self.keyring.box("log_opening"), merge_delay_s=MERGE_DELAY_S, random_bytes=Stream("audit")
        )
        self.now = BEGIN
        self.events: list[ComposedEvent] = []

    def tick(self) -> datetime:
        """Move on to the next exchange."""
        self.now += timedelta(seconds=2)
        return self.now

    def new_id(self, label: str) -> UUID:
        """Return a row id of this moment."""
        return uuid7(self.now, Stream(label))

    def record(self, entry: Entry, *, actor: Actor, exchange: ExchangeDigests, outcome: str = "ok") -> ComposedEvent:
        """Compose the event of an exchange and keep its leaf."""
        event = self.audit.compose(entry, actor=actor, exchange=exchange, now=self.now, outcome=outcome)
        self.events.append(event)
        return event

    def opening(self, event: ComposedEvent, entry: Entry) -> Document:
        """Open all that an event commits to, as the log's keeper could."""
        groups = {}
        for sealed in event.openings:
            owned = entry.subject is not None and sealed.group != "meta"
            box = self.borrower.box("opening") if owned else self.keyring.box("log_opening")
            opened = decode_object(box.open(Place("audit_opening", sealed.group, event.event_id.bytes), sealed.sealed))
            groups[sealed.group] = {"salt": opened["salt"], "payload": opened["payload"]}
        leaf = json.loads(event.leaf)
        for group, opened in groups.items():
            opened["commitment"] = leaf[f"c_{group}"]
        return {
            "event_id": spell("evt", event.event_id),
            "commitments": groups,
            "leaf": event.leaf.decode(),
            "leaf_hash": b64url_encode(event.leaf_hash),
        }

    def signed(self, who: Lender, rqh: str, made: Outcome, event: ComposedEvent, *, request_body: bytes) -> str:
        """Sign an answer as the edge does after its commit, and check it as the member does."""
        token = sign_answer(
            self.service_key,
            issuer=ISSUER,
            audience=who.name,
            iat=int(self.now.timestamp()),
            jti=b64url_encode(fixed_bytes(f"answer {len(self.events)}", 16)),
            rqh=rqh,
            status=made.status,
            body=made.body,
            log=event.log_entry.to_mapping(),
        )
        keys = {self.service_key.kid: self.service_key.verifying_key}
        claims = verify_answer(
            token, keys=keys, issuer=ISSUER, audience=who.name, rqh=rqh, status=made.status, body=made.body
        )
        LogEntry.from_mapping(claims.log or {}).check(rqh=rqh, request_body=request_body, answer_body=made.body)
        return token


@dataclass(frozen=True, slots=True)
class Sent:
    """What travelled, byte for byte, besides the token in ``Authorization``."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A signed request, sent and let in: what travelled, and what the gate found."""

    who: Lender
    sent: Sent
    proved: Authenticated
    request_id: str

    @property
    def traceparent(self) -> str:
        """Its place in the caller's own trace, if it has one."""
        return self.sent.headers.get("traceparent", "")


def send(
    story: Story,
    who: Lender,
    method: str,
    path: str,
    *,
    query: str = "",
    data: object = None,
    extra: Mapping[str, str] | None = None,
) -> Request:
    """Sign a request as a client does and let it through the service's own gate."""
    now = story.tick()
    body = b"" if data is None else json.dumps(data, separators=(",", ":")).encode()
    headers = dict(extra or {})
    token = sign_request(
        who.key,
        issuer=ISSUER,
        member_id=who.name,
        sub="credit-desk.7",
        method=method,
        path=path,
        query=query.encode(),
        body=body,
        iat=int(now.timestamp()),
        lifetime=60,
        jti=b64url_encode(fixed_bytes(f"request {now}", 18)),
        idempotency_key=headers.get("Idempotency-Key"),
        if_match=headers.get("If-Match"),
    )
    received = Received(
        method=method,
        raw_path=path.encode(),
        raw_query=query.encode(),
        authorization=(f"Bearer {token}".encode(),),
        body=body,
        idempotency_key=_raw(headers.get("Idempotency-Key")),
        if_match=_raw(headers.get("If-Match")),
    )
    known = RegisteredKey(who.key.kid, who.name, who.key.verifying_key, "active", int((BEGIN + KEY_LIFE).timestamp()))
    proved = authenticate(parse(received), received, registered=known, issuer=ISSUER, now=int(now.timestamp()))
    number = f"vector-{int((now - BEGIN).total_seconds()) // 2:02}"
    sent_headers = {**headers, "X-Request-Id": number}
    if body:
        sent_headers["Content-Type"] = "application/json"
    return Request(who, Sent(method, path, query, sent_headers, body), proved, number)


def answer(story: Story, request: Request, made: Outcome, *, title: str) -> Exchanged:
    """Make an action an event, sign its answer, check it as the member does, and write it all down."""
    proved = request.proved
    event = story.record(
        made.entry,
        actor=Actor(request.who.name, proved.claims.sub, proved.kid, request.request_id, request.traceparent),
        exchange=ExchangeDigests(
            proved.rqh,
            proved.token_bytes.decode(),
            content_digest(request.sent.body),
            content_digest(made.body),
        ),
        outcome=made.outcome,
    )
    token = story.signed(request.who, proved.rqh, made, event, request_body=request.sent.body)
    headers = {**made.headers, **Trace(request.request_id, request.traceparent).headers}
    document = {
        "title": title,
        "request": _request_document(request),
        "answer": _answer_document(made.status, headers, made.body, token),
        "event": story.opening(event, made.entry),
    }
    return Exchanged(document, event, made.body)


# ── the steps ───────────────────────────────────────────────────────────────────────────────────────────────────────


def keys_document(story: Story) -> Document:
    """Return all keys, and the bytes that each thumbprint hashes."""

    def signing(key: SigningKey) -> Document:
        members = {name: key.public_jwk[name] for name in ("crv", "kty", "x", "y")}
        return {"private_jwk": key.private_jwk(), "thumbprint_input": canonical(members).decode(), "kid": key.kid}

    tokeniser = story.tokeniser
    return {
        "title": "Keys. All are published; nothing real may use them.",
        "issuer": ISSUER,
        "members": {
            "asker": {"member_id": story.asker.name, **signing(story.asker.key)},
            "reporter": {"member_id": story.reporter.name, **signing(story.reporter.key)},
        },
        "service": signing(story.service_key),
        "jwks": _jwks(story),
        "tokeniser": {
            "suite": oprf.SUITE,
            "key_version": KEY_VERSION,
            "secret_key": tokeniser.to_bytes().hex(),
            "public_key": b64url_encode(tokeniser.public_key),
        },
        "log": {
            "origin": story.log.name,
            "secret_key": story.keyring.secret("log").hex(),
            "public_key": story.log.verifier.public_key.hex(),
            "key_id": story.log.verifier.key_id.hex(),
            "vkey": story.log.verifier.vkey,
        },
    }


def canonical_document() -> Document:
    """Return values beside their one spelling."""
    values: list[object] = [
        {"b": 1, "a": [True, False, None, -9007199254740991], "": {}},
        {"ä": "z", "Z": "Ä", "z": "€", "😀": "😀"},
        'quote " backslash \\ slash / newline \n tab \t controls \u0000 \u001f \u007f',
        [],
        "",
    ]
    return {
        "title": "Canonical JSON: a value, and its exact bytes, which are all ASCII.",
        "cases": [{"value": value, "bytes": canonical(value).decode()} for value in values],
    }


def request_forms(story: Story) -> Document:
    """Return requests without their answers, for the claims that the rest of the story does not need."""
    forms = {
        "no body, no query string": send(story, story.asker, "GET", "/v1/me"),
        "a query string gives htq": send(story, story.asker, "GET", "/v1/members", query="limit=2&cursor=mem_x"),
        "a quoted key and If-Match, repeated as they are": send(
            story,
            story.asker,
            "POST",
            "/v1/records/rec_01900000-0000-7000-8000-000000000000/withdrawal",
            data={"reason": "duplicate"},
            extra={"Idempotency-Key": '"6d5b"', "If-Match": '"v3"'},
        ),
    }
    return {
        "title": "Three more signed requests.",
        "requests": {name: _request_document(request) for name, request in forms.items()},
    }


def enrolment(story: Story) -> Exchanged:
    """Let the asker enrol its first key: no Authorization; code and proof speak."""
    now = story.tick()
    who = story.asker
    proof = make_proof(
        who.key,
        member_id=who.name,
        issuer=ISSUER,
        iat=int(now.timestamp()),
        jti=b64url_encode(fixed_bytes("proof", 18)),
    )
    code = b64url_encode(fixed_bytes("enrolment code", 20))
    sent = {"jwk": dict(who.key.public_jwk), "proof": proof, "enrolment_code": code}
    body = json.dumps(sent, separators=(",", ":")).encode()
    given = KeyIn.model_validate_json(body)
    key = check_proof(given.proof, jwk=given.jwk, member_id=who.name, issuer=ISSUER, now=int(now.timestamp()))
    stored = Key(key.kid, who.member_id, "active", bootstrap=False, registered_at=now, expires_at=now + KEY_LIFE,
                 revoked_at=None, reason=None)  # fmt: skip
    entry = Entry("enrol_first_key", references={"member_id": who.name}, details={"kid": key.kid})
    made = Outcome(201, _json(KeyOut.of(stored, now=now)), entry)
    rqh = sha256_b64url(proof.encode())
    event = story.record(
        entry,
        actor=Actor(who.name, "", key.kid, "vector-enrolment"),
        exchange=ExchangeDigests(rqh, proof, content_digest(body), content_digest(made.body)),
    )
    token = story.signed(who, rqh, made, event, request_body=body)
    document = {
        "title": "Enrolment of a first key. There is no request token: rqh is the hash of the proof.",
        "request": {
            "method": "POST",
            "path": f"/v1/members/{who.name}/keys",
            "headers": {"Content-Type": "application/json", "Idempotency-Key": "enrol-1"},
            "body": body.decode(),
            "proof": _jws_document(proof),
            "rqh": rqh,
        },
        "answer": _answer_document(made.status, made.headers, made.body, token),
        "event": story.opening(event, entry),
    }
    return Exchanged(document, event, made.body)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the oblivious function gave: the exchange, the files beside it, and the borrower's token."""

    exchanged: Exchanged
    blind: Document
    evaluation: Document
    token: Document
    subject: Document


def tokens(story: Story) -> Tokens:
    """Blind two identifiers, have them evaluated, check the proof, take the blinds away."""
    inputs = [borrower_input("uscc", identifier) for identifier in IDENTIFIERS]
    blinded = [oprf.blind(data, random_bytes=Stream(f"blind {data!r}")) for data in inputs]
    elements = [b64url_encode(one.element) for one in blinded]
    request = send(
        story,
        story.asker,
        "POST",
        "/v1/tokens/evaluate",
        data={"suite": oprf.SUITE, "key_version": KEY_VERSION, "blinded": elements},
    )
    asked = EvaluateIn.model_validate_json(request.sent.body)
    received = [b64url_decode(element) for element in asked.blinded]
    evaluated, proof = oprf.evaluate(story.tokeniser, received, random_bytes=Stream("proof nonce"))
    told = EvaluateOut(
        suite=oprf.SUITE,
        key_version=KEY_VERSION,
        evaluated=[b64url_encode(element) for element in evaluated],
        proof=b64url_encode(proof),
    )
    entry = Entry("evaluate_tokens", details={"elements": len(received), "key_version": KEY_VERSION})
    exchanged = answer(story, request, Outcome(200, _json(told), entry), title="Evaluation of two blinded elements.")
    opened = oprf.open_evaluation(story.tokeniser.public_key, blinded, evaluated, proof)
    subject = {"suite": oprf.SUITE, "key_version": KEY_VERSION, "element": b64url_encode(opened[0])}
    return Tokens(
        exchanged,
        {
            "title": "From an identifier to a blinded element (RFC 9380, RFC 9497). Numbers in hexadecimal.",
            "domain_separation_tag": (b"HashToGroup-" + oprf.context(oprf.MODE_VOPRF)).hex(),
            "inputs": [
                _blind_document(identifier, data, one)
                for identifier, data, one in zip(IDENTIFIERS, inputs, blinded, strict=True)
            ],
        },
        _proof_document(story, received, evaluated, proof),
        {
            "title": "From the evaluated elements to the tokens N = k·H(input). The RFC's outer hash is left out.",
            "tokens": [
                {
                    "input": data.decode(),
                    "element": element.hex(),
                    "subject": {**subject, "element": b64url_encode(element)},
                }
                for data, element in zip(inputs, opened, strict=True)
            ],
        },
        subject,
    )


def _blind_document(identifier: str, data: bytes, blinded: oprf.Blinded) -> Document:
    tag = b"HashToGroup-" + oprf.context(oprf.MODE_VOPRF)
    u = p256.hash_to_field(data, tag, 2)
    return {
        "id_type": "uscc",
        "identifier": identifier,
        "input": data.decode(),
        "expanded": p256.expand_message(data, tag, 96).hex(),
        "u": [_hex(number) for number in u],
        "q": [p256.encode_point(p256.map_to_curve(number)).hex() for number in u],
        "point": p256.encode_point(p256.hash_to_curve(data, tag)).hex(),
        "blind": _hex(blinded.blind),
        "blinded": blinded.element.hex(),
    }


def _proof_document(story: Story, blinded: Sequence[bytes], evaluated: Sequence[bytes], proof: bytes) -> Document:
    public = story.tokeniser.public_key
    weights = oprf.weights(public, blinded, evaluated)
    sent, received = [p256.decode_point(e) for e in blinded], [p256.decode_point(e) for e in evaluated]
    m, z = p256.combine(weights, sent, received)
    c, s = p256.decode_scalar(proof[:32]), p256.decode_scalar(proof[32:])
    if m is None or z is None:
        raise IntegrityError("a composite is the identity")
    t2, t3 = p256.combine((s, c), (p256.GENERATOR, p256.decode_point(public)), (m, z))
    if t2 is None or t3 is None:
        raise IntegrityError("a commitment of the proof is the identity")
    return {
        "title": "The batched proof that one key, the published one, was used (RFC 9497 §2.2).",
        "public_key": public.hex(),
        "context": oprf.context(oprf.MODE_VOPRF).hex(),
        "blinded": [element.hex() for element in blinded],
        "evaluated": [element.hex() for element in evaluated],
        "weights": [_hex(weight) for weight in weights],
        "composites": {"m": p256.encode_point(m).hex(), "z": p256.encode_point(z).hex()},
        "nonce": _hex(oprf.random_scalar(Stream("proof nonce"))),
        "commitments": {"t2": p256.encode_point(t2).hex(), "t3": p256.encode_point(t3).hex()},
        "challenge": _hex(c),
        "response": _hex(s),
        "proof": proof.hex(),
    }


@dataclass(frozen=True, slots=True)
class Granted:
    """A registered consent: the exchange, and the consent as the rules see it."""

    exchanged: Exchanged
    consent: Consent


def consent(story: Story, subject: Document) -> Granted:
    """Register the borrower's consent that the asker may ask."""
    document = fixed_bytes("consent salt", 32) + b"signed consent, page 1"
    request = send(
        story,
        story.asker,
        "POST",
        "/v1/consents",
        data={
            "kind": "query",
            "subject": subject,
            "purposes": ["pre_loan"],
            "scopes": ["defaults", "amounts"],
            "valid_from": "2026-03-01T00:00:00Z",
            "valid_until": "2026-06-01T00:00:00Z",
            "max_uses": 3,
            "evidence": {
                "digest": content_digest(document),
                "channel": "paper",
                "signed_at": "2026-02-27T09:30:00Z",
            },
        },
        extra={"Idempotency-Key": "consent-1"},
    )
    terms = ConsentIn.model_validate_json(request.sent.body).terms()
    consent_id = story.new_id("consent's id")
    agreed = Consent(
        consent_id=consent_id,
        member_id=story.asker.member_id,
        kind=terms.kind,
        state="active",
        purposes=terms.purposes,
        scopes=terms.scopes,
        valid_from=terms.valid_from,
        valid_until=terms.valid_until,
        max_uses=terms.max_uses,
        uses=0,
        frequency=terms.frequency,
        window_start=None,
        window_used=0,
    )
    receipt = make_receipt(
        story.service_key,
        issuer=ISSUER,
        member_id=story.asker.name,
        consent_id=spell("cns", consent_id),
        kind=agreed.kind,
        purposes=agreed.purposes,
        scopes=agreed.scopes,
        valid_from=agreed.valid_from,
        valid_until=agreed.valid_until,
        evidence_digest=terms.evidence.digest,
        now=story.now,
    )
    out = ConsentOut.of(HeldConsent(agreed, terms.evidence), now=story.now, receipt=receipt)
    entry = Entry(
        "grant_consent",
        subject=story.borrower,
        references={"consent_id": spell("cns", consent_id)},
        details={"kind": agreed.kind, "purposes": " ".join(agreed.purposes)},
    )
    exchanged = answer(story, request, Outcome(201, _json(out), entry), title="Registration of a consent to query.")
    exchanged.document["evidence"] = {"salt_and_document": document.hex(), "digest": terms.evidence.digest}
    exchanged.document["receipt"] = _jws_document(receipt)
    return Granted(exchanged, agreed)


@dataclass(frozen=True, slots=True)
class Reported:
    """A reported default: the exchange, and the record's history as the question will find it."""

    exchanged: Exchanged
    history: History


def record(story: Story, subject: Document) -> Reported:
    """Let the reporter report a default."""
    request = send(
        story,
        story.reporter,
        "POST",
        "/v1/records",
        data={
            "subject": subject,
            "role": "borrower",
            "account_ref": "loan-000123",
            "product": "term_loan",
            "currency": "USD",
            "original_amount": "150000.00",
            "outstanding_principal": "98000.00",
            "opened_on": "2023-04-01",
            "first_overdue_on": "2025-08-01",
            "default_on": "2025-11-01",
            "days_past_due": 213,
            "default_reason": "days_past_due",
            "region": {"scheme": "ISO 3166-2", "code": "US-CA"},
            "lawful_basis": "public_record",
            "public_ref": "register 000123",
        },
        extra={"Idempotency-Key": "record-1"},
    )
    report = RecordIn.model_validate_json(request.sent.body).report()
    check(report, policy=POLICY, today=story.now.date())
    visible = notices.visible_from(
        report.notice,
        policy=POLICY,
        jurisdiction=jurisdiction(report.region),
        lawful_basis=report.lawful_basis,
        has_public_ref=report.public_ref is not None,
        to=notices.addressee(role=report.role, size_class=report.size_class),
        now=story.now,
    )
    record_id = story.new_id("record's id")
    submitted = Happened("submitted", story.now, report=report)
    history = History(record_id, story.reporter.member_id, visible, ((2, submitted),))
    state = history.state()
    if state is None:
        raise IntegrityError("a submitted record has a state")
    entry = Entry("submit_record", subject=story.borrower, references={"record_id": spell("rec", record_id)})
    out = RecordAnswer.of(HeldRecord(record_id, visible, state, story.now))
    exchanged = answer(story, request, Outcome(201, _json(out), entry), title="A default reported by another lender.")
    return Reported(exchanged, history)


@dataclass(frozen=True, slots=True)
class Asked:
    """An answered question, the same answer told again, and a refused one."""

    answered: Exchanged
    again: Exchanged
    refused: Exchanged


def questions(story: Story, subject: Document, agreed: Consent, history: History) -> Asked:
    """Ask, repeat the question with a new token under the same key, and ask beyond the consent."""
    body = {
        "subject": subject,
        "purpose": "pre_loan",
        "consent_id": spell("cns", agreed.consent_id),
        "scopes": ["defaults", "amounts"],
    }
    answered = _ask(story, body, agreed, history, key="query-1", title="A question, answered under the consent.")
    request = send(story, story.asker, "POST", "/v1/queries", data=body, extra={"Idempotency-Key": "query-1"})
    made = Outcome(
        200,
        answered.body,
        Entry("run_query_again", subject=story.borrower, references={"query_id": answered.data["query_id"]}),
        headers={"Content-Type": "application/json", "Idempotent-Replayed": "true"},
    )
    again = answer(story, request, made, title="The same question again: new jti, same key, same bytes, no second use.")
    beyond = {**body, "purpose": "restructuring"}
    refused = _ask(story, beyond, agreed, history, key="query-2", title="A question beyond the consent, refused.")
    return Asked(answered, again, refused)


def _ask(story: Story, body: Document, agreed: Consent, history: History, *, key: str, title: str) -> Exchanged:
    request = send(story, story.asker, "POST", "/v1/queries", data=body, extra={"Idempotency-Key": key, **TRACED})
    asked = QueryIn.model_validate_json(request.sent.body)
    question = Question(asked.purpose, parse_consent_id(asked.consent_id), tuple(asked.scopes), asked.as_of)
    decision = decide(question, agreed, member_id=story.asker.member_id, member_status="active", now=story.now)
    if isinstance(decision, Refusal):
        status, document, headers = problem(Refused(decision.reason), request_id=request.request_id, language="en")
        made = Outcome(
            status,
            document,
            Entry("run_query", asked.purpose),
            decision.reason,
            {**headers, "Content-Type": MEDIA_TYPE},
        )
        return answer(story, request, made, title=title)
    query_id = story.new_id("query's id")
    asking = Asking(query_id, story.asker.member_id, question, decision, story.now, 3, POLICY.version)
    told = compose(asking, [history], handle_key=story.keyring.secret("handle"))
    references = {"consent_id": asked.consent_id, "query_id": spell("qry", query_id)}
    entry = Entry("run_query", asked.purpose, story.borrower, references)
    return answer(story, request, Outcome(200, told, entry), title=title)


def log_document(story: Story, proved: ComposedEvent, *, earlier: int) -> tuple[Document, InclusionProof]:
    """Put all leaves into a tree; prove one of them, and that the tree has only grown."""
    hashes = [event.leaf_hash for event in story.events]
    size, index = len(hashes), story.events.index(proved)
    notes = {count: _checkpoint(story, hashes[:count]) for count in (earlier, size)}
    proof = InclusionProof(
        event_id=spell("evt", proved.event_id),
        leaf_hash=proved.leaf_hash,
        index=index,
        size=size,
        hashes=tuple(_fold(inclusion_nodes(index, size), hashes)),
        checkpoint=notes[size],
    )
    proof.verify([story.log.verifier])
    between = _fold(consistency_nodes(earlier, size), hashes)
    verify_consistency(size1=earlier, root1=_root(hashes[:earlier]), size2=size, root2=_root(hashes), proof=between)
    return {
        "title": "The log: leaves in order, two checkpoints, an inclusion and a consistency proof.",
        "vkey": story.log.verifier.vkey,
        "leaves": [
            {"leaf": event.leaf.decode(), "leaf_hash": b64url_encode(event.leaf_hash)} for event in story.events
        ],
        "roots": {str(count): b64url_encode(_root(hashes[:count])) for count in range(size + 1)},
        "checkpoints": {str(count): note for count, note in notes.items()},
        "inclusion": proof.to_dict(),
        "inclusion_text": proof.to_text(),
        "consistency": {"from": earlier, "to": size, "hashes": [b64url_encode(one) for one in between]},
    }, proof


def _root(hashes: Sequence[bytes]) -> bytes:
    grown = extend(0, (), hashes)
    return root_from_edge(grown.size, grown.edge)


def _checkpoint(story: Story, hashes: Sequence[bytes]) -> str:
    return sign_checkpoint(Checkpoint(story.log.name, len(hashes), _root(hashes)), [story.log])


def _fold(plan: ProofPlan, hashes: Sequence[bytes]) -> list[bytes]:
    rows = {read: b"".join(hashes[read.start : read.start + read.count]) for read in reads(plan.nodes)}
    if any(read.level for read in rows):
        raise IntegrityError("this tree has one level of tiles only")
    return fold_proof(plan, evaluate(plan.nodes, rows))


def evidence_document(story: Story, exchanged: Exchanged, proof: InclusionProof) -> Document:
    """Return the evidence package of an exchange, as ``creditshare verify-evidence`` reads it."""
    request, told = exchanged.document["request"], exchanged.document["answer"]
    return {
        "kind": "creditshare-evidence/v1",
        "issuer": ISSUER,
        "request": {"jws": request["jws"]["compact"], "body": _base64(request["body"].encode())},
        "answer": {"status": told["status"], "jws": told["jws"]["compact"], "body": _base64(exchanged.body)},
        "member_jwk": dict(story.asker.key.public_jwk),
        "service_jwks": _jwks(story),
        "log_vkey": story.log.verifier.vkey,
        "proof": proof.to_dict(),
    }


def make_vectors() -> dict[str, Document]:
    """Return every file's content by its name. Always the same."""
    story = Story()
    files = {"keys": keys_document(story), "canonical-json": canonical_document()}
    enrolled = enrolment(story)
    blinded = tokens(story)
    granted = consent(story, blinded.subject)
    reported = record(story, blinded.subject)
    asked = questions(story, blinded.subject, granted.consent, reported.history)
    log, proof = log_document(story, asked.answered.event, earlier=3)
    files |= {
        "enrolment": enrolled.document,
        "blind": blinded.blind,
        "evaluate": blinded.exchanged.document,
        "proof": blinded.evaluation,
        "token": blinded.token,
        "consent": granted.exchanged.document,
        "record": reported.exchanged.document,
        "query": asked.answered.document,
        "query-again": asked.again.document,
        "query-refused": asked.refused.document,
        "log": log,
        "evidence": evidence_document(story, asked.answered, proof),
        "request-forms": request_forms(story),
    }
    return {f"{number:02}-{name}.json": document for number, (name, document) in enumerate(files.items(), start=1)}


# ── how things are written down ─────────────────────────────────────────────────────────────────────────────────────


def _request_document(request: Request) -> Document:
    sent = request.sent
    return {
        "method": sent.method,
        "path": sent.path,
        "query": sent.query,
        "headers": dict(sent.headers),
        "body": sent.body.decode(),
        "jws": _jws_document(request.proved.token_bytes.decode()),
        "rqh": request.proved.rqh,
    }


def _answer_document(status: int, headers: Mapping[str, str], body: bytes, token: str) -> Document:
    return {"status": status, "headers": dict(headers), "body": body.decode(), "jws": _jws_document(token)}


def _jws_document(token: str) -> Document:
    compact = split(token, max_token=16_384, max_payload=12_288)
    return {
        "header": compact.header.decode(),
        "payload": compact.payload.decode(),
        "signing_input": compact.signing_input.decode(),
        "signature": b64url_encode(compact.signature),
        "compact": token,
    }


def _jwks(story: Story) -> Document:
    return {"keys": [dict(story.service_key.public_jwk)]}


def _json(model: BaseModel) -> bytes:
    """Return a body as the web framework writes it."""
    return json.dumps(model.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":")).encode()


def _raw(value: str | None) -> bytes | None:
    return None if value is None else value.encode("ascii")


def _hex(number: int) -> str:
    return number.to_bytes(32, "big").hex()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
