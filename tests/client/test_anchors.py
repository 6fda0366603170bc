"""``log verify-anchor``: a checkpoint, the service's answer or a bare token, and roots; by a recorded stamp."""

import base64
import json
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.fixtures.commands import command_line

from creditshare.client.anchors import MAX_ANSWER, check_anchors
from creditshare.crypto.timestamps import StampRoots
from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint, sign_checkpoint
from creditshare.tlog.note import Signer

pytest.importorskip("rfc3161_client", reason="the extra creditshare[anchors] is not installed")

RECORDED: Final = json.loads((Path(__file__).parents[1] / "crypto" / "vectors" / "rfc3161.json").read_text())
LOG: Final = Signer("log.example/log", Ed25519PrivateKey.generate())
CHECKPOINT: Final = Checkpoint.parse(RECORDED["message"])
PEM: Final = RECORDED["roots"] + RECORDED["between"]
ROOTS: Final = StampRoots.parse(PEM.encode())
TIME: Final = RECORDED["time"].replace("+00:00", "Z")
ANCHOR: Final = {"size": CHECKPOINT.size, "tsa": "https://tsa.example", "time": TIME, "token": RECORDED["token"]}
TOKEN: Final = base64.b64decode(RECORDED["token"])
OTHER: Final = Checkpoint(CHECKPOINT.origin, CHECKPOINT.size, bytes(32))


def answer(*listed: object) -> bytes:
    return json.dumps({"anchors": listed}).encode()


def test_an_answer_and_a_bare_token_state_the_same() -> None:
    beside = {**ANCHOR, "size": 3, "token": "of another size, which is not looked at"}
    for given, count in ((TOKEN, 1), (answer(ANCHOR), 1), (answer(beside, ANCHOR, {**ANCHOR, "tsa": "x"}), 2)):
        assert [stamp.token for stamp in check_anchors(given, CHECKPOINT, ROOTS)] == [TOKEN] * count


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (answer(), "no anchor of 7 leaves"),
        (answer({**ANCHOR, "size": 8}), "no anchor of 7 leaves"),
        (answer({**ANCHOR, "time": "2026-01-01T00:00:00Z"}), "another time"),
        (answer({**ANCHOR, "time": None}), "another time"),
        (answer(ANCHOR, {**ANCHOR, "time": "2020-01-01T00:00:00Z"}), "another time"),
    ],
    ids=["none", "another size", "another time", "no time", "one of two"],
)
def test_what_does_not_hold_is_refused(given: bytes, words: str) -> None:
    with pytest.raises(VerificationFailed, match=words):
        check_anchors(given, CHECKPOINT, ROOTS)


def test_a_stamp_of_another_checkpoint_is_refused() -> None:
    for given in (TOKEN, answer(ANCHOR)):
        with pytest.raises(VerificationFailed, match="something else"):
            check_anchors(given, OTHER, ROOTS)


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b'{"anchors": 1}',
        answer(1),
        answer({**ANCHOR, "token": 1}),
        answer({**ANCHOR, "token": "%"}),
        answer({**ANCHOR, "token": RECORDED["token"][:-8]}),
        b'{"anchors": [], "anchors": []}',
        answer(ANCHOR) + b" " * MAX_ANSWER,
    ],
    ids=range(11),
)
def test_another_form_is_malformed(given: bytes) -> None:
    with pytest.raises(Malformed):
        check_anchors(given, CHECKPOINT, ROOTS)


def test_the_command_says_when_and_ends_with_3_where_it_does_not_hold(tmp_path: Path) -> None:
    for name, checkpoint in (("checkpoint", CHECKPOINT), ("other", OTHER)):
        (tmp_path / name).write_text(sign_checkpoint(checkpoint, [LOG]))
    (tmp_path / "anchor").write_bytes(answer(ANCHOR))
    (tmp_path / "roots.pem").write_text(PEM)
    (tmp_path / "half.pem").write_text(RECORDED["roots"])
    (tmp_path / "none.pem").write_text("none")

    def told(checkpoint: str = "checkpoint", roots: str = "roots.pem", **more: Any) -> tuple[int, str]:
        vkey = more.get("vkey", LOG.verifier.vkey)
        words = ["log", "verify-anchor", checkpoint, "anchor", "--vkey", vkey, "--certificates", roots]
        done = command_line().run(*words, environment={}, folder=tmp_path)
        return done.returncode, done.stdout + done.stderr

    assert told() == (0, f"holds: the 7 leaves of log.example/log were there at {TIME}\n")
    for status, words, (ended, said) in (
        (3, "something else", told(checkpoint="other")),
        (3, "trusted root", told(roots="half.pem")),
        (2, "none.pem: not certificates", told(roots="none.pem")),
        (3, "", told(vkey=Signer(LOG.name, Ed25519PrivateKey.generate()).verifier.vkey)),
        (2, "cannot be read", told(checkpoint="nowhere")),
    ):
        assert (ended, words in said) == (status, True), said
