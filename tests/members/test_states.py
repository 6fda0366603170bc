"""A member's life over real sockets: examined, admitted, limited, suspended, terminated, and what each leaves it."""

import json
import random
from uuid import uuid4

import pytest
from tests.fixtures.attack import ask, attempt, grant
from tests.fixtures.service import RunningService, record_body, wait_for

from creditshare.cli.demo.story import synthetic_uscc
from creditshare.client.bank import Client, Problem
from creditshare.client.core import File
from creditshare.client.resources import NDJSON_TYPE
from creditshare.keys.tombstones import Tombstones

SOURCE = random.Random("states")  # noqa: S311  synthetic borrowers, not secrets


class Life:
    """Two operators, and a lender that reported one default and may ask about another borrower."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        self.first, self.second = service.desk
        self.bank = service.admit(f"Bank {uuid4()}", region="US")
        self.member = self.bank.session.signer.member_id
        self.borrower = synthetic_uscc(SOURCE)
        self.own, self.asked = self.bank.tokenise([self.borrower, synthetic_uscc(SOURCE)])
        self.record = self.bank.call("POST", "/v1/records", data=record_body(self.own, "A-1")).data["record_id"]
        self.consent = grant(self.bank, self.asked)

    def restrict(self, how: str, who: Client | None = None) -> str:
        return attempt(who or self.first, "POST", f"/v1/members/{self.member}/{how}", {"reason": "review"})

    def propose(self, action: str) -> str:
        return attempt(self.first, "POST", f"/v1/members/{self.member}/proposals", {"action": action}, if_match="*")

    def approve(self, action: str, who: Client | None = None) -> str:
        path = f"/v1/members/{self.member}/approvals"
        return attempt(who or self.second, "POST", path, {"action": action}, if_match="*")

    def terminate(self) -> None:
        assert (self.propose("termination"), self.approve("termination")) == ("done", "done")

    def status(self) -> str:
        return str(self.second.call("GET", f"/v1/members/{self.member}").data["status"])

    def asks(self) -> str:
        return ask(self.bank, self.asked, self.consent)

    def reports(self) -> str:
        return attempt(self.bank, "POST", "/v1/records", record_body(self.own, uuid4().hex))

    def reports_a_file(self) -> str:
        row = json.dumps(record_body(self.own, uuid4().hex)).encode()
        return attempt(self.bank, "POST", "/v1/record-batches", File(NDJSON_TYPE, row))

    def corrects(self) -> str:
        body = {"reason": "wrong_amount", "changes": {"outstanding_principal": f"{SOURCE.randint(1, 90_000)}.00"}}
        return attempt(self.bank, "POST", f"/v1/records/{self.record}/corrections", body)

    def reads(self) -> str:
        return attempt(self.bank, "GET", f"/v1/records/{self.record}")


@pytest.fixture
def life(shared_service: RunningService) -> Life:
    return Life(shared_service)


def test_who_is_limited_reports_and_corrects_and_does_not_ask(life: Life) -> None:
    assert life.asks() == "0 defaults"
    assert life.restrict("limitation") == "done"
    assert life.asks() == "member_limited"
    assert (life.reports(), life.reports_a_file(), life.corrects(), life.reads()) == ("done",) * 4
    assert life.bank.tokenise([synthetic_uscc(SOURCE)])
    assert life.restrict("limitation") == "state_conflict"


def test_of_consents_who_is_limited_has_those_to_provide(life: Life) -> None:
    provide = grant(life.bank, life.asked, kind="provide")
    for consent in (provide, life.consent):
        assert attempt(life.bank, "POST", f"/v1/consents/{consent}/pause") == "done"
    life.restrict("limitation")
    assert attempt(life.bank, "POST", f"/v1/consents/{life.consent}/resumption") == "member_limited"
    assert attempt(life.bank, "POST", f"/v1/consents/{provide}/resumption") == "done"
    with pytest.raises(Problem, match="member_limited"):
        grant(life.bank, life.asked, document=b"another")
    assert grant(life.bank, life.asked, kind="provide", document=b"a third")


def test_who_is_suspended_corrects_and_reads_and_does_not_report(life: Life) -> None:
    life.restrict("limitation")
    assert life.restrict("suspension") == "done"
    wait_for(lambda: life.asks() == "member_suspended", seconds=2)
    assert (life.reports(), life.reports_a_file()) == ("member_suspended",) * 2
    assert (life.corrects(), life.reads()) == ("done", "done")
    assert life.restrict("limitation") == "state_conflict"


@pytest.mark.parametrize("restriction", ["limitation", "suspension"])
def test_one_person_restricts_and_two_lift_it(life: Life, restriction: str) -> None:
    lift = f"lift_{restriction}"
    assert life.propose(lift) == "state_conflict"
    assert life.restrict(restriction) == "done"
    assert life.propose(lift) == "done"
    assert life.approve(lift, life.first) == "role_forbidden"
    assert life.approve(lift) == "done"
    wait_for(lambda: life.asks() == "0 defaults", seconds=2)


@pytest.mark.parametrize("action", ["lift_limitation", "lift_suspension", "termination"])
def test_what_was_proposed_too_long_ago_is_not_approved(life: Life, action: str) -> None:
    life.restrict("limitation" if action == "lift_limitation" else "suspension")
    before = life.status()
    assert life.propose(action) == "done"
    life.service.rewrite("UPDATE proposal SET expires_at = now() WHERE about = %s", life.member.removeprefix("mem_"))
    assert life.approve(action) == "state_conflict"
    assert life.status() == before


def test_a_lift_of_before_is_approved_for_no_later_restriction(life: Life) -> None:
    life.restrict("limitation")
    life.propose("lift_limitation")
    life.restrict("suspension")
    assert life.approve("lift_limitation") == "state_conflict"
    life.propose("lift_suspension")
    assert life.approve("lift_suspension") == "done"
    life.restrict("limitation")
    assert life.approve("lift_limitation") == "state_conflict"
    assert life.status() == "limited"


def test_two_people_end_a_membership_and_its_keys_lose_their_power(life: Life) -> None:
    assert life.propose("termination") == "done"
    assert life.approve("termination", life.first) == "role_forbidden"
    assert life.asks() == "0 defaults"
    path = f"/v1/members/{life.member}/approvals"
    approved = life.second.call("POST", path, data={"action": "termination"}, if_match="*")
    assert approved.log_entry is not None
    assert json.loads(approved.log_entry.meta)["details"] == {"proposal": "termination", "keys": 1}
    assert (life.asks(), life.corrects(), life.reads()) == ("key_revoked",) * 3
    kid = life.bank.session.signer.key.kid
    assert kid in Tombstones(life.service.settings.tombstones_path).read().keys
    (key,) = life.second.pages(f"/v1/members/{life.member}/keys")
    assert (key["kid"], key["status"]) == (kid, "revoked")


def test_nothing_follows_on_the_end_of_a_membership(life: Life) -> None:
    assert life.propose("recovery") == "done"
    life.terminate()
    assert life.approve("recovery") == "state_conflict"
    for action in ("recovery", "termination", "lift_suspension", "admission"):
        assert life.propose(action) == "state_conflict"
    assert (life.restrict("limitation"), life.restrict("suspension")) == ("state_conflict", "state_conflict")


def test_a_code_that_was_not_used_yet_ends_with_the_membership(life: Life) -> None:
    life.propose("recovery")
    path = f"/v1/members/{life.member}/approvals"
    code = life.second.call("POST", path, data={"action": "recovery"}, if_match="*").data["enrolment_code"]
    life.terminate()
    with pytest.raises(Problem, match="enrolment_code_invalid"):
        life.bank.enrol(code)


def test_what_a_terminated_member_reported_stays(life: Life) -> None:
    other = life.service.admit(f"Other {uuid4()}", region="US")
    (subject,) = other.tokenise([life.borrower])
    consent = grant(other, subject)
    assert ask(other, subject, consent) == "1 defaults"
    life.terminate()
    assert ask(other, subject, consent) == "1 defaults"


def test_two_operators_are_left_and_nobody_approves_his_own_end(life: Life) -> None:
    third = life.service.admit(f"Third {uuid4()}", role="operator")
    life.member = third.session.signer.member_id
    assert life.propose("termination") == "done"
    assert life.approve("termination", third) == "role_forbidden"
    assert life.approve("termination") == "done"


def test_no_end_leaves_fewer_than_two_operators(life: Life) -> None:
    life.service.rewrite(
        "UPDATE member SET status = 'suspended' WHERE role = 'operator' AND name NOT IN ('Operator 1', 'Operator 2')"
    )
    life.member = life.second.session.signer.member_id
    path = f"/v1/members/{life.member}/proposals"
    assert attempt(life.second, "POST", path, {"action": "termination"}, if_match="*") == "done"
    assert life.approve("termination", life.first) == "state_conflict"
    assert life.status() == "active"
