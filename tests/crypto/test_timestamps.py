"""Time-stamps of RFC 3161: by a recorded one, and by openssl as authority and as the other verifier."""

import base64
import importlib
import json
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.authority import Authority, needs_openssl

from creditshare.crypto.timestamps import StampRequest, StampRoots, stamp_request
from creditshare.errors import ConfigurationError, Malformed, VerificationFailed

pytest.importorskip("rfc3161_client", reason="the extra creditshare[anchors] is not installed")

RECORDED: Final = json.loads((Path(__file__).parent / "vectors" / "rfc3161.json").read_text())
MESSAGE: Final = RECORDED["message"].encode()
TOKEN: Final = base64.b64decode(RECORDED["token"])
REPLY: Final = base64.b64decode(RECORDED["reply"])
REQUEST: Final = StampRequest(base64.b64decode(RECORDED["request"]), int(RECORDED["nonce"], 16))
AT: Final = datetime.fromisoformat(RECORDED["time"])
REFUSAL: Final = bytes.fromhex("30053003020102")
"""An answer of nothing but the status rejection."""


def roots(*names: str) -> StampRoots:
    return StampRoots.parse("".join(RECORDED[name] for name in names).encode())


TRUSTED: Final = roots("roots", "between")


def test_a_stamp_holds_over_its_message_and_states_its_time() -> None:
    assert TRUSTED.verify(TOKEN, MESSAGE).at == AT
    stamp = TRUSTED.accept(REPLY, REQUEST, MESSAGE)
    assert (stamp.token, stamp.at) == (TOKEN, AT)


def test_a_stamp_over_something_else_is_refused() -> None:
    for message in (MESSAGE + b"\n", MESSAGE[:-1], b""):
        with pytest.raises(VerificationFailed, match="something else"):
            TRUSTED.verify(TOKEN, message)


def test_an_answer_to_another_request_is_refused() -> None:
    """An old answer would move the time back."""
    with pytest.raises(VerificationFailed, match="another request"):
        TRUSTED.accept(REPLY, stamp_request(MESSAGE), MESSAGE)


@pytest.mark.parametrize("names", [("roots",), ("between",), ("signer",), ("between", "signer")])
def test_only_a_way_to_a_self_signed_certificate_is_one(names: tuple[str, ...]) -> None:
    with pytest.raises(VerificationFailed, match="trusted root"):
        roots(*names).verify(TOKEN, MESSAGE)


def test_no_changed_bit_makes_another_stamp() -> None:
    """Some bits are under no signature; then the stamp says what it said before. All else is refused by our errors."""
    unsigned = 0
    for place in range(len(TOKEN)):
        for bit in range(8):
            changed = bytearray(TOKEN)
            changed[place] ^= 1 << bit
            try:
                unsigned += TRUSTED.verify(bytes(changed), MESSAGE).at == AT
            except (Malformed, VerificationFailed):
                continue
    assert unsigned < 100


@pytest.mark.parametrize("body", [b"", b"0", b"fine\n", REFUSAL[:-1], TOKEN, REPLY + b"\0", REPLY * 40])
def test_what_is_no_answer_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        TRUSTED.accept(body, REQUEST, MESSAGE)


@pytest.mark.parametrize("token", [b"", REPLY, TOKEN + b"\0", TOKEN + TOKEN])
def test_what_is_no_token_is_malformed(token: bytes) -> None:
    with pytest.raises(Malformed):
        TRUSTED.verify(token, MESSAGE)


def test_a_truncated_one_is_malformed() -> None:
    for length in range(len(REPLY)):
        with pytest.raises(Malformed):
            TRUSTED.accept(REPLY[:length], REQUEST, MESSAGE)
    for length in range(len(TOKEN)):
        with pytest.raises(Malformed):
            TRUSTED.verify(TOKEN[:length], MESSAGE)


@given(st.binary(max_size=200), st.integers(0, len(REPLY)), st.integers(0, 200))
def test_anything_else_raises_our_errors_alone(noise: bytes, place: int, cut: int) -> None:
    body = REPLY[:place] + noise + REPLY[place + cut :]
    with pytest.raises((Malformed, VerificationFailed)):
        TRUSTED.accept(body, REQUEST, b"else")
    with pytest.raises((Malformed, VerificationFailed)):
        TRUSTED.verify(body, b"else")


def test_a_refusal_is_told_by_its_status() -> None:
    with pytest.raises(VerificationFailed, match="status 2"):
        TRUSTED.accept(REFUSAL, REQUEST, MESSAGE)


@pytest.mark.parametrize("pem", [b"", b"no certificate", RECORDED["roots"][:200].encode()])
def test_what_holds_no_certificate_gives_no_roots(pem: bytes) -> None:
    with pytest.raises(Malformed):
        StampRoots.parse(pem)


def test_requests_are_fresh_and_name_the_message_by_its_digest() -> None:
    one, other = stamp_request(MESSAGE), stamp_request(MESSAGE)
    assert one.nonce != other.nonce
    assert MESSAGE not in one.body


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    for needs in (lambda: stamp_request(MESSAGE), lambda: roots("roots")):
        with pytest.raises(ConfigurationError, match=r"pip install 'creditshare\[anchors\]'"):
            needs()


@needs_openssl
def test_openssl_gives_stamps_and_accepts_what_we_kept(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    request = stamp_request(MESSAGE)
    stamp = StampRoots.parse(authority.roots.read_bytes()).accept(authority.reply(request.body), request, MESSAGE)
    assert authority.verifies(stamp.token, MESSAGE)
    assert not authority.verifies(stamp.token, MESSAGE + b"\n")
    with pytest.raises(VerificationFailed, match="trusted root"):
        TRUSTED.verify(stamp.token, MESSAGE)


@needs_openssl
def test_a_certificate_that_may_not_stamp_is_refused(tmp_path: Path) -> None:
    """Whoever has any certificate under a public root would be an authority."""
    authority, request = Authority(tmp_path / "authority"), stamp_request(MESSAGE)
    known, reply = StampRoots.parse(authority.roots.read_bytes()), authority.reply(request.body)
    known.accept(reply, request, MESSAGE)
    with pytest.raises(VerificationFailed, match="trusted root"):
        known.accept(authority.misused(reply), request, MESSAGE)
