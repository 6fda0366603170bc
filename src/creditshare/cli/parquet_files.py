"""A Parquet file as rows of texts, for the import. Needs the extra ``parquet`` (pyarrow), which nothing else does.

Columns hold what Parquet says they hold; the import wants what a lender would write: days as YYYY-MM-DD, amounts and
whole numbers in digits, empty for null. A group of columns is a field with members (``region.code``).
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import IO, Any, Final

from creditshare.errors import ConfigurationError, FieldError

ROWS_AT_ONCE: Final = 1_024
BUFFER_BYTES: Final = 1 << 20
MISSING: Final = "a Parquet file needs pyarrow: install creditshare[parquet], or save the file as CSV or NDJSON"

Texts = dict[str, str] | FieldError


class ParquetRows:
    """An open Parquet file. Row groups are streamed: a file written as one group is not held whole."""

    def __init__(self, file: IO[bytes]) -> None:
        try:
            # Loaded here and not with the module: it takes longer to load than most commands run.
            parquet: Any = importlib.import_module("pyarrow.parquet")
            arrow: Any = importlib.import_module("pyarrow")
        except ImportError:
            raise ConfigurationError(MISSING) from None
        self._failures: tuple[type[Exception], ...] = (arrow.ArrowException, OSError, UnicodeDecodeError)
        self._is_struct: Callable[[Any], bool] = arrow.types.is_struct
        try:
            self._file = parquet.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES)
        except self._failures as error:
            raise OSError("no Parquet file") from error

    @property
    def columns(self) -> list[str]:
        """The names of the columns, those of a group with a dot."""
        names = []
        for field in self._file.schema_arrow:
            # A list is no group: its rows will be refused, by name.
            members = [one.name for one in field.type] if self._is_struct(field.type) else []
            names += [f"{field.name}.{member}" for member in members] or [field.name]
        return names

    def __iter__(self) -> Iterator[Texts]:
        """Yield each row's texts, or what is wrong with it; raises ``OSError`` where the file is damaged."""
        try:
            for batch in self._file.iter_batches(ROWS_AT_ONCE):
                yield from map(_texts, batch.to_pylist())
        except self._failures as error:
            raise OSError("a damaged Parquet file") from error


def _texts(row: Mapping[str, object]) -> Texts:
    texts: dict[str, str] = {}
    for name, value in row.items():
        members = {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {name: value}
        for member, inner in members.items():
            text = _text(inner)
            if text is None:
                return FieldError("", "row_malformed", "texts, numbers, dates and nulls, at most one level deep")
            texts[member] = text
    return texts


def _text(value: object) -> str | None:
    """Return a value as a lender writes it; None where it is of a kind that no field has."""
    if value is None:
        return ""
    if isinstance(value, datetime):  # many programs write a day as the instant at which it begins
        return value.date().isoformat() if value.time() == time() else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value)
