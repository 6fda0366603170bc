"""Roles and grants, append-only triggers, the queue of new events, the version of the key table.

Group roles belong to the whole server, so they are made only where absent and stay on the way down.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ROLES = ("creditshare_app", "creditshare_worker", "creditshare_eraser", "creditshare_regulator_ro")
APPEND_ONLY = ("audit_event", "audit_leaf", "audit_tile", "audit_checkpoint", "record_event")

GRANTS = {
    "creditshare_app": {
        "SELECT, INSERT": (
            "audit_event, audit_opening, record_event, record_secret, record_lookup, consent_lookup, consent_evidence,"
            " subject_index, member_subject, query_answer, query_lookup"
        ),
        "SELECT": "audit_pending, audit_leaf, audit_tile, audit_checkpoint, policy_rule, key_table_version",
        "SELECT, INSERT, UPDATE": (
            "member, member_key, member_proposal, enrolment, member_budget, subject, consent, record_current,"
            " idempotency, refusal_tally"
        ),
        "INSERT, SELECT": "replay_guard",
    },
    "creditshare_worker": {
        "SELECT, INSERT": "audit_event, audit_opening, audit_leaf, audit_tile, audit_checkpoint",
        "SELECT, DELETE": "audit_pending, replay_guard, idempotency",
        "SELECT, UPDATE, DELETE": "refusal_tally",
        "SELECT": "key_table_version, policy_rule",
    },
    "creditshare_eraser": {
        "SELECT, INSERT": "audit_event, record_event",
        "SELECT, INSERT, DELETE": "audit_opening",
        "SELECT, UPDATE": "subject, record_current, query_answer, consent",
        "SELECT, DELETE": "record_secret, idempotency, subject_index",
        "SELECT": "record_lookup, consent_lookup, query_lookup",
    },
    "creditshare_regulator_ro": {
        "SELECT": "audit_event, audit_leaf, audit_tile, audit_checkpoint, policy_rule",
    },
}


def upgrade() -> None:
    for role in ROLES:
        op.execute(
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}')"
            f" THEN CREATE ROLE {role} NOLOGIN; END IF; END $$"
        )
        op.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
    for role, grants in GRANTS.items():
        for rights, tables in grants.items():
            op.execute(f"GRANT {rights} ON {tables} TO {role}")

    op.execute("""
        CREATE FUNCTION creditshare_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
        END $$""")
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_keeps_rows BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION creditshare_refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_keeps_all BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION creditshare_refuse_change()"
        )
        # ALWAYS: an ordinary trigger is skipped under session_replication_role = replica.
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_keeps_rows")
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_keeps_all")

    # The queue is filled by the table itself, so that no code path can forget it; the app may not write the queue.
    op.execute("""
        CREATE FUNCTION creditshare_queue_event() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            INSERT INTO public.audit_pending (event_id) VALUES (NEW.event_id);
            RETURN NULL;
        END $$""")
    op.execute(
        "CREATE TRIGGER audit_event_is_queued AFTER INSERT ON audit_event"
        " FOR EACH ROW EXECUTE FUNCTION creditshare_queue_event()"
    )
    op.execute("ALTER TABLE audit_event ENABLE ALWAYS TRIGGER audit_event_is_queued")

    op.execute("INSERT INTO key_table_version (single, version) VALUES (true, 1)")
    op.execute("""
        CREATE FUNCTION creditshare_keys_changed() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            UPDATE public.key_table_version SET version = version + 1;
            PERFORM pg_notify('creditshare_keys', '');
            RETURN NULL;
        END $$""")
    for table in ("member", "member_key"):
        op.execute(
            f"CREATE TRIGGER {table}_changed AFTER INSERT OR UPDATE OR DELETE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION creditshare_keys_changed()"
        )


def downgrade() -> None:
    for table in ("member", "member_key"):
        op.execute(f"DROP TRIGGER {table}_changed ON {table}")
    op.execute("DROP FUNCTION creditshare_keys_changed()")
    op.execute("DELETE FROM key_table_version")
    op.execute("DROP TRIGGER audit_event_is_queued ON audit_event")
    op.execute("DROP FUNCTION creditshare_queue_event()")
    for table in APPEND_ONLY:
        op.execute(f"DROP TRIGGER {table}_keeps_rows ON {table}")
        op.execute(f"DROP TRIGGER {table}_keeps_all ON {table}")
    op.execute("DROP FUNCTION creditshare_refuse_change()")
    for role, grants in GRANTS.items():
        for tables in grants.values():
            op.execute(f"REVOKE ALL ON {tables} FROM {role}")
        op.execute(f"REVOKE ALL ON SCHEMA public FROM {role}")
