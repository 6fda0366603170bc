"""Tables of consents. What the counting statement must check stands in clear; what was consented to is sealed."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, DateTime, Integer, LargeBinary, Table, Text, Uuid

from creditshare.storage.metadata import SUBJECT, VALUE, metadata

consent = Table(
    "consent",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("consent_id", Uuid, primary_key=True),
    Column("member_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("valid_from", DateTime(timezone=True), nullable=False),
    Column("valid_until", DateTime(timezone=True), nullable=False),
    Column("max_uses", Integer, nullable=True),
    Column("uses", Integer, nullable=False, server_default="0"),
    Column("window_uses", Integer, nullable=True),
    Column("window_per", Text, nullable=True),
    Column("window_start", Date, nullable=True),
    Column("window_used", Integer, nullable=False, server_default="0"),
    Column("version", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    CheckConstraint("kind IN ('provide', 'query')", name="kind"),
    CheckConstraint("state IN ('active', 'paused', 'revoked')", name="state"),
    CheckConstraint("window_per IS NULL OR window_per IN ('day', 'month')", name="window_per"),
    CheckConstraint("max_uses IS NULL OR uses <= max_uses", name="uses"),
    info=SUBJECT,
)

consent_lookup = Table(
    "consent_lookup",
    metadata,
    Column("consent_id", Uuid, primary_key=True),
    Column("subject_id", Uuid, nullable=False),
    info=VALUE,
)

consent_evidence = Table(
    "consent_evidence",
    metadata,
    Column("digest_index", LargeBinary, primary_key=True),
    Column("consent_id", Uuid, nullable=False),
    info=VALUE,
)
