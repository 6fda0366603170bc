"""A lender's figures, its tier and the depth of its answers, over real sockets."""

import json
import random
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.fixtures.attack import attempt, grant
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, record_body, wait_for

from creditshare.cli.demo.story import synthetic_uscc
from creditshare.client.bank import Client
from creditshare.client.core import File
from creditshare.client.resources import NDJSON_TYPE
from creditshare.ids import parse
from creditshare.sandbox.service import business_time

SOURCE = random.Random("reciprocity")  # noqa: S311  synthetic borrowers, not secrets


def compute(service: RunningService) -> int:
    """Let the worker's daily look happen, a day after the last."""
    service.advance(days=1)
    return int(service.run(service.services.reciprocity.compute_due(now=service.run(_business_now(service)))))


async def _business_now(service: RunningService) -> datetime:
    async with service.services.database.reading() as session:
        return (await business_time(session)).now


def months_old(service: RunningService, bank: Client, months: int) -> None:
    service.rewrite(
        "UPDATE member_key SET registered_at = registered_at - make_interval(days => %s) WHERE member_id = %s",
        months * 30,
        parse("mem", bank.session.signer.member_id),
    )


def own(bank: Client) -> dict[str, Any]:
    found: dict[str, Any] = bank.call("GET", "/v1/me/reciprocity").data
    return found


def test_figures_are_counted_and_lead_to_a_tier(shared_service: RunningService, tmp_path: Path) -> None:
    service, bank = shared_service, shared_service.admit(f"Bank {uuid4()}", region="US")
    assert own(bank) == {**dict.fromkeys(own(bank)), "tier": "full"}
    months_old(service, bank, 14)
    firms = bank.tokenise([synthetic_uscc(SOURCE) for _ in range(5)])
    records = [
        bank.call("POST", "/v1/records", data=record_body(firm, str(n))).data["record_id"]
        for n, firm in enumerate(firms[:4])
    ]
    correction = {"reason": "wrong_amount", "changes": {"outstanding_principal": "1.00"}}
    bank.call("POST", f"/v1/records/{records[0]}/corrections", data=correction)
    for firm in firms:
        bank.query(firm, purpose="pre_loan", consent_id=grant(bank, firm, document=uuid4().bytes))
    rows = [record_body(firms[0], "file"), {"not": "a record"}]
    file = File(NDJSON_TYPE, b"\n".join(json.dumps(row).encode() for row in rows))
    job = bank.call("POST", "/v1/record-batches", data=file).data["job_id"]
    wait_for(lambda: bank.call("GET", f"/v1/jobs/{job}").data["status"] == "done")
    assert compute(service) >= 1
    found = own(bank)
    told = {name: found[name] for name in ("coverage", "freshness", "corrections", "refusals", "months")}
    assert told == {"coverage": 80, "freshness": 100, "corrections": 20, "refusals": 50, "months": 14}
    assert found["tier"] == "basic"
    key = tmp_path / "bank.jwk.json"
    key.write_text(json.dumps(bank.session.signer.stored()))
    command_told = command(service, "query", "tier", "--as", str(key), "--url", service.url)
    assert command_told.stdout.splitlines()[1:3] == ["coverage     80 %", "freshness    100 %"]
    shown = service.desk[0].call("GET", f"/v1/members/{bank.session.signer.member_id}").data
    assert shown["tier"] == "basic"


def test_they_are_computed_once_a_day(shared_service: RunningService) -> None:
    shared_service.admit(f"Bank {uuid4()}")
    assert compute(shared_service) >= 1
    now = shared_service.run(_business_now(shared_service))
    assert shared_service.run(shared_service.services.reciprocity.compute_due(now=now)) == 0


def test_figures_that_an_administrator_wrote_are_computed_anew(shared_service: RunningService) -> None:
    service, bank = shared_service, shared_service.admit(f"Bank {uuid4()}", region="US")
    compute(service)
    before = own(bank)
    assert before["refusals"] == 0
    with service.superuser() as database:
        changed = database.execute(
            "UPDATE member_figures SET rows_sent = 100, rows_refused = 90, computed_at = now() + interval '1 year'"
            " WHERE member_id = %s",
            [parse("mem", bank.session.signer.member_id)],
        )
    assert changed.rowcount == 1
    assert own(bank)["refusals"] is None
    assert compute(service) >= 1
    assert own(bank)["refusals"] == 0


@pytest.mark.parametrize(
    ("tier", "withheld", "amounts", "rows"),
    [("full", [], True, 1), ("standard", ["amounts"], False, 1), ("basic", ["amounts", "records"], False, 0)],
)
def test_answers_are_as_deep_as_the_tier(
    shared_service: RunningService, tier: str, withheld: list[str], rows: int, *, amounts: bool
) -> None:
    service = shared_service
    bank, other = (service.admit(f"Bank {uuid4()}", region="US") for _ in range(2))
    firm = synthetic_uscc(SOURCE)
    other.call("POST", "/v1/records", data=record_body(other.tokenise([firm])[0], "A"))
    (subject,) = bank.tokenise([firm])
    consent = grant(bank, subject, scopes=["defaults", "amounts"])
    member = parse("mem", bank.session.signer.member_id)
    service.rewrite("UPDATE member SET tier = %s WHERE member_id = %s", tier, member)
    answer = bank.query(subject, purpose="pre_loan", consent_id=consent, scopes=["defaults", "amounts"]).data
    assert answer["withheld"] == [{"what": what, "why": "reciprocity_tier"} for what in withheld]
    assert len(answer["records"]) == rows
    assert all(("amounts" in record) is amounts for record in answer["records"])
    assert (answer["match"], answer["summary"]["open_defaults"]) == ("records", 1)
    # What was once told is told again, and rebuilt, as deep as it was, whatever the tier is by then.
    service.rewrite("UPDATE member SET tier = 'full' WHERE member_id = %s", member)
    assert bank.call("GET", f"/v1/queries/{answer['query_id']}").data == answer

    async def rebuilt() -> tuple[bytes, bytes]:
        async with service.services.database.reading() as session:
            return await service.services.sharing.rebuild(session, parse("qry", answer["query_id"]))

    stored, again = service.run(rebuilt())
    assert stored == again


def test_a_tier_that_the_database_claims_without_a_seal_is_not_believed(shared_service: RunningService) -> None:
    bank = shared_service.admit(f"Bank {uuid4()}", region="US")
    member = parse("mem", bank.session.signer.member_id)
    shared_service.rewrite("UPDATE member SET tier = 'basic' WHERE member_id = %s", member)
    with shared_service.superuser() as database:
        database.execute("UPDATE member SET tier = 'full' WHERE member_id = %s", [member])
    shared_service.run(shared_service.services.key_table.reload(everything=True))
    assert attempt(bank, "GET", "/v1/me") == "internal_error"
    shared_service.rewrite("UPDATE member SET name = name WHERE member_id = %s", member)


def test_the_rules_are_published(shared_service: RunningService) -> None:
    rules = httpx.get(shared_service.url + "/v1/reciprocity-rules").json()
    assert [one["tier"] for one in rules["tiers"]] == ["full", "standard", "basic"]
    assert rules["tiers"][0]["demands"] == {"coverage": 20, "freshness": 80, "corrections": 10, "refusals": 10}
    assert (rules["tiers"][2]["demands"], rules["ramp_months"]) == (None, 12)
