"""Cosignatures hold for exactly one checkpoint, time and witness; the bytes are those of the standard."""

import base64
import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint
from creditshare.tlog.cosignature import Cosigned, Cosigner, Witness, cosigned_by
from creditshare.tlog.note import Signature, Signer, Verifier, open_note, parse_signatures, sign_note, split_note

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAME = "witness.example/1"
COSIGNER = Cosigner(NAME, KEY)
CHECKPOINT = Checkpoint("log.example/log", 3, hashlib.sha256(b"root").digest())
AT = 1_679_315_147


def line_of(cosigner: Cosigner = COSIGNER, *, at: int = AT) -> Signature:
    (signature,) = parse_signatures(cosigner.cosign(CHECKPOINT, at=at))
    return signature


def test_the_bytes_are_those_of_the_standard() -> None:
    public = KEY.public_key().public_bytes_raw()
    signed = f"cosignature/v1\ntime {AT}\n{CHECKPOINT.text}".encode()
    key_id = hashlib.sha256(NAME.encode() + b"\n\x04" + public).digest()[:4]
    value = key_id + AT.to_bytes(8, "big") + KEY.sign(signed)
    assert COSIGNER.cosign(CHECKPOINT, at=AT) == f"\N{EM DASH} {NAME} {base64.b64encode(value).decode()}\n"
    key = base64.b64encode(b"\x04" + public).decode()
    assert COSIGNER.witness.vkey == f"{NAME}+{key_id.hex()}+{key}"
    assert Witness.parse(COSIGNER.witness.vkey) == COSIGNER.witness


def test_the_published_example_has_the_form() -> None:
    """The example of C2SP tlog-cosignature: its key is not published, its time is."""
    line = (
        "\N{EM DASH} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJs"
        "X3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    )
    (signature,) = parse_signatures(line)
    assert (len(signature.value), int.from_bytes(signature.value[:8])) == (72, 1_679_315_147)
    assert signature.line == line


def test_one_cosignature_of_each_known_witness_counts() -> None:
    other = Cosigner("other.example", Ed25519PrivateKey.generate())
    stranger = Cosigner("stranger.example", Ed25519PrivateKey.generate())
    log = Signer(CHECKPOINT.origin, Ed25519PrivateKey.generate())
    note = sign_note(CHECKPOINT.text, [log]) + "".join(
        cosigner.cosign(CHECKPOINT, at=at)
        for cosigner, at in ((COSIGNER, AT), (stranger, AT), (other, 5), (COSIGNER, 9))
    )
    signatures = split_note(note).signatures
    found = cosigned_by(CHECKPOINT.text, signatures, [other.witness, COSIGNER.witness])
    assert found == (
        Cosigned(COSIGNER.witness, AT, COSIGNER.cosign(CHECKPOINT, at=AT)),
        Cosigned(other.witness, 5, other.cosign(CHECKPOINT, at=5)),
    )
    # The log's own key is found as before, and a cosignature passes for none of its signatures.
    assert open_note(note, [log.verifier]).signers == (log.verifier,)
    with pytest.raises(VerificationFailed):
        open_note(note, [Verifier(NAME, COSIGNER.witness.public_key)])


@pytest.mark.parametrize(
    "changed",
    [
        lambda s: replace(s, value=s.value[:7] + bytes([s.value[7] ^ 1]) + s.value[8:]),
        lambda s: replace(s, value=s.value[:-1] + bytes([s.value[-1] ^ 1])),
        lambda s: replace(s, value=s.value[:-1]),
        lambda s: replace(s, value=s.value + b"\0"),
        lambda s: replace(s, value=b"\xff" * 8 + s.value[8:]),
    ],
    ids=["time", "signature", "short", "long", "time beyond"],
)
def test_a_changed_line_does_not_hold(changed: object) -> None:
    with pytest.raises(VerificationFailed):
        cosigned_by(CHECKPOINT.text, [changed(line_of())], [COSIGNER.witness])  # type: ignore[operator]


def test_it_holds_for_no_other_checkpoint() -> None:
    for other in (replace(CHECKPOINT, size=4), replace(CHECKPOINT, origin="other.example/log")):
        with pytest.raises(VerificationFailed):
            cosigned_by(other.text, [line_of()], [COSIGNER.witness])


def test_keys_of_another_kind_are_no_witnesses() -> None:
    with pytest.raises(Malformed):
        Witness.parse(Verifier(NAME, COSIGNER.witness.public_key).vkey)
    with pytest.raises(Malformed):
        Verifier.parse(COSIGNER.witness.vkey)
    with pytest.raises(Malformed):
        Witness(NAME, b"short")
    with pytest.raises(Malformed):
        parse_signatures("no line")
