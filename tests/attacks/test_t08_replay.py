"""T8, replay: somebody who recorded requests that were truly signed, and sends them, or parts of them, again.

It must not get: an act done twice; an answer told again to a request that was used; one key's answer for another
question; a proof of possession or an enrolment code that serves twice.

Elsewhere: ``promises/test_signed.py`` (copies and malleated twins, 64 at once over three workers),
``stories/test_repeats.py`` (honest retries after suspension, correction, erasure), ``client/test_retries.py``.
"""

import json
from collections import Counter
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.fixtures.attack import BORROWER, ask, at_once, attempt, grant
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.crypto.jws import SigningKey


@pytest.fixture(scope="module")
def lender(shared_service: RunningService) -> Client:
    return shared_service.admit("Lender", region="US")


def code_of(client: Client, request: Any) -> str:
    answer = client.send(request)
    return "done" if answer.status < 400 else str(answer.data["code"])


def test_a_used_request_stays_used_whatever_happens_to_its_member_and_key(service: RunningService) -> None:
    asker, operator = service.admit("Asker", region="US"), service.client(service.operators[0])
    (subject,) = asker.tokenise([BORROWER])
    consent = grant(asker, subject)
    body = {"subject": subject, "purpose": "pre_loan", "consent_id": consent, "scopes": ["defaults"]}
    used = asker.sign("POST", "/v1/queries", data=body)
    assert code_of(asker, used) == "done"
    assert code_of(asker, used) == "replay_detected"
    refused = asker.sign("GET", "/v1/records/rec_01900000-0000-7000-8000-000000000000")
    assert [code_of(asker, refused) for _ in range(2)] == ["not_found", "replay_detected"]
    mine = asker.session.signer
    operator.call("POST", f"/v1/members/{mine.member_id}/suspension", data={"reason": "review"})
    assert code_of(asker, used) == "replay_detected"
    operator.call("POST", f"/v1/members/{mine.member_id}/keys/{mine.key.kid}/revocation", data={"reason": "compromise"})
    assert code_of(asker, used) == "key_revoked"
    with service.superuser() as database:
        assert database.execute("SELECT sum(uses) FROM consent").fetchone() == (1,)


def test_one_idempotency_key_names_one_act(lender: Client) -> None:
    (subject,) = lender.tokenise([BORROWER])
    record = record_body(subject, "K-1")
    first = lender.call("POST", "/v1/records", data=record, key="k")
    assert lender.call("POST", "/v1/records", data=record, key="k").body == first.body
    assert attempt(lender, "POST", "/v1/records", {**record, "account_ref": "K-2"}, key="k") == "idempotency_mismatch"
    withdrawal = f"/v1/records/{first['record_id']}/withdrawal"
    assert attempt(lender, "POST", withdrawal, {"reason": "duplicate"}, key="k") == "done"
    assert lender.call("POST", "/v1/records", data=record, key="k").body == first.body, "told, not done again"
    assert attempt(lender, "POST", withdrawal, {"reason": "duplicate"}) == "state_conflict"


def test_equal_bodies_on_two_routes_do_not_answer_for_each_other(lender: Client) -> None:
    (subject,) = lender.tokenise([BORROWER])
    consent = grant(lender, subject, document=b"routes")
    states = [
        lender.call("POST", f"/v1/consents/{consent}/{change}", data={}, key="same")["status"]
        for change in ("pause", "resumption", "revocation")
    ]
    assert states == ["paused", "active", "revoked"]
    assert ask(lender, subject, consent) == "consent_revoked"


def test_a_host_header_does_not_move_an_idempotency_key(lender: Client) -> None:
    """Nobody signs the Host header, so what a key belongs to must not be read from it."""
    (subject,) = lender.tokenise([BORROWER])
    record = record_body(subject, "H-1")
    ids = []
    for host in ("one.example", "two.example/elsewhere", "three.example?x=", "four.example#x"):
        request = lender.sign("POST", "/v1/records", data=record, key="host")
        got = httpx.post(lender.issuer + request.path, content=request.body, headers={**request.headers, "Host": host})
        assert got.status_code == 201, got.text
        ids.append(got.json()["record_id"])
    assert len(set(ids)) == 1


def test_a_parallel_retry_is_done_once(lender: Client) -> None:
    (subject,) = lender.tokenise([BORROWER])
    record = record_body(subject, "P-1")

    def send(_: int) -> tuple[int, bytes]:
        answer = lender.send(lender.sign("POST", "/v1/records", data=record, key="parallel"))
        return answer.status, answer.body if answer.status == 201 else b""

    answers = Counter(at_once(8, send))
    assert len([answer for answer in answers if answer[0] == 201]) == 1
    assert {status for status, _ in answers} <= {201, 409}


def enrolling(service: RunningService, name: str) -> tuple[str, str]:
    first, second = (service.client(operator) for operator in service.operators)
    proposed = first.call("POST", "/v1/members", data={"name": name, "role": "lender", "region": "US"})
    member, terms = str(proposed["member_id"]), {"action": "admission"}
    approved = second.call("POST", f"/v1/members/{member}/approvals", data=terms, if_match=proposed.version)
    return member, str(approved["enrolment_code"])


def enrol(
    service: RunningService, member: str, code: str, key: SigningKey, *, header: str | None = None
) -> httpx.Response:
    with Client(service.url, Identity(member, key)) as client:
        proof = client.session.proof_for(key)
    return send_proof(service, member, code, key, proof, header=header or uuid4().hex)


def send_proof(
    service: RunningService, member: str, code: str, key: SigningKey, proof: str, *, header: str
) -> httpx.Response:
    return httpx.post(
        f"{service.url}/v1/members/{member}/keys",
        json={"jwk": dict(key.public_jwk), "proof": proof, "enrolment_code": code},
        headers={"Idempotency-Key": header},
    )


def test_two_keys_that_enrol_at_once_with_one_code_leave_one(shared_service: RunningService) -> None:
    member, code = enrolling(shared_service, "Racer")
    keys = [SigningKey.generate() for _ in range(6)]
    got = at_once(6, lambda number: enrol(shared_service, member, code, keys[number]))
    assert Counter(answer.status_code for answer in got) == {201: 1, 403: 5}
    with shared_service.superuser() as database:
        count = database.execute("SELECT count(*) FROM member_key WHERE member_id = %s", [member[4:]]).fetchone()
    assert count == (1,)


def test_a_recorded_enrolment_gives_nothing_to_who_lacks_the_code(shared_service: RunningService) -> None:
    member, code = enrolling(shared_service, "Recorded")
    key = SigningKey.generate()
    done = enrol(shared_service, member, code, key, header="seen")
    assert done.status_code == 201
    with Client(shared_service.url, Identity(member, key)) as client:
        proof = client.session.proof_for(key)
    for guess in ("", "guess", code[:-1], code.swapcase()):
        got = send_proof(shared_service, member, guess, key, proof, header="seen")
        assert (got.status_code, got.json()["code"]) == (403, "enrolment_code_invalid")
    again = send_proof(shared_service, member, code, key, proof, header="other")
    assert again.json()["code"] == "enrolment_code_invalid"
    changed = send_proof(shared_service, member, code, SigningKey.generate(), proof, header="seen")
    assert changed.json()["code"] == "idempotency_mismatch"


def test_a_proof_of_one_member_enrols_no_key_for_another(shared_service: RunningService) -> None:
    mine, _ = enrolling(shared_service, "Mine")
    other, code = enrolling(shared_service, "Other")
    key = SigningKey.generate()
    with Client(shared_service.url, Identity(mine, key)) as client:
        proof = client.session.proof_for(key)
    got = send_proof(shared_service, other, code, key, proof, header=uuid4().hex)
    assert (got.status_code, got.json()["code"]) == (403, "proof_invalid")


def test_a_guessed_code_names_no_member(shared_service: RunningService) -> None:
    known, _ = enrolling(shared_service, "Known")
    looks = []
    for member in (known, "mem_01900000-0000-7000-8000-000000000000", "mem_x"):
        got = enrol(shared_service, member, "guess", SigningKey.generate())
        document = {k: v for k, v in json.loads(got.text).items() if k not in {"request_id", "instance"}}
        looks.append((got.status_code, sorted(got.headers), document, len(got.content)))
    assert all(look == looks[0] for look in looks)
