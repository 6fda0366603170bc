"""The published vectors of transparency-dev/merkle and the reference tree, happy and must-fail."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from creditshare.errors import CreditshareError
from creditshare.tlog.merkle import leaf_hash, verify_consistency, verify_inclusion

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"

pytestmark = pytest.mark.skipif(not VECTORS.exists(), reason="the published vector files are not beside this checkout")


def _load(name: str) -> list[dict[str, Any]]:
    path = VECTORS / name
    return list(json.loads(path.read_text())["vectors"]) if path.exists() else []


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text or "")


@pytest.mark.parametrize("vector", _load("merkle-inclusion.json"), ids=lambda v: v["name"])
def test_inclusion(vector: dict[str, Any]) -> None:
    def verify() -> None:
        verify_inclusion(
            leaf_hash=_bytes(vector["leafHash"]),
            index=vector["leafIdx"],
            size=vector["treeSize"],
            proof=[_bytes(p) for p in vector["proof"] or []],
            root=_bytes(vector["root"]),
        )

    if vector["wantErr"]:
        with pytest.raises(CreditshareError):
            verify()
    else:
        verify()


@pytest.mark.parametrize("vector", _load("merkle-consistency.json"), ids=lambda v: v["name"])
def test_consistency(vector: dict[str, Any]) -> None:
    def verify() -> None:
        verify_consistency(
            size1=vector["size1"],
            root1=_bytes(vector["root1"]),
            size2=vector["size2"],
            root2=_bytes(vector["root2"]),
            proof=[_bytes(p) for p in vector["proof"] or []],
        )

    if vector["wantErr"]:
        with pytest.raises(CreditshareError):
            verify()
    else:
        verify()


def test_reference_leaves() -> None:
    reference = json.loads((VECTORS / "rfc6962-reference-tree.json").read_text())
    hashes = [leaf_hash(bytes.fromhex(data)).hex() for data in reference["leaf_inputs_hex"]]
    assert hashes == reference["leaf_hashes_hex"]
