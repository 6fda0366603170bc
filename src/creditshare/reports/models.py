"""Tables of the reports: who waits to be counted, what was counted, sealed cells, and what was told."""

from sqlalchemy import (
    BigInteger,
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
    text,
)

from creditshare.storage.metadata import COORDINATOR, SUBJECT, metadata

report_due = Table(
    "report_due",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("event_no", Integer, primary_key=True, autoincrement=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Index("ix_report_due_due_at", "due_at", "subject_id"),
    info=SUBJECT,
)
"""Events of records that are not counted yet, filled by the table of events itself. No two writers meet in it."""

report_counted = Table(
    "report_counted",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("counted_at", DateTime(timezone=True), nullable=False),
    Column("again_at", DateTime(timezone=True)),
    Index("ix_report_counted_again_at", "again_at", "subject_id", postgresql_where=text("again_at IS NOT NULL")),
    info=SUBJECT,
)
"""The borrower's version, and the business time, at which it was counted last; when it is due again by time alone.

The position keeps a keyed sum over all rows (``tally.py``): one that is missing, older or another's is noticed.
"""

report_cells = Table(
    "report_cells",
    metadata,
    Column("part", LargeBinary, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("size", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    info=COORDINATOR,
)
"""Differences to cells, whose sum stands. ``part`` is a keyed hash: a name would tell when somebody defaulted.

The position lists each part's rows.
"""

report_position = Table(
    "report_position",
    metadata,
    Column("single", Boolean, primary_key=True),
    Column("definition", Integer, nullable=False),
    Column("log_index", BigInteger, nullable=False),
    Column("parts", LargeBinary, nullable=False),
    CheckConstraint("single", name="single"),
    info=COORDINATOR,
)
"""Which definition of the cells was counted by, how far the log was counted; sealed, all that must be there."""

report_told = Table(
    "report_told",
    metadata,
    Column("report", Text, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("release", Integer, primary_key=True, autoincrement=False),
    Column("document", LargeBinary, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    info=COORDINATOR,
)
"""What was told of a part, from a release on. Published numbers, so it stands in clear, under a seal."""

report_release = Table(
    "report_release",
    metadata,
    Column("release", Integer, primary_key=True, autoincrement=False),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("log_size", BigInteger, nullable=False),
    Column("log_note", Text, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    Column("manifest", LargeBinary),
    Column("unreadable", BigInteger),
    info=COORDINATOR,
)
"""Each time something was told: the checkpoint that it covers, and the digest over all that stands told.

``manifest`` lists what that is; the digest is over it. ``unreadable`` are entries of the log that nobody could open.
"""
