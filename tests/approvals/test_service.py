"""A kind of proposal of which members know nothing: who may propose and approve it, and what carries it out."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.fixtures.service import KEYRING, RunningService

from creditshare.approvals.repository import ProposalRows
from creditshare.approvals.rules import Proposal
from creditshare.approvals.service import LIFE, Approvals, Kind, Outcome
from creditshare.errors import Refused
from creditshare.storage.engine import ReadSession, WriteSession

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TERMS = {"until": "2026-04-01"}


@dataclass
class Warrants:
    """Regulators propose readings and operators or other regulators approve them."""

    roles: dict[UUID, str | None] = field(default_factory=dict)
    carried_out: list[Proposal] = field(default_factory=list)
    dropped: list[Proposal] = field(default_factory=list)

    approvals_needed: int = 1

    def __post_init__(self) -> None:
        self.approvals = Approvals(ProposalRows(KEYRING.row_seals()))
        kind = Kind(
            name="warrant",
            about="rec",
            reference="record_id",
            proposers=frozenset({"regulator"}),
            approvers=frozenset({"regulator", "operator"}),
            hold=self._hold,
            carry_out=self._carry_out,
            dropped=self._drop,
            approvals=self.approvals_needed,
        )
        self.approvals.take([kind], role_of=self._role_of)

    def person(self, role: str) -> UUID:
        person = uuid4()
        self.roles[person] = role
        return person

    async def _role_of(self, session: ReadSession, person: UUID) -> str | None:
        del session
        return self.roles[person]

    async def _hold(self, session: WriteSession, about: UUID) -> None:
        del session, about

    async def _carry_out(self, session: WriteSession, proposal: Proposal, by: UUID, now: datetime) -> Outcome:
        del session, by, now
        self.carried_out.append(proposal)
        return Outcome(details={"days": 31})

    async def _drop(self, session: WriteSession, proposal: Proposal, now: datetime) -> None:
        del session, now
        self.dropped.append(proposal)


Act = Callable[[WriteSession], Coroutine[Any, Any, Any]]


@pytest.fixture
def run(shared_service: RunningService) -> Callable[[Act], Any]:
    """Act in a transaction that rolls back."""

    async def acting(act: Act) -> Any:
        async with shared_service.services.database.writing() as session:
            return await act(session)

    return lambda act: shared_service.run(acting(act))


def test_it_is_carried_out_for_a_second_person_alone(run: Callable[[Act], Any]) -> None:
    warrants, about = Warrants(), uuid4()
    regulator, operator = warrants.person("regulator"), warrants.person("operator")

    async def act(session: WriteSession) -> None:
        approvals = warrants.approvals
        made = await approvals.propose(session, "warrant", about, TERMS, by=regulator, now=NOW)
        assert await approvals.open(session, now=NOW) == [made]
        with pytest.raises(Refused, match="role_forbidden"):
            await approvals.approve(session, "warrant", about, TERMS, by=regulator, now=NOW)
        assert not warrants.carried_out
        decided = await approvals.approve(session, "warrant", about, TERMS, by=operator, now=NOW)
        assert (decided.proposal.decision, decided.outcome.details) == ("approved", {"days": 31})
        assert warrants.carried_out == [made]
        assert await approvals.open(session, now=NOW) == []

    run(act)


def test_what_takes_two_approvals_takes_them_of_two_others(run: Callable[[Act], Any]) -> None:
    warrants, about = Warrants(approvals_needed=2), uuid4()
    asking, first, second, third = (warrants.person("regulator") for _ in range(4))

    async def act(session: WriteSession) -> None:
        approvals = warrants.approvals
        await approvals.propose(session, "warrant", about, TERMS, by=asking, now=NOW)

        async def approve(by: UUID) -> tuple[bool, tuple[UUID, ...]]:
            decided = await approvals.approve(session, "warrant", about, TERMS, by=by, now=NOW)
            return decided.whole, decided.proposal.approved_by

        assert await approve(first) == (False, (first,))
        for by in (first, asking):
            with pytest.raises(Refused, match="role_forbidden"):
                await approve(by)
        warrants.roles[first] = None  # who may not approve any more does not count
        assert await approve(second) == (False, (second,))
        assert not warrants.carried_out
        assert await approve(third) == (True, (second, third))
        assert len(warrants.carried_out) == 1
        assert (await approvals.newest(session, about, "warrant")).approved_by == (second, third)

    run(act)


def test_after_its_time_nobody_approves_it(run: Callable[[Act], Any]) -> None:
    warrants, about = Warrants(), uuid4()
    regulator, operator = warrants.person("regulator"), warrants.person("operator")

    async def act(session: WriteSession) -> None:
        approvals = warrants.approvals
        made = await approvals.propose(session, "warrant", about, TERMS, by=regulator, now=NOW)
        for decide in (
            approvals.approve(session, "warrant", about, TERMS, by=operator, now=NOW + LIFE),
            approvals.reject(session, made.proposal_id, by=operator, reason="late", now=NOW + LIFE),
        ):
            with pytest.raises(Refused, match="state_conflict"):
                await decide
        almost = NOW + LIFE - timedelta(microseconds=1)
        await approvals.approve(session, "warrant", about, TERMS, by=operator, now=almost)

    run(act)


def test_roles_that_a_kind_does_not_name_neither_propose_nor_decide_it(run: Callable[[Act], Any]) -> None:
    warrants, about = Warrants(), uuid4()
    regulator, operator, lender = (warrants.person(role) for role in ("regulator", "operator", "lender"))

    async def act(session: WriteSession) -> None:
        approvals = warrants.approvals
        for by in (operator, lender):
            with pytest.raises(Refused, match="role_forbidden"):
                await approvals.propose(session, "warrant", about, TERMS, by=by, now=NOW)
        made = await approvals.propose(session, "warrant", about, TERMS, by=regulator, now=NOW)
        with pytest.raises(Refused, match="role_forbidden"):
            await approvals.approve(session, "warrant", about, TERMS, by=lender, now=NOW)
        with pytest.raises(Refused, match="role_forbidden"):
            await approvals.reject(session, made.proposal_id, by=lender, reason="no", now=NOW)

    run(act)


def test_what_somebody_proposed_who_may_not_act_any_more_is_nobodys(run: Callable[[Act], Any]) -> None:
    warrants, about = Warrants(), uuid4()
    regulator, operator = warrants.person("regulator"), warrants.person("operator")

    async def act(session: WriteSession) -> None:
        await warrants.approvals.propose(session, "warrant", about, TERMS, by=regulator, now=NOW)
        warrants.roles[regulator] = None
        assert await warrants.approvals.open(session, now=NOW) == []
        with pytest.raises(Refused, match="state_conflict"):
            await warrants.approvals.approve(session, "warrant", about, TERMS, by=operator, now=NOW)

    run(act)


@pytest.mark.parametrize("by", ["who made it", "another"])
def test_a_rejection_is_told_to_its_concept_and_to_the_log(run: Callable[[Act], Any], by: str) -> None:
    warrants, about = Warrants(), uuid4()
    regulator, operator = warrants.person("regulator"), warrants.person("operator")

    async def act(session: WriteSession) -> None:
        made = await warrants.approvals.propose(session, "warrant", about, TERMS, by=regulator, now=NOW)
        who, decision = (regulator, "withdrawn") if by == "who made it" else (operator, "rejected")
        done = await warrants.approvals.reject(session, made.proposal_id, by=who, reason="no need", now=NOW)
        assert (done.value.decision, warrants.dropped) == (decision, [done.value])
        assert done.entry.references == {"record_id": f"rec_{about}"}
        assert done.entry.details == {"proposal": "warrant", "decision": decision, "reason": "no need"}
        with pytest.raises(Refused, match="state_conflict"):
            await warrants.approvals.reject(session, made.proposal_id, by=operator, reason="again", now=NOW)

    run(act)


def test_all_kinds_are_in_one_list(shared_service: RunningService) -> None:
    first, second = shared_service.desk
    body = {"name": "A lender", "role": "lender", "region": "US"}
    member = first.call("POST", "/v1/members", data=body).data["member_id"]
    (listed,) = (one for one in second.pages("/v1/proposals") if one["member_id"] == member)
    assert (listed["about"], listed["action"]) == (member, "admission")
