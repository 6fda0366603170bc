"""All tables of the first version."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "audit_checkpoint",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "audit_event",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("leaf_hash = sha256('\\x00'::bytea || leaf)", name=op.f("ck_audit_event_leaf_hash")),
        sa.CheckConstraint("octet_length(leaf) <= 4096", name=op.f("ck_audit_event_leaf_size")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_audit_event")),
    )
    op.create_table(
        "audit_opening",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("grp", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("grp IN ('meta', 'subj', 'body')", name=op.f("ck_audit_opening_grp")),
        sa.PrimaryKeyConstraint("event_id", "grp", name=op.f("pk_audit_opening")),
    )
    op.create_index(op.f("ix_audit_opening_subject_id"), "audit_opening", ["subject_id"], unique=False)
    op.create_table(
        "audit_pending",
        sa.Column("seq", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_pending")),
        sa.UniqueConstraint("event_id", name=op.f("uq_audit_pending_event_id")),
    )
    op.create_table(
        "audit_tile",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("octet_length(hashes) = 8192", name=op.f("ck_audit_tile_full")),
        sa.PrimaryKeyConstraint("level", "n", name=op.f("pk_audit_tile")),
    )
    op.create_table(
        "consent",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("consent_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("max_uses", sa.Integer(), nullable=True),
        sa.Column("uses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("window_uses", sa.Integer(), nullable=True),
        sa.Column("window_per", sa.Text(), nullable=True),
        sa.Column("window_start", sa.Date(), nullable=True),
        sa.Column("window_used", sa.Integer(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("kind IN ('provide', 'query')", name=op.f("ck_consent_kind")),
        sa.CheckConstraint("state IN ('active', 'paused', 'revoked')", name=op.f("ck_consent_state")),
        sa.CheckConstraint("window_per IS NULL OR window_per IN ('day', 'month')", name=op.f("ck_consent_window_per")),
        sa.CheckConstraint("max_uses IS NULL OR uses <= max_uses", name=op.f("ck_consent_uses")),
        sa.PrimaryKeyConstraint("subject_id", "consent_id", name=op.f("pk_consent")),
    )
    op.create_table(
        "consent_evidence",
        sa.Column("digest_index", sa.LargeBinary(), nullable=False),
        sa.Column("consent_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("digest_index", name=op.f("pk_consent_evidence")),
    )
    op.create_table(
        "consent_lookup",
        sa.Column("consent_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("consent_id", name=op.f("pk_consent_lookup")),
    )
    op.create_table(
        "idempotency",
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("query_id", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("member_id", "route", "key_hash", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_expires_at"), "idempotency", ["expires_at"], unique=False)
    op.create_table(
        "key_table_version",
        sa.Column("single", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("single", name=op.f("ck_key_table_version_single_row")),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_key_table_version")),
    )
    op.create_table(
        "member",
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("jurisdictions", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("key_thumbprint", sa.Text(), nullable=True),
        sa.Column("licence_no", sa.Text(), nullable=True),
        sa.Column("contacts", sa.LargeBinary(), nullable=True),
        sa.Column("evaluations_per_day", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role IN ('lender', 'regulator', 'operator')", name=op.f("ck_member_role")),
        sa.CheckConstraint(
            "status IN ('applicant', 'certified', 'active', 'suspended')", name=op.f("ck_member_status")
        ),
        sa.PrimaryKeyConstraint("member_id", name=op.f("pk_member")),
    )
    op.create_table(
        "member_budget",
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("evaluated_today", sa.Integer(), nullable=False),
        sa.Column("evaluated", sa.BigInteger(), nullable=False),
        sa.Column("introduced", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("introduced <= evaluated", name=op.f("ck_member_budget_introduced")),
        sa.PrimaryKeyConstraint("member_id", name=op.f("pk_member_budget")),
    )
    op.create_table(
        "member_subject",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", "member_id", name=op.f("pk_member_subject")),
    )
    op.create_table(
        "policy_rule",
        sa.Column("jurisdiction", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("article", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("jurisdiction", "rule", "valid_from", name=op.f("pk_policy_rule")),
    )
    op.create_table(
        "query_answer",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("query_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("consent_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("subject_id", "query_id", name=op.f("pk_query_answer")),
    )
    op.create_table(
        "query_lookup",
        sa.Column("query_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("query_id", name=op.f("pk_query_lookup")),
    )
    op.create_table(
        "record_current",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("lifecycle", sa.Text(), nullable=False),
        sa.Column("visible_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account_index", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "lifecycle IN ('live', 'ended', 'withdrawn', 'erased')", name=op.f("ck_record_current_lifecycle")
        ),
        sa.PrimaryKeyConstraint("subject_id", "record_id", name=op.f("pk_record_current")),
        sa.UniqueConstraint("subject_id", "account_index", name=op.f("uq_record_current_subject_id_account_index")),
    )
    op.create_table(
        "record_event",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("event_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", "event_no", name=op.f("pk_record_event")),
    )
    op.create_table(
        "record_lookup",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", name=op.f("pk_record_lookup")),
    )
    op.create_table(
        "record_secret",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", "record_id", name=op.f("pk_record_secret")),
    )
    op.create_table(
        "refusal_tally",
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("member_id", "code", "minute", name=op.f("pk_refusal_tally")),
    )
    op.create_index("ix_refusal_tally_minute", "refusal_tally", ["minute"], unique=False)
    op.create_table(
        "replay_guard",
        sa.Column("iss", sa.Uuid(), nullable=False),
        sa.Column("jti_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("iss", "jti_hash", name=op.f("pk_replay_guard")),
    )
    op.create_index(op.f("ix_replay_guard_expires_at"), "replay_guard", ["expires_at"], unique=False)
    op.create_table(
        "subject",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("dek_id", sa.LargeBinary(), nullable=False),
        sa.Column("dek", sa.LargeBinary(), nullable=True),
        sa.Column("element", sa.LargeBinary(), nullable=True),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("last_event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("(state = 'erased') = (dek IS NULL)", name=op.f("ck_subject_dek")),
        sa.CheckConstraint("state IN ('live', 'erased')", name=op.f("ck_subject_state")),
        sa.PrimaryKeyConstraint("subject_id", name=op.f("pk_subject")),
    )
    op.create_table(
        "subject_index",
        sa.Column("index", sa.LargeBinary(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("key_version", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("index", name=op.f("pk_subject_index")),
    )
    op.create_index(op.f("ix_subject_index_subject_id"), "subject_index", ["subject_id"], unique=False)
    op.create_table(
        "audit_leaf",
        sa.Column("idx", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("idx >= 0", name=op.f("ck_audit_leaf_idx")),
        sa.ForeignKeyConstraint(
            ["event_id"], ["audit_event.event_id"], name=op.f("fk_audit_leaf_event_id_audit_event")
        ),
        sa.PrimaryKeyConstraint("idx", name=op.f("pk_audit_leaf")),
        sa.UniqueConstraint("event_id", name=op.f("uq_audit_leaf_event_id")),
    )
    op.create_index(op.f("ix_audit_leaf_leaf_hash"), "audit_leaf", ["leaf_hash"], unique=False)
    op.create_table(
        "enrolment",
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wrong_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries_since", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["member_id"], ["member.member_id"], name=op.f("fk_enrolment_member_id_member")),
        sa.PrimaryKeyConstraint("member_id", name=op.f("pk_enrolment")),
    )
    op.create_table(
        "member_key",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("jwk", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("registered_by", sa.Text(), nullable=True),
        sa.Column("bootstrap", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('active', 'retiring', 'revoked')", name=op.f("ck_member_key_state")),
        sa.ForeignKeyConstraint(["member_id"], ["member.member_id"], name=op.f("fk_member_key_member_id_member")),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_member_key")),
    )
    op.create_index(op.f("ix_member_key_member_id"), "member_key", ["member_id"], unique=False)
    op.create_table(
        "member_proposal",
        sa.Column("proposal_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("proposed_by", sa.Uuid(), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "action IN ('admission', 'quotas', 'lift_suspension', 'recovery')", name=op.f("ck_member_proposal_action")
        ),
        sa.CheckConstraint("decided_by IS DISTINCT FROM proposed_by", name=op.f("ck_member_proposal_four_eyes")),
        sa.ForeignKeyConstraint(["member_id"], ["member.member_id"], name=op.f("fk_member_proposal_member_id_member")),
        sa.PrimaryKeyConstraint("proposal_id", name=op.f("pk_member_proposal")),
    )
    op.create_index(op.f("ix_member_proposal_member_id"), "member_proposal", ["member_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_member_proposal_member_id"), table_name="member_proposal")
    op.drop_table("member_proposal")
    op.drop_index(op.f("ix_member_key_member_id"), table_name="member_key")
    op.drop_table("member_key")
    op.drop_table("enrolment")
    op.drop_index(op.f("ix_audit_leaf_leaf_hash"), table_name="audit_leaf")
    op.drop_table("audit_leaf")
    op.drop_index(op.f("ix_subject_index_subject_id"), table_name="subject_index")
    op.drop_table("subject_index")
    op.drop_table("subject")
    op.drop_index(op.f("ix_replay_guard_expires_at"), table_name="replay_guard")
    op.drop_table("replay_guard")
    op.drop_index("ix_refusal_tally_minute", table_name="refusal_tally")
    op.drop_table("refusal_tally")
    op.drop_table("record_secret")
    op.drop_table("record_lookup")
    op.drop_table("record_event")
    op.drop_table("record_current")
    op.drop_table("query_lookup")
    op.drop_table("query_answer")
    op.drop_table("policy_rule")
    op.drop_table("member_subject")
    op.drop_table("member_budget")
    op.drop_table("member")
    op.drop_table("key_table_version")
    op.drop_index(op.f("ix_idempotency_expires_at"), table_name="idempotency")
    op.drop_table("idempotency")
    op.drop_table("consent_lookup")
    op.drop_table("consent_evidence")
    op.drop_table("consent")
    op.drop_table("audit_tile")
    op.drop_table("audit_pending")
    op.drop_index(op.f("ix_audit_opening_subject_id"), table_name="audit_opening")
    op.drop_table("audit_opening")
    op.drop_table("audit_event")
    op.drop_table("audit_checkpoint")
