"""T10, a regulator's account in wrong hands: a key that may read reports and verify the log.

It must not get: any borrower's data, any evaluation, any act about others; by whatever route the document knows, or in
the database by the regulator's role. One thing it may write: a request for a warrant, by which nothing happens before
two operators approved it (``warrants/test_life.py``).
"""

import psycopg
import pytest
from tests.fixtures.attack import NOWHERE, attempt
from tests.fixtures.operations import operations
from tests.fixtures.service import RunningService

from creditshare.registry import metadata

OWN = {
    "create_console_link",
    "show_me",
    "show_quota",
    "add_key",
    "list_keys",
    "revoke_key",
    "retire_key",
    "review_key",
} | {
    "show_log_token",
    "show_opening",  # of what others did only who did what: access/test_openings.py
    *("confirm_passkey", "revoke_passkey"),  # its people's, with which they ask for a warrant on a page
}
"""What every member may do with itself."""
READS = {"list_reports", "show_report", "list_warrants", "show_warrant"}
"""What it is there for: no borrower is in it (``reports/test_loaded.py``)."""
UNDER_A_WARRANT = {"show_warrant_records", "show_warrant_inquiries"}
WRITES = {"request_warrant"}
"""The one thing that it writes about others."""
OWN_WRITES = {"add_key", "revoke_key", "retire_key", "create_console_link", "confirm_passkey", "revoke_passkey"}
REGULATOR_TABLES = {
    *("audit_event", "audit_leaf", "audit_tile", "audit_checkpoint", "audit_cosignature", "audit_anchor"),
    *("policy_rule", "report_told", "report_release"),
}
"""The log without its openings, the published rules, and what was told in reports."""


def test_every_other_operation_is_forbidden(shared_service: RunningService) -> None:
    regulator = shared_service.admit("Regulator", role="regulator", region="US")
    lender = shared_service.admit("Lender", region="US").session.signer
    operator = shared_service.operators[0]
    tried = 0
    for operation in operations(shared_service.contract):
        if operation.name in OWN | READS | UNDER_A_WARRANT | WRITES or not operation.signed:
            continue
        target = operation.target.replace(f"mem_{NOWHERE}", operator.member_id)
        assert attempt(regulator, operation.method, target, operation.body) == "role_forbidden", operation.name
        tried += 1
    assert tried >= 18
    for path in (f"/v1/members/{lender.member_id}/keys", f"/v1/members/{operator.member_id}/keys"):
        assert attempt(regulator, "GET", path) == "not_found"


def test_of_all_that_the_document_knows_it_writes_a_request_and_its_own_keys(shared_service: RunningService) -> None:
    """The document says whom each operation admits; ``api/test_roles.py`` holds the running service to it."""
    writes = {
        operation["operationId"]
        for item in shared_service.contract.document["paths"].values()
        for method, operation in item.items()
        if method != "get" and {"regulator", "any"} & {operation.get("x-caller", {}).get(k) for k in ("role", "also")}
    }
    assert writes == WRITES | OWN_WRITES
    regulator = shared_service.admit("Writing regulator", role="regulator", region="US")
    for operation in operations(shared_service.contract):
        if operation.signed and operation.method != "GET" and operation.name not in WRITES | OWN_WRITES:
            assert attempt(regulator, operation.method, operation.target, operation.body) == "role_forbidden"


def test_without_a_warrant_it_reads_of_no_borrower(shared_service: RunningService) -> None:
    regulator = shared_service.admit("Reading regulator", role="regulator", region="US")
    for operation in operations(shared_service.contract):
        if operation.name in UNDER_A_WARRANT | {"show_warrant"}:
            assert attempt(regulator, "GET", operation.target) == "not_found"


def test_its_database_role_may_read_these_tables_and_write_none(shared_service: RunningService) -> None:
    with shared_service.superuser() as database:
        rows = database.execute(
            "SELECT c.relname, p.privilege FROM pg_class c"
            " CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'])"
            " AS p (privilege)"
            " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace = 'public'::regnamespace"
            " AND (has_table_privilege('creditshare_regulator_ro', c.oid, p.privilege)"
            "   OR p.privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')"
            "   AND has_any_column_privilege('creditshare_regulator_ro', c.oid, p.privilege))"
        ).fetchall()
        functions = database.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
            " AND prorettype <> 'trigger'::regtype"
            " AND has_function_privilege('creditshare_regulator_ro', oid, 'EXECUTE')"
        ).fetchall()
        groups = database.execute(
            "SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid"
            " JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = 'creditshare_regulator_ro'"
        ).fetchall()
    assert set(rows) == {(table, "SELECT") for table in REGULATOR_TABLES}
    assert functions == []
    assert groups == []


def test_of_no_table_of_a_borrower_it_may_read_anything() -> None:
    of_borrowers = {table.name for table in metadata.sorted_tables if table.info["belongs_to"] in {"subject", "value"}}
    assert {"warrant", "warrant_lookup", "record_event"} <= of_borrowers
    assert not of_borrowers & REGULATOR_TABLES


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
        "SELECT * FROM warrant",
        "SELECT * FROM proposal",
        "INSERT INTO warrant DEFAULT VALUES",
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
