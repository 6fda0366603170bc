"""What operators see before and beside their acts: what one touches, which keys end, what members use."""

import json
import random
from pathlib import Path
from uuid import uuid4

import pytest
from tests.fixtures.attack import NOWHERE, attempt, grant
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, record_body

from creditshare.cli.demo.story import synthetic_uscc
from creditshare.client.bank import Client
from creditshare.clock import SystemClock
from creditshare.crypto.jws import SigningKey
from creditshare.jobs.keywatch import KeyWatch

SOURCE = random.Random("impact")  # noqa: S311  synthetic borrowers, not secrets


def member_of(client: Client) -> str:
    return client.session.signer.member_id


def ends_in(service: RunningService, client: Client, days: int) -> None:
    """Let all keys of a member end in so many days."""
    service.rewrite(
        "UPDATE member_key SET expires_at = now() + make_interval(days => %s) WHERE member_id = %s",
        days,
        member_of(client).removeprefix("mem_"),
    )


def test_what_an_act_would_touch_is_counted(shared_service: RunningService) -> None:
    desk, bank = shared_service.desk[0], shared_service.admit(f"Bank {uuid4()}", region="US")
    path = f"/v1/members/{member_of(bank)}/impact"
    before = desk.call("GET", path).data
    assert before == {**dict.fromkeys(before, 0), "member_id": member_of(bank), "live_keys": 1, "hand_back_kid": None}
    own, asked = bank.tokenise([synthetic_uscc(SOURCE), synthetic_uscc(SOURCE)])
    records = [bank.call("POST", "/v1/records", data=record_body(own, str(n))).data["record_id"] for n in range(3)]
    bank.call("POST", f"/v1/records/{records[0]}/withdrawal", data={"reason": "reported_in_error"})
    consents = [grant(bank, asked, document=str(n).encode()) for n in range(3)]
    bank.call("POST", f"/v1/consents/{consents[2]}/revocation", data={})
    grant(bank, asked, kind="provide", document=b"provide")
    for consent in (consents[0], consents[0], consents[1]):
        bank.query(asked, purpose="pre_loan", consent_id=consent)
    bank.keys.register(SigningKey.generate())
    desk.call("POST", f"/v1/members/{member_of(bank)}/proposals", data={"action": "recovery"}, if_match="*")
    assert desk.call("GET", path).data == {
        "member_id": member_of(bank),
        "live_keys": 2,
        "consents_to_ask": 2,
        "consents_to_provide": 1,
        "live_records": 2,
        "files_in_progress": 0,
        "proposals_about": 1,
        "proposals_by": 0,
        "questions": 3,
        "warrants": 0,
        "hand_back_kid": None,
    }
    assert attempt(desk, "GET", f"/v1/members/mem_{NOWHERE}/impact") == "not_found"


@pytest.mark.parametrize(("days", "within"), [(6, 7), (8, 30), (59, 60), (61, None)])
def test_a_key_that_ends_is_told_to_its_member_and_to_operators(
    shared_service: RunningService, days: int, within: int | None
) -> None:
    desk, bank = shared_service.desk[0], shared_service.admit(f"Bank {uuid4()}")
    ends_in(shared_service, bank, days)
    own = bank.call("GET", "/v1/me").data["ending_keys"]
    assert [(key["within_days"], key["last"]) for key in own] == ([] if within is None else [(within, True)])
    assert desk.call("GET", f"/v1/members/{member_of(bank)}").data["ending_keys"] == own
    listed = [key for key in desk.pages("/v1/expiring-keys") if key["member_id"] == member_of(bank)]
    assert listed == own


def test_a_key_with_a_successor_is_not_the_last(shared_service: RunningService) -> None:
    bank = shared_service.admit(f"Bank {uuid4()}")
    ends_in(shared_service, bank, 5)
    bank.keys.register(SigningKey.generate())
    (ending,) = bank.call("GET", "/v1/me").data["ending_keys"]
    assert (ending["kid"], ending["last"]) == (bank.session.signer.key.kid, False)


def test_the_list_of_ending_keys_goes_on_page_by_page(shared_service: RunningService) -> None:
    desk = shared_service.desk[0]
    for _ in range(3):
        ends_in(shared_service, shared_service.admit(f"Bank {uuid4()}"), 3)
    page = desk.call("GET", "/v1/expiring-keys", query="limit=2").data
    rest = desk.call("GET", "/v1/expiring-keys", query=f"limit=100&cursor={page['next_cursor']}").data
    found = [key["kid"] for key in page["data"] + rest["data"]]
    assert len(found) == len(set(found)) >= 3
    assert found == [key["kid"] for key in desk.pages("/v1/expiring-keys")]


def test_the_worker_warns_of_last_keys(shared_service: RunningService, caplog: pytest.LogCaptureFixture) -> None:
    database = shared_service.services.database
    watch = KeyWatch(database, days=(60, 30, 7), clock=SystemClock())
    before = shared_service.run(watch.look())
    caplog.clear()
    bank = shared_service.admit(f"Bank {uuid4()}")
    ends_in(shared_service, bank, 20)
    assert shared_service.run(watch.look()) == before + 1
    (told,) = (line for line in caplog.text.splitlines() if member_of(bank) in line)
    assert "within 30 days" in told


def test_operators_see_what_members_use_of_their_day(shared_service: RunningService) -> None:
    desk, bank = shared_service.desk[0], shared_service.admit(f"Bank {uuid4()}", region="US", queries_per_day=7)
    (own,) = bank.tokenise([synthetic_uscc(SOURCE)])
    bank.call("POST", "/v1/records", data=record_body(own, "A"))
    bank.query(own, purpose="pre_loan", consent_id=grant(bank, own))
    (usage,) = (one for one in desk.pages("/v1/quota-usage") if one["member_id"] == member_of(bank))
    assert usage == {"member_id": member_of(bank), **bank.call("GET", "/v1/me/quota").data}
    told = ("evaluations_used_today", "queries_used_today", "queries_per_day", "reports_used_today")
    assert [usage[name] for name in told] == [1, 1, 7, 1]


def test_commands_show_it_and_ask_before_the_act(shared_service: RunningService, tmp_path: Path) -> None:
    service, bank = shared_service, shared_service.admit(f"Bank {uuid4()}")
    ends_in(service, bank, 4)
    key = service.write_key(0, tmp_path / "operator.jwk.json")
    signed = ("--as", str(key), "--url", service.url)
    asked = command(service, "member", "suspend", member_of(bank), "--reason", "review", *signed)
    assert (asked.returncode, "repeat with --yes" in asked.stderr) == (2, True)
    assert "live keys            1" in asked.stderr
    assert bank.call("GET", "/v1/me").data["status"] == "active"
    shown = json.loads(command(service, "member", "impact", member_of(bank), *signed, "--json").stdout)
    assert shown["live_keys"] == 1
    ending = command(service, "member", "keys", "--expiring", *signed).stdout
    assert f"{member_of(bank)}  {bank.session.signer.key.kid}" in ending
    one = command(service, "member", "keys", member_of(bank), "--expiring", *signed).stdout
    assert "within 7 days, its last" in one
    assert f"{member_of(bank)}  evaluations 0 of" in command(service, "member", "usage", *signed).stdout
    done = command(service, "member", "suspend", member_of(bank), "--reason", "review", "--yes", *signed)
    assert done.stdout == f"{member_of(bank)} is suspended\n"
