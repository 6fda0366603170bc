"""The files of an import: the state that lets it go on, the error file, and the forms in which rows may lie."""

import gzip
from pathlib import Path

import pytest

from creditshare.cli.import_files import MAX_LINE, ErrorFile, Raw, SourceFile, State
from creditshare.client.importing import Layout
from creditshare.errors import ConfigurationError, FieldError

ONE, OTHER = b"1" * 32, b"2" * 32


def test_an_unfinished_run_is_taken_up_again_and_a_finished_one_looked_at_anew(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with State(path) as state:
        assert state.find(ONE) is None
        state.keep(ONE, "rec_1")
        assert state.find(ONE) == ("rec_1", True)
    with State(path) as state:
        assert state.find(ONE) == ("rec_1", True)
        state.finish()
    with State(path) as state:
        assert state.find(ONE) == ("rec_1", False)
        state.keep(ONE, "rec_1")
        assert state.find(ONE) == ("rec_1", True)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_run_keeps_its_name_until_it_is_finished_or_must_send_anew(tmp_path: Path) -> None:
    path = tmp_path / "state"
    names = []
    for ending in (lambda _: None, State.finish, State.rename, State.finish):
        with State(path) as state:
            names.append(state.name)
            ending(state)
    first, again, second, renamed = names
    assert first == again
    assert len({first, second, renamed}) == 3
    with State(None) as nowhere:
        assert nowhere.name not in names


def test_a_killed_run_keeps_its_name_although_nothing_of_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "state"
    killed = State(path)
    name = killed.name
    killed._db.close()  # without COMMIT, as a kill leaves it
    with State(path) as state:
        assert state.name == name


def test_what_a_record_said_before_its_correction_does_not_pass_for_done(tmp_path: Path) -> None:
    with State(tmp_path / "state") as state:
        state.keep(ONE, "rec_1")
        state.keep(OTHER, "rec_1")
        assert (state.find(ONE), state.find(OTHER)) == (None, ("rec_1", True))


def test_accounts_are_remembered_for_one_run_only(tmp_path: Path) -> None:
    for path in (tmp_path / "state", tmp_path / "state", None):
        with State(path) as state:
            assert [state.first_row(ONE, 4), state.first_row(OTHER, 5), state.first_row(ONE, 6)] == [4, 5, 4]


def test_an_error_file_without_errors_is_not_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "errors.ndjson"
    path.write_text("of an earlier run\n")
    empty = ErrorFile(path)
    empty.close()
    assert not path.exists()
    errors = ErrorFile(path)
    errors.write(3, FieldError("/changes/region/code", "format", "six digits"))
    errors.close()
    assert path.read_text() == '{"row": 3, "field": "region.code", "code": "format", "detail": "six digits"}\n'
    assert path.stat().st_mode & 0o777 == 0o600


def read(path: Path, content: bytes, layout: Layout | None = None) -> list[tuple[int, Raw]]:
    path.write_bytes(content)
    source = SourceFile(path, layout or Layout())
    try:
        twice = [list(source.rows(lambda _: None)) for _ in range(2)]
    finally:
        source.close()
    assert twice[0] == twice[1]
    return twice[0]


def kinds(rows: list[tuple[int, Raw]]) -> list[tuple[int, str]]:
    return [(number, raw.code if isinstance(raw, FieldError) else "row") for number, raw in rows]


def test_lines_of_json_become_texts_as_they_are_written(tmp_path: Path) -> None:
    line = b'\xef\xbb\xbf{"original_amount": 150000.10, "days_past_due": 91, "region": {"code": "US"}, "cause": null}'
    for name, content in (("a.ndjson", line), ("a.jsonl.gz", gzip.compress(line))):
        expected = {"original_amount": "150000.10", "days_past_due": "91", "region.code": "US", "cause": ""}
        assert read(tmp_path / name, content) == [(1, expected)]


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"7",
        b"{",
        b'{"cause": true}',
        b'{"cause": [1]}',
        b'{"region": {"code": {"deep": 1}}}',
        b'{"cause": NaN}',
        b'{"cause": "a", "cause": "b"}',
        b'{"cause": "\\ud800"}',
        b'{"cause": "\xff"}',
        b"[" * 5000,
        b'{"cause": "' + b"a" * MAX_LINE + b'"}',
    ],
)
def test_a_line_that_is_no_row_does_not_end_the_file(tmp_path: Path, line: bytes) -> None:
    rows = read(tmp_path / "a.ndjson", line + b'\n\n{"cause": "fraud"}\n' + line)
    assert kinds(rows) == [(1, "row_malformed"), (3, "row"), (4, "row_malformed")]


def test_cells_are_read_as_rfc_4180_says_and_a_bad_line_does_not_end_the_file(tmp_path: Path) -> None:
    content = (
        b'cause,public_ref\r\nfraud,"two\r\nlines, ""quoted"""\r\n\r\nonly-one\r\na,"b"c\r\n\xff,x\r\ndisaster,\r\n'
    )
    rows = read(tmp_path / "a.csv", content)
    assert rows[0] == (1, {"cause": "fraud", "public_ref": 'two\r\nlines, "quoted"'})
    assert kinds(rows)[1:] == [(2, "row_malformed"), (3, "row_malformed"), (4, "encoding"), (5, "row")]


def test_a_file_that_changes_meanwhile_ends_the_run(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"cause\nfraud\n")
    source = SourceFile(path, Layout())
    with path.open("ab") as file:
        file.write(b"disaster\n")
    with pytest.raises(ConfigurationError, match="changed"):
        list(source.rows(lambda _: None))
    source.close()


def test_an_encoding_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="utf-9"):
        read(tmp_path / "a.csv", b"cause\n", Layout(encoding="utf-9"))
