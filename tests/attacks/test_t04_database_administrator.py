"""T4, a database administrator: superuser of the database, without the key file, perhaps in league with a member.

It must not get: what is sealed; an answer that tells one firm's defaults as another's, shows what was withdrawn or
hides what was reported; another member's stored answer. What it changes must be noticed before anything is told.

Elsewhere: ``promises/test_sealed.py`` (a borrower's own rows), ``promises/test_blind.py`` (reading),
``test_t12_log_tampering.py``. The second half shows what such an administrator *can* do today; `SECURITY.md` says so.
A test there that fails is good news: move it up.
"""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from tests.fixtures.attack import BORROWER, OTHER, ask, attempt, grant
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Problem
from creditshare.client.core import Identity
from creditshare.crypto.jws import SigningKey

Database = psycopg.Connection[Any]
TABLES_OF_A_RECORD = ("record_event", "record_current", "record_secret")


class World:
    """A firm with a default, a firm without, and a lender that may ask about both."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        self.lender, self.asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
        self.bad, self.good = self.lender.tokenise([BORROWER, OTHER])
        self.asker.tokenise([BORROWER, OTHER])
        self.record = str(self.lender.call("POST", "/v1/records", data=record_body(self.bad, "A-1"))["record_id"])
        self.consents = {name: grant(self.asker, getattr(self, name), max_uses=9) for name in ("bad", "good")}

    def told(self, name: str) -> str:
        return ask(self.asker, getattr(self, name), self.consents[name])

    def subject_of(self, database: Database, name: str) -> Any:
        row = database.execute(
            "SELECT subject_id FROM consent_lookup WHERE consent_id = %s", [self.consents[name].partition("_")[2]]
        ).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture
def world(service: RunningService) -> World:
    return World(service)


def exchange_index(world: World, database: Database) -> None:
    good, bad = (world.subject_of(database, name) for name in ("good", "bad"))
    database.execute(
        "UPDATE subject_index SET subject_id = CASE subject_id WHEN %(a)s THEN %(b)s::uuid ELSE %(a)s::uuid END",
        {"a": good, "b": bad},
    )


def test_the_records_of_one_firm_are_not_told_as_anothers(world: World) -> None:
    """Exchange the index of two firms, then let a lender register a consent as if nothing had happened."""
    assert (world.told("bad"), world.told("good")) == ("1 defaults", "0 defaults")
    with world.service.superuser() as database:
        exchange_index(world, database)
    assert world.told("good") == "internal_error"
    for subject in (world.good, world.bad):
        with pytest.raises(Problem, match="internal_error"):
            grant(world.asker, subject)
        assert attempt(world.lender, "POST", "/v1/records", record_body(subject, "A-9")) == "internal_error"


@pytest.mark.parametrize("bent", ["exchanged", "both to one"])
def test_a_file_of_records_is_not_taken_in_for_another_firm(world: World, bent: str) -> None:
    with world.service.superuser() as database:
        if bent == "exchanged":
            exchange_index(world, database)
        else:
            database.execute("UPDATE subject_index SET subject_id = %s", [world.subject_of(database, "bad")])
    rows = [record_body(subject, "A-9") for subject in (world.good, world.bad)]
    job = world.lender.records.submit_batch(rows).job
    assert (job["status"], job["code"], job["accepted"]) == ("failed", "internal_error", 0)


@pytest.mark.parametrize("whole", [True, False], ids=["with-its-key", "without"])
def test_a_record_cannot_be_moved_to_another_firm(world: World, *, whole: bool) -> None:
    with world.service.superuser() as database:
        good, bad = (world.subject_of(database, name) for name in ("good", "bad"))
        database.execute("ALTER TABLE record_event DISABLE TRIGGER ALL")
        for table in (*TABLES_OF_A_RECORD, "record_lookup"):
            database.execute(f"UPDATE {table} SET subject_id = %s WHERE subject_id = %s", [good, bad])  # noqa: S608
        columns = "version, event_count, chain, last_event_at, mac" + (", dek, dek_id" if whole else "")
        database.execute(
            f"UPDATE subject SET ({columns}) = (SELECT {columns} FROM subject WHERE subject_id = %s)"  # noqa: S608
            " WHERE subject_id = %s",
            [bad, good],
        )
    assert world.told("good") == "internal_error"
    assert world.told("bad") == "internal_error"


def test_a_stored_answer_cannot_be_given_to_another_member(world: World) -> None:
    query = str(world.asker.query(world.bad, purpose="pre_loan", consent_id=world.consents["bad"])["query_id"])
    thief = world.service.admit("Thief", region="US")
    assert attempt(thief, "GET", f"/v1/queries/{query}") == "not_found"
    with world.service.superuser() as database:
        mine = thief.session.signer.member_id.partition("_")[2]
        database.execute("UPDATE query_answer SET member_id = %s", [mine])
    assert attempt(thief, "GET", f"/v1/queries/{query}") == "internal_error"


def test_a_stored_answer_cannot_be_told_under_another_key(world: World) -> None:
    body = record_body(world.good, "A-1")
    for key in ("one", "two"):
        assert attempt(world.lender, "POST", "/v1/records", {**body, "account_ref": key}, key=key) == "done"
    with world.service.superuser() as database:
        database.execute(
            "UPDATE idempotency a SET answer = b.answer FROM idempotency b"
            " WHERE a.route = '/v1/records' AND b.route = a.route AND a.key_hash <> b.key_hash"
            " AND a.subject_id = b.subject_id"
        )
    answers = [
        attempt(world.lender, "POST", "/v1/records", {**body, "account_ref": key}, key=key) for key in ("one", "two")
    ]
    assert answers == ["internal_error", "internal_error"]


CONSENT_CHANGES: dict[str, Callable[[World, Database], object]] = {
    "revoked one made active": lambda _, db: db.execute("UPDATE consent SET state = 'active'"),
    "begun earlier": lambda _, db: db.execute("UPDATE consent SET valid_from = valid_from - interval '9 days'"),
    "frequency lifted": lambda _, db: db.execute("UPDATE consent SET window_uses = 1000, window_per = 'day'"),
    "kind changed": lambda _, db: db.execute("UPDATE consent SET kind = 'provide'"),
    "moved to another firm": lambda w, db: db.execute(
        "UPDATE consent SET subject_id = %s WHERE subject_id = %s",
        [w.subject_of(db, "bad"), w.subject_of(db, "good")],
    ),
}


@pytest.mark.parametrize("name", CONSENT_CHANGES)
def test_no_consent_can_be_made_of_another(world: World, name: str) -> None:
    with world.service.superuser() as database:
        if name.startswith("revoked"):
            world.asker.call("POST", f"/v1/consents/{world.consents['bad']}/revocation", data={})
        CONSENT_CHANGES[name](world, database)
    consent = world.consents["good" if name.startswith("moved") else "bad"]
    assert ask(world.asker, world.bad, consent) in {"internal_error", "consent_missing"}


def test_a_consent_that_cannot_be_found_cannot_be_changed_in_silence(world: World) -> None:
    with world.service.superuser() as database:
        database.execute("DELETE FROM consent_lookup")
    assert attempt(world.asker, "POST", f"/v1/consents/{world.consents['bad']}/revocation", {}) == "not_found"


# What succeeds today: limits that `SECURITY.md` states.


def test_limit_the_counter_of_a_consents_uses_can_be_set_back(world: World) -> None:
    """The log still shows every answer, so whoever counts the asker's events finds one more than was agreed."""
    consent = grant(world.asker, world.bad, max_uses=1)
    assert ask(world.asker, world.bad, consent) == "1 defaults"
    assert ask(world.asker, world.bad, consent) == "consent_exhausted"
    with world.service.superuser() as database:
        database.execute("UPDATE consent SET uses = 0")
    assert ask(world.asker, world.bad, consent) == "1 defaults"


def test_limit_a_planted_key_speaks_for_a_member(world: World) -> None:
    """Rows of members and keys carry no seal yet. What the planted key does is in the log, under its own kid."""
    planted = SigningKey.generate()
    with world.service.superuser() as database:
        database.execute(
            "INSERT INTO member_key (kid, member_id, jwk, state, registered_at, expires_at)"
            " SELECT %s, member_id, %s::json, 'active', now(), now() + interval '1 day' FROM member"
            " WHERE name = 'Asker'",
            [planted.kid, json.dumps(dict(planted.public_jwk))],
        )
    thief = world.service.client(Identity(world.asker.session.signer.member_id, planted))
    assert ask(thief, world.bad, world.consents["bad"]) == "1 defaults"
