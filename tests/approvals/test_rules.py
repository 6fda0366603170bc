"""What an approval is for, and whose."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from creditshare.approvals.rules import Proposal, approved
from creditshare.errors import Refused

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
A, B = UUID(int=1), UUID(int=2)


def proposal(by: UUID, **terms: object) -> Proposal:
    return Proposal(uuid4(), "quotas", A, terms, by, NOW, NOW + timedelta(days=1))


def test_an_approval_is_for_the_terms_that_it_repeats() -> None:
    small, large = proposal(A, evaluations_per_day=10), proposal(A, evaluations_per_day=9_000)
    assert approved([large, small], {"evaluations_per_day": 10}, by=B, repeated=True) is small
    assert approved([large, small], {}, by=B, repeated=False) is large
    for terms in ({}, {"evaluations_per_day": 11}, {"key_thumbprint": "x"}):
        with pytest.raises(Refused) as caught:
            approved([large, small], terms, by=B, repeated=True)
        assert caught.value.code == "validation_failed"
        assert caught.value.fields[0].pointer == "/evaluations_per_day"


def test_nobody_approves_its_own_proposal_but_may_approve_anothers() -> None:
    own, other = proposal(B), proposal(A)
    assert approved([own, other], {}, by=B, repeated=True) is other
    with pytest.raises(Refused) as caught:
        approved([own], {}, by=B, repeated=True)
    assert caught.value.code == "role_forbidden"
