"""Asking for an erasure and approving it. Nothing on a request's path erases: that is the eraser's (``carrying``)."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from creditshare.access.service import public_id
from creditshare.approvals.rules import Proposal
from creditshare.approvals.service import Approvals, Kind, Outcome
from creditshare.audit.service import Entry, Recorded
from creditshare.consents.service import require_consent_of, subject_of_consent
from creditshare.erasures import rules
from creditshare.erasures.rules import KINDS, Terms
from creditshare.errors import Refused
from creditshare.ids import Prefix, spell
from creditshare.records.service import subject_of_record, was_erased
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.subjects.service import Subjects

OPERATORS: Final = frozenset({"operator"})
REFERENCES: Final = {"rec": "record_id", "cns": "consent_id"}
SUBJECT_OF: Final = {"rec": subject_of_record, "cns": subject_of_consent}


class Erasures:
    """The only door to erasures that wait, and to those that there were."""

    def __init__(self, *, subjects: Subjects, approvals: Approvals) -> None:
        self._subjects = subjects
        self._approvals = approvals

    def kinds(self) -> list[Kind]:
        """Return how an erasure takes two operators. Approving one does nothing but order it."""
        return [
            Kind(
                name=name,
                about=kind.about,
                reference=REFERENCES[kind.about],
                proposers=OPERATORS,
                approvers=OPERATORS,
                hold=partial(self._hold, kind.about),
                carry_out=_order,
                later=True,
            )
            for name, kind in KINDS.items()
        ]

    async def request(self, session: WriteSession, terms: Terms, *, by: UUID, now: datetime) -> Recorded[Proposal]:
        """Ask for an erasure; ``not_found`` for an id that there is not, ``erased`` for what is gone already."""
        kind = terms.kind
        rules.check(terms)
        about = public_id(KINDS[kind].about, terms.named)
        await self._require_there(session, kind, about)
        made = await self._approvals.propose(session, kind, about, terms.kept, by=by, now=now)
        return Recorded(made, _entry("request_erasure", made))

    async def approve(
        self, session: WriteSession, proposal_id: UUID, repeated: Terms, *, by: UUID, now: datetime
    ) -> Recorded[Proposal]:
        """Approve what another operator asked for, repeating all of it."""
        asked = await self.find(session, proposal_id)
        rules.require_repeated(rules.terms_of(asked), repeated)
        await self._require_there(session, asked.kind, asked.about)
        done = await self._approvals.approve(
            session, asked.kind, asked.about, asked.terms, by=by, now=now, only=proposal_id
        )
        return Recorded(done.proposal, _entry("approve_erasure", done.proposal))

    async def find(self, session: ReadSession, proposal_id: UUID) -> Proposal:
        """Return an erasure, asked for, carried out or neither; ``not_found`` for another sort of proposal."""
        found = await self._approvals.find(session, proposal_id)
        if found is None or found.kind not in KINDS:
            raise Refused("not_found")
        return found

    async def listed(self, session: ReadSession, *, before: UUID | None, limit: int) -> Sequence[Proposal]:
        """Return erasures, newest first, whatever became of them."""
        return await self._approvals.listed(session, kinds=[*KINDS], before=before, limit=limit)

    async def _require_there(self, session: WriteSession, kind: str, about: UUID) -> None:
        state = await self._subjects.read(session, await SUBJECT_OF[KINDS[kind].about](session, about))
        if KINDS[kind].about == "cns":
            await require_consent_of(session, state.keys, about)
        elif await was_erased(session, state, about) and not KINDS[kind].whole_borrower:
            raise Refused("erased")

    async def _hold(self, about: Prefix, session: WriteSession, object_id: UUID) -> None:
        """Lock the borrower, also one that is erased: what was asked for about it may still be rejected."""
        try:
            await self._subjects.lock(session, await SUBJECT_OF[about](session, object_id))
        except Refused as refused:
            if refused.code != "erased":
                raise


async def _order(session: WriteSession, proposal: Proposal, by: UUID, now: datetime) -> Outcome:
    """Do nothing: the approved row is the order, and only the eraser's role can carry it out."""
    del session, proposal, by, now
    return Outcome()


def _entry(action: str, proposal: Proposal) -> Entry:
    """Name no borrower: who ordered an erasure must be told when all that it erased is gone."""
    kind = KINDS[proposal.kind]
    references = {REFERENCES[kind.about]: spell(kind.about, proposal.about)}
    return Entry(action, references=references, details={"proposal": proposal.kind, **proposal.terms})
