"""What a member in which state may do, and which state follows on which change. Pure, and the only such table.

The gate (``api/work.py``), the rules of questions and reports, the worker and who oversees ask ``refusal`` here. The
statements of the hot path let a row through only in the state that these decided on (``access/statements.py``).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from creditshare.errors import Refused

Status = Literal["applicant", "due_diligence", "certified", "active", "limited", "suspended", "terminated"]
Act = Literal["keep", "correct", "report", "ask", "oversee"]
"""``keep``: look after its own keys, see what it is. ``correct``: change, withdraw, revoke and read what it reported.
``report``: new records and what they need, evaluations and consents to provide. ``ask``: questions and consents for
them. ``oversee``: what operators and regulators do about others."""
Change = Literal[
    "due_diligence",
    "admission",
    "first_key",
    "limitation",
    "lift_limitation",
    "suspension",
    "lift_suspension",
    "termination",
]

_KEEP: Final = frozenset[Act]({"keep"})
_CORRECT: Final = _KEEP | frozenset[Act]({"correct"})
_REPORT: Final = _CORRECT | frozenset[Act]({"report"})
MAY: Final[Mapping[str, frozenset[Act]]] = MappingProxyType(
    {
        "active": _REPORT | frozenset[Act]({"ask", "oversee"}),
        "limited": _REPORT,
        "suspended": _CORRECT,
    }
)
"""A state that does not stand here may nothing: who is not admitted yet, and who is terminated, has no live key."""

LASTS: Final = frozenset[Status]({"applicant", "due_diligence", "certified", "active", "limited", "suspended"})

FOLLOWS: Final[Mapping[Change, tuple[frozenset[Status], Status]]] = MappingProxyType(
    {
        "due_diligence": (frozenset[Status]({"applicant"}), "due_diligence"),
        "admission": (frozenset[Status]({"due_diligence"}), "certified"),
        "first_key": (frozenset[Status]({"certified"}), "active"),
        "limitation": (frozenset[Status]({"active"}), "limited"),
        "lift_limitation": (frozenset[Status]({"limited"}), "active"),
        "suspension": (frozenset[Status]({"active", "limited"}), "suspended"),
        "lift_suspension": (frozenset[Status]({"suspended"}), "active"),
        "termination": (LASTS, "terminated"),
    }
)
"""Which states a change begins from, and the one that it ends in. Nothing follows on ``terminated``."""

OVERSEEING: Final = frozenset({"operator", "regulator"})
"""Roles whose further keys two people agree on: each opens what is others'."""

ENROLS: Final = frozenset({"certified", "active", "limited", "suspended"})
"""States in which an enrolment code makes a key: who is suspended may lose its key too, and must be able to correct."""


def may(status: str, act: Act) -> bool:
    """Whether a member in this state may do such a thing."""
    return act in MAY.get(status, frozenset())


def refusal(status: str, act: Act) -> str | None:
    """Return the code for a member that may not do such a thing in its state, or None for one that may."""
    if may(status, act):
        return None
    return "member_limited" if status == "limited" else "member_suspended"


def require(status: str, act: Act) -> None:
    """Refuse a member that may not do such a thing in its state."""
    code = refusal(status, act)
    if code is not None:
        raise Refused(code)


def after(change: Change, status: str, *, role: str = "lender", examined: bool = True) -> Status:
    """Return the state that follows, or ``state_conflict`` where the change does not begin from this one.

    Only lenders are limited: the others neither ask nor report. Where nobody needs to be ``examined``, which is so in a
    sandbox, an admission also begins from ``applicant``.
    """
    begins, ends = FOLLOWS[change]
    if change == "limitation" and role != "lender":
        raise Refused("state_conflict", extra={"hint": "only lenders are limited; suspend this member"})
    if change == "admission" and status == "applicant":
        if examined:
            raise Refused("state_conflict", extra={"hint": "begin due diligence first (member examine)"})
        return ends
    if status not in begins:
        raise Refused("state_conflict")
    return ends
