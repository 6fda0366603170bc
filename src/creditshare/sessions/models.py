"""Tables of one-time links, sessions, what waits to be confirmed, and passkeys. Secrets are kept as digests only."""

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, DateTime, LargeBinary, Table, Text, Uuid

from creditshare.storage.metadata import COORDINATOR, metadata

console_link = Table(
    "console_link",
    metadata,
    Column("code_hash", LargeBinary, primary_key=True),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
    info=COORDINATOR,
)

console_session = Table(
    "console_session",
    metadata,
    Column("session_hash", LargeBinary, primary_key=True),
    Column("member_id", Uuid, nullable=False),
    Column("last_seen_at", DateTime(timezone=True), nullable=False, index=True),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    info=COORDINATOR,
)

console_challenge = Table(
    "console_challenge",
    metadata,
    Column("challenge_hash", LargeBinary, primary_key=True),
    Column("session_hash", LargeBinary, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
    info=COORDINATOR,
)
"""What a page showed and a passkey may confirm, once: the document, sealed; it can hold names of persons."""

passkey = Table(
    "passkey",
    metadata,
    Column("credential_id", LargeBinary, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("member_id", Uuid, nullable=False, index=True),
    Column("jwk", JSON, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("label", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("confirmed_by", Text, nullable=True),
    Column("confirmed_at", DateTime(timezone=True), nullable=True),
    Column("seal", LargeBinary, nullable=False),
    CheckConstraint("state IN ('pending', 'active', 'revoked')", name="state"),
    CheckConstraint("state <> 'active' OR confirmed_by IS NOT NULL", name="confirmed"),
    info=COORDINATOR,
)
