"""What pages change about members, and every rejection of what waits for a second person."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID

from creditshare.access.service import public_id
from creditshare.approvals.rules import Proposal
from creditshare.audit.service import Recorded
from creditshare.console import forms, onboarding
from creditshare.console.actions import Action, Hand, Outcome, Terms
from creditshare.console.visits import Visit
from creditshare.errors import Refused
from creditshare.ids import spell
from creditshare.members.service import QUOTAS, Application, Member, Members, Restriction
from creditshare.storage.engine import ReadSession
from creditshare.wire.confirmation import Confirmation
from creditshare.wire.instants import spell_instant

PROPOSED: Final = ("lift_suspension", "lift_limitation", "recovery", "jurisdictions", "termination", "admission")


async def _named(visit: Visit) -> str:
    member_id = public_id("mem", visit.field("member_id"))
    await visit.services.members.get(visit.session, member_id)
    return spell("mem", member_id)


def _now(one: Member, code: str | None = None) -> Outcome:
    return Outcome(spell("mem", one.member_id), one.status, code)


async def _ask_propose_member(visit: Visit) -> tuple[str, Terms]:
    return "", forms.application(visit)


async def _propose_member(hand: Hand, shown: Confirmation) -> Recorded[Outcome]:
    terms = shown.terms
    application = Application(
        name=terms["name"],
        role=terms["role"],
        region=terms["region"],
        jurisdictions=tuple(terms["jurisdictions"]),
        key_thumbprint=terms.get("key_thumbprint"),
        licence_no=terms.get("licence_no"),
        contacts=terms["contacts"],
    )
    done = await hand.services.members.apply(
        hand.session, hand.caller.member_id, application, bootstrap_key=hand.caller.bootstrap, now=hand.now
    )
    return Recorded(_now(done.value), done.entry)


async def open_proposal(visit: Visit) -> Proposal:
    """Return the open proposal that a form names."""
    wanted = public_id("prp", visit.field("proposal_id"))
    for proposal in await visit.services.approvals.open(visit.session, now=visit.now):
        if proposal.proposal_id == wanted:
            return proposal
    raise Refused("confirmation_ended")


def _about(visit: Visit, proposal: Proposal) -> tuple[str, Terms]:
    about = visit.services.approvals.kind(proposal.kind).about
    named = spell("prp", proposal.proposal_id)
    terms = {"proposal_id": named, "action": proposal.kind, "terms": dict(proposal.terms)}
    return spell(about, proposal.about), terms


async def _as_it_stands(members: Members, session: ReadSession, member_id: UUID) -> Terms:
    """Return what a second person approves a change of; how to reach it is shown, and signed by nobody."""
    one = await members.get(session, member_id)
    licence_no = (await members.particulars(session, member_id)).licence_no
    stands: Terms = {"role": one.role, "region": one.region, "jurisdictions": list(one.jurisdictions)}
    return {**stands, "state": one.status} | ({} if licence_no is None else {"licence_no": licence_no})


async def _ask_approval(visit: Visit) -> tuple[str, Terms]:
    """Show who proposed it and when, and the institution as it stands: that is signed with the terms."""
    proposal = await open_proposal(visit)
    concerned, terms = _about(visit, proposal)
    member_id = public_id("mem", concerned)  # of anything else the approval is an action of its own
    return concerned, {
        **terms,
        "proposed_by": spell("mem", proposal.proposed_by),
        "proposed_at": spell_instant(proposal.proposed_at),
        "as_it_stands": await _as_it_stands(visit.services.members, visit.session, member_id),
    }


async def _approve(hand: Hand, shown: Confirmation) -> Recorded[Outcome]:
    member_id = public_id("mem", shown.object)
    if await _as_it_stands(hand.services.members, hand.session, member_id) != shown.terms["as_it_stands"]:
        raise Refused("precondition_failed")
    done = await hand.services.members.approve(
        hand.session,
        public_id("mem", shown.object),
        action=shown.terms["action"],
        terms=shown.terms["terms"],
        by=hand.caller.member_id,
        now=hand.now,
        only=public_id("prp", shown.terms["proposal_id"]),
    )
    return Recorded(_now(done.value.member, done.value.enrolment_code), done.entry)


async def _ask_rejection(visit: Visit) -> tuple[str, Terms]:
    concerned, terms = _about(visit, await open_proposal(visit))
    return concerned, {**terms, "reason": forms.text(visit, "reason")}


async def _reject(hand: Hand, shown: Confirmation) -> Recorded[Outcome]:
    done = await hand.services.approvals.reject(
        hand.session,
        public_id("prp", shown.terms["proposal_id"]),
        by=hand.caller.member_id,
        reason=shown.terms["reason"],
        now=hand.now,
    )
    return Recorded(Outcome(shown.object, str(done.value.decision)), done.entry)


async def _ask_examination(visit: Visit) -> tuple[str, Terms]:
    return await _named(visit), {"note": forms.text(visit, "note")}


async def _examine(hand: Hand, shown: Confirmation) -> Recorded[Outcome]:
    member_id = public_id("mem", shown.object)
    done = await hand.services.members.begin_due_diligence(
        hand.session, member_id, note=shown.terms["note"], by=hand.caller.member_id, now=hand.now
    )
    return Recorded(_now(done.value), done.entry)


async def _ask_reason(visit: Visit) -> tuple[str, Terms]:
    return await _named(visit), {"reason": forms.text(visit, "reason")}


async def _restrict(restriction: Restriction, hand: Hand, shown: Confirmation) -> Recorded[Outcome]:
    done = await hand.services.members.restrict(
        hand.session,
        public_id("mem", shown.object),
        restriction,
        by=hand.caller.member_id,
        reason=shown.terms["reason"],
        now=hand.now,
    )
    return Recorded(_now(done.value), done.entry)


async def _ask_change(visit: Visit) -> tuple[str, Terms]:
    change = forms.one_of(visit, "change", PROPOSED)
    terms: Terms = {"action": change, "terms": {}}
    if change in {"admission", "recovery"} and (thumbprint := forms.thumbprint(visit)) is not None:
        terms["terms"] = {"key_thumbprint": thumbprint}
    if change == "jurisdictions":
        terms["terms"] = {"jurisdictions": forms.countries(visit, default=[])}
    return await _named(visit), terms


async def _ask_quotas(visit: Visit) -> tuple[str, Terms]:
    return await _named(visit), {"action": "quotas", "terms": dict(forms.quotas(visit, QUOTAS))}


async def _propose(hand: Hand, shown: Confirmation) -> Recorded[Outcome]:
    member_id = public_id("mem", shown.object)
    done = await hand.services.members.propose(
        hand.session, member_id, shown.terms["action"], shown.terms["terms"], by=hand.caller.member_id, now=hand.now
    )
    return Recorded(_now(await hand.services.members.get(hand.session, member_id)), done.entry)


FLAGS: Final[Mapping[str, str]] = {
    "key_thumbprint": "--key-thumbprint",
    "licence_no": "--licence-no",
    "evaluations_per_day": "--evaluations-per-day",
    "queries_per_day": "--queries-per-day",
    "reports_per_day": "--reports-per-day",
}


def _flags(terms: Mapping[str, Any]) -> list[str]:
    flags = [part for name, flag in FLAGS.items() if name in terms for part in (flag, str(terms[name]))]
    flags += [part for one in terms.get("jurisdictions", []) for part in ("--jurisdiction", one)]
    return flags + [part for kind, who in terms.get("contacts", {}).items() for part in ("--contact", f"{kind}={who}")]


def _command_of_member(shown: Confirmation) -> list[str]:
    terms = shown.terms
    given = ["--name", terms["name"], "--role", terms["role"], "--region", terms["region"]]
    return ["member", "add", *given, *_flags(terms)]


def _command_of_approval(shown: Confirmation) -> list[str]:
    terms = shown.terms
    return ["member", "approve", shown.object, "--action", terms["action"], *_flags(terms["terms"])]


def _command_of_rejection(shown: Confirmation) -> list[str]:
    return ["member", "reject", shown.terms["proposal_id"], "--reason", shown.terms["reason"]]


def _command_of_examination(shown: Confirmation) -> list[str]:
    return ["member", "examine", shown.object, "--note", shown.terms["note"]]


def _command_of_suspension(shown: Confirmation) -> list[str]:
    return ["member", "suspend", shown.object, "--reason", shown.terms["reason"]]


def _command_of_limitation(shown: Confirmation) -> list[str]:
    return ["member", "limit", shown.object, "--reason", shown.terms["reason"]]


def _command_of_change(shown: Confirmation) -> list[str]:
    return ["member", "propose", shown.object, shown.terms["action"], *_flags(shown.terms["terms"])]


def _command_of_quotas(shown: Confirmation) -> list[str]:
    return ["member", "quotas", shown.object, *_flags(shown.terms["terms"])]


ACTIONS: Final = (
    Action(
        "propose_member", "operator", _ask_propose_member, _propose_member, _command_of_member, again=onboarding.again
    ),
    Action("approve_member", "operator", _ask_approval, _approve, _command_of_approval, versioned=True),
    Action("reject_proposal", "operator", _ask_rejection, _reject, _command_of_rejection),
    Action("begin_due_diligence", "operator", _ask_examination, _examine, _command_of_examination, versioned=True),
    Action("suspend_member", "operator", _ask_reason, partial(_restrict, "suspension"), _command_of_suspension),
    Action("limit_member", "operator", _ask_reason, partial(_restrict, "limitation"), _command_of_limitation),
    Action("propose_change", "operator", _ask_change, _propose, _command_of_change, versioned=True),
    Action("propose_quotas", "operator", _ask_quotas, _propose, _command_of_quotas, versioned=True),
)
