"""Encryption to a public key: the key agreement of RFC 7518 appendix C, and what does not open."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.jwe import OpeningKey, RecipientKey, agreed_key
from creditshare.errors import CreditshareError, Malformed, VerificationFailed

# RFC 7518 appendix C
ALICE = {
    "kty": "EC",
    "crv": "P-256",
    "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0",
    "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
    "d": "0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo",
}
BOB = {
    "kty": "EC",
    "crv": "P-256",
    "x": "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ",
    "y": "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck",
    "d": "VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw",
}
DERIVED = "VqqN6vgjbSBcIijNcacQGg"


def _private(jwk: dict[str, str]) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(b64url_decode(jwk["d"]), "big"), ec.SECP256R1())


@pytest.mark.parametrize(("own", "other"), [(ALICE, BOB), (BOB, ALICE)], ids=["sender", "recipient"])
def test_the_agreement_of_the_standard(own: dict[str, str], other: dict[str, str]) -> None:
    shared = _private(own).exchange(ec.ECDH(), _private(other).public_key())
    assert b64url_encode(agreed_key(shared, alg="A128GCM", bits=128, apu=b"Alice", apv=b"Bob")) == DERIVED


def test_only_the_named_key_opens() -> None:
    key = OpeningKey.from_jwk({**BOB, "use": "enc"})
    token = RecipientKey.from_jwk(key.public_jwk).encrypt(b"own records", {"typ": "x"})
    opened = key.open(token)
    assert (opened.plaintext, opened.header["typ"]) == (b"own records", "x")
    assert OpeningKey.from_jwk(key.private_jwk()).open(token).plaintext == b"own records"
    with pytest.raises(VerificationFailed, match="another key"):
        OpeningKey.generate().open(token)
    assert key.private_jwk()["d"] not in repr(key)


def test_each_changed_character_is_noticed() -> None:
    key = OpeningKey.generate()
    token = RecipientKey.from_jwk(key.public_jwk).encrypt(b"x", {})
    for place in range(0, len(token), 7):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(CreditshareError):
            key.open(changed)


@pytest.mark.parametrize(
    "changes",
    [{"alg": "dir"}, {"enc": "A128GCM"}, {"crit": ["exp"]}, {"zip": "DEF"}, {"epk": "none"}, {"epk": {"kty": "EC"}}],
    ids=str,
)
def test_a_header_does_not_choose(changes: dict[str, object]) -> None:
    key = OpeningKey.generate()
    protected, rest = RecipientKey.from_jwk(key.public_jwk).encrypt(b"x", {}).split(".", 1)
    header = json.dumps({**json.loads(b64url_decode(protected)), **changes})
    with pytest.raises(Malformed):
        key.open(f"{b64url_encode(header.encode())}.{rest}")


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "sig"},
        {"use": None},
        {"d": BOB["d"]},
        {"alg": "ES256"},
        {"crv": "P-384"},
        {"kid": "another"},
        {"x": BOB["y"]},
        {"x": "AA"},
    ],
    ids=str,
)
def test_a_key_for_something_else_is_no_recipient(changes: dict[str, object]) -> None:
    jwk = {name: value for name, value in BOB.items() if name != "d"}
    with pytest.raises(Malformed):
        RecipientKey.from_jwk({**jwk, "use": "enc", **changes})


def test_the_sender_names_no_member_of_ours() -> None:
    with pytest.raises(Malformed):
        RecipientKey.from_jwk(OpeningKey.generate().public_jwk).encrypt(b"x", {"alg": "none"})
