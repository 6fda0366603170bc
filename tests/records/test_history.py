"""Whatever is done to a borrower's stored rows is noticed before anything of them is told."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.errors import IntegrityError
from creditshare.keys.custody import SubjectKeys
from creditshare.records.history import (
    CurrentRow,
    EventRow,
    current_mac_bytes,
    erasure_event,
    open_histories,
    seal_event,
)
from creditshare.records.rules import Coded, Happened, Report
from creditshare.subjects.service import EMPTY_CHAIN, SubjectState, chain_step

START = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = SubjectKeys.of(UUID(int=7), b"k" * 8, bytes(32))
FIRST, SECOND, GONE = UUID(int=101), UUID(int=102), UUID(int=103)
MINE, YOURS = UUID(int=1), UUID(int=2)
REPORT = Report(
    role="borrower",
    account_ref="A-1",
    product="term_loan",
    currency="USD",
    original_amount=Decimal("150000.00"),
    opened_on=date(2020, 1, 1),
    default_on=date(2025, 6, 30),
    default_reason="legal",
    region=Coded("ISO 3166-2", "US-CA"),
    lawful_basis="public_record",
    public_ref="case 1",
)


@dataclass
class Store:
    """The rows of one borrower as the database would give them."""

    state: SubjectState
    events: list[EventRow] = field(default_factory=list)
    current: list[CurrentRow] = field(default_factory=list)
    salts: dict[UUID, bytes] = field(default_factory=dict)

    def open(self) -> list[tuple[UUID, list[str]]]:
        opened = open_histories(self.state, self.events, self.current, self.salts)
        return [(history.record_id, [event.kind for _, event in history.events]) for history in opened]

    def add(self, row: EventRow) -> None:
        self.events.append(row)
        chain = chain_step(self.state.keys, self.state.chain, row.mac)
        self.state = replace(self.state, version=row.version, event_count=len(self.events), chain=chain)

    def submit(self, record_id: UUID, member_id: UUID) -> None:
        row = CurrentRow(record_id, member_id, "live", START, None)
        self.current.append(row)
        self.salts[record_id] = record_id.bytes * 2
        self.tell(record_id, Happened("submitted", START, report=REPORT, reason=current_mac_bytes(row).decode()))

    def tell(self, record_id: UUID, event: Happened) -> None:
        number, version = len(self.events) + 1, self.state.version + 1
        self.add(seal_event(KEYS, self.salts[record_id], record_id, event_no=number, version=version, event=event))

    def erase(self, record_id: UUID) -> None:
        del self.salts[record_id]
        self.change(record_id, lifecycle="erased")
        self.add(erasure_event(KEYS, record_id, event_no=len(self.events) + 1, version=self.state.version + 1))

    def change(self, name: UUID, **columns: Any) -> None:
        self.current = [replace(row, **columns) if row.record_id == name else row for row in self.current]

    def change_state(self, **columns: Any) -> None:
        self.state = replace(self.state, **columns)


def store() -> Store:
    """Two records of two lenders, one corrected, one ended, and a third that was erased."""
    made = Store(SubjectState(KEYS.subject_id, 1, 0, EMPTY_CHAIN, START, KEYS))
    made.submit(FIRST, MINE)
    made.submit(GONE, MINE)
    made.submit(SECOND, YOURS)
    made.tell(FIRST, Happened("corrected", START, report=replace(REPORT, cause="fraud"), reason="other"))
    made.tell(SECOND, Happened("settled_full", START, on=date(2026, 1, 1)))
    made.change(SECOND, lifecycle="ended")
    made.erase(GONE)
    return made


def test_untouched_rows_open_in_the_order_of_records_without_the_erased() -> None:
    made = store()
    assert made.open() == [(FIRST, ["submitted", "corrected"]), (SECOND, ["submitted", "settled_full"])]
    made.current.reverse()
    assert [record_id for record_id, _ in made.open()] == [FIRST, SECOND]


def test_a_state_is_read_as_of_a_version_and_an_instant() -> None:
    made = store()
    first, second = open_histories(made.state, made.events, made.current, made.salts)
    corrected = first.events[1][0]
    before, after = first.state(version=corrected - 1), first.state(version=corrected)
    assert before is not None
    assert after is not None
    assert (before.corrected, after.corrected) == (False, True)
    assert first.state(version=first.events[0][0] - 1) is None
    assert second.state(until=START - timedelta(microseconds=1)) is None


def flipped(data: bytes) -> bytes:
    return bytes((data[0] ^ 1,)) + data[1:]


EDITS: dict[str, Callable[[EventRow], EventRow]] = {
    "sealed": lambda row: replace(row, sealed=flipped(row.sealed)),
    "sealed cut": lambda row: replace(row, sealed=row.sealed[:-1]),
    "sealed emptied": lambda row: replace(row, sealed=b""),
    "mac": lambda row: replace(row, mac=flipped(row.mac)),
    "mac emptied": lambda row: replace(row, mac=b""),
    "number": lambda row: replace(row, event_no=row.event_no + 1),
    "version": lambda row: replace(row, version=row.version + 1),
    "version back": lambda row: replace(row, version=row.version - 1),
    "record": lambda row: replace(row, record_id=SECOND if row.record_id == FIRST else FIRST),
}


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("edit", [name for name in EDITS if name != "sealed emptied"])
def test_an_edited_event_is_noticed(edit: str, position: int) -> None:
    made = store()
    if edit.startswith("sealed") and not made.events[position].sealed:
        made.events[position] = replace(made.events[position], sealed=b"\x01")
    else:
        made.events[position] = EDITS[edit](made.events[position])
    with pytest.raises(IntegrityError):
        made.open()


@pytest.mark.parametrize("position", range(5))
def test_an_event_emptied_as_if_erased_is_noticed(position: int) -> None:
    made = store()
    made.events[position] = EDITS["sealed emptied"](made.events[position])
    with pytest.raises(IntegrityError):
        made.open()


@given(st.permutations(range(6)), st.integers(min_value=0, max_value=6), st.integers(min_value=0, max_value=5))
def test_events_dropped_doubled_or_in_another_order_are_noticed(order: list[int], kept: int, again: int) -> None:
    made = store()
    rows = made.events
    for chosen in (order, order[:kept], [*range(6), again], [*range(again), again, *range(again, 6)]):
        if chosen == list(range(6)):
            continue
        made.events = [rows[i] for i in chosen]
        with pytest.raises(IntegrityError):
            made.open()
        # Numbering them anew does not help: the number is under the seal.
        made.events = [replace(row, event_no=number) for number, row in enumerate(made.events, start=1)]
        with pytest.raises(IntegrityError):
            made.open()


@pytest.mark.parametrize(
    ("record_id", "columns"),
    [
        (FIRST, {"member_id": YOURS}),
        (FIRST, {"record_id": UUID(int=104)}),
        (FIRST, {"visible_from": START + timedelta(microseconds=1)}),
        (FIRST, {"visible_from": START - timedelta(days=1)}),
        (FIRST, {"lifecycle": "ended"}),
        (FIRST, {"lifecycle": "withdrawn"}),
        (FIRST, {"lifecycle": "erased"}),
        (SECOND, {"lifecycle": "live"}),
        (GONE, {"lifecycle": "live"}),
        (GONE, {"lifecycle": "withdrawn"}),
    ],
)
def test_an_edited_clear_column_is_noticed(record_id: UUID, columns: dict[str, Any]) -> None:
    made = store()
    made.change(record_id, **columns)
    with pytest.raises(IntegrityError):
        made.open()


def everything_deleted(made: Store) -> None:
    made.events, made.current, made.salts = [], [], {}


def a_salt_deleted_and_the_row_marked(made: Store) -> None:
    del made.salts[FIRST]
    made.change(FIRST, lifecycle="erased")


def an_erasure_taken_back(made: Store) -> None:
    made.salts[GONE] = GONE.bytes * 2
    made.change(GONE, lifecycle="live")
    made.events.pop()


TAMPERINGS: dict[str, Callable[[Store], object]] = {
    "a record's clear columns deleted": lambda made: made.current.pop(0),
    "a record's clear columns doubled": lambda made: made.current.append(made.current[0]),
    "the last two events deleted": lambda made: (made.events.pop(), made.events.pop()),
    "everything deleted": everything_deleted,
    "a salt deleted": lambda made: made.salts.pop(FIRST),
    "a salt deleted and the row marked": a_salt_deleted_and_the_row_marked,
    "a salt changed": lambda made: made.salts.update({FIRST: bytes(32)}),
    "salts swapped": lambda made: made.salts.update({FIRST: made.salts[SECOND], SECOND: made.salts[FIRST]}),
    "a salt put back": lambda made: made.salts.update({GONE: GONE.bytes * 2}),
    "an erasure taken back": an_erasure_taken_back,
    "the chain changed": lambda made: made.change_state(chain=flipped(made.state.chain)),
    "the count changed": lambda made: made.change_state(event_count=7),
    "the version rolled back": lambda made: made.change_state(version=made.state.version - 1),
    "another borrower's key": lambda made: made.change_state(keys=SubjectKeys.of(UUID(int=8), b"k" * 8, bytes(32))),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_rows_deleted_doubled_swapped_or_put_back_are_noticed(tampering: str) -> None:
    made = store()
    TAMPERINGS[tampering](made)
    with pytest.raises(IntegrityError):
        made.open()


def test_an_event_sealed_for_one_record_cannot_be_told_of_another() -> None:
    made = store()
    row = made.events[3]
    moved = replace(row, record_id=SECOND)
    # Even with the borrower's own key over the moved row, the content opens only under its record's key and number.
    mac = KEYS.mac(b"event", SECOND.bytes, (4).to_bytes(8, "big"), row.version.to_bytes(8, "big"), row.sealed)
    made.events[3] = replace(moved, mac=mac)
    chain = EMPTY_CHAIN
    for event in made.events:
        chain = chain_step(KEYS, chain, event.mac)
    made.state = replace(made.state, chain=chain)
    with pytest.raises(IntegrityError, match="does not open"):
        made.open()
