"""Forms of single values, and what bodies of all subjects are made of: strict requests, pages."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Final, Generic, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from creditshare.crypto.digests import parse_content_digest
from creditshare.errors import FieldError, Malformed, Refused
from creditshare.sharing.answer import instant
from creditshare.wire import record_form

_AMOUNT: Final = re.compile(record_form.AMOUNT)
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_DAY: Final = re.compile(record_form.DAY)


def _decimal_text(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise ValueError("a decimal amount as text, not negative, at most four places")
    return Decimal(value)


def _instant_text(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError("an instant in UTC, YYYY-MM-DDThh:mm:ssZ")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("an instant in UTC, YYYY-MM-DDThh:mm:ssZ") from None


def _day_text(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("a date, YYYY-MM-DD")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("a date, YYYY-MM-DD") from None


def _digest_text(value: str) -> str:
    try:
        parse_content_digest(value)
    except Malformed:
        raise ValueError("an RFC 9530 digest, sha-256=:<base64>:") from None
    return value


def _no_control(value: str) -> str:
    if not value.isprintable():
        raise ValueError("printable text without control characters")
    return value


def distinct(values: list[str]) -> list[str]:
    """Refuse a list with an item that is in it twice."""
    if len(set(values)) != len(values):
        raise ValueError("each item once")
    return values


Amount = Annotated[
    Decimal,
    BeforeValidator(_decimal_text, json_schema_input_type=str),
    PlainSerializer(lambda value: f"{value:f}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_AMOUNT.pattern}$", "examples": ["98000.00"]}),
]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant_text, json_schema_input_type=str),
    PlainSerializer(instant, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": f"^{_INSTANT.pattern}$"}),
]
Day = Annotated[
    date,
    BeforeValidator(_day_text, json_schema_input_type=str),
    PlainSerializer(lambda value: value.isoformat(), return_type=str),
    WithJsonSchema({"type": "string", "format": "date", "pattern": f"^{_DAY.pattern}$"}),
]
Digest = Annotated[str, Field(max_length=128), AfterValidator(_digest_text)]
Reference = Annotated[str, Field(min_length=1, max_length=record_form.LONGEST_REFERENCE), AfterValidator(_no_control)]
Currency = Annotated[str, Field(pattern=f"^{record_form.CURRENCY}$")]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Quota = Annotated[int, Field(ge=1, le=10_000_000)]
Thumbprint = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]

T = TypeVar("T")

EXAMPLE_DIGEST: Final = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"  # of {"hello": "world"}, RFC 9530


class Strict(BaseModel):
    """A request body: nothing unknown, nothing coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class EmptyIn(Strict):
    """No members yet; a body may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{}]})


class Page(BaseModel, Generic[T]):
    """A page of a list; ``next_cursor`` asks for the one that follows."""

    data: list[T]
    has_more: bool
    next_cursor: str | None

    @classmethod
    def holding(cls, data: Iterable[T], next_cursor: str | None) -> Self:
        """Return a page; there are more where there is a cursor for them."""
        return cls(data=list(data), has_more=next_cursor is not None, next_cursor=next_cursor)


def instant_in_query(name: str, text: str) -> datetime:
    """Return the instant that a query parameter spells, or refuse naming it."""
    try:
        return _instant_text(text)
    except ValueError as error:
        raise Refused("validation_failed", fields=[FieldError(f"/query/{name}", "value_error", str(error))]) from None


def unknown_codes(pointer: str, given: list[str], known: tuple[str, ...]) -> list[FieldError]:
    """Return a field error where a code is not in its published list."""
    return [] if set(given) <= set(known) else [FieldError(pointer, "unknown_code", "codes of /v1/code-lists")]
