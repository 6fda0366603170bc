"""Members' keys, and what a key signed."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from creditshare.api.schemas.forms import Instant, Page, Strict
from creditshare.audit.service import SignedAct
from creditshare.ids import spell
from creditshare.members.keys import Key
from creditshare.members.rules import RevocationReason

EXAMPLE_JWK: Final[dict[str, Any]] = {
    "kty": "EC",
    "crv": "P-256",
    "use": "sig",
    "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
    "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
}

EXAMPLE_PROOF: Final = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"


class KeyIn(Strict):
    """A public key by value, with proof of possession; the code only for a member's first key."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"jwk": EXAMPLE_JWK, "proof": EXAMPLE_PROOF, "enrolment_code": "a-one-time-code-of-160-bits"},
                {"jwk": EXAMPLE_JWK, "proof": EXAMPLE_PROOF},
            ]
        },
    )
    jwk: Annotated[dict[str, str], Field(max_length=16)]
    proof: Annotated[str, Field(max_length=8192)]
    enrolment_code: Annotated[str, Field(max_length=128)] | None = None


class KeyOut(BaseModel):
    """A registered key."""

    kid: str
    member_id: str
    status: str
    registered_at: Instant
    expires_at: Instant
    revoked_at: Instant | None

    @classmethod
    def of(cls, key: Key, *, now: datetime) -> "KeyOut":
        """Present a key; an expired one says so."""
        expired = key.state != "revoked" and key.expires_at <= now
        return cls(
            kid=key.kid,
            member_id=spell("mem", key.member_id),
            status="expired" if expired else key.state,
            registered_at=key.registered_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
        )


class SignedActOut(BaseModel):
    """One act that a key signed: what, with which outcome, by whom inside the member; no borrower is named."""

    event_id: str
    at: Instant
    action: str
    outcome: str
    purpose: str
    sub: str
    request_id: str


class SignedActsOut(Page[SignedActOut]):
    """A stretch of the log, searched for one key's acts."""

    @classmethod
    def of(cls, acts: list[SignedAct], *, next_cursor: str | None) -> "SignedActsOut":
        """Present acts, and where to go on."""
        data = [SignedActOut(**{**asdict(act), "event_id": spell("evt", act.event_id)}) for act in acts]
        return cls.holding(data, next_cursor)


class RevocationIn(Strict):
    """Why a key is revoked; ``compromise`` with ``since`` reaches the keys that it registered since then."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "rotation"}]})
    reason: RevocationReason
    since: Instant | None = None


class KeyPage(Page[KeyOut]):
    """A page of keys."""
