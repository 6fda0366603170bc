"""If-Match: who changes what two people may change names the version that was looked at."""

import pytest
from tests.fixtures.attack import attempt
from tests.fixtures.service import RunningService

from creditshare.api.preconditions import Precondition, etag
from creditshare.errors import Refused


@pytest.mark.parametrize("sent", ['"v1"', '"v0", "v1"', '"v0","v1" ', "*"])
def test_the_current_version_is_named(sent: str) -> None:
    Precondition(sent).require("v1")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (None, "precondition_required"),
        ("", "precondition_failed"),
        ("v1", "precondition_failed"),  # no tag without quotes
        ('W/"v1"', "precondition_failed"),  # a weak one never matches
        ('"v1', "precondition_failed"),
        ('"v10"', "precondition_failed"),
        ('"v0", "v2"', "precondition_failed"),
    ],
)
def test_anything_else_is_refused(sent: str | None, code: str) -> None:
    with pytest.raises(Refused, match=code):
        Precondition(sent).require("v1")


def test_a_tag_is_quoted() -> None:
    assert etag("v1") == '"v1"'


def test_each_change_has_a_version_and_only_the_first_who_names_one_succeeds(shared_service: RunningService) -> None:
    first, second = (shared_service.client(operator) for operator in shared_service.operators)
    path = f"/v1/members/{shared_service.admit('Bank').session.signer.member_id}"
    versions = [first.call("GET", path).version]
    assert second.call("GET", path).version == first.call("GET", f"{path}/proposals").version == versions[0]
    assert attempt(first, "POST", f"{path}/quotas", {"queries_per_day": 5}) == "precondition_required"
    proposed = first.call("POST", f"{path}/quotas", data={"queries_per_day": 5}, key="once", if_match=versions[0])
    versions.append(proposed.version)
    assert attempt(second, "POST", f"{path}/quotas", {"queries_per_day": 6}, if_match=versions[0]) == (
        "precondition_failed"
    )
    # A retry under the same idempotency key is no second change.
    again = first.call("POST", f"{path}/quotas", data={"queries_per_day": 5}, key="once", if_match=versions[0])
    assert again.body == proposed.body
    terms = {"action": "quotas", "queries_per_day": 5}
    assert attempt(second, "POST", f"{path}/approvals", terms) == "precondition_required"
    assert attempt(second, "POST", f"{path}/approvals", terms, if_match=versions[0]) == "precondition_failed"
    versions.append(second.call("POST", f"{path}/approvals", data=terms, if_match=versions[1]).version)
    versions.append(first.call("POST", f"{path}/suspension", data={"reason": "review"}).version)
    assert first.call("GET", path).version == versions[-1]
    assert len(set(versions)) == 4


def test_proposals_are_listed_in_pages_with_what_must_be_repeated(shared_service: RunningService) -> None:
    first, second = (shared_service.client(operator) for operator in shared_service.operators)
    path = f"/v1/members/{shared_service.admit('Other bank').session.signer.member_id}"
    for number in (1, 2, 3):
        first.call("POST", f"{path}/quotas", data={"reports_per_day": number}, if_match="*")
    page = second.call("GET", f"{path}/proposals", query="limit=2").data
    rest = second.call("GET", f"{path}/proposals", query=f"limit=2&cursor={page['next_cursor']}").data
    assert [one["terms"]["reports_per_day"] for one in (*page["data"], *rest["data"])] == [3, 2, 1]
    assert (page["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)
    assert page["data"][0]["proposed_by"] == shared_service.operators[0].member_id
    assert attempt(shared_service.admit("Curious"), "GET", f"{path}/proposals") == "role_forbidden"
