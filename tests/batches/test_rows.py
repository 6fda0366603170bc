"""A file's bytes into rows: the same whatever the blocks, bounded, and of the right types."""

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.api.record_rows import CSV_EXAMPLE, FIELDS, NDJSON_EXAMPLE, read_row
from creditshare.api.schemas.records import EXAMPLE_RECORD, RecordIn
from creditshare.batches.rows import CHUNK_ROWS, CSV, INTEGERS, MAX_ROW_BYTES, NDJSON, Form, chunks
from creditshare.errors import Refused


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b""))), st.data())
def test_the_rows_of_ndjson_are_its_lines_however_it_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    content = b"".join(line + b"\n" for line in lines)
    blocks = cut(content, data.draw(st.lists(st.integers(0, 10_000), max_size=5)))
    assert list(Form(NDJSON, FIELDS).rows(blocks)) == lines


def test_the_last_line_may_lack_its_end() -> None:
    assert (
        list(Form(NDJSON, FIELDS).rows([b"1\n2"]))
        == list(Form(NDJSON, FIELDS).rows([b"1\r\n", b"2\n"]))
        == [b"1", b"2"]
    )


def test_a_row_without_an_end_is_cut_before_it_fills_memory() -> None:
    served = 0

    def blocks() -> Iterator[bytes]:
        nonlocal served
        while True:
            served += 1
            yield b"x" * 4_096

    with pytest.raises(Refused) as caught:
        list(Form(NDJSON, FIELDS).rows(blocks()))
    assert caught.value.fields[0].pointer == "/rows/1"
    assert served <= MAX_ROW_BYTES // 4_096 + 1


def test_the_examples_of_both_forms_say_the_same() -> None:
    (from_json,) = Form(NDJSON, FIELDS).rows([NDJSON_EXAMPLE.encode()])
    (from_csv,) = Form(CSV, FIELDS).rows([CSV_EXAMPLE.encode()])
    assert json.loads(from_csv) == json.loads(from_json) == EXAMPLE_RECORD
    assert read_row(from_csv) == read_row(from_json)


def test_the_whole_numbers_are_those_of_the_form() -> None:
    schemas = RecordIn.model_json_schema()
    found = set()
    for name in FIELDS:
        at = schemas
        for part in name.split("."):
            field = at["properties"][part]
            kinds = [field, *field.get("anyOf", [])]
            at = next((schemas["$defs"][k["$ref"].rpartition("/")[2]] for k in kinds if "$ref" in k), schemas)
        if any(kind.get("type") == "integer" for kind in kinds):
            found.add(name)
    assert found == INTEGERS


def test_a_cell_with_a_line_break_stays_one_row() -> None:
    rows = list(Form(CSV, FIELDS).rows([b'role,public_ref\r\nborrower,"a\nb"\r\n,c\r\n']))
    assert [json.loads(row) for row in rows] == [{"role": "borrower", "public_ref": "a\nb"}, {"public_ref": "c"}]
    assert b"\n" not in b"".join(rows)


def test_chunks_are_bounded_and_lose_nothing() -> None:
    rows = [str(number).encode() for number in range(2 * CHUNK_ROWS + 1)]
    parts = list(chunks(rows))
    assert [len(part) for part in parts] == [CHUNK_ROWS, CHUNK_ROWS, 1]
    assert [row for part in parts for row in part] == rows
