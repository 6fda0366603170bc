"""What waits for a second person: listed in one place, approved or rejected by another, withdrawn by who made it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.attack import NOWHERE, at_once, attempt
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService

from creditshare.client.bank import Client


class Desk:
    """Two operators, and a bank that they decide about."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        self.first, self.second = service.desk
        self.bank = service.admit("Bank", region="US")
        self.member = self.bank.session.signer.member_id

    def propose(self, **body: Any) -> str:
        path = f"/v1/members/{self.member}/proposals"
        return str(self.first.call("POST", path, data=body, if_match="*").data["proposal_id"])

    def approve(self, who: Client, **body: Any) -> str:
        return attempt(who, "POST", f"/v1/members/{self.member}/approvals", body, if_match="*")

    def reject(self, who: Client, proposal: str) -> str:
        return attempt(who, "POST", f"/v1/proposals/{proposal}/rejection", {"reason": "not_agreed"})

    def waiting(self) -> list[str]:
        """Return the ids of what waits about the bank, as the second operator sees it."""
        found = self.second.pages("/v1/proposals")
        return [one["proposal_id"] for one in found if one["member_id"] == self.member]

    def jurisdictions(self) -> list[str]:
        found: list[str] = self.second.call("GET", f"/v1/members/{self.member}").data["jurisdictions"]
        return found


@pytest.fixture
def desk(shared_service: RunningService) -> Desk:
    return Desk(shared_service)


def test_another_person_rejects_and_it_cannot_be_approved_any_more(desk: Desk) -> None:
    proposal = desk.propose(action="recovery")
    assert desk.waiting() == [proposal]
    answer = desk.second.call("POST", f"/v1/proposals/{proposal}/rejection", data={"reason": "not_agreed"})
    assert answer.data["decision"] == "rejected"
    assert answer.log_entry is not None
    assert json.loads(answer.log_entry.meta)["details"] == {
        "proposal": "recovery",
        "decision": "rejected",
        "reason": "not_agreed",
    }
    assert desk.waiting() == []
    assert desk.approve(desk.second, action="recovery") == "state_conflict"
    assert desk.reject(desk.second, proposal) == "state_conflict"


def test_who_made_it_withdraws_it_and_that_is_no_decision_of_a_second_person(desk: Desk) -> None:
    proposal = desk.propose(action="recovery")
    answer = desk.first.call("POST", f"/v1/proposals/{proposal}/rejection", data={"reason": "a mistake"})
    assert answer.data["decision"] == "withdrawn"
    with desk.service.superuser() as database:
        decided = database.execute(
            "SELECT decided_by FROM proposal WHERE proposal_id = %s", [proposal.removeprefix("prp_")]
        ).fetchone()
    assert decided == (None,)
    assert desk.approve(desk.second, action="recovery") == "state_conflict"


def test_one_of_two_is_rejected_and_the_other_still_approved(desk: Desk) -> None:
    other, wanted = desk.propose(action="jurisdictions", jurisdictions=["CN"]), ["CN", "US"]
    kept = desk.propose(action="jurisdictions", jurisdictions=wanted)
    assert desk.reject(desk.second, other) == "done"
    assert desk.waiting() == [kept]
    assert desk.approve(desk.second, action="jurisdictions", jurisdictions=["CN"]) == "validation_failed"
    assert desk.approve(desk.second, action="jurisdictions", jurisdictions=wanted) == "done"


def test_of_an_approval_and_a_rejection_at_once_one_holds(desk: Desk) -> None:
    proposal = desk.propose(action="jurisdictions", jurisdictions=["CN"])
    third = desk.service.admit("Third", role="operator")

    def decide(number: int) -> str:
        if number % 2:
            return desk.reject(third, proposal)
        return desk.approve(desk.second, action="jurisdictions", jurisdictions=["CN"])

    outcomes = at_once(6, decide)
    assert sorted(outcomes) == ["done"] + ["state_conflict"] * 5
    assert desk.jurisdictions() == (["CN"] if outcomes.index("done") % 2 == 0 else ["US"])


def test_jurisdictions_change_by_two_people_and_the_order_does_not_matter(desk: Desk) -> None:
    desk.propose(action="jurisdictions", jurisdictions=["US", "DE"])
    assert desk.approve(desk.first, action="jurisdictions", jurisdictions=["DE", "US"]) == "role_forbidden"
    assert desk.jurisdictions() == ["US"]
    assert desk.approve(desk.second, action="jurisdictions", jurisdictions=["US", "DE"]) == "done"
    assert desk.jurisdictions() == ["DE", "US"]


@pytest.mark.parametrize(
    "body",
    [
        {"action": "jurisdictions"},
        {"action": "jurisdictions", "jurisdictions": ["us"]},
        {"action": "jurisdictions", "jurisdictions": ["US", "US"]},
        {"action": "jurisdictions", "jurisdictions": ["US"], "key_thumbprint": "h" * 43},
        {"action": "recovery", "jurisdictions": ["US"]},
        {"action": "lift_suspension", "key_thumbprint": "h" * 43},
    ],
    ids=str,
)
def test_terms_that_do_not_belong_to_it_are_refused(desk: Desk, body: dict[str, Any]) -> None:
    path = f"/v1/members/{desk.member}/proposals"
    assert attempt(desk.first, "POST", path, body, if_match="*") == "validation_failed"


def test_after_its_time_it_can_be_neither_approved_nor_rejected(desk: Desk) -> None:
    proposal = desk.propose(action="recovery")
    desk.service.rewrite("UPDATE proposal SET expires_at = now() WHERE proposal_id = %s", proposal.removeprefix("prp_"))
    assert desk.waiting() == []
    assert desk.approve(desk.second, action="recovery") == "state_conflict"
    assert desk.reject(desk.second, proposal) == "state_conflict"


def test_nobody_else_sees_or_rejects_a_proposal(desk: Desk) -> None:
    proposal = desk.propose(action="recovery")
    for other in (desk.bank, desk.service.admit("Regulator", role="regulator")):
        assert attempt(other, "GET", "/v1/proposals") == "role_forbidden"
        assert desk.reject(other, proposal) == "role_forbidden"
    assert desk.reject(desk.second, f"prp_{NOWHERE}") == "not_found"
    assert desk.reject(desk.second, proposal.replace("prp_", "mem_")) == "not_found"
    assert desk.waiting() == [proposal]


def test_the_list_goes_on_page_by_page(desk: Desk) -> None:
    made = [desk.propose(action="recovery", key_thumbprint=str(number) * 43) for number in range(3)]
    page = desk.second.call("GET", "/v1/proposals", query="limit=2").data
    assert [one["proposal_id"] for one in page["data"]] == [made[2], made[1]]
    rest = desk.second.call("GET", "/v1/proposals", query=f"limit=2&cursor={page['next_cursor']}").data
    assert rest["data"][0]["proposal_id"] == made[0]


def test_the_commands_list_and_reject(desk: Desk, tmp_path: Path) -> None:
    kept, dropped = desk.propose(action="recovery"), desk.propose(action="jurisdictions", jurisdictions=["CN"])
    key = desk.service.write_key(1, tmp_path / "operator.jwk.json")
    as_second = ("--as", str(key), "--url", desk.service.url)
    listed = command(desk.service, "member", "proposals", *as_second)
    assert listed.returncode == 0, listed.stderr
    assert kept in listed.stdout
    assert '{"jurisdictions": ["CN"]}' in listed.stdout
    done = command(desk.service, "member", "reject", dropped, "--reason", "not agreed", *as_second)
    assert done.stdout == f"{dropped} is rejected\n"
    again = command(desk.service, "member", "reject", dropped, "--reason", "not agreed", *as_second)
    assert again.returncode == 1
    approved = command(desk.service, "member", "approve", desk.member, "--action", "recovery", *as_second)
    assert approved.returncode == 0, approved.stderr
    assert desk.waiting() == []
