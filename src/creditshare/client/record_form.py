"""A default record as a lender writes it down: its fields, their forms, and what must fit together.

The service decides; this says beforehand what it would say, so that a file can be checked before anything of it
is sent. What depends on the service's dated policy (days past due, notice) or on its data (consents) is left to it.
Values are text, as files hold them; ``read_record`` makes a body of them. Fields are named as in the API, with a dot
where they are nested: ``region.code``. No message holds a value.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, get_args

from creditshare.client.identifiers import IdType, borrower_input
from creditshare.crypto.digests import parse_content_digest
from creditshare.errors import FieldError, Malformed
from creditshare.ids import parse
from creditshare.wire import record_form
from creditshare.wire.record_form import DATES, contradictions, lacking, misspelt_industry, misspelt_region

ID_TYPES: Final[tuple[IdType, ...]] = get_args(IdType)
CodeLists = Mapping[str, list[str]]


class _Misfit(ValueError):
    """A text that does not have its field's form; the message says which one is expected."""


@dataclass(frozen=True, slots=True)
class Field:
    """What the text of a field must be, and whether a record must have it and may have it corrected."""

    read: Callable[[str], object]
    required: bool = False
    correctable: bool = True
    codes: str | None = None
    """The published list that it is taken from."""


def _matching(pattern: str, expected: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def read(text: str) -> str:
        if not compiled.fullmatch(text):
            raise _Misfit(expected)
        return text

    return read


def _reference(text: str) -> str:
    if not text.isprintable() or len(text) > record_form.LONGEST_REFERENCE:
        raise _Misfit(f"at most {record_form.LONGEST_REFERENCE} printable characters")
    return text


def _day(text: str) -> str:
    try:
        if re.fullmatch(record_form.DAY, text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise _Misfit("a date, YYYY-MM-DD")


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,4}", text) or int(text) > record_form.MOST_DAYS_PAST_DUE:
        raise _Misfit(f"a whole number of days, 0 to {record_form.MOST_DAYS_PAST_DUE}")
    return int(text)


def _digest(text: str) -> str:
    try:
        parse_content_digest(text)
    except Malformed:
        raise _Misfit("an RFC 9530 digest, sha-256=:<base64>:") from None
    return text


def _consent(text: str) -> str:
    try:
        parse("cns", text)
    except Malformed:
        raise _Misfit("a consent's id, cns_ and a UUID") from None
    return text


_amount = _matching(record_form.AMOUNT, "a decimal amount, not negative, at most four places")
_code = _matching(record_form.CODE, "1 to 16 letters, digits, dots and hyphens")
_listed = _matching(r"[^\x00-\x1f]{1,32}", "a code of the published list")

FIELDS: Final[Mapping[str, Field]] = {
    "role": Field(_matching("borrower|guarantor", "borrower or guarantor"), required=True, correctable=False),
    "account_ref": Field(_reference, required=True, correctable=False),
    "product": Field(_listed, required=True, codes="products"),
    "currency": Field(
        _matching(record_form.CURRENCY, "three capital letters, ISO 4217"), required=True, codes="currencies"
    ),
    "original_amount": Field(_amount, required=True),
    "outstanding_principal": Field(_amount),
    "overdue_principal": Field(_amount),
    "overdue_interest": Field(_amount),
    "opened_on": Field(_day, required=True),
    "due_on": Field(_day),
    "first_overdue_on": Field(_day),
    "default_on": Field(_day, required=True),
    "days_past_due": Field(_whole_number),
    "written_off_on": Field(_day),
    "written_off_amount": Field(_amount),
    "default_reason": Field(_listed, required=True, codes="default_reasons"),
    "cause": Field(_listed, codes="causes"),
    "guarantee": Field(_listed, codes="guarantees"),
    "size_class": Field(_listed, codes="size_classes"),
    "industry.scheme": Field(_listed, codes="industry_schemes"),
    "industry.code": Field(_code),
    "region.scheme": Field(_listed, required=True, correctable=False, codes="region_schemes"),
    "region.code": Field(_code, required=True, correctable=False),
    "lawful_basis": Field(_listed, required=True, correctable=False, codes="lawful_bases"),
    "public_ref": Field(_reference),
    "provide_consent_id": Field(_consent, correctable=False),
    "notice.sent_on": Field(_day, correctable=False),
    "notice.channel": Field(_listed, correctable=False, codes="notice_channels"),
    "notice.evidence_digest": Field(_digest, correctable=False),
}
GROUPS: Final = ("industry", "region", "notice")
AMOUNTS: Final = frozenset(name for name, field in FIELDS.items() if field.read is _amount)


@dataclass(frozen=True, slots=True)
class Row:
    """A row that may be sent: whose it is (blinded before anything leaves), and the body without its subject."""

    number: int
    id_type: IdType
    identifier: str
    body: Mapping[str, Any]
    named: frozenset[str]
    """The fields that the file speaks of, be it to say that they are empty."""
    doubtful_identifier: bool = False

    def __repr__(self) -> str:
        """Name the row only: identifier and amounts belong in no log."""
        return f"Row({self.number})"


def read_record(
    number: int, values: Mapping[str, str], *, lists: CodeLists, today: date
) -> Row | tuple[FieldError, ...]:
    """Make a row of named texts, or say all that is wrong with it. An empty text is an empty field."""
    wrong: list[FieldError] = []
    read: dict[str, Any] = {}
    for name, field in FIELDS.items():
        value = _read_field(name, field, values.get(name, ""), lists)
        if isinstance(value, FieldError):
            wrong.append(value)
        elif value is not None:
            read[name] = value
    wrong += _incomplete_groups(read, {name for name in values if values[name]})
    borrower = _read_identifier(values)
    if isinstance(borrower, FieldError):
        wrong.append(borrower)
    named_wrong = {one.pointer for one in wrong}
    wrong += [one for one in _contradictions(read, today) if one.pointer not in named_wrong]
    if wrong or isinstance(borrower, FieldError):
        return tuple(wrong)
    id_type, identifier, doubtful = borrower
    return Row(number, id_type, identifier, nest(read), frozenset(values) - set(ID_TYPES), doubtful)


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"region.code": …}`` as ``{"region": {"code": …}}``."""
    body: dict[str, Any] = {}
    for name, value in values.items():
        group, dot, member = name.partition(".")
        if dot:
            body.setdefault(group, {})[member] = value
        else:
            body[name] = value
    return body


def pointer(name: str) -> str:
    """Return the RFC 6901 pointer of a field's name."""
    return "/" + name.replace(".", "/")


def field_name(at: str) -> str:
    """Return the field that a pointer names, in a record or in the changes of a correction."""
    return at.removeprefix("/changes").strip("/").replace("/", ".")


def _read_field(name: str, field: Field, text: str, lists: CodeLists) -> object:
    if not text:
        return FieldError(pointer(name), "required", "a value") if field.required else None
    try:
        value = field.read(text)
    except _Misfit as misfit:
        return FieldError(pointer(name), "format", str(misfit))
    if field.codes is not None and text not in lists.get(field.codes, [text]):
        return FieldError(pointer(name), "unknown_code", f"a code of {field.codes} in /v1/code-lists")
    return value


def _incomplete_groups(read: Mapping[str, Any], given: set[str]) -> list[FieldError]:
    wrong = []
    for group in GROUPS:
        members = [name for name in FIELDS if name.startswith(group + ".")]
        if any(name in given for name in members):
            wrong += [
                FieldError(pointer(name), "required", f"a value, since other fields of {group} have one")
                for name in members
                if name not in given and not FIELDS[name].required
            ]
    if "region.scheme" in read and "region.code" in read:
        wrong += misspelt_region(read["region.scheme"], read["region.code"])
    if "industry.scheme" in read and "industry.code" in read:
        wrong += misspelt_industry(read["industry.scheme"], read["industry.code"])
    return wrong


def _read_identifier(values: Mapping[str, str]) -> tuple[IdType, str, bool] | FieldError:
    given = [id_type for id_type in ID_TYPES if values.get(id_type)]
    if len(given) != 1:
        code = "ambiguous" if given else "required"
        return FieldError(pointer(given[0] if given else "uscc"), code, "exactly one identifier: uscc, cnid or lei")
    (id_type,) = given
    fits, doubtful = fits_identifier(id_type, values[id_type])
    if not fits:
        return FieldError(pointer(id_type), "check_digit", f"a {id_type} whose check digits fit")
    return id_type, values[id_type], doubtful


def fits_identifier(id_type: IdType, text: str) -> tuple[bool, bool]:
    """Say whether a text is an identifier of this type, and whether it is one to compare with the licence."""
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        try:
            borrower_input(id_type, text)
        except Malformed:
            return False, False
    return True, bool(doubts)


def _contradictions(read: Mapping[str, Any], today: date) -> list[FieldError]:
    return [*lacking(read), *_wrong_dates(read, today), *_identifiers_in_references(read)]


def _wrong_dates(read: Mapping[str, Any], today: date) -> list[FieldError]:
    dates = {name: date.fromisoformat(read[name]) for name in DATES if name in read}
    wrong = contradictions(dates, today)
    if read.get("notice.sent_on", "") > (today + timedelta(days=1)).isoformat():
        wrong.append(FieldError(pointer("notice.sent_on"), "in_future", "a day not after today"))
    return wrong


def _identifiers_in_references(read: Mapping[str, Any]) -> list[FieldError]:
    return [
        FieldError(pointer(name), "identifier", "an opaque reference, not an identifier of the borrower")
        for name in ("account_ref", "public_ref")
        if name in read and any(fits_identifier(id_type, read[name]) == (True, False) for id_type in ID_TYPES)
    ]
