"""Opens events and holds what they say against what their leaves commit to: one, or every one.

A group of commitments is opened by its salt and payload. ``meta`` is kept for ever; ``subj`` and ``body`` are deleted
with the borrower they name, which an event of the log counts. So whatever cannot be opened must have been erased, and
no more than that.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, func, select, true

from creditshare.audit.models import audit_event, audit_opening
from creditshare.audit.rebuild import Check, Progress, Tell
from creditshare.crypto.encoding import b64url_decode
from creditshare.crypto.sealing import Box, Place
from creditshare.errors import IntegrityError, Malformed, Refused, VerificationFailed
from creditshare.ids import spell
from creditshare.keys.custody import SubjectKeys
from creditshare.storage.engine import ReadSession
from creditshare.wire.leaf import Group, Leaf, commit, parse_leaf
from creditshare.wire.strict_json import decode_object

CHUNK: Final = 2_048
GROUPS: Final[tuple[Group, ...]] = ("meta", "subj", "body")
ERASURE: Final = "erase_borrower"

Keys = Mapping[UUID, SubjectKeys | IntegrityError | None]
KeysOf = Callable[[Collection[UUID]], Awaitable[Keys]]
"""Returns borrowers' keys: an error for one that does not open, ``None`` for an erased one, nothing for none."""

Told = Callable[["Act"], None]
"""Told of each event what it says; an erased one says no more than its ``meta``."""


@dataclass(frozen=True, slots=True)
class Act:
    """What an event says was done, to what: public ids by their names, without the borrower; counts and codes."""

    action: str
    outcome: str
    references: Mapping[str, str]
    details: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Opened:
    """A group of commitments, opened: base64url of its salt, canonical JSON, and with ``body`` the signed request."""

    salt: str
    payload: str
    request: str | None


@dataclass(frozen=True, slots=True)
class Closed:
    """An opening as it is kept: under a borrower's key, or without one under the log's own."""

    subject_id: UUID | None
    sealed: bytes


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event's leaf with its openings, of which erased ones are missing."""

    event_id: UUID
    leaf: bytes
    openings: Mapping[Group, Closed]

    def open(self, group: Group, box: Box) -> Opened:
        """Open a group that is there. ``IntegrityError`` where it is not what the leaf commits to."""
        try:
            return _open(_leaf_of(self.event_id, self.leaf), self.event_id, group, self.openings[group].sealed, box)
        except (Malformed, VerificationFailed, KeyError) as error:
            raise IntegrityError(f"{spell('evt', self.event_id)}: {error}") from error


async def kept_event(session: ReadSession, event_id: UUID) -> KeptEvent:
    """Return an event as it is kept; ``not_found`` where there is none."""
    opening = audit_opening.c
    found = await session.execute(
        select(audit_event.c.leaf, opening.grp, opening.subject_id, opening.sealed)
        .outerjoin_from(audit_event, audit_opening, opening.event_id == audit_event.c.event_id)
        .where(audit_event.c.event_id == event_id)
    )
    rows = found.all()
    if not rows:
        raise Refused("not_found")
    openings = {row.grp: Closed(row.subject_id, row.sealed) for row in rows if row.grp is not None}
    return KeptEvent(event_id, rows[0].leaf, openings)


def _leaf_of(event_id: UUID, data: bytes) -> Leaf:
    leaf = parse_leaf(data)
    if leaf.event_id != spell("evt", event_id):
        raise VerificationFailed("its leaf is of another event")
    return leaf


def _open(leaf: Leaf, event_id: UUID, group: Group, sealed: bytes, box: Box) -> Opened:
    content = decode_object(box.open(Place("audit_opening", group, event_id.bytes), sealed))
    salt, payload = str(content["salt"]), str(content["payload"])
    commitment = {"meta": leaf.c_meta, "subj": leaf.c_subj, "body": leaf.c_body}[group]
    if commit(group, b64url_decode(salt), payload.encode()) != commitment:
        raise VerificationFailed(f"its leaf does not commit to what its opening {group} says")
    request = content.get("request")
    return Opened(salt, payload, None if request is None else str(request))


@dataclass(slots=True)
class _Count:
    closed: int = 0
    erased: int = 0


async def check_openings(
    session: ReadSession, *, keeper: Box, keys_of: KeysOf, tell: Tell, told: Told, progress: Progress
) -> None:
    """Open all events, those that still wait for the log among them, and report what does not hold."""
    count, after, read = _Count(), None, 0
    while rows := await _chunk(session, after):
        subjects = {row.subject_id for row in rows if row.subject_id is not None}
        keys = await keys_of(subjects)
        by_event: dict[UUID, list[Row[Any]]] = {}
        for row in rows:
            by_event.setdefault(row.event_id, []).append(row)
        for event_id, openings in by_event.items():
            one = _Event(event_id, openings, keeper, keys)
            try:
                act = one.read(count)
            except (IntegrityError, Malformed, VerificationFailed, KeyError, TypeError, ValueError) as error:
                tell(Check.OPENINGS, f"{spell('evt', event_id)}: {error}")
            else:
                told(act)
        after = rows[-1].event_id
        read += len(by_event)
        progress(read)
    if count.closed != count.erased:
        tell(
            Check.OPENINGS,
            f"{count.closed} events cannot be opened, and the log says that {count.erased} were erased",
        )
    there = select(audit_event.c.event_id).where(audit_event.c.event_id == audit_opening.c.event_id).exists()
    orphans = (await session.execute(select(func.count()).select_from(audit_opening).where(~there))).scalar_one()
    if orphans:
        tell(Check.OPENINGS, f"{orphans} openings are of events that are not there")


async def _chunk(session: ReadSession, after: UUID | None) -> list[Row[Any]]:
    events = (
        select(audit_event.c.event_id, audit_event.c.leaf)
        .where(true() if after is None else audit_event.c.event_id > after)
        .order_by(audit_event.c.event_id)
        .limit(CHUNK)
        .subquery()
    )
    opening = audit_opening.c
    found = await session.execute(
        select(events.c.event_id, events.c.leaf, opening.grp, opening.subject_id, opening.sealed)
        .outerjoin_from(events, audit_opening, opening.event_id == events.c.event_id)
        .order_by(events.c.event_id)
    )
    return list(found.all())


class _Event:
    def __init__(self, event_id: UUID, openings: list[Row[Any]], keeper: Box, keys: Keys) -> None:
        self._event_id = event_id
        self._leaf = openings[0].leaf
        self._openings = {row.grp: row for row in openings if row.grp is not None}
        self._keeper = keeper
        self._keys = keys

    def read(self, count: _Count) -> Act:
        leaf = _leaf_of(self._event_id, bytes(self._leaf or b""))
        payloads = {group: self._payload(leaf, group) for group in GROUPS}
        if payloads["meta"] is None:
            raise VerificationFailed("who did what is missing, which is never erased")
        meta = decode_object(payloads["meta"])
        if payloads["body"] is None or (payloads["subj"] is None and leaf.c_subj):
            count.closed += 1
        details = meta["details"]
        if meta["action"] == ERASURE and meta["outcome"] == "ok" and isinstance(details, dict):
            count.erased += int(details["events"])
        references = decode_object(payloads["subj"]) if payloads["subj"] else {}
        return Act(
            str(meta["action"]),
            str(meta["outcome"]),
            {name: str(value) for name, value in references.items() if name != "subject"},
            details if isinstance(details, dict) else {},
        )

    def _payload(self, leaf: Leaf, group: Group) -> bytes | None:
        row = self._openings.get(group)
        if row is None:
            return None
        opened = _open(leaf, self._event_id, group, bytes(row.sealed or b""), self._box(row.subject_id))
        return opened.payload.encode()

    def _box(self, subject_id: UUID | None) -> Box:
        if subject_id is None:
            return self._keeper
        if subject_id not in self._keys:
            raise VerificationFailed("an opening names a borrower that there is not")
        keys = self._keys[subject_id]
        if isinstance(keys, IntegrityError):
            raise keys
        if keys is None:
            raise VerificationFailed("an opening is there, though its borrower was erased")
        return keys.box("opening")
