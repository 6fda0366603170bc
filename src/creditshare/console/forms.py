"""Reading single fields of forms: each is as the API's body would have it, or refused by its name."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Final

from creditshare.console.visits import Visit, wrong
from creditshare.errors import FieldError, Malformed
from creditshare.ids import Prefix, parse
from creditshare.wire.record_form import LONGEST_REFERENCE, REGION_CODES

REGION: Final = re.compile(REGION_CODES["ISO 3166-2"])
COUNTRY: Final = re.compile("[A-Z]{2}")
THUMBPRINT: Final = re.compile("[A-Za-z0-9_-]{43}")
NUMBER: Final = re.compile("[1-9][0-9]{0,7}")
MOST_A_DAY: Final = 10_000_000
MOST_COUNTRIES: Final = 64
LONGEST_CONTACT: Final = 200
ROLES: Final = ("lender", "regulator", "operator")
CONTACTS: Final = ("business", "technical", "data_protection")
Given = Mapping[str, str]
"""What was entered, by the names of fields."""


def by_field(faults: Sequence[FieldError]) -> Mapping[str, FieldError]:
    """Return what is wrong by the field's name, for a form that is shown anew."""
    return {one.pointer.removeprefix("/"): one for one in faults}


def text(visit: Visit, name: str) -> str:
    """Return a short printable text that must be there."""
    given = visit.field(name)
    if not given or len(given) > LONGEST_REFERENCE or not given.isprintable():
        raise wrong(name, "required", f"1 to {LONGEST_REFERENCE} printable characters")
    return given


def one_of(visit: Visit, name: str, known: tuple[str, ...]) -> str:
    """Return one of the codes that the page offers."""
    given = visit.field(name)
    if given not in known:
        raise wrong(name, "unknown_code", "one of those offered")
    return given


def named(visit: Visit, name: str, prefixes: tuple[Prefix, ...]) -> str:
    """Return a public id of one of these kinds; whether there is such a thing is not asked."""
    given = visit.field(name)
    for prefix in prefixes:
        try:
            parse(prefix, given)
        except Malformed:
            continue
        return given
    raise wrong(name, "format", "an id as it was given to you: " + ", ".join(f"{one}_…" for one in prefixes))


def end_of_day(visit: Visit, name: str) -> datetime:
    """Return the last second of a day of UTC."""
    try:
        day = date.fromisoformat(visit.field(name))
    except ValueError:
        raise wrong(name, "format", "a day, such as 2026-12-31") from None
    return datetime.combine(day, time(23, 59, 59), UTC)


def region(visit: Visit) -> str:
    """Return an ISO 3166-2 code."""
    given = visit.field("region").upper()
    if REGION.fullmatch(given) is None:
        raise wrong("region", "format", "an ISO 3166-2 code, such as CN or US-CA")
    return given


def countries(visit: Visit, *, default: list[str]) -> list[str]:
    """Return country codes, sorted, each once."""
    given = sorted(set(re.split(r"[\s,;]+", visit.field("jurisdictions").upper())) - {""}) or default
    if len(given) > MOST_COUNTRIES or any(COUNTRY.fullmatch(one) is None for one in given):
        raise wrong("jurisdictions", "format", "country codes of two letters, such as CN US")
    return given


def thumbprint(visit: Visit) -> str | None:
    """Return a key's thumbprint, or None where none is given."""
    given = visit.field("key_thumbprint")
    if given and THUMBPRINT.fullmatch(given) is None:
        raise wrong("key_thumbprint", "format", "an RFC 7638 thumbprint, 43 characters")
    return given or None


def quotas(visit: Visit, names: tuple[str, ...]) -> Mapping[str, int]:
    """Return the quotas that are given; at least one."""
    found: dict[str, int] = {}
    for name in names:
        given = visit.field(name).replace(",", "")
        if given:
            if NUMBER.fullmatch(given) is None or int(given) > MOST_A_DAY:
                raise wrong(name, "format", f"a whole number from 1 to {MOST_A_DAY:,}")
            found[name] = int(given)
    if not found:
        raise wrong(names[0], "required", "at least one quota")
    return found


def contacts(visit: Visit) -> dict[str, str]:
    """Return the contacts that are given, by their kind."""
    found = {}
    for kind in CONTACTS:
        given = visit.field(f"contact_{kind}")
        if len(given) > LONGEST_CONTACT or not given.isprintable():
            raise wrong(f"contact_{kind}", "too_long", f"at most {LONGEST_CONTACT} printable characters")
        if given:
            found[kind] = given
    return found


def application(visit: Visit) -> dict[str, Any]:
    """Return what is said about an institution that is proposed, as the API's body has it."""
    where = region(visit)
    terms: dict[str, Any] = {
        "name": text(visit, "name"),
        "role": one_of(visit, "role", ROLES),
        "region": where,
        "jurisdictions": countries(visit, default=[where[:2]]),
        "contacts": contacts(visit),
    }
    if (key := thumbprint(visit)) is not None:
        terms["key_thumbprint"] = key
    if visit.field("licence_no"):
        terms["licence_no"] = text(visit, "licence_no")
    return terms
