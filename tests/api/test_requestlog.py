"""Each request leaves one line and one measurement, with its member and code, and with no address of a borrower."""

import json

import httpx
import pytest
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Problem

BORROWER = "91999999DEM000022B"


def requests(text: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == "request"]


@pytest.mark.slow
def test_one_line_for_each_request(shared_service: RunningService, capfd: pytest.CaptureFixture[str]) -> None:
    lender = shared_service.admit("Lender", region="US")
    assert lender.identity is not None
    (subject,) = lender.tokenise([BORROWER])
    capfd.readouterr()
    record = lender.call("POST", "/v1/records", data=record_body(subject, "A-1")).data
    lender.call("GET", f"/v1/records/{record['record_id']}")
    with pytest.raises(Problem):
        lender.call("GET", "/v1/records/rec_01J8ZQ5V7E2W3")
    httpx.get(shared_service.url + "/v1/me")
    httpx.get(shared_service.url + f"/v1/unknown/{BORROWER}")
    httpx.get(shared_service.url + "/healthz")
    text = capfd.readouterr().err
    told = requests(text)
    assert [(line["action"], line["status"], line.get("code")) for line in told] == [
        ("submit_record", 201, None),
        ("show_record", 200, None),
        ("show_record", 404, "not_found"),
        ("show_me", 401, "token_missing"),
        ("unmatched", 404, "not_found"),
    ]
    assert [line.get("member_id") for line in told] == [lender.identity.member_id] * 3 + [None] * 2
    assert all(line["request_id"] and float(str(line["duration_ms"])) > 0 for line in told)
    assert record["record_id"] not in text
    assert BORROWER not in text


@pytest.mark.slow
def test_refusals_and_waits_are_measured(shared_service: RunningService) -> None:
    httpx.get(shared_service.url + "/v1/me")
    told = httpx.get(shared_service.url + "/metrics").text
    # Known before it ever happens, so that an alarm sees the first one.
    assert 'creditshare_refusals_total{code="enumeration_suspected"}' in told
    assert 'creditshare_refusals_total{code="token_missing"} 0.0' not in told
    for name in (
        'creditshare_request_seconds_count{action="show_me",status="401"}',
        'creditshare_refusals_total{code="token_missing"}',
        "creditshare_database_wait_seconds_count",
        "creditshare_log_checkpoint_age_seconds",
        "creditshare_key_table_age_seconds",
        "creditshare_log_size",
    ):
        assert name in told
