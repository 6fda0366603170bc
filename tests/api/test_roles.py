"""Who may call what: every operation of the document, for every kind of caller. None is forgotten."""

from collections.abc import Iterator, Mapping

import httpx
import pytest
from tests.fixtures.attack import attempt
from tests.fixtures.operations import Operation, operations
from tests.fixtures.service import RunningService, running_service

from creditshare.app import openapi_document
from creditshare.client.bank import Client
from creditshare.client.core import File
from creditshare.storage.embedded import EmbeddedPostgres

ROLES = ("lender", "regulator", "operator")
CALLERS = ("stranger", *ROLES, "limited lender", *(f"suspended {role}" for role in ROLES))
FORBIDDEN = {"role_forbidden", "member_suspended", "member_limited"}

ANYONE = (
    "discover show_service_keys show_code_lists is_alive is_ready show_metrics show_inclusion_proof show_log_keys"
    " show_log_health show_checkpoint show_cosigned_checkpoint show_checkpoint_of show_entries show_tile"
    " show_consistency_proof show_anchors show_reciprocity_rules"
)
"""In a sandbox; in production the log is for its readers: ``access/test_readers.py``."""
EVERY_MEMBER = "show_log_token show_opening show_me show_quota add_key list_keys revoke_key retire_key review_key"
"""Suspended ones too: what is a member's own, or refused inside where it is not."""
OPERATORS = (
    "propose_member list_members show_member list_proposals propose_change approve_member list_all_proposals"
    " reject_proposal propose_quotas begin_due_diligence limit_member"
    " show_impact list_expiring_keys list_quota_usage suspend_member advance_clock"
    " request_erasure list_erasures show_erasure approve_erasure"
)
ASKING_LENDERS = "run_query run_query_batch show_query run_non_performing_test"
REPORTING_LENDERS = "evaluate_tokens grant_consent resume_consent submit_record submit_record_batch state_debt"
"""A lender that is limited may report and correct; of consents those to provide (``members/test_states.py``)."""
CORRECTING_LENDERS = (
    "show_reciprocity name_hand_back_key show_consent revoke_consent pause_consent show_record advance_record"
    " correct_record withdraw_record show_job show_job_errors show_job_records"
)
"""A lender that is suspended may still correct, withdraw and revoke."""


def outcomes(*admitted: str, else_forbidden: str) -> dict[str, str]:
    """Return what each caller gets where these are admitted; a suspended one of the role is told that it is that."""
    told = dict.fromkeys(CALLERS, "role_forbidden") | {"stranger": "token_missing"}
    return told | {else_forbidden: "member_suspended"} | dict.fromkeys(admitted, "admitted")


EXPECTED: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(ANYONE.split(), dict.fromkeys(CALLERS, "admitted")),
    **dict.fromkeys(EVERY_MEMBER.split(), dict.fromkeys(CALLERS, "admitted") | {"stranger": "token_missing"}),
    **dict.fromkeys(OPERATORS.split(), outcomes("operator", else_forbidden="suspended operator")),
    **dict.fromkeys(
        ASKING_LENDERS.split(),
        outcomes("lender", else_forbidden="suspended lender") | {"limited lender": "member_limited"},
    ),
    **dict.fromkeys(REPORTING_LENDERS.split(), outcomes("lender", "limited lender", else_forbidden="suspended lender")),
    # The example is a consent for questions, which a limited lender may not have.
    "grant_consent": outcomes("lender", else_forbidden="suspended lender") | {"limited lender": "member_limited"},
    **dict.fromkeys(
        CORRECTING_LENDERS.split(),
        outcomes("lender", "limited lender", "suspended lender", else_forbidden="suspended lender"),
    ),
    # Lenders read their own rows, in any state; these are nobody's own.
    "list_reports": dict.fromkeys(CALLERS, "admitted")
    | {
        "stranger": "token_missing",
        "suspended regulator": "member_suspended",
        "suspended operator": "member_suspended",
    },
    "show_report": outcomes("regulator", "operator", else_forbidden="suspended operator")
    | {"suspended regulator": "member_suspended"},
    **dict.fromkeys(
        ["request_warrant", "show_warrant_records", "show_warrant_inquiries"],
        outcomes("regulator", else_forbidden="suspended regulator"),
    ),
    **dict.fromkeys(["approve_warrant", "revoke_warrant"], outcomes("operator", else_forbidden="suspended operator")),
    **dict.fromkeys(
        ["list_warrants", "show_warrant", "confirm_passkey", "revoke_passkey"],
        outcomes("regulator", "operator", else_forbidden="suspended operator")
        | {"suspended regulator": "member_suspended"},
    ),
    # Whoever is suspended has no pages.
    "create_console_link": dict.fromkeys(CALLERS, "admitted")
    | {"stranger": "token_missing"}
    | {caller: "member_suspended" for caller in CALLERS if caller.startswith("suspended")},
    # A first key comes without a signature: the code is its way in.
    "add_key": dict.fromkeys(CALLERS, "admitted"),
}


@pytest.fixture(scope="module")
def service(postgres: EmbeddedPostgres, template: str) -> Iterator[RunningService]:
    with running_service(postgres, template) as running:
        yield running


@pytest.fixture(scope="module")
def callers(service: RunningService) -> dict[str, Client]:
    limited = service.admit("A limited lender", region="US")
    path = f"/v1/members/{limited.session.signer.member_id}/limitation"
    service.desk[0].call("POST", path, data={"reason": "review"})
    found = {"limited lender": limited}
    for role in ROLES:
        found[role] = service.admit(f"A {role}", role=role, region="US")
        suspended = found[f"suspended {role}"] = service.admit(f"A suspended {role}", role=role, region="US")
        path = f"/v1/members/{suspended.session.signer.member_id}/suspension"
        service.desk[0].call("POST", path, data={"reason": "review"})
    return found


def test_no_operation_is_forgotten() -> None:
    document = openapi_document()
    assert EXPECTED.keys() == {one["operationId"] for item in document["paths"].values() for one in item.values()}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_caller_is_let_in_or_not(service: RunningService, callers: dict[str, Client], name: str) -> None:
    (operation,) = (one for one in operations(service.contract) if one.name == name)
    got = {caller: outcome(service, callers.get(caller), operation) for caller in CALLERS}
    assert got == EXPECTED[name]


def outcome(service: RunningService, client: Client | None, operation: Operation) -> str:
    """Return ``admitted``, whatever the operation itself then says, or the code of who stands at the door."""
    if client is None or not operation.signed:
        body = None if isinstance(operation.body, File) else operation.body
        answer = httpx.request(operation.method, service.url + operation.target, json=body)
        at_the_door = answer.status_code in {401, 403}
        return str(answer.json()["code"]) if at_the_door else "admitted"
    code = attempt(client, operation.method, operation.target, operation.body)
    return code if code in FORBIDDEN else "admitted"
