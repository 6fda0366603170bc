"""The hot path. Read ``Sharing.ask`` from top to bottom; it is the promise of this project in one place.

1. *Read* everything in one snapshot: consent, records, the rules' facts, the states of key, member and
   borrower, and the database's time. Nothing is decided on what a worker remembers.
2. *Decide* by pure rules. A refusal is raised here and becomes an event at the edge.
3. *Open* the granted fields and *compose* the answer's bytes. Nothing has left the service.
4. *Write* one statement: the request's single use (all else depends on it), the idempotency key, one use
   of the consent, the answer sealed, the event with the digest of exactly this answer. Only if version,
   key and member are unchanged; otherwise nothing is written and the path starts again, so that a
   correction, revocation or erasure in between is never missed.
5. *Commit*, then release. Signing happens at the edge, after this returns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Date, RowMapping, cast, func, select, update

from creditshare.access.service import Access, Caller, Claim
from creditshare.access.statements import answered_before, claim_parameters, read_parameters, require_key
from creditshare.audit.service import Audit, Entry, ExchangeDigests, Recorded
from creditshare.audit.statements import event_parameters
from creditshare.consents.rules import Consent
from creditshare.consents.service import open_seen_consent
from creditshare.crypto.digests import content_digest
from creditshare.errors import FieldError, IntegrityError, Refused, Unavailable
from creditshare.ids import spell, uuid7
from creditshare.keys.custody import SubjectKeys, seal_place
from creditshare.policy.service import Policy
from creditshare.records.history import History, histories_of
from creditshare.records.service import Records
from creditshare.sharing.answer import Asking, compose, instant, told
from creditshare.sharing.models import query_answer, query_lookup
from creditshare.sharing.repository import Questions
from creditshare.sharing.rules import Question, Refusal, decide, grant
from creditshare.storage.engine import Changed, ReadSession, WriteSession
from creditshare.storage.paging import page_of
from creditshare.subjects.service import BorrowerToken, Subjects, SubjectState, check_token
from creditshare.wire.leaf import LogEntry
from creditshare.wire.strict_json import canonical, decode

TRIES: Final = 3
OK: Final = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is committed and may be released: its exact bytes and its log entry."""

    query_id: UUID
    body: bytes
    log_entry: LogEntry


@dataclass(frozen=True, slots=True)
class Retried:
    """The question was answered before under the same idempotency key; the edge tells the same bytes again."""

    query_id: UUID


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked about a borrower, when and for what; what for is not known any more of an emptied answer."""

    query_id: UUID
    member_id: UUID
    told_at: datetime
    purpose: str | None
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What was once told, and whether it still holds."""

    body: bytes
    superseded: str | None


class Sharing:
    """Answers lenders' questions."""

    def __init__(
        self,
        *,
        questions: Questions,
        access: Access,
        subjects: Subjects,
        records: Records,
        audit: Audit,
        policy: Policy,
        handle_key: bytes,
        skew_s: int,
    ) -> None:
        self._questions = questions
        self._access = access
        self._subjects = subjects
        self._records = records
        self._audit = audit
        self._policy = policy
        self._handle_key = handle_key
        self._skew = skew_s

    async def ask(
        self, caller: Caller, claim: Claim, token: BorrowerToken, question: Question, *, request_digest: str
    ) -> Answer | Retried:
        """Answer one question (steps in the module's docstring)."""
        index = self._subjects.index(token)
        for _ in range(TRIES):
            seen = await self._questions.read(  # 1
                read_parameters(caller, claim) | {"index": index, "consent_id": question.consent_id}
            )
            if seen is None:
                raise Refused("key_revoked")
            require_key(seen)
            caller = await self._access.confirmed(caller, (seen["key_seal"], seen["member_seal"]))
            if answered_before(seen, claim):
                return Retried(seen["told_query_id"])
            now = seen["now"].astimezone(UTC)
            _require_past(question, now)
            state, consent = self._open(seen, token)
            decision = decide(  # 2
                question,
                consent,
                member_id=caller.member_id,
                member_status=caller.member.status,
                tier=caller.member.tier,
                now=now,
            )
            if isinstance(decision, Refusal) or state is None:
                raise Refused(decision.reason if isinstance(decision, Refusal) else "consent_missing")
            asking = Asking(uuid7(now), caller.member_id, question, decision, now, state.version, self._policy.version)
            body = compose(asking, histories_of(state, seen), handle_key=self._handle_key)  # 3
            event = self._audit.compose(
                _entry("run_query", state.keys, asking),
                actor=caller.actor,
                exchange=ExchangeDigests(caller.rqh, caller.request_token, request_digest, content_digest(body)),
                now=now,
            )
            written = _write_parameters(asking, consent, state, body)
            claimed = claim_parameters(caller, claim, status=OK, skew_s=self._skew)
            try:
                await self._questions.write(written | claimed | event_parameters(event))  # 4, 5
            except Changed:
                continue
            return Answer(asking.query_id, body, event.log_entry)
        raise Unavailable("the borrower's data kept changing while the question was answered")

    async def told(self, session: ReadSession, member_id: UUID, query_id: UUID) -> Recorded[Told]:
        """Return the exact bytes once told to this member, and whether what they say was corrected since."""
        row = await self._stored(session, query_id)
        if row["member_id"] != member_id:  # before anything else can be told of it, that it is erased included
            raise Refused("not_found")
        state = await self._subjects.read(session, row["subject_id"])
        stored = _open_stored(state.keys, row)
        entry = Entry("show_query", subject=state.keys, references={"query_id": spell("qry", query_id)})
        if "kind" in stored:  # of the state of a day that is over, which no later correction changes
            return Recorded(Told(str(stored["body"]).encode(), None), entry)
        asking = _asking_again(row, stored)
        superseded = _superseded(await self._records.histories(session, state), asking)
        return Recorded(Told(str(stored["body"]).encode(), superseded), entry)

    async def rebuild(self, session: ReadSession, query_id: UUID) -> tuple[bytes, bytes]:
        """Return the stored bytes and the same answer composed anew from the borrower's version. They must be equal."""
        row = await self._stored(session, query_id)
        state = await self._subjects.read(session, row["subject_id"])
        stored = _open_stored(state.keys, row)
        histories = await self._records.histories(session, state)
        return str(stored["body"]).encode(), compose(_asking_again(row, stored), histories, handle_key=self._handle_key)

    async def own_questions(self, session: ReadSession, state: SubjectState, member_id: UUID) -> list[dict[str, Any]]:
        """Return what a member asked about a borrower, not what it was told, which others reported."""
        own = select(query_answer).where(
            query_answer.c.subject_id == state.subject_id, query_answer.c.member_id == member_id
        )
        found: list[dict[str, Any]] = []
        for row in (await session.execute(own.order_by(query_answer.c.query_id))).mappings():
            asked = {
                "query_id": spell("qry", row["query_id"]),
                "consent_id": spell("cns", row["consent_id"]),
                "told_at": row["told_at"].isoformat(),
            }
            if row["sealed"] is not None:
                stored = _open_stored(state.keys, row)
                asked |= {name: stored[name] for name in ("purpose", "scopes", "as_of", "kind") if name in stored}
            found.append(asked)
        return found

    async def questions_about(self, session: ReadSession, state: SubjectState) -> list[Asked]:
        """Return all that anybody asked about a borrower, oldest first, not what was told."""
        asked = select(query_answer).where(query_answer.c.subject_id == state.subject_id)
        found: list[Asked] = []
        for row in (await session.execute(asked.order_by(query_answer.c.told_at, query_answer.c.query_id))).mappings():
            stored = None if row["sealed"] is None else _open_stored(state.keys, row)
            found.append(
                Asked(
                    row["query_id"],
                    row["member_id"],
                    row["told_at"],
                    None if stored is None else str(stored["purpose"]),
                    () if stored is None else tuple(stored["scopes"]),
                )
            )
        return found

    def _open(self, seen: Mapping[str, Any], token: BorrowerToken) -> tuple[SubjectState | None, Consent | None]:
        if seen["subject_id"] is None or seen["dek"] is None:
            return None, None
        state = self._subjects.opened(seen)
        check_token(state, seen["element"], token)
        if seen["consent_id"] is None:
            return state, None
        return state, open_seen_consent(state.keys, seen, version=state.version)

    @staticmethod
    async def _stored(session: ReadSession, query_id: UUID) -> RowMapping:
        found = await session.execute(
            select(query_answer)
            .join(query_lookup, query_lookup.c.subject_id == query_answer.c.subject_id)
            .where(query_lookup.c.query_id == query_id, query_answer.c.query_id == query_id)
        )
        row = found.mappings().one_or_none()
        if row is None:
            raise Refused("not_found")
        return row


async def borrowers_of_questions(session: ReadSession, member_id: UUID) -> set[UUID]:
    """Return all borrowers that a member asked about."""
    found = await session.execute(select(query_answer.c.subject_id).where(query_answer.c.member_id == member_id))
    return set(found.scalars())


async def borrowers_asked_about(session: ReadSession, member_id: UUID, *, since: datetime) -> int:
    """Return how many borrowers a member asked about since an instant."""
    asked = select(func.count(func.distinct(query_answer.c.subject_id))).where(
        query_answer.c.member_id == member_id, query_answer.c.told_at >= since
    )
    return int((await session.execute(asked)).scalar_one())


async def questions_since(session: ReadSession, member_id: UUID, *, since: datetime) -> int:
    """Return how many of a member's questions were answered since an instant."""
    asked = select(func.count()).where(query_answer.c.member_id == member_id, query_answer.c.told_at >= since)
    return int((await session.execute(asked)).scalar_one())


async def subject_of_question(session: ReadSession, query_id: UUID) -> UUID:
    """Return the borrower that a question was about; ``not_found`` for an unknown one."""
    found = await session.execute(select(query_lookup.c.subject_id).where(query_lookup.c.query_id == query_id))
    subject_id = found.scalar_one_or_none()
    if subject_id is None:
        raise Refused("not_found")
    return UUID(str(subject_id))


async def require_question_about(session: ReadSession, keys: SubjectKeys, query_id: UUID) -> None:
    """Raise ``IntegrityError`` if a question was not about this borrower, to which an index led that can be bent.

    ``erased`` where its answer was emptied: nothing says any more whom it was about.
    """
    found = await session.execute(
        select(query_answer).where(query_answer.c.subject_id == keys.subject_id, query_answer.c.query_id == query_id)
    )
    row = found.mappings().one_or_none()
    if row is None:
        raise IntegrityError("an id leads to a borrower about whom there was no such question")
    _open_stored(keys, row)


async def ids_of_questions(session: ReadSession, *, after: UUID | None, limit: int) -> list[tuple[UUID, UUID]]:
    """Return the next questions in the order of their ids, each with its borrower."""
    ids = query_lookup.c
    return [tuple(row) for row in await page_of(session, ids.query_id, ids.subject_id, after=after, limit=limit)]


async def empty_answers(session: WriteSession, subject_id: UUID) -> None:
    """Empty what was told about a borrower; the rows stay, so that asking for one again gives 410."""
    await session.execute(update(query_answer).where(query_answer.c.subject_id == subject_id).values(sealed=None))


async def keep_told(
    session: WriteSession,
    state: SubjectState,
    query_id: UUID,
    *,
    member_id: UUID,
    consent_id: UUID,
    kind: str,
    purpose: str,
    scopes: tuple[str, ...],
    policy_version: str,
    body: bytes,
    now: datetime,
) -> None:
    """Keep an answer that is no answer about records, so that it is found among the borrower's questions."""
    stored = canonical(
        {
            "as_of": "",
            "body": body.decode(),
            "consent_id": str(consent_id),
            "kind": kind,
            "member_id": str(member_id),
            "policy_version": policy_version,
            "purpose": purpose,
            "scopes": list(scopes),
        }
    )
    await session.execute(
        query_answer.insert().values(
            subject_id=state.subject_id,
            query_id=query_id,
            member_id=member_id,
            consent_id=consent_id,
            version=state.version,
            told_at=now,
            sealed=state.keys.box("answer").seal(seal_place("query_answer", "sealed", query_id), stored),
        )
    )
    await session.execute(query_lookup.insert().values(query_id=query_id, subject_id=state.subject_id))


def _require_past(question: Question, now: datetime) -> None:
    if question.as_of is not None and question.as_of > now:
        raise Refused("validation_failed", fields=[FieldError("/as_of", "in_future", "an instant not after now")])


def _write_parameters(asking: Asking, consent: Consent | None, state: SubjectState, body: bytes) -> dict[str, Any]:
    frequency = consent.frequency if consent else None
    stored = canonical(
        {
            "as_of": instant(asking.question.as_of) if asking.question.as_of else "",
            "body": body.decode(),
            "consent_id": str(asking.question.consent_id),
            "member_id": str(asking.member_id),
            "policy_version": asking.policy_version,
            "purpose": asking.question.purpose,
            "scopes": list(asking.question.scopes),
            "tier": asking.grant.tier,
        }
    )
    return {
        "subject_id": state.subject_id,
        "version": state.version,
        "dek_id": state.keys.key_id,
        "answer": None,
        "query_id": asking.query_id,
        "consent_id": asking.question.consent_id,
        "window_start": frequency.window(asking.now) if frequency else None,
        "now": asking.now,
        "sealed": state.keys.box("answer").seal(seal_place("query_answer", "sealed", asking.query_id), stored),
    }


def _open_stored(keys: SubjectKeys, row: RowMapping) -> dict[str, Any]:
    if row["sealed"] is None:
        raise Refused("erased")
    stored = decode(keys.box("answer").open(seal_place("query_answer", "sealed", row["query_id"]), row["sealed"]))
    if not isinstance(stored, dict):
        raise IntegrityError("a stored answer is not an object")
    if any(stored.get(name) != str(row[name]) for name in ("consent_id", "member_id")):
        raise IntegrityError("a stored answer was given to another member or under another consent")
    return stored


def _asking_again(row: RowMapping, stored: Mapping[str, Any]) -> Asking:
    as_of = datetime.fromisoformat(stored["as_of"]) if stored["as_of"] else None
    question = Question(stored["purpose"], row["consent_id"], tuple(stored["scopes"]), as_of)
    granted = grant(question, stored.get("tier", "full"))
    return Asking(
        row["query_id"], row["member_id"], question, granted, row["told_at"], row["version"], stored["policy_version"]
    )


def _superseded(histories: list[History], asking: Asking) -> str | None:
    since = {
        event.kind
        for history in histories
        if told(history, asking) is not None
        for version, event in history.events
        if version > asking.version
    }
    return next((kind for kind in ("withdrawn", "corrected") if kind in since), None)


def _entry(action: str, keys: SubjectKeys, asking: Asking) -> Entry:
    references = {
        "consent_id": spell("cns", asking.question.consent_id),
        "query_id": spell("qry", asking.query_id),
    }
    return Entry(action, asking.question.purpose, keys, references)


async def questions_by_day(session: ReadSession, member_id: UUID, *, since: datetime) -> dict[date, int]:
    """Return how many of a member's questions were answered on each day (UTC) since an instant."""
    day = cast(func.timezone("UTC", query_answer.c.told_at), Date).label("day")
    found = await session.execute(
        select(day, func.count().label("questions"))
        .where(query_answer.c.member_id == member_id, query_answer.c.told_at >= since)
        .group_by(day)
    )
    return {row.day: row.questions for row in found}
