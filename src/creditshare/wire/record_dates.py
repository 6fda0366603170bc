"""How the dates of a default record must follow each other: checked before sending, decided by the service."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from creditshare.errors import FieldError

DATES: Final = ("opened_on", "due_on", "first_overdue_on", "default_on", "written_off_on")
HAPPENED: Final = ("opened_on", "first_overdue_on", "default_on", "written_off_on")
NOT_BEFORE: Final = (
    ("due_on", "opened_on"),
    ("first_overdue_on", "opened_on"),
    ("default_on", "opened_on"),
    ("written_off_on", "default_on"),
)


def contradictions(dates: Mapping[str, date], today: date) -> list[FieldError]:
    """Return what is wrong with the dates that a record gives, by field name; an absent one contradicts nothing.

    A day ahead is allowed, because the reporting place may be east of whoever checks.
    """
    latest = today + timedelta(days=1)
    wrong = [
        FieldError(f"/{name}", "in_future", "a day not after today")
        for name in HAPPENED
        if name in dates and dates[name] > latest
    ]
    wrong += [
        FieldError(f"/{name}", f"before_{floor}", f"a day not before {floor}")
        for name, floor in NOT_BEFORE
        if name in dates and floor in dates and dates[name] < dates[floor]
    ]
    if "first_overdue_on" in dates and "default_on" in dates and dates["first_overdue_on"] > dates["default_on"]:
        wrong.append(FieldError("/first_overdue_on", "after_default_on", "a day not after default_on"))
    return wrong
