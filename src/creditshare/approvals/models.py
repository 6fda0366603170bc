"""The table of proposals. ``about`` is the id of what a proposal is about; of which sort says its kind.

``approved_by`` are the ids of all who approved one that takes more than one approval; of others ``decided_by`` says it.
``carried_out_at`` is of what another role than the approver's carries out, later.
"""

from sqlalchemy import JSON, CheckConstraint, Column, DateTime, LargeBinary, Table, Text, Uuid

from creditshare.storage.metadata import REFERENCE, metadata

proposal = Table(
    "proposal",
    metadata,
    Column("proposal_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("about", Uuid, nullable=False, index=True),
    Column("terms", JSON, nullable=False),
    Column("proposed_by", Uuid, nullable=False),
    Column("proposed_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("decided_by", Uuid, nullable=True),
    Column("decided_at", DateTime(timezone=True), nullable=True),
    Column("decision", Text, nullable=True),
    Column("approved_by", JSON(none_as_null=True), nullable=True),
    Column("carried_out_at", DateTime(timezone=True), nullable=True),
    Column("seal", LargeBinary, nullable=False),
    CheckConstraint("decision IN ('approved', 'rejected', 'withdrawn')", name="decision"),
    CheckConstraint("decided_by IS DISTINCT FROM proposed_by", name="four_eyes"),
    info=REFERENCE,
)
