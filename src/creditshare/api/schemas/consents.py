"""Consents: what a borrower allowed its lender, with the evidence."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from creditshare.api.schemas.forms import EXAMPLE_DIGEST, Digest, Instant, Strict, distinct, unknown_codes
from creditshare.api.schemas.tokens import EXAMPLE_SUBJECT, SubjectIn
from creditshare.consents import rules as consent_rules
from creditshare.consents.service import Evidence, Held, Terms
from creditshare.errors import FieldError, Malformed, Refused
from creditshare.ids import parse, spell


class FrequencyIn(Strict):
    """At most so many uses per calendar day or month, UTC."""

    uses: Annotated[int, Field(ge=1, le=1_000_000)]
    per: Literal["day", "month"]


class EvidenceIn(Strict):
    """Digest of (32 random bytes ‖ document), how it was given, when it was signed."""

    digest: Digest
    channel: consent_rules.Channel
    signed_at: Instant


class ConsentIn(Strict):
    """A consent that the borrower gave this lender."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "kind": "query",
                    "subject": EXAMPLE_SUBJECT,
                    "purposes": ["pre_loan"],
                    "scopes": ["defaults"],
                    "valid_from": "2026-01-01T00:00:00Z",
                    "valid_until": "2099-01-01T00:00:00Z",
                    "max_uses": 3,
                    "evidence": {"digest": EXAMPLE_DIGEST, "channel": "paper", "signed_at": "2026-01-01T00:00:00Z"},
                }
            ]
        },
    )
    kind: consent_rules.Kind
    subject: SubjectIn
    purposes: Annotated[list[str], Field(max_length=8), AfterValidator(distinct)]
    scopes: Annotated[list[str], Field(max_length=8), AfterValidator(distinct)]
    valid_from: Instant
    valid_until: Instant
    max_uses: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    frequency: FrequencyIn | None = None
    evidence: EvidenceIn

    def terms(self) -> Terms:
        """Return the domain's terms, refusing purposes and scopes that are not in the published lists."""
        allowed = consent_rules.QUERY_PURPOSES if self.kind == "query" else consent_rules.PROVIDE_PURPOSES
        wrong = unknown_codes("/purposes", self.purposes, allowed) + unknown_codes(
            "/scopes", self.scopes, consent_rules.SCOPES
        )
        if self.kind == "query":
            wrong += [
                FieldError(f"/{name}", "too_short", "at least one")
                for name, given in (("purposes", self.purposes), ("scopes", self.scopes))
                if not given
            ]
        if wrong:
            raise Refused("validation_failed", fields=wrong)
        frequency = self.frequency
        return Terms(
            kind=self.kind,
            subject=self.subject.token(),
            purposes=tuple(self.purposes),
            scopes=tuple(self.scopes),
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            max_uses=self.max_uses,
            frequency=None if frequency is None else consent_rules.Frequency(frequency.uses, frequency.per),
            evidence=Evidence(self.evidence.digest, self.evidence.channel, self.evidence.signed_at),
        )


class ConsentOut(BaseModel):
    """A consent as its lender sees it; ``consent_receipt`` is a signed receipt in the shape of ISO/IEC TS 27560."""

    consent_id: str
    kind: str
    status: str
    purposes: list[str]
    scopes: list[str]
    valid_from: Instant
    valid_until: Instant
    max_uses: int | None
    uses: int
    consent_receipt: str

    @classmethod
    def of(cls, held: Held, *, now: datetime, receipt: str) -> "ConsentOut":
        """Present a consent."""
        consent = held.consent
        return cls(
            consent_id=spell("cns", consent.consent_id),
            kind=consent.kind,
            status=consent_rules.status(consent, now),
            purposes=list(consent.purposes),
            scopes=list(consent.scopes),
            valid_from=consent.valid_from,
            valid_until=consent.valid_until,
            max_uses=consent.max_uses,
            uses=consent.uses,
            consent_receipt=receipt,
        )


def consent_id(text: str) -> UUID:
    """Return a consent's UUID; a text that is no consent id is a consent that does not exist."""
    try:
        return parse("cns", text)
    except Malformed:
        raise Refused("consent_missing") from None
