"""T10, a regulator's account in wrong hands: a key that may read reports and verify the log.

It must not get: any borrower's data, any evaluation, any act; by whatever route the document knows, or in the database
by the regulator's role.
"""

import psycopg
import pytest
from tests.fixtures.attack import NOWHERE, attempt
from tests.fixtures.operations import operations
from tests.fixtures.service import RunningService

OWN = {"show_me", "show_quota", "add_key", "list_keys", "revoke_key", "retire_key", "review_key"} | {
    "show_log_token",
    "show_opening",  # of what others did only who did what: access/test_openings.py
}
"""What every member may do with itself."""
READS = {"list_reports", "show_report"}
"""What it is there for: no borrower is in it (``reports/test_loaded.py``)."""


def test_every_other_operation_is_forbidden(shared_service: RunningService) -> None:
    regulator = shared_service.admit("Regulator", role="regulator", region="US")
    lender = shared_service.admit("Lender", region="US").session.signer
    operator = shared_service.operators[0]
    tried = 0
    for operation in operations(shared_service.contract):
        if operation.name in OWN | READS or not operation.signed:
            continue
        target = operation.target.replace(f"mem_{NOWHERE}", operator.member_id)
        assert attempt(regulator, operation.method, target, operation.body) == "role_forbidden", operation.name
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
