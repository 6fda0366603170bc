"""Proof of possession: only the holder of exactly this key, for this member and service, now."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jws import SigningKey
from creditshare.errors import Malformed, Refused
from creditshare.wire.registration import check_proof, make_proof
from creditshare.wire.requests import sign_request

KEY: Final = SigningKey.generate()
OTHER_KEY: Final = SigningKey.generate()
ISSUER: Final = "https://cs.example"
MEMBER: Final = "mem_a"
NOW: Final = 1_800_000_000
JTI: Final = "0b1f8c2e-7f0a-4a53-9a33-0a52a3a6f001"
JWK: Final = dict(KEY.public_jwk)
MINIMAL: Final = {name: JWK[name] for name in ("kty", "crv", "x", "y", "use")}
GOOD: Final = make_proof(KEY, member_id=MEMBER, issuer=ISSUER, iat=NOW, jti=JTI)


def check(proof: str | bytes, **changes: Any) -> str:
    arguments: dict[str, Any] = {"jwk": JWK, "member_id": MEMBER, "issuer": ISSUER, "now": NOW, **changes}
    return check_proof(proof, **arguments).kid


def refuse(proof: str | bytes, **changes: Any) -> None:
    with pytest.raises(Refused) as caught:
        check(proof, **changes)
    assert (caught.value.code, caught.value.extra, caught.value.fields) == ("proof_invalid", {}, ())


def proof_of(
    *, header: Mapping[str, object] | None = None, claims: Mapping[str, object] | None = None, key: SigningKey = KEY
) -> str:
    head = {"alg": "ES256", "typ": "cs-keyreg+jwt", "jwk": JWK, **(header or {})}
    members = {"iss": MEMBER, "aud": ISSUER, "iat": NOW, "exp": NOW + 120, "jti": JTI, "jkt": KEY.kid, **(claims or {})}
    parts = [{k: v for k, v in part.items() if v is not ...} for part in (head, members)]
    signing_input = ".".join(b64url_encode(json.dumps(part).encode()) for part in parts)
    signature: bytes = key._key.sign(signing_input.encode())
    return f"{signing_input}.{b64url_encode(signature)}"


def test_the_holder_gets_the_key() -> None:
    assert check(GOOD) == check(GOOD.encode()) == check(proof_of()) == KEY.kid


def test_a_minimal_jwk_is_enough() -> None:
    assert check(proof_of(header={"jwk": MINIMAL}), jwk=MINIMAL) == KEY.kid


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"alg": "none"}, id="alg-none"),
        pytest.param({"alg": "HS256"}, id="alg-hs256"),
        pytest.param({"alg": ...}, id="alg-missing"),
        pytest.param({"typ": "cs-req+jwt"}, id="typ-request"),
        pytest.param({"typ": ...}, id="typ-missing"),
        pytest.param({"jwk": ...}, id="jwk-missing"),
        pytest.param({"jwk": dict(OTHER_KEY.public_jwk)}, id="jwk-of-another"),
        pytest.param({"jwk": MINIMAL}, id="jwk-spelled-otherwise"),
        pytest.param({"jwk": None}, id="jwk-null"),
        pytest.param({"jwk": json.dumps(JWK)}, id="jwk-string"),
        pytest.param({"kid": KEY.kid}, id="kid-added"),
        pytest.param({"crit": []}, id="crit"),
    ],
)
def test_headers(header: dict[str, object]) -> None:
    refuse(proof_of(header=header))


@pytest.mark.parametrize(
    "claims",
    [
        *(pytest.param({name: ...}, id=f"{name}-missing") for name in ("iss", "aud", "iat", "exp", "jti", "jkt")),
        pytest.param({"iss": "mem_b"}, id="iss-of-another"),
        pytest.param({"aud": [ISSUER]}, id="aud-list"),
        pytest.param({"aud": ISSUER + "/"}, id="aud-trailing-slash"),
        pytest.param({"jkt": OTHER_KEY.kid}, id="jkt-of-another"),
        pytest.param({"jti": "short"}, id="jti-short"),
        pytest.param({"jti": 5}, id="jti-number"),
        pytest.param({"iat": float(NOW)}, id="iat-float"),
        pytest.param({"iat": True}, id="iat-bool"),
        pytest.param({"exp": str(NOW + 60)}, id="exp-string"),
        pytest.param({"exp": NOW + 121}, id="life-121"),
        pytest.param({"exp": NOW}, id="life-0"),
        pytest.param({"iat": NOW + 31, "exp": NOW + 60}, id="ahead"),
        pytest.param({"iat": NOW - 90, "exp": NOW - 30}, id="past"),
    ],
)
def test_claims(claims: dict[str, object]) -> None:
    refuse(proof_of(claims=claims))


@pytest.mark.parametrize(
    ("now", "accepted"),
    [(NOW - 31, False), (NOW - 30, True), (NOW + 149, True), (NOW + 150, False), (NOW + 151, False)],
)
def test_clock_skew_edges(*, now: int, accepted: bool) -> None:
    if accepted:
        assert check(GOOD, now=now)
    else:
        refuse(GOOD, now=now)


@pytest.mark.parametrize(
    "jwk",
    [
        pytest.param({k: v for k, v in MINIMAL.items() if k != "use"}, id="no-use"),
        pytest.param({**MINIMAL, "use": "enc"}, id="use-enc"),
        pytest.param(KEY.private_jwk(), id="private-key-sent"),
        pytest.param({**MINIMAL, "crv": "P-384"}, id="other-curve"),
        pytest.param({**MINIMAL, "y": MINIMAL["x"]}, id="not-on-the-curve"),
        pytest.param({**MINIMAL, "kid": "mine"}, id="kid-of-its-own"),
        pytest.param({}, id="empty"),
    ],
)
def test_keys_that_are_refused_even_with_an_equal_header(jwk: dict[str, str]) -> None:
    refuse(proof_of(header={"jwk": jwk}), jwk=jwk)


def test_another_members_proof_and_another_services_proof() -> None:
    refuse(GOOD, member_id="mem_b")
    refuse(GOOD, issuer="https://other.example")
    refuse(GOOD, jwk=dict(OTHER_KEY.public_jwk))


def test_a_proof_signed_by_another_key() -> None:
    refuse(proof_of(key=OTHER_KEY))


def test_a_request_is_not_a_proof() -> None:
    refuse(sign_request(KEY, issuer=ISSUER, member_id=MEMBER, sub="s", method="GET", path="/", iat=NOW, jti=JTI))


@pytest.mark.parametrize("change", [{"lifetime": 0}, {"lifetime": 121}, {"jti": "short"}])
def test_what_would_be_refused_is_not_made(change: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"member_id": MEMBER, "issuer": ISSUER, "iat": NOW, "jti": JTI, **change}
    with pytest.raises(Malformed):
        make_proof(KEY, **arguments)


@settings(max_examples=200)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_mutated_proof_is_refused(at: int, byte: int) -> None:
    changed = GOOD.encode()[:at] + bytes([byte]) + GOOD.encode()[at + 1 :]
    if changed != GOOD.encode():
        refuse(changed)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_any_input_is_refused(proof: str | bytes) -> None:
    refuse(proof)
