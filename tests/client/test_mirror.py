"""A mirror of a log of any size is whole, goes on where it was, and names what does not hold."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.fixtures.loopback import listening

from creditshare.client.mirror import check, entries, mirror, trusted_key, trusted_policy
from creditshare.errors import ConfigurationError, Unavailable, VerificationFailed
from creditshare.tlog.bundles import encode_bundle
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from creditshare.tlog.cosignature import Cosigner
from creditshare.tlog.merkle import leaf_hash
from creditshare.tlog.note import Signer
from creditshare.tlog.tiles import TILE_WIDTH, extend, partial_tiles, root_from_edge, tile_name

ORIGIN = "127.0.0.1/log"
SIGNER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
OTHER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\2" * 32))
ENTRIES = [b'{"entry":%d}' % n for n in range(65_537)]
HASHES = [leaf_hash(entry) for entry in ENTRIES]
WITNESSES = [Cosigner(f"witness.example/{n}", Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in (3, 4, 5)]
POLICY = "".join(
    [*(f"witness w{n} {one.witness.vkey}\n" for n, one in enumerate(WITNESSES)), "group them 2 w0 w1 w2\nquorum them\n"]
).encode()
SIZES = [0, 1, 2, 255, 256, 257, 65_537]
"""Around a tile and around a tile of tiles. The whole list of sizes is that of ``tlog/test_growth.py``."""


def publish(
    folder: Path,
    size: int,
    *,
    hashes: list[bytes] = HASHES,
    given: list[bytes] = ENTRIES,
    cosigned: int | None = None,
    by: Collection[int] = (0, 1),
) -> None:
    """Write a log as a server of static files would show it: a copy of the standard's layout, made another way.

    ``cosigned`` is the size up to which some witnesses cosigned it, the first at 1,000 s, the next at 2,000 s.
    """
    root = folder / "log" / "v1"
    shutil.rmtree(root, ignore_errors=True)
    files, checkpoint = files_of(size, hashes, given)
    files["checkpoint"] = sign_checkpoint(checkpoint, [SIGNER]).encode()
    if cosigned is not None:
        more, old = files_of(cosigned, hashes, given)
        lines = [WITNESSES[n].cosign(old, at=1_000 * (n + 1)) for n in by]
        files |= {**more, "cosigned-checkpoint": (sign_checkpoint(old, [SIGNER]) + "".join(lines)).encode()}
    for name, body in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(body)


def files_of(size: int, hashes: list[bytes], given: list[bytes]) -> tuple[dict[str, bytes], Checkpoint]:
    tree = extend(0, (), hashes[:size])
    files = {f"tile/{tile.level}/{tile_name(tile.n)}": tile.hashes for tile in tree.tiles}
    for part in partial_tiles(size):
        files[f"tile/{part.level}/{tile_name(part.n, part.width)}"] = tree.edge[part.level]
    for start in range(0, size, TILE_WIDTH):
        some = given[start : min(start + TILE_WIDTH, size)]
        files[f"tile/entries/{tile_name(start // TILE_WIDTH, len(some))}"] = encode_bundle(some)
    return files, Checkpoint(ORIGIN, size, root_from_edge(size, tree.edge))


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder on loopback; yield its address and the paths that were asked for."""
    asked: list[str] = []

    class Quiet(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            asked.append(self.path)

    with listening(partial(Quiet, directory=str(folder))) as url:
        yield url, asked


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    folder = tmp_path / "log-server"
    with served(folder) as (url, asked):
        yield folder, url, asked


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    trusted_key(folder, SIGNER.verifier.vkey)
    return folder


@pytest.mark.parametrize("size", SIZES)
def test_a_log_of_any_size_is_copied_whole(log: tuple[Path, str, list[str]], copy: Path, size: int) -> None:
    source, url, _ = log
    publish(source, size)
    got = mirror(url, copy, SIGNER.verifier)
    assert (got.before, got.checkpoint.size) == (0, size)
    assert check(copy, SIGNER.verifier).checkpoint == got.checkpoint
    assert [entry for _, bundle in entries(copy, size) for entry in bundle] == ENTRIES[:size]
    for name in ("tile", "checkpoint"):
        published, kept = source / "log/v1" / name, copy / name
        files = [path for path in published.rglob("*") if path.is_file()] if published.is_dir() else [published]
        for path in files if published.exists() else []:
            assert (kept / path.relative_to(published)).read_bytes() == path.read_bytes()


def test_progress_counts_every_file_once(log: tuple[Path, str, list[str]], copy: Path) -> None:
    source, url, _ = log
    told: list[tuple[int, int]] = []
    for size in (1, 256, 700):
        publish(source, size)
        told.clear()
        mirror(url, copy, SIGNER.verifier, tell=lambda done, of: told.append((done, of)))
        assert told == [(number, len(told)) for number in range(1, len(told) + 1)]


def test_more_than_a_file_can_hold_is_not_read_to_its_end(log: tuple[Path, str, list[str]], copy: Path) -> None:
    source, url, _ = log
    publish(source, 1)
    (source / "log/v1/tile/0/000.p/1").write_bytes(b"x" * 10_000)
    with pytest.raises(VerificationFailed, match="larger than it can be"):
        mirror(url, copy, SIGNER.verifier)


def test_it_goes_on_where_it_was(log: tuple[Path, str, list[str]], copy: Path) -> None:
    source, url, asked = log
    for size in (300, 300, 700, 3_000):
        publish(source, size)
        asked.clear()
        got = mirror(url + "/log/v1/", copy, SIGNER.verifier)
        assert got.checkpoint.size == size
        assert len(asked) == got.files + 1
    assert "/log/v1/tile/entries/000" not in asked
    assert check(copy, SIGNER.verifier).earlier == 3
    # Partial files that a wider one stands for are gone.
    assert not list((copy / "tile/entries").glob("00?.p"))
    assert sorted(path.name for path in (copy / "checkpoints").iterdir()) == ["300", "3000", "700"]


def test_what_was_fetched_before_the_log_went_away_is_not_fetched_again(
    log: tuple[Path, str, list[str]], copy: Path
) -> None:
    source, url, asked = log
    publish(source, 1_000)
    lost = source / "log/v1/tile/0/000"
    lost.rename(lost.with_name("hidden"))
    with pytest.raises(Unavailable, match="tile/0/000"):
        mirror(url, copy, SIGNER.verifier)
    lost.with_name("hidden").rename(lost)
    asked.clear()
    mirror(url, copy, SIGNER.verifier)
    assert not [path for path in asked if "entries" in path]


def test_a_log_that_shrinks_or_shows_another_past_is_kept_as_evidence(
    log: tuple[Path, str, list[str]], copy: Path
) -> None:
    source, url, _ = log
    publish(source, 700)
    mirror(url, copy, SIGNER.verifier)
    other = [leaf_hash(b"other"), *HASHES[1:]]
    for size, hashes, said in ((600, HASHES, "shrank"), (700, other, "another root")):
        publish(source, size, hashes=hashes)
        with pytest.raises(VerificationFailed, match=said):
            mirror(url, copy, SIGNER.verifier)
    assert len(list((copy / "contradictions").iterdir())) == 2
    # A longer one with another past: its root is right for its own entries, and wrong for what was copied before.
    publish(source, 900, hashes=[leaf_hash(b"other"), *HASHES[1:]], given=[b"other", *ENTRIES[1:]])
    with pytest.raises(VerificationFailed, match="checkpoint: its root is not that of the 900 entries"):
        mirror(url, copy, SIGNER.verifier)
    # The old mirror still holds.
    assert check(copy, SIGNER.verifier).checkpoint.size == 700


def test_a_longer_log_with_another_past_contradicts_an_earlier_checkpoint(
    log: tuple[Path, str, list[str]], copy: Path
) -> None:
    source, url, _ = log
    publish(source, 100)  # a partial bundle, so that nothing of it is kept when the log is longer
    mirror(url, copy, SIGNER.verifier)
    publish(source, 200, hashes=[leaf_hash(b"other"), *HASHES[1:]], given=[b"other", *ENTRIES[1:]])
    with pytest.raises(VerificationFailed, match="checkpoints/100: the first 100 entries are not what the log signed"):
        mirror(url, copy, SIGNER.verifier)


SPOILT = {
    "tile/entries/000": "tile/0/000: not the hashes of entries 0 to 255",
    "tile/0/001": "tile/0/001: not the hashes of entries 256 to 511",
    "tile/1/000.p/2": "tile/1/000.p/2: not what the entries make of it",
    "tile/0/002.p/88": "tile/0/002.p/88: not what the entries make of it",
    "tile/entries/002.p/88": "checkpoint: its root is not that of the 600 entries",
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_file_is_named(log: tuple[Path, str, list[str]], copy: Path, name: str) -> None:
    source, url, _ = log
    publish(source, 600)
    mirror(url, copy, SIGNER.verifier)
    path = copy / name
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(VerificationFailed) as failed:
        check(copy, SIGNER.verifier)
    assert SPOILT[name] in str(failed.value)
    path.unlink()
    with pytest.raises(VerificationFailed, match=f"{name}.*missing"):
        check(copy, SIGNER.verifier)


@pytest.mark.parametrize("name", ["checkpoint", "checkpoints/600"])
@pytest.mark.parametrize("body", [b"no note", b"", b"\xff"])
def test_a_spoilt_checkpoint_is_named_and_does_not_verify(
    log: tuple[Path, str, list[str]], copy: Path, name: str, body: bytes
) -> None:
    source, url, _ = log
    publish(source, 600)
    mirror(url, copy, SIGNER.verifier)
    (copy / name).write_bytes(body)
    with pytest.raises(VerificationFailed, match=f"^{name}: "):
        check(copy, SIGNER.verifier)


def test_the_key_is_the_one_of_the_first_time(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--vkey"):
        trusted_key(tmp_path / "new", None)
    assert trusted_key(copy, None) == SIGNER.verifier
    with pytest.raises(VerificationFailed, match="another key"):
        trusted_key(copy, OTHER.verifier.vkey)


def test_a_checkpoint_of_another_key_is_not_believed(log: tuple[Path, str, list[str]], tmp_path: Path) -> None:
    source, url, asked = log
    publish(source, 10)
    with pytest.raises(VerificationFailed):
        mirror(url, tmp_path / "other", OTHER.verifier)
    assert asked == ["/log/v1/checkpoint"]


def test_with_a_policy_only_what_a_quorum_cosigned_is_copied(log: tuple[Path, str, list[str]], copy: Path) -> None:
    source, url, _ = log
    publish(source, 700, cosigned=600)
    assert mirror(url, copy, SIGNER.verifier, policy=trusted_policy(copy, POLICY)).checkpoint.size == 600
    assert check(copy, SIGNER.verifier).at == 1_000  # since then two of them had seen it
    # The folder keeps the policy: who comes again need not name it, and it is asked for offline too.
    publish(source, 800, cosigned=750, by=[2])
    with pytest.raises(VerificationFailed, match=r"cosigned by witness.example/5, too few"):
        mirror(url, copy, SIGNER.verifier, policy=trusted_policy(copy))
    assert check(copy, SIGNER.verifier).checkpoint.size == 600
    bare = "".join((copy / "checkpoint").read_text().splitlines(keepends=True)[:-1])
    (copy / "checkpoint").write_text(bare)
    with pytest.raises(VerificationFailed, match="too few"):
        check(copy, SIGNER.verifier)


def test_a_mirror_that_did_without_witnesses_waits_until_they_have_come_so_far(
    log: tuple[Path, str, list[str]], copy: Path
) -> None:
    source, url, _ = log
    publish(source, 700, cosigned=600)
    mirror(url, copy, SIGNER.verifier)
    policy = trusted_policy(copy, POLICY)
    with pytest.raises(Unavailable, match="come again later"):
        mirror(url, copy, SIGNER.verifier, policy=policy)
    assert not (copy / "contradictions").exists()
    publish(source, 800, cosigned=800)
    assert mirror(url, copy, SIGNER.verifier, policy=policy).checkpoint.size == 800
    # From now on both were cosigned, and going back is what no honest log does.
    publish(source, 800, cosigned=750)
    with pytest.raises(VerificationFailed, match="shrank"):
        mirror(url, copy, SIGNER.verifier, policy=policy)


def test_what_is_no_policy_is_not_kept(copy: Path) -> None:
    with pytest.raises(ConfigurationError, match="line 1"):
        trusted_policy(copy, b"witness me\n")
    assert trusted_policy(copy) is None


def test_one_witness_that_lies_about_its_time_changes_nothing(log: tuple[Path, str, list[str]], copy: Path) -> None:
    source, url, _ = log
    policy = trusted_policy(copy, POLICY)
    publish(source, 600, cosigned=600)
    note = (source / "log/v1/cosigned-checkpoint").read_text()
    cosigned = open_checkpoint(note, [SIGNER.verifier])
    for lie in (0, 2**62):
        (source / "log/v1/cosigned-checkpoint").write_text(note + WITNESSES[2].cosign(cosigned, at=lie))
        mirror(url, copy, SIGNER.verifier, policy=policy)
        assert check(copy, SIGNER.verifier).at == (1_000 if lie == 0 else 2_000)


@pytest.mark.parametrize("policy", [None, POLICY], ids=["alone", "with witnesses"])
def test_a_fork_that_grew_is_kept_as_evidence_and_the_honest_log_still_copied(
    log: tuple[Path, str, list[str]], copy: Path, policy: bytes | None
) -> None:
    source, url, _ = log
    trusted = None if policy is None else trusted_policy(copy, policy)
    publish(source, 2, cosigned=2)
    mirror(url, copy, SIGNER.verifier, policy=trusted)
    publish(source, 300, hashes=[leaf_hash(b"other"), *HASHES[1:]], given=[b"other", *ENTRIES[1:]], cosigned=300)
    with pytest.raises(VerificationFailed, match="checkpoints/2: the first 2 entries are not"):
        mirror(url, copy, SIGNER.verifier, policy=trusted)
    (kept,) = (copy / "contradictions").iterdir()
    assert open_checkpoint(kept.read_bytes(), [SIGNER.verifier]).size == 300
    assert check(copy, SIGNER.verifier).checkpoint.size == 2
    publish(source, 400, cosigned=400)
    assert mirror(url, copy, SIGNER.verifier, policy=trusted).checkpoint.size == 400


def test_what_witnesses_cosigned_of_another_past_is_a_contradiction_and_not_waited_for(
    log: tuple[Path, str, list[str]], copy: Path
) -> None:
    source, url, _ = log
    publish(source, 700)
    mirror(url, copy, SIGNER.verifier)
    publish(source, 700, hashes=[leaf_hash(b"other"), *HASHES[1:]], cosigned=600)
    with pytest.raises(VerificationFailed, match="shrank"):
        mirror(url, copy, SIGNER.verifier, policy=trusted_policy(copy, POLICY))
    assert len(list((copy / "contradictions").iterdir())) == 1
