"""Composing and appending events: what happened, committed to in a leaf, opened only to who may know."""

import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar

from sqlalchemy import Row, delete, func, select

from creditshare.audit.models import audit_checkpoint, audit_event, audit_leaf, audit_opening
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.sealing import Box, Place
from creditshare.errors import IntegrityError, Malformed
from creditshare.ids import spell, uuid4
from creditshare.keys.custody import SubjectKeys
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.storage.rowsets import Columns, columns_of, rows_of
from creditshare.wire.leaf import LogEntry, body_payload, build_leaf, commit, leaf_hash
from creditshare.wire.strict_json import canonical, decode_object

T = TypeVar("T")
Group = Literal["meta", "subj", "body"]
SALT_BYTES: Final = 32
_EVENTS: Final[Columns] = {"event_id": "uuid", "leaf": "bytea", "leaf_hash": "bytea"}
_OPENINGS: Final[Columns] = {"event_id": "uuid", "grp": "text", "subject_id": "uuid", "sealed": "bytea"}
APPEND: Final = f"""
WITH events AS (INSERT INTO audit_event (event_id, leaf, leaf_hash) SELECT * FROM {rows_of("e", _EVENTS)})
INSERT INTO audit_opening (event_id, grp, subject_id, sealed) SELECT * FROM {rows_of("o", _OPENINGS)}"""  # noqa: S608  names of ours


@dataclass(frozen=True, slots=True)
class Entry:
    """What a business action has to say about itself, before anyone knows who asked for it.

    ``references`` name things by public id (``record_id``, ``consent_id`` …); ``subject`` are the
    borrower's keys where the action concerns one; ``details`` are counts and codes, never values.
    """

    action: str
    purpose: str = ""
    subject: SubjectKeys | None = None
    references: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recorded(Generic[T]):
    """A service's result together with the entry that must be in the log for it to count."""

    value: T
    entry: Entry


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a member through a key and an officer or system inside it, or the service itself."""

    member_id: str = ""
    sub: str = ""
    kid: str = ""
    request_id: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class ExchangeDigests:
    """The signed exchange that the event belongs to; all empty for acts without a request."""

    rqh: str = ""
    request_token: str = ""
    request_digest: str = ""
    answer_digest: str = ""


@dataclass(frozen=True, slots=True)
class Opening:
    """A sealed salt and payload; deleting it leaves the leaf provable and says nothing more."""

    group: Group
    subject_id: uuid.UUID | None
    sealed: bytes


@dataclass(frozen=True, slots=True)
class ComposedEvent:
    """An event ready to be inserted: final leaf bytes, and the part of it that its caller may check."""

    event_id: uuid.UUID
    leaf: bytes
    leaf_hash: bytes
    openings: tuple[Opening, ...]
    s_meta: bytes = field(repr=False)
    meta: bytes = field(repr=False)
    s_body: bytes = field(repr=False)
    mmd: int

    @property
    def log_entry(self) -> LogEntry:
        """The part of the event that its caller may check."""
        return LogEntry(
            event_id=spell("evt", self.event_id),
            leaf=self.leaf,
            leaf_hash=self.leaf_hash,
            s_meta=self.s_meta,
            meta=self.meta,
            s_body=self.s_body,
            mmd=self.mmd,
        )


@dataclass(frozen=True, slots=True)
class SignedAct:
    """What somebody did by a signed request, as the log's own key opens it: no borrower is in it."""

    event_id: uuid.UUID
    at: datetime
    action: str
    outcome: str
    purpose: str
    sub: str
    request_id: str


@dataclass(frozen=True, slots=True)
class LoggedAct:
    """Who did what, as the log's own key opens it: no borrower is in it. ``actor`` is a member's public id or empty."""

    index: int
    at: datetime
    action: str
    outcome: str
    purpose: str
    actor: str
    details: Mapping[str, object]
    event_id: uuid.UUID | None = None
    sub: str = ""


@dataclass(frozen=True, slots=True)
class Acts:
    """Who did what, of some leaves in the order of their index; ``until`` is the index at which to go on.

    ``unreadable`` are those of them that do not open, or whose opening is not there, which is never erased.
    """

    read: list[LoggedAct]
    unreadable: list[int]
    until: int


class Series:
    """Events of one exchange: who did what is told once, each adds whom and what it concerned.

    Made by ``Audit.series``; the payloads are canonical JSON.
    """

    def __init__(self, audit: "Audit", *, meta: bytes, body: bytes, request_token: str, at: int) -> None:
        self._audit = audit
        self._meta = meta
        self._body = body
        self._at = at
        self._meta_opening = _opening_of(meta)
        self._body_opening = _opening_of(body, request=request_token)

    def event(self, subject: SubjectKeys | None, references: Mapping[str, str]) -> ComposedEvent:
        """Make the leaf of one event and its openings."""
        audit, random = self._audit, self._audit.random_bytes
        event_id = uuid4(random)
        s_meta, s_subj, s_body = random(SALT_BYTES), random(SALT_BYTES), random(SALT_BYTES)
        concerned = {**references, "subject": str(subject.subject_id)} if subject else references
        subj = canonical(concerned) if concerned else b""
        leaf = build_leaf(
            event_id=spell("evt", event_id),
            at=self._at,
            c_meta=commit("meta", s_meta, self._meta),
            c_subj=commit("subj", s_subj, subj) if subj else b"",
            c_body=commit("body", s_body, self._body),
        )
        # Who did what stays readable for the log's keeper; whom it concerned dies with the borrower's key.
        keeper = audit.opening_box
        owner, box = (subject.subject_id, subject.box("opening")) if subject else (None, keeper)
        openings = [_sealed(keeper, "meta", event_id, None, self._meta_opening, s_meta)]
        if subj:
            openings.append(_sealed(box, "subj", event_id, owner, _opening_of(subj), s_subj))
        openings.append(_sealed(box, "body", event_id, owner, self._body_opening, s_body))
        return ComposedEvent(
            event_id=event_id,
            leaf=leaf,
            leaf_hash=leaf_hash(leaf),
            openings=tuple(openings),
            s_meta=s_meta,
            meta=self._meta,
            s_body=s_body,
            mmd=audit.merge_delay_s,
        )


class Audit:
    """Composes events and appends them in the caller's transaction."""

    def __init__(
        self, *, opening_box: Box, merge_delay_s: int, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self.opening_box = opening_box
        self.random_bytes = random_bytes
        self.merge_delay_s = merge_delay_s

    def compose(
        self, entry: Entry, *, actor: Actor, exchange: ExchangeDigests, now: datetime, outcome: str = "ok"
    ) -> ComposedEvent:
        """Make the leaf and its openings (``docs/protocol.md``, "Leaf"). ``outcome`` is ``ok`` or a refusal's code."""
        series = self.series(entry, actor=actor, exchange=exchange, now=now, outcome=outcome)
        return series.event(entry.subject, entry.references)

    def series(
        self, entry: Entry, *, actor: Actor, exchange: ExchangeDigests, now: datetime, outcome: str = "ok"
    ) -> Series:
        """Begin events that say what this entry says, each of another subject and with other references."""
        meta = {
            "action": entry.action,
            "actor": actor.member_id,
            "details": dict(entry.details),
            "kid": actor.kid,
            "outcome": outcome,
            "purpose": entry.purpose,
            "request_id": actor.request_id,
            "sub": actor.sub,
            "traceparent": actor.traceparent,
        }
        body = body_payload(
            rqh=exchange.rqh,
            request_body_digest=exchange.request_digest,
            answer_digest=exchange.answer_digest,
        )
        at = int(now.timestamp())
        return Series(self, meta=canonical(meta), body=body, request_token=exchange.request_token, at=at)

    async def append(self, session: WriteSession, event: ComposedEvent) -> None:
        """Insert the event and its openings in the caller's transaction; the trigger queues the leaf."""
        await self.append_many(session, [event])

    async def append_many(self, session: WriteSession, events: Sequence[ComposedEvent]) -> None:
        """Insert events and their openings, in one statement however many there are."""
        if not events:
            return
        openings = [(one.event_id, o.group, o.subject_id, o.sealed) for one in events for o in one.openings]
        await session.run(
            APPEND,
            {
                **columns_of("e", _EVENTS, [(one.event_id, one.leaf, one.leaf_hash) for one in events]),
                **columns_of("o", _OPENINGS, openings),
            },
        )

    async def record_own_act(self, session: WriteSession, entry: Entry, *, sub: str, now: datetime) -> ComposedEvent:
        """Append an act of the service itself (bootstrap, rotation, erasure by deadline): there was no request."""
        event = self.compose(entry, actor=Actor(sub=sub), exchange=ExchangeDigests(), now=now)
        await self.append(session, event)
        return event

    async def erase_openings(self, session: WriteSession, subject_id: uuid.UUID) -> int:
        """Delete what opens a borrower's leaves; return how many events it concerned. The leaves stay provable."""
        deleted = await session.execute(
            delete(audit_opening).where(audit_opening.c.subject_id == subject_id).returning(audit_opening.c.event_id)
        )
        return len({row.event_id for row in deleted})

    async def signed_by(
        self, session: ReadSession, kid: str, *, since: datetime, start: int | None, limit: int
    ) -> tuple[list[SignedAct], int | None]:
        """Return what a key signed since an instant among the next ``limit`` leaves, and the leaf at which to go on.

        ``start`` is a leaf's index; without it the search begins at the last checkpoint before the instant, because
        the log is in the order of its index and not searched by time. Events that have no index yet are not seen.
        """
        if start is None:
            before = select(func.max(audit_checkpoint.c.size)).where(audit_checkpoint.c.created_at < since)
            start = int((await session.execute(before)).scalar() or 0)
        acts, seen = [], 0
        for row in await self._openings(session, start, limit):
            meta = self._meta(row.event_id, row.sealed)
            seen += 1
            if meta["kid"] == kid and row.recorded_at >= since:
                said = {name: str(meta[name]) for name in ("action", "outcome", "purpose", "sub", "request_id")}
                acts.append(SignedAct(row.event_id, row.recorded_at, **said))
        return acts, start + limit if seen == limit else None

    async def acts(self, session: ReadSession, *, start: int, limit: int) -> Acts:
        """Return who did what, of the next leaves from an index on. Events that have no index yet are not seen."""
        acts = Acts([], [], start)
        for row in await self._openings(session, start, limit):
            try:
                acts.read.append(self._act(row))
            except (IntegrityError, Malformed, KeyError, TypeError, ValueError):
                acts.unreadable.append(row.idx)
            acts = replace(acts, until=row.idx + 1)
        return acts

    def _act(self, row: Row[Any]) -> LoggedAct:
        meta = self._meta(row.event_id, row.sealed)
        details = meta["details"]
        said = {name: str(meta[name]) for name in ("action", "outcome", "purpose", "actor", "sub")}
        told = details if isinstance(details, dict) else {}
        return LoggedAct(row.idx, row.recorded_at, details=told, event_id=row.event_id, **said)

    async def _openings(self, session: ReadSession, start: int, limit: int) -> Sequence[Row[Any]]:
        """Return the next leaves, each with what says who did what; nothing where somebody took that away."""
        opening = audit_opening.c
        found = await session.execute(
            select(audit_leaf.c.idx, audit_leaf.c.event_id, audit_event.c.recorded_at, opening.sealed)
            .join(audit_event, audit_event.c.event_id == audit_leaf.c.event_id)
            .outerjoin(audit_opening, (opening.event_id == audit_leaf.c.event_id) & (opening.grp == "meta"))
            .where(audit_leaf.c.idx >= start, audit_leaf.c.idx < start + limit)
            .order_by(audit_leaf.c.idx)
        )
        return found.all()

    def _meta(self, event_id: uuid.UUID, sealed: bytes | None) -> dict[str, object]:
        if sealed is None:
            raise IntegrityError("an event does not say any more who did what")
        content = decode_object(self.opening_box.open(Place("audit_opening", "meta", event_id.bytes), sealed))
        return decode_object(str(content["payload"]).encode())


def _opening_of(payload: bytes, *, request: str | None = None) -> bytes:
    """Return the content of an opening up to its salt: canonical JSON, whose payload is text that is canonical JSON."""
    # Such text is printable ASCII: of it, only these two are escaped.
    text = payload.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    asked = b"" if request is None else b',"request":' + canonical(request)
    return b'{"payload":"' + text + b'"' + asked + b',"salt":"'


def _sealed(
    box: Box, group: Group, event_id: uuid.UUID, owner: uuid.UUID | None, beginning: bytes, salt: bytes
) -> Opening:
    content = beginning + b64url_encode(salt).encode() + b'"}'
    return Opening(group, owner, box.seal(Place("audit_opening", group, event_id.bytes), content))
