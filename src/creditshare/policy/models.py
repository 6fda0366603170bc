"""The effective-dated policy table."""

from sqlalchemy import Column, Date, LargeBinary, Table, Text

from creditshare.storage.metadata import REFERENCE, metadata

policy_rule = Table(
    "policy_rule",
    metadata,
    Column("jurisdiction", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("valid_from", Date, primary_key=True),
    Column("valid_to", Date, nullable=True),
    Column("value", Text, nullable=False),
    Column("article", Text, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    info=REFERENCE,
)
