"""The promise of docs/protocol.md: a client of another hand works at the first try, against the running service."""

import json
import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
from tests.fixtures import foreign
from tests.fixtures.foreign import b64u, canonical, digest_string, unb64u
from tests.fixtures.service import RunningService, record_body

VECTORS = Path(__file__).parents[2] / "docs" / "vectors"
BORROWER = "91999999DEM000014G"
Log = dict[str, Any]


class ForeignBank:
    """A member that shares no code with the service."""

    def __init__(self, url: str, member_id: str) -> None:
        self.http = httpx.Client(base_url=url)
        self.member_id = member_id
        self.discovery = self.http.get("/.well-known/creditshare").json()
        self.issuer = self.discovery["issuer"]
        self.service_keys = {jwk["kid"]: jwk for jwk in self.http.get("/.well-known/jwks.json").json()["keys"]}
        self.secret = 1 + secrets.randbelow(foreign.N - 1)
        x, y = foreign.times(self.secret, foreign.G)
        self.jwk = {
            "kty": "EC",
            "crv": "P-256",
            "use": "sig",
            "x": b64u(x.to_bytes(32, "big")),
            "y": b64u(y.to_bytes(32, "big")),
        }
        self.kid = foreign.thumbprint(self.jwk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def claims(self, lifetime: int) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.member_id,
            "aud": self.issuer,
            "iat": now,
            "exp": now + lifetime,
            "jti": b64u(secrets.token_bytes(16)),
        }

    def checked(self, got: httpx.Response, rqh: str, body: bytes) -> Log | None:
        token = got.headers["CS-Signature"]
        kid = json.loads(unb64u(token.split(".")[0]))["kid"]
        return foreign.check_answer(
            self.service_keys[kid],
            token,
            issuer=self.issuer,
            member_id=self.member_id,
            rqh=rqh,
            status=got.status_code,
            request_body=body,
            answer_body=got.content,
        )

    def enrol(self, code: str) -> Log | None:
        header = {"alg": "ES256", "typ": "cs-keyreg+jwt", "jwk": self.jwk}
        proof = foreign.make_jws(self.secret, header, {**self.claims(120), "jkt": self.kid})
        body = json.dumps({"jwk": self.jwk, "proof": proof, "enrolment_code": code}).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": "enrol"}
        got = self.http.post(f"/v1/members/{self.member_id}/keys", content=body, headers=headers)
        assert got.status_code == 201, got.text
        return self.checked(got, b64u(foreign.sha256(proof.encode())), body)

    def call(
        self, method: str, path: str, data: object = None, *, key: str | None = None
    ) -> tuple[httpx.Response, Log | None]:
        got, rqh, body = self.send(method, path, data, key=key)
        return got, self.checked(got, rqh, body)

    def send(
        self, method: str, path: str, data: object = None, *, key: str | None = None
    ) -> tuple[httpx.Response, str, bytes]:
        body = b"" if data is None else json.dumps(data, indent=1).encode()
        claims = {
            **self.claims(60),
            "sub": "officer:1",
            "htm": method,
            "htu": self.issuer + path,
            "ver": "1",
        }
        headers = {"Content-Type": "application/json"} if body else {}
        if body:
            claims["cdg"] = digest_string(body)
        if method == "POST" and path != "/v1/tokens/evaluate":
            claims["idk"] = headers["Idempotency-Key"] = key or f'"{uuid.uuid4()}"'
        token = foreign.make_jws(self.secret, {"typ": "cs-req+jwt", "alg": "ES256", "kid": self.kid}, claims)
        got = self.http.request(method, path, content=body, headers={**headers, "Authorization": f"Bearer {token}"})
        return got, b64u(foreign.sha256(token.encode())), body

    def tokenise(self, identifier: str) -> tuple[dict[str, Any], Log | None]:
        (suite,) = [one for one in self.discovery["tokens"]["suites"] if one["current"]]
        blind = 1 + secrets.randbelow(foreign.N - 1)
        point = foreign.hash_to_curve(f"creditshare/v1|uscc|{identifier}".encode())
        blinded = foreign.compress(foreign.times(blind, point))
        named = {"suite": suite["suite"], "key_version": suite["key_version"]}
        got, log = self.call("POST", "/v1/tokens/evaluate", {**named, "blinded": [b64u(blinded)]})
        told = got.json()
        evaluated = unb64u(told["evaluated"][0])
        assert foreign.proof_holds(unb64u(suite["public_key"]), [blinded], [evaluated], unb64u(told["proof"]))
        return {**named, "element": b64u(foreign.unblind(blind, evaluated))}, log

    def prove(self, log: Log) -> None:
        deadline = time.monotonic() + 10
        while True:
            got = self.http.get("/audit/v1/proof/inclusion", params={"event_id": log["event_id"]})
            if got.status_code == 200:
                return foreign.check_inclusion(got.json(), self.discovery["log"]["vkey"], log["leaf"])
            assert got.json()["code"] == "not_integrated_yet"
            assert int(got.headers["Retry-After"]) >= 1
            assert time.monotonic() < deadline
            time.sleep(0.05)


def admit(service: RunningService) -> tuple[str, str]:
    """Admit a lender through the API; return its id and enrolment code."""
    first, second = (service.client(operator) for operator in service.operators)
    body = {"name": "Foreign Bank", "role": "lender", "region": "US-NY"}
    proposed = first.call("POST", "/v1/members", data=body)
    member_id, terms = proposed["member_id"], {"action": "admission"}
    code = second.call("POST", f"/v1/members/{member_id}/approvals", data=terms, if_match=proposed.version).data
    return member_id, code["enrolment_code"]


def consent_body(subject: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).replace(microsecond=0)
    return {
        "kind": "query",
        "subject": subject,
        "purposes": ["pre_loan"],
        "scopes": ["defaults", "amounts"],
        "valid_from": (now - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "valid_until": (now + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "max_uses": 3,
        "evidence": {
            "digest": digest_string(secrets.token_bytes(32) + b"signed"),
            "channel": "paper",
            "signed_at": (now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }


def shape(payload: str) -> dict[str, Any]:
    """Return what two events of one kind have in common: the action, and which members say something."""
    meta = json.loads(payload)
    return {
        "members": sorted(meta),
        "action": meta["action"],
        "outcome": meta["outcome"],
        "purpose": meta["purpose"],
        "details": sorted(meta["details"]),
    }


def test_a_client_written_from_the_document_does_the_main_job(service: RunningService) -> None:
    ours = service.admit("Reporter", region="US")
    (subject,) = ours.tokenise([BORROWER])
    ours.call("POST", "/v1/records", data=record_body(subject, "A-1"))

    member_id, code = admit(service)
    with ForeignBank(service.url, member_id) as bank:
        logs = {"03-enrolment": bank.enrol(code)}
        token, logs["05-evaluate"] = bank.tokenise(BORROWER)
        assert token == subject
        granted, logs["08-consent"] = bank.call("POST", "/v1/consents", consent_body(token))
        assert granted.status_code == 201, granted.text
        receipt = granted.json()["consent_receipt"]
        (service_key,) = bank.service_keys.values()
        assert foreign.open_jws(service_key, receipt, "cs-consent+jwt")["recipient"] == member_id
        reported, logs["09-record"] = bank.call("POST", "/v1/records", record_body(token, "F-1"))
        assert reported.status_code == 201, reported.text

        question = {
            "subject": token,
            "purpose": "pre_loan",
            "consent_id": granted.json()["consent_id"],
            "scopes": ["defaults", "amounts"],
        }
        answered, logs["10-query"] = bank.call("POST", "/v1/queries", question, key="q-1")
        assert canonical(answered.json()) == answered.content
        assert [record["own"] for record in answered.json()["records"]] == [False, True]
        assert answered.json()["summary"]["lenders"] == 1
        again, logs["11-query-again"] = bank.call("POST", "/v1/queries", question, key="q-1")
        assert (again.content, again.headers["Idempotent-Replayed"]) == (answered.content, "true")
        refused, logs["12-query-refused"] = bank.call("POST", "/v1/queries", {**question, "purpose": "restructuring"})
        assert (refused.status_code, refused.json()["code"]) == (403, "purpose_not_allowed")

        for name, log in logs.items():
            assert log is not None, name
            bank.prove(log)
            vector = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
            assert shape(log["meta"]) == shape(vector["event"]["commitments"]["meta"]["payload"]), name
        answers = {"08-consent": granted, "09-record": reported, "10-query": answered, "12-query-refused": refused}
        for name, got in answers.items():
            vector = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
            assert set(got.json()) == set(json.loads(vector["answer"]["body"])), name


def test_a_read_without_an_event_is_signed_and_a_stranger_is_not_answered(service: RunningService) -> None:
    member_id, code = admit(service)
    with ForeignBank(service.url, member_id) as bank:
        bank.enrol(code)
        got, log = bank.call("GET", "/v1/me")
        assert (got.json()["kid"], log) == (bank.kid, None)
        bank.secret += 1
        refused, _, _ = bank.send("GET", "/v1/me")
        assert (refused.status_code, refused.json()["code"]) == (401, "signature_invalid")
        assert "CS-Signature" not in refused.headers
