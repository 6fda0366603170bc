"""A witness cosigns what continues what it cosigned last, stores it first, and never goes back."""

import hashlib
import sqlite3
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from creditshare.errors import ConfigurationError, Malformed, VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from creditshare.tlog.cosignature import cosigned_by
from creditshare.tlog.merkle import consistency_nodes, fold_proof
from creditshare.tlog.note import Signer, parse_signatures, split_note
from creditshare.tlog.tiles import evaluate, extend, reads, root_from_edge
from creditshare.tlog.witness import AddCheckpoint, NotSigned, OtherSize, UnknownLog
from creditshare.witness.folder import STATE_FILE, Folder

ORIGIN = "log.example/log"
LOG = Signer(ORIGIN, Ed25519PrivateKey.generate())
LEAVES = [hashlib.sha256(bytes([n])).digest() for n in range(40)]
FORKED = [*LEAVES[:15], hashlib.sha256(b"other").digest(), *LEAVES[16:]]


def note_of(size: int, leaves: list[bytes] = LEAVES, *, signer: Signer = LOG) -> str:
    root = root_from_edge(size, extend(0, (), leaves[:size]).edge)
    return sign_checkpoint(Checkpoint(signer.name, size, root), [signer])


def proof_of(old: int, size: int, leaves: list[bytes] = LEAVES) -> tuple[bytes, ...]:
    if not 0 < old < size:
        return ()
    plan = consistency_nodes(old, size)
    rows = {read: b"".join(leaves[read.start : read.start + read.count]) for read in reads(plan.nodes)}
    return tuple(fold_proof(plan, evaluate(plan.nodes, rows)))


def request_of(old: int, size: int, leaves: list[bytes] = LEAVES, *, proved: bool = True) -> bytes:
    return AddCheckpoint(old, proof_of(old, size, leaves) if proved else (), note_of(size, leaves)).encode()


@pytest.fixture
def witness(tmp_path: Path) -> Folder:
    folder = Folder.create(tmp_path / "witness", name="witness.example/1")
    folder.trust(LOG.verifier.vkey)
    return folder


def test_what_grew_is_cosigned_and_stored(witness: Folder) -> None:
    for old, size in ((0, 3), (3, 3), (3, 16), (16, 17), (17, 40)):
        (signature,) = parse_signatures(witness.add(request_of(old, size), at=1_000 + size))
        text = split_note(note_of(size)).text
        assert [one.at for one in cosigned_by(text, [signature], [witness.cosigner.witness])] == [1_000 + size]
    again = Folder(witness.path)
    assert again.cosigner.witness == witness.cosigner.witness
    newest = again.newest(ORIGIN)
    assert newest is not None
    assert open_checkpoint(newest, [LOG.verifier]).size == 40
    assert newest.endswith(signature.line)
    assert again.held() == [(ORIGIN, 40, 0)]
    assert again.newest("other") is None


def test_the_empty_log_is_cosigned_too(witness: Folder) -> None:
    witness.add(request_of(0, 0), at=1)
    witness.add(request_of(0, 5), at=2)
    assert witness.held() == [(ORIGIN, 5, 0)]


STRANGER, FORGER = (Signer(name, Ed25519PrivateKey.generate()) for name in ("x.example", ORIGIN))
REFUSALS: dict[str, tuple[AddCheckpoint, type[Exception]]] = {
    "another log": (AddCheckpoint(0, (), note_of(3, signer=STRANGER)), UnknownLog),
    "another key": (AddCheckpoint(0, (), note_of(3, signer=FORGER)), NotSigned),
    "a size beyond": (AddCheckpoint(20, (), note_of(16)), Malformed),
    "not the last size": (AddCheckpoint(3, proof_of(3, 16), note_of(16)), OtherSize),
    "back": (AddCheckpoint(3, proof_of(3, 5), note_of(5)), OtherSize),
    "another tree of the size": (AddCheckpoint(16, (), note_of(16, FORKED)), OtherSize),
    "no proof": (AddCheckpoint(16, (), note_of(20)), VerificationFailed),
    "a forked continuation": (
        AddCheckpoint(16, proof_of(16, 20, FORKED), note_of(20, FORKED)),
        VerificationFailed,
    ),
    "a proof too long": (AddCheckpoint(16, (*proof_of(16, 20), LEAVES[0]), note_of(20)), VerificationFailed),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_nothing_else_is(witness: Folder, why: str) -> None:
    witness.add(request_of(0, 16), at=1)
    request, error = REFUSALS[why]
    with pytest.raises(error) as refused:
        witness.add(request.encode(), at=2)
    if isinstance(refused.value, OtherSize):
        assert refused.value.size == 16
    assert [(origin, size) for origin, size, _ in witness.held()] == [(ORIGIN, 16)]


def test_two_trees_of_one_size_are_remembered_as_the_proof_that_they_are(witness: Folder) -> None:
    witness.add(request_of(0, 16), at=1)
    for _ in range(2):
        with pytest.raises(OtherSize):
            witness.add(request_of(16, 16, FORKED), at=2)
    (note,) = witness.contradictions(ORIGIN)
    held = witness.newest(ORIGIN)
    assert held is not None
    both = [open_checkpoint(one, [LOG.verifier]) for one in (held, note)]
    assert both[0].size == both[1].size
    assert both[0].root != both[1].root
    # A wrong proof may come from anybody, so it accuses nobody.
    with pytest.raises(VerificationFailed):
        witness.add(request_of(16, 20, proved=False), at=3)
    assert witness.held() == [(ORIGIN, 16, 1)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"new 0\n\n" + note_of(3).encode(),
        b"old 00\n\n" + note_of(3).encode(),
        b"old -1\n\n" + note_of(3).encode(),
        b"old 0\nAAAA\n\n" + note_of(3).encode(),
        b"old 0\n" + b"\n".join([b"A" * 43 + b"="] * 64) + b"\n\n" + note_of(3).encode(),
        b"old 0\r\n\r\n" + note_of(3).encode(),
        b"old 0\n\n" + note_of(3).encode()[:-5],
        b"old 0\n\nhello\n",
        b"\xff" + request_of(0, 3),
    ],
)
def test_what_has_another_form_is_malformed(witness: Folder, body: bytes) -> None:
    with pytest.raises(Malformed):
        witness.add(body, at=1)
    assert witness.held() == []


def test_of_requests_at_once_none_takes_it_back(witness: Folder) -> None:
    """Eight threads, each with its own connection, try to bring it from 1 to their size: one can."""
    witness.add(request_of(0, 1), at=1)
    got: list[int] = []

    def try_to(size: int) -> None:
        try:
            witness.add(request_of(1, size), at=2)
        except OtherSize:
            return
        got.append(size)

    threads = [threading.Thread(target=try_to, args=[size]) for size in range(2, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert witness.held() == [(ORIGIN, got[0], 0)]


def test_its_state_never_goes_back_whoever_writes_it(witness: Folder) -> None:
    witness.add(request_of(0, 16), at=1)
    with sqlite3.connect(witness.path / STATE_FILE) as state:
        for statement in ("UPDATE cosigned SET size = 3", "DELETE FROM cosigned"):
            with pytest.raises(sqlite3.IntegrityError, match="a witness never"):
                state.execute(statement)


def test_what_strangers_add_to_a_note_is_not_kept(witness: Folder) -> None:
    """With ninety-nine lines more it would be no note any more that anybody reads."""
    strangers = (Signer(f"s{n}.example", Ed25519PrivateKey.generate()) for n in range(99))
    padded = note_of(3) + "".join(one.sign(split_note(note_of(3)).text) for one in strangers)
    line = witness.add(AddCheckpoint(0, (), padded).encode(), at=1)
    assert witness.newest(ORIGIN) == note_of(3) + line


def test_a_witness_that_lost_its_state_is_none_any_more(witness: Folder) -> None:
    witness.add(request_of(0, 16), at=1)
    (witness.path / STATE_FILE).unlink()
    for use in (lambda: Folder(witness.path), lambda: witness.add(request_of(0, 9), at=2)):
        with pytest.raises(ConfigurationError, match="is none any more"):
            use()


def test_a_key_is_added_to_a_file_that_somebody_edited(witness: Folder) -> None:
    (witness.path / "logs").write_text(f"# ours\n{LOG.verifier.vkey}")
    witness.trust(Signer("other.example/log", Ed25519PrivateKey.generate()).verifier.vkey)
    assert sorted(witness.logs()) == [ORIGIN, "other.example/log"]


def test_a_folder_is_made_once_and_its_key_is_private(witness: Folder, tmp_path: Path) -> None:
    assert (witness.path / "witness.json").stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigurationError, match="holds a witness already"):
        Folder.create(witness.path, name="other.example")
    with pytest.raises(ConfigurationError, match="holds no witness"):
        Folder(tmp_path / "nothing")
    with pytest.raises(Malformed):
        Folder.create(tmp_path / "bad", name="with space")
    (witness.path / "witness.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="no witness's key"):
        Folder(witness.path)


def test_two_keys_of_a_log_are_trusted_while_one_replaces_the_other(witness: Folder) -> None:
    new = Signer(ORIGIN, Ed25519PrivateKey.generate())
    witness.add(request_of(0, 3), at=1)
    witness.trust(new.verifier.vkey)
    witness.trust(new.verifier.vkey)
    witness.add(AddCheckpoint(3, proof_of(3, 16), note_of(16, signer=new)).encode(), at=2)
    assert witness.held() == [(ORIGIN, 16, 0)]
    assert len((witness.path / "logs").read_text().splitlines()) == 2
