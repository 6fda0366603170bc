"""Tables of borrowers, as random ids with a wrapped key."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
)

from creditshare.storage.metadata import COORDINATOR, SUBJECT, VALUE, metadata

subject_index = Table(
    "subject_index",
    metadata,
    Column("index", LargeBinary, primary_key=True),
    Column("subject_id", Uuid, nullable=False, index=True),
    Column("key_version", SmallInteger, nullable=False),
    info=VALUE,
)

subject = Table(
    "subject",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("state", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("dek_id", LargeBinary, nullable=False),
    Column("dek", LargeBinary, nullable=True),
    Column("element", LargeBinary, nullable=True),
    Column("event_count", Integer, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("last_event_at", DateTime(timezone=True), nullable=False),
    Column("mac", LargeBinary, nullable=False),
    CheckConstraint("state IN ('live', 'erased')", name="state"),
    CheckConstraint("(state = 'erased') = (dek IS NULL)", name="dek"),
    info=SUBJECT,
)

member_subject = Table(
    "member_subject",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("member_id", Uuid, primary_key=True),
    info=SUBJECT,
)

member_budget = Table(
    "member_budget",
    metadata,
    Column("member_id", Uuid, primary_key=True),
    Column("day", Date, nullable=False),
    Column("evaluated_today", Integer, nullable=False),
    Column("evaluated", BigInteger, nullable=False),
    Column("introduced", BigInteger, nullable=False, server_default="0"),
    Column("unnamed", BigInteger, nullable=True),
    Column("seal", LargeBinary, nullable=False),
    CheckConstraint("introduced <= evaluated", name="introduced"),
    info=COORDINATOR,
)
