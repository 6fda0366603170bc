"""Onboarding step by step. What was entered travels with the form; the service keeps nothing until it is signed.

Going on checks every step that comes before the one that is asked for; going back checks and loses nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import Response

from creditshare.console import forms
from creditshare.console.visits import Visit, wrong
from creditshare.errors import FieldError, Refused

BEGINS_WITH: Final = {"role": "lender", "region": "CN"}


@dataclass(frozen=True, slots=True)
class Step:
    """Some fields that are asked for together, and what refuses them."""

    name: str
    fields: tuple[str, ...]
    check: Callable[[Visit], object]


def _institution(visit: Visit) -> None:
    forms.text(visit, "name")
    forms.one_of(visit, "role", forms.ROLES)


def _place(visit: Visit) -> None:
    forms.countries(visit, default=[forms.region(visit)[:2]])
    if visit.field("licence_no"):
        forms.text(visit, "licence_no")


def _key(visit: Visit) -> None:
    if forms.thumbprint(visit) is None and visit.services.settings.mode == "production":
        raise wrong("key_thumbprint", "required", "the RFC 7638 thumbprint of the key to be enrolled")


STEPS: Final = (
    Step("institution", ("name", "role"), _institution),
    Step("place", ("region", "jurisdictions", "licence_no"), _place),
    Step("contacts", tuple(f"contact_{kind}" for kind in forms.CONTACTS), forms.contacts),
    Step("key", ("key_thumbprint",), _key),
    Step("review", (), lambda _: None),
)


def begin(visit: Visit) -> Response:
    """Show the first step."""
    return _shown(visit, 0, BEGINS_WITH, ())


def go_on(visit: Visit) -> Response:
    """Show the step that is asked for, or the first one before it in which something is wrong."""
    wanted = visit.field("go")
    number = int(wanted) if wanted in map(str, range(len(STEPS))) else 0
    for before, step in enumerate(STEPS[:number]):
        try:
            step.check(visit)
        except Refused as refusal:
            return _shown(visit, before, visit.form, refusal.fields)
    return _shown(visit, number, visit.form, ())


def again(visit: Visit, faults: Sequence[FieldError]) -> Response:
    """Show the step in which something is wrong after all."""
    named = {one.pointer.removeprefix("/") for one in faults}
    number = next((number for number, step in enumerate(STEPS) if named & {*step.fields}), 0)
    return _shown(visit, number, visit.form, faults)


def _shown(visit: Visit, number: int, given: forms.Given, faults: Sequence[FieldError]) -> Response:
    return visit.page(
        "desk/new.html",
        shows="onboarding",
        status=422 if faults else 200,
        steps=STEPS,
        number=number,
        given=given,
        faults=forms.by_field(faults),
        production=visit.services.settings.mode == "production",
    )
