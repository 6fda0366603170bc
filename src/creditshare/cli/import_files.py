"""The files of an import: the lender's own, read row by row; the error file; the state that lets it go on.

Neither of the two that are written holds a value of a row: the error file names row, field and reason, the state
keyed digests and record ids.
"""

import contextlib
import csv
import gzip
import io
import json
import os
import sqlite3
import tomllib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from creditshare.cli.parquet_files import ParquetRows
from creditshare.client.importing import Layout
from creditshare.client.record_form import field_name
from creditshare.errors import ConfigurationError, FieldError, Malformed
from creditshare.wire.strict_json import decode_object

MAX_LINE: Final = 1 << 20
MAX_DEPTH: Final = 3
REPORT_EVERY: Final = 256

Raw = dict[str, str] | FieldError


def read_layout(path: Path | None) -> Layout:
    """Read a mapping file, TOML or JSON by its name; none means that names are the API's own."""
    if path is None:
        return Layout()
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is no {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} holds no mapping")
    return Layout.parse(document)


class SourceFile:
    """The lender's file, CSV or NDJSON, plain or gzipped, or Parquet, read as a stream as often as needed."""

    def __init__(self, path: Path, layout: Layout) -> None:
        names = [suffix.lower() for suffix in path.suffixes]
        self._gzipped = names[-1:] == [".gz"]
        kind = (names[:-1] if self._gzipped else names)[-1:]
        self._parquet = names[-1:] == [".parquet"]
        if not self._parquet and kind not in ([".csv"], [".ndjson"], [".jsonl"]):
            raise ConfigurationError(
                f"{path.name} is neither .csv nor .ndjson (.jsonl), with or without .gz, nor .parquet"
            )
        self._csv = kind == [".csv"]
        self._layout = layout
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
        self._stamp = self._now()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def size(self) -> int:
        """The file's size in bytes, as it lies there."""
        return self._stamp[0]

    def rows(self, at: Callable[[int], object]) -> Iterator[tuple[int, Raw]]:
        """Yield each row's number, counted from 1 without the header, and its texts or what is wrong with it.

        ``at`` is told now and then how many bytes were read. A file that changes meanwhile ends the run.
        """
        self._file.seek(0)
        self._check_unchanged()
        try:
            for count, row in enumerate(self._parquet_rows() if self._parquet else self._text_rows()):
                if count % REPORT_EVERY == 0:
                    at(self._file.tell())
                yield row
        except (EOFError, OSError, zlib.error) as error:
            raise ConfigurationError(f"{self.path.name} is damaged and cannot be read to its end") from error
        self._check_unchanged()
        at(self.size)

    def _parquet_rows(self) -> Iterator[tuple[int, Raw]]:
        rows = ParquetRows(self._file)
        self._layout.check_columns(rows.columns)
        yield from enumerate(rows, start=1)

    def _text_rows(self) -> Iterator[tuple[int, Raw]]:
        unzipped: Any = gzip.GzipFile(fileobj=self._file) if self._gzipped else self._file
        # Bytes that are no text of this encoding become lone surrogates: wrong in one field, not for the whole file.
        encoding = "utf-8-sig" if self._layout.encoding.lower() in {"utf-8", "utf8"} else self._layout.encoding
        try:
            text = io.TextIOWrapper(unzipped, encoding=encoding, errors="surrogateescape", newline="")
        except LookupError as error:
            raise ConfigurationError(f"mapping: there is no encoding {self._layout.encoding}") from error
        try:
            yield from self._csv_rows(text) if self._csv else self._json_rows(text)
        finally:
            text.detach()  # or its end would close the file

    def _csv_rows(self, text: io.TextIOWrapper) -> Iterator[tuple[int, Raw]]:
        reader = csv.reader(text, delimiter=self._layout.delimiter, strict=True)
        header = self._header(reader)
        number = 0
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                number += 1
                yield number, FieldError("", "row_malformed", "cells separated and quoted as RFC 4180 says")
                continue
            if not cells:
                continue
            number += 1
            if len(cells) != len(header):
                yield number, FieldError("", "row_malformed", f"{len(header)} cells, as the header has")
            else:
                yield number, _text_row(dict(zip(header, cells, strict=True)))

    def _header(self, reader: Any) -> list[str]:
        try:
            header = [name.strip() for name in next(reader)]
        except (StopIteration, csv.Error):
            raise ConfigurationError(f"{self.path.name} has no header line") from None
        if len(set(header)) != len(header):
            raise ConfigurationError(f"{self.path.name} has two columns of one name")
        self._layout.check_columns(header)
        return header

    def _json_rows(self, text: io.TextIOWrapper) -> Iterator[tuple[int, Raw]]:
        number = 0
        while line := text.readline(MAX_LINE):
            number += 1
            whole = line.endswith("\n") or len(line) < MAX_LINE
            while not whole and (rest := text.readline(MAX_LINE)):
                whole = rest.endswith("\n")
            if len(line) == MAX_LINE:
                yield number, FieldError("", "row_malformed", "a line of at most one mebibyte")
            elif line.strip():
                yield number, _json_row(line)

    def _now(self) -> tuple[int, int]:
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns

    def _check_unchanged(self) -> None:
        if self._now() != self._stamp:
            raise ConfigurationError(f"{self.path.name} was changed while it was read; run again")


def _text_row(row: dict[str, str]) -> Raw:
    try:
        "".join(row.values()).encode()
    except UnicodeEncodeError:
        return FieldError("", "encoding", "text of the file's encoding; a mapping may name another")
    return row


def _json_row(line: str) -> Raw:
    """Return a line's fields as texts: numbers as they are written, null as empty, nested names with a dot."""
    try:
        decode_object(line.encode(), max_depth=MAX_DEPTH)
        document = json.loads(line, parse_int=str, parse_float=str)
    except (Malformed, UnicodeEncodeError):
        return FieldError("", "row_malformed", "one JSON object in UTF-8")
    row: dict[str, str] = {}
    for name, value in document.items():
        members = {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
        if any(not isinstance(one, str | None) for one in members.values()):
            return FieldError("", "row_malformed", "texts, numbers and nulls, at most one level deep")
        row.update({one: text or "" for one, text in members.items()})
    return row


class ErrorFile:
    """Rows that failed, one JSON object a line: row, field, code, detail. Not left behind where there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = 0
        try:
            path.unlink(missing_ok=True)
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error

    def write(self, row: int, error: FieldError) -> None:
        """Add an entry."""
        entry = {"row": row, "field": field_name(error.pointer), "code": error.code, "detail": error.detail}
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self.entries += 1

    def flush(self) -> None:
        """Let what was written be read."""
        self._file.flush()

    def close(self) -> None:
        """End the file; an empty one is removed."""
        self._file.close()
        if not self.entries:
            self.path.unlink()


class State:
    """What was done already, by keyed digest; and, for this run only, which account stands in which row.

    On disk, so that a file of any size needs no memory. Held exclusively: two imports of one file exclude each
    other. A run that was not finished is taken up again; after a finished one every row is looked at anew.
    """

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            # An empty name is SQLite's own temporary file, which nobody else can open.
            self._db = sqlite3.connect("" if path is None else path, timeout=0, isolation_level=None)
            self._db.executescript(
                """
                PRAGMA locking_mode = EXCLUSIVE;
                PRAGMA synchronous = NORMAL;
                BEGIN EXCLUSIVE;
                CREATE TABLE IF NOT EXISTS run (number INTEGER NOT NULL, finished INTEGER NOT NULL);
                CREATE TABLE IF NOT EXISTS done
                    (record_id TEXT PRIMARY KEY, content BLOB NOT NULL, run INTEGER NOT NULL) WITHOUT ROWID;
                CREATE INDEX IF NOT EXISTS done_content ON done (content);
                INSERT INTO run SELECT 0, 1 WHERE NOT EXISTS (SELECT 1 FROM run);
                CREATE TABLE IF NOT EXISTS name (value TEXT NOT NULL);
                INSERT INTO name SELECT '' WHERE NOT EXISTS (SELECT 1 FROM name);
                UPDATE name SET value = hex(randomblob(16)) WHERE (SELECT finished FROM run) = 1;
                UPDATE run SET number = number + finished, finished = 0;
                CREATE TEMP TABLE account (digest BLOB PRIMARY KEY, row INTEGER NOT NULL) WITHOUT ROWID;
                """
            )
            self.save()
            (self._run,) = self._db.execute("SELECT number FROM run").fetchone()
        except sqlite3.OperationalError as error:
            raise ConfigurationError(f"{path} is in use: another import of this file is running") from error
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"{path} is not the state of an import; remove it to begin anew") from error

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Keep what was done and close."""
        self._db.execute("COMMIT")
        self._db.close()

    @property
    def name(self) -> str:
        """The name of this run, which it keeps when it is taken up again. A random text; it tells nothing."""
        return str(self._db.execute("SELECT value FROM name").fetchone()[0])

    def rename(self) -> None:
        """Give this run another name: what it sends from now on is not what it sent before."""
        self._db.execute("UPDATE name SET value = hex(randomblob(16))")

    def first_row(self, account: bytes, number: int) -> int:
        """Return in which row an account stood first: this one, if it is new."""
        self._db.execute("INSERT OR IGNORE INTO account VALUES (?, ?)", (account, number))
        (first,) = self._db.execute("SELECT row FROM account WHERE digest = ?", (account,)).fetchone()
        return int(first)

    def find(self, content: bytes) -> tuple[str, bool] | None:
        """Return the record that a row of this content became, and whether that was in this very run."""
        found = self._db.execute("SELECT record_id, run FROM done WHERE content = ?", (content,)).fetchone()
        return None if found is None else (str(found[0]), found[1] == self._run)

    def keep(self, content: bytes, record_id: str) -> None:
        """Note that a row is done; on disk with the next ``save``."""
        # One content per record: what it said before a correction must not pass for done when the file says it again.
        self._db.execute("INSERT OR REPLACE INTO done VALUES (?, ?, ?)", (record_id, content, self._run))

    def save(self) -> None:
        """Bring what was noted to disk."""
        self._db.execute("COMMIT")
        self._db.execute("BEGIN EXCLUSIVE")

    def finish(self) -> None:
        """Note that every row was looked at."""
        self._db.execute("UPDATE run SET finished = 1")
