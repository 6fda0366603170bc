"""What takes two people, through pages: each kind with its proposal, its end, its second person and its evidence."""

import json
import random
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import pytest
from tests.fixtures.attack import grant
from tests.fixtures.authenticator import Authenticator
from tests.fixtures.pages import (
    OPENED,
    Person,
    Visitor,
    challenge_on,
    challenge_shown,
    fields_of,
    origin_of,
    problem,
    words_of,
)
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, record_body, running_service, wait_for
from typer.main import get_command

from creditshare.cli import app
from creditshare.cli.demo.story import synthetic_uscc
from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.console.confirming import ACTIONS
from creditshare.crypto.jws import SigningKey
from creditshare.erasures.rules import KINDS as ERASURES
from creditshare.members.service import ProposalAction
from creditshare.storage.embedded import EmbeddedPostgres

pytestmark = pytest.mark.slow

SOURCE = random.Random("second person")  # noqa: S311  synthetic borrowers, not secrets
AFTER_ITS_TIME = 15.0
"""Days: a proposal is open for fourteen."""
OUTSTANDING = "98000.00"


@dataclass
class Stage:
    """A service with two operators and a regulator who change what they change on pages, and two lenders."""

    service: RunningService
    first: Person
    second: Person
    supervisor: Person
    furnisher: Client
    asker: Client
    keys: dict[str, str] = field(default_factory=dict)

    def member(self, member_id: str) -> dict[str, Any]:
        return dict(self.first.client.call("GET", f"/v1/members/{member_id}").data)

    def today(self) -> datetime:
        with self.service.superuser() as database:
            row = database.execute("SELECT ahead_s FROM business_clock").fetchone()
        assert row is not None
        return datetime.now(UTC) + timedelta(seconds=row[0])

    def borrower(self) -> tuple[str, str]:
        """Have one lender report a default of another borrower and one ask; return the ids of both."""
        (subject,) = self.furnisher.tokenise([name := synthetic_uscc(SOURCE)])
        record = self.furnisher.call("POST", "/v1/records", data=record_body(subject, uuid4().hex)).data["record_id"]
        assert self.asker.identity is not None
        asker = self.service.client(self.asker.identity)  # a client learns the service's time once
        (subject,) = asker.tokenise([name])
        asked = asker.query(subject, purpose="pre_loan", consent_id=grant(asker, subject))
        return str(record), str(asked.data["query_id"])

    def request(self, record: str, **changes: str) -> dict[str, str]:
        """Return the form by which the regulator asks for a warrant."""
        return {
            "named": record,
            "legal_basis": "court_order",
            "reference": "2026-CV-17",
            "reason": "double pledging",
            "scope_records": "yes",
            "scope_inquiries": "yes",
            "ends_on": (self.today() + timedelta(days=10)).date().isoformat(),
            **changes,
        }

    def proposal(self, about: str, kind: str) -> str:
        """Return the newest open proposal of a kind about something."""
        found = self.first.client.pages("/v1/proposals")
        return str(next(one["proposal_id"] for one in found if (one["about"], one["action"]) == (about, kind)))


@pytest.fixture(scope="module")
def stage(postgres: EmbeddedPostgres, template: str) -> Iterator[Stage]:
    with running_service(postgres, template) as service:
        first, second = service.desk
        regulator = service.admit("Supervisor", role="regulator", region="US")
        yield Stage(
            service,
            first=Person(service, first),
            second=Person(service, second),
            supervisor=Person(service, regulator),
            furnisher=service.admit("Furnishing Bank", region="US"),
            asker=service.admit("Asking Bank", region="US"),
        )
        while OPENED:
            OPENED.pop().close()


# Each kind that takes a second person


@dataclass(frozen=True)
class Act:
    """A kind of proposal: what it begins from, how it is proposed, what is so once it is approved."""

    begins: Callable[[Stage], str]
    proposes: Callable[[Stage, str], None]
    holds: Callable[[Stage, str], bool]
    approval: str = "approve_member"
    too_late: str = "precondition_failed"
    """What an approval is told that was shown in time and signed later."""


def lender(stage: Stage) -> str:
    return str(stage.service.admit("Lender of an act").session.signer.member_id)


def limited(stage: Stage) -> str:
    stage.first.does("limit_member", member_id=(named := lender(stage)), reason="review")
    return named


def suspended(stage: Stage) -> str:
    stage.first.does("suspend_member", member_id=(named := lender(stage)), reason="review")
    return named


def applicant(stage: Stage) -> str:
    done = stage.first.does("propose_member", name="Applicant", role="lender", region="CN")
    named = done.partition('href="/console/desk/members/mem_')[2].partition('"')[0]
    stage.first.does("reject_proposal", proposal_id=stage.proposal(f"mem_{named}", "admission"), reason="typing_error")
    return f"mem_{named}"


def changed(change: str, **form: str) -> Callable[[Stage, str], None]:
    def propose(stage: Stage, named: str) -> None:
        stage.first.does("propose_change", member_id=named, change=change, **form)

    return propose


def enough_quotas(stage: Stage, named: str) -> None:
    stage.first.does("propose_quotas", member_id=named, queries_per_day="1,234")


def further_key(stage: Stage, named: str) -> None:
    """Have the first operator's key register another one; that is a signed request, which no page makes."""
    key = SigningKey.generate()
    stage.first.client.keys.register(key)
    stage.keys[named] = key.kid


def key_signs(stage: Stage, named: str) -> bool:
    found = stage.first.client.pages(f"/v1/members/{named}/keys")
    (one,) = (key for key in found if key["kid"] == stage.keys[named])
    return bool(one["status"] == "active")


def in_state(status: str) -> Callable[[Stage, str], bool]:
    return lambda stage, named: stage.member(named)["status"] == status


def has_a_code(stage: Stage, named: str) -> bool:
    with stage.service.superuser() as database:
        bare = named.removeprefix("mem_")
        found = database.execute("SELECT used_at IS NULL FROM enrolment WHERE member_id = %s", [bare]).fetchone()
    return found == (True,)


def consent(stage: Stage) -> str:
    assert stage.asker.identity is not None
    asker = stage.service.client(stage.asker.identity)
    (subject,) = asker.tokenise([synthetic_uscc(SOURCE)])
    return grant(asker, subject)


def erasure(**form: str) -> Callable[[Stage, str], None]:
    def propose(stage: Stage, named: str) -> None:
        stage.first.does("request_erasure", named=named, legal_basis="unlawful", reason="same name", **form)

    return propose


def ordered(stage: Stage, named: str) -> bool:
    found = [one for one in stage.first.client.pages("/v1/erasures") if one["named"] == named]
    return any(one["status"] == "approved" for one in found)


def of_erasure(begins: Callable[[Stage], str], **form: str) -> Act:
    return Act(begins, erasure(**form), ordered, "approve_erasure", "state_conflict")


ACTS: dict[str, Act] = {
    "admission": Act(applicant, changed("admission"), in_state("certified")),
    "quotas": Act(lender, enough_quotas, lambda stage, named: stage.member(named)["queries_per_day"] == 1234),
    "lift_suspension": Act(suspended, changed("lift_suspension"), in_state("active")),
    "lift_limitation": Act(limited, changed("lift_limitation"), in_state("active")),
    "recovery": Act(lender, changed("recovery", key_thumbprint="A" * 43), has_a_code),
    "jurisdictions": Act(
        lender,
        changed("jurisdictions", jurisdictions="us, cn"),
        lambda stage, named: stage.member(named)["jurisdictions"] == ["CN", "US"],
    ),
    "termination": Act(lender, changed("termination"), in_state("terminated")),
    "key": Act(lambda stage: stage.first.member_id, further_key, key_signs),
    "erase_record": of_erasure(lambda stage: stage.borrower()[0]),
    "erase_borrower": of_erasure(lambda stage: stage.borrower()[0], whole_borrower="yes"),
    "erase_consenting_borrower": of_erasure(consent, whole_borrower="yes"),
}


def test_each_kind_but_a_warrant_is_an_act_here() -> None:
    assert {*get_args(ProposalAction), *ERASURES} == {*ACTS}


@pytest.mark.parametrize("kind", ACTS)
def test_one_proposes_another_approves(stage: Stage, kind: str) -> None:
    act = ACTS[kind]
    named = act.begins(stage)
    act.proposes(stage, named)
    waiting = stage.proposal(named, kind)
    assert not act.holds(stage, named)
    assert stage.first.attempt(act.approval, proposal_id=waiting) == "role_forbidden"
    assert stage.supervisor.attempt(act.approval, proposal_id=waiting) == "not_found"
    # What was looked at in time is signed too late.
    shown = stage.second.visitor.post(f"/console/confirm/{act.approval}", {"proposal_id": waiting})
    stage.service.advance(days=AFTER_ITS_TIME)
    refused = stage.second.sign(challenge_shown(shown.text))
    assert problem(refused) == act.too_late, words_of(refused.text)
    assert stage.second.attempt(act.approval, proposal_id=waiting) == "confirmation_ended"
    assert not act.holds(stage, named)
    # Proposed anew, it is approved in time by another.
    act.proposes(stage, named)
    waiting = stage.proposal(named, kind)
    stage.second.does(act.approval, proposal_id=waiting)
    assert act.holds(stage, named)
    said = stage.second.evidence(act.approval, waiting)
    assert (said.by, said.object, said.terms["proposal_id"]) == (stage.second.member_id, named, waiting)
    assert stage.second.attempt(act.approval, proposal_id=waiting) == "confirmation_ended"


@pytest.mark.parametrize("kind", ["quotas", "erase_record", "warrant"])
def test_a_rejected_proposal_is_approved_by_nobody(stage: Stage, kind: str) -> None:
    if kind == "warrant":
        about = asked_for(stage, stage.borrower()[0])
    else:
        ACTS[kind].proposes(stage, about := ACTS[kind].begins(stage))
    waiting = stage.proposal(about, kind)
    done = stage.second.does("reject_proposal", proposal_id=waiting, reason="not_needed")
    assert stage.second.attempt("reject_proposal", proposal_id=waiting, reason="again") == "confirmation_ended"
    assert stage.second.evidence("reject_proposal", waiting).object == about
    if kind == "warrant":
        assert "Rejected" in words_of(done)
        assert stage.first.attempt("approve_warrant", warrant_id=about, reference="2026-CV-17") == "state_conflict"
    else:
        assert stage.first.attempt(ACTS[kind].approval, proposal_id=waiting) == "confirmation_ended"


# Warrants


def asked_for(stage: Stage, record: str, **changes: str) -> str:
    """Have the regulator ask for a warrant on its page, and return its id."""
    done = stage.supervisor.does("request_warrant", **stage.request(record, **changes))
    return "wrt_" + done.partition('href="/console/warrants/wrt_')[2].partition('"')[0]


def test_a_warrant_takes_a_regulator_and_two_operators(stage: Stage) -> None:
    record, query = stage.borrower()
    warrant = asked_for(stage, record)
    reads = f"/console/warrants/{warrant}/records"
    assert problem(stage.supervisor.visitor.get(reads)) == "warrant_not_in_force"
    assert "Waits for approval" in stage.first.sees(f"/console/warrants/{warrant}")
    assert stage.supervisor.attempt("approve_warrant", warrant_id=warrant, reference="2026-CV-17") == "not_found"
    assert stage.first.attempt("approve_warrant", warrant_id=warrant, reference="2026-CV-71") == "validation_failed"
    stage.first.does("approve_warrant", warrant_id=warrant, reference="2026-CV-17")
    assert stage.first.attempt("approve_warrant", warrant_id=warrant, reference="2026-CV-17") == "role_forbidden"
    assert "1 of 2 approved" in stage.second.sees("/console/desk")
    assert problem(stage.supervisor.visitor.get(reads)) == "warrant_not_in_force"
    stage.second.does("approve_warrant", warrant_id=warrant, reference="2026-CV-17")
    for who, action in ((stage.supervisor, "request_warrant"), (stage.second, "approve_warrant")):
        said = who.evidence(action, record)
        assert (said.by, said.terms["named"], said.terms["scopes"]) == (who.member_id, record, ["inquiries", "records"])
    told = stage.supervisor.sees(reads)
    assert "Furnishing Bank" in told
    assert f"{float(OUTSTANDING):,.2f}" in told
    assert "Asking Bank" in stage.supervisor.sees(f"/console/warrants/{warrant}/inquiries")
    assert query not in stage.supervisor.sees(f"/console/warrants/{warrant}/inquiries")
    for what in ("records", "inquiries"):
        assert stage.first.visitor.get(f"/console/warrants/{warrant}/{what}").status_code == 404
    stage.first.does("revoke_warrant", warrant_id=warrant, reason="no_need")
    assert problem(stage.supervisor.visitor.get(reads)) == "warrant_not_in_force"
    assert stage.first.evidence("revoke_warrant", warrant).terms["reason"] == "no_need"


def test_the_number_of_an_order_is_not_shown_to_who_is_to_type_it_from_the_order(stage: Stage) -> None:
    number = "2026-CV-4711"
    warrant = asked_for(stage, stage.borrower()[0], reference=number)
    page = f"/console/warrants/{warrant}"

    def shown_to(person: Person) -> bool:
        return any(number in person.visitor.get(path).text for path in (page, "/console/warrants", "/console/desk"))

    assert [shown_to(one) for one in (stage.supervisor, stage.first, stage.second)] == [True, False, False]
    stage.first.does("approve_warrant", warrant_id=warrant, reference=number)
    assert [shown_to(one) for one in (stage.supervisor, stage.first, stage.second)] == [True, True, False]
    stage.second.does("approve_warrant", warrant_id=warrant, reference=number)
    assert shown_to(stage.second)


def test_each_look_under_a_warrant_is_an_event_about_the_borrower(stage: Stage) -> None:
    record, _ = stage.borrower()
    warrant = asked_for(stage, record)
    for who in (stage.first, stage.second):
        who.does("approve_warrant", warrant_id=warrant, reference="2026-CV-17")
    looks = {"show_warrant": "", "show_warrant_records": "/records", "show_warrant_inquiries": "/inquiries"}
    for path in looks.values():
        stage.supervisor.sees(f"/console/warrants/{warrant}{path}")
    with stage.service.superuser() as database:
        found = database.execute(
            "SELECT count(*) FROM audit_opening o JOIN warrant_lookup w USING (subject_id)"
            " WHERE o.grp = 'body' AND w.warrant_id = %s",
            [warrant.removeprefix("wrt_")],
        ).fetchone()
    # Reported, consented and asked by lenders; asked for, looked at twice and approved twice; looked at three times.
    assert found is not None
    assert found[0] >= 3 + 1 + 2 + 2 + 3
    told = stage.supervisor.sees("/console/reading")
    assert "Read a borrower's records" in told


def test_a_warrant_that_waited_too_long_is_approved_by_nobody(stage: Stage) -> None:
    warrant = asked_for(stage, stage.borrower()[0])
    shown = stage.first.visitor.post(
        "/console/confirm/approve_warrant", {"warrant_id": warrant, "reference": "2026-CV-17"}
    )
    stage.service.advance(days=AFTER_ITS_TIME)
    assert problem(stage.first.sign(challenge_shown(shown.text))) == "state_conflict"
    assert "Lapsed" in stage.supervisor.sees(f"/console/warrants/{warrant}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("named", "91999999DEM000006M"),
        ("reference", "91999999DEM000014G"),
        ("ends_on", "2020-01-01"),
        ("ends_on", "soon"),
        ("legal_basis", "curiosity"),
        ("scope_records", ""),
    ],
)
def test_what_may_not_be_asked_for_is_not_even_shown(stage: Stage, name: str, value: str) -> None:
    form = stage.request("rec_01900000-0000-7000-8000-000000000000", scope_inquiries="") | {name: value}
    refused = stage.supervisor.visitor.post("/console/confirm/request_warrant", form)
    assert refused.status_code == 422
    kept = fields_of(refused.text)
    assert {one: kept[one] for one in ("named", "reference", "reason", "ends_on")} == {
        one: form[one] for one in ("named", "reference", "reason", "ends_on")
    }
    assert challenge_shown(refused.text) == challenge_shown("")  # no document to sign


@pytest.mark.parametrize(("days", "said"), [(-1, "A time that lies ahead"), (31, "Further ahead than is said below")])
def test_an_end_that_may_not_be_is_named_with_the_limit(stage: Stage, days: int, said: str) -> None:
    ends_on = (stage.today() + timedelta(days=days)).date().isoformat()
    form = stage.request("rec_01900000-0000-7000-8000-000000000000", ends_on=ends_on)
    refused = stage.supervisor.visitor.post("/console/confirm/request_warrant", form)
    assert refused.status_code == 422
    assert f'value="{ends_on}" maxlength="10" autocomplete="off" spellcheck="false" required aria-invalid="true"' in (
        refused.text
    )
    assert f"{said} A day, such as 2026-12-31; it must lie ahead, by at most 30 days" in words_of(refused.text)


def test_an_id_of_nothing_is_learned_to_be_one_by_a_signed_try_alone(stage: Stage) -> None:
    unknown = stage.request("rec_01900000-0000-7000-8000-000000000000")
    assert stage.supervisor.visitor.post("/console/confirm/request_warrant", unknown).status_code == 200
    assert stage.supervisor.attempt("request_warrant", **unknown) == "not_found"


def test_another_regulator_sees_nothing_of_it(stage: Stage) -> None:
    warrant = asked_for(stage, stage.borrower()[0])
    other = Person(stage.service, stage.service.admit("Other regulator", role="regulator", region="US"))
    assert warrant not in other.visitor.get("/console/warrants").text
    for path in ("", "/records", "/inquiries"):
        assert other.visitor.get(f"/console/warrants/{warrant}{path}").status_code == 404


def test_of_two_proposals_of_a_kind_the_one_that_was_signed_is_carried_out(stage: Stage) -> None:
    """An admission that names no key is not turned into another one that names its proposer's."""
    done = stage.first.does("propose_member", name="Approved as shown", role="lender", region="CN")
    named = "mem_" + done.partition('href="/console/desk/members/mem_')[2].partition('"')[0]
    plain = stage.proposal(named, "admission")
    stage.first.does("propose_change", member_id=named, change="admission", key_thumbprint=SigningKey.generate().kid)
    admitted = stage.second.does("approve_member", proposal_id=plain)
    said = stage.second.evidence("approve_member", plain).terms
    assert (said["proposal_id"], said["action"], said["terms"]) == (plain, "admission", {})
    bank = stage.first.client.acting_for(Identity(named, SigningKey.generate(), "li"))
    stage.service.clients.append(bank)
    bank.enrol(unescape(admitted.partition('<code id="command">')[2].partition("<")[0]))
    assert stage.member(named)["status"] == "active"


# One story


def test_the_life_of_a_member_through_pages(stage: Stage) -> None:
    """From the application to the end of the membership; what is the institution's own, its key does."""
    first, second = stage.first, stage.second
    key = SigningKey.generate()
    contacts = {"contact_business": "Wu", "contact_technical": "ops@bank.example"}
    done = first.does(
        "propose_member", name="Riverside Bank", role="lender", region="US-CA", licence_no="L-7",
        key_thumbprint=key.kid, **contacts,
    )  # fmt: skip
    named = "mem_" + done.partition('href="/console/desk/members/mem_')[2].partition('"')[0]

    def stands(status: str) -> None:
        for person in (first, second):
            assert f"Riverside Bank {status} Lender" in person.sees(f"/console/desk/members/{named}")

    def agreed(change: str) -> str:
        first.does("propose_change", member_id=named, change=change)
        return second.does("approve_member", proposal_id=stage.proposal(named, change))

    stands("Applicant")
    second.does("begin_due_diligence", member_id=named, note="file 2026/41")
    stands("Due diligence")
    for person in (first, second):
        assert "file 2026/41 · Operator 2" in person.sees(f"/console/desk/members/{named}")
    shown = second.visitor.post("/console/confirm/approve_member", {"proposal_id": stage.proposal(named, "admission")})
    for told in ("Lender", "US-CA", "L-7", "business: Wu", "ops@bank.example", key.kid, "Proposed by Operator 1"):
        assert told in words_of(shown.text), told
    assert stage.member(named)["licence_no"] == "L-7"
    assert stage.member(named)["contacts"] == {"business": "Wu", "technical": "ops@bank.example"}
    for told in ("L-7", "business: Wu"):
        assert told in first.sees(f"/console/desk/members/{named}")
    admitted = second.does("approve_member", proposal_id=stage.proposal(named, "admission"))
    said = second.evidence("approve_member", named).terms
    assert said["as_it_stands"] == {
        "role": "lender", "region": "US-CA", "jurisdictions": ["US"], "state": "due_diligence", "licence_no": "L-7",
    }  # fmt: skip
    assert "contacts" not in json.dumps(said)
    code = unescape(admitted.partition('<code id="command">')[2].partition("<")[0])
    stands("Certified")
    bank = first.client.acting_for(Identity(named, key, "wu"))
    stage.service.clients.append(bank)
    bank.enrol(code)
    stands("Active")
    first.does("limit_member", member_id=named, reason="late_reports")
    stands("Limited")
    agreed("lift_limitation")
    stands("Active")
    second.does("suspend_member", member_id=named, reason="key_theft")
    stands("Suspended")
    agreed("lift_suspension")
    stands("Active")
    agreed("termination")
    stands("Terminated")
    assert first.attempt("suspend_member", member_id=named, reason="too_late") == "state_conflict"


def test_a_passkey_ends_with_the_key_that_signed_for_it_and_the_next_key_signs_for_the_next(
    stage: Stage, tmp_path: Path
) -> None:
    service, unknown = stage.service, stage.request("rec_01900000-0000-7000-8000-000000000000")
    client = service.admit("Rotating supervisor", role="regulator", region="US")
    person, old, new = Person(service, client), client.session.signer.key.kid, SigningKey.generate()
    client.keys.register(new)
    stage.second.does("approve_member", proposal_id=stage.proposal(person.member_id, "key"))
    ends = client.keys.retire(old).data["expires_at"]
    person.client = service.client(later := Identity(person.member_id, new, "li"))
    person.visitor = Visitor(service).sign_in(person.client)
    assert person.attempt("request_warrant", **unknown) == "not_found"  # confirmed: both keys are good for a while
    wait_for(lambda: ends[:10] in person.sees("/console/passkeys"))
    service.rewrite("UPDATE member_key SET expires_at = now() WHERE kid = %s", old)
    wait_for(lambda: "Expired" in person.sees("/console/passkeys"))
    assert person.attempt("request_warrant", **unknown) == "passkey_invalid"
    # The same authenticator may make the next one, for which the new key signs.
    page = person.visitor.get("/console/passkeys").text
    assert 'data-credentials=""' in page
    person.authenticator = Authenticator(origin_of(service))
    made = person.visitor.post("/console/passkeys", person.authenticator.make(challenge_on(page)) | {"label": "next"})
    digest = made.text.partition("console passkey ")[2].split()[0]
    file = tmp_path / "new.jwk.json"
    file.write_text(json.dumps(later.stored()))
    signed = command(service, "console", "passkey", digest, "--key", str(file), "--url", service.url)
    (key,) = (one for one in person.client.keys.list() if one["kid"] == new.kid)
    assert f"it ends with your key, at {key['expires_at'][:19]}" in signed.stdout, signed.stderr
    assert person.attempt("request_warrant", **unknown) == "not_found"


# The command beside each action

FORMS: dict[str, dict[str, str]] = {
    "propose_member": {
        "name": "A bank; rm -rf",
        "role": "lender",
        "region": "US-CA",
        "jurisdictions": "US CA",
        "key_thumbprint": "A" * 43,
        "licence_no": "L 7",
        "contact_technical": "ops@bank.example",
    },
    "begin_due_diligence": {"note": "file '41'"},
    "suspend_member": {"reason": "key_theft"},
    "limit_member": {"reason": "late reports"},
    "propose_change": {"change": "jurisdictions", "jurisdictions": "CN US"},
    "propose_quotas": {"queries_per_day": "5"},
    "approve_member": {},
    "reject_proposal": {"reason": "no need"},
    "request_warrant": {},
    "approve_warrant": {"reference": "2026-CV-17"},
    "revoke_warrant": {"reason": "no need"},
    "request_erasure": {"legal_basis": "unlawful", "reason": "same name"},
    "approve_erasure": {},
}


def test_there_is_a_form_for_each_action() -> None:
    assert FORMS.keys() == ACTIONS.keys()


@pytest.mark.parametrize("action", FORMS)
def test_the_command_that_is_shown_is_one(stage: Stage, action: str) -> None:
    """It says each of the terms that the passkey would sign, in options that the command line has."""
    form, about = dict(FORMS[action]), ""
    if action == "request_warrant":
        form = stage.request(stage.borrower()[0])
    elif action.endswith("_warrant"):
        form["warrant_id"] = about = asked_for(stage, stage.borrower()[0])
    elif action == "request_erasure":
        form["named"] = about = stage.borrower()[0]
    elif action == "approve_erasure":
        ACTS["erase_record"].proposes(stage, about := stage.borrower()[0])
        form["proposal_id"] = stage.proposal(about, "erase_record")
    elif action in {"approve_member", "reject_proposal"}:
        enough_quotas(stage, about := lender(stage))
        form["proposal_id"] = stage.proposal(about, "quotas")
    elif action != "propose_member":
        form["member_id"] = about = applicant(stage) if action == "begin_due_diligence" else lender(stage)
    person = stage.supervisor if ACTIONS[action].role == "regulator" else stage.second
    shown = person.visitor.post(f"/console/confirm/{action}", form)
    assert shown.status_code == 200, words_of(shown.text)
    line = unescape(shown.text.partition('<code id="command">')[2].partition("</code>")[0])
    program, *arguments = shlex.split(line)
    assert program == "creditshare"
    parsed = parse(arguments)
    given = [str(one) for value in parsed.values() for one in (value if isinstance(value, list) else [value])]
    assert stage.service.url in given
    spoken = {
        name: value for name, value in form.items() if not name.startswith(("contact_", "scope_", "jurisdictions"))
    }
    spoken = {name: value for name, value in spoken.items() if name not in {"ends_on", "warrant_id", "member_id"}}
    if action == "approve_member":
        spoken = {"action": "quotas", "queries_per_day": "1234"}
    assert set(spoken.values()) <= set(given), (spoken, line)
    assert not about or about in given or form.get("proposal_id") in given


def parse(arguments: list[str]) -> dict[str, Any]:
    """Return what the command line makes of arguments, without running anything."""
    command: Any = get_command(app)
    while hasattr(command, "get_command"):
        name, *arguments = arguments
        command = command.get_command(command.make_context("creditshare", [], resilient_parsing=True), name)
        assert command is not None, name
    return dict(command.make_context("creditshare", arguments).params)
