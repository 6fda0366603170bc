"""What an event says is opened to who did it, and to who oversees only who did what; erasure ends it, not the proof."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import pytest
from tests.fixtures.attack import NOWHERE, attempt
from tests.fixtures.erasures import erase
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client, Problem
from creditshare.crypto.encoding import b64url_decode
from creditshare.tlog.proof import InclusionProof
from creditshare.wire.leaf import LogEntry, commit, parse_leaf


@dataclass
class Reported:
    """A report, the event it made, and who may want to know what that says."""

    entry: LogEntry
    token: str
    record: str
    lender: Client
    other: Client
    regulator: Client

    @property
    def path(self) -> str:
        return path_of(self.entry)

    def opened(self, client: Client, query: str = "") -> dict[str, Any]:
        answer = client.call("GET", self.path, query=query)
        assert answer.log_entry is not None
        shown: dict[str, Any] = answer.data
        return shown


def path_of(entry: LogEntry) -> str:
    return f"/audit/v1/events/{entry.event_id}/opening"


@pytest.fixture
def reported(shared_service: RunningService) -> Reported:
    lender, other = shared_service.admit("Lender", region="US"), shared_service.admit("Other", region="US")
    (subject,) = lender.tokenise(["91999999DEM000022B"])
    answer = lender.call("POST", "/v1/records", data=record_body(subject, "A-1"))
    assert answer.log_entry is not None
    regulator = shared_service.admit("Regulator", role="regulator", region="US")
    return Reported(answer.log_entry, answer.request.token, answer.data["record_id"], lender, other, regulator)


def holds(shown: dict[str, Any], group: str) -> dict[str, Any]:
    """Check that the leaf commits to what was shown of a group, and return what it says."""
    leaf, opened = parse_leaf(shown["leaf"].encode()), shown["groups"][group]
    committed = {"meta": leaf.c_meta, "body": leaf.c_body}[group]
    assert commit(group, b64url_decode(opened["salt"]), opened["payload"].encode()) == committed  # type: ignore[arg-type]
    said: dict[str, Any] = json.loads(opened["payload"])
    return said


def test_who_acted_opens_what_it_did(reported: Reported) -> None:
    shown = reported.opened(reported.lender)
    assert shown["leaf"].encode() == reported.entry.leaf
    assert set(shown["groups"]) == {"meta", "body"}
    assert holds(shown, "meta") == json.loads(reported.entry.meta)
    assert shown["groups"]["body"]["request"] == reported.token
    digest = hashlib.sha256(reported.token.encode()).digest()
    assert b64url_decode(holds(shown, "body")["rqh"]) == digest
    assert set(reported.opened(reported.lender, "group=meta")["groups"]) == {"meta"}


def test_a_refusal_is_opened_too(reported: Reported) -> None:
    refused = reported.lender.send(reported.lender.sign("GET", f"/v1/records/rec_{NOWHERE}"))
    assert refused.log_entry is not None
    shown = reported.lender.call("GET", path_of(refused.log_entry)).data
    assert holds(shown, "meta")["outcome"] == "not_found"
    assert shown["groups"]["body"]["request"] == refused.request.token


def test_overseers_learn_who_did_what_and_nothing_that_a_borrower_is_in(
    shared_service: RunningService, reported: Reported
) -> None:
    for overseer in (reported.regulator, shared_service.desk[0]):
        shown = reported.opened(overseer)
        assert set(shown["groups"]) == {"meta"}
        assert holds(shown, "meta")["actor"] == reported.lender.session.signer.member_id
        assert attempt(overseer, "GET", reported.path, query="group=body") == "role_forbidden"
        assert attempt(overseer, "GET", reported.path, query="group=subj") == "validation_failed"


@pytest.mark.parametrize("role", ["operator", "regulator"])
def test_an_overseer_that_is_suspended_opens_no_more_than_its_own(
    shared_service: RunningService, reported: Reported, role: str
) -> None:
    overseer = shared_service.admit(f"A {role}", role=role, region="US")
    own = overseer.call("GET", "/v1/me/log-token").log_entry
    assert own is not None
    assert attempt(overseer, "GET", reported.path) == "done"
    member = overseer.session.signer.member_id
    shared_service.desk[0].call("POST", f"/v1/members/{member}/suspension", data={"reason": "inquiry"})
    assert attempt(overseer, "GET", reported.path) == "not_found"
    assert attempt(overseer, "GET", path_of(own)) == "done"


def test_other_lenders_learn_not_even_that_it_is_there(reported: Reported) -> None:
    unknown = f"/audit/v1/events/evt_{NOWHERE[:14]}4{NOWHERE[15:]}/opening"
    for query in ("", "group=meta", "group=body"):
        assert attempt(reported.other, "GET", reported.path, query=query) == "not_found"
        assert attempt(reported.other, "GET", unknown, query=query) == "not_found"


def test_opening_is_an_event_of_its_own(reported: Reported) -> None:
    answer = reported.lender.call("GET", reported.path)
    assert answer.log_entry is not None
    meta = json.loads(answer.log_entry.meta)
    assert (meta["action"], meta["outcome"], meta["details"]) == ("show_opening", "ok", {"groups": "meta body"})
    refused = reported.other.send(reported.other.sign("GET", reported.path))
    assert refused.log_entry is not None
    assert json.loads(refused.log_entry.meta)["outcome"] == "not_found"


def test_an_erased_borrowers_event_is_closed_and_stays_provable(
    shared_service: RunningService, reported: Reported
) -> None:
    looked = reported.lender.call("GET", reported.path)
    assert looked.log_entry is not None
    erase(shared_service, reported.record, whole_borrower=True)
    for path in (reported.path, path_of(looked.log_entry)):  # that it was opened names the borrower too
        with pytest.raises(Problem) as problem:
            reported.lender.call("GET", path)
        assert problem.value.code == "erased"
        assert attempt(reported.lender, "GET", path, query="group=meta") == "done"
    assert set(reported.opened(reported.regulator)["groups"]) == {"meta"}
    proof = reported.lender.inclusion_proof(reported.entry.event_id)
    assert proof is not None
    InclusionProof.from_dict(proof).verify([shared_service.services.log_verifier])


def test_an_opening_that_was_exchanged_is_not_told(shared_service: RunningService, reported: Reported) -> None:
    again = reported.lender.call("GET", f"/v1/records/{reported.record}")
    assert again.log_entry is not None
    first, second = (entry.event_id.removeprefix("evt_") for entry in (reported.entry, again.log_entry))
    with shared_service.superuser() as database:
        database.execute(
            "UPDATE audit_opening AS o SET sealed = p.sealed FROM audit_opening p"
            " WHERE o.event_id = %s AND p.event_id = %s AND o.grp = p.grp",
            [first, second],
        )
    assert attempt(reported.lender, "GET", reported.path) == "internal_error"
