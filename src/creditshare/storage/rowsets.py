"""Rows as parameters of a statement: one array for each column, spread out again by ``unnest``.

A statement over a row set does for sixty requests what it does for one. The driver can dump lists too, but takes
longer for one array of bytes than the server for the statement. Here each array is packed once, in the server's own
binary form (``array_send`` of PostgreSQL), and carries its type even where all its values are NULL.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, Literal
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

Kind = Literal["bytea", "uuid", "text", "smallint", "integer", "bigint", "timestamptz", "date"]
Columns = Mapping[str, Kind]

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_DAY_ZERO: Final = date(2000, 1, 1).toordinal()
_LENGTH: Final = struct.Struct("!i").pack
_NULL: Final = _LENGTH(-1)
_HEADER: Final = struct.Struct("!iiIii").pack
_EMPTY: Final = struct.Struct("!iiI").pack


def _microseconds(value: datetime) -> int:
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_SMALLINT: Final = struct.Struct("!ih").pack
_INTEGER: Final = struct.Struct("!ii").pack
_BIGINT: Final = struct.Struct("!iq").pack

_PACKED: Final[Mapping[Kind, Callable[[Any], bytes]]] = {
    "bytea": lambda value: _LENGTH(len(value)) + value,
    "uuid": lambda value: b"\0\0\0\x10" + value.bytes,
    "text": lambda value: _LENGTH(len(encoded := value.encode())) + encoded,
    "smallint": lambda value: _SMALLINT(2, value),
    "integer": lambda value: _INTEGER(4, value),
    "bigint": lambda value: _BIGINT(8, value),
    "timestamptz": lambda value: _BIGINT(8, _microseconds(value)),
    "date": lambda value: _INTEGER(4, value.toordinal() - _DAY_ZERO),
}
"""Each kind's values, with their length before them."""
# PostgreSQL's catalogue of types, pg_type.dat: fixed numbers.
_NUMBER: Final[Mapping[Kind, int]] = {
    "bytea": 17,
    "uuid": 2950,
    "text": 25,
    "smallint": 21,
    "integer": 23,
    "bigint": 20,
    "timestamptz": 1184,
    "date": 1082,
}
Value = None | bytes | UUID | str | int | datetime | date


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one column, as one parameter."""

    kind: Kind
    values: Iterable[Value]


class _ColumnDumper(Dumper):
    """Packs a column as an array with one dimension."""

    format = pq.Format.BINARY

    def dump(self, obj: Column) -> bytes:
        packed = _PACKED[obj.kind]
        values = [_NULL if value is None else packed(value) for value in obj.values]
        if not values:
            return _EMPTY(0, 0, _NUMBER[obj.kind])
        # The flag says that there may be NULLs; the server looks for itself.
        return _HEADER(1, 1, _NUMBER[obj.kind], len(values), 1) + b"".join(values)


psycopg.adapters.register_dumper(Column, _ColumnDumper)


def rows_of(name: str, columns: Columns, *, numbered: bool = False) -> str:
    """Return a source of rows called ``name`` for ``FROM``; ``numbered`` adds a column ``n``, counting from 1."""
    arrays = ", ".join(f"%({name}_{column})s::{kind}[]" for column, kind in columns.items())
    names = ", ".join((*columns, "n") if numbered else columns)
    return f"unnest({arrays}){' WITH ORDINALITY' if numbered else ''} AS {name} ({names})"


def parameters_of(name: str, columns: Columns, rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """Return the parameters of ``rows_of``. A row may have more than the columns."""
    return {f"{name}_{column}": Column(kind, [row[column] for row in rows]) for column, kind in columns.items()}


def columns_of(name: str, columns: Columns, rows: Sequence[Sequence[Any]]) -> dict[str, Column]:
    """Return the parameters of ``rows_of`` from rows whose values stand in the order of the columns."""
    return {
        f"{name}_{column}": Column(kind, [row[number] for row in rows])
        for number, (column, kind) in enumerate(columns.items())
    }
