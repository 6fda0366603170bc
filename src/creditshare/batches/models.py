"""Tables of jobs: how far each is, its staged rows, sealed, what they became, and the rows that were refused."""

from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
)

from creditshare.storage.metadata import COORDINATOR, metadata

job = Table(
    "job",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("member_id", Uuid, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("code", Text, nullable=True),
    Column("rows", Integer, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("next_chunk", Integer, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("touched_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True), nullable=True),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
    Index("ix_job_status_touched_at", "status", "touched_at"),
    CheckConstraint("status IN ('queued', 'running', 'done', 'failed')", name="status"),
    CheckConstraint("accepted + refused <= rows", name="counts"),
    info=COORDINATOR,
)

job_chunk = Table(
    "job_chunk",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("chunk", Integer, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
    info=COORDINATOR,
)

job_result = Table(
    "job_result",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("chunk", Integer, primary_key=True, autoincrement=False),
    Column("record_ids", ARRAY(Uuid), nullable=False),
    info=COORDINATOR,
)
"""The records of a chunk's rows, in their order; NULL stands for a row that was refused."""

job_error = Table(
    "job_error",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("errors", JSON, nullable=False),
    info=COORDINATOR,
)
