"""Tables of warrants. What one says is sealed under the borrower's key; the row bears a seal (decision 12)."""

from sqlalchemy import CheckConstraint, Column, DateTime, LargeBinary, Table, Text, Uuid

from creditshare.storage.metadata import SUBJECT, VALUE, metadata

warrant = Table(
    "warrant",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("warrant_id", Uuid, primary_key=True),
    Column("regulator_id", Uuid, nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("lapses_at", DateTime(timezone=True), nullable=False),
    Column("active_from", DateTime(timezone=True), nullable=True),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    CheckConstraint("state IN ('requested', 'active', 'rejected', 'withdrawn', 'revoked')", name="state"),
    info=SUBJECT,
)

warrant_lookup = Table(
    "warrant_lookup",
    metadata,
    Column("warrant_id", Uuid, primary_key=True),
    Column("subject_id", Uuid, nullable=False),
    info=VALUE,
)
