"""Opening a borrower's records: rows in, checked histories out. Every reading goes through here.

The chain over all record events must end in the MAC that the borrower's row keeps, the clear columns must
equal what the events say, and each event must open under its record's key: an edited, moved, deleted or
rolled-back row is noticed before anything of it is told.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter

from creditshare.crypto.sealing import Place
from creditshare.errors import IntegrityError
from creditshare.keys.custody import SubjectKeys
from creditshare.records.rules import Happened, RecordState, fold
from creditshare.subjects.service import EMPTY_CHAIN, SubjectState, chain_step

_HAPPENED: Final = TypeAdapter(Happened)
ERASED: Final = b""
"""The content of the event that ends an erased record."""
_EVENTS: Final = ("event_nos", "event_records", "event_versions", "event_sealed", "event_macs")
_CURRENT: Final = ("records", "record_members", "record_lifecycles", "record_visible")
_SALTS: Final = ("salt_records", "salts")


@dataclass(frozen=True, slots=True)
class EventRow:
    """A stored record event."""

    event_no: int
    record_id: UUID
    version: int
    sealed: bytes
    mac: bytes


@dataclass(frozen=True, slots=True)
class CurrentRow:
    """The clear columns of a record."""

    record_id: UUID
    member_id: UUID
    lifecycle: str
    visible_from: datetime
    account_index: bytes | None


@dataclass(frozen=True, slots=True)
class History:
    """One record: whose it is, from when it may be seen, and its events with the borrower's version of each."""

    record_id: UUID
    member_id: UUID
    visible_from: datetime
    events: tuple[tuple[int, Happened], ...]

    def state(self, *, version: int | None = None, until: datetime | None = None) -> RecordState | None:
        """Fold the events up to a version of the borrower, as of an instant."""
        return fold([event for at, event in self.events if version is None or at <= version], until=until)


def seal_event(
    keys: SubjectKeys, salt: bytes, record_id: UUID, *, event_no: int, version: int, event: Happened
) -> EventRow:
    """Seal an event under its record's key and MAC it in its place in the borrower's chain."""
    sealed = keys.record_box(record_id, salt).seal(
        _place(record_id, event_no), _HAPPENED.dump_json(event, exclude_none=True)
    )
    return EventRow(event_no, record_id, version, sealed, _event_mac(keys, record_id, event_no, version, sealed))


def current_mac_bytes(row: CurrentRow) -> bytes:
    """Return the clear columns as bytes, for comparing them with what an event sealed."""
    return f"{row.record_id}|{row.member_id}|{int(row.visible_from.timestamp() * 1e6)}".encode()


def check_chain(state: SubjectState, events: Sequence[EventRow]) -> None:
    """Raise ``IntegrityError`` unless these are all events of a borrower's records, each in its place."""
    chain = EMPTY_CHAIN
    for number, row in enumerate(events, start=1):
        mac = _event_mac(state.keys, row.record_id, row.event_no, row.version, row.sealed)
        if row.event_no != number or row.version > state.version or not hmac.compare_digest(mac, row.mac):
            raise IntegrityError("a record event is not in its place")
        chain = chain_step(state.keys, chain, mac)
    if len(events) != state.event_count or not hmac.compare_digest(chain, state.chain):
        raise IntegrityError("the borrower's record events do not match their chain")


def open_histories(
    state: SubjectState, events: Sequence[EventRow], current: Sequence[CurrentRow], salts: Mapping[UUID, bytes]
) -> list[History]:
    """Open all records of a borrower, in the order they were made. Erased ones are left out.

    Raises ``IntegrityError`` for anything that does not fit the seals.
    """
    check_chain(state, events)
    erased: set[UUID] = set()
    opened: dict[UUID, list[tuple[int, Happened]]] = {}
    for row in events:
        salt = salts.get(row.record_id)
        if row.sealed == ERASED:
            erased.add(row.record_id)
        elif salt is not None:
            plain = state.keys.record_box(row.record_id, salt).open(_place(row.record_id, row.event_no), row.sealed)
            opened.setdefault(row.record_id, []).append((row.version, _HAPPENED.validate_json(plain)))
    known = {row.record_id for row in events}
    if len(current) != len(known) or {row.record_id for row in current} != known:
        raise IntegrityError("a record lacks its events or its clear columns, or has them twice")
    return [
        _history(row, opened[row.record_id])
        for row in sorted(current, key=lambda row: row.record_id)
        if not _is_erased(row, salts, erased)
    ]


def histories_of(state: SubjectState, seen: Mapping[str, Any]) -> list[History]:
    """Open all records of a borrower from the columns ``HISTORY`` of a statement."""
    events, current, salts = (
        list(zip(*(seen[name] or () for name in names), strict=True)) for names in (_EVENTS, _CURRENT, _SALTS)
    )
    return open_histories(
        state,
        [EventRow(*row) for row in events],
        [CurrentRow(record, member, lifecycle, visible, None) for record, member, lifecycle, visible in current],
        dict(salts),
    )


def said_in(history: History) -> list[dict[str, Any]]:
    """Return what a record's events say, as JSON's values, for the lender that said it."""
    said: list[dict[str, Any]] = [
        _HAPPENED.dump_python(event, mode="json", exclude_none=True) for _, event in history.events
    ]
    said[0].pop("reason")  # of the first event the clear columns: ours, to notice an edit of them
    return said


def erasure_event(keys: SubjectKeys, record_id: UUID, *, event_no: int, version: int) -> EventRow:
    """Return the event that ends a record: it says nothing, but only the holder of the borrower's key can make it."""
    return EventRow(event_no, record_id, version, ERASED, _event_mac(keys, record_id, event_no, version, ERASED))


def _is_erased(row: CurrentRow, salts: Mapping[UUID, bytes], erased: set[UUID]) -> bool:
    # A missing salt alone is no erasure: whoever deletes it in the database cannot forge the event.
    if len({row.lifecycle == "erased", row.record_id not in salts, row.record_id in erased}) != 1:
        raise IntegrityError("a record's key is gone without an erasure, or the other way round")
    return row.record_id in erased


def _history(row: CurrentRow, events: list[tuple[int, Happened]]) -> History:
    history = History(row.record_id, row.member_id, row.visible_from, tuple(events))
    state = history.state()
    first = events[0][1]
    if state is None or state.lifecycle != row.lifecycle or first.reason != current_mac_bytes(row).decode():
        raise IntegrityError("a record's clear columns do not match its events")
    return history


def _place(record_id: UUID, event_no: int) -> Place:
    return Place("record_event", "sealed", record_id.bytes + event_no.to_bytes(8, "big"))


def _event_mac(keys: SubjectKeys, record_id: UUID, event_no: int, version: int, sealed: bytes) -> bytes:
    return keys.mac(b"event", record_id.bytes, event_no.to_bytes(8, "big"), version.to_bytes(8, "big"), sealed)
