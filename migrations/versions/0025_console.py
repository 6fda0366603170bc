"""Sessions of the pages: one-time links, sessions, what waits to be confirmed, and passkeys."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "console_link",
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_console_link")),
    )
    op.create_index(op.f("ix_console_link_expires_at"), "console_link", ["expires_at"])
    op.create_table(
        "console_session",
        sa.Column("session_hash", sa.LargeBinary(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("session_hash", name=op.f("pk_console_session")),
    )
    op.create_index(op.f("ix_console_session_last_seen_at"), "console_session", ["last_seen_at"])
    op.create_table(
        "console_challenge",
        sa.Column("challenge_hash", sa.LargeBinary(), nullable=False),
        sa.Column("session_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("challenge_hash", name=op.f("pk_console_challenge")),
    )
    op.create_index(op.f("ix_console_challenge_expires_at"), "console_challenge", ["expires_at"])
    op.create_table(
        "passkey",
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("jwk", sa.JSON(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_by", sa.Text(), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("state IN ('pending', 'active', 'revoked')", name=op.f("ck_passkey_state")),
        sa.CheckConstraint("state <> 'active' OR confirmed_by IS NOT NULL", name=op.f("ck_passkey_confirmed")),
        sa.PrimaryKeyConstraint("credential_id", name=op.f("pk_passkey")),
        sa.UniqueConstraint("digest", name=op.f("uq_passkey_digest")),
    )
    op.create_index(op.f("ix_passkey_member_id"), "passkey", ["member_id"])
    tables = "console_link, console_session, console_challenge, passkey"
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO creditshare_app")


def downgrade() -> None:
    for table in ("passkey", "console_challenge", "console_session", "console_link"):
        op.drop_table(table)
