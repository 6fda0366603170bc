"""The tables of debt statements: append-only, sealed under the borrower's key."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, Uuid

from creditshare.storage.metadata import SUBJECT, VALUE, metadata

debt_statement = Table(
    "debt_statement",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("statement_id", Uuid, nullable=False),
    Column("member_id", Uuid, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    info=SUBJECT,
)

debt_statement_lookup = Table(
    "debt_statement_lookup",
    metadata,
    Column("statement_id", Uuid, primary_key=True),
    Column("subject_id", Uuid, nullable=False),
    info=VALUE,
)
