"""The file of erasures and revocations: private, only added to, whole after a torn write, refused if damaged."""

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from creditshare.errors import ConfigurationError
from creditshare.keys.tombstones import Buried, Tombstones

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_what_was_added_is_read_back(tmp_path: Path) -> None:
    stones = Tombstones(tmp_path / "tombstones.ndjson")
    assert stones.read() == Buried()
    borrower, record = uuid4(), uuid4()
    stones.add("borrower", [borrower], now=NOW)
    stones.add("record", [record], now=NOW)
    stones.add("key", ["k1", "k2"], now=NOW)
    stones.add("record", [record], now=NOW)
    assert stones.read() == Buried((borrower,), (record,), ("k1", "k2"))
    assert stat.S_IMODE(stones.path.stat().st_mode) == 0o600


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    stones = Tombstones(tmp_path / "tombstones.ndjson")
    stones.add("key", ["k1"], now=NOW)
    whole = stones.path.read_bytes()
    stones.path.write_bytes(whole + whole[:20])
    assert stones.read() == Buried(keys=("k1",))
    stones.add("key", ["k2"], now=NOW)
    assert stones.read() == Buried(keys=("k1", "k2"))


@pytest.mark.parametrize("line", ["{}", "x", '{"kind": "ghost", "id": "1"}', '{"kind": "record", "id": "1"}', "[]"])
def test_a_damaged_line_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    stones = Tombstones(tmp_path / "tombstones.ndjson")
    stones.add("key", ["k1"], now=NOW)
    with stones.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ConfigurationError, match="line 2 of"):
        stones.read()


def test_writers_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "tombstones.ndjson"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: Tombstones(path).add("key", [f"k{n}"], now=NOW), range(40)))
    assert set(Tombstones(path).read().keys) == {f"k{n}" for n in range(40)}


def test_a_file_that_cannot_be_written_refuses_the_act(tmp_path: Path) -> None:
    (tmp_path / "tombstones.ndjson").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        Tombstones(tmp_path / "tombstones.ndjson").add("key", ["k"], now=NOW)
