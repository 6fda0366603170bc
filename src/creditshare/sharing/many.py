"""Many questions in one signed request: each is asked, decided, recorded and kept like one that came alone.

Each has a use of the request and a place under its idempotency key of its own, both derived from the request's. So a
batch that broke off, sent again, tells again what was told and asks the rest.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from creditshare.access.service import Caller, Claim
from creditshare.audit.service import Audit, Entry, ExchangeDigests, Recorded
from creditshare.crypto.digests import content_digest
from creditshare.errors import Refused
from creditshare.sharing.rules import Question
from creditshare.sharing.service import Answer, Retried, Sharing
from creditshare.storage.engine import WriteSession
from creditshare.subjects.service import BorrowerToken
from creditshare.wire.actions import AGAIN
from creditshare.wire.leaf import LogEntry

AT_ONCE: Final = 32
CONCERN_ALL: Final = frozenset({"key_revoked", "key_expired", "replay_detected", "idempotency_mismatch"})
"""Refusals that are of the request itself and not of one question."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of a batch, or why it is none."""

    token: BorrowerToken
    question: Question | Refused
    purpose: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one question: the answer's bytes or the refusal's code, and its place in the log."""

    body: bytes | None
    code: str | None
    log_entry: LogEntry
    again: bool


async def ask_many(
    sharing: Sharing, caller: Caller, claim: Claim, asked: Sequence[Asked], *, request_digest: str
) -> list[Answer | Retried | Refused]:
    """Ask the questions, as many at once as leave room for what others ask meanwhile; each is whole by itself.

    Two under one consent are asked in their order: what waits is not overtaken by what touches the same.
    """

    async def ask(number: int, one: Asked) -> Answer | Retried | Refused:
        if isinstance(one.question, Refused):
            return one.question
        # A request's own jti has no dot, so none can be taken for a part of another.
        part = replace(caller, jti=f"{caller.jti}.{number}")
        place = replace(claim, route=f"{claim.route}/{number}")
        try:
            return await sharing.ask(part, place, one.token, one.question, request_digest=request_digest)
        except Refused as refusal:
            if refusal.code in CONCERN_ALL:
                raise
            return refusal

    outcomes: list[Answer | Retried | Refused] = []
    for first in range(0, len(asked), AT_ONCE):
        some = enumerate(asked[first : first + AT_ONCE], start=first)
        asking = [asyncio.create_task(ask(number, one)) for number, one in some]
        # All of them end before a failure of one is told: nothing goes on behind the answer's back.
        await asyncio.wait(asking)
        outcomes += [one.result() for one in asking]
    return outcomes


async def tell_many(
    sharing: Sharing,
    audit: Audit,
    session: WriteSession,
    caller: Caller,
    asked: Sequence[Asked],
    outcomes: Sequence[Answer | Retried | Refused],
    *,
    request_digest: str,
    now: datetime,
) -> Recorded[list[Outcome]]:
    """Return what came of each question; refusals and what is told again become events here, answers are already."""
    told, events = list[Outcome](), []
    for one, outcome in zip(asked, outcomes, strict=True):
        if isinstance(outcome, Answer):
            told.append(Outcome(outcome.body, None, outcome.log_entry, again=False))
            continue
        body, code, entry = None, None, Entry("run_query", one.purpose)
        if isinstance(outcome, Retried):
            try:
                found = await sharing.told(session, caller.member_id, outcome.query_id)
                body, entry = found.value.body, replace(found.entry, action="run_query" + AGAIN)
            except Refused as refusal:
                code = refusal.code
        else:
            code = outcome.code
        digests = ExchangeDigests(caller.rqh, caller.request_token, request_digest, content_digest(body or b""))
        event = audit.compose(entry, actor=caller.actor, exchange=digests, now=now, outcome=code or "ok")
        events.append(event)
        told.append(Outcome(body, code, event.log_entry, again=body is not None))
    await audit.append_many(session, events)
    answered = sum(one.body is not None for one in told)
    details = {"answered": answered, "queries": len(told), "refused": len(told) - answered}
    return Recorded(told, Entry("run_query_batch", details=details))
