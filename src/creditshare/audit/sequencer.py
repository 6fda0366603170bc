"""The sequencer: gives queued events their index, cuts full tiles, signs a checkpoint.

One transaction at READ COMMITTED. The advisory lock only spares rivals wasted work; the primary key of
``audit_leaf`` is the fence. Queued rows are deleted in the same transaction, so there is no cursor that
could miss a late committer and no stall behind an unrelated open transaction. A tree is extended only if its own
checkpoint was signed over it: rows that were changed afterwards make the log stand still, not contradict itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ARRAY, Table, func, literal, select

from creditshare.audit.models import audit_checkpoint, audit_tile
from creditshare.audit.nodes import fetch_reads
from creditshare.errors import IntegrityError, Malformed, VerificationFailed
from creditshare.storage.engine import WriteSession
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from creditshare.tlog.note import Signer
from creditshare.tlog.tiles import edge_from, extend, partial_tiles, root_from_edge

BATCH: Final = 1024
STANDING: Final = """
SELECT tree.size, (SELECT reason FROM audit_hold) AS held, newest.size AS signed, newest.note
FROM (SELECT coalesce(max(idx) + 1, 0) AS size FROM audit_leaf) AS tree
LEFT JOIN LATERAL (SELECT size, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1) AS newest ON true"""
"""How many leaves there are, why the log is held if it is, and what was signed last."""
MOVE: Final = """
WITH taken AS (
    DELETE FROM audit_pending
    WHERE seq <= (SELECT max(seq) FROM (SELECT seq FROM audit_pending ORDER BY seq LIMIT %(most)s) AS oldest)
    RETURNING seq, event_id),
-- OFFSET keeps the look-up by index, however much the planner thinks was taken.
queued AS (
    SELECT row_number() OVER (ORDER BY seq) - 1 AS place, event_id, leaf_hash
    FROM taken, LATERAL (SELECT leaf_hash FROM audit_event e WHERE e.event_id = taken.event_id OFFSET 0) AS event)
INSERT INTO audit_leaf (idx, event_id, leaf_hash)
SELECT %(size)s + place, event_id, leaf_hash FROM queued RETURNING idx, leaf_hash"""
"""Gives the oldest queued events their indexes. A late committer's row is not seen, so it is not taken away either."""
LEADER_LOCK: Final = 0x6372_6564_6974
"""An arbitrary constant, the same in every worker. It spares rivals wasted work and is not what keeps them apart."""


@dataclass(frozen=True, slots=True)
class Integrated:
    """What one round did: how many leaves, and the size of the log after it."""

    leaves: int
    size: int

    @property
    def full(self) -> bool:
        """Whether more may be waiting, so that the next round should start at once."""
        return self.leaves == BATCH


class Sequencer:
    """Runs inside ``creditshare worker``. Several may run; one leads at a time."""

    def __init__(self, *, origin: str, signer: Signer, lock: int = LEADER_LOCK) -> None:
        self._origin = origin
        self._signer = signer
        self._lock = lock

    async def integrate(self, session: WriteSession) -> Integrated:
        """Integrate up to 1,024 queued events and commit. The checkpoint is visible only after the commit.

        Nothing happens while the log is held, whichever worker found out why. Raises ``IntegrityError``, and changes
        nothing, where the tree that is there is not the one that was signed.
        """
        await session.execute(select(func.pg_advisory_xact_lock(self._lock)))
        standing = (await session.run(STANDING, {})).one()
        size = int(standing.size)
        if standing.held is not None:
            return Integrated(0, size)
        self._require_whole(size, standing.signed)
        moved = await session.run(MOVE, {"size": size, "most": BATCH})
        by_index = {row["idx"]: row["leaf_hash"] for row in moved.mappings()}
        hashes = [by_index[size + place] for place in range(len(by_index))]
        if not hashes and (size > 0 or standing.note is not None):
            return Integrated(0, size)

        reads = [tile.read for tile in partial_tiles(size)]
        edge = edge_from(size, await fetch_reads(session, reads))
        if standing.note is not None:
            self._require_signed(standing.note, Checkpoint(self._origin, size, root_from_edge(size, edge)))
        extension = extend(size, edge, hashes)
        if extension.tiles:
            await _insert(session, audit_tile, [(t.level, t.n, t.hashes, t.root) for t in extension.tiles])
        root = root_from_edge(extension.size, extension.edge)
        note = sign_checkpoint(Checkpoint(self._origin, extension.size, root), [self._signer])
        await session.execute(audit_checkpoint.insert(), {"size": extension.size, "root": root, "note": note})
        await session.commit()
        return Integrated(len(hashes), extension.size)

    @staticmethod
    def _require_whole(size: int, signed: int | None) -> None:
        """Refuse to go on from leaves that are fewer or more than were signed last; only an empty log may begin."""
        if (0 if signed is None else signed) != size:
            raise IntegrityError(f"{signed or 'no'} leaves were signed last, and {size} are there")

    def _require_signed(self, note: str, tree: Checkpoint) -> None:
        """Refuse to extend a tree unless the note is of it and signed by this log's key."""
        try:
            signed = open_checkpoint(note, [self._signer.verifier])
        except (Malformed, VerificationFailed) as error:
            raise IntegrityError(f"the checkpoint of {tree.size} leaves does not hold: {error}") from error
        if signed != tree:
            raise IntegrityError(f"the {tree.size} leaves that are there are not those that were signed")


async def _insert(session: WriteSession, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert whole rows by one statement.

    Many inserts would travel as a pipeline, and a leader that is frozen within one keeps its lock for ever: the server
    waits for the pipeline's end, which none of its time limits count.
    """
    columns = [
        func.unnest(literal(list(values), ARRAY(column.type)))
        for column, values in zip(table.columns, zip(*rows, strict=True), strict=True)
    ]
    await session.execute(table.insert().from_select([column.name for column in table.columns], select(*columns)))
