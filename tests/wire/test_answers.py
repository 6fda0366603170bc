"""Signed answers: each part of another exchange is noticed, and bytes from outside yield only our errors."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditshare.crypto.digests import content_digest, sha256_b64url
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jws import SigningKey, split
from creditshare.errors import Malformed, VerificationFailed
from creditshare.wire.answers import AnswerClaims, sign_answer, verify_answer
from creditshare.wire.requests import sign_request

KEY: Final = SigningKey.generate()
OTHER_KEY: Final = SigningKey.generate()
ISSUER: Final = "https://cs.example"
MEMBER: Final = "mem_a"
NOW: Final = 1_800_000_000
JTI: Final = "0b1f8c2e-7f0a-4a53-9a33-0a52a3a6f001"
RQH: Final = sha256_b64url(b"the request's token")
BODY: Final = b'{"match":"none"}'
LOG: Final = {"event_id": "evt_x", "leaf": "{}", "mmd": 60}
SIGN: Final[dict[str, Any]] = {
    "issuer": ISSUER,
    "audience": MEMBER,
    "iat": NOW,
    "jti": JTI,
    "rqh": RQH,
    "status": 200,
    "body": BODY,
    "log": LOG,
}
CHECK: Final[dict[str, Any]] = {
    "keys": {KEY.kid: KEY.verifying_key},
    "issuer": ISSUER,
    "audience": MEMBER,
    "rqh": RQH,
    "status": 200,
    "body": BODY,
}
GOOD: Final = sign_answer(KEY, **SIGN)


def payload(**changes: object) -> dict[str, object]:
    members = {"iss": ISSUER, "aud": MEMBER, "iat": NOW, "jti": JTI, "rqh": RQH, "sts": 200}
    return {**members, "cdg": content_digest(BODY), **changes}


def token(body: Mapping[str, object] | bytes, **header: object) -> str:
    """Return a truly signed token whose header is that of an answer, with changes."""
    head = json.dumps({"alg": "ES256", "typ": "cs-res+jwt", "kid": KEY.kid, **header}).encode()
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    signing_input = f"{b64url_encode(head)}.{b64url_encode(text)}"
    signature: bytes = KEY._key.sign(signing_input.encode())
    return f"{signing_input}.{b64url_encode(signature)}"


def test_what_was_signed_is_read() -> None:
    claims = verify_answer(GOOD, **CHECK)
    log = claims.log
    assert log is not None
    assert dict(log) == LOG
    assert (claims.iss, claims.aud, claims.iat, claims.jti) == (ISSUER, MEMBER, NOW, JTI)
    assert (claims.rqh, claims.sts, claims.cdg) == (RQH, 200, content_digest(BODY))
    assert json.loads(split(GOOD, max_token=16384).header) == {"alg": "ES256", "kid": KEY.kid, "typ": "cs-res+jwt"}
    assert verify_answer(GOOD.encode(), **CHECK) == claims


def test_claims_are_values_and_log_is_read_only() -> None:
    claims = verify_answer(GOOD, **CHECK)
    assert isinstance(hash(claims), int)
    assert claims.log is not None
    with pytest.raises(TypeError):
        claims.log["leaf"] = "x"  # type: ignore[index]


def test_without_an_event_there_is_no_log() -> None:
    bare = sign_answer(KEY, **{**SIGN, "log": None})
    assert b'"log"' not in split(bare).payload
    assert verify_answer(bare, **CHECK).log is None


def test_an_empty_body_has_a_digest() -> None:
    empty = sign_answer(KEY, **{**SIGN, "body": b"", "status": 204})
    assert verify_answer(empty, **{**CHECK, "body": b"", "status": 204}).cdg == content_digest(b"")


def test_unknown_claims_are_ignored_because_wire_forms_grow() -> None:
    assert isinstance(verify_answer(token(payload(later={"x": 1.5})), **CHECK), AnswerClaims)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"issuer": "https://evil.example"}, id="another-service"),
        pytest.param({"audience": "mem_b"}, id="another-member"),
        pytest.param({"rqh": sha256_b64url(b"other")}, id="another-request"),
        pytest.param({"status": 404}, id="another-status"),
        pytest.param({"body": BODY + b" "}, id="another-body"),
        pytest.param({"body": b""}, id="body-removed"),
        pytest.param({"keys": {}}, id="no-keys"),
        pytest.param({"keys": {OTHER_KEY.kid: OTHER_KEY.verifying_key}}, id="unknown-key"),
        pytest.param({"keys": {KEY.kid: OTHER_KEY.verifying_key}}, id="mixed-up-keys"),
    ],
)
def test_another_exchange_is_noticed(change: dict[str, Any]) -> None:
    with pytest.raises(VerificationFailed):
        verify_answer(GOOD, **{**CHECK, **change})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"aud": [MEMBER]}, id="aud-list"),
        pytest.param({"aud": None}, id="aud-null"),
        pytest.param({"iss": 1}, id="iss-number"),
        pytest.param({"iat": 1.0}, id="iat-float"),
        pytest.param({"iat": True}, id="iat-bool"),
        pytest.param({"iat": str(NOW)}, id="iat-string"),
        pytest.param({"sts": "200"}, id="sts-string"),
        pytest.param({"sts": 200.0}, id="sts-float"),
        pytest.param({"sts": True}, id="sts-bool"),
        pytest.param({"sts": 100}, id="sts-interim"),
        pytest.param({"sts": 600}, id="sts-600"),
        pytest.param({"rqh": RQH + "="}, id="rqh-padded"),
        pytest.param({"rqh": "AA"}, id="rqh-short"),
        pytest.param({"jti": "short"}, id="jti-short"),
        pytest.param({"jti": None}, id="jti-null"),
        pytest.param({"cdg": [content_digest(BODY)]}, id="cdg-list"),
        pytest.param({"log": None}, id="log-null"),
        pytest.param({"log": []}, id="log-list"),
    ],
)
def test_claims_of_another_form(change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        verify_answer(token(payload(**change)), **CHECK)


@pytest.mark.parametrize("name", ["iss", "aud", "iat", "jti", "rqh", "sts", "cdg"])
def test_each_missing_claim(name: str) -> None:
    with pytest.raises(Malformed):
        verify_answer(token({k: v for k, v in payload().items() if k != name}), **CHECK)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"typ": "cs-req+jwt"}, id="typ-request"),
        pytest.param({"typ": "JWT"}, id="typ-jwt"),
        pytest.param({"alg": "none"}, id="alg-none"),
        pytest.param({"alg": "HS256"}, id="alg-hs256"),
        pytest.param({"alg": ["ES256"]}, id="alg-list"),
        pytest.param({"crit": ["exp"]}, id="crit"),
        pytest.param({"jwk": dict(KEY.public_jwk)}, id="jwk"),
        pytest.param({"b64": False}, id="b64"),
    ],
)
def test_headers_of_another_form(header: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        verify_answer(token(payload(), **header), **CHECK)


@pytest.mark.parametrize("kid", [None, 1, [KEY.kid], "", "A" * 43])
def test_keys_that_are_not_the_services(kid: object) -> None:
    with pytest.raises(VerificationFailed):
        verify_answer(token(payload(), kid=kid), **CHECK)


def test_a_mixed_up_key_set_fails_closed() -> None:
    with pytest.raises(VerificationFailed):
        verify_answer(token(payload(), kid=OTHER_KEY.kid), **{**CHECK, "keys": {OTHER_KEY.kid: KEY.verifying_key}})


def test_a_request_is_not_an_answer() -> None:
    request = sign_request(KEY, issuer=MEMBER, member_id=ISSUER, sub="s", method="GET", path="/v1/me", iat=NOW, jti=JTI)
    with pytest.raises(Malformed):
        verify_answer(request, **CHECK)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"rqh": "x"}, id="rqh"),
        pytest.param({"jti": "x"}, id="jti"),
        pytest.param({"status": 99}, id="status"),
        pytest.param({"log": {"x": 0.5}}, id="float-in-log"),
        pytest.param({"log": {"leaf": "x" * 13_000}}, id="too-long"),
    ],
)
def test_what_could_not_be_read_is_not_signed(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        sign_answer(KEY, **{**SIGN, **change})


def test_a_full_leaf_and_meta_fit() -> None:
    log = {"leaf": "x" * 4096, "meta": "y" * 4096}
    answer = sign_answer(KEY, **{**SIGN, "log": log})
    assert len(answer) <= 16 * 1024
    assert verify_answer(answer, **CHECK).log == log


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.sampled_from(["replace", "insert", "delete"]))
def test_a_mutated_answer_is_never_verified(at: int, byte: int, how: str) -> None:
    raw = GOOD.encode()
    middle = {"replace": bytes([byte]) + raw[at + 1 :], "insert": bytes([byte]) + raw[at:], "delete": raw[at + 1 :]}
    changed = raw[:at] + middle[how]
    if changed != raw:
        with pytest.raises((Malformed, VerificationFailed)):
            verify_answer(changed, **CHECK)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200), st.binary(max_size=100).map(token)))
def test_any_input_yields_only_our_errors(answer: str | bytes) -> None:
    with pytest.raises((Malformed, VerificationFailed)):
        verify_answer(answer, **CHECK)
