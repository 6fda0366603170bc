"""A Parquet file means what the same rows mean in CSV, is streamed, and is missed with a clear sentence."""

import importlib
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from creditshare.cli import parquet_files
from creditshare.cli.import_files import Raw, SourceFile
from creditshare.client.importing import Layout
from creditshare.errors import ConfigurationError, FieldError

WHY = "the extra creditshare[parquet] is not installed"
SCHEMA: dict[str, Any] = {
    "uscc": ["91350100M000100Y43", "91350100M000100Y43"],
    "account_ref": ["A-1", "A-2"],
    "original_amount": [Decimal("150000.00"), Decimal("0.10")],
    "outstanding_principal": [98000.5, None],
    "days_past_due": [200, None],
    "opened_on": [date(2020, 2, 29), date(2021, 1, 1)],
    "default_on": [datetime(2024, 5, 6, tzinfo=UTC), datetime(2024, 5, 6, 7, 8, tzinfo=UTC)],
    "region": [{"scheme": "ISO 3166-2", "code": "US-CA"}, {"scheme": "ISO 3166-2", "code": None}],
}


def write(path: Path, columns: dict[str, Any], **choices: Any) -> Path:
    pyarrow, parquet = pytest.importorskip("pyarrow", reason=WHY), pytest.importorskip("pyarrow.parquet", reason=WHY)
    parquet.write_table(pyarrow.table(columns), path, **choices)
    return path


def read(path: Path, layout: Layout | None = None) -> list[tuple[int, Raw]]:
    source = SourceFile(path, layout or Layout())
    try:
        return list(source.rows(lambda _: None))
    finally:
        source.close()


def test_values_become_what_a_lender_writes(tmp_path: Path) -> None:
    first, second = read(write(tmp_path / "loans.parquet", SCHEMA))
    assert first == (
        1,
        {
            "uscc": "91350100M000100Y43",
            "account_ref": "A-1",
            "original_amount": "150000.00",
            "outstanding_principal": "98000.5",
            "days_past_due": "200",
            "opened_on": "2020-02-29",
            "default_on": "2024-05-06",
            "region.scheme": "ISO 3166-2",
            "region.code": "US-CA",
        },
    )
    assert isinstance(second[1], dict)
    assert {name: second[1][name] for name in ("original_amount", "days_past_due", "default_on", "region.code")} == {
        "original_amount": "0.10",
        "days_past_due": "",
        "default_on": "2024-05-06T07:08:00+00:00",  # an instant is no day; the field's own check will say so
        "region.code": "",
    }


def test_a_column_that_no_record_has_is_named_and_one_of_an_odd_kind_fails_its_rows(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"region\.colour"):
        read(write(tmp_path / "loans.parquet", {"region": [{"colour": "red"}]}))
    (row,) = read(write(tmp_path / "odd.parquet", {"account_ref": [["A", "B"]]}))
    assert isinstance(row[1], FieldError)
    assert row[1].code == "row_malformed"
    mapped = Layout.parse({"fields": {"account_ref": "loan no"}})
    assert read(write(tmp_path / "mapped.parquet", {"loan no": ["A-1"]}), mapped) == [(1, {"loan no": "A-1"})]


def test_a_file_is_read_as_a_stream_whatever_its_row_groups(tmp_path: Path) -> None:
    rows = 3 * parquet_files.ROWS_AT_ONCE + 1
    path = write(tmp_path / "loans.parquet", {"account_ref": [f"A-{n}" for n in range(rows)]}, row_group_size=rows)
    source = SourceFile(path, Layout())
    try:
        walk = source.rows(lambda _: None)
        assert next(walk) == (1, {"account_ref": "A-0"})
        assert list(walk)[-1] == (rows, {"account_ref": f"A-{rows - 1}"})
    finally:
        source.close()


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "loans.parquet", SCHEMA)
    whole = path.read_bytes()
    for content in (b"", whole[:-40], b"PAR1 and nothing else PAR1", whole[:4] + bytes(40) + whole[44:]):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match="damaged"):
            read(path)


def test_without_pyarrow_the_user_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    (tmp_path / "loans.parquet").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"creditshare\[parquet\]"):
        read(tmp_path / "loans.parquet")
