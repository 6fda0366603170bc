"""Answers to "is this event in the log" and "is the old log a prefix of the new one", from stored rows."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, ColumnElement, select

from creditshare.audit.checkpoints import RETRY_AFTER_S, latest_checkpoint, note_of
from creditshare.audit.models import audit_event, audit_leaf
from creditshare.audit.nodes import fetch_reads
from creditshare.errors import Refused
from creditshare.ids import spell
from creditshare.storage.engine import ReadSession
from creditshare.tlog.merkle import ProofPlan, consistency_nodes, fold_proof, inclusion_nodes
from creditshare.tlog.proof import InclusionProof
from creditshare.tlog.tiles import evaluate, reads

LOOKED_UP: Final = 1_000
"""How many leaf hashes one statement looks for."""

PLACE: Final = """
SELECT c.size, c.note, l.idx, l.event_id, l.leaf_hash,
    (SELECT string_agg(s.line, '' ORDER BY s.witness) FROM audit_cosignature s WHERE s.size = c.size) AS lines
FROM (SELECT 1) AS one LEFT JOIN LATERAL (SELECT idx, event_id, leaf_hash FROM audit_leaf WHERE {wanted} LIMIT 1) l
    ON true
JOIN audit_checkpoint c ON c.size = coalesce(
    %(size)s::bigint,
    CASE WHEN %(first)s THEN (SELECT min(size) FROM audit_checkpoint WHERE size > l.idx) END,
    (SELECT max(size) FROM audit_checkpoint))"""
"""A checkpoint with the lines of its witnesses, and where a leaf is: one round trip.

The checkpoint is that of a size, or the first one that covers the leaf, or the newest.
"""
PLACE_BY_EVENT: Final = PLACE.format(wanted="event_id = %(wanted)s::uuid")
PLACE_BY_HASH: Final = PLACE.format(wanted="leaf_hash = %(wanted)s::bytea")


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """Hashes that lead from the root of ``size1`` leaves to that of ``size2``."""

    size1: int
    size2: int
    hashes: tuple[bytes, ...]


async def prove_inclusion(
    session: ReadSession,
    *,
    event_id: uuid.UUID | None = None,
    leaf_hash: bytes | None = None,
    size: int | None = None,
    first: bool = False,
) -> InclusionProof:
    """Prove the leaf of an event against the checkpoint of a size, by default the newest, with its witnesses' lines.

    With ``first`` it is the first one that covers the leaf, which stays the same however the log grows.
    ``not_found`` for an event that does not exist and for a size that was not signed or is too small for the leaf,
    ``not_integrated_yet`` for an event that still waits.
    """
    place = PLACE_BY_EVENT if event_id else PLACE_BY_HASH
    found = (await session.run(place, {"size": size, "first": first, "wanted": event_id or leaf_hash})).first()
    if found is None or found.idx is None or found.idx >= found.size:
        known = audit_event.c.event_id == event_id if event_id else audit_event.c.leaf_hash == leaf_hash
        raise await _why_not(session, known, index=None if found is None else found.idx, size=size)
    return InclusionProof(
        event_id=spell("evt", found.event_id),
        leaf_hash=found.leaf_hash,
        index=found.idx,
        size=found.size,
        hashes=tuple(await _prove(session, inclusion_nodes(found.idx, found.size))),
        checkpoint=found.note + (found.lines or ""),
    )


async def _why_not(session: ReadSession, known: ColumnElement[bool], *, index: int | None, size: int | None) -> Refused:
    """Return why an event has no proof against a checkpoint: it waits, came later, or one of the two is not there."""
    newest, _ = await latest_checkpoint(session)
    if size is not None and await note_of(session, size) is None:
        return Refused("not_found")
    event = await session.execute(select(audit_event.c.event_id).where(known).limit(1))
    if event.first() is None or (index is not None and index < newest):
        return Refused("not_found")
    return Refused("not_integrated_yet", retry_after=RETRY_AFTER_S)


async def prove_consistency(session: ReadSession, *, size1: int, size2: int | None) -> ConsistencyProof:
    """Prove that the log of ``size2`` leaves (by default the newest checkpoint's) begins with that of ``size1``."""
    size, _ = await latest_checkpoint(session)
    end = size if size2 is None else size2
    if not 0 <= size1 <= end <= size:
        raise Refused("not_found")
    if size1 in {0, end}:
        return ConsistencyProof(size1, end, ())
    return ConsistencyProof(size1, end, tuple(await _prove(session, consistency_nodes(size1, end))))


async def _prove(session: ReadSession, plan: ProofPlan) -> list[bytes]:
    rows = await fetch_reads(session, reads(plan.nodes))
    return fold_proof(plan, evaluate(plan.nodes, rows))


async def missing_leaves(
    session: ReadSession, hashes: Collection[bytes], *, size: int
) -> tuple[set[bytes], set[bytes]]:
    """Return those of these leaf hashes that are not in the log of a size, and those of which there is no event."""
    in_log = (audit_leaf.c.idx >= 0, audit_leaf.c.idx < size)
    return (
        await _missing(session, audit_leaf.c.leaf_hash, hashes, *in_log),
        await _missing(session, audit_event.c.leaf_hash, hashes),
    )


async def _missing(
    session: ReadSession, column: Column[bytes], hashes: Collection[bytes], *also: ColumnElement[bool]
) -> set[bytes]:
    wanted = list(hashes)
    missing = set(wanted)
    for start in range(0, len(wanted), LOOKED_UP):
        found = await session.execute(select(column).where(column.in_(wanted[start : start + LOOKED_UP]), *also))
        missing -= {bytes(one) for one in found.scalars()}
    return missing
