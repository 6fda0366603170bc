"""Tables of the log (``../design/audit.md``). Constraints, triggers and grants stand in the migrations."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
)

from creditshare.storage.metadata import COORDINATOR, metadata

audit_event = Table(
    "audit_event",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("leaf", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    CheckConstraint("octet_length(leaf) <= 4096", name="leaf_size"),
    CheckConstraint("leaf_hash = sha256('\\x00'::bytea || leaf)", name="leaf_hash"),
    info=COORDINATOR,
)

audit_pending = Table(
    "audit_pending",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=True),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("queued_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    info=COORDINATOR,
)

audit_leaf = Table(
    "audit_leaf",
    metadata,
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", Uuid, nullable=False, unique=True),  # of audit_event, whose rows are never deleted (decision 22)
    Column("leaf_hash", LargeBinary, nullable=False, index=True),
    CheckConstraint("idx >= 0", name="idx"),
    info=COORDINATOR,
)

audit_tile = Table(
    "audit_tile",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
    Column("root", LargeBinary, nullable=False),
    CheckConstraint("octet_length(hashes) = 8192", name="full"),
    info=COORDINATOR,
)

audit_checkpoint = Table(
    "audit_checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    info=COORDINATOR,
)

audit_cosignature = Table(
    "audit_cosignature",
    metadata,
    Column("size", BigInteger, ForeignKey("audit_checkpoint.size"), primary_key=True, autoincrement=False),
    Column("witness", Text, primary_key=True),
    Column("line", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Index("ix_audit_cosignature_witness_size", "witness", "size"),
    info=COORDINATOR,
)
"""Cosignatures of witnesses, by their verifier keys."""

audit_anchor = Table(
    "audit_anchor",
    metadata,
    Column("size", BigInteger, ForeignKey("audit_checkpoint.size"), primary_key=True, autoincrement=False),
    Column("tsa", Text, primary_key=True),
    Column("token", LargeBinary, nullable=False),
    Column("gen_time", DateTime(timezone=True), nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    info=COORDINATOR,
)
"""Stamps of time-stamping authorities, by their addresses: bare tokens (RFC 3161) and the times that they state."""

audit_hold = Table(
    "audit_hold",
    metadata,
    Column("single", Boolean, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    CheckConstraint("single", name="single"),
    info=COORDINATOR,
)
"""One row while the log is not signed on, because witnesses saw another one."""

audit_opening = Table(
    "audit_opening",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("grp", Text, primary_key=True),
    Column("subject_id", Uuid, nullable=True, index=True),
    Column("sealed", LargeBinary, nullable=False),
    CheckConstraint("grp IN ('meta', 'subj', 'body')", name="grp"),
    info=COORDINATOR,
)
