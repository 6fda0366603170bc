"""Signed notes: what opens, what is refused, and that malformed input never raises anything else."""

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.note import (
    MAX_NOTE,
    MAX_SIGNATURES,
    Signer,
    Verifier,
    key_id,
    open_note,
    sign_note,
    split_note,
)

LOG = Signer("log.example/2025", Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
NEXT = Signer("log.example/2025", Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))
STRANGER = Signer("witness.example", Ed25519PrivateKey.from_private_bytes(b"\x03" * 32))
TEXT = "first line\n\nthird line\n"
NOTE = sign_note(TEXT, [LOG])
LINE = LOG.sign(TEXT)


def resigned(text: str, *lines: str) -> str:
    return text + "\n" + "".join(lines or [LOG.sign(text)])


def line(name: str, blob: bytes) -> str:
    return f"\u2014 {name} {base64.b64encode(blob).decode()}\n"


def test_what_was_signed_opens() -> None:
    assert open_note(NOTE, [LOG.verifier]) == open_note(NOTE.encode(), [LOG.verifier])
    opened = open_note(NOTE, [STRANGER.verifier, LOG.verifier])
    assert opened.text == TEXT
    assert opened.signers == (LOG.verifier,)
    assert sign_note(TEXT, [LOG]) == NOTE  # Ed25519 is deterministic, so a note can be issued again


def test_the_text_may_look_like_a_note_or_hold_any_letters() -> None:
    for text in ("\n", "\n\n", NOTE, "\u2014 a b\n", "放贷机构\n\u2028\n\x7f\n"):
        assert open_note(sign_note(text, [LOG]), [LOG.verifier]).text == text


def test_several_signatures() -> None:
    both = sign_note(TEXT, [LOG, NEXT, STRANGER])
    assert open_note(both, [NEXT.verifier]).signers == (NEXT.verifier,)
    assert open_note(both, [STRANGER.verifier, NEXT.verifier, LOG.verifier]).signers == (
        LOG.verifier,
        NEXT.verifier,
        STRANGER.verifier,
    )
    twice = resigned(TEXT, LINE, LINE)
    assert open_note(twice, [LOG.verifier, LOG.verifier]).signers == (LOG.verifier,)


def test_sixteen_signatures_open_and_a_flood_is_malformed() -> None:
    foreign = [line(f"w{n}.example", b"\0" * 2_500) for n in range(MAX_SIGNATURES - 1)]
    assert open_note(resigned(TEXT, *foreign, LINE), [LOG.verifier]).signers == (LOG.verifier,)
    with pytest.raises(Malformed):
        split_note(resigned(TEXT, *foreign, LINE, LINE))
    with pytest.raises(Malformed):
        split_note(resigned("x" * MAX_NOTE + "\n", LINE))


@pytest.mark.parametrize(
    "foreign",
    [
        line(LOG.name, b"\0\0\0\0" + b"\0" * 64),  # the name alone is known
        line("other.example", LOG.verifier.key_id + b"\0" * 64),  # the id alone is known
        line(LOG.name, NEXT.verifier.key_id + b"\0" * 64),
        line("other.example", b"12345"),
    ],
)
def test_unknown_signatures_are_ignored_but_are_no_signature(foreign: str) -> None:
    assert open_note(resigned(TEXT, foreign, LINE), [LOG.verifier]).signers == (LOG.verifier,)
    with pytest.raises(VerificationFailed, match="no known key"):
        open_note(resigned(TEXT, foreign), [LOG.verifier])


@pytest.mark.parametrize("size", [1, 63, 64, 65])
def test_a_bad_signature_of_a_known_key_refuses_the_note_beside_good_ones(size: int) -> None:
    bad = line(LOG.name, LOG.verifier.key_id + b"\1" * size)
    for lines in ((bad,), (LINE, bad), (bad, LINE), (bad, NEXT.sign(TEXT))):
        with pytest.raises(VerificationFailed, match="does not hold"):
            open_note(resigned(TEXT, *lines), [NEXT.verifier, LOG.verifier])


def test_no_signature_carries_over() -> None:
    with pytest.raises(VerificationFailed):
        open_note(resigned("another\n", LINE), [LOG.verifier])
    with pytest.raises(VerificationFailed):
        open_note(NOTE, [])
    with pytest.raises(VerificationFailed):
        open_note(NOTE, [NEXT.verifier])
    # The same key under another name is another key.
    renamed = Verifier("receipt.example", LOG.verifier.public_key)
    with pytest.raises(VerificationFailed):
        open_note(NOTE, [renamed])


def test_two_keys_with_one_name_and_id_are_ambiguous() -> None:
    double = Verifier(LOG.name, NEXT.verifier.public_key)
    object.__setattr__(double, "key_id", LOG.verifier.key_id)
    for verifiers in ([LOG.verifier, double], [double, LOG.verifier]):
        with pytest.raises(VerificationFailed, match="share"):
            open_note(NOTE, verifiers)


SIGNATURE = base64.b64encode(LOG.verifier.key_id + b"\0" * 64).decode()

MALFORMED: dict[str, str | bytes] = {
    "empty": "",
    "only a newline": "\n",
    "only the separator": "\n\n",
    "text alone": TEXT,
    "no blank line": TEXT.replace("\n\n", "\n") + LINE,
    "no signature": TEXT + "\n",
    "blank line after the signatures": NOTE + "\n",
    "no final newline": NOTE[:-1],
    "text without newline": "text" + LINE,
    "carriage returns": NOTE.replace("\n", "\r\n"),
    "carriage return in the text": resigned("a\rb\n"),
    "tab": resigned("a\tb\n"),
    "zero byte": resigned("a\0b\n"),
    "control in a signature line": NOTE.replace(LOG.name, LOG.name + "\x01"),
    "not UTF-8": NOTE.encode() + b"\xff",
    "latin-1 dash": NOTE.encode().replace("\u2014".encode(), b"\x97"),
    "UTF-16": NOTE.encode("utf-16"),
    "overlong UTF-8": b"\xc0\xaf" + NOTE.encode(),
    "surrogate in bytes": b"\xed\xa0\x80" + NOTE.encode(),
    "surrogate in text": "\ud800" + NOTE,
    "hyphen for the dash": NOTE.replace("\u2014", "-"),
    "en dash for the dash": NOTE.replace("\u2014", "\u2013"),
    "no space after the dash": NOTE.replace("\u2014 ", "\u2014"),
    "two spaces after the dash": NOTE.replace("\u2014 ", "\u2014  "),
    "indented signature": NOTE.replace("\u2014", " \u2014"),
    "no name": f"{TEXT}\n\u2014  {SIGNATURE}\n",
    "name alone": f"{TEXT}\n\u2014 {LOG.name}\n",
    "no signature after the name": f"{TEXT}\n\u2014 {LOG.name} \n",
    "plus in the name": f"{TEXT}\n\u2014 a+b {SIGNATURE}\n",
    "no-break space in the name": f"{TEXT}\n\u2014 a\u00a0b {SIGNATURE}\n",
    "ideographic space in the name": f"{TEXT}\n\u2014 a\u3000b {SIGNATURE}\n",
    "line separator in the name": f"{TEXT}\n\u2014 a\u2028b {SIGNATURE}\n",
    "third word": f"{TEXT}\n\u2014 {LOG.name} {SIGNATURE} x\n",
    "space at the end": f"{TEXT}\n\u2014 {LOG.name} {SIGNATURE} \n",
    "not base64": f"{TEXT}\n\u2014 {LOG.name} !!!!\n",
    "unpadded base64": f"{TEXT}\n\u2014 {LOG.name} {SIGNATURE.rstrip('=')}\n",
    "padding too long": f"{TEXT}\n\u2014 {LOG.name} {SIGNATURE}=\n",
    "unused bits set": f"{TEXT}\n\u2014 {LOG.name} AAAAAAB=\n",
    "base64url": f"{TEXT}\n\u2014 {LOG.name} ____AAAA\n",
    "other digits": f"{TEXT}\n\u2014 {LOG.name} \uff21AAAAAAA\n",
    "key id alone": line(LOG.name, LOG.verifier.key_id).join([TEXT + "\n", ""]),
    "three bytes": line(LOG.name, b"abc").join([TEXT + "\n", ""]),
    "text among the signatures": NOTE + "text\n",
}


@pytest.mark.parametrize("note", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_notes(note: str | bytes) -> None:
    with pytest.raises(Malformed):
        split_note(note)
    with pytest.raises(Malformed):
        open_note(note, [LOG.verifier])


@pytest.mark.parametrize("text", ["", "no newline", "a\r\n", "a\0\n", "\ud800\n", "tab\t\n"])
def test_no_note_of_a_text_that_could_not_be_opened(text: str) -> None:
    with pytest.raises(Malformed):
        sign_note(text, [LOG])
    with pytest.raises(Malformed):
        sign_note(TEXT, [])


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\u2003b", "a\x1fb", "\ud800"])
def test_names_that_no_key_may_have(name: str) -> None:
    for make in (
        lambda: Signer(name, Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)),
        lambda: Verifier(name, LOG.verifier.public_key),
        lambda: key_id(name, LOG.verifier.public_key),
    ):
        with pytest.raises(Malformed):
            make()


def test_verifier_keys_have_one_spelling() -> None:
    vkey = LOG.verifier.vkey
    parsed = Verifier.parse(vkey)
    assert parsed == LOG.verifier
    assert (parsed.vkey, parsed.key_id) == (vkey, LOG.verifier.key_id)
    assert hash(parsed) == hash(LOG.verifier)


def vkey_of(name: str, blob: bytes, hex_id: str | None = None) -> str:
    return f"{name}+{hex_id or LOG.verifier.key_id.hex()}+{base64.b64encode(blob).decode()}"


PUBLIC = LOG.verifier.public_key
MALFORMED_VKEYS = {
    "empty": "",
    "name alone": LOG.name,
    "no key": f"{LOG.name}+{LOG.verifier.key_id.hex()}",
    "empty key": f"{LOG.name}+{LOG.verifier.key_id.hex()}+",
    "other name": vkey_of("log.example/2026", b"\x01" + PUBLIC),
    "no name": vkey_of("", b"\x01" + PUBLIC),
    "space in the name": vkey_of("a b", b"\x01" + PUBLIC),
    "other id": vkey_of(LOG.name, b"\x01" + PUBLIC, "00000000"),
    "capital hex": NEXT.verifier.vkey.replace(NEXT.verifier.key_id.hex(), NEXT.verifier.key_id.hex().upper()),
    "short id": vkey_of(LOG.name, b"\x01" + PUBLIC, LOG.verifier.key_id.hex()[:7]),
    "long id": vkey_of(LOG.name, b"\x01" + PUBLIC, "0" + LOG.verifier.key_id.hex()),
    "witness type": vkey_of(LOG.name, b"\x04" + PUBLIC),
    "no type": vkey_of(LOG.name, PUBLIC),
    "short key": vkey_of(LOG.name, b"\x01" + PUBLIC[:-1]),
    "long key": vkey_of(LOG.name, b"\x01" + PUBLIC + b"\0"),
    "other key": vkey_of(LOG.name, b"\x01" + NEXT.verifier.public_key),
    "padding": LOG.verifier.vkey + "=",
    "space at the end": LOG.verifier.vkey + " ",
    "newline at the end": LOG.verifier.vkey + "\n",
    "fourth part": LOG.verifier.vkey + "+x",
    "surrogate": "\ud800" + LOG.verifier.vkey,
}


def test_the_sample_id_has_letters() -> None:
    assert NEXT.verifier.key_id.hex() != NEXT.verifier.key_id.hex().upper()  # or "capital hex" would test nothing


@pytest.mark.parametrize("vkey", MALFORMED_VKEYS.values(), ids=MALFORMED_VKEYS.keys())
def test_malformed_verifier_keys(vkey: str) -> None:
    with pytest.raises(Malformed):
        Verifier.parse(vkey)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_public_key_is_32_bytes(size: int) -> None:
    with pytest.raises(Malformed):
        Verifier("a.example", b"\x01" * size)


PIECES = st.sampled_from(
    ["", "\n", "\n\n", " ", "+", "=", "0", "A", "\u2014 ", "\u2028", "\r", "\0", "\ud800", "é", LINE]
)


@st.composite
def mutated(draw: Callable[..., int], original: str) -> str:
    start = draw(st.integers(0, len(original)))
    end = draw(st.integers(start, min(len(original), start + 3)))
    return original[:start] + str(draw(PIECES)) + original[end:]


@given(mutated(NOTE))
def test_no_edit_changes_what_a_note_says(note: str) -> None:
    try:
        opened = open_note(note, [LOG.verifier])
    except (Malformed, VerificationFailed):
        return
    assert opened.text == TEXT


@given(mutated(LOG.verifier.vkey))
def test_whatever_parses_as_a_verifier_key_is_its_own_spelling(vkey: str) -> None:
    try:
        assert Verifier.parse(vkey).vkey == vkey
    except Malformed:
        return


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_noise_is_malformed(noise: bytes | str) -> None:
    with pytest.raises((Malformed, VerificationFailed)):
        open_note(noise, [LOG.verifier])
    if isinstance(noise, str):
        with pytest.raises(Malformed):
            Verifier.parse(noise)
