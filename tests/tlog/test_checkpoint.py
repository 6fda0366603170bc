"""Checkpoints: one text per tree head, and a signature of one log is no signature of another."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint, sign_checkpoint
from creditshare.tlog.merkle import EMPTY_ROOT, leaf_hash
from creditshare.tlog.note import Signer, sign_note
from creditshare.tlog.spelling import MAX_SIZE

LOG = Signer("log.example/2025", Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
NEXT = Signer("log.example/2025", Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))
OTHER = Signer("log.example/2026", Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
ROOT = leaf_hash(b"")
ROOT_TEXT = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0="
HEAD = Checkpoint(LOG.name, 70_000, ROOT)
TEXT = f"log.example/2025\n70000\n{ROOT_TEXT}\n"


def test_the_text() -> None:
    assert HEAD.text == TEXT
    assert Checkpoint.parse(TEXT) == HEAD
    extended = Checkpoint.parse(TEXT + "opaque\n\u2028more\n")
    assert extended.extensions == ("opaque", "\u2028more")
    assert extended.text == TEXT + "opaque\n\u2028more\n"
    assert Checkpoint.parse(Checkpoint(LOG.name, 0, EMPTY_ROOT).text).size == 0
    assert Checkpoint.parse(Checkpoint(LOG.name, MAX_SIZE, ROOT).text).size == MAX_SIZE


def test_signing_and_opening() -> None:
    note = sign_checkpoint(HEAD, [LOG])
    assert open_checkpoint(note, [LOG.verifier]) == open_checkpoint(note.encode(), [LOG.verifier]) == HEAD
    assert peek_checkpoint(note) == HEAD
    overlap = sign_checkpoint(HEAD, [LOG, NEXT])
    assert open_checkpoint(overlap, [NEXT.verifier]) == open_checkpoint(overlap, [LOG.verifier]) == HEAD


def test_a_log_signs_only_for_itself() -> None:
    for signers in ([OTHER], [LOG, OTHER], []):
        with pytest.raises(Malformed):
            sign_checkpoint(HEAD, signers)
    # What a careless signer could make anyway is refused by the reader.
    with pytest.raises(VerificationFailed, match="another log"):
        open_checkpoint(sign_note(TEXT, [OTHER]), [OTHER.verifier])
    with pytest.raises(VerificationFailed, match="another log"):
        open_checkpoint(sign_note(TEXT, [OTHER]), [LOG.verifier, OTHER.verifier])
    assert open_checkpoint(sign_note(TEXT, [OTHER, LOG]), [LOG.verifier, OTHER.verifier]) == HEAD


def test_an_edited_checkpoint_does_not_open() -> None:
    note = sign_checkpoint(HEAD, [LOG])
    for edited in (note.replace("70000", "70001"), note.replace("bjQL", "bjQM"), note.replace("\nbjQL", "\nbjQL", 1)):
        if edited == note:
            continue
        with pytest.raises(VerificationFailed):
            open_checkpoint(edited, [LOG.verifier])
    with pytest.raises(VerificationFailed):
        open_checkpoint(note, [NEXT.verifier])


MALFORMED = {
    "empty": "",
    "a newline": "\n",
    "two lines": "log.example/2025\n70000\n",
    "no final newline": TEXT[:-1],
    "no newline after an extension": TEXT + "opaque",
    "blank line at the end": TEXT + "\n",
    "blank line inside": TEXT + "\nopaque\n",
    "no origin": f"\n70000\n{ROOT_TEXT}\n",
    "no size": f"log\n\n{ROOT_TEXT}\n",
    "leading zero": f"log\n070000\n{ROOT_TEXT}\n",
    "double zero": f"log\n00\n{ROOT_TEXT}\n",
    "plus": f"log\n+7\n{ROOT_TEXT}\n",
    "minus": f"log\n-7\n{ROOT_TEXT}\n",
    "minus zero": f"log\n-0\n{ROOT_TEXT}\n",
    "space before the size": f"log\n 7\n{ROOT_TEXT}\n",
    "space after the size": f"log\n7 \n{ROOT_TEXT}\n",
    "underscore": f"log\n7_0\n{ROOT_TEXT}\n",
    "point": f"log\n7.0\n{ROOT_TEXT}\n",
    "exponent": f"log\n7e1\n{ROOT_TEXT}\n",
    "hexadecimal": f"log\n0x7\n{ROOT_TEXT}\n",
    "arabic digits": f"log\n\u0667\n{ROOT_TEXT}\n",
    "superscript": f"log\n\u00b2\n{ROOT_TEXT}\n",
    "2^63": f"log\n{2**63}\n{ROOT_TEXT}\n",
    "a very long size": f"log\n{'9' * 10_000}\n{ROOT_TEXT}\n",
    "no root": "log\n7\n\n",
    "unpadded root": f"log\n7\n{ROOT_TEXT[:-1]}\n",
    "unused bits set": f"log\n7\n{ROOT_TEXT[:-2]}1=\n",
    "base64url root": f"log\n7\n{ROOT_TEXT.replace('+', '-')}\n",
    "31 bytes": "log\n7\n" + "A" * 42 + "==\n",
    "33 bytes": "log\n7\n" + "A" * 44 + "\n",
    "hex root": f"log\n7\n{ROOT.hex()}\n",
    "space after the root": f"log\n7\n{ROOT_TEXT} \n",
    "other root of the empty tree": f"log\n0\n{ROOT_TEXT}\n",
    "carriage returns": TEXT.replace("\n", "\r\n"),
    "tab in the origin": TEXT.replace("log", "l\tog"),
    "surrogate": "\ud800" + TEXT,
    "too large": TEXT + "x" * 70_000 + "\n",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_checkpoints(text: str) -> None:
    with pytest.raises(Malformed):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 1, ROOT, ()),
        ("a\nb", 1, ROOT, ()),
        ("evil\n999", 1, ROOT, ()),
        ("a\0", 1, ROOT, ()),
        ("\ud800", 1, ROOT, ()),
        ("log", -1, ROOT, ()),
        ("log", MAX_SIZE + 1, ROOT, ()),
        ("log", 1, ROOT[:-1], ()),
        ("log", 1, ROOT + b"\0", ()),
        ("log", 0, ROOT, ()),
        ("log", 1, ROOT, ("",)),
        ("log", 1, ROOT, ("a\nb",)),
    ],
)
def test_values_without_a_text(origin: str, size: int, root: bytes, extensions: tuple[str, ...]) -> None:
    with pytest.raises(Malformed):
        Checkpoint(origin, size, root, extensions)


@given(
    st.integers(0, len(TEXT)),
    st.integers(0, 3),
    st.sampled_from(["", "\n", " ", "0", "9", "A", "B", "=", "+", "-", "\r", "\u2028", "\ud800"]),
)
def test_whatever_parses_is_its_own_spelling(at: int, cut: int, piece: str) -> None:
    text = TEXT[:at] + piece + TEXT[at + cut :]
    try:
        assert Checkpoint.parse(text).text == text
    except Malformed:
        return


@given(st.text(max_size=100))
def test_noise_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        Checkpoint.parse(text)
