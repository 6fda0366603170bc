"""Institutions, what operators propose and approve about them, and the quotas of their day."""

from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from creditshare.access.usage import Usage
from creditshare.api.schemas.forms import Country, Instant, Page, Quota, Reference, Strict, Thumbprint, distinct
from creditshare.api.schemas.keys import EXAMPLE_JWK
from creditshare.approvals.rules import Proposal
from creditshare.ids import Prefix, spell
from creditshare.impact import Impact
from creditshare.members.keys import EndingKey
from creditshare.members.service import Application, Examination, Member, MemberRole, ProposalAction
from creditshare.wire.record_form import REGION_CODES

Jurisdictions = Annotated[list[Country], Field(max_length=64), AfterValidator(distinct)]


def in_order(terms: dict[str, Any]) -> dict[str, Any]:
    """Return terms so that the same set of jurisdictions is the same terms, in whatever order it is named."""
    return {name: sorted(value) if isinstance(value, list) else value for name, value in terms.items()}


class MemberIn(Strict):
    """An institution proposed by an operator."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"name": "First Example Bank", "role": "lender", "region": "US-CA", "jurisdictions": ["US"]}]
        },
    )
    name: Reference
    role: MemberRole
    region: Annotated[str, Field(pattern=f"^{REGION_CODES['ISO 3166-2']}$")]
    jurisdictions: Jurisdictions | None = None
    key_thumbprint: Thumbprint | None = None
    licence_no: Reference | None = None
    contacts: Annotated[dict[str, Annotated[str, Field(max_length=200)]], Field(max_length=8)] = Field(
        default_factory=dict
    )

    def application(self) -> Application:
        """Return the domain's application; the jurisdiction is by default the region's country."""
        return Application(
            name=self.name,
            role=self.role,
            region=self.region,
            jurisdictions=tuple(self.jurisdictions if self.jurisdictions is not None else [self.region[:2]]),
            key_thumbprint=self.key_thumbprint,
            licence_no=self.licence_no,
            contacts=self.contacts,
        )


class MemberOut(BaseModel):
    """An institution."""

    member_id: str
    name: str
    role: str
    region: str
    jurisdictions: list[str]
    status: str
    evaluations_per_day: int
    queries_per_day: int | None = Field(description="Null: the service's default, as its discovery document says.")
    reports_per_day: int | None = Field(description="Likewise.")
    hand_back_kid: str | None = Field(
        None, description="Thumbprint of the key that its data are encrypted to when its membership ends."
    )

    tier: str = Field("full", description="How deep a lender's answers are, by /v1/reciprocity-rules.")

    @classmethod
    def of(cls, member: Member) -> "MemberOut":
        """Present a member."""
        return cls(
            member_id=spell("mem", member.member_id),
            name=member.name,
            role=member.role,
            region=member.region,
            jurisdictions=list(member.jurisdictions),
            status=member.status,
            evaluations_per_day=member.evaluations_per_day,
            queries_per_day=member.queries_per_day,
            reports_per_day=member.reports_per_day,
            hand_back_kid=member.hand_back_kid,
            tier=member.tier,
        )


class MeOut(MemberOut):
    """Who the service takes the caller for, and which of its keys end soon."""

    kid: str
    sub: str
    ending_keys: list["EndingKeyOut"]


class ApprovalIn(Strict):
    """Which open proposal the second person approves.

    The terms are repeated: the quotas, the jurisdictions, or the thumbprint of the key that may enrol (of an admission
    in production) or sign (``key``).
    """

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"action": "admission"}]})
    action: ProposalAction = "admission"
    evaluations_per_day: Quota | None = None
    queries_per_day: Quota | None = None
    reports_per_day: Quota | None = None
    key_thumbprint: Thumbprint | None = None
    jurisdictions: Jurisdictions | None = None

    def terms(self) -> dict[str, Any]:
        """Return what is approved, in the form in which it was proposed."""
        return in_order(self.model_dump(exclude={"action"}, exclude_none=True))


class ApprovalOut(MemberOut):
    """The member after the approval; the one-time code is shown here and nowhere else, kept only as a hash."""

    enrolment_code: str | None = None


class ProposalIn(Strict):
    """A proposal that needs a second person.

    Lifting a limitation or suspension; a new enrolment code after a lost key; other jurisdictions to report in, all of
    them named; the end of a membership; an admission anew, where what was proposed first has ended.
    """

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"action": "recovery"}]})
    action: Literal["lift_suspension", "recovery", "jurisdictions", "lift_limitation", "termination", "admission"]
    key_thumbprint: Thumbprint | None = None
    jurisdictions: Jurisdictions | None = None

    @model_validator(mode="after")
    def _says_what(self) -> "ProposalIn":
        """Ask for jurisdictions where they are proposed; the key of a recovery the service asks for, in production."""
        own = {
            "admission": {"key_thumbprint"},
            "recovery": {"key_thumbprint"},
            "jurisdictions": {"jurisdictions"},
        }.get(self.action, set())
        if self.action == "jurisdictions" and self.jurisdictions is None:
            raise ValueError("jurisdictions: all that the member shall have")
        if self.terms().keys() - own:
            raise ValueError(f"{self.action} has no such terms")
        return self

    def terms(self) -> dict[str, Any]:
        """Return what is proposed."""
        return in_order(self.model_dump(exclude={"action"}, exclude_none=True))


class ProposalOut(BaseModel):
    """What waits for a second person, who approves it by repeating its terms, or rejects it by its id."""

    proposal_id: str
    about: str = Field(description="Id of what it is about.")
    member_id: str | None = Field(description="The same, where it is about an institution.")
    action: str
    terms: dict[str, int | str | list[str]]
    proposed_by: str
    proposed_at: Instant
    expires_at: Instant
    decision: str | None = Field(None, description="Null while it waits.")
    approved_by: list[str] = Field(
        default_factory=list, description="Of what takes more than one approval: who approved it so far."
    )
    approvals_needed: int = Field(1, description="How many different people must approve it.")

    @classmethod
    def of(cls, proposal: Proposal, *, about: Prefix, approvals: int) -> "ProposalOut":
        """Present a proposal; ``about`` is the sort of thing that its kind is about."""
        named = spell(about, proposal.about)
        return cls(
            proposal_id=spell("prp", proposal.proposal_id),
            about=named,
            member_id=named if about == "mem" else None,
            action=proposal.kind,
            terms=dict(proposal.terms),
            proposed_by=spell("mem", proposal.proposed_by),
            proposed_at=proposal.proposed_at,
            expires_at=proposal.expires_at,
            decision=proposal.decision,
            approved_by=[spell("mem", one) for one in proposal.approved_by],
            approvals_needed=approvals,
        )


class QuotasIn(Strict):
    """A member's quotas of the day, proposed; what is left out stays as it is."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"evaluations_per_day": 20000}, {"queries_per_day": 50000, "reports_per_day": 100000}],
            "minProperties": 1,
        },
    )
    evaluations_per_day: Quota | None = None
    queries_per_day: Quota | None = None
    reports_per_day: Quota | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "QuotasIn":
        if not self.terms():
            raise ValueError("at least one quota")
        return self

    def terms(self) -> dict[str, int]:
        """Return what is proposed."""
        return self.model_dump(exclude_none=True)


class QuotaOut(BaseModel):
    """A member's quotas and what is used of them today (UTC).

    Questions and reports are leased to the service's processes in small blocks: what another one holds counts as used.
    Unnamed evaluations are those, of any day, that no borrower you named in a consent or report accounts for.
    """

    evaluations_per_day: int
    evaluations_used_today: int
    evaluations_unnamed: int
    evaluations_unnamed_at_most: int
    queries_per_day: int
    queries_used_today: int
    reports_per_day: int
    reports_used_today: int

    @classmethod
    def of(cls, usage: Usage) -> "QuotaOut":
        """Present a member's own day."""
        given = asdict(usage)
        del given["member_id"]
        return cls(**given)


class UsageOut(QuotaOut):
    """A member's quotas and what is used of them today, for operators."""

    member_id: str

    @classmethod
    def of(cls, usage: Usage) -> "UsageOut":
        """Present a member's day."""
        return cls(**{**asdict(usage), "member_id": spell("mem", usage.member_id)})


class UsagePage(Page[UsageOut]):
    """A page of members' days."""


class ImpactOut(BaseModel):
    """What a restriction or the end of a membership would touch; questions are those of the last 30 days."""

    member_id: str
    live_keys: int
    consents_to_ask: int
    consents_to_provide: int
    live_records: int
    files_in_progress: int
    proposals_about: int
    proposals_by: int
    questions: int
    warrants: int = Field(description="In force; a suspension or the end of the membership ends them for good.")
    hand_back_kid: str | None = Field(description="Null: it named no key that its data could be encrypted to.")

    @classmethod
    def of(cls, member_id: UUID, impact: Impact) -> "ImpactOut":
        """Present what would be touched."""
        return cls(member_id=spell("mem", member_id), **asdict(impact))


class EndingKeyOut(BaseModel):
    """A key that ends within so many days; ``last``: its member has none that ends later."""

    kid: str
    member_id: str
    expires_at: Instant
    within_days: int
    last: bool

    @classmethod
    def of(cls, key: EndingKey) -> "EndingKeyOut":
        """Present a key that ends soon."""
        return cls(**{**asdict(key), "member_id": spell("mem", key.member_id)})


class EndingKeyPage(Page[EndingKeyOut]):
    """A page of keys that end soon, soonest first."""


class ExaminationOut(BaseModel):
    """What is examined of an applicant, or by which file it can be found; by which operator, since when."""

    note: str
    by: str
    at: Instant

    @classmethod
    def of(cls, examination: Examination) -> "ExaminationOut":
        """Present what was noted."""
        return cls(note=examination.note, by=spell("mem", examination.by), at=examination.at)


class MemberShownOut(MemberOut):
    """An institution with its licence and contacts, which of its keys end soon, what was noted of its due diligence."""

    licence_no: str | None = None
    contacts: dict[str, str]
    ending_keys: list[EndingKeyOut]
    examination: ExaminationOut | None = None


class RejectionIn(Strict):
    """Why a proposal is rejected or withdrawn: kept in the log for ever, so it names no borrower."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "not_agreed"}]})
    reason: Reference


class DueDiligenceIn(Strict):
    """What is examined of an applicant, or where that is kept: in the log for ever."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"note": "licence and owners, file 2026-17"}]}
    )
    note: Reference


class LimitationIn(Strict):
    """Why a member may not ask for the time being: kept in the log for ever, so it names no borrower."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "stale_records"}]}
    )
    reason: Reference


class SuspensionIn(Strict):
    """Why a member is suspended: kept in the log for ever, so it names no borrower."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "key_theft"}]})
    reason: Reference


class HandBackKeyIn(Strict):
    """A public P-256 key whose ``use`` is ``enc``; keep the private half where it outlives your membership."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"jwk": {**EXAMPLE_JWK, "use": "enc"}}]}
    )
    jwk: Annotated[dict[str, str], Field(max_length=16)]


class MemberPage(Page[MemberOut]):
    """A page of institutions."""


class ProposalPage(Page[ProposalOut]):
    """A page of what waits for a second person."""
