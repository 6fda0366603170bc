"""Debt statements, and the 20 % test over them."""

from datetime import date
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from creditshare.api.schemas.consents import consent_id
from creditshare.api.schemas.forms import Amount, Currency, Instant, Strict
from creditshare.api.schemas.queries import ConsentRef
from creditshare.api.schemas.tokens import EXAMPLE_SUBJECT, SubjectIn
from creditshare.ids import spell
from creditshare.indebtedness import rules
from creditshare.indebtedness.service import Stated

Month = Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]
EXAMPLE_STATEMENT: Final[dict[str, Any]] = {
    "subject": EXAMPLE_SUBJECT,
    "month": "2026-01",
    "currency": "CNY",
    "total_debt": "1250000.00",
    "overdue_debt": "300000.00",
    "lawful_basis": "legal_duty",
}


class DebtStatementIn(Strict):
    """What a non-retail borrower owes this lender at a month's end.

    ``total_debt`` is all of it; ``overdue_debt`` is the part that is overdue for more days than the policy says (90).
    """

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [EXAMPLE_STATEMENT]})
    subject: SubjectIn
    month: Month
    currency: Currency
    total_debt: Amount
    overdue_debt: Amount
    lawful_basis: rules.Basis
    provide_consent_id: Annotated[str, Field(max_length=64)] | None = None

    def debt(self) -> rules.Debt:
        """Return the domain's debt."""
        return rules.Debt(
            month=date.fromisoformat(f"{self.month}-01"),
            currency=self.currency,
            total=self.total_debt,
            overdue=self.overdue_debt,
            basis=self.lawful_basis,
            provide_consent_id=None if self.provide_consent_id is None else consent_id(self.provide_consent_id),
        )


class DebtStatementOut(BaseModel):
    """A statement on file. Until ``closes_at`` a later one of the same month takes its place; then it is counted."""

    statement_id: str
    month: str
    currency: str
    total_debt: Amount
    overdue_debt: Amount
    lawful_basis: str
    recorded_at: Instant
    closes_at: Instant

    @classmethod
    def of(cls, stated: Stated) -> "DebtStatementOut":
        """Present a statement to the lender that made it."""
        statement, debt = stated.statement, stated.statement.debt
        return cls(
            statement_id=spell("dbt", statement.statement_id),
            month=f"{debt.month:%Y-%m}",
            currency=debt.currency,
            total_debt=debt.total,
            overdue_debt=debt.overdue,
            lawful_basis=debt.basis,
            recorded_at=statement.recorded_at,
            closes_at=stated.closes_at,
        )


class NonPerformingTestIn(Strict):
    """Is more than 20 % of this borrower's debt at all lenders more than 90 days overdue?"""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "subject": EXAMPLE_SUBJECT,
                    "purpose": "post_loan_monitoring",
                    "consent_id": "cns_01900000-0000-7000-8000-000000000000",
                }
            ]
        },
    )
    subject: SubjectIn
    purpose: rules.Purpose
    consent_id: Annotated[str, Field(max_length=64)]


class NonPerformingTestOut(BaseModel):
    """The answer for the month that closed last, the same for whoever asks. Its receipt is the CS-Signature header."""

    query_id: str
    month: str
    as_of: str
    flipped: bool | None
    reason: str | None
    coverage: str | None
    consent: ConsentRef
    policy_version: str
