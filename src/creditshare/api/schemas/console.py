"""Signing in to the pages, and the passkeys that confirm what is done on them."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from creditshare.api.schemas.forms import Instant, Strict, Thumbprint
from creditshare.sessions.passkeys import Passkey


class ConsoleLinkOut(BaseModel):
    """An address that begins a session of the pages, once and within a minute. Its fragment is never sent by itself."""

    url: str = Field(json_schema_extra={"format": "uri"})
    expires_at: Instant


class PasskeyIn(Strict):
    """A passkey that a page made a moment ago; its digest covers its id and its public key."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"passkey": "zuqq8VDgEyOCIDO1Hr0nGIEPdmmPfrAIKYlaM3P4D1E"}]},
    )
    passkey: Annotated[Thumbprint, Field(description="As the page shows it.")]


class PasskeyOut(BaseModel):
    """A passkey of the caller's member."""

    passkey: str
    label: str
    state: str
    made_at: Instant
    confirmed_by: str | None = Field(None, description="The key that signed for it; the passkey ends with that key.")
    ends_at: Instant | None = Field(None, description="When that key ends. Null for one that was revoked.")

    @classmethod
    def of(cls, one: Passkey, *, ends_at: datetime | None) -> "PasskeyOut":
        """Present a passkey."""
        return cls(
            passkey=one.digest,
            label=one.label,
            state=one.state,
            made_at=one.made_at,
            confirmed_by=one.confirmed_by,
            ends_at=ends_at,
        )
