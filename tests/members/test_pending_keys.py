"""A further key of an operator or regulator signs nothing before another person approved it."""

from pathlib import Path
from uuid import uuid4

import pytest
from tests.fixtures.attack import attempt
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, wait_for

from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.client.problems import Problem
from creditshare.crypto.jws import SigningKey


class Desk:
    """Three operators, of whom one makes itself a further key."""

    def __init__(self, service: RunningService, role: str = "operator") -> None:
        self.service = service
        self.first, self.second = service.desk
        self.owner = service.admit(f"Owner {uuid4()}", role=role)
        self.member = self.owner.session.signer.member_id
        self.key = SigningKey.generate()
        self.added = self.owner.keys.register(self.key).data
        self.by_new = service.client(Identity(self.member, self.key, "test"))

    def approve(self, who: Client, kid: str | None = None) -> str:
        body = {"action": "key", "key_thumbprint": kid or self.key.kid}
        return attempt(who, "POST", f"/v1/members/{self.member}/approvals", body, if_match="*")

    def waiting(self) -> dict[str, str]:
        found = self.second.pages(f"/v1/members/{self.member}/proposals")
        return {one["terms"]["key_thumbprint"]: one["proposal_id"] for one in found if one["action"] == "key"}

    def status(self) -> str:
        (key,) = (one for one in self.second.pages(f"/v1/members/{self.member}/keys") if one["kid"] == self.key.kid)
        return str(key["status"])

    def signs(self, path: str = "/v1/me") -> str:
        return attempt(self.by_new, "GET", path)


@pytest.mark.parametrize("role", ["operator", "regulator"])
def test_it_signs_once_another_operator_approved_it(shared_service: RunningService, role: str) -> None:
    desk = Desk(shared_service, role)
    assert (desk.added["status"], desk.signs()) == ("pending", "signature_invalid")
    assert desk.waiting().keys() == {desk.key.kid}
    own = desk.approve(desk.owner)
    assert own == "role_forbidden"
    assert desk.approve(desk.second, "h" * 43) == "validation_failed"
    assert desk.signs() == "signature_invalid"
    assert desk.approve(desk.second) == "done"
    assert desk.status() == "active"
    wait_for(lambda: desk.signs() == "done", seconds=2)
    assert desk.waiting() == {}


def test_a_pending_key_writes_nothing_either(shared_service: RunningService) -> None:
    desk = Desk(shared_service)
    body = {"name": "Accomplice", "role": "operator", "region": "US"}
    assert attempt(desk.by_new, "POST", "/v1/members", body) == "signature_invalid"


def test_after_its_time_it_is_not_approved(shared_service: RunningService) -> None:
    desk = Desk(shared_service)
    member = desk.member.removeprefix("mem_")
    desk.service.rewrite("UPDATE proposal SET expires_at = now() WHERE about = %s", member)
    assert desk.approve(desk.second) == "state_conflict"
    assert desk.signs() == "signature_invalid"


@pytest.mark.parametrize("by", ["another", "its owner"])
def test_who_rejects_or_withdraws_it_ends_it(shared_service: RunningService, by: str) -> None:
    desk = Desk(shared_service)
    path = f"/v1/proposals/{desk.waiting()[desk.key.kid]}/rejection"
    assert attempt(desk.second if by == "another" else desk.owner, "POST", path, {"reason": "not asked for"}) == "done"
    assert desk.status() == "revoked"
    assert desk.approve(desk.second) == "state_conflict"


def test_one_that_its_owner_revoked_is_not_approved(shared_service: RunningService) -> None:
    desk = Desk(shared_service)
    assert desk.owner.keys.revoke(desk.key.kid, reason="other").data["status"] == "revoked"
    assert desk.approve(desk.second) == "state_conflict"
    assert desk.status() == "revoked"


def test_approving_one_of_two_leaves_the_other_waiting(shared_service: RunningService) -> None:
    desk = Desk(shared_service)
    other = SigningKey.generate()
    desk.owner.keys.register(other)
    assert desk.approve(desk.second) == "done"
    assert desk.waiting().keys() == {other.kid}
    assert desk.approve(desk.first, other.kid) == "done"


def test_a_pending_key_is_no_successor(shared_service: RunningService) -> None:
    desk = Desk(shared_service)
    with pytest.raises(Problem, match="state_conflict"):
        desk.owner.keys.retire(desk.owner.session.signer.key.kid)
    assert desk.approve(desk.second) == "done"
    assert desk.owner.keys.retire(desk.owner.session.signer.key.kid).data["status"] == "retiring"


def test_a_lenders_further_key_needs_nobody(shared_service: RunningService) -> None:
    bank = shared_service.admit(f"Bank {uuid4()}")
    assert bank.keys.register(SigningKey.generate()).data["status"] == "active"


def test_a_rotation_goes_on_where_it_waited(shared_service: RunningService, tmp_path: Path) -> None:
    service, live, new = shared_service, tmp_path / "live.jwk.json", tmp_path / "new.jwk.json"
    service.write_key(0, live)
    rotate = ("keys", "rotate", "--key", str(live), "--out", str(new), "--url", service.url)
    waits = command(service, *rotate)
    assert "another operator must approve it" in waits.stdout, waits.stderr
    assert "another operator must approve it" in command(service, *rotate).stdout
    kid, member = Identity.from_file(new).key.kid, service.operators[0].member_id
    second = ("--as", str(service.write_key(1, tmp_path / "second.jwk.json")), "--url", service.url)
    approve = ("member", "approve", member, "--action", "key", "--key-thumbprint", kid)
    own = command(service, *approve, "--as", str(live), "--url", service.url)
    assert own.returncode == 1
    assert command(service, *approve, *second).returncode == 0
    assert "ends at" in command(service, *rotate).stdout
    assert "not overwritten" in command(service, *rotate).stderr
