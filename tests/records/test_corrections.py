"""Reporting twice, reading back all that was reported, correcting what was wrong: and what no correction may touch."""

from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from tests.fixtures.service import RunningService, record_body

from creditshare.api.schemas.records import ChangesIn, NoticeIn, RecordIn, RecordOut
from creditshare.client.bank import Client, Problem
from creditshare.notices.rules import CHANNELS

BORROWER = "91999999DEM000014G"
DIGEST = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"


@pytest.fixture(scope="module")
def lender(shared_service: RunningService) -> Client:
    return shared_service.admit("Lender", region="US")


@pytest.fixture(scope="module")
def subject(lender: Client) -> dict[str, Any]:
    (token,) = lender.tokenise([BORROWER])
    return token


def refusal(client: Client, path: str, body: dict[str, Any]) -> Problem:
    with pytest.raises(Problem) as caught:
        client.call("POST", path, data=body)
    return caught.value


def pointers(problem: Problem) -> list[tuple[str, str]]:
    return [(one["pointer"], one["code"]) for one in problem.document["errors"]]


def test_a_second_report_of_an_account_names_the_members_own_record(
    shared_service: RunningService, lender: Client, subject: dict[str, Any]
) -> None:
    body = record_body(subject, "twice")
    record = lender.call("POST", "/v1/records", data=body).data["record_id"]
    again = refusal(lender, "/v1/records", body)
    assert (again.code, again.document["record_id"]) == ("state_conflict", record)
    # Another lender's account of the same name is another account: it learns nothing of this one.
    other = shared_service.admit("Other lender", region="US")
    (token,) = other.tokenise([BORROWER])
    assert other.call("POST", "/v1/records", data=record_body(token, "twice")).data["record_id"] != record


def test_a_lender_reads_back_every_field_that_it_reported(shared_service: RunningService) -> None:
    assert set(RecordIn.model_fields) - {"subject"} <= set(RecordOut.model_fields)
    lender = shared_service.admit("Lender of China", region="CN")
    (token,) = lender.tokenise([BORROWER])
    consent = lender.grant_consent(token, kind="provide", purposes=[], scopes=[], document=b"signed")
    today = datetime.now(UTC).date().isoformat()
    body = record_body(
        token,
        "all-fields",
        overdue_principal="90000.5",
        overdue_interest="0",
        due_on=today,
        written_off_on=today,
        written_off_amount="1.2345",
        default_reason="both",
        cause="disaster",
        guarantee="pledge",
        size_class="micro",
        industry={"scheme": "GB/T 4754-2017", "code": "C33"},
        region={"scheme": "GB/T 2260", "code": "350100"},
        lawful_basis="consent",
        provide_consent_id=consent["consent_id"],
        notice={"sent_on": today, "channel": "sms", "evidence_digest": DIGEST},
    )
    assert set(body) == set(RecordIn.model_fields)
    record = lender.call("POST", "/v1/records", data=body).data
    for told in (record, lender.call("GET", f"/v1/records/{record['record_id']}").data):
        assert {name: told[name] for name in body if name != "subject"} == {
            name: value for name, value in body.items() if name != "subject"
        }


def test_every_correctable_field_is_corrected_and_read_back(lender: Client, subject: dict[str, Any]) -> None:
    changes: dict[str, Any] = {
        "product": "lease",
        "currency": "EUR",
        "original_amount": "1.00",
        "outstanding_principal": "2.00",
        "overdue_principal": "3.00",
        "overdue_interest": "4.00",
        "opened_on": "2019-01-01",
        "due_on": "2020-01-01",
        "first_overdue_on": "2020-01-02",
        "default_on": "2020-06-01",
        "days_past_due": 361,
        "written_off_on": "2021-01-01",
        "written_off_amount": "5.00",
        "default_reason": "both",
        "cause": "fraud",
        "guarantee": "mortgage",
        "size_class": "medium",
        "industry": {"scheme": "NAICS", "code": "722511"},
        "public_ref": "register 2",
    }
    assert set(changes) == set(ChangesIn.model_fields)
    identity_and_law = {
        "subject",
        "role",
        "account_ref",
        "region",
        "lawful_basis",
        "provide_consent_id",
        "notice",
    }
    assert set(RecordIn.model_fields) - set(ChangesIn.model_fields) == identity_and_law
    record = lender.call("POST", "/v1/records", data=record_body(subject, "correct-all")).data["record_id"]
    path = f"/v1/records/{record}/corrections"
    lender.call("POST", path, data={"reason": "other", "changes": changes})
    told = lender.call("GET", f"/v1/records/{record}").data
    assert {name: told[name] for name in changes} == changes
    assert told["corrected"] is True
    lender.call("POST", path, data={"reason": "other", "changes": {"industry": None, "guarantee": None}})
    told = lender.call("GET", f"/v1/records/{record}").data
    assert (told["industry"], told["guarantee"], told["product"]) == (None, None, "lease")


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"product": "loan-shark"}, "/changes/product", "unknown_code"),
        ({"guarantee": "handshake"}, "/changes/guarantee", "unknown_code"),
        ({"industry": {"scheme": "own", "code": "1"}}, "/changes/industry/scheme", "unknown_code"),
        ({"industry": {"scheme": "NAICS", "code": "991"}}, "/changes/industry/code", "unknown_code"),
        ({"industry": {"scheme": "GB/T 4754-2017", "code": "c33"}}, "/changes/industry/code", "unknown_code"),
        ({"currency": "QQQ"}, "/changes/currency", "unknown_code"),
        ({"product": None}, "/changes/product", "required"),
        ({"currency": None}, "/changes/currency", "required"),
        ({"public_ref": None}, "/changes/public_ref", "required"),
        ({"public_ref": BORROWER}, "/changes/public_ref", "identifier"),
        ({"default_on": "2001-01-01"}, "/changes/default_on", "before_opened_on"),
        ({"default_reason": "both"}, "/changes/cause", "required"),
        ({"region": {"scheme": "ISO 3166-2", "code": "US-NY"}}, "/changes", "extra_forbidden"),
        ({"role": "guarantor"}, "/changes", "extra_forbidden"),
    ],
)
def test_a_correction_is_checked_as_on_intake(
    lender: Client, subject: dict[str, Any], changes: dict[str, Any], pointer: str, code: str
) -> None:
    account = f"checked-{pointer}-{code}-{len(str(changes))}"
    record = lender.call("POST", "/v1/records", data=record_body(subject, account)).data["record_id"]
    wrong = refusal(lender, f"/v1/records/{record}/corrections", {"reason": "other", "changes": changes})
    assert (wrong.code, (pointer, code) in pointers(wrong)) == ("validation_failed", True), wrong.document
    assert lender.call("GET", f"/v1/records/{record}").data["corrected"] is False


def test_no_correction_turns_the_person_who_was_noticed_into_a_firm(lender: Client, subject: dict[str, Any]) -> None:
    body = record_body(subject, "guarantor", role="guarantor", size_class="small")
    record = lender.call("POST", "/v1/records", data=body).data["record_id"]
    path = f"/v1/records/{record}/corrections"
    wrong = refusal(lender, path, {"reason": "other", "changes": {"size_class": None}})
    assert pointers(wrong) == [("/changes/size_class", "not_correctable")]
    lender.call("POST", path, data={"reason": "other", "changes": {"size_class": "micro"}})


def test_the_published_channels_of_a_notice_are_those_taken() -> None:
    assert get_args(NoticeIn.model_fields["channel"].annotation) == CHANNELS
