"""The figures of the last day, one row for each lender. The tier that follows is in the lender's own, sealed row."""

from sqlalchemy import BigInteger, Column, DateTime, Integer, LargeBinary, Table, Uuid

from creditshare.storage.metadata import REFERENCE, metadata

member_figures = Table(
    "member_figures",
    metadata,
    Column("member_id", Uuid, primary_key=True),
    Column("computed_at", DateTime(timezone=True), nullable=False),
    Column("asked_about", Integer, nullable=False),
    Column("reported", Integer, nullable=False),
    Column("sampled", Integer, nullable=False),
    Column("sampled_live", Integer, nullable=False),
    Column("fresh", Integer, nullable=False),
    Column("corrected", Integer, nullable=False),
    Column("rows_sent", BigInteger, nullable=False),
    Column("rows_refused", BigInteger, nullable=False),
    Column("months", Integer, nullable=False),
    Column("seal", LargeBinary),
    info=REFERENCE,
)
