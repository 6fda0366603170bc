"""Both transports over real sockets against the real service: the same flows, the same results."""

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fixtures.service import RunningService, record_body
from tests.fixtures.simulated_service import ISSUER, MEMBER, SimulatedService

from creditshare.client import AsyncClient, Client, ConsentRefused, Evidence, InvalidRequest, Problem
from creditshare.client.core import Identity
from creditshare.crypto.digests import content_digest
from creditshare.crypto.encoding import b64url_decode
from creditshare.crypto.jws import SigningKey
from creditshare.errors import Malformed, Unavailable, VerificationFailed

BORROWER = "91999999DEM000014G"


class Awaited:
    """The async client as if it blocked, so that one test can be run with both."""

    def __init__(self, target: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._target, self._loop = target, loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return Awaited(found, self._loop) if name in {"consents", "records", "queries", "keys"} else found

        def run(*args: Any, **kwargs: Any) -> Any:
            awaitable: Awaitable[Any] = found(*args, **kwargs)
            return self._loop.run_until_complete(awaitable)

        return run


@pytest.fixture(params=["blocking", "async"])
def bank(request: pytest.FixtureRequest, shared_service: RunningService) -> Any:
    admitted = shared_service.admit("Bank", region="US")
    if request.param == "blocking":
        yield admitted
        return
    loop = asyncio.new_event_loop()
    client = AsyncClient(shared_service.url, admitted.identity)
    yield Awaited(client, loop)
    loop.run_until_complete(client.close())
    loop.close()


@pytest.fixture
def document(tmp_path: Path) -> Path:
    file = tmp_path / "signed.pdf"
    file.write_bytes(b"%PDF a signed consent")
    return file


def facts(account: str) -> dict[str, Any]:
    return {name: value for name, value in record_body({}, account).items() if name != "subject"}


def test_a_consent_a_question_and_a_receipt(bank: Any, document: Path) -> None:
    consent = bank.consents.grant(
        uscc=BORROWER, kind="query", purposes=["pre_loan"], scopes=["defaults"], evidence=document, valid_days=30
    )
    assert consent["status"] == "active"
    assert consent.receipt.verify()
    answer = bank.queries.run(uscc=BORROWER, purpose="pre_loan", consent=consent)
    assert any("exactly this request" in line for line in answer.receipt.verify())
    assert bank.queries.show(answer["query_id"]).body == answer.body
    with pytest.raises(VerificationFailed):
        replace(answer.receipt, answer_body=answer.body + b" ").verify()
    assert bank.consents.pause(consent["consent_id"])["status"] == "paused"
    with pytest.raises(ConsentRefused) as caught:
        bank.queries.run(uscc=BORROWER, purpose="pre_loan", consent=consent)
    assert caught.value.code == "consent_paused"
    assert caught.value.signed
    assert caught.value.answer.receipt.verify()
    assert bank.consents.resume(consent["consent_id"])["status"] == "active"
    assert bank.consents.revoke(consent["consent_id"])["status"] == "revoked"
    assert bank.consents.show(consent["consent_id"])["uses"] == 1


def test_the_salt_that_is_kept_opens_the_digest_that_was_sent(bank: Any, document: Path) -> None:
    bank.consents.grant(uscc=BORROWER, kind="query", purposes=["pre_loan"], scopes=["defaults"], evidence=document)
    file = document.with_name("signed.pdf.salts.ndjson")
    (kept,) = [json.loads(line) for line in file.read_text().splitlines()]
    assert content_digest(b64url_decode(kept["salt"]) + document.read_bytes()) == kept["digest"]
    assert file.stat().st_mode & 0o077 == 0


def test_the_life_of_a_record(bank: Any) -> None:
    (subject,) = bank.tokenise([BORROWER])
    record = bank.records.submit(facts("A-1"), subject=subject)
    record_id = record["record_id"]
    assert record.receipt.verify()
    corrected = bank.records.correct(record_id, changes={"outstanding_principal": "1.00"}, reason="wrong_amount")
    assert corrected["corrected"]
    assert bank.records.show(record_id)["outstanding_principal"] == "1.00"
    settled = bank.records.advance(record_id, kind="settled_full", on=facts("A-1")["default_on"])
    assert settled["ended_on"]
    assert bank.records.withdraw(record_id, reason="duplicate")["status"] == "withdrawn"
    with pytest.raises(InvalidRequest) as caught:
        bank.records.submit({**facts("A-2"), "currency": "usd"}, subject=subject)
    assert [error["pointer"] for error in caught.value.fields] == ["/currency"]


def test_a_key_is_followed_by_another(bank: Any, shared_service: RunningService) -> None:
    identity, new = bank.session.signer, SigningKey.generate()
    assert bank.keys.register(new)["status"] == "active"
    with Client(shared_service.url, replace(identity, key=new)) as successor:
        with pytest.raises(Problem) as caught:
            successor.keys.revoke(identity.key.kid, reason="rotation")
        assert caught.value.code == "state_conflict"  # a thief's key could lock the member out
        assert bank.keys.revoke(identity.key.kid, reason="rotation")["status"] == "revoked"
        assert {k["kid"]: k["status"] for k in successor.keys.list()} == {
            identity.key.kid: "revoked",
            new.kid: "active",
        }


def test_evidence_is_packed_with_its_proof_and_verifies_elsewhere(bank: Any, document: Path, tmp_path: Path) -> None:
    consent = bank.consents.grant(
        uscc=BORROWER, kind="query", purposes=["pre_loan"], scopes=["defaults"], evidence=document
    )
    answer = bank.queries.run(uscc=BORROWER, purpose="pre_loan", consent=consent)
    bank.evidence(answer).save(tmp_path / "e.json")
    assert any("leaf" in line and " of " in line for line in Evidence.load(tmp_path / "e.json").verify())


@pytest.mark.parametrize("named", [{}, {"uscc": BORROWER, "lei": "x"}])
def test_a_borrower_is_named_exactly_once(bank: Any, named: dict[str, str]) -> None:
    with pytest.raises(Malformed, match="exactly one"):
        bank.records.submit(facts("A-1"), **named)


def test_a_service_that_is_not_there(shared_service: RunningService) -> None:
    with pytest.raises(Unavailable, match="ConnectError"):
        Client("http://127.0.0.1:9", shared_service.operators[0])


def test_enrolment_with_a_wrong_code_is_a_problem(shared_service: RunningService) -> None:
    member = shared_service.admit("Enrolled", region="US").identity
    assert member is not None
    with (
        Client(shared_service.url, replace(member, key=SigningKey.generate())) as stranger,
        pytest.raises(Problem) as caught,
    ):
        stranger.enrol("not-a-code")
    assert caught.value.code == "enrolment_code_invalid"


def test_who_speaks_for_many_members_reads_the_service_once() -> None:
    simulated = SimulatedService()
    read: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        read.append(request.url.path)
        return simulated.answer(request)

    first, second = (Identity(MEMBER, SigningKey.generate(), name) for name in ("one", "other"))
    with Client(ISSUER, first, transport=httpx.MockTransport(answer)) as client:
        other = client.acting_for(second)
        client.call("GET", "/v1/me")
        other.call("GET", "/v1/me")
        other.records.show("rec_1")
    assert [claims["sub"] for claims in simulated.claims] == ["one", "other", "other"]
    assert read == ["/.well-known/creditshare", "/.well-known/jwks.json", "/v1/me", "/v1/me", "/v1/records/rec_1"]
