"""A repeated request under one idempotency key: the same bytes, judged anew by who asks and what still exists."""

import json
from typing import Any

import pytest
from tests.fixtures.erasures import erase
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client, Problem

BORROWER = "91999999DEM0000306"


def code_of(client: Client, path: str, data: dict[str, Any], key: str) -> str:
    with pytest.raises(Problem) as caught:
        client.call("POST", path, data=data, key=key)
    return caught.value.code


@pytest.mark.parametrize("erased", ["record", "borrower"])
def test_a_late_retry_after_erasure_is_told_so_and_does_nothing(service: RunningService, erased: str) -> None:
    lender = service.admit("Lender", region="US")
    (subject,) = lender.tokenise([BORROWER])
    body = record_body(subject, "A-1")
    record_id = lender.call("POST", "/v1/records", data=body, key="report-1").data["record_id"]
    erase(service, record_id, whole_borrower=erased == "borrower")
    assert code_of(lender, "/v1/records", body, "report-1") == "erased"
    with service.superuser() as database:
        left = database.execute("SELECT count(*) FROM record_secret").fetchone()
    assert left == (0,)


def test_a_suspended_member_is_not_told_again_what_it_may_not_ask(service: RunningService) -> None:
    lender = service.admit("Lender", region="US")
    (subject,) = lender.tokenise([BORROWER])
    report = record_body(subject, "A-1")
    record_id = lender.call("POST", "/v1/records", data=report, key="report-1").data["record_id"]
    consent = lender.grant_consent(subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"x")
    question = {
        "subject": subject,
        "purpose": "pre_loan",
        "consent_id": consent["consent_id"],
        "scopes": ["defaults"],
    }
    lender.call("POST", "/v1/queries", data=question, key="ask-1")
    assert lender.identity is not None
    operator = service.client(service.operators[0])
    operator.call("POST", f"/v1/members/{lender.identity.member_id}/suspension", data={"reason": "review"})
    assert code_of(lender, "/v1/records", report, "report-1") == "member_suspended"
    assert code_of(lender, "/v1/queries", question, "ask-1") == "member_suspended"
    change = {"reason": "wrong_amount", "changes": {"original_amount": "1.00"}}
    assert lender.call("POST", f"/v1/records/{record_id}/corrections", data=change).status == 200


def test_a_repeated_question_says_that_its_answer_no_longer_holds(service: RunningService) -> None:
    lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
    (subject,) = lender.tokenise([BORROWER])
    asker.tokenise([BORROWER])
    record_id = lender.call("POST", "/v1/records", data=record_body(subject, "A-1")).data["record_id"]
    consent = asker.grant_consent(subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"x")
    first = asker.query(subject, purpose="pre_loan", consent_id=consent["consent_id"], key="ask-1")
    lender.call("POST", f"/v1/records/{record_id}/withdrawal", data={"reason": "reported_in_error"})
    again = asker.query(subject, purpose="pre_loan", consent_id=consent["consent_id"], key="ask-1")
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["cs-superseded"] == "withdrawn"


def test_a_refused_question_is_logged_with_its_purpose(service: RunningService) -> None:
    asker = service.admit("Asker", region="US")
    (subject,) = asker.tokenise([BORROWER])
    with pytest.raises(Problem) as caught:
        asker.query(subject, purpose="restructuring", consent_id="cns_01900000-0000-7000-8000-000000000000")
    entry = caught.value.answer.log_entry
    assert entry is not None
    meta = json.loads(entry.meta)
    assert (meta["action"], meta["outcome"], meta["purpose"]) == ("run_query", "consent_missing", "restructuring")
