"""T14, a poisoning member: reports what is false, takes back what others reported, or forges what was said.

It must not get: a hand on another lender's record; a report where it is not admitted, without its borrower's notice
where the law asks for one, or for a day to come; an evidence package that verifies although somebody made it up.

A lender that lies about a fact of its own is not stopped by any of this: it has signed the lie, and the package shows
who did. Objections by borrowers come later.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.attack import BORROWER, UNKNOWN, ask, attempt, grant
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client
from creditshare.client.core import SignedAnswer
from creditshare.client.evidence import Evidence
from creditshare.crypto.digests import content_digest
from creditshare.crypto.jws import SigningKey
from creditshare.errors import CreditshareError, Malformed, VerificationFailed
from creditshare.wire.answers import sign_answer
from creditshare.wire.strict_json import canonical

DIGEST = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"


def day(offset: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=offset)).isoformat()


FALSE_REPORTS: dict[str, tuple[dict[str, Any], str]] = {
    "where it is not admitted": ({"region": {"scheme": "ISO 3166-2", "code": "CN-31"}}, "jurisdiction_not_admitted"),
    "a default to come": ({"default_on": day(3)}, "validation_failed"),
    "without a basis": ({"public_ref": None}, "validation_failed"),
    "by a consent nobody gave": (
        {"lawful_basis": "consent", "provide_consent_id": "cns_01900000-0000-7000-8000-000000000000"},
        "consent_missing",
    ),
    "by a consent to ask": ({"lawful_basis": "consent", "provide_consent_id": "QUERY"}, "consent_missing"),
    "the firm's number as reference": ({"account_ref": BORROWER}, "validation_failed"),
    "the firm's number, disguised": ({"account_ref": " ".join(BORROWER.lower())}, "validation_failed"),
    "the firm's number in wide letters": (
        {"public_ref": "".join(chr(ord(c) + 0xFEE0) for c in BORROWER)},
        "validation_failed",
    ),
    "text that turns around": ({"account_ref": "loan\u202e1000"}, "validation_failed"),
    "text nobody sees": ({"account_ref": "loan\u200b1"}, "validation_failed"),
    "text that steers": ({"public_ref": "x\u001b[2J"}, "validation_failed"),
    "more money than there is": ({"original_amount": "9" * 17}, "validation_failed"),
    "less than nothing": ({"original_amount": "-1.00"}, "validation_failed"),
}


@pytest.fixture(scope="module")
def poisoner(shared_service: RunningService) -> Client:
    return shared_service.admit("Poisoner", region="US")


@pytest.mark.parametrize("name", FALSE_REPORTS)
def test_such_a_report_is_refused(poisoner: Client, name: str) -> None:
    changes, code = FALSE_REPORTS[name]
    (subject,) = poisoner.tokenise([BORROWER])
    if changes.get("provide_consent_id") == "QUERY":
        changes = {**changes, "provide_consent_id": grant(poisoner, subject)}
    assert attempt(poisoner, "POST", "/v1/records", record_body(subject, name[:20]) | changes) == code


def test_an_account_is_reported_once(poisoner: Client) -> None:
    (subject,) = poisoner.tokenise([BORROWER])
    record = record_body(subject, "once")
    assert attempt(poisoner, "POST", "/v1/records", record) == "done"
    assert attempt(poisoner, "POST", "/v1/records", {**record, "outstanding_principal": "1.00"}) == "state_conflict"


def test_anothers_record_stays_as_it_is(shared_service: RunningService, poisoner: Client) -> None:
    lender = shared_service.admit("Lender", region="US")
    (subject,) = lender.tokenise([UNKNOWN])
    poisoner.tokenise([UNKNOWN])
    record = lender.call("POST", "/v1/records", data=record_body(subject, "A-1"))["record_id"]
    for path, body in {
        "withdrawal": {"reason": "court_order"},
        "corrections": {"reason": "other", "changes": {"outstanding_principal": "0.00"}},
        "events": {"kind": "settled_full", "on": day(0)},
    }.items():
        assert attempt(poisoner, "POST", f"/v1/records/{record}/{path}", body) == "not_found"
    assert ask(poisoner, subject, grant(poisoner, subject)) == "1 defaults"


def test_a_withdrawn_record_does_not_come_back(poisoner: Client) -> None:
    (subject,) = poisoner.tokenise([BORROWER])
    record = poisoner.call("POST", "/v1/records", data=record_body(subject, "gone"))["record_id"]
    assert attempt(poisoner, "POST", f"/v1/records/{record}/withdrawal", {"reason": "duplicate"}) == "done"
    for path, body in {
        "withdrawal": {"reason": "duplicate"},
        "corrections": {"reason": "other", "changes": {"outstanding_principal": "5.00"}},
        "events": {"kind": "default", "on": day(0)},
    }.items():
        assert attempt(poisoner, "POST", f"/v1/records/{record}/{path}", body) == "state_conflict"


def test_where_a_notice_is_due_nothing_shows_before_its_time(service: RunningService) -> None:
    lender, asker = service.admit("Lender"), service.admit("Asker")
    (subject,) = lender.tokenise([BORROWER])
    asker.tokenise([BORROWER])
    report = record_body(
        subject,
        "A-1",
        region={"scheme": "GB/T 2260", "code": "310000"},
        currency="CNY",
        lawful_basis="legal_duty",
        public_ref=None,
    )
    assert attempt(lender, "POST", "/v1/records", report) == "notice_required"
    for sent_on in (day(3), day(-200)):
        notice = {"sent_on": sent_on, "channel": "post", "evidence_digest": DIGEST}
        assert attempt(lender, "POST", "/v1/records", {**report, "notice": notice}) in {
            "validation_failed",
            "notice_required",
        }
    notice = {"sent_on": day(0), "channel": "post", "evidence_digest": DIGEST}
    assert attempt(lender, "POST", "/v1/records", {**report, "notice": notice}) == "done"
    assert ask(asker, subject, grant(asker, subject)) == "0 defaults"


# Evidence


@pytest.fixture(scope="module")
def package(poisoner: Client) -> Evidence:
    """A true package: the lender reported, the service acknowledged, the log holds it."""
    (subject,) = poisoner.tokenise([BORROWER])
    return poisoner.evidence(poisoner.call("POST", "/v1/records", data=record_body(subject, "evidence")))


FORGERIES: dict[str, Callable[[Evidence], Evidence]] = {
    "another sum": lambda e: replace(e, request_body=e.request_body.replace(b"98000.00", b"98000.01")),
    "no request body": lambda e: replace(e, request_body=b""),
    "another answer": lambda e: replace(e, answer_body=e.answer_body.replace(b"98000.00", b"98000.01")),
    "no answer body": lambda e: replace(e, answer_body=b""),
    "another status": lambda e: replace(e, status=200),
    "another service": lambda e: replace(e, issuer="https://elsewhere.example"),
    "another member's key": lambda e: replace(e, member_jwk=dict(SigningKey.generate().public_jwk)),
    "another service's keys": lambda e: replace(
        e, service_jwks={"keys": [{**SigningKey.generate().public_jwk, "kid": "x", "alg": "ES256"}]}
    ),
    "no service keys": lambda e: replace(e, service_jwks={"keys": []}),
    "answer and request exchanged": lambda e: replace(e, request_token=e.answer_token, answer_token=e.request_token),
    "the proof of another leaf": lambda e: replace(e, proof={**(e.proof or {}), "leaf_hash": "A" * 43}),
    "the proof at another index": lambda e: replace(e, proof={**(e.proof or {}), "index": 0}),
    "a proof without its path": lambda e: replace(e, proof={**(e.proof or {}), "hashes": []}),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_changed_package_does_not_verify(package: Evidence, name: str) -> None:
    assert package.verify()
    with pytest.raises(CreditshareError):
        FORGERIES[name](package).verify()


def test_a_body_taken_out_of_an_exchange_without_event_is_missed(poisoner: Client) -> None:
    """No leaf commits to a replay's refusal, so only the request's own digest can tell."""
    (subject,) = poisoner.tokenise([BORROWER])
    request = poisoner.sign("POST", "/v1/records", data=record_body(subject, "twice"))
    poisoner.send(request)
    refused = poisoner.send(request)
    assert refused.log_entry is None
    whole = evidence_of(poisoner, refused)
    assert whole.verify()
    for body in (b"", b"{}"):
        with pytest.raises(VerificationFailed, match="body"):
            replace(whole, request_body=body).verify()


def evidence_of(client: Client, answer: SignedAnswer) -> Evidence:
    return Evidence.of(
        answer,
        issuer=client.issuer,
        member_jwk=dict(client.session.signer.key.public_jwk),
        service_jwks=client.service_jwks,
        log_vkey=str(client.discovery["log"]["vkey"]),
    )


def test_an_exchange_that_never_happened_is_known_by_its_keys(poisoner: Client, package: Evidence) -> None:
    """Whoever plays the service with keys of its own makes a package that agrees with itself, and with nothing else."""
    (subject,) = poisoner.tokenise([BORROWER])
    request = poisoner.sign("POST", "/v1/queries", data={"subject": subject})
    body, mine = canonical({"match": "none"}), SigningKey.generate()
    token = sign_answer(
        mine,
        issuer=poisoner.issuer,
        audience=poisoner.session.signer.member_id,
        iat=0,
        jti="0" * 16,
        rqh=request.rqh,
        status=200,
        body=body,
        log=None,
    )
    forged = replace(
        package,
        request_token=request.token,
        request_body=request.body,
        status=200,
        answer_token=token,
        answer_body=body,
        service_jwks={"keys": [dict(mine.public_jwk)]},
        proof=None,
    )
    known = [jwk["kid"] for jwk in poisoner.service_jwks["keys"]]
    assert any(line.startswith("trust: by the keys in this package") for line in forged.verify())
    with pytest.raises(VerificationFailed, match="as you know them"):
        forged.verify(service_kids=known)
    assert package.verify(service_kids=known, log_vkey=package.log_vkey)
    with pytest.raises(VerificationFailed, match="not the one that you know"):
        package.verify(service_kids=known, log_vkey="other+00000000+AAAA")


FILES: dict[str, Callable[[str], str]] = {
    "another kind": lambda text: text.replace("evidence/v1", "evidence/v2"),
    "no kind": lambda text: text.replace('"kind"', '"sort"'),
    "a member twice": lambda text: text.replace('"issuer"', '"issuer": "https://a.example", "issuer"', 1),
    "a status as text": lambda text: text.replace('"status": 201', '"status": "201"'),
    "a body in another spelling": lambda text: text.replace('"body": "', '"body": "\\n', 1),
    "a byte order mark": lambda text: "\ufeff" + text,
    "nested too deep": lambda text: text.replace('"proof": {', '"proof": {"x": ' + "[" * 99 + "]" * 99 + ",", 1),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_two_readers_could_read_differently_is_refused(
    package: Evidence, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "evidence.json"
    package.save(file)
    whole = file.read_text()
    assert Evidence.load(file).verify()
    file.write_text(FILES[name](whole))
    assert file.read_text() != whole
    with pytest.raises(Malformed):
        Evidence.load(file)


def test_the_lie_is_signed(package: Evidence) -> None:
    """Who reported a default cannot deny it: the package binds the very words to its key."""
    said = json.loads(package.request_body)
    claims = json.loads(base64.urlsafe_b64decode(package.request_token.split(".")[1] + "=="))
    assert said["outstanding_principal"] == "98000.00"
    assert claims["cdg"] == content_digest(package.request_body)
