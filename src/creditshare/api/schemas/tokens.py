"""Borrowers as blind tokens, and the evaluation that makes them."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from creditshare.api.schemas.forms import Strict
from creditshare.subjects.service import BorrowerToken

EXAMPLE_ELEMENT: Final = "A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW"  # the base point of P-256

EXAMPLE_SUBJECT: Final[dict[str, Any]] = {"suite": "P256-SHA256", "key_version": 1, "element": EXAMPLE_ELEMENT}


class SubjectIn(Strict):
    """A borrower as a blind token."""

    suite: Annotated[str, Field(max_length=32)]
    key_version: Annotated[int, Field(ge=1, le=32_767)]
    element: Annotated[str, Field(min_length=1, max_length=64)]

    def token(self) -> BorrowerToken:
        """Return the domain's token."""
        return BorrowerToken(self.suite, self.key_version, self.element)


class EvaluateIn(Strict):
    """Blinded elements, base64url of 33 bytes each."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"suite": "P256-SHA256", "key_version": 1, "blinded": [EXAMPLE_ELEMENT]}]},
    )
    suite: Annotated[str, Field(max_length=32)]
    key_version: Annotated[int, Field(ge=1, le=32_767)]
    blinded: Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=256)]


class EvaluateOut(BaseModel):
    """Evaluated elements in the order asked, and one batched proof (64 bytes)."""

    suite: str
    key_version: int
    evaluated: list[str]
    proof: str
