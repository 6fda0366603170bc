"""An erasure's life over real sockets: asked for, approved by another, carried out; and who cannot bring one about."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from tests.fixtures.attack import attempt, grant
from tests.fixtures.erasures import carry_out, erase, order
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, record_body, running_service

from creditshare.audit.openings import Act, check_openings
from creditshare.cli.demo.story import synthetic_uscc
from creditshare.client.bank import Client
from creditshare.keys.tombstones import Tombstones
from creditshare.storage.embedded import EmbeddedPostgres

SOURCE = random.Random("erasures")  # noqa: S311  synthetic borrowers, not secrets
BORROWER, UNREPORTED = "91999999DEM000022B", "91999999DEM000014G"


class Case:
    """A lender with two records of one borrower and a consent of another, a regulator, and the two operators."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        self.first, self.second = service.desk
        self.lender = service.admit("Lender", region="US")
        self.regulator = service.admit("Regulator", role="regulator", region="US")
        self.record = self.other = ""

    def begin(self) -> None:
        (subject,) = self.lender.tokenise([BORROWER])
        account = str(datetime.now(UTC).timestamp())
        self.record, self.other = (
            str(
                self.lender.call("POST", "/v1/records", data=record_body(subject, f"{account}-{one}")).data["record_id"]
            )
            for one in (1, 2)
        )

    def terms(self, **changes: Any) -> dict[str, Any]:
        told = {"named": self.record, "whole_borrower": False, "legal_basis": "unlawful", "reason": "same name"}
        return {**told, **changes}

    def ask(self, **changes: Any) -> str:
        return str(self.first.call("POST", "/v1/erasures", data=self.terms(**changes)).data["erasure_id"])

    def approve(self, who: Client, erasure: str, **changes: Any) -> str:
        return attempt(who, "POST", f"/v1/erasures/{erasure}/approvals", self.terms(**changes))

    def show(self, erasure: str) -> dict[str, Any]:
        found: dict[str, Any] = self.first.call("GET", f"/v1/erasures/{erasure}").data
        return found

    def state_of(self, record: str) -> str:
        return attempt(self.lender, "GET", f"/v1/records/{record}")


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres, template: str) -> Iterator[Case]:
    with running_service(postgres, template) as service:
        yield Case(service)


@pytest.fixture
def case(shared: Case) -> Case:
    shared.begin()
    return shared


def test_a_record_goes_once_another_operator_approved_and_the_eraser_ran(case: Case) -> None:
    asked = case.ask()
    assert case.show(asked)["status"] == "requested"
    assert json.loads(carry_out(case.service, "--json").stdout)["erased"] == []
    assert case.state_of(case.record) == "done"
    assert case.approve(case.second, asked) == "done"
    assert (case.show(asked)["status"], case.state_of(case.record)) == ("approved", "done")

    only_said = command(case.service, "erase", "carry-out", "--data", str(case.service.folder))
    assert only_said.returncode == 1
    assert case.record in only_said.stderr
    assert case.state_of(case.record) == "done"

    (done,) = json.loads(carry_out(case.service, "--json").stdout)["erased"]
    assert (done["erasure_id"], done["named"], done["reason"]) == (asked, case.record, "same name")
    assert (case.state_of(case.record), case.state_of(case.other)) == ("erased", "done")
    told = case.show(asked)
    assert (told["status"], told["requested_by"], told["decided_by"]) == (
        "carried_out",
        case.first.session.signer.member_id,
        case.second.session.signer.member_id,
    )
    assert told["carried_out_at"] > told["decided_at"] > told["requested_at"]
    assert json.loads(carry_out(case.service, "--json").stdout)["erased"] == []


def test_the_log_says_by_which_order_it_was_done_when_all_else_is_gone(case: Case) -> None:
    asked = case.ask(whole_borrower=True)
    assert case.approve(case.second, asked, whole_borrower=True) == "done"
    assert carry_out(case.service).returncode == 0
    said = {(one.action, *one.references.items()) for one in acts(case.service)}
    assert {
        ("request_erasure", ("record_id", case.record)),
        ("approve_erasure", ("record_id", case.record)),
        ("erase_borrower", ("proposal_id", asked)),
    } <= said


def acts(service: RunningService) -> list[Act]:
    """Return what events say that are under no borrower's key."""
    found: list[Act] = []

    async def no_keys(_: object) -> dict[UUID, None]:
        return {}

    async def read() -> None:
        async with service.services.database.reading() as session:
            keeper = service.services.audit.opening_box
            nothing = partial(lambda *_: None)
            await check_openings(
                session, keeper=keeper, keys_of=no_keys, tell=nothing, told=found.append, progress=nothing
            )

    service.run(read())
    return found


def test_nobody_brings_one_about_alone(case: Case) -> None:
    asked = case.ask()
    assert case.approve(case.first, asked) == "role_forbidden"
    for other in (case.lender, case.regulator):
        assert case.approve(other, asked) == "role_forbidden"
        assert attempt(other, "POST", "/v1/erasures", case.terms()) == "role_forbidden"
    path = f"/v1/members/{case.lender.session.signer.member_id}/approvals"
    assert attempt(case.second, "POST", path, {"action": "erase_record"}, if_match="*") == "validation_failed"
    assert case.show(asked)["status"] == "requested"


@pytest.mark.parametrize(
    "changes",
    [{"whole_borrower": True}, {"legal_basis": "legal_duty"}, {"reason": "another"}, {"named": "other"}],
    ids=lambda changes: next(iter(changes)),
)
def test_an_approval_won_for_one_thing_erases_nothing_else(case: Case, changes: dict[str, Any]) -> None:
    asked = case.ask()
    changed = {"named": case.other} if "named" in changes else changes
    assert case.approve(case.second, asked, **changed) == "validation_failed"
    assert case.show(asked)["status"] == "requested"


def test_two_requests_about_one_record_are_approved_each_by_its_own_id(case: Case) -> None:
    first, second = case.ask(reason="one"), case.ask(reason="two")
    assert case.approve(case.second, first, reason="two") == "validation_failed"
    assert case.approve(case.second, first, reason="one") == "done"
    assert case.show(second)["status"] == "lapsed"  # what was asked for is ordered; the other has ended


def test_none_is_approved_after_its_time_or_its_rejection(case: Case) -> None:
    late, rejected, withdrawn = case.ask(reason="late"), case.ask(reason="rejected"), case.ask(reason="withdrawn")
    for who, asked in ((case.second, rejected), (case.first, withdrawn)):
        assert attempt(who, "POST", f"/v1/proposals/{asked}/rejection", {"reason": "no ground"}) == "done"
    assert case.approve(case.second, rejected, reason="rejected") == "state_conflict"
    assert case.approve(case.second, withdrawn, reason="withdrawn") == "state_conflict"
    case.service.advance(days=15)
    assert case.approve(case.second, late, reason="late") == "state_conflict"
    assert [case.show(one)["status"] for one in (late, rejected, withdrawn)] == ["lapsed", "rejected", "withdrawn"]


@pytest.mark.parametrize("by", ["who asked", "who approved", "the other"])
def test_an_order_is_stopped_by_one_person_until_it_is_carried_out(case: Case, by: str) -> None:
    asked = case.ask()
    assert case.approve(case.second, asked) == "done"
    third = case.service.admit("Third operator", role="operator") if by == "the other" else None
    who = third or (case.first if by == "who asked" else case.second)
    path, body = f"/v1/proposals/{asked}/rejection", {"reason": "a court wants it kept"}
    assert attempt(case.lender, "POST", path, body) == "role_forbidden"
    assert attempt(who, "POST", path, body) == "done"
    erased = json.loads(carry_out(case.service, "--json").stdout)["erased"]
    assert asked not in {one["erasure_id"] for one in erased}
    assert (case.show(asked)["status"], case.state_of(case.record)) == (
        "withdrawn" if by == "who asked" else "rejected",
        "done",
    )
    assert case.approve(case.second, asked) == "state_conflict"
    again = order(case.service, case.record)
    assert carry_out(case.service).returncode == 0
    assert attempt(who, "POST", f"/v1/proposals/{again}/rejection", body) == "state_conflict"
    assert case.state_of(case.record) == "erased"


def test_a_borrower_that_nobody_reported_goes_by_its_consent(case: Case) -> None:
    (subject,) = case.lender.tokenise([UNREPORTED])
    consent = grant(case.lender, subject)
    assert attempt(case.first, "POST", "/v1/erasures", case.terms(named=consent)) == "validation_failed"
    erase(case.service, consent, whole_borrower=True)
    assert attempt(case.lender, "GET", f"/v1/consents/{consent}") == "erased"


def test_what_is_gone_or_was_never_there_is_told_apart_and_a_reason_names_nobody(case: Case) -> None:
    erase(case.service, case.record)
    for named, code in (
        (case.record, "erased"),
        ("rec_01900000-0000-7000-8000-000000000000", "not_found"),
        ("qry_01900000-0000-7000-8000-000000000000", "not_found"),
        ("rec_" + "0" * 36, "not_found"),
    ):
        assert attempt(case.first, "POST", "/v1/erasures", case.terms(named=named)) == code
    by_name = case.terms(named=case.other, reason=BORROWER)
    assert attempt(case.first, "POST", "/v1/erasures", by_name) == "validation_failed"


def test_an_order_whose_borrower_went_by_another_one_is_left_for_a_person(case: Case) -> None:
    whole, record = order(case.service, case.record, whole_borrower=True), order(case.service, case.record)
    done = carry_out(case.service, "--json")
    told = json.loads(done.stdout)
    assert whole in {one["erasure_id"] for one in told["erased"]}
    assert done.returncode == 1
    assert [(one["erasure_id"], one["why"]) for one in told["left"]] == [(record, "gone")]
    assert [case.show(one)["status"] for one in (whole, record)] == ["carried_out", "approved"]
    path = f"/v1/proposals/{record}/rejection"
    assert attempt(case.first, "POST", path, {"reason": "gone with its borrower"}) == "done"
    assert json.loads(carry_out(case.service, "--json").stdout) == {"erased": [], "left": []}


@pytest.mark.parametrize("whole_borrower", [True, False])
def test_an_order_for_one_borrower_is_not_turned_to_another(case: Case, *, whole_borrower: bool) -> None:
    """An administrator of the database bends the index by which an id leads to its borrower, for a moment."""
    (subject,) = case.lender.tokenise([synthetic_uscc(SOURCE)])
    other = str(case.lender.call("POST", "/v1/records", data=record_body(subject, uuid4().hex)).data["record_id"])
    asked = order(case.service, case.record, whole_borrower=whole_borrower)
    bend = "UPDATE record_lookup SET subject_id = (SELECT subject_id FROM record_current WHERE record_id = %s)"
    with case.service.superuser() as database:
        ids = [one.removeprefix("rec_") for one in (other, case.record)]
        database.execute(f"{bend} WHERE record_id = %s", ids)
        done = carry_out(case.service)
        database.execute(f"{bend} WHERE record_id = %s", [ids[1], ids[1]])
    assert done.returncode != 0
    assert "no such record" in done.stderr
    assert (case.state_of(other), case.state_of(case.record)) == ("done", "done")
    assert case.show(asked)["status"] == "approved"
    assert carry_out(case.service).returncode == 0
    assert (case.state_of(other), case.state_of(case.record)) == ("done", "erased")


@pytest.mark.parametrize("suspended", ["who asked", "who approved"])
def test_the_word_of_a_suspended_operator_erases_nothing(case: Case, suspended: str) -> None:
    third = case.service.admit("Third operator", role="operator")
    asking, approving = (third, case.second) if suspended == "who asked" else (case.first, third)
    asked = str(asking.call("POST", "/v1/erasures", data=case.terms()).data["erasure_id"])
    assert case.approve(approving, asked) == "done"
    path = f"/v1/members/{third.session.signer.member_id}/suspension"
    assert attempt(case.first, "POST", path, {"reason": "stolen key"}) == "done"
    done = carry_out(case.service)
    assert done.returncode == 1
    assert f"left: {asked}" in done.stderr
    assert (case.show(asked)["status"], case.state_of(case.record)) == ("approved", "done")
    assert attempt(case.second, "POST", f"/v1/proposals/{asked}/rejection", {"reason": "stolen key"}) == "done"


def test_an_order_is_stopped_while_it_is_carried_out_or_carried_out_without_a_deadlock(case: Case) -> None:
    asked = order(case.service, case.record)
    path = f"/v1/proposals/{asked}/rejection"
    with ThreadPoolExecutor() as pool:
        carrying = pool.submit(carry_out, case.service)
        stopped = attempt(case.first, "POST", path, {"reason": "a court wants it kept"})
        done = carrying.result()
    assert done.returncode == 0, done.stderr
    outcome = (stopped, case.show(asked)["status"], case.state_of(case.record))
    assert outcome in {("done", "withdrawn", "done"), ("state_conflict", "carried_out", "erased")}


def test_the_eraser_believes_no_order_that_does_not_bear_its_seal(case: Case) -> None:
    """An administrator of the database approves what one operator asked for."""
    asked = case.ask()
    with case.service.superuser() as database:
        forged = "UPDATE proposal SET decision = 'approved', decided_by = gen_random_uuid(), decided_at = now()"
        database.execute(f"{forged} WHERE proposal_id = %s", [asked.removeprefix("prp_")])
        before = Tombstones(case.service.settings.tombstones_path).read()
        done = carry_out(case.service)
        assert done.returncode != 0
        assert "proposal does not match its seal" in done.stderr
        assert Tombstones(case.service.settings.tombstones_path).read() == before
        assert case.state_of(case.record) == "done"
        database.execute("DELETE FROM proposal WHERE proposal_id = %s", [asked.removeprefix("prp_")])


def test_a_folder_without_a_service_is_refused_and_left_empty(case: Case, tmp_path: Path) -> None:
    done = command(case.service, "erase", "carry-out", "--yes", "--data", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "no service in" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_the_service_cannot_erase_and_the_eraser_cannot_order(case: Case) -> None:
    asked = case.ask().removeprefix("prp_")
    with psycopg.connect(_plain(case, "app"), autocommit=True) as app:
        app.execute("SET ROLE creditshare_app")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("DELETE FROM record_secret")
    with psycopg.connect(_plain(case, "eraser"), autocommit=True) as eraser:
        eraser.execute("SET ROLE creditshare_eraser")
        for change in ("decision = 'approved'", "decided_by = gen_random_uuid()", "kind = 'erase_borrower'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                eraser.execute(f"UPDATE proposal SET {change} WHERE proposal_id = %s", [asked])  # noqa: S608  ours


def _plain(case: Case, role: str) -> str:
    return case.service.postgres.url(role, case.service.database).replace("postgresql+psycopg", "postgresql")


def test_the_whole_of_it_by_commands(case: Case, tmp_path: Any) -> None:
    files = [tmp_path / f"operator-{number}.jwk.json" for number in (1, 2)]
    for number, file in enumerate(files):
        case.service.write_key(number, file)
    at = ("--url", case.service.url, "--json")

    def run(*words: str, operator: int = 0, code: int = 0) -> dict[str, Any]:
        done = command(case.service, "erase", *words, "--as", str(files[operator]), *at)
        assert done.returncode == code, done.stderr
        return dict(json.loads(done.stdout)) if done.stdout else {"told": done.stderr}

    why = ("--legal-basis", "consent_withdrawn", "--reason", "asked for by the borrower")
    asked = run("request", case.record, *why)["erasure_id"]
    gone = run("request", case.other, *why)["erasure_id"]
    assert "role_forbidden" in run("approve", asked, "--yes", code=1)["told"]
    assert "repeat with --yes" in run("approve", asked, operator=1, code=2)["told"]
    assert run("approve", asked, "--yes", operator=1)["status"] == "approved"
    assert run("reject", gone, "--reason", "another company", operator=1)["decision"] == "rejected"
    listed = {one["erasure_id"]: one["status"] for one in run("list")["data"]}
    assert (listed[asked], listed[gone]) == ("approved", "rejected")
    told = carry_out(case.service)
    assert (told.returncode, told.stdout.splitlines()[0]) == (0, "erased:")
    assert asked in told.stdout
    assert (case.state_of(case.record), case.state_of(case.other)) == ("erased", "done")
