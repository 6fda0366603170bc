"""What pages change about warrants: a regulator asks for one, operators approve it, one ends it (decision 31).

What a warrant says dies with its borrower. So its document is kept under the borrower's key, as its events are: but for
the five minutes in which it can be confirmed, and in a rejection or revocation, which repeat nothing of it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from fastapi import Response

from creditshare.access.service import public_id
from creditshare.audit.service import Recorded
from creditshare.console import forms
from creditshare.console.actions import Action, Hand, Outcome, Terms
from creditshare.console.visits import Visit, wrong
from creditshare.errors import FieldError, Refused
from creditshare.ids import spell
from creditshare.warrants.rules import LEGAL_BASES, SCOPES
from creditshare.warrants.rules import Terms as WarrantTerms
from creditshare.warrants.service import Shown
from creditshare.wire.confirmation import Confirmation
from creditshare.wire.instants import spell_instant

USUAL: Final = timedelta(days=14)


def _repeated(said: WarrantTerms) -> Terms:
    return {
        "named": said.named,
        "legal_basis": said.legal_basis,
        "reference": said.reference,
        "reason": said.reason,
        "scopes": list(said.scopes),
        "ends_at": spell_instant(said.ends_at, timespec="milliseconds"),
    }


def _said(shown: Confirmation) -> WarrantTerms:
    terms = shown.terms
    return WarrantTerms(
        terms["named"],
        terms["legal_basis"],
        terms["reference"],
        terms["reason"],
        tuple(terms["scopes"]),
        datetime.fromisoformat(terms["ends_at"]),
    )


def _now(hand: Hand, one: Shown) -> Outcome:
    return Outcome(spell("wrt", one.warrant.warrant_id), one.warrant.status(hand.now))


def show_request(visit: Visit, faults: Sequence[FieldError] = ()) -> Response:
    """Show the form by which a regulator asks for a warrant, anew with what is wrong in it."""
    begins_with = {"ends_on": (visit.now + USUAL).date().isoformat(), **{f"scope_{scope}": "yes" for scope in SCOPES}}
    return visit.page(
        "warrants/new.html",
        shows="warrant_request",
        status=422 if faults else 200,
        bases=LEGAL_BASES,
        scopes=SCOPES,
        most_days=visit.services.warrants.most_days(now=visit.now),
        given=visit.form or begins_with,
        faults=forms.by_field(faults),
    )


async def _ask_request(visit: Visit) -> tuple[str, Terms]:
    scopes = tuple(sorted(scope for scope in SCOPES if visit.field(f"scope_{scope}")))
    if not scopes:
        raise wrong("scope_records", "required", "at least one of them")
    terms = WarrantTerms(
        named=forms.named(visit, "named", ("rec", "qry", "cns")),
        legal_basis=forms.one_of(visit, "legal_basis", LEGAL_BASES),
        reference=forms.text(visit, "reference"),
        reason=forms.text(visit, "reason"),
        scopes=scopes,
        ends_at=forms.end_of_day(visit, "ends_on"),
    )
    try:
        visit.services.warrants.check(terms, now=visit.now)
    except Refused as refusal:
        raise Refused(refusal.code, fields=[_as_entered(one) for one in refusal.fields]) from None
    return "", _repeated(terms)


def _as_entered(fault: FieldError) -> FieldError:
    """Return what is wrong with the instant as what is wrong with the day that was entered."""
    return replace(fault, pointer="/ends_on") if fault.pointer == "/ends_at" else fault


async def _request(hand: Hand, shown: Confirmation) -> Recorded[Outcome]:
    done = await hand.services.warrants.request(hand.session, hand.caller.member, _said(shown), now=hand.now)
    return Recorded(_now(hand, done.value), done.entry)


async def _ask_approval(visit: Visit) -> tuple[str, Terms]:
    """Show all terms to who approves; as with the command, the order's number is typed from the order itself."""
    warrant_id = public_id("wrt", visit.field("warrant_id"))
    one = visit.record(await visit.services.warrants.show(visit.session, warrant_id, by=visit.member))
    if forms.text(visit, "reference") != one.terms.reference:
        raise wrong("reference", "not_as_proposed", "the number that the order itself bears")
    return spell("wrt", warrant_id), {
        "regulator_id": spell("mem", one.warrant.regulator_id),
        **_repeated(one.terms),
    }


async def _approve(hand: Hand, shown: Confirmation) -> Recorded[Outcome]:
    done = await hand.services.warrants.approve(
        hand.session,
        public_id("wrt", shown.object),
        regulator=shown.terms["regulator_id"],
        repeated=_said(shown),
        by=hand.caller.member_id,
        now=hand.now,
    )
    return Recorded(_now(hand, done.value), done.entry)


async def _ask_revocation(visit: Visit) -> tuple[str, Terms]:
    warrant_id = public_id("wrt", visit.field("warrant_id"))
    one = await visit.services.warrants.standing(visit.session, warrant_id, by=visit.member)
    regulator = spell("mem", one.regulator_id)
    return spell("wrt", warrant_id), {"regulator_id": regulator, "reason": forms.text(visit, "reason")}


async def _revoke(hand: Hand, shown: Confirmation) -> Recorded[Outcome]:
    done = await hand.services.warrants.revoke(
        hand.session, public_id("wrt", shown.object), reason=shown.terms["reason"], now=hand.now
    )
    return Recorded(Outcome(shown.object, done.value.status(hand.now)), done.entry)


def _command_of_request(shown: Confirmation) -> list[str]:
    said = _said(shown)
    flags = ["--legal-basis", said.legal_basis, "--reference", said.reference, "--reason", said.reason]
    scopes = [part for scope in said.scopes for part in ("--scope", scope)]
    return ["warrant", "request", said.named, *flags, *scopes, "--until", shown.terms["ends_at"]]


def _command_of_approval(shown: Confirmation) -> list[str]:
    return ["warrant", "approve", shown.object, "--reference", shown.terms["reference"]]


def _command_of_revocation(shown: Confirmation) -> list[str]:
    return ["warrant", "revoke", shown.object, "--reason", shown.terms["reason"]]


ACTIONS: Final = (
    Action("request_warrant", "regulator", _ask_request, _request, _command_of_request, again=show_request),
    Action("approve_warrant", "operator", _ask_approval, _approve, _command_of_approval),
    Action("revoke_warrant", "operator", _ask_revocation, _revoke, _command_of_revocation),
)
