"""T4, a database administrator: superuser of the database, without the key file, perhaps in league with a member.

It must not get: what is sealed; an answer that tells one firm's defaults as another's, shows what was withdrawn or
hides what was reported; another member's stored answer. What it changes must be noticed before anything is told.

Elsewhere: ``promises/test_sealed.py`` (a borrower's own rows), ``promises/test_blind.py`` (reading),
``test_t12_log_tampering.py``. The last test shows what such an administrator *can* do today; `SECURITY.md` says
so. If it fails, that is good news: move it up.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from tests.fixtures.attack import BORROWER, OTHER, UNKNOWN, ask, attempt, grant
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, record_body, wait_for

from creditshare.app import require_database
from creditshare.client.bank import Client, Problem
from creditshare.client.core import Identity
from creditshare.crypto.jws import SigningKey
from creditshare.errors import ConfigurationError
from creditshare.storage import schema

Database = psycopg.Connection[Any]
NEVER, ANOTHER = "91999999DEM0000306", "91999999DEM0000493"
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


def member_of(client: Client) -> str:
    return client.session.signer.member_id.partition("_")[2]


def plant(database: Database, world: World, key: SigningKey, *, seal: str = "seal") -> None:
    """Insert a key of the attacker's as the asker's; ``seal`` is where the row's seal is copied from."""
    database.execute(
        "INSERT INTO member_key (kid, member_id, jwk, state, registered_at, expires_at, revision, seal)"  # noqa: S608
        f" SELECT %s, member_id, %s::json, 'active', now(), now() + interval '1 day', 1, {seal} FROM member_key"
        " WHERE member_id = %s",
        [key.kid, json.dumps(dict(key.public_jwk)), member_of(world.asker)],
    )


def check(service: RunningService) -> dict[str, Any]:
    """Return what the operator's command says of the seals."""
    told: dict[str, Any] = json.loads(
        command(service, "seals", "check", "--data", str(service.folder), "--json").stdout
    )
    return told


@pytest.mark.parametrize("seal", ["seal", "''::bytea"], ids=["another row's seal", "no seal"])
def test_a_planted_key_speaks_for_nobody(world: World, seal: str) -> None:
    planted = SigningKey.generate()
    with world.service.superuser() as database:
        plant(database, world, planted, seal=seal)
    thief = world.service.client(Identity(world.asker.session.signer.member_id, planted))
    assert ask(thief, world.bad, world.consents["bad"]) == "internal_error"
    assert attempt(thief, "GET", "/v1/me") == "internal_error"
    # The member itself, all others, and the next start go on; the operator is told which row it is.
    assert world.told("bad") == "1 defaults"
    assert check(world.service) == {
        "broken": [f"member_key:{planted.kid}"],
        "whole": True,
        "policy": None,
        "ok": False,
    }
    assert "creditshare_broken_seals 1.0" in httpx.get(world.service.url + "/metrics").text
    world.service.run(require_database(world.service.settings))


def test_two_members_cannot_be_given_each_others_keys(world: World) -> None:
    one, other = world.lender, world.asker
    with world.service.superuser() as database:
        database.execute(
            "UPDATE member_key SET member_id = CASE member_id WHEN %(a)s THEN %(b)s::uuid ELSE %(a)s::uuid END"
            " WHERE member_id IN (%(a)s, %(b)s)",
            {"a": member_of(one), "b": member_of(other)},
        )
    swapped = world.service.client(Identity(other.session.signer.member_id, one.session.signer.key))
    for client in (one, other, swapped):
        wait_for(lambda client=client: attempt(client, "GET", "/v1/me") == "internal_error")  # type: ignore[misc]
        assert ask(client, world.bad, world.consents["bad"]) == "internal_error"


def test_a_key_cannot_be_exchanged_under_its_name(world: World) -> None:
    planted = SigningKey.generate()
    with world.service.superuser() as database:
        database.execute(
            "UPDATE member_key SET jwk = %s::json WHERE member_id = %s",
            [json.dumps(dict(planted.public_jwk)), member_of(world.asker)],
        )
    wait_for(lambda: ask(world.asker, world.bad, world.consents["bad"]) == "internal_error")


ROW_CHANGES = {
    "role": "UPDATE member SET role = 'operator' WHERE member_id = %s",
    "region": "UPDATE member SET region = 'CN' WHERE member_id = %s",
    "jurisdictions": "UPDATE member SET jurisdictions = '{CN,US}' WHERE member_id = %s",
    "quota": "UPDATE member SET evaluations_per_day = 1000000 WHERE member_id = %s",
    "questions a day": "UPDATE member SET queries_per_day = 1000000 WHERE member_id = %s",
    "reports a day": "UPDATE member SET reports_per_day = 1000000 WHERE member_id = %s",
    "thumbprint": "UPDATE member SET key_thumbprint = NULL, name = 'Other' WHERE member_id = %s",
    "revision": "UPDATE member SET revision = revision + 1 WHERE member_id = %s",
    "a key's end": "UPDATE member_key SET expires_at = expires_at + interval '9 years' WHERE member_id = %s",
    "a key's mark": "UPDATE member_key SET bootstrap = true WHERE member_id = %s",
    "whose key": "UPDATE member_key SET registered_by = 'nobody' WHERE member_id = %s",
}


@pytest.mark.parametrize("change", ROW_CHANGES)
def test_what_a_member_may_do_cannot_be_edited(world: World, change: str) -> None:
    with world.service.superuser() as database:
        database.execute(ROW_CHANGES[change].encode(), [member_of(world.asker)])
    wait_for(lambda: attempt(world.asker, "GET", "/v1/me") == "internal_error")
    assert ask(world.asker, world.bad, world.consents["bad"]) == "internal_error"
    assert attempt(world.lender, "GET", "/v1/me") == "done"
    assert len(check(world.service)["broken"]) == 1


@pytest.mark.parametrize("silent", [True, False], ids=["without the trigger", "with the trigger"])
def test_a_suspended_member_cannot_be_made_active(world: World, *, silent: bool) -> None:
    operator = world.service.client(world.service.operators[0])
    path = f"/v1/members/{world.asker.session.signer.member_id}/suspension"
    with world.service.superuser() as database:
        operator.call("POST", path, data={"reason": "review"})
        assert world.told("bad") == "member_suspended"
        if silent:
            database.execute("ALTER TABLE member DISABLE TRIGGER ALL")
        database.execute("UPDATE member SET status = 'active' WHERE member_id = %s", [member_of(world.asker)])
    # Unseen, the edited row changes nothing; seen, it is not believed.
    assert world.told("bad") in {"member_suspended", "internal_error"}
    wait_for(lambda: world.told("bad") == ("member_suspended" if silent else "internal_error"))


PUT_BACK = {
    "suspension": sql.SQL(
        "UPDATE member t SET (status, revision, seal) = (SELECT status, revision, seal FROM kept)"
        " WHERE t.member_id = (SELECT member_id FROM kept)"
    ),
    "revocation": sql.SQL(
        "UPDATE member_key t SET (state, revoked_at, reason, revision, seal)"
        " = (SELECT state, revoked_at, reason, revision, seal FROM kept) WHERE t.kid = (SELECT kid FROM kept)"
    ),
}


@pytest.mark.parametrize("silent", [True, False], ids=["without the trigger", "with the trigger"])
@pytest.mark.parametrize("what", PUT_BACK)
def test_an_older_state_of_a_row_is_not_brought_back(world: World, what: str, *, silent: bool) -> None:
    """Keep a row with its seal, and put it back once the service knew that its member is suspended or it revoked."""
    signer = world.asker.session.signer
    operator = world.service.client(world.service.operators[0])
    table = sql.Identifier("member" if what == "suspension" else "member_key")
    with world.service.superuser() as database:
        if silent:
            database.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(table))
        query = sql.SQL("CREATE TABLE kept AS SELECT * FROM {} WHERE member_id = {}")
        database.execute(query.format(table, member_of(world.asker)))
        if what == "suspension":
            operator.call("POST", f"/v1/members/{signer.member_id}/suspension", data={"reason": "review"})
            wait_for(lambda: world.told("bad") == "member_suspended")
        else:
            path = f"/v1/members/{signer.member_id}/keys/{signer.key.kid}/revocation"
            operator.call("POST", path, data={"reason": "compromise"})
        database.execute(PUT_BACK[what])
        database.execute("DROP TABLE kept")
    refused = {"member_suspended", "key_revoked", "internal_error"}
    wait_for(lambda: world.told("bad") in refused)
    assert attempt(world.asker, "POST", "/v1/tokens/evaluate", {}) in refused
    assert not check(world.service)["whole"]
    # A process that begins now knows nothing of what was: it does not begin.
    with pytest.raises(ConfigurationError, match=r"put back to an older state|revoked keys are alive again"):
        world.service.run(require_database(world.service.settings))


def test_a_row_put_back_before_the_service_saw_it_change_raises_the_alarm(world: World) -> None:
    """A trigger that puts the row back in the suspension's own transaction: nobody ever saw it, but the sum tells."""
    member_id = world.asker.session.signer.member_id
    operator = world.service.client(world.service.operators[0])
    with world.service.superuser() as database:
        database.execute(
            "CREATE FUNCTION put_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF pg_trigger_depth() = 1 THEN"
            " UPDATE member SET status = OLD.status, revision = OLD.revision, seal = OLD.seal"
            " WHERE member_id = OLD.member_id; END IF; RETURN NULL; END $$"
        )
        database.execute("CREATE TRIGGER put_back AFTER UPDATE ON member FOR EACH ROW EXECUTE FUNCTION put_back()")
    operator.call("POST", f"/v1/members/{member_id}/suspension", data={"reason": "review"})
    gauge = "creditshare_broken_seals 1.0"
    wait_for(lambda: gauge in httpx.get(world.service.url + "/metrics").text)
    with pytest.raises(ConfigurationError, match="put back to an older state"):
        world.service.run(require_database(world.service.settings))


def test_a_member_cannot_be_taken_away_in_silence(world: World) -> None:
    with world.service.superuser() as database:
        database.execute("DELETE FROM enrolment WHERE member_id = %s", [member_of(world.asker)])
        database.execute("DELETE FROM member_key WHERE member_id = %s", [member_of(world.asker)])
    assert not check(world.service)["whole"]


def test_a_planted_code_enrols_nobody(world: World) -> None:
    """Without a seal this was the longer way to a planted key: let the service itself register it."""
    code, planted = "A" * 27, SigningKey.generate()
    operator = world.service.operators[1]
    with world.service.superuser() as database:
        database.execute(
            "INSERT INTO enrolment (member_id, code_hash, expires_at, seal)"
            " VALUES (%s, %s, now() + interval '1 day', '')",
            [operator.member_id.partition("_")[2], hashlib.sha256(b"creditshare/enrolment|" + code.encode()).digest()],
        )
    thief = world.service.client(Identity(operator.member_id, planted))
    with pytest.raises(Problem, match="internal_error"):
        thief.enrol(code)


def test_a_planted_proposal_is_nobodys_proposal(world: World) -> None:
    first, second = world.service.operators
    with world.service.superuser() as database:
        database.execute(
            "INSERT INTO proposal"
            " (proposal_id, about, kind, terms, proposed_by, proposed_at, expires_at, seal)"
            " VALUES (gen_random_uuid(), %s, 'quotas', %s::json, %s, now(), now() + interval '1 day', '')",
            [member_of(world.asker), '{"evaluations_per_day": 900000}', first.member_id.partition("_")[2]],
        )
    path = f"/v1/members/{world.asker.session.signer.member_id}"
    body = {"action": "quotas", "evaluations_per_day": 900_000}
    operator = world.service.client(second)
    assert operator.call("GET", f"{path}/proposals")["data"] == []
    seen = operator.call("GET", path).version
    assert attempt(operator, "POST", f"{path}/approvals", body, if_match=seen) == "state_conflict"


BUDGET_CHANGES = {
    "set back": "UPDATE member_budget SET evaluated_today = 0 WHERE member_id = %s",
    "named": "UPDATE member_budget SET unnamed = NULL WHERE member_id = %s",
    "taken away": "DELETE FROM member_budget WHERE member_id = %s",
    "put back": "UPDATE member_budget b SET (day, evaluated_today, evaluated, introduced, seal)"
    " = (SELECT day, evaluated_today, evaluated, introduced, seal FROM kept) WHERE b.member_id = %s",
}


@pytest.mark.parametrize("change", BUDGET_CHANGES)
def test_used_evaluations_do_not_come_back(world: World, change: str) -> None:
    with world.service.superuser() as database:
        database.execute(
            "CREATE TABLE kept AS SELECT * FROM member_budget WHERE member_id = %s", [member_of(world.asker)]
        )
        world.asker.tokenise([UNKNOWN])
        world.asker.tokenise([NEVER])
        database.execute(BUDGET_CHANGES[change].encode(), [member_of(world.asker)])
    with pytest.raises(Problem, match="internal_error"):
        world.asker.tokenise([ANOTHER])


def test_a_lowered_quota_is_not_taken_off(world: World) -> None:
    """Without a value the service's own default holds, and such a column has no part in the seal."""
    world.service.agree(world.asker, queries_per_day=10)
    assert ask(world.asker, world.bad, world.consents["bad"]) == "1 defaults"
    with world.service.superuser() as database:
        database.execute("UPDATE member SET queries_per_day = NULL WHERE member_id = %s", [member_of(world.asker)])
    wait_for(lambda: ask(world.asker, world.bad, world.consents["bad"]) == "internal_error")


def test_a_day_that_was_put_back_grants_nothing(world: World) -> None:
    """A process knows what it leased itself; so who puts the count back gets from each at most the quota once more."""
    asker = world.service.admit("Asker of 40", region="US", queries_per_day=40)
    body = {"subject": world.bad, "purpose": "pre_loan", "consent_id": world.consents["bad"], "scopes": ["defaults"]}

    def told() -> str:
        return str(asker.send(asker.sign("POST", "/v1/queries", data=body)).data["code"])

    assert told() == "consent_missing"
    with world.service.superuser() as database:
        database.execute("UPDATE daily_quota SET leased = 0 WHERE member_id = %s", [member_of(asker)])
    assert [told(), told()] == ["unavailable"] * 2


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE policy_rule SET value = 'no' WHERE rule = 'notice.required'",
        "DELETE FROM policy_rule WHERE jurisdiction = 'US'",
        "INSERT INTO policy_rule SELECT jurisdiction, rule, valid_from + 1, NULL, 'no', article, seal FROM policy_rule",
    ],
    ids=["edited", "taken away", "added"],
)
def test_the_policy_is_what_a_migration_wrote(world: World, change: str) -> None:
    with world.service.superuser() as database:
        database.execute(change.encode())
    with pytest.raises(ConfigurationError, match=r"policy row .* does not match its seal"):
        world.service.run(require_database(world.service.settings))


def test_seals_taken_away_are_not_given_anew_by_the_next_upgrade(world: World) -> None:
    data = ("--data", str(world.service.folder))
    owner = world.service.postgres.url("owner", world.service.database)
    assert command(world.service, "db", "upgrade", *data).returncode == 0
    schema.downgrade(owner, revision="0008")
    refused = command(world.service, "db", "upgrade", *data)
    assert refused.returncode == 2
    assert "--seal-anew" in refused.stderr
    assert command(world.service, "db", "upgrade", *data, "--seal-anew").returncode == 0


def test_a_row_that_a_person_accepted_counts_again(world: World) -> None:
    with world.service.superuser() as database:
        database.execute(ROW_CHANGES["region"].encode(), [member_of(world.asker)])
    wait_for(lambda: world.told("bad") == "internal_error")
    (name,) = check(world.service)["broken"]
    data = ("--data", str(world.service.folder))
    assert command(world.service, "seals", "accept", "member:nobody", *data).returncode == 2
    assert command(world.service, "seals", "accept", name, *data).returncode == 0
    assert check(world.service)["ok"]
    wait_for(lambda: world.told("bad") == "1 defaults")


# What succeeds today: limits that `SECURITY.md` states.


def test_limit_the_counter_of_a_consents_uses_can_be_set_back(world: World) -> None:
    """The log still shows every answer, so whoever counts the asker's events finds one more than was agreed."""
    consent = grant(world.asker, world.bad, max_uses=1)
    assert ask(world.asker, world.bad, consent) == "1 defaults"
    assert ask(world.asker, world.bad, consent) == "consent_exhausted"
    with world.service.superuser() as database:
        database.execute("UPDATE consent SET uses = 0")
    assert ask(world.asker, world.bad, consent) == "1 defaults"
