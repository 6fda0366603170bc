"""Membership in production: bootstrap keys admit operators only, and only the approved key can enrol."""

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from tests.fixtures.service import KEYRING, RunningService

from creditshare.approvals.repository import ProposalRows
from creditshare.approvals.service import Approvals
from creditshare.crypto.jws import SigningKey
from creditshare.errors import Refused
from creditshare.ids import parse, spell
from creditshare.members.keys import BOOTSTRAP_LIFE
from creditshare.members.models import member_key
from creditshare.members.service import Application, MemberRole, Members
from creditshare.storage.engine import WriteSession
from creditshare.wire.registration import make_proof

Act = Callable[[Members, WriteSession], Awaitable[Any]]


@pytest.fixture
def run(shared_service: RunningService) -> Callable[[Act], Any]:
    """Act as a production service would, in a transaction that rolls back."""
    approvals = Approvals(ProposalRows(KEYRING.row_seals()))
    members = Members(
        environment="production",
        service_box=KEYRING.box("service"),
        seals=KEYRING.row_seals(),
        default_evaluations_per_day=10,
        keys=shared_service.services.member_keys,
        approvals=approvals,
    )
    approvals.take(members.kinds(), role_of=members.role_of)

    async def acting(act: Act) -> Any:
        async with shared_service.services.database.writing() as session:
            return await act(members, session)

    return lambda act: shared_service.run(acting(act))


def application(role: MemberRole, key_thumbprint: str | None) -> Application:
    return Application("First Bank", role, "US", ("US",), key_thumbprint, None, {})


def operators(service: RunningService) -> tuple[UUID, UUID]:
    first, second = (parse("mem", operator.member_id) for operator in service.operators)
    return first, second


def code_of(run: Callable[[Act], Any], act: Act) -> tuple[str, list[str]]:
    with pytest.raises(Refused) as caught:
        run(act)
    return caught.value.code, [field.pointer for field in caught.value.fields]


@pytest.mark.parametrize("role", ["lender", "regulator"])
@pytest.mark.parametrize("bootstrap_key", [True, False])
def test_nobody_but_operators_is_admitted_while_bootstrap_keys_live(
    shared_service: RunningService, run: Callable[[Act], Any], role: MemberRole, *, bootstrap_key: bool
) -> None:
    by, _ = operators(shared_service)
    key, now = SigningKey.generate(), datetime.now(UTC)

    async def act(members: Members, session: WriteSession) -> object:
        await mark_bootstrap(members, session, now)
        return await members.apply(session, by, application(role, key.kid), bootstrap_key=bootstrap_key, now=now)

    assert code_of(run, act) == ("state_conflict", [])

    async def operator(members: Members, session: WriteSession) -> Any:
        await mark_bootstrap(members, session, now)
        return await members.apply(session, by, application("operator", key.kid), bootstrap_key=bootstrap_key, now=now)

    assert run(operator).value.status == "applicant"

    async def later(members: Members, session: WriteSession) -> Any:
        await mark_bootstrap(members, session, now)
        after = now + BOOTSTRAP_LIFE + timedelta(seconds=1)
        return await members.apply(session, by, application(role, key.kid), bootstrap_key=False, now=after)

    assert run(later).value.status == "applicant"


async def mark_bootstrap(members: Members, session: WriteSession, now: datetime) -> None:
    for row in (await session.execute(select(member_key))).mappings().all():
        await members.rows.change(session, "member_key", row, bootstrap=True, expires_at=now + BOOTSTRAP_LIFE)


def test_an_admission_names_the_key_that_may_enrol(shared_service: RunningService, run: Callable[[Act], Any]) -> None:
    by, _ = operators(shared_service)

    async def act(members: Members, session: WriteSession) -> object:
        now = datetime.now(UTC)
        return await members.apply(session, by, application("lender", None), bootstrap_key=False, now=now)

    assert code_of(run, act) == ("validation_failed", ["/key_thumbprint"])


@pytest.mark.parametrize("action", ["admission", "recovery"])
@pytest.mark.parametrize("approved", [True, False])
def test_only_the_approved_key_can_enrol(
    shared_service: RunningService, run: Callable[[Act], Any], action: Any, *, approved: bool
) -> None:
    first, second = operators(shared_service)
    expected, other = SigningKey.generate(), SigningKey.generate()
    now = datetime.now(UTC)

    async def act(members: Members, session: WriteSession) -> Any:
        named = expected.kid if action == "admission" else other.kid
        done = await members.apply(session, first, application("lender", named), bootstrap_key=False, now=now)
        member_id = done.value.member_id
        terms = {"key_thumbprint": named}
        await members.begin_due_diligence(session, member_id, note="file 1", by=first, now=now)
        decided = await members.approve(session, member_id, action="admission", terms=terms, by=second, now=now)
        if action == "recovery":
            terms = {"key_thumbprint": expected.kid}
            await members.propose(session, member_id, "recovery", terms, by=first, now=now)
            decided = await members.approve(session, member_id, action="recovery", terms=terms, by=second, now=now)
        key = expected if approved else other
        issuer = shared_service.url
        proof = make_proof(
            key,
            member_id=spell("mem", member_id),
            issuer=issuer,
            iat=int(now.timestamp()),
            jti=secrets.token_urlsafe(18),
        )
        return await shared_service.services.member_keys.enrol_first(
            session,
            member_id,
            jwk=key.public_jwk,
            proof=proof,
            code=decided.value.enrolment_code or "",
            issuer=issuer,
            now=now,
        )

    if approved:
        assert run(act).value.kid == expected.kid
    else:
        assert code_of(run, act) == ("proof_invalid", [])


def test_a_recovery_names_the_key_that_may_enrol(shared_service: RunningService, run: Callable[[Act], Any]) -> None:
    first, second = operators(shared_service)

    async def act(members: Members, session: WriteSession) -> object:
        return await members.propose(session, second, "recovery", {}, by=first, now=datetime.now(UTC))

    assert code_of(run, act) == ("validation_failed", ["/key_thumbprint"])


def test_nobody_is_admitted_who_was_not_examined(shared_service: RunningService, run: Callable[[Act], Any]) -> None:
    first, second = operators(shared_service)
    named, now = SigningKey.generate().kid, datetime.now(UTC)

    async def act(members: Members, session: WriteSession) -> object:
        done = await members.apply(session, first, application("lender", named), bootstrap_key=False, now=now)
        terms = {"key_thumbprint": named}
        return await members.approve(session, done.value.member_id, action="admission", terms=terms, by=second, now=now)

    assert code_of(run, act) == ("state_conflict", [])
