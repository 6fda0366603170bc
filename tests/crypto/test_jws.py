"""The fence around python-jose: strict keys, one algorithm, thumbprints, and what ES256 itself allows."""

import base64
import copy
import hashlib
import importlib
import json
import pickle
from pathlib import Path
from typing import Any

import jose.backends
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.jws import (
    ALGORITHMS,
    SigningKey,
    VerifyingKey,
    assert_backend,
    split,
    thumbprint,
)
from creditshare.errors import ConfigurationError, Malformed

# RFC 7515 appendix A.3: key, signing input and signature of the ES256 example.
RFC7515_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
RFC7515_TOKEN = (
    "eyJhbGciOiJFUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
PUBLIC = {name: value for name, value in RFC7515_KEY.items() if name != "d"}
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
FIELD = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF


def spell(number: int, size: int = 32) -> str:
    return b64url_encode(number.to_bytes(size, "big"))


def test_algorithms_are_one_row_and_cannot_grow_at_run_time() -> None:
    assert list(ALGORITHMS) == ["ES256"]
    with pytest.raises(TypeError):
        ALGORITHMS["none"] = ALGORITHMS["ES256"]  # type: ignore[index]


def test_thumbprint_agrees_with_a_computation_of_its_own() -> None:
    text = json.dumps({k: PUBLIC[k] for k in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).digest()
    expected = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert thumbprint(PUBLIC) == expected == "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
    assert VerifyingKey.from_jwk(PUBLIC).kid == expected


def test_thumbprint_leaves_out_optional_and_private_members() -> None:
    assert thumbprint({**RFC7515_KEY, "use": "sig", "kid": "mine"}) == thumbprint(PUBLIC)


@pytest.mark.parametrize("name", ["kty", "crv", "x", "y"])
def test_thumbprint_needs_every_required_member(name: str) -> None:
    with pytest.raises(Malformed):
        thumbprint({k: v for k, v in PUBLIC.items() if k != name})


def test_the_rfc_example_verifies() -> None:
    compact = split(RFC7515_TOKEN)
    key = VerifyingKey.from_jwk(PUBLIC)
    assert key.verify(compact.signing_input, compact.signature)
    assert not key.verify(compact.signing_input + b"x", compact.signature)
    assert not SigningKey.generate().verifying_key.verify(compact.signing_input, compact.signature)


def test_the_high_s_twin_verifies_so_replay_rests_on_jti() -> None:
    compact = split(RFC7515_TOKEN)
    s = int.from_bytes(compact.signature[32:], "big")
    twin = compact.signature[:32] + (ORDER - s).to_bytes(32, "big")
    assert VerifyingKey.from_jwk(PUBLIC).verify(compact.signing_input, twin)


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(64), id="psychic-zero"),
        pytest.param(b"\xff" * 64, id="above-the-order"),
        pytest.param(bytes(32) + b"\x01" * 32, id="zero-r"),
        pytest.param(b"\x01" * 32 + bytes(32), id="zero-s"),
        pytest.param(ORDER.to_bytes(32, "big") * 2, id="order"),
        pytest.param(split(RFC7515_TOKEN).signature[:-1], id="63-bytes"),
        pytest.param(split(RFC7515_TOKEN).signature + b"\0", id="65-bytes"),
        pytest.param(b"\0" + split(RFC7515_TOKEN).signature, id="leading-zero"),
        pytest.param(b"\x30\x06\x02\x01\x01\x02\x01\x01", id="der"),
    ],
)
def test_other_signatures_do_not_verify(signature: bytes) -> None:
    assert VerifyingKey.from_jwk(PUBLIC).verify(split(RFC7515_TOKEN).signing_input, signature) is False


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"kty": "RSA"}, id="rsa"),
        pytest.param({"kty": "oct", "k": "c2VjcmV0"}, id="symmetric"),
        pytest.param({"kty": "OKP", "crv": "Ed25519"}, id="okp"),
        pytest.param({"kty": "ec"}, id="kty-lower-case"),
        pytest.param({"kty": ["EC"]}, id="kty-list"),
        pytest.param({"crv": "P-384"}, id="other-curve"),
        pytest.param({"crv": "secp256k1"}, id="bitcoin-curve"),
        pytest.param({"x": None}, id="x-null"),
        pytest.param({"x": 5}, id="x-number"),
        pytest.param({"x": PUBLIC["x"] + "="}, id="x-padded"),
        pytest.param({"x": PUBLIC["x"][:-1] + "V"}, id="x-trailing-bits"),
        pytest.param({"x": "AA" + PUBLIC["x"]}, id="x-longer"),
        pytest.param({"x": spell(1, 1)}, id="x-shorter"),
        pytest.param({"y": spell(1)}, id="not-on-the-curve"),
        pytest.param({"x": spell(0), "y": spell(0)}, id="infinity"),
        pytest.param({"x": spell(FIELD), "y": PUBLIC["y"]}, id="x-is-the-field-prime"),
        pytest.param({"d": RFC7515_KEY["d"]}, id="private"),
        pytest.param({"d": None}, id="private-null"),
        pytest.param({"k": "c2VjcmV0"}, id="symmetric-member"),
        pytest.param({"use": "enc"}, id="use-enc"),
        pytest.param({"use": None}, id="use-null"),
        pytest.param({"use": ["sig"]}, id="use-list"),
        pytest.param({"alg": "ES384"}, id="alg-es384"),
        pytest.param({"alg": "none"}, id="alg-none"),
        pytest.param({"key_ops": ["deriveKey"]}, id="key-ops-derive"),
        pytest.param({"key_ops": ["verify", "sign"]}, id="key-ops-more"),
        pytest.param({"key_ops": []}, id="key-ops-empty"),
        pytest.param({"kid": "../../etc/passwd"}, id="own-kid"),
        pytest.param({"kid": ["x"]}, id="kid-list"),
    ],
)
def test_keys_that_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        VerifyingKey.from_jwk({**PUBLIC, **change})


def test_a_coordinate_above_the_field_prime_is_refused() -> None:
    """A point with a small x has a second spelling, x + p, that still fits 32 bytes."""
    for x in range(1, 200):
        square = (x**3 - 3 * x + 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B) % FIELD
        y = pow(square, (FIELD + 1) // 4, FIELD)
        if y * y % FIELD == square:
            break
    VerifyingKey.from_jwk({**PUBLIC, "x": spell(x), "y": spell(y)})
    with pytest.raises(Malformed):
        VerifyingKey.from_jwk({**PUBLIC, "x": spell(x + FIELD), "y": spell(y)})


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"use": "sig"}, id="use"),
        pytest.param({"alg": "ES256"}, id="alg"),
        pytest.param({"kid": thumbprint(PUBLIC)}, id="kid"),
        pytest.param({"key_ops": ["verify"], "ext": True}, id="web-crypto-export"),
        pytest.param({"x5u": "https://evil.example/"}, id="certificate-address-is-ignored"),
    ],
)
def test_keys_that_are_accepted_get_the_canonical_mapping(extra: dict[str, object]) -> None:
    key = VerifyingKey.from_jwk({**PUBLIC, **extra})
    assert dict(key.jwk) == {**PUBLIC, "alg": "ES256", "use": "sig", "kid": thumbprint(PUBLIC)}


def test_registration_requires_use() -> None:
    with pytest.raises(Malformed):
        VerifyingKey.from_jwk(PUBLIC, require_use=True)
    assert VerifyingKey.from_jwk({**PUBLIC, "use": "sig"}, require_use=True) == VerifyingKey.from_jwk(PUBLIC)


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "use", "alg", "kid", "key_ops", "other"]),
        st.one_of(
            st.none(),
            st.integers(),
            st.text(max_size=50),
            st.lists(st.text(max_size=5)),
            st.sampled_from(list(PUBLIC.values())),
        ),
    )
)
def test_any_mapping_yields_a_key_or_malformed(jwk: dict[str, object]) -> None:
    try:
        VerifyingKey.from_jwk(jwk)
    except Malformed:
        return
    assert jwk["kty"] == "EC"


def test_signing_key_round_trip() -> None:
    key = SigningKey.generate()
    again = SigningKey.from_jwk(json.loads(json.dumps(key.private_jwk())))
    assert again == key
    assert again.kid == key.kid == key.verifying_key.kid == thumbprint(key.public_jwk)
    compact = split(again.sign({"typ": "x"}, b"payload"))
    assert key.verifying_key.verify(compact.signing_input, compact.signature)
    assert (compact.header, compact.payload) == (b'{"alg":"ES256","typ":"x"}', b"payload")


def test_the_rfc_private_key_is_read() -> None:
    assert SigningKey.from_jwk(RFC7515_KEY).private_jwk()["d"] == RFC7515_KEY["d"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"d": None}, id="no-d"),
        pytest.param({"d": spell(0)}, id="zero"),
        pytest.param({"d": spell(ORDER)}, id="order"),
        pytest.param({"d": spell(7)}, id="of-another-key"),
        pytest.param({"d": RFC7515_KEY["d"] + "="}, id="padded"),
        pytest.param({"d": "AA"}, id="short"),
        pytest.param({"use": "enc"}, id="for-encryption"),
        pytest.param({"kid": "other"}, id="other-kid"),
    ],
)
def test_private_keys_that_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        SigningKey.from_jwk({**RFC7515_KEY, **change})


def test_secrets_hide_in_repr_and_messages() -> None:
    key = SigningKey.from_jwk(RFC7515_KEY)
    shown = f"{key!r} {key} {key.verifying_key!r}"
    assert RFC7515_KEY["d"] not in shown
    assert str(int.from_bytes(b64url_decode(RFC7515_KEY["d"]), "big")) not in shown
    with pytest.raises(Malformed) as caught:
        SigningKey.from_jwk({**RFC7515_KEY, "y": spell(1)})
    assert RFC7515_KEY["d"] not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_signing_keys_are_not_copied_by_accident() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(SigningKey.generate())
    with pytest.raises(TypeError):
        copy.deepcopy(SigningKey.generate())


@pytest.mark.parametrize("alg", ["none", "HS256", "ES384", None])
def test_the_header_cannot_choose_the_algorithm(alg: object) -> None:
    with pytest.raises(Malformed):
        SigningKey.generate().sign({"alg": alg}, b"")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("a.b", id="two-segments"),
        pytest.param("YQ.YQ.YQ.YQ", id="four-segments"),
        pytest.param("YQ.YQ.YQ.YQ.YQ", id="jwe"),
        pytest.param('{"payload":"","signatures":[]}', id="json-serialisation"),
        pytest.param("YQ==.YQ.YQ", id="padding"),
        pytest.param("YR.YQ.YQ", id="trailing-bits-of-the-header"),
        pytest.param("YQ.YR.YQ", id="trailing-bits-of-the-payload"),
        pytest.param("YQ.YQ.YR", id="trailing-bits-of-the-signature"),
        pytest.param("YQ.YQ.YQ\n", id="newline"),
        pytest.param(" YQ.YQ.YQ", id="space"),
        pytest.param("YQ.Y\u0430.YQ", id="cyrillic"),
        pytest.param(b"YQ.Y\xff.YQ", id="byte-above-ascii"),
        pytest.param("A" * 8193, id="too-long"),
        pytest.param("YQ." + "A" * 5464 + ".YQ", id="payload-too-long"),
    ],
)
def test_tokens_of_another_form(token: str | bytes) -> None:
    with pytest.raises(Malformed):
        split(token)


def test_size_limits_are_exact() -> None:
    payload = b64url_encode(bytes(4096))
    assert len(split(f"YQ.{payload}.YQ").payload) == 4096
    with pytest.raises(Malformed):
        split(f"YQ.{b64url_encode(bytes(4097))}.YQ")
    token = f"YQ..{b64url_encode(bytes(6141))}"
    assert len(token) == 8192
    split(token)
    with pytest.raises(Malformed):
        split(token, max_token=8191)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_any_input_is_split_or_malformed(token: str | bytes) -> None:
    try:
        compact = split(token)
    except Malformed:
        return
    assert compact.token.startswith(compact.signing_input + b".")


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_payload_is_signed(payload: bytes) -> None:
    key = SigningKey.from_jwk(RFC7515_KEY)
    compact = split(key.sign({}, payload))
    assert compact.payload == payload
    assert key.verifying_key.verify(compact.signing_input, compact.signature)


def test_deterministic_signatures_are_those_of_rfc_6979() -> None:
    # Appendix A.2.5, curve P-256 with SHA-256, message "sample".
    key = SigningKey.from_jwk(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": spell(0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6),
            "y": spell(0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299),
            "d": spell(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721),
        }
    ).deterministic()
    r = 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
    s = 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8
    assert key._key.sign(b"sample") == r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert key.sign({}, b"x") == key.sign({}, b"x")
    assert key.verifying_key.verify(b"sample", key._key.sign(b"sample"))


def test_the_backend_is_asserted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_backend()
    fallback = importlib.import_module("jose.backends.ecdsa_backend").ECDSAECKey
    monkeypatch.setattr(jose.backends, "ECKey", fallback)
    with pytest.raises(ConfigurationError, match="cryptography"):
        assert_backend()


def test_python_ecdsa_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("python-ecdsa was used")

    keys = importlib.import_module("ecdsa.keys")
    for owner in (keys.VerifyingKey, keys.SigningKey):
        for name in [name for name in vars(owner) if not name.startswith("__") or name == "__init__"]:
            monkeypatch.setattr(owner, name, fail)
    key = SigningKey.from_jwk(SigningKey.generate().private_jwk())
    compact = split(key.sign({}, b"x"))
    assert VerifyingKey.from_jwk(dict(key.public_jwk)).verify(compact.signing_input, compact.signature)


def test_only_this_module_imports_jose() -> None:
    root = Path(importlib.import_module("creditshare").__file__ or "").parent
    importers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith(("import jose", "from jose"))
    }
    assert importers == {"crypto/jws.py"}


def test_a_p384_key_under_es256_is_refused() -> None:
    numbers = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    for crv in ("P-384", "P-256"):
        with pytest.raises(Malformed):
            VerifyingKey.from_jwk({"kty": "EC", "crv": crv, "x": spell(numbers.x, 48), "y": spell(numbers.y, 48)})
