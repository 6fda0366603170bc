"""Published trees and formats: the CT reference tree, C2SP samples, a real log that another project wrote."""

import base64
import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from creditshare.errors import VerificationFailed
from creditshare.tlog import merkle
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint
from creditshare.tlog.merkle import Node, consistency_nodes, fold_proof, inclusion_nodes, leaf_hash
from creditshare.tlog.note import Verifier, open_note
from creditshare.tlog.proof import InclusionProof
from creditshare.tlog.tiles import (
    Read,
    evaluate,
    extend,
    parse_tile_name,
    partial_width,
    reads,
    root_from_edge,
    tile_name,
)

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"

pytestmark = pytest.mark.skipif(not VECTORS.exists(), reason="the published vector files are not beside this checkout")


def load(name: str) -> dict[str, Any]:
    return dict(json.loads((VECTORS / name).read_text()))


class TestReferenceTree:
    def test_every_node(self) -> None:
        tree = load("rfc6962-reference-tree.json")
        row = b"".join(leaf_hash(bytes.fromhex(data)) for data in tree["leaf_inputs_hex"])
        for level in (1, 2, 3):
            nodes = [Node(level, index) for index in range(8 >> level)]
            found = evaluate(nodes, {Read(0, 0, 8): row})
            assert [found[node].hex() for node in nodes] == tree[f"level{level}_hex"]

    def test_every_root(self) -> None:
        tree = load("rfc6962-reference-tree.json")
        hashes = [leaf_hash(bytes.fromhex(data)) for data in tree["leaf_inputs_hex"]]
        roots = [root_from_edge(size, extend(0, (), hashes[:size]).edge).hex() for size in range(9)]
        assert roots == tree["roots_by_size_hex"]

    def test_the_hash_of_every_subtree_of_130_leaves(self) -> None:
        rolling = load("rfc6962-reference-tree.json")["rolling"]["subtree_hash"]
        row = {Read(0, 0, 130): b"".join(leaf_hash(bytes([n])) for n in range(130))}
        digest = hashlib.sha256()
        for end in range(131):
            for start in range(end + 1):
                # Valid: the start is a multiple of the smallest power of two that is not below the width.
                if start == end or start % (1 << (end - start - 1).bit_length()) == 0:
                    nodes = merkle._cover(start, end)
                    found = merkle._fold(nodes, evaluate(nodes, row)) if nodes else merkle.EMPTY_ROOT
                    digest.update(f"[{start}, {end}) {found.hex()}\n".encode())
        assert digest.hexdigest() == rolling["sha256"]


class TestFormats:
    def test_the_sample_note(self) -> None:
        sample = load("c2sp-formats.json")["signed_note"]
        verifier = Verifier.parse(sample["vkey"])
        assert verifier.vkey == sample["vkey"]
        assert open_note(sample["note"], [verifier]).text == "This is an example message.\n"
        with pytest.raises(VerificationFailed):
            open_note(sample["note"].replace("example message", "exemple message"), [verifier])

    def test_the_sample_key(self) -> None:
        vkey = load("c2sp-formats.json")["go_note"]["vkey"]
        verifier = Verifier.parse(vkey)
        assert (verifier.name, verifier.key_id.hex(), verifier.vkey) == ("PeterNeumann", "c74f20a3", vkey)

    def test_tile_names(self) -> None:
        for n, name in load("c2sp-formats.json")["tile_path"]:
            assert tile_name(n) == name
            assert parse_tile_name(name) == (n, 256)

    def test_partial_widths(self) -> None:
        for size, levels in load("c2sp-formats.json")["partial_widths"].items():
            for level, expected in levels.items():
                number = int(level.removeprefix("level"))
                assert partial_width(number, int(size)) == expected["partial"]
                assert int(size) >> (8 * (number + 1)) == expected["full"]


class TestRealLog:
    """A log of 15 entries that another implementation wrote and signed."""

    @pytest.fixture
    def log(self) -> dict[str, Any]:
        return load("tessera-log15.json")

    @pytest.fixture
    def verifier(self, log: dict[str, Any]) -> Verifier:
        return Verifier.parse(log["log_vkey"])

    @pytest.fixture
    def files(self, log: dict[str, Any]) -> dict[str, bytes]:
        return {name: base64.b64decode(body) for name, body in log["files_b64"].items()}

    @pytest.fixture
    def heads(self, files: dict[str, bytes], verifier: Verifier) -> list[Checkpoint]:
        return [open_checkpoint(files[f"checkpoint.{size}"], [verifier]) for size in range(16)]

    @pytest.fixture
    def leaves(self, log: dict[str, Any]) -> list[bytes]:
        return [leaf_hash(entry.encode()) for entry in log["entries_utf8"]]

    def test_every_checkpoint_opens_and_has_our_root(self, heads: list[Checkpoint], leaves: list[bytes]) -> None:
        for size, head in enumerate(heads):
            assert head.size == size
            assert head.root == root_from_edge(size, extend(0, (), leaves[:size]).edge)

    def test_the_text_we_write_is_theirs_to_the_byte(self, files: dict[str, bytes], heads: list[Checkpoint]) -> None:
        for size, head in enumerate(heads):
            assert files[f"checkpoint.{size}"].startswith(head.text.encode() + b"\n")

    def test_the_tiles_are_our_right_edge(self, files: dict[str, bytes], leaves: list[bytes]) -> None:
        for size in range(1, 16):
            assert files[f"tile/0/{tile_name(0, size)}"] == extend(0, (), leaves[:size]).edge[0]

    def test_proofs_from_their_tiles_verify_against_their_checkpoints(
        self, files: dict[str, bytes], heads: list[Checkpoint], leaves: list[bytes], verifier: Verifier
    ) -> None:
        for size in range(1, 16):
            rows = {Read(0, 0, size): files[f"tile/0/{tile_name(0, size)}"]}
            for index in range(size):
                plan = inclusion_nodes(index, size)
                proof = InclusionProof(
                    event_id="evt",
                    leaf_hash=leaves[index],
                    index=index,
                    size=size,
                    hashes=tuple(fold_proof(plan, evaluate(plan.nodes, rows))),
                    checkpoint=files[f"checkpoint.{size}"].decode(),
                )
                assert proof.verify([verifier]) == heads[size]
            for older in range(1, size):
                plan = consistency_nodes(older, size)
                merkle.verify_consistency(
                    size1=older,
                    root1=heads[older].root,
                    size2=size,
                    root2=heads[size].root,
                    proof=fold_proof(plan, evaluate(plan.nodes, rows)),
                )
            assert all(read.start + read.count <= size for read in reads(inclusion_nodes(0, size).nodes))

    def test_an_edited_checkpoint_is_refused(self, files: dict[str, bytes], verifier: Verifier) -> None:
        for one, other in pairwise(range(16)):
            mixed = files[f"checkpoint.{one}"].partition(b"\n\n")[0] + b"\n\n"
            mixed += files[f"checkpoint.{other}"].partition(b"\n\n")[2]
            with pytest.raises(VerificationFailed):
                open_checkpoint(mixed, [verifier])
