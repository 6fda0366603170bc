"""Questions and answers."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from creditshare.api.schemas.forms import Instant, Strict, distinct
from creditshare.api.schemas.tokens import EXAMPLE_SUBJECT, SubjectIn
from creditshare.consents.rules import QueryPurpose

EXAMPLE_QUERY: Final[dict[str, Any]] = {
    "subject": EXAMPLE_SUBJECT,
    "purpose": "pre_loan",
    "consent_id": "cns_01900000-0000-7000-8000-000000000000",
    "scopes": ["defaults"],
}


class QueryIn(Strict):
    """A question about one borrower."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                EXAMPLE_QUERY,
            ]
        },
    )
    subject: SubjectIn
    purpose: QueryPurpose
    consent_id: Annotated[str, Field(max_length=64)]
    scopes: Annotated[list[str], Field(min_length=1, max_length=8), AfterValidator(distinct)]
    as_of: Instant | None = None


class QueryBatchIn(Strict):
    """Questions about several borrowers."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"queries": [EXAMPLE_QUERY]}]}
    )
    queries: Annotated[list[QueryIn], Field(min_length=1, max_length=1_000)]


class ReceivedRecord(BaseModel):
    """One record in an answer. ``handle`` is this member's own name for it."""

    handle: str
    own: bool
    role: str
    status: str
    bucket: str
    classification: str
    product: str
    amount_band: str
    amounts: dict[str, str] | None = None
    default_on: str
    days_past_due: int | None
    disputed: bool
    statement: str | None = None
    as_of: str
    freshness_days: int


class Summary(BaseModel):
    """What all other lenders together reported as open."""

    lenders: int
    open_defaults: int
    exposure_band: str
    worst_bucket: str


class ConsentRef(BaseModel):
    """The consent that an answer was given under."""

    id: str


class WithheldOut(BaseModel):
    """Something within the consent that the answer leaves out, and why."""

    what: str
    why: str


class QueryOut(BaseModel):
    """An answer. Its receipt is the CS-Signature header."""

    query_id: str
    as_of: str
    consent: ConsentRef
    match: Literal["records", "none"]
    records: list[ReceivedRecord]
    summary: Summary
    withheld: list[WithheldOut]
    policy_version: str


class QueryResult(BaseModel):
    """What came of one question of a batch: its answer, or the refusal's status and code. ``log`` is its receipt."""

    status: int
    code: str | None
    log: dict[str, str | int]
    answer: QueryOut | None


class QueryBatchOut(BaseModel):
    """Results in the order asked."""

    results: list[QueryResult]
