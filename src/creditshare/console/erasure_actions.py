"""What pages change about erasures: an operator asks, another approves. Only the eraser's command carries one out."""

from typing import Final

from creditshare.access.service import public_id
from creditshare.audit.service import Recorded
from creditshare.console import forms
from creditshare.console.actions import Action, Hand, Outcome, Terms
from creditshare.console.member_actions import open_proposal
from creditshare.console.visits import Visit
from creditshare.erasures import rules
from creditshare.erasures.rules import KINDS, LEGAL_BASES
from creditshare.erasures.rules import Terms as ErasureTerms
from creditshare.errors import Refused
from creditshare.ids import spell
from creditshare.wire.confirmation import Confirmation


def _repeated(said: ErasureTerms) -> Terms:
    return {"whole_borrower": said.whole_borrower, "legal_basis": said.legal_basis, "reason": said.reason}


def _said(shown: Confirmation) -> ErasureTerms:
    terms = shown.terms
    return ErasureTerms(shown.object, terms["whole_borrower"], terms["legal_basis"], terms["reason"])


async def _ask_request(visit: Visit) -> tuple[str, Terms]:
    terms = ErasureTerms(
        named=forms.named(visit, "named", ("rec", "cns")),
        whole_borrower=bool(visit.field("whole_borrower")),
        legal_basis=forms.one_of(visit, "legal_basis", LEGAL_BASES),
        reason=forms.text(visit, "reason"),
    )
    rules.check(terms)
    _ = terms.kind  # refuses a consent without all of its borrower
    return terms.named, _repeated(terms)


async def _request(hand: Hand, shown: Confirmation) -> Recorded[Outcome]:
    done = await hand.services.erasures.request(hand.session, _said(shown), by=hand.caller.member_id, now=hand.now)
    return Recorded(Outcome(shown.object, rules.status(done.value, hand.now)), done.entry)


async def _ask_approval(visit: Visit) -> tuple[str, Terms]:
    proposal = await open_proposal(visit)
    if proposal.kind not in KINDS:
        raise Refused("not_found")
    said = rules.terms_of(proposal)
    return said.named, {"proposal_id": spell("prp", proposal.proposal_id), **_repeated(said)}


async def _approve(hand: Hand, shown: Confirmation) -> Recorded[Outcome]:
    proposal_id = public_id("prp", shown.terms["proposal_id"])
    done = await hand.services.erasures.approve(
        hand.session, proposal_id, _said(shown), by=hand.caller.member_id, now=hand.now
    )
    return Recorded(Outcome(shown.object, rules.status(done.value, hand.now)), done.entry)


def _command_of_request(shown: Confirmation) -> list[str]:
    said = _said(shown)
    flags = ["--legal-basis", said.legal_basis, "--reason", said.reason]
    return ["erase", "request", said.named, *flags, *(["--whole-borrower"] if said.whole_borrower else [])]


def _command_of_approval(shown: Confirmation) -> list[str]:
    return ["erase", "approve", shown.terms["proposal_id"]]


ACTIONS: Final = (
    Action("request_erasure", "operator", _ask_request, _request, _command_of_request),
    Action("approve_erasure", "operator", _ask_approval, _approve, _command_of_approval),
)
