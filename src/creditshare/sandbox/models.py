"""The one row by which business time runs ahead of the database's clock."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Table

from creditshare.storage.metadata import COORDINATOR, metadata

MOST_AHEAD_S = 3_155_760_000  # a hundred years

business_clock = Table(
    "business_clock",
    metadata,
    Column("single", Boolean, primary_key=True, server_default="true"),
    Column("ahead_s", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("single", name="single_row"),
    CheckConstraint(f"ahead_s BETWEEN 0 AND {MOST_AHEAD_S}", name="ahead"),
    info=COORDINATOR,
)
