"""What a member in which state may do, and what follows on what: the whole table, said once more by hand."""

import contextlib
from typing import get_args

import pytest

from creditshare.errors import Refused
from creditshare.members.standing import FOLLOWS, LASTS, MAY, Act, after, may, refusal

ACTS = get_args(Act)


@pytest.mark.parametrize(
    ("status", "acts"),
    [
        ("applicant", ""),
        ("due_diligence", ""),
        ("certified", ""),
        ("active", "keep correct report ask oversee"),
        ("limited", "keep correct report"),
        ("suspended", "keep correct"),
        ("terminated", ""),
        ("a state that this release does not know", ""),
    ],
)
def test_what_each_state_allows(status: str, acts: str) -> None:
    assert {act for act in ACTS if may(status, act)} == set(acts.split())
    for act in ACTS:
        code = None if act in acts.split() else "member_limited" if status == "limited" else "member_suspended"
        assert refusal(status, act) == code


WAYS = {
    "applicant": {"due_diligence", "terminated"},
    "due_diligence": {"certified", "terminated"},
    "certified": {"active", "terminated"},
    "active": {"limited", "suspended", "terminated"},
    "limited": {"active", "suspended", "terminated"},
    "suspended": {"active", "terminated"},
    "terminated": set(),
}


@pytest.mark.parametrize("status", WAYS)
def test_each_way_from_a_state_and_no_other(status: str) -> None:
    reached = set()
    for change in FOLLOWS:
        with contextlib.suppress(Refused):
            reached.add(after(change, status))
    assert reached == WAYS[status]
    assert (status in LASTS) == (status != "terminated")


def test_in_a_sandbox_an_applicant_is_admitted_unexamined() -> None:
    assert after("admission", "applicant", examined=False) == "certified"
    with pytest.raises(Refused, match="state_conflict"):
        after("admission", "applicant", examined=True)


@pytest.mark.parametrize("role", ["operator", "regulator"])
def test_only_lenders_are_limited(role: str) -> None:
    with pytest.raises(Refused, match="state_conflict"):
        after("limitation", "active", role=role)
    assert after("suspension", "active", role=role) == "suspended"


def test_who_may_anything_has_keys() -> None:
    assert set(MAY) < LASTS
