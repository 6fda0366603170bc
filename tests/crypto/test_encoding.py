"""Base64url and digests: one spelling per value, and only our error for everything else."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.crypto.digests import content_digest, parse_content_digest, sha256_b64url
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.errors import Malformed

HELLO_WORLD = b'{"hello": "world"}'
# The value printed in many examples of signed HTTP messages; no line end after the object.
HELLO_WORLD_DIGEST = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"", "", id="empty"),
        pytest.param(b"f", "Zg", id="one-byte"),
        pytest.param(b"fo", "Zm8", id="two-bytes"),
        pytest.param(b"foo", "Zm9v", id="three-bytes"),
        pytest.param(b"\xff\xef\xbe", "_---", id="both-special-characters"),
        pytest.param(bytes([3, 236, 255, 224, 193]), "A-z_4ME", id="rfc7515-appendix-c"),
    ],
)
def test_known_spellings(data: bytes, text: str) -> None:
    assert b64url_encode(data) == text
    assert b64url_decode(text) == data
    assert b64url_decode(text.encode()) == data


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Zg==", id="padded"),
        pytest.param("Zg=", id="half-padded"),
        pytest.param("Zh", id="trailing-bits-of-two"),
        pytest.param("Zm9", id="trailing-bits-of-three"),
        pytest.param("Z", id="impossible-length"),
        pytest.param("Zm9vZ", id="impossible-length-after-a-group"),
        pytest.param("-_+/", id="standard-alphabet"),
        pytest.param("Zm 9v", id="space-inside"),
        pytest.param("Zm9v\n", id="newline-at-end"),
        pytest.param(" Zm9v", id="space-before"),
        pytest.param("Zm9v!", id="foreign-character"),
        pytest.param("Zm9\u0443", id="homograph"),
        pytest.param("\ud800", id="lone-surrogate"),
        pytest.param(b"Zm9\xff", id="byte-above-ascii"),
        pytest.param(b"Zm9v\0", id="nul"),
    ],
)
def test_every_other_spelling_is_malformed(text: str | bytes) -> None:
    with pytest.raises(Malformed):
        b64url_decode(text)


@given(st.binary(max_size=200))
def test_round_trip(data: bytes) -> None:
    assert b64url_decode(b64url_encode(data)) == data
    assert b64url_encode(data) == base64.urlsafe_b64encode(data).decode().replace("=", "")


@given(st.one_of(st.binary(max_size=40), st.text(max_size=40)))
def test_decoding_is_injective_and_raises_only_malformed(text: str | bytes) -> None:
    try:
        data = b64url_decode(text)
    except Malformed:
        return
    assert b64url_encode(data) == (text if isinstance(text, str) else text.decode())


def test_digest_of_the_common_example() -> None:
    assert content_digest(HELLO_WORLD) == HELLO_WORLD_DIGEST
    assert parse_content_digest(HELLO_WORLD_DIGEST) == hashlib.sha256(HELLO_WORLD).digest()


def test_digest_of_rfc_9530_appendix_b() -> None:
    """The same object with a line end, as the RFC's own examples have it."""
    assert content_digest(HELLO_WORLD + b"\n") == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


def test_digest_of_zero_bytes() -> None:
    assert content_digest(b"") == "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(HELLO_WORLD_DIGEST + ", sha-512=:AAAA:", id="second-algorithm"),
        pytest.param("bogus=:AAAA:, " + HELLO_WORLD_DIGEST, id="bogus-algorithm-first"),
        pytest.param(HELLO_WORLD_DIGEST + "," + HELLO_WORLD_DIGEST, id="twice"),
        pytest.param(HELLO_WORLD_DIGEST.replace("sha-256", "SHA-256"), id="upper-case-name"),
        pytest.param(HELLO_WORLD_DIGEST.replace("sha-256", "sha-512"), id="other-algorithm"),
        pytest.param(HELLO_WORLD_DIGEST.replace("PE=", "PF="), id="trailing-bits"),
        pytest.param(HELLO_WORLD_DIGEST.replace("=:", ":").replace("sha-256:", "sha-256=:"), id="no-padding"),
        pytest.param(HELLO_WORLD_DIGEST + "\n", id="newline"),
        pytest.param(" " + HELLO_WORLD_DIGEST, id="space"),
        pytest.param(HELLO_WORLD_DIGEST[:-1], id="unfinished"),
        pytest.param(HELLO_WORLD_DIGEST + ";p=1", id="parameter"),
    ],
)
def test_a_digest_has_one_spelling(text: str) -> None:
    with pytest.raises(Malformed):
        parse_content_digest(text)


@given(st.text(max_size=80))
def test_parsing_a_digest_raises_only_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse_content_digest(text)


@given(st.binary(max_size=100))
def test_digest_round_trip(body: bytes) -> None:
    assert parse_content_digest(content_digest(body)) == hashlib.sha256(body).digest()


def test_sha256_in_base64url() -> None:
    assert sha256_b64url(b"") == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
