"""The table of answers as they were told: sealed under the query's key, kept until erasure."""

from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, Table, Uuid

from creditshare.storage.metadata import SUBJECT, VALUE, metadata

query_answer = Table(
    "query_answer",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("query_id", Uuid, primary_key=True),
    Column("member_id", Uuid, nullable=False),
    Column("consent_id", Uuid, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("told_at", DateTime(timezone=True), nullable=False),
    Column("sealed", LargeBinary, nullable=True),
    info=SUBJECT,
)

query_lookup = Table(
    "query_lookup",
    metadata,
    Column("query_id", Uuid, primary_key=True),
    Column("subject_id", Uuid, nullable=False),
    info=VALUE,
)
