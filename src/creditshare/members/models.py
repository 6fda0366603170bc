"""Tables of institutions, keys and enrolment codes. Reference tables hold no counters.

Rows that decide who may do what bear a seal (``crypto/rowseals.py``); ``repository`` writes and checks it. ``revision``
counts the changes of a row, and ``key_table_version.sum`` is the sum over all rows of ``member`` and ``member_key``.
"""

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
)

from creditshare.storage.metadata import COORDINATOR, REFERENCE, metadata

member = Table(
    "member",
    metadata,
    Column("member_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("jurisdictions", ARRAY(Text), nullable=False),
    Column("status", Text, nullable=False),
    Column("key_thumbprint", Text, nullable=True),
    Column("licence_no", Text, nullable=True),
    Column("contacts", LargeBinary, nullable=True),
    Column("evaluations_per_day", Integer, nullable=False),
    Column("queries_per_day", Integer, nullable=True),
    Column("reports_per_day", Integer, nullable=True),
    Column("hand_back_jwk", JSON(none_as_null=True), nullable=True),
    Column("tier", Text, nullable=True),
    Column("examination", JSON(none_as_null=True), nullable=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("changed_at_version", BigInteger, nullable=False, server_default="0", index=True),
    Column("revision", Integer, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    CheckConstraint("tier IN ('full', 'standard', 'basic')", name="tier"),
    CheckConstraint("role IN ('lender', 'regulator', 'operator')", name="role"),
    CheckConstraint(
        "status IN ('applicant', 'due_diligence', 'certified', 'active', 'limited', 'suspended', 'terminated')",
        name="status",
    ),
    info=REFERENCE,
)

member_key = Table(
    "member_key",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("member_id", Uuid, ForeignKey("member.member_id"), nullable=False, index=True),
    Column("jwk", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("registered_by", Text, nullable=True),
    Column("bootstrap", Boolean, nullable=False, server_default="false"),
    Column("registered_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True), nullable=True),
    Column("reason", Text, nullable=True),
    Column("changed_at_version", BigInteger, nullable=False, server_default="0", index=True),
    Column("revision", Integer, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    CheckConstraint("state IN ('pending', 'active', 'retiring', 'revoked')", name="state"),
    info=REFERENCE,
)

enrolment = Table(
    "enrolment",
    metadata,
    Column("member_id", Uuid, ForeignKey("member.member_id"), primary_key=True),
    Column("code_hash", LargeBinary, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("used_at", DateTime(timezone=True), nullable=True),
    Column("wrong_tries", Integer, nullable=False, server_default="0"),
    Column("tries_since", DateTime(timezone=True), nullable=True),
    Column("seal", LargeBinary, nullable=False),
    info=REFERENCE,
)

key_table_version = Table(
    "key_table_version",
    metadata,
    Column("single", Boolean, primary_key=True, server_default="true"),
    Column("version", BigInteger, nullable=False),
    Column("sum", LargeBinary, nullable=False),
    CheckConstraint("single", name="single_row"),
    info=COORDINATOR,
)
