"""Tables of default records: ids, member, lifecycle and visible_from in clear, all else in one sealed blob."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from creditshare.storage.metadata import SUBJECT, VALUE, metadata

record_event = Table(
    "record_event",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("event_no", Integer, primary_key=True, autoincrement=False),
    Column("record_id", Uuid, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    info=SUBJECT,
)

record_current = Table(
    "record_current",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("record_id", Uuid, primary_key=True),
    Column("member_id", Uuid, nullable=False),
    Column("lifecycle", Text, nullable=False),
    Column("visible_from", DateTime(timezone=True), nullable=False),
    Column("account_index", LargeBinary, nullable=True),
    UniqueConstraint("subject_id", "account_index"),
    CheckConstraint("lifecycle IN ('live', 'ended', 'withdrawn', 'erased')", name="lifecycle"),
    info=SUBJECT,
)

record_secret = Table(
    "record_secret",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("record_id", Uuid, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    info=SUBJECT,
)

record_lookup = Table(
    "record_lookup",
    metadata,
    Column("record_id", Uuid, primary_key=True),
    Column("subject_id", Uuid, nullable=False),
    info=VALUE,
)
