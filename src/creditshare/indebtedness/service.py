"""Stating a debt, and asking for the test. The only door to indebtedness."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from creditshare.audit.service import Entry, Recorded
from creditshare.consents.service import Consents
from creditshare.errors import Refused
from creditshare.ids import spell, uuid7
from creditshare.indebtedness import repository
from creditshare.indebtedness.repository import borrowers_of_statements, ids_of_statements
from creditshare.indebtedness.rules import (
    JURISDICTION,
    Debt,
    Purpose,
    Statement,
    Terms,
    closed_month,
    cut_off,
    objections,
    verdict,
)
from creditshare.members.service import Member
from creditshare.policy.service import Policy
from creditshare.records.service import Records
from creditshare.sandbox.service import business_time
from creditshare.sharing.answer import instant
from creditshare.sharing.service import keep_told
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.subjects.service import BorrowerToken, Subjects, SubjectState
from creditshare.wire.strict_json import canonical

__all__ = ["Indebtedness", "Stated", "borrowers_of_statements", "ids_of_statements"]
SCOPES = ("defaults",)
"""What a consent to ask must cover: the test tells of others' overdue debts, without amounts."""


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement on file, and the instant from which it can no longer be replaced and is counted."""

    statement: Statement
    closes_at: datetime


class Indebtedness:
    """Debt statements and the test over them."""

    def __init__(self, *, subjects: Subjects, consents: Consents, records: Records, policy: Policy) -> None:
        self._subjects = subjects
        self._consents = consents
        self._records = records
        self._policy = policy

    async def state_debt(
        self, session: WriteSession, member: Member, token: BorrowerToken, debt: Debt, *, now: datetime
    ) -> Recorded[Stated]:
        """Put a statement on file; an earlier one of the same month stays there, and counts no more."""
        _require_jurisdiction(member)
        terms = Terms.of(self._policy, now.date())
        _refuse_wrong(debt, terms, now)
        state = await self._subjects.resolve(session, token, member.member_id, now=now)
        # Under the borrower's lock the time is looked at again. Who asks takes that lock too, so that nothing is put on
        # file for a month of which somebody was told the answer already.
        now = (await business_time(session)).now
        _refuse_wrong(debt, terms, now)
        if debt.provide_consent_id is not None:
            await self._consents.require(
                session,
                state,
                debt.provide_consent_id,
                member_id=member.member_id,
                kind="provide",
                purpose=None,
                scopes=(),
                now=now,
            )
        state = await self._subjects.advance(session, state)
        statement = Statement(uuid7(now), member.member_id, now, debt)
        await repository.add(session, state, statement)
        entry = Entry(
            "state_debt",
            subject=state.keys,
            references={"statement_id": spell("dbt", statement.statement_id)},
            details={"month": _spelled(debt.month)},
        )
        return Recorded(Stated(statement, cut_off(debt.month, terms)), entry)

    async def test(
        self,
        session: WriteSession,
        member: Member,
        token: BorrowerToken,
        *,
        purpose: Purpose,
        consent_id: UUID,
        now: datetime,
    ) -> Recorded[bytes]:
        """Answer the test of the month that closed last, use the consent once, and keep what was told.

        What is asked is a question like others: it has a ``qry_`` id and is found by it.
        """
        _require_jurisdiction(member)
        state = await self._subjects.find(session, token)
        if state is None:
            raise Refused("consent_missing")
        consent = await self._consents.require(
            session,
            state,
            consent_id,
            member_id=member.member_id,
            kind="query",
            purpose=purpose,
            scopes=SCOPES,
            now=now,
        )
        await self._consents.use(session, state, consent, now=now)
        terms = Terms.of(self._policy, now.date())
        month = closed_month(now, terms)
        statements = await repository.all_of(session, state)
        histories = await self._records.histories(session, state)
        found = verdict(month, statements, histories, terms)
        query_id = uuid7(now)
        body = canonical(
            {
                "as_of": instant(cut_off(month, terms)),
                "consent": {"id": spell("cns", consent_id)},
                "coverage": found.coverage,
                "flipped": found.flipped,
                "month": _spelled(month),
                "policy_version": self._policy.version,
                "query_id": spell("qry", query_id),
                "reason": found.reason,
            }
        )
        await keep_told(
            session,
            state,
            query_id,
            member_id=member.member_id,
            consent_id=consent_id,
            kind="non_performing_test",
            purpose=purpose,
            scopes=SCOPES,
            policy_version=self._policy.version,
            body=body,
            now=now,
        )
        entry = Entry(
            "run_non_performing_test",
            purpose,
            state.keys,
            {"consent_id": spell("cns", consent_id), "query_id": spell("qry", query_id)},
            {"month": _spelled(month)},
        )
        return Recorded(body, entry)

    async def own_in_full(self, session: ReadSession, state: SubjectState, member_id: UUID) -> list[dict[str, Any]]:
        """Return what a member stated of a borrower, what was replaced too."""
        return [
            {
                "statement_id": spell("dbt", one.statement_id),
                "recorded_at": one.recorded_at.isoformat(),
                "month": _spelled(one.debt.month),
                "currency": one.debt.currency,
                "total_debt": f"{one.debt.total:f}",
                "overdue_debt": f"{one.debt.overdue:f}",
                "lawful_basis": one.debt.basis,
            }
            for one in await repository.all_of(session, state)
            if one.member_id == member_id
        ]


def _require_jurisdiction(member: Member) -> None:
    if JURISDICTION not in member.jurisdictions:
        raise Refused("jurisdiction_not_admitted")


def _refuse_wrong(debt: Debt, terms: Terms, now: datetime) -> None:
    if wrong := objections(debt, terms, now):
        raise Refused("validation_failed", fields=wrong)


def _spelled(month: date) -> str:
    return f"{month:%Y-%m}"
