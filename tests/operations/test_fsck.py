"""``log fsck --database`` names what is wrong, each time something else: rewritten by a database administrator.

One database with everything in it (records, a correction, consents, questions, a file of records, a borrower and a
record erased) is copied for each attack.
"""
# ruff: noqa: S608  statements of an attacker's, made of nothing but constants

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from tests.fixtures.attack import ask, grant
from tests.fixtures.erasures import erase
from tests.fixtures.processes import command, database_of, logins, older_copy
from tests.fixtures.service import RunningService, record_body, running_service, wait_for

from creditshare.audit.rebuild import Check
from creditshare.operations.fsck import examine_log
from creditshare.settings import Settings
from creditshare.storage.embedded import EmbeddedPostgres

BORROWERS = ("91999999DEM000014G", "91999999DEM000022B")
LOG_TABLES = ("audit_event", "audit_leaf", "audit_tile", "audit_checkpoint", "audit_pending", "audit_opening")
ENOUGH = 300


class Later:
    """A clock by which every promise is due."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)


@dataclass
class Story:
    service: RunningService
    record: str
    consent: str
    checkpoint: Path
    receipts: Path
    receipt_event: str
    database: str
    """A copy that nobody uses, so that it is copied in a moment."""

    @contextlib.contextmanager
    def rewritten(self, statements: tuple[str, ...]) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
        """Lend a copy that an attacker changed: the settings of a process on it, and what the statements name."""
        name, postgres = f"t_{uuid4().hex}", self.service.postgres
        postgres.create_database(name, template=self.database)
        try:
            yield logins(postgres, name), rewrite(self, name, statements)
        finally:
            postgres.drop_database(name)

    def examine(self, settings: Settings, **more: Any) -> dict[str, str]:
        """Return what does not hold, by the names of the checks."""
        findings = asyncio.run(examine_log(settings, **more))
        assert [finding.check for finding in findings] == [check.value for check in Check]
        return {finding.check: finding.problem for finding in findings if finding.problem is not None}


@pytest.fixture(scope="module")
def story(postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("kept")
    with running_service(postgres, template) as service:
        lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
        kept, erased = lender.tokenise(list(BORROWERS))
        asked = asker.tokenise(list(BORROWERS))
        ids = [
            str(lender.call("POST", "/v1/records", data=record_body(subject, f"A-{number}"))["record_id"])
            for number, subject in enumerate((kept, kept, erased))
        ]
        correction = {"changes": {"outstanding_principal": "90000.00"}, "reason": "wrong_amount"}
        lender.call("POST", f"/v1/records/{ids[0]}/corrections", data=correction)
        lender.call("GET", f"/v1/records/{ids[0]}")
        consents = [grant(asker, subject, max_uses=400) for subject in asked]
        assert ask(asker, asked[0], consents[0]) == "2 defaults"
        assert ask(asker, asked[1], consents[1]) == "1 defaults"
        regulator = service.admit("Regulator", role="regulator", region="US")
        terms = {"legal_basis": "court_order", "reference": "17", "reason": "pledges", "scopes": ["records"]}
        ends_at = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for named in (ids[0], ids[2]):
            regulator.call("POST", "/v1/warrants", data={**terms, "named": named, "ends_at": ends_at})
        erase(service, ids[2], whole_borrower=True)
        erase(service, ids[1])
        for _ in range(ENOUGH):  # so that there is a full tile
            lender.send(lender.sign("GET", "/v1/records/rec_01900000-0000-7000-8000-000000000000"))
        (folder / "receipts").mkdir()
        answer = lender.send(lender.sign("GET", f"/v1/records/{ids[0]}"))
        assert answer.log_entry is not None
        lender.evidence(answer).save(folder / "receipts" / "one.json")
        wait_for(lambda: httpx.get(service.url + "/audit/v1/health").json()["oldest_pending_s"] == 0)
        (folder / "checkpoint").write_text(httpx.get(service.url + "/log/v1/checkpoint").text)
        event = answer.log_entry.event_id[4:]
        with older_copy(service) as copy:
            database = database_of(copy)
            yield Story(service, ids[0], consents[0], folder / "checkpoint", folder / "receipts", event, database)


def test_a_whole_log_holds_and_the_service_runs_on(story: Story) -> None:
    told = command(
        story.service, "log", "fsck", "--database", "--data", str(story.service.folder), "--json",
        "--checkpoint", str(story.checkpoint), "--receipts", str(story.receipts),
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    document = json.loads(told.stdout)
    seen = {one["check"]: one["seen"] for one in document["findings"]}
    assert document["holds"] is True
    assert (
        seen["business rows and events"]
        == "3 records, 2 consents, 0 debt statements, 2 questions, 5 members, 2 warrants"
    )
    assert (seen["receipts"], seen["checkpoints that others hold"]) == ("1 receipts", "1 files, 0 of 0 witnesses")
    assert httpx.get(story.service.url + "/readyz").status_code == 200


FORGED = "DROP CONSTRAINT ck_audit_event_leaf_hash"
ENTRY = "leaf_hash = sha256('\\x007b7d')"
SWAPPED = (
    "ALTER TABLE audit_leaf DROP CONSTRAINT ck_audit_leaf_idx",
    "UPDATE audit_leaf SET idx = -1 WHERE idx = 7",
    "UPDATE audit_leaf SET idx = 7 WHERE idx = 8",
    "UPDATE audit_leaf SET idx = 8 WHERE idx = -1",
)
NEW = "'00000000-0000-4000-8000-000000000000'"

ATTACKS: dict[str, tuple[tuple[str, ...], dict[Check, str]]] = {
    "an event is edited": (
        (
            f"ALTER TABLE audit_event {FORGED}",
            f"UPDATE audit_event SET leaf = '{{}}', {ENTRY} WHERE event_id = %(leaf_7)s",
        ),
        {Check.ENTRIES: "leaf 7 is not what its hash says", Check.OPENINGS: "evt_{leaf_7}: a leaf has the members"},
    ),
    "an event and its leaf are edited": (
        (
            f"ALTER TABLE audit_event {FORGED}",
            f"UPDATE audit_event SET leaf = '{{}}', {ENTRY} WHERE event_id = %(leaf_7)s",
            f"UPDATE audit_leaf SET {ENTRY} WHERE idx = 7",
        ),
        {
            Check.TILES: "tile 0 of level 0 is not what the leaves make of it",
            Check.EARLIER: "leaves {before_7} to {after_7} was changed",
            Check.NEWEST: "its root is not that of",
            Check.HELD: "checkpoint was signed over other leaves",
            Check.OPENINGS: "evt_{leaf_7}: a leaf has the members",
        },
    ),
    "the end is deleted": (
        ("DELETE FROM audit_leaf WHERE idx >= 290",),
        {
            Check.NEWEST: "290 are there: leaves 290 to",
            Check.EVENTS: "neither in the log nor waiting for it: ",
            Check.RECEIPTS: "one.json: evt_{receipt} was promised",
            Check.HELD: "the end of the log was taken away",
        },
    ),
    "the end is deleted with its checkpoints and events": (
        (
            "DELETE FROM audit_opening WHERE event_id IN (SELECT event_id FROM audit_leaf WHERE idx >= 290)",
            "CREATE TEMP TABLE gone AS SELECT event_id FROM audit_leaf WHERE idx >= 290",
            "DELETE FROM audit_checkpoint WHERE size > 290",
            "DELETE FROM audit_leaf WHERE idx >= (SELECT max(size) FROM audit_checkpoint)",
            "DELETE FROM audit_event WHERE event_id IN (SELECT event_id FROM gone)",
        ),
        {
            Check.RECEIPTS: "one.json: evt_{receipt} was promised",
            Check.HELD: "the end of the log was taken away",
        },
    ),
    "an event is deleted under its leaf": (
        (
            "DELETE FROM audit_opening WHERE event_id = %(leaf_7)s",
            "DELETE FROM audit_event WHERE event_id = %(leaf_7)s",
        ),
        {Check.EVENTS: "leaf 7 has no event"},
    ),
    "two leaves change places": (
        SWAPPED,
        {Check.TILES: "tile 0 of level 0", Check.EARLIER: "moved", Check.NEWEST: "", Check.HELD: ""},
    ),
    "an event is put in": (
        (
            "ALTER TABLE audit_leaf DROP CONSTRAINT ck_audit_leaf_idx",
            "UPDATE audit_leaf SET idx = -2 - idx WHERE idx >= 7",
            "UPDATE audit_leaf SET idx = -1 - idx WHERE idx < 0",
            f"INSERT INTO audit_event (event_id, leaf, leaf_hash) VALUES ({NEW}, '{{}}', sha256('\\x007b7d'))",
            f"INSERT INTO audit_leaf (idx, event_id, leaf_hash) VALUES (7, {NEW}, sha256('\\x007b7d'))",
        ),
        {
            Check.TILES: "tile 0 of level 0",
            Check.EARLIER: "put in",
            Check.NEWEST: "no more than",
            Check.HELD: "",
            Check.OPENINGS: "evt_00000000-0000-4000-8000-000000000000: a leaf has the members",
        },
    ),
    "a leaf is taken out": (
        ("DELETE FROM audit_leaf WHERE idx = 7",),
        {
            Check.INDEXES: "leaf 7 is missing",
            Check.NEWEST: "7 are there",
            Check.TILES: "",
            Check.EVENTS: "neither in the log nor waiting for it: {leaf_7}",
            Check.HELD: "",
            Check.RECEIPTS: "was promised",
        },
    ),
    "a waiting event is dropped": (
        (
            f"INSERT INTO audit_event (event_id, leaf, leaf_hash) VALUES ({NEW}, '{{}}', sha256('\\x007b7d'))",
            "DELETE FROM audit_pending",
        ),
        {
            Check.EVENTS: "neither in the log nor waiting for it: 00000000-0000-4000-8000-000000000000",
            Check.OPENINGS: "evt_00000000-0000-4000-8000-000000000000: a leaf has the members",
        },
    ),
    "the queue is held up": (
        (
            "UPDATE audit_pending SET queued_at = queued_at - interval '1 day'",
            (
                "INSERT INTO audit_pending (event_id, queued_at)"
                " SELECT event_id, now() - interval '1 day' FROM audit_leaf WHERE idx = 7"
            ),
        ),
        {Check.DELAY: "1 events wait for the log", Check.EVENTS: "in the log and still waiting for it: {leaf_7}"},
    ),
    "a tile is edited": (
        ("UPDATE audit_tile SET root = sha256('x') WHERE level = 0 AND n = 0",),
        {Check.TILES: "tile 0 of level 0 is not what the leaves make of it"},
    ),
    "a tile is deleted": (
        ("DELETE FROM audit_tile",),
        {Check.TILES: "tile 0 of level 0 is missing"},
    ),
    "a checkpoint is edited": (
        ("UPDATE audit_checkpoint SET note = replace(note, 'log', 'lag') WHERE size = %(before_7)s",),
        {Check.SIGNATURES: "the checkpoint of {before_7} leaves: "},
    ),
    "a checkpoint's row is edited": (
        ("UPDATE audit_checkpoint SET root = sha256('x') WHERE size = %(before_7)s",),
        {Check.SIGNATURES: "the checkpoint of {before_7} leaves says another size or root"},
    ),
    "who did it is deleted": (
        ("DELETE FROM audit_opening WHERE event_id = %(leaf_7)s AND grp = 'meta'",),
        {Check.OPENINGS: "evt_{leaf_7}: who did what is missing"},
    ),
    "what was said is deleted, without an erasure": (
        ("DELETE FROM audit_opening WHERE event_id = %(receipt)s AND grp = 'body'",),
        {Check.OPENINGS: "events cannot be opened, and the log says that"},
    ),
    "an opening is exchanged": (
        (
            (
                "UPDATE audit_opening SET sealed = (SELECT sealed FROM audit_opening WHERE event_id = %(leaf_8)s AND"
                " grp = 'meta') WHERE event_id = %(leaf_7)s AND grp = 'meta'"
            ),
        ),
        {Check.OPENINGS: "evt_{leaf_7}: "},
    ),
    "an opening of an erased borrower is put back": (
        (
            (
                "INSERT INTO audit_opening SELECT %(leaf_7)s, 'body', subject_id, '\\x00' FROM subject"
                " WHERE state = 'erased' ON CONFLICT (event_id, grp) DO UPDATE SET subject_id = EXCLUDED.subject_id"
            ),
        ),
        {Check.OPENINGS: "an opening is there, though its borrower was erased"},
    ),
    "an event is hidden at an index of no log": (
        (
            "ALTER TABLE audit_leaf DROP CONSTRAINT ck_audit_leaf_idx",
            "DELETE FROM audit_checkpoint WHERE size > 290",
            "UPDATE audit_leaf SET idx = -1 - idx WHERE idx >= (SELECT max(size) FROM audit_checkpoint)",
        ),
        {
            Check.INDEXES: "of them have an index of the log",
            Check.RECEIPTS: "one.json: evt_{receipt} was promised",
            Check.HELD: "the end of the log was taken away",
        },
    ),
    "a borrower's key is broken": (
        ("UPDATE subject SET dek = '\\x00', dek_id = '\\x00' WHERE state = 'live'",),
        {Check.OPENINGS: "its borrower's key does not open", Check.ROWS: ""},
    ),
    "a hash is none": (
        ("UPDATE audit_leaf SET leaf_hash = '\\x00' WHERE idx = 7",),
        {Check.ENTRIES: "leaf 7 is not what its hash says"},
    ),
    "columns are empty": (
        (
            "ALTER TABLE audit_leaf ALTER leaf_hash DROP NOT NULL",
            "ALTER TABLE audit_tile ALTER root DROP NOT NULL",
            "ALTER TABLE audit_opening ALTER sealed DROP NOT NULL",
            "ALTER TABLE audit_checkpoint ALTER note DROP NOT NULL",
            "UPDATE audit_leaf SET leaf_hash = NULL WHERE idx = 7",
            "UPDATE audit_tile SET root = NULL",
            "UPDATE audit_opening SET sealed = NULL WHERE event_id = %(leaf_7)s",
            "UPDATE audit_checkpoint SET note = NULL WHERE size = (SELECT max(size) FROM audit_checkpoint)",
        ),
        {
            Check.ENTRIES: "leaf 7 is not what its hash says",
            Check.TILES: "tile 0 of level 0 is not",
            Check.OPENINGS: "evt_{leaf_7}: ",
            Check.SIGNATURES: "",
        },
    ),
    "rows of a borrower that there is not": (
        ("INSERT INTO record_lookup VALUES ('ffffffff-ffff-ffff-ffff-ffffffffffff', gen_random_uuid())",),
        {Check.ROWS: "records that no event names: rec_ffffffff-ffff-ffff-ffff-ffffffffffff"},
    ),
    "a record is put in": (
        ("INSERT INTO record_lookup SELECT gen_random_uuid(), subject_id FROM record_lookup LIMIT 1",),
        {Check.ROWS: "records that no event names: rec_"},
    ),
    "a consent is taken away": (
        ("DELETE FROM consent_lookup WHERE consent_id = %(consent)s",),
        {Check.ROWS: "events name consents that are not there: cns_{consent}"},
    ),
    "a warrant is put in": (
        ("INSERT INTO warrant_lookup SELECT gen_random_uuid(), subject_id FROM warrant_lookup LIMIT 1",),
        {Check.ROWS: "warrants that no event names: wrt_"},
    ),
    "a warrant is taken away": (
        (
            (
                "DELETE FROM warrant_lookup WHERE subject_id ="
                " (SELECT subject_id FROM consent_lookup WHERE consent_id = %(consent)s)"
            ),
        ),
        {Check.ROWS: "events name warrants that are not there: wrt_"},
    ),
    "a member is put in": (
        (
            (
                "INSERT INTO member SELECT (jsonb_populate_record(m, jsonb_build_object('member_id', gen_random_uuid(),"
                " 'name', 'Nobody'))).* FROM member m WHERE name = 'Lender'"
            ),
        ),
        {Check.ROWS: "members that no event names: mem_"},
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_administrators_change_is_named(story: Story, attack: str) -> None:
    statements, expected = ATTACKS[attack]
    with story.rewritten(statements) as (copy, names):
        settings = story.service.settings.model_copy(update=copy)
        found = story.examine(settings, held=[story.checkpoint], receipts=story.receipts, clock=Later())
    assert set(found) == {check.value for check in expected}, found
    for check, words in expected.items():
        assert words.format(**names) in found[check.value], found


def rewrite(story: Story, database: str, statements: tuple[str, ...]) -> dict[str, Any]:
    """Change a copy as its superuser, all triggers off; return what the statements and expectations name."""
    with story.service.superuser(database) as connection:
        names = {
            "receipt": story.receipt_event,
            "consent": story.consent[4:],
            "leaf_7": only(connection, "SELECT event_id FROM audit_leaf WHERE idx = 7"),
            "leaf_8": only(connection, "SELECT event_id FROM audit_leaf WHERE idx = 8"),
            "before_7": only(connection, "SELECT max(size) FROM audit_checkpoint WHERE size <= 7"),
            "after_7": int(only(connection, "SELECT min(size) FROM audit_checkpoint WHERE size > 7")) - 1,
        }
        connection.execute("SET session_replication_role = replica")
        for table in (*LOG_TABLES, "member"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
        for statement in statements:
            connection.execute(statement.encode(), {k: v for k, v in names.items() if f"%({k})s" in statement})
    return names


def only(connection: "psycopg.Connection[Any]", query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])


def test_a_folder_and_the_database_are_not_asked_for_at_once(story: Story, tmp_path: Path) -> None:
    for words in ((), (str(tmp_path), "--database")):
        told = command(story.service, "log", "fsck", *words)
        assert told.returncode == 2
        assert "either the folder of a mirror or --database" in told.stderr


def test_a_broken_database_ends_the_command_with_status_3(story: Story) -> None:
    with story.rewritten(ATTACKS["a tile is deleted"][0]) as (copy, _):
        told = command(story.service, "log", "fsck", "--database", "--data", str(story.service.folder), **copy)
    assert told.returncode == 3
    assert "WRONG  tiles: tile 0 of level 0 is missing" in told.stdout
    assert "ok     indexes: well" in told.stdout
