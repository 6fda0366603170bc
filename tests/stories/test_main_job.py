"""The whole job over real sockets: consent, blind token, default, question, receipt, proof."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Problem
from creditshare.ids import parse
from creditshare.tlog.note import Verifier
from creditshare.tlog.proof import InclusionProof

BORROWER = "91999999DEM000014G"


def refused(act: Callable[[], Any]) -> str:
    with pytest.raises(Problem) as caught:
        act()
    return caught.value.code


def test_a_default_reported_blind_is_seen_with_consent_and_provable(service: RunningService) -> None:
    reporter, asker = service.admit("Reporter", region="US"), service.admit("Asker", region="US")
    (subject,) = reporter.tokenise([BORROWER])
    assert asker.tokenise([BORROWER]) == [subject]
    record = reporter.call("POST", "/v1/records", data=record_body(subject, "A-1")).data
    assert record["status"] == "default"
    consent = asker.grant_consent(
        subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed", max_uses=2
    )
    answer = asker.query(subject, purpose="pre_loan", consent_id=consent["consent_id"])
    assert answer.data["match"] == "records"
    assert answer.data["summary"] == {
        "exposure_band": "50k_to_200k",
        "lenders": 1,
        "open_defaults": 1,
        "worst_bucket": "d180",
    }
    assert "amounts" not in answer.data["records"][0]
    again = asker.call("GET", f"/v1/queries/{answer.data['query_id']}")
    assert again.body == answer.body
    assert "cs-superseded" not in again.headers
    proof = asker.inclusion_proof(answer.log_entry.event_id if answer.log_entry else "")
    assert proof is not None
    InclusionProof.from_dict(proof).verify([Verifier.parse(asker.discovery["log"]["vkey"])])
    assert asker.evidence(answer).verify()

    reporter.call("POST", f"/v1/records/{record['record_id']}/withdrawal", data={"reason": "reported_in_error"})
    assert asker.call("GET", f"/v1/queries/{answer.data['query_id']}").headers["cs-superseded"] == "withdrawn"
    after = asker.query(subject, purpose="pre_loan", consent_id=consent["consent_id"])
    assert after.data["match"] == "none"

    def use_three() -> object:
        return asker.query(subject, purpose="pre_loan", consent_id=consent["consent_id"])

    assert refused(use_three) == "consent_exhausted"


def test_a_retry_gets_the_same_bytes_and_uses_nothing_twice(service: RunningService) -> None:
    lender = service.admit("Lender", region="US")
    (subject,) = lender.tokenise([BORROWER])
    body = record_body(subject, "A-1")
    first = lender.call("POST", "/v1/records", data=body, key="retry-1")
    second = lender.call("POST", "/v1/records", data=body, key="retry-1")
    assert second.body == first.body
    assert second.headers["idempotent-replayed"] == "true"
    other = record_body(subject, "A-2")
    assert refused(lambda: lender.call("POST", "/v1/records", data=other, key="retry-1")) == "idempotency_mismatch"
    consent = lender.grant_consent(
        subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"x", max_uses=1
    )
    asked = lender.query(subject, purpose="pre_loan", consent_id=consent["consent_id"], key="q-1")
    retold = lender.query(subject, purpose="pre_loan", consent_id=consent["consent_id"], key="q-1")
    assert retold.body == asked.body
    assert retold.headers["idempotent-replayed"] == "true"


def test_a_chinese_record_is_pending_until_its_notice_window_ends(service: RunningService) -> None:
    lender, asker = service.admit("Lender", region="CN"), service.admit("Asker", region="CN")
    (subject,) = lender.tokenise([BORROWER])
    asker.tokenise([BORROWER])
    body = record_body(
        subject,
        "A-1",
        region={"scheme": "GB/T 2260", "code": "350100"},
        lawful_basis="legal_duty",
        size_class="small",
    )
    assert refused(lambda: lender.call("POST", "/v1/records", data=body)) == "notice_required"
    body["notice"] = {
        "sent_on": datetime.now(UTC).date().isoformat(),
        "channel": "post",
        "evidence_digest": "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
    }
    assert lender.call("POST", "/v1/records", data=body).data["status"] == "pending_notice"
    consent = asker.grant_consent(
        subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"x", valid_days=90
    )

    def ask() -> Any:
        return asker.query(subject, purpose="pre_loan", consent_id=consent["consent_id"]).data

    assert ask()["match"] == "none"
    service.advance(days=17)
    assert ask()["match"] == "records"


def test_rebuilding_an_answer_from_the_version_gives_the_stored_bytes(service: RunningService) -> None:
    lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
    (subject,) = lender.tokenise([BORROWER])
    asker.tokenise([BORROWER])
    record = lender.call("POST", "/v1/records", data=record_body(subject, "A-1")).data
    consent = asker.grant_consent(
        subject, kind="query", purposes=["pre_loan"], scopes=["defaults", "amounts"], document=b"x"
    )
    answer = asker.query(subject, purpose="pre_loan", consent_id=consent["consent_id"], scopes=["defaults", "amounts"])
    changes = {"reason": "wrong_amount", "changes": {"outstanding_principal": "1.00"}}
    lender.call("POST", f"/v1/records/{record['record_id']}/corrections", data=changes)
    assert asker.call("GET", f"/v1/queries/{answer.data['query_id']}").headers["cs-superseded"] == "corrected"

    async def rebuild() -> tuple[bytes, bytes]:
        async with service.services.database.reading() as session:
            return await service.services.sharing.rebuild(session, parse("qry", answer.data["query_id"]))

    stored, rebuilt = service.run(rebuild())
    assert stored == rebuilt == answer.body
