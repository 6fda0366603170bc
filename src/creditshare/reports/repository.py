"""The cells of the reports, sealed, and the position: how far the counting is, and all that must be there.

Whoever administers the database can take rows out and put old ones back, seals and all. The position lists what there
must be and is written with each step, so that what is missing, older or too much is an ``IntegrityError``. All of it
put back together is an older state that was true once: the log knows of later ones (decision 34).
"""

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import RowMapping, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from creditshare.crypto.sealing import Box, Place
from creditshare.errors import IntegrityError
from creditshare.reports.cells import Cells, Part, added, read, size_of, spelled
from creditshare.reports.models import report_cells, report_counted, report_position
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.storage.rowsets import Columns, columns_of, rows_of
from creditshare.wire.strict_json import canonical

COUNTING_LOCK: Final = 0x7265_706F_7274
GROWTH: Final = 2
"""Differences are put together with those before them while these are not so many times more: each is then written
anew a number of times that grows with the logarithm of all of them."""
FROZEN: Final = -1
"""The place of a part that was told by another definition: who changed it since is not known, so it stays as told."""
FORM: Final = 2
"""What a position lists. One of an older form is taken over once (``counting.py``)."""


@dataclass(frozen=True, slots=True)
class PartState:
    """A part's rows of cells, by place, and what was told of it.

    ``told_seq`` is where it stood when something of it was told last, 0 for never; ``complete`` says whether all was.
    """

    told_seq: int = 0
    complete: bool = False
    live: tuple[int, ...] = ()

    @property
    def as_told(self) -> bool:
        """Whether nothing happened to it since all of it was told."""
        return self.told_seq == FROZEN or (self.complete and self.live == (self.told_seq,))


@dataclass(frozen=True, slots=True)
class Position:
    """How far the counting is: the definition counted by, the log's next index, and every part that there is.

    ``seq`` is the last place that was given to a row of cells: none is given twice, so that no old row fits a new
    place. ``counted`` is the sum over the rows of ``report_counted``. ``release`` is the last release that is known,
    from here or from the log; ``unreadable`` counts entries of the log that nobody could open.
    """

    definition: int
    log_index: int
    parts: Mapping[Part, PartState] = field(default_factory=dict)
    seq: int = 0
    counted: int = 0
    release: int = 0
    unreadable: int = 0
    form: int = FORM

    def of(self, part: Part) -> PartState:
        """Return a part's state; that of one that there is not yet."""
        return self.parts.get(part, PartState())

    def with_parts(self, parts: Mapping[Part, PartState], *, seq: int | None = None) -> "Position":
        """Return it with these parts' states changed."""
        return replace(self, parts={**self.parts, **parts}, seq=self.seq if seq is None else seq)


class CellStore:
    """Sealed differences, summed up as they are read. ``name_key`` hides which part a row is of."""

    def __init__(self, box: Box, name_key: bytes) -> None:
        self._box = box
        self._name_key = name_key

    async def position(self, session: ReadSession) -> Position | None:
        """Return how far the counting is; nothing before it ever began."""
        row = (await session.execute(select(report_position))).one_or_none()
        if row is None:
            return None
        kept = json.loads(self._box.open(_POSITION, bytes(row.parts)))
        if kept["definition"] != row.definition or kept["log_index"] != row.log_index:
            raise IntegrityError("the position of the reports does not match its seal")
        return _position(kept)

    async def move(self, session: WriteSession, position: Position) -> None:
        """Write how far the counting is."""
        values = {
            "single": True,
            "definition": position.definition,
            "log_index": position.log_index,
            "parts": self._box.seal(_POSITION, canonical(_spelled(position))),
        }
        await session.execute(
            insert(report_position).values(values).on_conflict_do_update(index_elements=["single"], set_=values)
        )

    async def add(self, session: WriteSession, position: Position, changes: Mapping[Part, Cells]) -> Position:
        """Add differences to parts' cells, each together with those before it that are not much more.

        Returns the position that lists them; it is for the caller to write.
        """
        names = {part: self._name(part) for part in changes}
        there = await self._listed(session, names.values())
        seq, states, earlier = position.seq + 1, {}, []
        for part, name in names.items():
            state, sizes = position.of(part), there.get(name, {})
            _require(sorted(sizes) == sorted(state.live))
            merged, size = [], size_of(changes[part])
            for place in sorted(state.live, reverse=True):
                if sizes[place] > GROWTH * size:
                    break
                merged.append(place)
                size += sizes[place]
            earlier += [(name, place) for place in merged]
            states[part] = replace(state, live=(*(one for one in state.live if one not in merged), seq))
        taken = await self._taken(session, earlier)
        # Also where nothing is left: a place that was told at is never that of anything else.
        totals = {name: added([*taken.get(name, ()), changes[part]]) for part, name in names.items()}
        await self._write(session, seq, totals)
        return position.with_parts(states, seq=seq)

    async def load(self, session: ReadSession, position: Position, part: Part) -> Cells:
        """Return all cells of a part as they stand."""
        return added([read(plain) for plain in await self.opened(session, position, part)])

    async def opened(self, session: ReadSession, position: Position, part: Part) -> list[bytes]:
        """Return what a part's rows hold; ``IntegrityError`` unless they are those that the position lists."""
        name = self._name(part)
        rows = await session.execute(
            select(report_cells.c.seq, report_cells.c.sealed)
            .where(report_cells.c.part == name)
            .order_by(report_cells.c.seq)
        )
        found = rows.all()
        _require([row.seq for row in found] == sorted(position.of(part).live))
        return [self._box.open(_place(name, row.seq), bytes(row.sealed)) for row in found]

    async def replace(self, session: WriteSession, position: Position, part: Part, cells: Cells) -> Position:
        """Write a part's cells as they stand in place of all its differences."""
        name, seq, state = self._name(part), position.seq + 1, position.of(part)
        await self._take(session, [(name, place) for place in state.live])
        await self._write(session, seq, {name: cells})
        return position.with_parts({part: replace(state, live=(seq,))}, seq=seq)

    async def clear(self, session: WriteSession) -> None:
        """Forget all cells, to count anew."""
        await session.execute(delete(report_cells))
        await session.execute(delete(report_counted))

    async def strays(self, session: ReadSession, position: Position) -> int:
        """Return how many rows there are beyond those that the position lists."""
        found = (await session.execute(select(func.count()).select_from(report_cells))).scalar_one()
        return int(found) - sum(len(state.live) for state in position.parts.values())

    async def as_found(self, session: ReadSession, position: Position) -> Position:
        """Return a position of the older form with the rows that there are for those that there must be."""
        there = await self._listed(session, None)
        states = {
            part: replace(state, live=tuple(sorted(there.pop(self._name(part), {}))))
            for part, state in position.parts.items()
        }
        if there:
            raise IntegrityError("there are cells of parts that the position of the reports does not know")
        seq = max((place for state in states.values() for place in state.live), default=0)
        return replace(position.with_parts(states, seq=seq), form=FORM)

    async def _listed(self, session: ReadSession, names: Any) -> dict[bytes, dict[int, int]]:
        """Return the places of parts' rows with their sizes, by part; of all where none are named."""
        query = select(report_cells.c.part, report_cells.c.seq, report_cells.c.size)
        if names is not None:
            query = query.where(report_cells.c.part.in_(list(names)))
        listed: dict[bytes, dict[int, int]] = {}
        for row in await session.execute(query):
            listed.setdefault(bytes(row.part), {})[row.seq] = row.size
        return listed

    async def _taken(self, session: WriteSession, places: Sequence[tuple[bytes, int]]) -> dict[bytes, list[Cells]]:
        """Take rows out of their places; return what they hold, by part."""
        taken: dict[bytes, list[Cells]] = {}
        for row in await self._take(session, places):
            name = bytes(row["part"])
            taken.setdefault(name, []).append(read(self._box.open(_place(name, row["seq"]), bytes(row["sealed"]))))
        return taken

    async def _take(self, session: WriteSession, places: Sequence[tuple[bytes, int]]) -> Sequence[RowMapping]:
        if not places:
            return ()
        rows = (await session.run(TAKE, columns_of("p", _PLACES, places))).mappings().all()
        _require(len(rows) == len(places))
        return rows

    async def _write(self, session: WriteSession, seq: int, cells: Mapping[bytes, Cells]) -> None:
        rows = [
            (name, seq, size_of(some), self._box.seal(_place(name, seq), spelled(some))) for name, some in cells.items()
        ]
        await session.run(WRITE, columns_of("c", _CELLS, rows))

    def _name(self, part: Part) -> bytes:
        return hmac.digest(self._name_key, "|".join(part).encode(), "sha256")[:16]


_POSITION: Final = Place("report_position", "parts", b"")
_CELLS: Final[Columns] = {"part": "bytea", "seq": "integer", "size": "integer", "sealed": "bytea"}
_PLACES: Final[Columns] = {"part": "bytea", "seq": "integer"}
WRITE: Final = f"INSERT INTO report_cells (part, seq, size, sealed) SELECT * FROM {rows_of('c', _CELLS)}"  # noqa: S608  names of ours
TAKE: Final = f"""
DELETE FROM report_cells r USING {rows_of("p", _PLACES)} WHERE r.part = p.part AND r.seq = p.seq
RETURNING r.part, r.seq, r.sealed"""  # noqa: S608  names of ours


def _require(there: bool) -> None:  # noqa: FBT001  the one thing that is asked
    if not there:
        raise IntegrityError("the rows of report_cells are not those that the position lists")


def _spelled(position: Position) -> dict[str, Any]:
    return {
        "form": FORM,
        "definition": position.definition,
        "log_index": position.log_index,
        "parts": {"|".join(part): [s.told_seq, s.complete, list(s.live)] for part, s in position.parts.items()},
        "seq": position.seq,
        "counted": f"{position.counted:064x}",
        "release": position.release,
        "unreadable": position.unreadable,
    }


def _position(kept: Mapping[str, Any]) -> Position:
    if "form" not in kept:
        parts = {_part(name): PartState(*state) for name, state in kept["parts"].items()}
        return Position(kept["definition"], kept["log_index"], parts, form=1)
    return Position(
        kept["definition"],
        kept["log_index"],
        {_part(name): PartState(told, complete, tuple(live)) for name, (told, complete, live) in kept["parts"].items()},
        kept["seq"],
        int(kept["counted"], 16),
        kept["release"],
        kept["unreadable"],
        kept["form"],
    )


def _place(name: bytes, seq: int) -> Place:
    return Place("report_cells", "sealed", name + seq.to_bytes(4, "big"))


def _part(name: str) -> Part:
    family, _, rest = name.partition("|")
    return family, rest
