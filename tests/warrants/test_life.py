"""A warrant's life over real sockets: asked for, approved by two, read, ended; and who cannot come by one."""

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.fixtures.attack import NOWHERE, at_once, attempt, grant, look
from tests.fixtures.erasures import erase
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, record_body, running_service

from creditshare.cli.demo.story import synthetic_uscc
from creditshare.client.bank import Client
from creditshare.crypto.sealing import Place
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import ReadSession
from creditshare.wire.strict_json import decode_object

SOURCE = random.Random("warrants")  # noqa: S311  synthetic borrowers, not secrets


@dataclass
class Case:
    """Two lenders with a borrower in default, a regulator, and three operators."""

    service: RunningService
    regulator: Client
    other: Client
    furnisher: Client
    asker: Client
    third: Client
    borrower: str = ""
    record: str = ""
    query: str = ""
    consent: str = ""
    terms: dict[str, Any] = field(default_factory=dict)

    @property
    def regulator_id(self) -> str:
        return str(self.regulator.session.signer.member_id)

    def begin(self) -> None:
        """Make another borrower, of whom one lender reported a default and about whom the other asked."""
        self.borrower = synthetic_uscc(SOURCE)
        (subject,) = self.furnisher.tokenise([self.borrower])
        body = record_body(subject, uuid4().hex)
        self.record = str(self.furnisher.call("POST", "/v1/records", data=body).data["record_id"])
        (subject,) = self.asker.tokenise([self.borrower])
        self.consent = grant(self.asker, subject)
        asked = self.asker.query(subject, purpose="pre_loan", consent_id=self.consent)
        self.query = str(asked.data["query_id"])
        ahead = self.ahead()
        ends_at = datetime.now(UTC).replace(microsecond=0) + ahead + timedelta(days=10)
        self.terms = {
            "named": self.record,
            "legal_basis": "court_order",
            "reference": "2026-CV-17",
            "reason": "double pledging",
            "scopes": ["records", "inquiries"],
            "ends_at": ends_at.isoformat().replace("+00:00", "Z"),
        }

    def ahead(self) -> timedelta:
        with self.service.superuser() as database:
            row = database.execute("SELECT ahead_s FROM business_clock").fetchone()
        assert row is not None
        return timedelta(seconds=row[0])

    def ask(self, who: Client | None = None, **changes: Any) -> str:
        body = {**self.terms, **changes}
        return str((who or self.regulator).call("POST", "/v1/warrants", data=body).data["warrant_id"])

    def approve(self, who: Client, warrant: str, **changes: Any) -> str:
        body = {"regulator_id": self.regulator_id, **self.terms, **changes}
        return attempt(who, "POST", f"/v1/warrants/{warrant}/approvals", body)

    def in_force(self, **changes: Any) -> str:
        warrant = self.ask(**changes)
        for who in self.service.desk:
            assert self.approve(who, warrant, **changes) == "done"
        return warrant

    def reads(self, warrant: str, what: str = "records", who: Client | None = None) -> str:
        return attempt(who or self.regulator, "GET", f"/v1/warrants/{warrant}/{what}")

    def status(self, warrant: str) -> str:
        return str(self.regulator.call("GET", f"/v1/warrants/{warrant}").data["status"])

    def proposal(self, warrant: str) -> dict[str, Any]:
        (found,) = (one for one in self.service.desk[0].pages("/v1/proposals") if one["about"] == warrant)
        return found


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres, template: str) -> Iterator[Case]:
    with running_service(postgres, template) as service:
        yield Case(
            service,
            regulator=service.admit("Regulator", role="regulator", region="US"),
            other=service.admit("Other regulator", role="regulator", region="US"),
            furnisher=service.admit("Furnishing Bank", region="US"),
            asker=service.admit("Asking Bank", region="US"),
            third=service.admit("Third operator", role="operator"),
        )


@pytest.fixture
def case(shared: Case) -> Case:
    shared.begin()
    return shared


# The usual way


def test_it_is_read_once_two_operators_approved_it(case: Case) -> None:
    first, second = case.service.desk
    warrant = case.ask()
    assert (case.status(warrant), case.reads(warrant)) == ("requested", "warrant_not_in_force")
    assert case.approve(first, warrant) == "done"
    assert (case.status(warrant), case.reads(warrant)) == ("requested", "warrant_not_in_force")
    waiting = case.proposal(warrant)
    assert (waiting["action"], waiting["approvals_needed"]) == ("warrant", 2)
    assert waiting["approved_by"] == [first.session.signer.member_id]
    assert case.approve(second, warrant) == "done"
    assert case.status(warrant) == "active"

    told = case.regulator.call("GET", f"/v1/warrants/{warrant}/records").data
    (row,) = told["records"]
    assert row["record_id"] == case.record
    assert row["lender"] == {"member_id": case.furnisher.session.signer.member_id, "name": "Furnishing Bank"}
    assert row["amounts"] == {"currency": "USD", "original_amount": "150000.00", "outstanding_principal": "98000.00"}
    assert told["withheld"] == []
    (asked,) = case.regulator.call("GET", f"/v1/warrants/{warrant}/inquiries").data["inquiries"]
    assert (asked["query_id"], asked["lender"]["name"]) == (case.query, "Asking Bank")
    assert (asked["purpose"], asked["scopes"]) == ("pre_loan", ["defaults"])


def test_nothing_that_is_read_names_the_borrower(case: Case) -> None:
    warrant = case.in_force()
    (subject,) = case.furnisher.tokenise([case.borrower])
    for what in ("", "/records", "/inquiries"):
        text = case.regulator.call("GET", f"/v1/warrants/{warrant}{what}").body.decode()
        assert case.borrower not in text
        assert subject["element"] not in text
        assert "account_ref" not in text


@pytest.mark.parametrize("thing", ["record", "query", "consent"])
def test_the_borrower_is_named_by_what_a_lender_was_given(case: Case, thing: str) -> None:
    warrant = case.in_force(named=getattr(case, thing))
    (row,) = case.regulator.call("GET", f"/v1/warrants/{warrant}/records").data["records"]
    assert row["record_id"] == case.record


def test_scopes_that_are_not_named_are_not_read(case: Case) -> None:
    assert case.reads(case.in_force(scopes=["records"]), "inquiries") == "warrant_scope"
    assert case.reads(case.in_force(scopes=["inquiries"]), "records") == "warrant_scope"


def test_it_tells_what_a_lender_would_be_told_now(case: Case) -> None:
    warrant = case.in_force()
    case.furnisher.call("POST", f"/v1/records/{case.record}/withdrawal", data={"reason": "reported_in_error"})
    assert case.regulator.call("GET", f"/v1/warrants/{warrant}/records").data["records"] == []


def test_records_of_another_jurisdiction_are_withheld(case: Case) -> None:
    abroad = case.service.admit("Regulator abroad", role="regulator", region="DE")
    warrant = case.ask(abroad)
    for who in case.service.desk:
        assert case.approve(who, warrant, regulator_id=abroad.session.signer.member_id) == "done"
    told = abroad.call("GET", f"/v1/warrants/{warrant}/records").data
    assert told["records"] == []
    assert told["withheld"] == [{"what": "records", "why": "jurisdiction_not_admitted"}]


def test_each_reading_is_an_event_about_the_borrower(case: Case) -> None:
    warrant = case.in_force()
    for what in ("records", "inquiries"):
        answer = case.regulator.call("GET", f"/v1/warrants/{warrant}/{what}")
        assert answer.log_entry is not None
        meta = json.loads(answer.log_entry.meta)
        assert (meta["action"], meta["actor"]) == (f"show_warrant_{what}", case.regulator_id)
        assert meta["details"] == {"warrant": warrant, "rows": 1}
        event = UUID(answer.log_entry.event_id.removeprefix("evt_"))
        said = case.service.run(about_borrower(case, event))
        assert said["warrant_id"] == warrant


async def about_borrower(case: Case, event: UUID) -> dict[str, object]:
    """Open what an event says of whom it concerned, as the borrower's own report will, with the borrower's key."""
    services, named = case.service.services, UUID(case.record.removeprefix("rec_"))
    with case.service.superuser() as database:
        row = database.execute(
            "SELECT o.sealed, o.subject_id FROM audit_opening o JOIN record_lookup l USING (subject_id)"
            " WHERE o.event_id = %s AND o.grp = 'subj' AND l.record_id = %s",
            [event, named],
        ).fetchone()
    assert row is not None
    async with services.database.reading() as session:
        keys = (await services.subjects.read(session, row[1])).keys
    opened = decode_object(keys.box("opening").open(Place("audit_opening", "subj", event.bytes), row[0]))
    return decode_object(str(opened["payload"]).encode())


def test_the_borrowers_own_report_can_list_every_warrant(case: Case) -> None:
    read, rejected = case.in_force(), case.ask(reason="another reason")
    path = f"/v1/proposals/{case.proposal(rejected)['proposal_id']}/rejection"
    case.service.desk[0].call("POST", path, data={"reason": "no order"})
    services, named = case.service.services, UUID(case.record.removeprefix("rec_"))

    async def footprint(session: ReadSession) -> list[tuple[str, str, str, int]]:
        row = await session.run("SELECT subject_id FROM record_lookup WHERE record_id = %(id)s", {"id": named})
        state = await services.subjects.read(session, row.one().subject_id)
        return [
            (f"wrt_{one.warrant.warrant_id}", one.warrant.state, one.terms.reason, len(one.approved_by))
            for one in await services.warrants.of_borrower(session, state)
        ]

    async def run() -> list[tuple[str, str, str, int]]:
        async with services.database.reading() as session:
            return await footprint(session)

    assert case.service.run(run()) == [
        (read, "active", "double pledging", 2),
        (rejected, "rejected", "another reason", 0),
    ]


# Who approves


def test_neither_one_operator_twice_nor_the_regulator_makes_two(case: Case) -> None:
    first, second = case.service.desk
    warrant = case.ask()
    assert case.approve(first, warrant) == "done"
    assert case.approve(first, warrant) == "role_forbidden"
    for nobody in (case.regulator, case.other, case.furnisher):
        assert case.approve(nobody, warrant) == "role_forbidden"
    assert case.reads(warrant) == "warrant_not_in_force"
    assert case.approve(second, warrant) == "done"
    assert case.approve(case.third, warrant) == "state_conflict"


def test_of_many_approvals_at_once_each_operator_counts_once(case: Case) -> None:
    warrant = case.ask()
    outcomes = at_once(4, lambda _: case.approve(case.service.desk[0], warrant))
    assert sorted(outcomes) == ["done"] + ["role_forbidden"] * 3
    assert case.reads(warrant) == "warrant_not_in_force"


def test_who_lost_the_right_to_approve_does_not_count_any_more(case: Case) -> None:
    leaver = case.service.admit("Leaver", role="operator")
    warrant = case.ask()
    assert case.approve(leaver, warrant) == "done"
    path = f"/v1/members/{leaver.session.signer.member_id}/suspension"
    case.service.desk[0].call("POST", path, data={"reason": "left"})
    assert case.approve(case.service.desk[0], warrant) == "done"
    assert case.reads(warrant) == "warrant_not_in_force"
    assert case.approve(case.service.desk[1], warrant) == "done"
    assert case.reads(warrant) == "done"


@pytest.mark.parametrize(
    "change",
    [
        {"reference": "2026-CV-18"},
        {"reason": "curiosity"},
        {"legal_basis": "borrower_complaint"},
        {"scopes": ["records"]},
        {"ends_at": "2027-12-31T00:00:00Z"},
        {"regulator_id": f"mem_{NOWHERE}"},
        {"named": f"rec_{NOWHERE}"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_approval_of_other_terms_is_refused(case: Case, change: dict[str, Any]) -> None:
    warrant = case.ask()
    assert case.approve(case.third, warrant, **change) == "validation_failed"
    assert case.proposal(warrant)["approved_by"] == []


def test_an_approval_is_for_the_warrant_that_it_names(case: Case) -> None:
    approved, other = case.ask(), case.ask()
    for who in case.service.desk:
        assert case.approve(who, approved) == "done"
    assert (case.reads(approved), case.reads(other)) == ("done", "warrant_not_in_force")


def test_the_order_of_scopes_does_not_matter(case: Case) -> None:
    warrant = case.ask()
    assert case.approve(case.third, warrant, scopes=["inquiries", "records"]) == "done"


def test_a_rejected_request_is_not_approved_any_more(case: Case) -> None:
    warrant = case.ask()
    assert case.approve(case.third, warrant) == "done"
    path = f"/v1/proposals/{case.proposal(warrant)['proposal_id']}/rejection"
    assert attempt(case.regulator, "POST", path, {"reason": "mine"}) == "role_forbidden"
    assert attempt(case.service.desk[0], "POST", path, {"reason": "no order"}) == "done"
    assert case.status(warrant) == "rejected"
    assert case.approve(case.service.desk[1], warrant) == "state_conflict"
    assert case.reads(warrant) == "warrant_not_in_force"


# Its end


def test_one_operator_ends_it_at_once(case: Case) -> None:
    warrant = case.in_force()
    assert case.reads(warrant) == "done"
    path = f"/v1/warrants/{warrant}/revocation"
    for nobody in (case.regulator, case.furnisher):
        assert attempt(nobody, "POST", path, {"reason": "mine"}) == "role_forbidden"
    assert attempt(case.third, "POST", path, {"reason": "order lifted"}) == "done"
    assert (case.status(warrant), case.reads(warrant)) == ("revoked", "warrant_not_in_force")
    assert attempt(case.third, "POST", path, {"reason": "again"}) == "state_conflict"


def test_a_request_that_was_revoked_is_not_approved_any_more(case: Case) -> None:
    warrant = case.ask()
    assert case.approve(case.service.desk[0], warrant) == "done"
    case.third.call("POST", f"/v1/warrants/{warrant}/revocation", data={"reason": "no order"})
    assert warrant not in {one["about"] for one in case.third.pages("/v1/proposals")}
    assert case.approve(case.service.desk[1], warrant) == "state_conflict"
    assert case.reads(warrant) == "warrant_not_in_force"


def test_after_its_time_nothing_is_read_by_it(case: Case) -> None:
    warrant, late = case.in_force(), case.ask()
    assert case.approve(case.service.desk[0], late) == "done"
    case.service.advance(days=10.01)
    assert (case.status(warrant), case.reads(warrant)) == ("expired", "warrant_not_in_force")
    assert case.approve(case.service.desk[1], late) == "state_conflict"
    assert (case.status(late), case.reads(late)) == ("lapsed", "warrant_not_in_force")
    assert attempt(case.third, "POST", f"/v1/warrants/{warrant}/revocation", {"reason": "late"}) == "state_conflict"


def test_a_request_lapses_though_the_end_that_it_asks_for_lies_ahead(case: Case) -> None:
    until = datetime.fromisoformat(case.terms["ends_at"]) + timedelta(days=15)
    late: dict[str, Any] = {"ends_at": until.isoformat().replace("+00:00", "Z")}
    warrant = case.ask(**late)
    assert case.approve(case.service.desk[0], warrant, **late) == "done"
    case.service.advance(days=14.01)
    assert case.approve(case.service.desk[1], warrant, **late) == "state_conflict"
    assert case.status(warrant) == "lapsed"


def test_it_does_not_come_back_with_the_rights_of_a_suspended_regulator(case: Case) -> None:
    first, second = case.service.desk
    suspended = case.service.admit("Suspended regulator", role="regulator", region="US")
    named = {"regulator_id": suspended.session.signer.member_id}
    warrant, waiting = case.ask(suspended), case.ask(suspended)
    for who in (first, second):
        assert case.approve(who, warrant, **named) == "done"
    member = f"/v1/members/{named['regulator_id']}"
    assert first.call("GET", f"{member}/impact").data["warrants"] == 1
    first.call("POST", f"{member}/suspension", data={"reason": "key lost"})
    assert case.reads(warrant, who=suspended) == "member_suspended"
    first.call("POST", f"{member}/proposals", data={"action": "lift_suspension"}, if_match="*")
    second.call("POST", f"{member}/approvals", data={"action": "lift_suspension"}, if_match="*")
    assert case.reads(warrant, who=suspended) == "warrant_not_in_force"
    assert case.approve(first, waiting, **named) == "state_conflict"


def test_it_may_be_asked_for_thirty_days_at_most(case: Case) -> None:
    start = datetime.now(UTC).replace(microsecond=0) + case.ahead()
    for days, outcome in ((29.9, "done"), (30.1, "validation_failed"), (-0.1, "validation_failed")):
        ends_at = (start + timedelta(days=days)).isoformat().replace("+00:00", "Z")
        assert attempt(case.regulator, "POST", "/v1/warrants", {**case.terms, "ends_at": ends_at}) == outcome


# Attacks


def test_nobody_else_reads_by_it_or_learns_of_it(case: Case) -> None:
    warrant = case.in_force()
    for what in ("records", "inquiries"):
        assert case.reads(warrant, what, case.other) == "not_found"
        for nobody in (case.furnisher, case.service.desk[0]):
            assert case.reads(warrant, what, nobody) == "role_forbidden"
    assert attempt(case.other, "GET", f"/v1/warrants/{warrant}") == "not_found"
    assert warrant not in {one["warrant_id"] for one in case.other.pages("/v1/warrants")}
    assert warrant in {one["warrant_id"] for one in case.third.pages("/v1/warrants")}
    assert attempt(case.furnisher, "GET", f"/v1/warrants/{warrant}") == "role_forbidden"


def test_guessing_ids_finds_nothing_and_looks_the_same(case: Case) -> None:
    erased = case.record
    erase(case.service, erased, whole_borrower=True)
    case.begin()
    guesses = [
        f"rec_{NOWHERE}",
        f"rec_{case.record.removeprefix('rec_')[:-1]}{'0' if case.record[-1] != '0' else '1'}",
        f"qry_{case.record.removeprefix('rec_')}",
        f"mem_{case.furnisher.session.signer.member_id.removeprefix('mem_')}",
        case.record.upper(),
        case.borrower,
        "rec_",
        erased,
    ]
    seen = []
    for guess in guesses:
        body = {**case.terms, "named": guess}
        seen.append(look(case.regulator.send(case.regulator.sign("POST", "/v1/warrants", data=body))))
    assert {one[0] for one in seen} == {404}
    assert all(one == seen[0] for one in seen)


@pytest.mark.parametrize("prefix", ["record", "query", "consent"])
def test_a_warrant_for_one_borrower_is_not_turned_to_another(case: Case, prefix: str) -> None:
    """An administrator of the database bends the index by which an id leads to its borrower, while it is asked for."""
    named = str(getattr(case, prefix))
    case.begin()
    other = str(getattr(case, prefix))
    bend = f"UPDATE {prefix}_lookup SET subject_id = %s WHERE {prefix}_id = %s"  # noqa: S608  names of ours
    leads = f"SELECT subject_id FROM {prefix}_lookup WHERE {prefix}_id = %s"  # noqa: S608  names of ours
    with case.service.superuser() as database:
        ids = [one.partition("_")[2] for one in (named, other)]
        own, others = (database.execute(leads.encode(), [one]).fetchone() for one in ids)
        assert own
        assert others
        database.execute(bend.encode(), [others[0], ids[0]])
        refused = attempt(case.regulator, "POST", "/v1/warrants", {**case.terms, "named": named})
        database.execute(bend.encode(), [own[0], ids[0]])
    assert refused == "internal_error"
    assert attempt(case.regulator, "POST", "/v1/warrants", {**case.terms, "named": named}) == "done"


def test_an_erased_record_names_nobody_though_its_borrower_is_there(case: Case) -> None:
    warrant = case.in_force()
    erase(case.service, case.record)
    assert attempt(case.regulator, "POST", "/v1/warrants", case.terms) == "not_found"
    assert attempt(case.regulator, "POST", "/v1/warrants", {**case.terms, "named": case.consent}) == "done"
    assert case.regulator.call("GET", f"/v1/warrants/{warrant}/records").data["records"] == []
    (asked,) = case.regulator.call("GET", f"/v1/warrants/{warrant}/inquiries").data["inquiries"]
    assert (asked["lender"]["name"], asked["purpose"]) == ("Asking Bank", None)  # what was told is emptied with it


def test_of_an_erased_borrower_nothing_is_left_to_read_but_that_there_was_a_warrant(case: Case) -> None:
    warrant, waiting = case.in_force(), case.ask()
    erase(case.service, case.record, whole_borrower=True)
    assert case.reads(warrant) == "erased"
    assert attempt(case.regulator, "GET", f"/v1/warrants/{warrant}") == "erased"
    assert case.approve(case.third, waiting) == "erased"
    assert case.reads(warrant, who=case.other) == "not_found"
    (listed,) = (one for one in case.third.pages("/v1/warrants") if one["warrant_id"] == warrant)
    assert (listed["status"], listed["regulator_id"]) == ("active", case.regulator_id)
    assert attempt(case.third, "POST", f"/v1/warrants/{warrant}/revocation", {"reason": "erased"}) == "done"


@pytest.mark.parametrize(
    "edit",
    [
        "state = 'active'",
        "ends_at = ends_at + interval '300 days'",
        "regulator_id = (SELECT member_id FROM member WHERE name = 'Other regulator')",
        "sealed = (SELECT sealed FROM warrant w WHERE w.warrant_id <> warrant.warrant_id LIMIT 1)",
        "subject_id = (SELECT subject_id FROM subject s WHERE s.subject_id <> warrant.subject_id LIMIT 1)",
    ],
    ids=["approved", "longer", "another's", "other terms", "another borrower"],
)
def test_a_row_edited_in_the_database_gives_nothing(case: Case, edit: str) -> None:
    case.ask()
    warrant = case.ask() if edit.startswith("state") else case.in_force()
    row = UUID(warrant.removeprefix("wrt_"))
    with case.service.superuser() as database:
        kept = database.execute("SELECT * FROM warrant WHERE warrant_id = %s", [row]).fetchone()
        assert kept is not None
        database.execute(f"UPDATE warrant SET {edit} WHERE warrant_id = %s".encode(), [row])  # noqa: S608  a case of this test
        edited = database.execute("SELECT * FROM warrant WHERE warrant_id = %s", [row]).fetchone()
        assert edited != kept
    try:
        for who in (case.regulator, case.other):
            assert case.reads(warrant, who=who) in {"internal_error", "not_found"}
        assert f"warrant:{row}" in command(case.service, "seals", "check", "--data", str(case.service.folder)).stdout
    finally:
        with case.service.superuser() as database:
            database.execute("DELETE FROM warrant WHERE warrant_id = %s", [row])
            database.execute(f"INSERT INTO warrant VALUES ({', '.join(['%s'] * len(kept))})".encode(), kept)  # noqa: S608  placeholders
    assert case.reads(warrant) == ("warrant_not_in_force" if edit.startswith("state") else "done")


def test_an_approval_written_into_the_database_counts_for_nobody(case: Case) -> None:
    warrant = case.ask()
    first, second = case.service.desk
    with case.service.superuser() as database:
        database.execute(
            "UPDATE proposal SET approved_by = %s WHERE about = %s",
            [json.dumps([first.session.signer.member_id.removeprefix("mem_")]), warrant.removeprefix("wrt_")],
        )
    assert case.approve(second, warrant) == "state_conflict"
    assert case.reads(warrant) == "warrant_not_in_force"


def test_what_it_says_is_in_no_dump(case: Case) -> None:
    marked = base64.b32encode(uuid4().bytes).decode()
    warrant = case.in_force(reference=f"order {marked}", reason=f"because {marked}")
    assert case.reads(warrant) == "done"
    with case.service.superuser() as database:
        tables = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            found = database.execute(
                f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s".encode(),  # noqa: S608  the catalogue's names
                [f"%{marked}%"],
            ).fetchone()
            assert found == (0,), table


def test_waiting_requests_are_bounded(case: Case) -> None:
    flooder = case.service.admit("Flooder", role="regulator", region="US")
    asked = [attempt(flooder, "POST", "/v1/warrants", case.terms) for _ in range(21)]
    assert asked == ["done"] * 20 + ["state_conflict"]


# The commands


def test_the_commands_ask_approve_read_and_revoke(case: Case, tmp_path: Path) -> None:
    identity = case.regulator.identity
    assert identity is not None
    regulator = tmp_path / "regulator.jwk.json"
    regulator.write_text(json.dumps({**identity.key.private_jwk(), "creditshare_member_id": identity.member_id}))
    regulator.chmod(0o600)
    keys = [case.service.write_key(number, tmp_path / f"operator-{number}.jwk.json") for number in (0, 1)]

    def run(key: Path, *words: str) -> Any:
        done = command(case.service, "warrant", *words, "--as", str(key), "--url", case.service.url)
        return done.returncode, done.stdout

    days = str(case.ahead().days + 5)  # the command counts from the machine's day, the service from its business day
    basis = ("--legal-basis", "court_order", "--reference", "2026-CV-17", "--reason", "pledges")
    status, asked = run(regulator, "request", case.query, *basis, "--days", days)
    assert status == 0, asked
    warrant = asked.split()[0]
    assert run(keys[0], "approve", warrant, "--reference", "2026-CV-18")[0] == 1
    for key in keys:
        assert run(key, "approve", warrant, "--reference", "2026-CV-17")[0] == 0
    assert f"{warrant}  active" in run(keys[0], "list")[1]
    assert "2026-CV-17" in run(regulator, "show", warrant)[1]
    told = run(regulator, "read", warrant)[1]
    assert "Furnishing Bank" in told
    assert "outstanding_principal 98000.00" in told
    assert "Asking Bank  pre_loan" in run(regulator, "read", warrant, "--inquiries")[1]
    assert run(keys[1], "revoke", warrant, "--reason", "order lifted") == (0, f"{warrant} is revoked\n")
    assert run(regulator, "read", warrant)[0] == 1
