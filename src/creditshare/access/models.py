"""The replay guard, idempotency, quotas of the day, the tally of refusals that are counted and not logged singly."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
)

from creditshare.storage.metadata import COORDINATOR, metadata

replay_guard = Table(
    "replay_guard",
    metadata,
    Column("iss", Uuid, primary_key=True),
    Column("jti_hash", LargeBinary, primary_key=True),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
    info=COORDINATOR,
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("member_id", Uuid, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("key_hash", LargeBinary, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=True),
    Column("subject_id", Uuid, nullable=True),
    Column("answer", LargeBinary, nullable=True),
    Column("query_id", Uuid, nullable=True),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
    info=COORDINATOR,
)

refusal_tally = Table(
    "refusal_tally",
    metadata,
    Column("member_id", Uuid, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("count", Integer, nullable=False),
    Index("ix_refusal_tally_minute", "minute"),
    info=COORDINATOR,
)

daily_quota = Table(
    "daily_quota",
    metadata,
    Column("member_id", Uuid, primary_key=True),
    Column("counted", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("leased", Integer, nullable=False),
    Column("newest", Integer, nullable=False),
    CheckConstraint("counted IN ('queries', 'reports')", name="counted"),
    info=COORDINATOR,
)
"""What of a member's day the processes leased, in all and by the newest lease."""
