"""The traps of the fault cells: a trap that sees no commit, or sees one too early, would show nothing."""

import pytest
from tests.faults.proxy import ANY_COMMIT, ANYTHING, Moment, Traps, Trigger, committing, writing


def message(kind: bytes, payload: bytes) -> bytes:
    """Frame a message."""
    return kind + (len(payload) + 4).to_bytes(4, "big") + payload


START = (8).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big")
TLS_WANTED = (8).to_bytes(4, "big") + (1234 << 16 | 5679).to_bytes(4, "big")
READY = message(b"Z", b"I")
DONE = message(b"C", b"INSERT 0 1\0")
FAILED = message(b"E", b"\0")
ASKED = "WITH used AS (UPDATE consent SET uses = 1), told AS (INSERT INTO query_answer SELECT 1) SELECT 1"


def simple(sql: str) -> bytes:
    return message(b"Q", sql.encode() + b"\0")


def prepared(sql: str) -> bytes:
    """Prepare, bind, execute, all in one round."""
    parse = message(b"P", b"s1\0" + sql.encode() + b"\0\0\0")
    return parse + message(b"B", b"\0s1\0\0\0\0\0\0\0") + message(b"E", b"\0\0\0\0\0") + message(b"S", b"")


def again() -> bytes:
    """Bind and execute what was prepared."""
    return message(b"B", b"\0s1\0\0\0\0\0\0\0") + message(b"E", b"\0\0\0\0\0") + message(b"S", b"")


def connection(trigger: Trigger) -> Traps:
    """A connection that has begun, with one trap on it."""
    traps = Traps([trigger], 5)
    assert traps.upwards(TLS_WANTED)
    assert traps.downwards(b"N")
    assert traps.upwards(START)
    assert traps.downwards(message(b"R", bytes(4)) + READY)
    return traps


def test_a_lone_writing_statement_is_a_commit_and_is_struck_before_it_goes_on() -> None:
    trigger = Trigger(committing("query_answer"), "before")
    traps = connection(trigger)
    assert traps.upwards(prepared("SELECT 1 FROM query_answer FOR UPDATE"))
    assert not traps.upwards(prepared(ASKED))
    assert trigger.struck.is_set()


def test_within_a_transaction_the_commit_is_struck_and_not_the_writing_statement() -> None:
    trigger = Trigger(committing("consent"), "before")
    traps = connection(trigger)
    for sent in (simple("BEGIN"), prepared(ASKED), simple("ROLLBACK"), simple("BEGIN"), again()):
        assert traps.upwards(sent)
    assert not traps.upwards(simple("COMMIT"))


def test_a_statement_is_known_by_what_it_writes_to_also_within_a_transaction() -> None:
    traps = connection(Trigger(writing("query_answer"), "before"))
    assert traps.upwards(simple("BEGIN"))
    assert traps.upwards(simple("SELECT count(*) FROM query_answer"))
    assert not traps.upwards(prepared(ASKED))


def test_a_commit_of_nothing_is_none() -> None:
    traps = connection(Trigger(ANY_COMMIT, "before"))
    for sent in (simple("BEGIN READ ONLY"), prepared("SELECT 1"), simple("COMMIT")):
        assert traps.upwards(sent)


def test_after_is_when_the_answer_is_complete_and_before_any_of_its_end_is_told() -> None:
    trigger = Trigger(ANY_COMMIT, "after")
    traps = connection(trigger)
    assert traps.upwards(prepared("SELECT 1") + prepared(ASKED))
    assert traps.downwards(READY)  # of the first round
    assert traps.downwards(DONE[:3])
    assert not trigger.struck.is_set()
    assert not traps.downwards(DONE[3:] + READY)
    assert trigger.struck.is_set()


def test_what_failed_or_was_never_answered_is_not_after_a_commit() -> None:
    trigger = Trigger(ANY_COMMIT, "after")
    traps = connection(trigger)
    assert traps.upwards(prepared(ASKED))
    assert traps.downwards(FAILED + READY)
    assert traps.upwards(again())
    traps.close()
    assert not trigger.struck.is_set()
    other = connection(trigger)
    assert other.upwards(prepared(ASKED))
    assert not other.downwards(DONE + READY)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_trap_springs_once_and_at_the_statement_that_was_chosen(moment: Moment) -> None:
    ports: list[int] = []
    traps = connection(Trigger(ANYTHING, moment, ports.append, skip=1, lose=False))
    for _ in range(4):
        assert traps.upwards(simple("SELECT 1"))
        assert traps.downwards(READY)
    assert ports == [5]


def test_a_trap_waits_on_where_nobody_is_left_to_strike_at() -> None:
    alive = iter([False, True])
    trigger = Trigger(ANY_COMMIT, "before", lambda _: next(alive))
    traps = connection(trigger)
    assert traps.upwards(prepared(ASKED))
    assert not trigger.struck.is_set()
    assert not traps.upwards(again())


def test_one_kind_of_write_is_told_from_another() -> None:
    trigger = Trigger(committing("consent", without=frozenset({"query_answer"})), "before")
    traps = connection(trigger)
    assert traps.upwards(prepared(ASKED))
    assert traps.upwards(simple("DELETE FROM query_answer"))
    assert traps.upwards(simple("INSERT INTO other VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 2"))
    assert not traps.upwards(simple('INSERT INTO "consent" VALUES (1)'))
