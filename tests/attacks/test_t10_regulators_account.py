"""T10, a regulator's account in wrong hands: a key that may read reports and verify the log.

It must not get: any borrower's data, any evaluation, any act; by whatever route the document knows, or in the database
by the regulator's role.
"""

import re
from typing import Any

import psycopg
import pytest
from tests.fixtures.attack import attempt
from tests.fixtures.service import RunningService

from creditshare.client.core import File
from creditshare.client.resources import NDJSON_TYPE

OWN = {"show_me", "show_quota", "add_key", "list_keys", "revoke_key", "retire_key", "review_key"} | {
    "show_log_token",
    "show_opening",  # of what others did only who did what: access/test_openings.py
}
"""What every member may do with itself."""


def operations(service: RunningService) -> list[tuple[str, str, str, Any]]:
    """Return every signed operation of the document, with an example body."""
    found = []
    document = service.contract.document
    for path, item in document["paths"].items():
        for method, operation in item.items():
            answers = [service.contract.resolve(answer) for answer in operation["responses"].values()]
            if not any("CS-Signature" in answer.get("headers", {}) for answer in answers[:1]):
                continue
            content = service.contract.resolve(operation.get("requestBody", {})).get("content", {})
            if (lines := content.get(NDJSON_TYPE)) is not None:
                found.append(
                    (operation["operationId"], method.upper(), path, File(NDJSON_TYPE, lines["example"].encode()))
                )
                continue
            schema = content.get("application/json", {}).get("schema", {})
            schema = service.contract.resolve(schema.get("anyOf", [schema])[0]) if schema else {}
            examples = schema.get("examples") or content.get("application/json", {}).get("examples") or [None]
            body = examples[0] if isinstance(examples, list) else next(iter(examples.values()))["value"]
            found.append((operation["operationId"], method.upper(), path, body))
    return found


def test_every_other_operation_is_forbidden(shared_service: RunningService) -> None:
    regulator = shared_service.admit("Regulator", role="regulator", region="US")
    lender = shared_service.admit("Lender", region="US").session.signer
    operator = shared_service.operators[0]
    tried = 0
    for name, method, path, body in operations(shared_service):
        if name in OWN:
            continue
        target = path.replace("{member_id}", operator.member_id)
        target = re.sub(r"\{(\w+)_id\}", lambda m: f"{m[1][:3]}_01900000-0000-7000-8000-000000000000", target)
        assert attempt(regulator, method, target, body) == "role_forbidden", name
        tried += 1
    assert tried >= 18
    for path in (f"/v1/members/{lender.member_id}/keys", f"/v1/members/{operator.member_id}/keys"):
        assert attempt(regulator, "GET", path) == "not_found"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM record_event",
        "SELECT * FROM record_current",
        "SELECT * FROM subject",
        "SELECT * FROM consent",
        "SELECT * FROM query_answer",
        "SELECT * FROM audit_opening",
        "SELECT * FROM idempotency",
        "INSERT INTO audit_event DEFAULT VALUES",
        "DELETE FROM audit_leaf",
        "UPDATE policy_rule SET value = 'no'",
    ],
)
def test_its_database_role_reads_the_log_and_the_policy_only(shared_service: RunningService, statement: str) -> None:
    with shared_service.superuser() as database:
        database.execute("SET ROLE creditshare_regulator_ro")
        assert database.execute("SELECT count(*) FROM audit_leaf").fetchone() is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.execute(statement)
