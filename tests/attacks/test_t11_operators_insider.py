"""T11, an insider at the operator: one of its people, with a key that proposes, approves and suspends.

It must not get, alone or by deceiving a colleague: a member, a key, a budget or a lifted suspension that a second
person did not agree to *in these terms*; a borrower's data.

Elsewhere: ``members/test_production.py`` (bootstrap keys, the key that may enrol). One person can stop things: suspend
a member, revoke a key. Where only two operators exist, one of them can so stop the other: keep three.
"""

from collections import Counter
from typing import Any

import pytest
from tests.fixtures.attack import BORROWER, at_once, attempt
from tests.fixtures.service import RunningService, record_body, wait_for

from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.crypto.jws import SigningKey


class Desk:
    """The operator's people, and a lender."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        self.evil, self.honest = (service.client(operator) for operator in service.operators)
        self.lender = service.admit("Lender", region="US")
        self.member = self.lender.session.signer.member_id

    def propose(self, who: Client, action: str, **terms: Any) -> str:
        resource = "quotas" if action == "quotas" else "proposals"
        body = terms if action == "quotas" else {"action": action, **terms}
        return attempt(who, "POST", f"/v1/members/{self.member}/{resource}", body, if_match=self.version())

    def approve(self, who: Client, action: str, *, version: str | None = None, **terms: Any) -> str:
        body, seen = {"action": action, **terms}, version or self.version()
        return attempt(who, "POST", f"/v1/members/{self.member}/approvals", body, if_match=seen)

    def version(self) -> str:
        """What a colleague sees who looks now."""
        return str(self.honest.call("GET", f"/v1/members/{self.member}").version)

    def suspend(self, who: Client, member: str) -> str:
        return attempt(who, "POST", f"/v1/members/{member}/suspension", {"reason": "review"})

    def budget(self) -> int:
        return int(self.evil.call("GET", f"/v1/members/{self.member}")["evaluations_per_day"])


@pytest.fixture
def desk(service: RunningService) -> Desk:
    return Desk(service)


def test_nobody_approves_what_it_proposed_itself_by_whichever_key(desk: Desk) -> None:
    second = SigningKey.generate()
    mine = desk.evil.session.signer
    body = {"jwk": dict(second.public_jwk), "proof": desk.evil.session.proof_for(second)}
    assert attempt(desk.evil, "POST", f"/v1/members/{mine.member_id}/keys", body) == "done"
    other_hand = desk.service.client(Identity(mine.member_id, second, "somebody-else"))
    assert attempt(other_hand, "GET", "/v1/me") == "signature_invalid"  # it waits for another person itself
    agreed = {"action": "key", "key_thumbprint": second.kid}
    path = f"/v1/members/{mine.member_id}/approvals"
    assert attempt(desk.honest, "POST", path, agreed, if_match="*") == "done"
    wait_for(lambda: attempt(other_hand, "GET", "/v1/me") == "done", seconds=2)
    assert desk.propose(desk.evil, "quotas", evaluations_per_day=9_000) == "done"
    for hand in (desk.evil, other_hand):
        assert desk.approve(hand, "quotas", evaluations_per_day=9_000) == "role_forbidden"
    assert desk.budget() == 2_000


@pytest.mark.parametrize(
    ("action", "shown", "slipped_in"),
    [
        ("quotas", {"evaluations_per_day": 3_000}, {"evaluations_per_day": 10_000_000}),
        ("recovery", {"key_thumbprint": "h" * 43}, {"key_thumbprint": SigningKey.generate().kid}),
        ("recovery", {"key_thumbprint": "h" * 43}, {}),
    ],
    ids=["budget", "key", "any-key"],
)
def test_an_approval_cannot_be_used_for_other_terms(
    desk: Desk, action: str, shown: dict[str, Any], slipped_in: dict[str, Any]
) -> None:
    """Show a colleague one proposal, and put another in its place before he approves."""
    assert desk.propose(desk.evil, action, **shown) == "done"
    assert desk.propose(desk.evil, action, **slipped_in) == "done"
    assert desk.approve(desk.honest, action, **shown) == "done"
    with desk.service.superuser() as database:
        decided = database.execute(
            "SELECT terms FROM proposal WHERE kind = %s AND decided_by IS NOT NULL", [action]
        ).fetchall()
    assert decided == [(shown,)]
    assert desk.approve(desk.honest, action, **slipped_in) == "state_conflict"


def test_who_looked_before_a_proposal_was_slipped_in_looks_again(desk: Desk) -> None:
    """Even where the terms would fit: what was looked at is not what is there any more."""
    assert desk.propose(desk.evil, "recovery") == "done"
    looked_at = desk.version()
    assert desk.propose(desk.evil, "recovery", key_thumbprint=SigningKey.generate().kid) == "done"
    assert desk.approve(desk.honest, "recovery", version=looked_at) == "precondition_failed"
    shown = desk.honest.call("GET", f"/v1/members/{desk.member}/proposals")["data"]
    assert [bool(proposal["terms"]) for proposal in shown] == [True, False]
    assert {proposal["proposed_by"] for proposal in shown} == {desk.evil.session.signer.member_id}


def test_an_approval_without_terms_is_none(desk: Desk) -> None:
    assert desk.propose(desk.evil, "quotas", evaluations_per_day=10_000_000) == "done"
    assert desk.approve(desk.honest, "quotas") == "validation_failed"
    assert desk.approve(desk.honest, "quotas", evaluations_per_day=3_000) == "validation_failed"
    assert desk.budget() == 2_000


def test_a_left_over_proposal_is_not_approved_later(desk: Desk) -> None:
    """Propose twice; once it was approved and things changed, one colleague alone would do for the second time."""
    assert desk.suspend(desk.honest, desk.member) == "done"
    assert [desk.propose(desk.evil, "lift_suspension") for _ in range(2)] == ["done", "done"]
    assert desk.approve(desk.honest, "lift_suspension") == "done"
    assert desk.suspend(desk.honest, desk.member) == "done"
    assert desk.approve(desk.honest, "lift_suspension") == "state_conflict"


def test_a_suspension_ends_what_was_proposed_before_it(desk: Desk) -> None:
    assert desk.suspend(desk.honest, desk.member) == "done"
    assert desk.propose(desk.evil, "lift_suspension") == "done"
    desk.service.rewrite("UPDATE member SET status = 'active' WHERE name = 'Lender'")
    assert desk.suspend(desk.honest, desk.member) == "done"
    assert desk.approve(desk.honest, "lift_suspension") == "state_conflict"


def test_what_a_suspended_person_proposed_is_nobodys_proposal(desk: Desk) -> None:
    assert desk.propose(desk.evil, "quotas", evaluations_per_day=9_000) == "done"
    assert desk.suspend(desk.honest, desk.evil.session.signer.member_id) == "done"
    assert desk.honest.call("GET", f"/v1/members/{desk.member}/proposals")["data"] == []
    assert desk.approve(desk.honest, "quotas", evaluations_per_day=9_000) == "state_conflict"


def test_approvals_at_once_carry_a_proposal_out_once(desk: Desk) -> None:
    assert desk.propose(desk.evil, "recovery") == "done"
    seen = desk.version()
    outcomes = Counter(at_once(6, lambda _: desk.approve(desk.honest, "recovery", version=seen)))
    assert outcomes == {"done": 1, "precondition_failed": 5}
    anybody = Counter(at_once(3, lambda _: desk.approve(desk.honest, "recovery", version="*")))
    assert anybody == {"state_conflict": 3}


def test_nobody_judges_in_its_own_cause(desk: Desk) -> None:
    mine = desk.evil.session.signer.member_id
    assert desk.suspend(desk.evil, mine) == "state_conflict"
    assert desk.suspend(desk.honest, mine) == "done"
    path = f"/v1/members/{mine}/proposals"
    assert attempt(desk.evil, "POST", path, {"action": "lift_suspension"}, if_match="*") == "member_suspended"
    assert attempt(desk.evil, "POST", "/v1/members", {"name": "Me", "role": "operator", "region": "US"}) == (
        "member_suspended"
    )


def test_a_suspended_operator_has_no_power_over_others_keys(desk: Desk) -> None:
    keys = f"/v1/members/{desk.member}/keys"
    kid = desk.lender.session.signer.key.kid
    acts = f"{keys}/{kid}/signatures"
    since = "since=2026-01-01T00:00:00Z"
    assert [attempt(desk.evil, "GET", keys), attempt(desk.evil, "GET", acts, query=since)] == ["done"] * 2
    assert desk.suspend(desk.honest, desk.evil.session.signer.member_id) == "done"
    assert attempt(desk.evil, "GET", keys) == "not_found"
    assert attempt(desk.evil, "GET", acts, query=since) == "not_found"
    assert attempt(desk.evil, "POST", f"{keys}/{kid}/revocation", {"reason": "compromise"}) == "not_found"
    assert attempt(desk.lender, "GET", "/v1/me") == "done"


def test_a_bootstrap_key_leaves_no_key_behind(desk: Desk) -> None:
    """Two keys of one machine are one person; a key that they registered would outlive them and admit lenders."""
    mine, outliving = desk.evil.session.signer, SigningKey.generate()
    desk.service.rewrite("UPDATE member_key SET bootstrap = true WHERE kid = %s", mine.key.kid)
    body = {"jwk": dict(outliving.public_jwk), "proof": desk.evil.session.proof_for(outliving)}
    path = f"/v1/members/{mine.member_id}/keys"
    assert attempt(desk.evil, "POST", path, body) == "role_forbidden"
    assert [key["kid"] for key in desk.evil.call("GET", path)["data"] if key["kid"] == outliving.kid] == []


LENDERS_ACTS: dict[str, tuple[str, str, Any]] = {
    "read a record": ("GET", "/v1/records/{}", None),
    "withdraw a record": ("POST", "/v1/records/{}/withdrawal", {"reason": "court_order"}),
    "evaluate": ("POST", "/v1/tokens/evaluate", {"suite": "P256-SHA256", "key_version": 1, "blinded": [""]}),
}


@pytest.mark.parametrize("act", LENDERS_ACTS)
def test_an_operator_has_no_lenders_right(desk: Desk, act: str) -> None:
    (subject,) = desk.lender.tokenise([BORROWER])
    record = desk.lender.call("POST", "/v1/records", data=record_body(subject, "A-1"))["record_id"]
    method, path, body = LENDERS_ACTS[act]
    assert attempt(desk.evil, method, path.format(record), body) == "role_forbidden"
