"""A loan that was cured may default again: a new record of the same account, beside the one that ended."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client, Problem


def ago(days: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=days)).isoformat()


def default(subject: dict[str, Any], days: int) -> dict[str, Any]:
    return record_body(subject, "A-1", first_overdue_on=ago(days + 100), default_on=ago(days), days_past_due=days + 100)


def report(lender: Client, subject: dict[str, Any], days: int) -> dict[str, Any]:
    done: dict[str, Any] = lender.call("POST", "/v1/records", data=default(subject, days)).data
    return done


def test_a_later_default_of_the_same_account_is_a_record_of_its_own(service: RunningService) -> None:
    lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
    (subject,) = lender.tokenise(["91999999DEM000014G"])
    asker.tokenise(["91999999DEM000014G"])
    first = report(lender, subject, 400)
    lender.call("POST", f"/v1/records/{first['record_id']}/events", data={"kind": "cured", "on": ago(300)})
    second = report(lender, subject, 50)
    assert second["record_id"] != first["record_id"]
    consent = asker.grant_consent(subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"x")
    answer = asker.query(subject, purpose="pre_loan", consent_id=consent["consent_id"]).data
    assert sorted(row["status"] for row in answer["records"]) == ["cured", "default"]
    assert answer["summary"]["open_defaults"] == 1
    with pytest.raises(Problem) as caught:
        report(lender, subject, 20)
    assert caught.value.document["record_id"] == second["record_id"]


@pytest.mark.parametrize(("ending", "days"), [(None, 50), ("cured", 300), ("cured", 301), ("sold", 50)])
def test_nothing_else_makes_way(service: RunningService, ending: str | None, days: int) -> None:
    lender = service.admit("Lender", region="US")
    (subject,) = lender.tokenise(["91999999DEM000014G"])
    first = report(lender, subject, 400)
    if ending:
        lender.call("POST", f"/v1/records/{first['record_id']}/events", data={"kind": ending, "on": ago(300)})
    with pytest.raises(Problem) as caught:
        report(lender, subject, days)
    assert caught.value.document["record_id"] == first["record_id"]


def test_a_file_is_judged_alike(service: RunningService) -> None:
    """Two ended accounts, one that still stands, one that is new: all of one borrower, two of them reported twice."""
    lender = service.admit("Lender", region="US")
    (subject,) = lender.tokenise(["91999999DEM000014G"])
    records = {}
    for account in ("ended-1", "ended-2", "open"):
        body = {**default(subject, 400), "account_ref": account}
        records[account] = str(lender.call("POST", "/v1/records", data=body)["record_id"])
        if account != "open":
            step = {"kind": "cured", "on": ago(300)}
            lender.call("POST", f"/v1/records/{records[account]}/events", data=step)
    accounts = ["ended-1", "open", "new", "ended-2", "ended-1", "new"]
    batch = lender.records.submit_batch([{**default(subject, 50), "account_ref": account} for account in accounts])
    assert (batch.job["accepted"], batch.job["refused"]) == (3, 3)
    named = {row["row"]: row["errors"][0] for row in batch.errors}
    assert {row: error["code"] for row, error in named.items()} == dict.fromkeys((2, 5, 6), "state_conflict")
    assert named[2]["record_id"] == records["open"]
    assert named[5]["record_id"] not in records.values()
    # What was taken in is whole, and so is what ended before.
    for row in (5, 6):
        assert lender.call("GET", f"/v1/records/{named[row]['record_id']}")["record_id"] == named[row]["record_id"]
    assert lender.call("GET", f"/v1/records/{records['ended-1']}")["status"] == "cured"
