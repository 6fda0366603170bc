"""What pages change: each action is shown whole, confirmed by a passkey over exactly that, and carried out once.

An action says how a form becomes its document, which command does the same, and which service call carries it out: the
call that the API's route makes, in the same transaction as the event. The event is named as the API's operation is.
The assertion stands where a signed request would: in the event's sealed opening, its digest in the event's body.
"""

import secrets
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from creditshare.access.service import public_id
from creditshare.audit.service import ExchangeDigests, Recorded
from creditshare.console import forms, passkeys
from creditshare.console.visits import Visit
from creditshare.crypto.digests import content_digest, sha256_b64url
from creditshare.crypto.encoding import b64url_encode
from creditshare.errors import Refused
from creditshare.ids import spell
from creditshare.members.service import QUOTAS, Application
from creditshare.wire.confirmation import Confirmation, challenge_of, evidence

Terms = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action brought: about whom, and a one-time code where one was made."""

    member_id: UUID
    enrolment_code: str | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """A change that pages offer. ``versioned``: it is made under the version of the member that was looked at."""

    name: str
    asks: Callable[[Visit], Awaitable[tuple[str, Terms]]]
    runs: Callable[[Visit, UUID, Terms], Awaitable[Recorded[Outcome]]]
    command: Callable[[Confirmation], list[str]]
    versioned: bool = False


async def prepare(visit: Visit, action: Action) -> tuple[Confirmation, bytes]:
    """Return what is to be confirmed and its challenge; it is kept for five minutes, for this session alone."""
    visit.attempt = action.name
    concerned, terms = await action.asks(visit)
    version = ""
    if action.versioned:
        version = await visit.services.members.version(visit.session, public_id("mem", concerned), now=visit.now)
    shown = Confirmation(
        issuer=visit.services.issuer,
        by=spell("mem", visit.holder.member_id),
        sub=visit.holder.sub,
        action=action.name,
        object=concerned,
        terms=terms,
        version=version,
        iat=int(visit.services.clock.now().timestamp()),
        nonce=b64url_encode(secrets.token_bytes(16)),
    )
    now = visit.services.clock.now()
    return shown, await visit.services.sessions.offer(visit.session, visit.holder, shown.document(), now=now)


async def carry_out(visit: Visit, challenge: bytes) -> tuple[Confirmation, Outcome]:
    """Carry out what was shown, if a passkey of this member signed it; all in this visit's transaction."""
    services, now = visit.services, visit.services.clock.now()
    caller = await visit.confirmed()
    document = await services.sessions.take(visit.session, visit.holder, challenge, now=now)
    shown = Confirmation.read(document)
    action = ACTIONS.get(shown.action)
    if action is None or shown.by != spell("mem", caller.member_id):
        raise Refused("confirmation_ended")
    visit.attempt = action.name
    identity = passkeys.credential_of(visit.form)
    passkey = await services.passkeys.find(visit.session, caller.member_id, identity)
    assertion = passkeys.signed(visit.form, passkey, challenge=challenge_of(document), issuer=services.issuer)
    await services.passkeys.used(visit.session, passkey, sign_count=assertion.sign_count)
    member_id = UUID(int=0)
    if shown.object:
        member_id = public_id("mem", shown.object)
        if action.versioned:
            version = await services.members.lock_version(visit.session, member_id, now=visit.now)
            if version != shown.version:
                raise Refused("precondition_failed")
    outcome = visit.record(await action.runs(visit, member_id, dict(shown.terms)))
    kept = evidence(document, credential_id=identity, jwk=passkey.jwk, assertion=assertion)
    visit.digests = ExchangeDigests(sha256_b64url(kept.encode()), kept, content_digest(document))
    return shown, outcome


async def _named(visit: Visit) -> str:
    member_id = public_id("mem", visit.field("member_id"))
    await visit.services.members.get(visit.session, member_id)
    return spell("mem", member_id)


async def _ask_propose_member(visit: Visit) -> tuple[str, Terms]:
    region = forms.region(visit)
    terms: Terms = {
        "name": forms.text(visit, "name"),
        "role": forms.one_of(visit, "role", ("lender", "regulator", "operator")),
        "region": region,
        "jurisdictions": forms.countries(visit, default=[region[:2]]),
        "contacts": forms.contacts(visit),
    }
    if (thumbprint := forms.thumbprint(visit)) is not None:
        terms["key_thumbprint"] = thumbprint
    if visit.field("licence_no"):
        terms["licence_no"] = forms.text(visit, "licence_no")
    return "", terms


async def _propose_member(visit: Visit, _: UUID, terms: Terms) -> Recorded[Outcome]:
    application = Application(
        name=terms["name"],
        role=terms["role"],
        region=terms["region"],
        jurisdictions=tuple(terms["jurisdictions"]),
        key_thumbprint=terms.get("key_thumbprint"),
        licence_no=terms.get("licence_no"),
        contacts=terms["contacts"],
    )
    done = await visit.services.members.apply(
        visit.session, visit.member.member_id, application, bootstrap_key=visit.known.bootstrap, now=visit.now
    )
    return Recorded(Outcome(done.value.member_id), done.entry)


async def _ask_about_proposal(visit: Visit) -> tuple[str, Terms]:
    wanted = public_id("prp", visit.field("proposal_id"))
    for proposal in await visit.services.approvals.open(visit.session, now=visit.now):
        if proposal.proposal_id == wanted and visit.services.approvals.kind(proposal.kind).about == "mem":
            terms = {"proposal_id": spell("prp", wanted), "action": proposal.kind, "terms": dict(proposal.terms)}
            return spell("mem", proposal.about), terms
    raise Refused("confirmation_ended")


async def _approve(visit: Visit, member_id: UUID, terms: Terms) -> Recorded[Outcome]:
    done = await visit.services.members.approve(
        visit.session, member_id, action=terms["action"], terms=terms["terms"], by=visit.member.member_id, now=visit.now
    )
    return Recorded(Outcome(member_id, done.value.enrolment_code), done.entry)


async def _ask_rejection(visit: Visit) -> tuple[str, Terms]:
    concerned, terms = await _ask_about_proposal(visit)
    return concerned, {**terms, "reason": forms.text(visit, "reason")}


async def _reject(visit: Visit, member_id: UUID, terms: Terms) -> Recorded[Outcome]:
    done = await visit.services.approvals.reject(
        visit.session,
        public_id("prp", terms["proposal_id"]),
        by=visit.member.member_id,
        reason=terms["reason"],
        now=visit.now,
    )
    return Recorded(Outcome(member_id), done.entry)


async def _ask_examination(visit: Visit) -> tuple[str, Terms]:
    return await _named(visit), {"note": forms.text(visit, "note")}


async def _examine(visit: Visit, member_id: UUID, terms: Terms) -> Recorded[Outcome]:
    done = await visit.services.members.begin_due_diligence(visit.session, member_id, note=terms["note"])
    return Recorded(Outcome(member_id), done.entry)


async def _ask_reason(visit: Visit) -> tuple[str, Terms]:
    return await _named(visit), {"reason": forms.text(visit, "reason")}


async def _suspend(visit: Visit, member_id: UUID, terms: Terms) -> Recorded[Outcome]:
    done = await visit.services.members.restrict(
        visit.session, member_id, "suspension", by=visit.member.member_id, reason=terms["reason"], now=visit.now
    )
    return Recorded(Outcome(member_id), done.entry)


async def _limit(visit: Visit, member_id: UUID, terms: Terms) -> Recorded[Outcome]:
    done = await visit.services.members.restrict(
        visit.session, member_id, "limitation", by=visit.member.member_id, reason=terms["reason"], now=visit.now
    )
    return Recorded(Outcome(member_id), done.entry)


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


async def _propose(visit: Visit, member_id: UUID, terms: Terms) -> Recorded[Outcome]:
    done = await visit.services.members.propose(
        visit.session, member_id, terms["action"], terms["terms"], by=visit.member.member_id, now=visit.now
    )
    return Recorded(Outcome(member_id), done.entry)


PROPOSED: Final = ("lift_suspension", "lift_limitation", "recovery", "jurisdictions", "termination", "admission")
FLAGS: Final[Mapping[str, str]] = {
    "key_thumbprint": "--key-thumbprint",
    "evaluations_per_day": "--evaluations-per-day",
    "queries_per_day": "--queries-per-day",
    "reports_per_day": "--reports-per-day",
}


def _flags(terms: Mapping[str, Any]) -> list[str]:
    flags = [part for name, flag in FLAGS.items() if name in terms for part in (flag, str(terms[name]))]
    return flags + [part for one in terms.get("jurisdictions", []) for part in ("--jurisdiction", one)]


def _command_of_member(shown: Confirmation) -> list[str]:
    terms = shown.terms
    given = ["--name", terms["name"], "--role", terms["role"], "--region", terms["region"]]
    return ["member", "add", *given, *_flags(terms)]


def _command_of_quotas(shown: Confirmation) -> list[str]:
    return ["member", "quotas", shown.object, *_flags(shown.terms["terms"])]


ACTIONS: Final[Mapping[str, Action]] = {
    action.name: action
    for action in (
        Action("propose_member", _ask_propose_member, _propose_member, _command_of_member),
        Action(
            "approve_member",
            _ask_about_proposal,
            _approve,
            lambda shown: [
                *("member", "approve", shown.object, "--action", shown.terms["action"]),
                *_flags(shown.terms["terms"]),
            ],
            versioned=True,
        ),
        Action(
            "reject_proposal",
            _ask_rejection,
            _reject,
            lambda shown: ["member", "reject", shown.terms["proposal_id"], "--reason", shown.terms["reason"]],
        ),
        Action(
            "begin_due_diligence",
            _ask_examination,
            _examine,
            lambda shown: ["member", "examine", shown.object, "--note", shown.terms["note"]],
            versioned=True,
        ),
        Action(
            "suspend_member",
            _ask_reason,
            _suspend,
            lambda shown: ["member", "suspend", shown.object, "--reason", shown.terms["reason"]],
        ),
        Action(
            "limit_member",
            _ask_reason,
            _limit,
            lambda shown: ["member", "limit", shown.object, "--reason", shown.terms["reason"]],
        ),
        Action(
            "propose_change",
            _ask_change,
            _propose,
            lambda shown: ["member", "propose", shown.object, shown.terms["action"], *_flags(shown.terms["terms"])],
            versioned=True,
        ),
        Action("propose_quotas", _ask_quotas, _propose, _command_of_quotas, versioned=True),
    )
}
"""By the name that the log gives them, which is that of the API's operation."""


def command_line(shown: Confirmation) -> str:
    """Return the command that does the same without a passkey."""
    parts = ACTIONS[shown.action].command(shown)
    return f"{shlex.join(['creditshare', *parts])} --as KEYFILE --url {shlex.quote(shown.issuer)}"
