"""The travelling proof in both spellings: it verifies alone, and no edit of it verifies as something else."""

import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint, sign_checkpoint
from creditshare.tlog.merkle import fold_proof, fold_root, inclusion_nodes, leaf_hash, root_nodes
from creditshare.tlog.note import Signer
from creditshare.tlog.proof import MAX_DOCUMENT, TEXT_HEADER, InclusionProof
from creditshare.tlog.spelling import MAX_SIZE
from creditshare.tlog.tiles import Read, evaluate

LOG = Signer("log.example/2025", Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
STRANGER = Signer("log.example/2025", Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))
LEAVES = [leaf_hash(bytes([n])) for n in range(100)]
EVENT = "evt_6f1c2a1e-4b60-4c3c-9d0c-0c8f5c0b7a11"


def checkpoint(size: int, signer: Signer = LOG) -> str:
    nodes = root_nodes(size)
    root = fold_root(size, evaluate(nodes, {Read(0, 0, 100): b"".join(LEAVES)}))
    return sign_checkpoint(Checkpoint(signer.name, size, root), [signer])


def proof(index: int, size: int) -> InclusionProof:
    plan = inclusion_nodes(index, size)
    hashes = fold_proof(plan, evaluate(plan.nodes, {Read(0, 0, 100): b"".join(LEAVES)}))
    return InclusionProof(EVENT, LEAVES[index], index, size, tuple(hashes), checkpoint(size))


PROOF = proof(41, 100)
TEXT = PROOF.to_text()
JSON = json.dumps(PROOF.to_dict())


def from_text(text: str | bytes) -> InclusionProof:
    return InclusionProof.from_text(text, event_id=EVENT, leaf_hash=PROOF.leaf_hash)


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (1, 2), (2, 3), (41, 100), (99, 100), (63, 64)])
def test_both_spellings_carry_a_proof_that_verifies(index: int, size: int) -> None:
    made = proof(index, size)
    assert made.verify([LOG.verifier]).size == size
    again = InclusionProof.from_json(json.dumps(made.to_dict()).encode())
    assert again == made
    text = InclusionProof.from_text(made.to_text().encode(), event_id=EVENT, leaf_hash=LEAVES[index])
    assert text == made
    assert text.verify([STRANGER.verifier, LOG.verifier]) == made.verify([LOG.verifier])


def test_the_json_shape() -> None:
    members = PROOF.to_dict()
    assert list(members) == ["event_id", "leaf_hash", "index", "size", "hashes", "checkpoint"]
    assert members["hashes"]
    assert not any(set("=+/") & set(str(entry)) for entry in [members["leaf_hash"], *PROOF.to_dict()["hashes"]])  # type: ignore[misc]


def test_the_text_shape() -> None:
    lines = TEXT.split("\n")
    assert lines[:2] == [TEXT_HEADER, "index 41"] == ["c2sp.org/tlog-proof@v1", "index 41"]
    assert lines[2 + len(PROOF.hashes)] == ""
    assert TEXT.endswith("\n\n" + PROOF.checkpoint)
    extra = replace(PROOF, extra=b"\xff\xfe anything")
    assert extra.to_text().split("\n")[1] == "extra //4gYW55dGhpbmc="
    assert from_text(extra.to_text()) == extra
    extra.verify([LOG.verifier])


@pytest.mark.parametrize(
    "wrong",
    [
        replace(PROOF, leaf_hash=LEAVES[40]),
        replace(PROOF, index=40),
        replace(PROOF, index=100),
        replace(PROOF, index=MAX_SIZE),
        replace(PROOF, size=99),
        replace(PROOF, size=101),
        replace(PROOF, size=0),
        replace(PROOF, checkpoint=checkpoint(99)),
        replace(proof(41, 99), checkpoint=checkpoint(100)),
        replace(PROOF, size=99, checkpoint=checkpoint(99)),
        replace(PROOF, hashes=PROOF.hashes[:-1]),
        replace(PROOF, hashes=PROOF.hashes[1:]),
        replace(PROOF, hashes=(*PROOF.hashes, LEAVES[0])),
        replace(PROOF, hashes=PROOF.hashes[::-1]),
        replace(PROOF, hashes=()),
        replace(PROOF, checkpoint=checkpoint(100, STRANGER)),
    ],
)
def test_what_does_not_hold_is_refused(wrong: InclusionProof) -> None:
    with pytest.raises(VerificationFailed):
        wrong.verify([LOG.verifier])


def test_no_key_verifies_nothing() -> None:
    with pytest.raises(VerificationFailed):
        PROOF.verify([])
    for text in ("", "41", "no note", PROOF.checkpoint[:-1]):
        with pytest.raises(Malformed):
            replace(PROOF, checkpoint=text).verify([LOG.verifier])


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": ""},
        {"event_id": "x" * 129},
        {"event_id": "a\nb"},
        {"event_id": "\ud800"},
        {"leaf_hash": b""},
        {"leaf_hash": LEAVES[0][:-1]},
        {"index": -1},
        {"index": MAX_SIZE + 1},
        {"size": -1},
        {"size": MAX_SIZE + 1},
        {"hashes": (b"",)},
        {"hashes": (LEAVES[0] + b"\0",)},
        {"hashes": (LEAVES[0],) * 64},
        {"checkpoint": "\ud800"},
        {"checkpoint": "x" * 1_000_001},
    ],
)
def test_values_without_a_spelling(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        replace(PROOF, **change)


MEMBERS = PROOF.to_dict()
HASH = str(MEMBERS["leaf_hash"])


@pytest.mark.parametrize("name", list(MEMBERS))
@pytest.mark.parametrize(
    "value", [None, True, False, 1.0, -1, 2**63, 10**30, "", "41", [], {}, [[]], [None], [1], [""]]
)
def test_other_types_and_ranges_are_malformed(name: str, value: Any) -> None:
    # Well formed: no hashes, an event that is called 41, a checkpoint that only verify() finds to be no note.
    if (name, value) in [("hashes", []), ("event_id", "41"), ("checkpoint", "41"), ("checkpoint", "")]:
        return
    with pytest.raises(Malformed):
        InclusionProof.from_dict({**MEMBERS, name: value})
    with pytest.raises(Malformed):
        InclusionProof.from_json(json.dumps({**MEMBERS, name: value}))
    with pytest.raises(Malformed):
        InclusionProof.from_dict({other: kept for other, kept in MEMBERS.items() if other != name})


@pytest.mark.parametrize(
    "text",
    [
        HASH + "=",
        HASH[:-1],
        HASH + "A",
        " " + HASH,
        HASH + "\n",
        HASH[:-1] + chr(ord(HASH[-1]) + 1),
        "+" + HASH[1:],
        "/" + HASH[1:],
        PROOF.leaf_hash.hex(),
        "\u0410" + HASH[1:],
        "\ud800" + HASH[1:],
        "A" * 42,
        "A" * 44,
        "A" * 41,
    ],
)
def test_a_hash_has_one_spelling(text: str) -> None:
    for members in ({**MEMBERS, "leaf_hash": text}, {**MEMBERS, "hashes": [text]}):
        with pytest.raises(Malformed):
            InclusionProof.from_dict(members)


def test_answers_may_grow() -> None:
    assert InclusionProof.from_dict({**MEMBERS, "witnesses": []}) == PROOF


@pytest.mark.parametrize(
    "document",
    [
        "",
        "null",
        "[]",
        '""',
        "1",
        "NaN",
        "{}",
        JSON[:-1],
        JSON + "x",
        JSON + JSON,
        "\ufeff" + JSON,
        JSON.encode("utf-16"),
        JSON.encode("utf-8-sig"),
        JSON.encode()[:-1] + b"\xff}",
        JSON.replace('"index": 41', '"index": 41, "index": 41'),
        JSON.replace('"index": 41', '"index": 41.0'),
        JSON.replace('"index": 41', '"index": 041'),
        JSON.replace('"index": 41', '"index": NaN'),
        JSON.replace('"index": 41', '"index": 4e1'),
        JSON.replace('"index": 41', '"index": ' + "9" * 10_000),
        JSON.replace('"hashes": [', '"x": ' + "[" * 100_000 + '"hashes": ['),
        JSON.replace("evt_", "\\ud800"),
        JSON + " " * MAX_DOCUMENT,
        JSON.replace("'", '"').replace('"', "'"),
    ],
)
def test_malformed_documents(document: str | bytes) -> None:
    with pytest.raises(Malformed):
        InclusionProof.from_json(document)


FIRST = TEXT.split("\n")[2]
MALFORMED_TEXTS: dict[str, str | bytes] = {
    "empty": "",
    "header alone": TEXT_HEADER + "\n",
    "other version": TEXT.replace("@v1", "@v2"),
    "no header": TEXT.removeprefix(TEXT_HEADER + "\n"),
    "blank line first": "\n" + TEXT,
    "no index": TEXT.replace("index 41\n", ""),
    "empty index": TEXT.replace("index 41", "index "),
    "index without space": TEXT.replace("index 41", "index41"),
    "two spaces": TEXT.replace("index 41", "index  41"),
    "space after the index": TEXT.replace("index 41", "index 41 "),
    "leading zero": TEXT.replace("index 41", "index 041"),
    "negative": TEXT.replace("index 41", "index -41"),
    "capital": TEXT.replace("index 41", "Index 41"),
    "2^63": TEXT.replace("index 41", f"index {2**63}"),
    "index twice": TEXT.replace("index 41", "index 41\nindex 41"),
    "extra after the index": TEXT.replace("index 41", "index 41\nextra AAAA"),
    "extra twice": TEXT.replace("index 41", "extra AAAA\nextra AAAA\nindex 41"),
    "empty extra": TEXT.replace("index 41", "extra \nindex 41"),
    "extra without space": TEXT.replace("index 41", "extra\nindex 41"),
    "extra not base64": TEXT.replace("index 41", "extra !\nindex 41"),
    "extra unpadded": TEXT.replace("index 41", "extra AAA\nindex 41"),
    "short hash": TEXT.replace(FIRST, FIRST[4:]),
    "unpadded hash": TEXT.replace(FIRST, FIRST.rstrip("=")),
    "hash with a space": TEXT.replace(FIRST, FIRST + " "),
    "hash in hex": TEXT.replace(FIRST, PROOF.hashes[0].hex()),
    "64 hashes": TEXT.replace(FIRST, "\n".join([FIRST] * 64)),
    "blank line among the hashes": TEXT.replace(FIRST, FIRST + "\n"),
    "no blank line": TEXT.replace("\n\n", "\n", 1),
    "no checkpoint": TEXT.partition("\n\n")[0] + "\n\n",
    "two blank lines": TEXT.replace("\n\n", "\n\n\n", 1),
    "text after the checkpoint": TEXT + "x",
    "unsigned checkpoint": TEXT[: TEXT.rindex("\u2014")],
    "carriage returns": TEXT.replace("\n", "\r\n"),
    "not UTF-8": TEXT.encode() + b"\xff",
    "too large": TEXT + "x" * MAX_DOCUMENT,
}


@pytest.mark.parametrize("text", MALFORMED_TEXTS.values(), ids=MALFORMED_TEXTS.keys())
def test_malformed_texts(text: str | bytes) -> None:
    with pytest.raises(Malformed):
        from_text(text)


PIECES = st.sampled_from(
    ["", "\n", "\n\n", " ", "0", "1", "9", "A", "B", "=", '"', ",", "-", "\\", "\u2028", "\ud800", "}"]
)


@given(st.integers(0, len(TEXT)), st.integers(0, 3), PIECES)
def test_no_edit_of_the_text_verifies_as_something_else(at: int, cut: int, piece: str) -> None:
    edited = TEXT[:at] + piece + TEXT[at + cut :]
    try:
        read = from_text(edited)
        assert read.to_text() == edited
        read.verify([LOG.verifier])
    except (Malformed, VerificationFailed):
        return
    assert (read.leaf_hash, read.index, read.size, read.hashes) == (PROOF.leaf_hash, 41, 100, PROOF.hashes)


@given(st.integers(0, len(JSON)), st.integers(0, 3), PIECES)
def test_no_edit_of_the_json_verifies_as_something_else(at: int, cut: int, piece: str) -> None:
    try:
        read = InclusionProof.from_json(JSON[:at] + piece + JSON[at + cut :])
        read.verify([LOG.verifier])
    except (Malformed, VerificationFailed):
        return
    assert (read.leaf_hash, read.index, read.size, read.hashes) == (PROOF.leaf_hash, 41, 100, PROOF.hashes)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_noise_is_malformed(noise: bytes | str) -> None:
    with pytest.raises(Malformed):
        from_text(noise)
    with pytest.raises(Malformed):
        InclusionProof.from_json(noise)
