"""The OpenAPI document is what the code generates, is valid and is true: examples are sent, answers are checked."""

import json
import random
import secrets
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jsonschema import Draft202012Validator
from tests.fixtures.contract import Contract
from tests.fixtures.service import RunningService, record_body, running_service, wait_for

from creditshare.api.codelists import CODE_LISTS
from creditshare.api.openapi import READER, REFUSALS, SCHEME, VOCABULARIES
from creditshare.app import create_app, openapi_document
from creditshare.cli.demo.story import synthetic_uscc
from creditshare.client.bank import Client
from creditshare.client.core import File
from creditshare.crypto.digests import content_digest
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jws import SigningKey
from creditshare.ids import parse
from creditshare.settings import Settings
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.wire.reasons import REASONS
from creditshare.wire.registration import make_proof

ROOT: Final = Path(__file__).parents[2]
META_SCHEMA: Final = json.loads((Path(__file__).parent / "oas-3.1-schema.json").read_text())
DOCUMENT: Final[dict[str, Any]] = openapi_document()
UNKNOWN: Final = "01900000-0000-7000-8000-000000000000"
PREFIXES: Final = {
    "member_id": "mem_",
    "consent_id": "cns_",
    "record_id": "rec_",
    "query_id": "qry_",
    "job_id": "job_",
    "warrant_id": "wrt_",
}


@dataclass(frozen=True)
class Operation:
    """One operation of the document, and how a test addresses it."""

    method: str
    path: str
    described: dict[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.described["operationId"])

    @property
    def signed(self) -> bool:
        return any(SCHEME in way for way in self.described["security"])

    @property
    def for_readers(self) -> bool:
        return any(READER in way for way in self.described["security"])

    @property
    def unsigned_too(self) -> bool:
        return {} in self.described["security"]

    @property
    def role(self) -> str:
        return str(self.described.get("x-caller", {}).get("role", "anyone"))

    @property
    def roles(self) -> set[str]:
        return {self.role, str(self.described.get("x-caller", {}).get("also"))}

    @property
    def success(self) -> int:
        (status,) = (int(status) for status in self.described["responses"] if int(status) < 400)
        return status

    @property
    def conditional(self) -> bool:
        return {"$ref": "#/components/parameters/If-Match"} in self.described["parameters"]

    @property
    def parameters(self) -> list[str]:
        return [p["name"] for p in self.described["parameters"] if p.get("in") == "path"]

    def examples(self) -> list[Any]:
        """Return the bodies that the document offers; None stands for no body where it may be left out."""
        body = self.described.get("requestBody")
        if body is None:
            return [None]
        if "application/json" not in body["content"]:
            return [File(kind, media["example"].encode()) for kind, media in body["content"].items()]
        name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        examples = list(DOCUMENT["components"]["schemas"][name]["examples"])
        return examples if body["required"] else [*examples, None]


OPERATIONS: Final = [
    Operation(method.upper(), path, described)
    for path, item in DOCUMENT["paths"].items()
    for method, described in item.items()
]
# A key's body holds a signature of its own, so its two examples have tests of their own. What only a sandbox has may
# move the clock, so it comes last.
WRITES: Final = [
    (operation, example)
    for operation in sorted(OPERATIONS, key=lambda operation: operation.described["tags"] in (["debts"], ["sandbox"]))
    if operation.method != "GET" and not operation.unsigned_too
    for example in operation.examples()
]
READS: Final = [operation for operation in OPERATIONS if operation.method == "GET"]


class Stage:
    """What examples cannot know: members, borrowers, consents, records and codes that exist."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        self.source = random.Random("openapi")  # noqa: S311  synthetic borrowers, not secrets
        self.lender = service.admit("Lender", region="US", evaluations_per_day=100_000)
        self.proposer, self.operator = (service.client(identity) for identity in service.operators)
        self.admit_to("US", "CN")
        self.anyone = httpx.Client(base_url=service.url)
        self.named = ""
        self.until = _instant(datetime.now(UTC).replace(microsecond=0) + timedelta(days=1))
        self.clients: dict[str, Client] = {"lender": self.lender, "operator": self.operator, "any": self.lender}

    def admit_to(self, *jurisdictions: str) -> None:
        """Let the lender report in these jurisdictions, by two people."""
        change = {"action": "jurisdictions", "jurisdictions": list(jurisdictions)}
        path = f"/v1/members/{self.lender.session.signer.member_id}"
        proposed = self.proposer.call("POST", f"{path}/proposals", data=change, if_match="*")
        self.operator.call("POST", f"{path}/approvals", data=change, if_match=proposed.version)

    def month(self) -> str:
        """Return the month of which debts can be stated, after waiting for its end."""
        with self.service.superuser() as database:
            row = database.execute("SELECT creditshare_now() AT TIME ZONE 'Asia/Shanghai'").fetchone()
        assert row is not None
        now: datetime = row[0]
        if now.day > 14:
            now = (now.replace(day=1) + timedelta(days=31)).replace(day=1, hour=1)
            self.service.advance(seconds=(now - row[0]).total_seconds())
        return f"{now.replace(day=1) - timedelta(days=1):%Y-%m}"

    def caller(self, role: str) -> Client:
        """Return a client of a member in this role."""
        if role not in self.clients:
            self.clients[role] = self.service.admit(f"A {role}", role=role)
        return self.clients[role]

    def subject(self) -> dict[str, Any]:
        (subject,) = self.lender.tokenise([synthetic_uscc(self.source)])
        return subject

    def consent(self, subject: dict[str, Any] | None = None) -> str:
        granted = self.lender.grant_consent(
            subject or self.subject(),
            kind="query",
            purposes=["pre_loan", "post_loan_monitoring"],
            scopes=["defaults"],
            document=b"signed",
        )
        return str(granted["consent_id"])

    def record(self) -> str:
        """Submit the document's own example of a record."""
        (operation,) = (operation for operation in OPERATIONS if operation.name == "submit_record")
        body = self.fill(operation.examples()[0])
        return str(self.lender.call("POST", "/v1/records", data=body).data["record_id"])

    def query(self) -> str:
        subject = self.subject()
        self.lender.call("POST", "/v1/records", data=record_body(subject, secrets.token_hex(8)))
        asked = self.lender.query(subject, purpose="pre_loan", consent_id=self.consent(subject))
        return str(asked.data["query_id"])

    def member(self) -> str:
        identity = self.service.admit(f"Member {uuid4()}").identity
        assert identity is not None
        return identity.member_id

    def version(self, operation: Operation, place: dict[str, str]) -> str | None:
        """Return what If-Match of an operation that needs it must name."""
        if not operation.conditional:
            return None
        return self.operator.call("GET", f"/v1/members/{place['member_id']}").version

    def applicant(self) -> str:
        body = {"name": f"Applicant {uuid4()}", "role": "lender", "region": "CN"}
        return str(self.proposer.call("POST", "/v1/members", data=body).data["member_id"])

    def paused(self) -> str:
        consent_id = self.consent()
        self.lender.call("POST", f"/v1/consents/{consent_id}/pause", data={})
        return consent_id

    def job(self) -> str:
        """Send the document's own example of a file."""
        (operation,) = (operation for operation in OPERATIONS if operation.name == "submit_record_batch")
        return str(self.lender.call("POST", operation.path, data=operation.examples()[0]).data["job_id"])

    def proposal(self) -> str:
        path = f"/v1/members/{self.member()}/proposals"
        return str(self.proposer.call("POST", path, data={"action": "recovery"}, if_match="*").data["proposal_id"])

    def warrant(self, *, in_force: bool = False) -> str:
        """Ask for a warrant by the document's own example, as an approval by its own repeats it."""
        examples = {one.name: one.examples()[0] for one in OPERATIONS if one.name.endswith("_warrant")}
        self.named = self.record()
        body = self.fill(examples["request_warrant"])
        made = str(self.caller("regulator").call("POST", "/v1/warrants", data=body).data["warrant_id"])
        for operator in (self.proposer, self.operator)[: 2 if in_force else 0]:
            approval = self.fill(examples["approve_warrant"])
            operator.call("POST", f"/v1/warrants/{made}/approvals", data=approval)
        return made

    def erasure(self) -> str:
        """Ask for an erasure by the document's own example, as its approval repeats it."""
        (request,) = (one for one in OPERATIONS if one.name == "request_erasure")
        self.named = self.record()
        body = self.fill(request.examples()[0])
        return str(self.proposer.call("POST", "/v1/erasures", data=body).data["erasure_id"])

    def event(self) -> str:
        entry = self.lender.call("POST", "/v1/tokens/evaluate", data=_evaluation(self)).log_entry
        assert entry is not None
        return entry.event_id

    def key_body(self, member_id: str, key: SigningKey) -> dict[str, Any]:
        proof = make_proof(
            key,
            member_id=member_id,
            issuer=self.lender.issuer,
            iat=int(time.time()),
            jti=secrets.token_urlsafe(18),
        )
        return {"jwk": dict(key.public_jwk), "proof": proof}

    def spare_key(self) -> str:
        """Register one more key of the lender and return its id."""
        assert self.lender.identity is not None
        key, owner = SigningKey.generate(), self.lender.identity.member_id
        self.lender.call("POST", f"/v1/members/{owner}/keys", data=self.key_body(owner, key))
        return key.kid

    def own_key(self) -> str:
        """Return the id of the key that the lender signs with."""
        assert self.lender.identity is not None
        return self.lender.identity.key.kid

    def succeeded_key(self) -> str:
        """Return the id of the lender's own key, to which there is a later one."""
        assert self.lender.identity is not None
        keys = self.lender.keys.list()
        if len([key for key in keys if key["status"] == "active"]) == 1:
            self.spare_key()
        return self.own_key()

    def passkey(self) -> str:
        """Offer a passkey as a page would, whose digest waits for a signature."""
        point = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
        jwk = {"kty": "EC", "crv": "P-256"}
        jwk |= {name: b64url_encode(getattr(point, name).to_bytes(32, "big")) for name in ("x", "y")}
        services, identity = self.service.services, self.operator.identity
        assert identity is not None

        async def offered() -> str:
            async with services.database.writing() as session:
                done = await services.passkeys.offer(
                    session,
                    parse("mem", identity.member_id),
                    credential_id=secrets.token_bytes(32),
                    jwk=jwk,
                    sign_count=0,
                    label="a passkey",
                    now=services.clock.now(),
                )
                await session.commit()
                return done.value.digest

        return str(self.service.run(offered()))

    def place(self, operation: Operation) -> dict[str, str]:
        """Return what stands in the path: things that exist and are in the state that the operation is for."""
        assert self.lender.identity is not None
        owner = self.lender.identity.member_id
        special: dict[str, Callable[[], dict[str, str]]] = {
            "approve_member": lambda: {"member_id": self.applicant()},
            "begin_due_diligence": lambda: {"member_id": self.applicant()},
            "resume_consent": lambda: {"consent_id": self.paused()},
            # A key may not revoke the last other one, so there are two others.
            "revoke_key": lambda: {"member_id": owner, "kid": self.spare_key() and self.spare_key()},
            "retire_key": lambda: {"member_id": owner, "kid": self.succeeded_key()},
            "review_key": lambda: {"member_id": owner, "kid": self.own_key()},
            "list_keys": lambda: {"member_id": owner},
            "show_warrant_records": lambda: {"warrant_id": self.warrant(in_force=True)},
            "show_warrant_inquiries": lambda: {"warrant_id": self.warrant(in_force=True)},
            "revoke_passkey": lambda: {"passkey": self.passkey()},
        }
        if operation.name in special:
            return special[operation.name]()
        makers: dict[str, Callable[[], str]] = {
            "member_id": self.member,
            "consent_id": self.consent,
            "record_id": self.record,
            "query_id": self.query,
            "job_id": self.job,
            "event_id": self.event,
            "proposal_id": self.proposal,
            "warrant_id": self.warrant,
            "erasure_id": self.erasure,
            "report": lambda: "member_quality",  # which a lender may read
        }
        missing = set(operation.parameters) - makers.keys()
        assert not missing, f"teach Stage.place what to put for {missing} in {operation.name}"
        return {name: makers[name]() for name in operation.parameters}

    def fill(self, example: Any) -> Any:
        """Replace what an example cannot know: borrower, ids, digests, dates, and what must be new each time."""
        if isinstance(example, File):
            return example
        if not isinstance(example, dict):
            return example
        body = deepcopy(example)
        now = datetime.now(UTC).replace(microsecond=0)
        today = now.date().isoformat()
        subject = self.subject() if "subject" in body else None
        known: dict[str, Callable[[], Any]] = {
            "subject": lambda: subject,
            "consent_id": lambda: self.consent(subject),
            "digest": lambda: content_digest(secrets.token_bytes(32)),
            "evidence_digest": lambda: content_digest(secrets.token_bytes(32)),
            "account_ref": lambda: secrets.token_hex(8),
            "public_ref": lambda: secrets.token_hex(8),
            "name": lambda: f"Bank {uuid4()}",
            "valid_from": lambda: _instant(now - timedelta(minutes=1)),
            "valid_until": lambda: _instant(now + timedelta(days=30)),
            "signed_at": lambda: _instant(now - timedelta(minutes=1)),
            "on": lambda: today,
            "named": lambda: self.named or self.record(),
            "ends_at": lambda: self.until,
            "regulator_id": lambda: self.caller("regulator").session.signer.member_id,
            "month": self.month,
            "passkey": self.passkey,
        }
        return {name: known[name]() if name in known else self.fill(value) for name, value in body.items()}


def _instant(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


@pytest.fixture(scope="module")
def stage(postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    policy = tmp_path_factory.mktemp("policy") / "policy"
    policy.write_text("quorum none\n")  # so that every checkpoint is cosigned enough
    with running_service(postgres, template, witness_policy_file=policy) as service:
        made = Stage(service)
        yield made
        made.anyone.close()


def path_of(operation: Operation, values: dict[str, str] | None = None) -> str:
    """Return the address; without values, of something that does not exist."""
    given = values or {name: PREFIXES.get(name, "") + UNKNOWN for name in operation.parameters}
    path = operation.path
    for name, value in given.items():
        path = path.replace("{" + name + "}", value)
    return path


# The document


def test_what_is_committed_is_what_the_code_generates() -> None:
    assert json.loads((ROOT / "openapi/openapi.json").read_text()) == DOCUMENT, "run `make openapi`"
    assert json.loads((ROOT / "openapi/code-lists.json").read_text()) == CODE_LISTS, "run `make openapi`"


def test_it_is_valid_openapi_3_1() -> None:
    errors = [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(META_SCHEMA).iter_errors(DOCUMENT)
    ]
    assert not errors
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_the_meta_schema_refuses_what_is_no_openapi() -> None:
    broken = deepcopy(DOCUMENT)
    del broken["info"]["title"]
    assert not Draft202012Validator(META_SCHEMA).is_valid(broken)


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    text = json.dumps(DOCUMENT)
    found = {part.partition('"')[0] for part in text.split('"#/components/')[1:]}
    defined = {f"{kind}/{name}" for kind, parts in DOCUMENT["components"].items() for name in parts}
    defined -= {f"securitySchemes/{name}" for name in DOCUMENT["components"]["securitySchemes"]}
    assert found == defined


def test_nothing_of_the_framework_is_left_over() -> None:
    text = json.dumps(DOCUMENT)
    assert "ValidationError" not in text
    assert "Successful Response" not in text
    # A field may be called so; a text of that name is the framework's.
    assert '"title": "' not in json.dumps(
        {k: v for k, v in DOCUMENT["components"]["schemas"].items() if k != "Problem"}
    )


def test_every_operation_is_described() -> None:
    names = [operation.name for operation in OPERATIONS]
    tags = {tag["name"] for tag in DOCUMENT["tags"] if len(tag["description"]) > 20}
    assert len(names) == len(set(names))
    for operation in OPERATIONS:
        assert operation.described["summary"]
        assert operation.described["description"].endswith(".")
        assert set(operation.described["tags"]) <= tags
        refuses = operation.signed or (operation.for_readers and operation.name != "show_log_health")
        assert ("401" in operation.described["responses"]) == refuses
        if operation.signed:
            assert "CS-Signature" in operation.described["responses"][str(operation.success)]["headers"]
        headers = {p.get("$ref", "").rpartition("/")[2] for p in operation.described["parameters"]}
        needs_key = operation.method == "POST" and operation.name != "evaluate_tokens"
        assert ("Idempotency-Key" in headers) == needs_key


def test_no_row_of_the_tables_is_stale() -> None:
    assert REFUSALS.keys() <= {operation.name for operation in OPERATIONS}
    assert {code for codes in REFUSALS.values() for code in codes} <= REASONS.keys()
    schemas = DOCUMENT["components"]["schemas"]
    assert [row for row in VOCABULARIES if row[1] not in schemas.get(row[0], {}).get("properties", {})] == []


def test_lists_are_closed_in_requests_and_open_in_answers() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["RecordIn"]["properties"]["product"]["enum"] == CODE_LISTS["products"]
    assert schemas["RecordOut"]["properties"]["product"]["x-extensible-enum"] == CODE_LISTS["products"]
    for name, schema in schemas.items():
        # A model of a request refuses what it does not know, one of an answer may grow.
        closed = schema.get("additionalProperties") is False
        text = json.dumps(schema)
        assert not (closed and "x-extensible-enum" in text), name
        assert closed or '"enum"' not in text, name


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        (name, example)
        for name, schema in DOCUMENT["components"]["schemas"].items()
        for example in schema.get("examples", [])
    ],
    ids=lambda value: value if isinstance(value, str) else "example",
)
def test_every_example_fits_its_schema(schema: str, example: Any) -> None:
    contract = Contract(create_app(Settings()))
    assert contract.errors({"$ref": f"#/components/schemas/{schema}"}, example) == []


def test_every_request_body_has_an_example() -> None:
    for operation in OPERATIONS:
        if "requestBody" in operation.described:
            assert operation.examples()[0] is not None, operation.name


# Its operations, called


@pytest.mark.parametrize("operation", READS, ids=lambda operation: operation.name)
def test_every_read_answers_as_documented(stage: Stage, operation: Operation) -> None:
    if operation.signed:
        asked = {"review_key": "since=2026-01-01T00:00:00Z"}.get(operation.name, "")
        answer = stage.caller(operation.role).call("GET", path_of(operation, stage.place(operation)), query=asked)
        assert answer.status == operation.success
        return
    event = stage.event()
    assert stage.lender.inclusion_proof(event) is not None
    query = {"show_inclusion_proof": {"event_id": event}, "show_consistency_proof": {"from": "1"}}
    got: list[httpx.Response] = []

    def answered() -> bool:
        size = str(stage.anyone.get("/audit/v1/health").json()["size"])
        path = path_of(operation, {"level": "0", "name": "000.p/1", "size": size})
        got[:] = [stage.anyone.get(path, params=query.get(operation.name))]
        return got[0].status_code == operation.success

    wait_for(answered)
    stage.service.contract.verify()


def _evaluation(stage: Stage) -> Any:
    (operation,) = (operation for operation in OPERATIONS if operation.name == "evaluate_tokens")
    return stage.fill(operation.examples()[0])


@pytest.mark.parametrize(
    ("operation", "example"),
    WRITES,
    ids=[f"{op.name}-{'no-body' if body is None else 'example'}" for op, body in WRITES],
)
def test_every_example_gives_the_documented_success(stage: Stage, operation: Operation, example: Any) -> None:
    place = stage.place(operation)
    path, seen = path_of(operation, place), stage.version(operation, place)
    answer = stage.caller(operation.role).call(operation.method, path, data=stage.fill(example), if_match=seen)
    assert answer.status == operation.success
    stage.service.contract.verify()


def test_the_example_of_a_first_key_gives_the_documented_success(stage: Stage) -> None:
    (operation,) = (operation for operation in OPERATIONS if operation.name == "add_key")
    first, _ = operation.examples()
    member_id = stage.applicant()
    path = f"/v1/members/{member_id}"
    seen = stage.operator.call("GET", path).version
    approved = stage.operator.call("POST", f"{path}/approvals", data={"action": "admission"}, if_match=seen).data
    body = {**first, **stage.key_body(member_id, SigningKey.generate()), "enrolment_code": approved["enrolment_code"]}
    assert body.keys() == first.keys()
    headers = {"Idempotency-Key": str(uuid4())}
    path = f"/v1/members/{member_id}/keys"
    answer = stage.anyone.post(path, json=body, headers=headers)
    again = stage.anyone.post(path, json=body, headers=headers)
    assert (answer.status_code, again.status_code) == (operation.success, operation.success)
    assert again.content == answer.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["X-Request-Id"]


def test_the_example_of_a_later_key_gives_the_documented_success(stage: Stage) -> None:
    (operation,) = (operation for operation in OPERATIONS if operation.name == "add_key")
    _, later = operation.examples()
    client = stage.service.admit(f"Bank {uuid4()}")
    assert client.identity is not None
    owner = client.identity.member_id
    body = {**later, **stage.key_body(owner, SigningKey.generate())}
    assert body.keys() == later.keys()
    answer = client.call("POST", f"/v1/members/{owner}/keys", data=body)
    assert answer.status == operation.success


# Who may call


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_without_a_signature(stage: Stage, operation: Operation) -> None:
    body = next((example for example in operation.examples() if example is not None), None)
    headers = {"Idempotency-Key": str(uuid4()), "Accept-Language": "zh-CN"}
    given: dict[str, Any] = {"json": body}
    if isinstance(body, File):
        given, headers = {"content": body.content}, {**headers, "Content-Type": body.media_type}
    got = stage.anyone.request(operation.method, path_of(operation), **given, headers=headers)
    if operation.signed and not operation.unsigned_too:
        assert (got.status_code, got.json()["code"]) == (401, "token_missing")
        assert got.headers["WWW-Authenticate"].startswith("Bearer")
        assert got.headers["Content-Language"] == "zh"
    else:
        assert str(got.status_code) in operation.described["responses"]
        assert got.status_code not in {401, 500}
    stage.service.contract.verify()


@pytest.mark.parametrize(
    "operation", [op for op in OPERATIONS if op.role not in {"any", "anyone"}], ids=lambda operation: operation.name
)
def test_in_the_wrong_role(stage: Stage, operation: Operation) -> None:
    client = stage.lender if "operator" in operation.roles else stage.operator
    body = next((example for example in operation.examples() if example is not None), None)
    answer = client.send(client.sign(operation.method, path_of(operation), data=body))
    assert (answer.status, answer.data["code"]) == (403, "role_forbidden")
    assert answer.claims is not None, "an authenticated refusal is signed"


# The reader of answers


@pytest.mark.parametrize(
    ("status", "headers", "body", "complaint"),
    [
        (418, {"content-type": "application/json"}, b"{}", "status is not documented"),
        (403, {"content-type": "application/problem+json"}, b'{"code": "key_limit"}', "code 'key_limit'"),
        (200, {"content-type": "text/html", "cs-signature": "x"}, b"", "media type"),
        (200, {"content-type": "application/json"}, b"{}", "not signed"),
        (200, {"content-type": "application/json", "cs-signature": "x"}, b"{}", "is a required property"),
    ],
)
def test_an_answer_that_is_not_documented_is_noticed(
    status: int, headers: dict[str, str], body: bytes, complaint: str
) -> None:
    contract = Contract(create_app(Settings()))
    operation = contract.document["paths"]["/v1/queries"]["post"]
    assert complaint in " ".join(contract.check(operation, status, headers, body))


def test_the_running_service_serves_the_committed_document(stage: Stage) -> None:
    assert stage.anyone.get("/openapi.json").json() == DOCUMENT
