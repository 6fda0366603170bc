"""A file's bytes into rows, each a line of JSON as ``POST /v1/records`` takes it. Nothing is held but a chunk.

NDJSON: line N is row N. CSV: the header names fields, nested ones with a dot (``region.code``); row 1 is the first
after it; an empty cell leaves its field out. Whether a row is right is not decided here.
"""

import codecs
import csv
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from creditshare.errors import FieldError, Refused

CHUNK_ROWS: Final = 100
MAX_ROW_BYTES: Final = 16_384
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
INTEGERS: Final = frozenset({"subject.key_version", "days_past_due"})
"""Fields of a record that are whole numbers; a file of text cells does not say which these are."""
_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Form:
    """How a file spells records: its media type, and the names of a record's fields, nested ones with a dot."""

    media_type: str
    fields: Collection[str]

    def rows(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the rows of a file; raises ``Refused`` where it is not of this form."""
        lines = _lines(blocks)
        return lines if self.media_type == NDJSON else self._from_csv(lines)

    def _from_csv(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        reader = csv.reader(_text(lines), strict=True)
        try:
            header = next(reader, [])
            self._check_header(header)
            for number, cells in enumerate(reader, start=1):
                if len(cells) != len(header):
                    raise Refused("validation_failed", fields=[_wrong(number, "cells", "as many cells as the header")])
                yield _as_json(header, cells)
        except csv.Error:
            raise Refused("body_malformed") from None

    def _check_header(self, header: list[str]) -> None:
        # Names of unknown columns are the sender's own text: a column is named by its place.
        wrong = [
            FieldError(f"/header/{place}", code, detail)
            for place, name in enumerate(header)
            for code, detail, found in (
                ("extra_forbidden", "the name of a field of a record", name not in self.fields),
                ("duplicate", "each column once", name in header[:place]),
            )
            if found
        ]
        if wrong or not header:
            raise Refused("validation_failed", fields=wrong or [FieldError("/header", "missing", "a header line")])


def chunks(rows: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield rows in chunks of a bounded size."""
    chunk: list[bytes] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines without their ends; the last one may lack its end."""
    rest, number = b"", 0
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            number += 1
            yield _checked(line, number)
        _checked(rest, number + 1)
    if rest:
        yield _checked(rest, number + 1)


def _checked(line: bytes, number: int) -> bytes:
    if len(line) > MAX_ROW_BYTES:
        raise Refused("validation_failed", fields=[_wrong(number, "too_long", f"at most {MAX_ROW_BYTES} bytes")])
    return line.removesuffix(b"\r")


def _text(lines: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        for line in lines:
            yield decoder.decode(line + b"\n")
    except UnicodeDecodeError:
        raise Refused("body_malformed") from None


def _as_json(header: list[str], cells: list[str]) -> bytes:
    record: dict[str, object] = {}
    for name, cell in zip(header, cells, strict=True):
        if not cell:
            continue
        whole = name in INTEGERS and cell.isascii() and cell.isdigit() and len(cell) <= _DIGITS
        outer, _, inner = name.partition(".")
        place = record.setdefault(outer, {}) if inner else record
        if isinstance(place, dict):
            place[inner or outer] = int(cell) if whole else cell
    # A cell may hold a line break; in JSON it is escaped, so that a row stays a line.
    return json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def _wrong(number: int, code: str, detail: str) -> FieldError:
    return FieldError(f"/rows/{number}", code, detail)
