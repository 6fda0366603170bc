"""How a change is confirmed: shown whole, signed by a passkey over exactly that, and carried out once.

The assertion stands where a signed request would: in the event's sealed opening, its digest in the event's body.
"""

import secrets
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from creditshare.access.service import public_id
from creditshare.audit.service import ExchangeDigests
from creditshare.console import erasure_actions, member_actions, passkeys, warrant_actions
from creditshare.console.actions import Action, Hand, Outcome
from creditshare.console.visits import Visit, asked_by
from creditshare.crypto.digests import content_digest, sha256_b64url
from creditshare.crypto.encoding import b64url_encode
from creditshare.errors import Refused
from creditshare.ids import spell
from creditshare.wire.confirmation import Confirmation, challenge_of, evidence

ACTIONS: Final[Mapping[str, Action]] = {
    action.name: action for action in (*member_actions.ACTIONS, *warrant_actions.ACTIONS, *erasure_actions.ACTIONS)
}
"""By the name that the log gives them, which is that of the API's operation."""


def action_for(visit: Visit, name: str) -> Action:
    """Return an action that the holder's role has; whoever has it not is told that there is none."""
    action = ACTIONS.get(name)
    if action is None or action.role != visit.member.role:
        raise Refused("not_found")
    return action


async def prepare(visit: Visit, action: Action) -> tuple[Confirmation, bytes]:
    """Return what is to be confirmed and its challenge; it is kept for five minutes, for this session alone."""
    visit.attempt = action.name
    concerned, terms = await action.asks(visit)
    version = ""
    if action.versioned:
        version = await visit.services.members.version(visit.session, public_id("mem", concerned), now=visit.now)
    now = visit.services.clock.now()
    shown = Confirmation(
        issuer=visit.services.issuer,
        by=spell("mem", visit.holder.member_id),
        sub=visit.holder.sub,
        action=action.name,
        object=concerned,
        terms=terms,
        version=version,
        iat=int(now.timestamp()),
        nonce=b64url_encode(secrets.token_bytes(16)),
    )
    document = shown.document()
    # The event of this view commits to the document, not to the form: without the nonce its terms could be guessed.
    visit.digests = replace(asked_by(visit.request, {}), request_digest=content_digest(document))
    return shown, await visit.services.sessions.offer(visit.session, visit.holder, document, now=now)


async def carry_out(visit: Visit, challenge: bytes) -> tuple[Confirmation, Outcome]:
    """Carry out what was shown, if a passkey of this member signed it; all in this visit's transaction."""
    services, now = visit.services, visit.services.clock.now()
    caller = await visit.confirmed()
    document = await services.sessions.take(visit.session, visit.holder, challenge, now=now)
    shown = Confirmation.read(document)
    action = ACTIONS.get(shown.action)
    if action is None or action.role != caller.member.role or shown.by != spell("mem", caller.member_id):
        raise Refused("confirmation_ended")
    visit.attempt = action.name
    identity = passkeys.credential_of(visit.form)
    passkey = await services.passkeys.find(visit.session, caller.member_id, identity, now=now)
    assertion = passkeys.signed(visit.form, passkey, challenge=challenge_of(document), issuer=services.issuer)
    await services.passkeys.used(visit.session, passkey, sign_count=assertion.sign_count)
    if action.versioned:
        about = public_id("mem", shown.object)
        if await services.members.lock_version(visit.session, about, now=visit.now) != shown.version:
            raise Refused("precondition_failed")
    outcome = visit.record(await action.runs(Hand(services, visit.session, caller, visit.now), shown))
    kept = evidence(document, credential_id=identity, jwk=passkey.jwk, assertion=assertion)
    visit.digests = ExchangeDigests(sha256_b64url(kept.encode()), kept, content_digest(document))
    return shown, outcome


def command_line(shown: Confirmation) -> str:
    """Return the command that does the same without a passkey."""
    parts = ACTIONS[shown.action].command(shown)
    return f"{shlex.join(['creditshare', *parts])} --as KEYFILE --url {shlex.quote(shown.issuer)}"
