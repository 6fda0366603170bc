"""The CSR-1 gate against the whole list of attacks: each a named case with the one code it must get.

Headers that the gate must never consult (X-HTTP-Method-Override, X-Forwarded-Host, Host) have no place in ``Received``
at all, which ``test_nothing_else_of_the_request_reaches_the_gate`` states. Chunked transfer is undone by the server.
"""

import base64
import dataclasses
import hashlib
import hmac
import importlib
import json
import socket
import time
from collections.abc import Mapping
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from creditshare.crypto.digests import content_digest
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.jws import SigningKey
from creditshare.errors import Malformed, Refused
from creditshare.wire.answers import sign_answer
from creditshare.wire.reasons import REASONS
from creditshare.wire.registration import make_proof
from creditshare.wire.requests import (
    Authenticated,
    KeyState,
    Received,
    RegisteredKey,
    authenticate,
    check_digest,
    parse,
    sign_request,
)
from creditshare.wire.strict_json import canonical

KEY: Final = SigningKey.generate()
OTHER_KEY: Final = SigningKey.generate()
ISSUER: Final = "https://cs.example"
MEMBER: Final = "mem_0192f0c1-0000-7000-8000-000000000001"
NOW: Final = 1_800_000_000
JTI: Final = "0b1f8c2e-7f0a-4a53-9a33-0a52a3a6f001"
BODY: Final = b'{"hello": "world"}'
PATH: Final = "/v1/records"
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ABSENT: Final = object()


def claims(**changes: object) -> dict[str, object]:
    """Return the claims of the reference request, with changes; ``ABSENT`` removes one."""
    members: dict[str, object] = {
        "iss": MEMBER,
        "sub": "loan-origination",
        "aud": ISSUER,
        "iat": NOW,
        "exp": NOW + 60,
        "jti": JTI,
        "htm": "POST",
        "htu": ISSUER + PATH,
        "cdg": content_digest(BODY),
        "ver": "1",
        **changes,
    }
    return {name: value for name, value in members.items() if value is not ABSENT}


def header(**changes: object) -> dict[str, object]:
    members: dict[str, object] = {"alg": "ES256", "typ": "cs-req+jwt", "kid": KEY.kid, **changes}
    return {name: value for name, value in members.items() if value is not ABSENT}


def spell(value: bytes | Mapping[str, object]) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def token(
    payload: bytes | Mapping[str, object] | None = None,
    head: bytes | Mapping[str, object] | None = None,
    *,
    key: SigningKey = KEY,
) -> str:
    """Return a token over exactly these bytes, truly signed by ``key``, whatever they say."""
    first, second = (
        spell(given if given is not None else usual()) for given, usual in ((head, header), (payload, claims))
    )
    signing_input = f"{b64url_encode(first)}.{b64url_encode(second)}"
    signature: bytes = key._key.sign(signing_input.encode())
    return f"{signing_input}.{b64url_encode(signature)}"


def request(bearer: str | bytes | None = None, **changes: Any) -> Received:
    value = token() if bearer is None else bearer
    raw = value.encode() if isinstance(value, str) else value
    fields: dict[str, Any] = {
        "method": "POST",
        "raw_path": PATH.encode(),
        "raw_query": b"",
        "authorization": (b"Bearer " + raw,),
        "body": BODY,
        **changes,
    }
    return Received(**fields)


def registered(**changes: Any) -> RegisteredKey:
    fields: dict[str, Any] = {
        "kid": KEY.kid,
        "member_id": MEMBER,
        "key": KEY.verifying_key,
        "state": "active",
        "expires_at": NOW + 86_400,
        **changes,
    }
    return RegisteredKey(**fields)


TABLE: Final = {KEY.kid: registered()}


def gate(received: Received, *, now: int = NOW, table: Mapping[str, RegisteredKey] = TABLE) -> Authenticated:
    unverified = parse(received)
    return authenticate(unverified, received, registered=table.get(unverified.kid), issuer=ISSUER, now=now)


def refusal(received: Received, *, now: int = NOW, table: Mapping[str, RegisteredKey] = TABLE) -> Refused:
    with pytest.raises(Refused) as caught:
        gate(received, now=now, table=table)
    assert caught.value.code in REASONS
    return caught.value


def code(received: Received, *, now: int = NOW, table: Mapping[str, RegisteredKey] = TABLE) -> str:
    return refusal(received, now=now, table=table).code


# What is accepted


def test_the_reference_request_is_authenticated() -> None:
    bearer = token()
    result = gate(request(bearer))
    assert result.kid == KEY.kid
    assert result.token_bytes == bearer.encode()
    assert result.rqh == b64url_encode(hashlib.sha256(bearer.encode()).digest())
    assert dataclasses.asdict(result.claims) == {
        **claims(),
        "nbf": None,
        "htq": None,
        "idk": None,
        "ifm": None,
    }


def test_what_the_sdk_signs_passes_the_gate() -> None:
    bearer = sign_request(
        KEY,
        issuer=ISSUER,
        member_id=MEMBER,
        sub="officer:17",
        method="PATCH",
        path="/v1/members/mem_1",
        query=b"dry_run=true&x=%20",
        body=BODY,
        iat=NOW,
        jti=JTI,
        idempotency_key='"8e03978e-40d5-43dd-bc93-6894a57f9324"',
        if_match='W/"3"',
    )
    received = request(
        bearer,
        method="PATCH",
        raw_path=b"/v1/members/mem_1",
        raw_query=b"dry_run=true&x=%20",
        idempotency_key=b'"8e03978e-40d5-43dd-bc93-6894a57f9324"',
        if_match=b'W/"3"',
    )
    result = gate(received)
    assert (result.claims.exp - result.claims.iat, result.claims.sub) == (60, "officer:17")
    assert result.claims.ifm == 'W/"3"'


@pytest.mark.parametrize(
    "received",
    [
        pytest.param(request(token(claims(nbf=NOW))), id="nbf"),
        pytest.param(request(token(claims(trace="x", amount=1.5, roles=["a"]))), id="unknown-claims-are-ignored"),
        pytest.param(request(token(claims(exp=NOW + 120))), id="longest-life"),
        pytest.param(request(token(claims(exp=NOW + 1))), id="shortest-life"),
        pytest.param(request(token(claims(jti="a" * 16))), id="shortest-jti"),
        pytest.param(request(token(claims(jti="a" * 64))), id="longest-jti"),
        pytest.param(request(token(claims(sub="A.z_0:9-"))), id="all-characters-of-sub"),
        pytest.param(request(authorization=(b"bearer " + token().encode(),)), id="scheme-in-lower-case"),
        pytest.param(request(content_encoding=b"Identity"), id="identity-encoding"),
        pytest.param(request(token(claims(htm="GET", cdg=ABSENT)), method="GET", body=b""), id="no-body-no-digest"),
        pytest.param(
            request(token(claims(htu=ISSUER + "/v1/records/")), raw_path=b"/v1/records/"), id="signed-trailing-slash"
        ),
        pytest.param(request(token(claims(htu=ISSUER + "/")), raw_path=b"/"), id="root"),
        pytest.param(
            request(
                token(claims(htu=ISSUER + "/log/v1/tile/0/x001/...p/..a")), raw_path=b"/log/v1/tile/0/x001/...p/..a"
            ),
            id="dots-inside-segments",
        ),
        pytest.param(
            request(token(claims(cdg=content_digest(b"\xef\xbb\xbf{}"))), body=b"\xef\xbb\xbf{}"),
            id="body-with-bom-is-for-the-body-reader",
        ),
    ],
)
def test_accepted(received: Received) -> None:
    assert gate(received).kid == KEY.kid


@pytest.mark.parametrize("state", ["active", "retiring"])
def test_live_states_sign(state: KeyState) -> None:
    assert gate(request(), table={KEY.kid: registered(state=state)}).kid == KEY.kid


def test_high_s_twin_is_accepted_with_the_same_jti_so_replay_must_rest_on_jti() -> None:
    bearer = token()
    head, payload, signature = bearer.split(".")
    raw = b64url_decode(signature)
    twin = b64url_encode(raw[:32] + (ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big"))
    first, second = gate(request(bearer)), gate(request(f"{head}.{payload}.{twin}"))
    assert first.rqh != second.rqh
    assert (first.claims.iss, first.claims.jti) == (second.claims.iss, second.claims.jti)


# Authorization and the token's form

GOOD: Final = token()
HEAD, PAYLOAD, SIGNATURE = GOOD.split(".")


def trailing_bits(segment: str) -> str:
    """Return another spelling of the same bytes, as a lenient decoder reads them."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = segment[:-1] + alphabet[alphabet.index(segment[-1]) ^ 1]
    padding = "=" * (-len(segment) % 4)
    assert base64.urlsafe_b64decode(other + padding) == base64.urlsafe_b64decode(segment + padding)
    return other


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        pytest.param((), "token_missing", id="no-header"),
        pytest.param((b"",), "token_missing", id="empty-header"),
        pytest.param((b"Bearer",), "token_missing", id="scheme-alone"),
        pytest.param((b"Bearer ",), "token_missing", id="scheme-and-space"),
        pytest.param((b"Basic dXNlcjpwYXNz",), "token_missing", id="basic"),
        pytest.param((b"DPoP " + GOOD.encode(),), "token_missing", id="dpop"),
        pytest.param((GOOD.encode(),), "token_missing", id="token-without-scheme"),
        pytest.param((b"Bearer\t" + GOOD.encode(),), "token_missing", id="tab-after-scheme"),
        pytest.param((b"Bearer " + GOOD.encode(),) * 2, "token_malformed", id="the-same-header-twice"),
        pytest.param((b"Bearer " + GOOD.encode(), b"Basic eA=="), "token_malformed", id="bearer-and-basic"),
        pytest.param((b"Basic eA==", b"Bearer " + GOOD.encode()), "token_malformed", id="basic-and-bearer"),
        pytest.param((b"Bearer " + GOOD.encode() + b", Bearer " + GOOD.encode(),), "token_malformed", id="joined"),
        pytest.param((b"Bearer  " + GOOD.encode(),), "token_malformed", id="two-spaces"),
        pytest.param((b"Bearer " + GOOD.encode() + b" ",), "token_malformed", id="space-after"),
        pytest.param((b"Bearer " + GOOD.encode() + b"\n",), "token_malformed", id="newline-after"),
        pytest.param((b"Bearer " + GOOD.encode() + b"\r\nX: y",), "token_malformed", id="header-injection"),
        pytest.param((b"Bearer " + b"A" * 8193,), "token_malformed", id="8193-characters"),
    ],
)
def test_authorization(authorization: tuple[bytes, ...], expected: str) -> None:
    assert code(request(authorization=authorization)) == expected


@pytest.mark.parametrize(
    "bearer",
    [
        pytest.param("x", id="one-segment"),
        pytest.param(f"{HEAD}.{PAYLOAD}", id="two-segments"),
        pytest.param(f"{GOOD}.", id="four-segments"),
        pytest.param(f"{HEAD}.{PAYLOAD}.{SIGNATURE}.YQ.YQ", id="jwe-shape"),
        pytest.param(json.dumps({"protected": HEAD, "payload": PAYLOAD, "signature": SIGNATURE}), id="json-flattened"),
        pytest.param(
            json.dumps({"payload": PAYLOAD, "signatures": [{"protected": HEAD, "signature": SIGNATURE}]}),
            id="json-general",
        ),
        pytest.param(f"{HEAD}=.{PAYLOAD}.{SIGNATURE}", id="padding-in-header"),
        pytest.param(f"{HEAD}.{PAYLOAD}==.{SIGNATURE}", id="padding-in-payload"),
        pytest.param(f"{GOOD}==", id="padding-in-signature"),
        pytest.param(f"{HEAD}.{PAYLOAD}.{trailing_bits(SIGNATURE)}", id="trailing-bits-in-signature"),
        pytest.param(f"{HEAD}. {PAYLOAD}.{SIGNATURE}", id="whitespace"),
        pytest.param(f"{HEAD}\n.{PAYLOAD}.{SIGNATURE}", id="newline-in-header"),
        pytest.param(f"{HEAD}.{PAYLOAD[:10]}\n{PAYLOAD[10:]}.{SIGNATURE}", id="newline-in-payload"),
        pytest.param(f"{HEAD}.{PAYLOAD}.{SIGNATURE[:-4]}+/==", id="standard-alphabet"),
        pytest.param(GOOD.encode().replace(b".", "\uff0e".encode()), id="full-width-dots"),
        pytest.param(f".{PAYLOAD}.{SIGNATURE}", id="empty-header"),
        pytest.param(token(claims(junk="x" * 4096)), id="payload-over-4096-bytes"),
        pytest.param(token(None, b"\xef\xbb\xbf" + spell(header())), id="header-with-bom"),
        pytest.param(token(None, b"[]"), id="header-a-list"),
        pytest.param(token(None, b"null"), id="header-null"),
        pytest.param(token(None, b'"ES256"'), id="header-a-string"),
        pytest.param(token(None, b"{"), id="header-unfinished"),
        pytest.param(token(None, b"\xff"), id="header-not-utf-8"),
        pytest.param(token(None, spell(header())[:-1] + b',"alg":"none"}'), id="header-alg-twice"),
        pytest.param(token(None, spell(header())[:-1] + b',"\\u0061lg":"ES256"}'), id="header-alg-twice-escaped"),
        pytest.param(token(None, spell(header())[:-1] + b',"kid":"x"}'), id="header-kid-twice"),
        pytest.param(token(None, b'{"alg":' + b"[" * 1000 + b"]" * 1000 + b"}"), id="header-deep"),
        pytest.param(token(None, header(kid="k" * 10_000)), id="kid-of-10-kb"),
        pytest.param(token(b"[]"), id="payload-a-list"),
        pytest.param(token(b"null"), id="payload-null"),
        pytest.param(token(b""), id="payload-empty"),
        pytest.param(token(b"\xef\xbb\xbf" + spell(claims())), id="payload-with-bom"),
        pytest.param(token(spell(claims())[:-1] + b',"iss":"mem_other"}'), id="payload-iss-twice"),
        pytest.param(token(spell(claims())[:-1] + b',"exp":9999999999}'), id="payload-exp-twice"),
        pytest.param(token(spell(claims(x={}))[:-2] + b'{"a":1,"a":2}}'), id="payload-name-twice-inside"),
        pytest.param(token(GOOD.encode()), id="nested-jwt"),
        pytest.param(token(claims(sub="\ud800")), id="payload-lone-surrogate"),
    ],
)
def test_tokens_of_another_form(bearer: str | bytes) -> None:
    assert code(request(bearer)) == "token_malformed"


@pytest.mark.parametrize("size", [5_000_000, 8193])
def test_a_huge_token_is_refused_before_it_is_read(size: int) -> None:
    received = request(b"A" * size)
    took = []
    for _ in range(10):
        started = time.perf_counter()
        assert code(received) == "token_malformed"
        took.append(time.perf_counter() - started)
    assert min(took) < 0.001


# The token's header


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"crit": ["urn:example:unknown"]}, id="crit-unknown"),
        pytest.param({"crit": ["b64"], "b64": False}, id="crit-b64-false"),
        pytest.param({"crit": ["b64"], "b64": True}, id="crit-b64-true"),
        pytest.param({"crit": []}, id="crit-empty"),
        pytest.param({"crit": "b64"}, id="crit-not-a-list"),
        pytest.param({"crit": None}, id="crit-null"),
        pytest.param({"crit": ["exp"], "exp": 1}, id="crit-exp"),
        pytest.param({"b64": False}, id="b64-false-without-crit"),
        pytest.param({"jku": "https://evil.example/jwks.json"}, id="jku"),
        pytest.param({"jwk": dict(OTHER_KEY.public_jwk)}, id="jwk"),
        pytest.param({"x5u": "https://evil.example/cert.pem"}, id="x5u"),
        pytest.param({"x5c": ["MIIB"]}, id="x5c"),
        pytest.param({"x5t": "x"}, id="x5t"),
        pytest.param({"x5t#S256": "x"}, id="x5t-s256"),
        pytest.param({"zip": "DEF"}, id="zip"),
        pytest.param({"cty": "JWT"}, id="cty-nested-jwt"),
        pytest.param({"enc": "A256GCM"}, id="enc-of-jwe"),
        pytest.param({"epk": {}}, id="epk"),
        pytest.param({"iss": MEMBER}, id="claim-in-header"),
        pytest.param({"ALG": "ES256"}, id="alg-in-upper-case"),
        pytest.param({"": ""}, id="empty-name"),
        pytest.param({"k\u0456d": KEY.kid}, id="kid-homograph"),
    ],
)
def test_other_header_members_are_refused(extra: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", fail)
    monkeypatch.setattr(socket, "create_connection", fail)
    assert code(request(token(None, header(**extra)))) == "header_not_allowed"


@pytest.mark.parametrize(
    "alg",
    [
        *("none", "None", "nOnE", "NONE", "", "HS256", "HS512", "RS256", "PS256", "ES384", "ES512", "ES256K", "EdDSA"),
        *("es256", "ES256 ", "ES256\0", "\u0395S256"),
    ],
)
def test_other_algorithms(alg: str) -> None:
    assert code(request(token(None, header(alg=alg)))) == "alg_not_allowed"


@pytest.mark.parametrize(
    "alg", [ABSENT, None, True, 256, ["ES256"], {"ES256": 1}], ids=["absent", "null", "true", "256", "list", "object"]
)
def test_algorithms_of_another_type(alg: object) -> None:
    assert code(request(token(None, header(alg=alg)))) == "alg_not_allowed"


@pytest.mark.parametrize("alg", ["none", "None", "nOnE"])
def test_alg_none_with_an_empty_signature(alg: str) -> None:
    bearer = f"{b64url_encode(spell(header(alg=alg)))}.{PAYLOAD}."
    assert code(request(bearer)) == "alg_not_allowed"


def _public_forms() -> dict[str, bytes]:
    x, y = (int.from_bytes(b64url_decode(KEY.public_jwk[name]), "big") for name in "xy")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    return {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "ssh": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "point": public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        "jwk-json": json.dumps(dict(KEY.public_jwk)).encode(),
        "jwk-canonical": canonical(KEY.public_jwk),
        "x-bytes": x.to_bytes(32, "big"),
        "x-text": KEY.public_jwk["x"].encode(),
        "kid": KEY.kid.encode(),
        "empty": b"",
    }


@pytest.mark.parametrize(("form", "secret"), _public_forms().items(), ids=_public_forms())
def test_hs256_keyed_with_a_public_form(form: str, secret: bytes) -> None:
    signing_input = f"{b64url_encode(spell(header(alg='HS256')))}.{PAYLOAD}"
    mac = hmac.digest(secret, signing_input.encode(), "sha256")
    assert code(request(f"{signing_input}.{b64url_encode(mac)}")) == "alg_not_allowed", form
    # The same MAC under the allowed name is just a wrong signature.
    signing_input = f"{HEAD}.{PAYLOAD}"
    mac = hmac.digest(secret, signing_input.encode(), "sha256")
    assert code(request(f"{signing_input}.{b64url_encode(mac)}")) == "signature_invalid", form


@pytest.mark.parametrize(
    "typ",
    [
        pytest.param(ABSENT, id="missing"),
        pytest.param(None, id="null"),
        pytest.param("JWT", id="jwt"),
        pytest.param("at+jwt", id="access-token"),
        pytest.param("dpop+jwt", id="dpop"),
        pytest.param("cs-res+jwt", id="answer"),
        pytest.param("cs-keyreg+jwt", id="registration"),
        pytest.param("CS-REQ+JWT", id="upper-case"),
        pytest.param("application/cs-req+jwt", id="long-form"),
        pytest.param("cs-req+jwt ", id="space"),
        pytest.param(["cs-req+jwt"], id="list"),
    ],
)
def test_other_types_of_token(typ: object) -> None:
    assert code(request(token(None, header(typ=typ)))) == "typ_mismatch"


def test_a_real_answer_is_not_a_request() -> None:
    answer = sign_answer(
        KEY, issuer=MEMBER, audience=ISSUER, iat=NOW, jti=JTI, rqh="A" * 43, status=200, body=BODY, log=None
    )
    assert code(request(answer)) == "typ_mismatch"


def test_a_real_registration_proof_is_not_a_request() -> None:
    proof = make_proof(KEY, member_id=MEMBER, issuer=ISSUER, iat=NOW, jti=JTI)
    assert code(request(proof)) == "header_not_allowed"


@pytest.mark.parametrize(
    "kid",
    [
        pytest.param(ABSENT, id="missing"),
        pytest.param(None, id="null"),
        pytest.param("", id="empty"),
        pytest.param("A" * 43, id="unknown"),
        pytest.param(KEY.kid + "A", id="longer"),
        pytest.param(KEY.kid[:-1], id="shorter"),
        pytest.param(KEY.kid + "\n", id="newline"),
        pytest.param("../../../../../../dev/null", id="path"),
        pytest.param("' OR '1'='1", id="sql"),
        pytest.param("x'; DROP TABLE member_key; --", id="sql-drop"),
        pytest.param([KEY.kid], id="array"),
        pytest.param({"kid": KEY.kid}, id="object"),
        pytest.param(0, id="number"),
        pytest.param(True, id="bool"),
        pytest.param("k" * 4000, id="4-kb"),
        pytest.param(trailing_bits(KEY.kid), id="trailing-bits"),
    ],
)
def test_keys_that_nobody_registered(kid: object) -> None:
    assert code(request(token(None, header(kid=kid)))) == "signature_invalid"


# Signature, owner, state


def _flip(segment: str, at: int) -> str:
    raw = bytearray(b64url_decode(segment))
    raw[at] ^= 1
    return b64url_encode(bytes(raw))


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param("", id="empty"),
        pytest.param(b64url_encode(bytes(64)), id="psychic-zero"),
        pytest.param(b64url_encode(ORDER.to_bytes(32, "big") * 2), id="order"),
        pytest.param(b64url_encode(b64url_decode(SIGNATURE)[:63]), id="63-bytes"),
        pytest.param(b64url_encode(b64url_decode(SIGNATURE) + b"\0"), id="65-bytes"),
        pytest.param(b64url_encode(bytes.fromhex("3006020101020101")), id="der"),
        pytest.param(_flip(SIGNATURE, 0), id="first-bit-of-r"),
        pytest.param(_flip(SIGNATURE, 63), id="last-bit-of-s"),
        pytest.param(token(claims(sub="other")).split(".")[2], id="of-another-payload"),
        pytest.param(token(key=OTHER_KEY).split(".")[2], id="by-another-key"),
    ],
)
def test_wrong_signatures(signature: str) -> None:
    assert code(request(f"{HEAD}.{PAYLOAD}.{signature}")) == "signature_invalid"


def test_unknown_kid_wrong_owner_and_bad_signature_are_the_same_refusal() -> None:
    other = {OTHER_KEY.kid: registered(kid=OTHER_KEY.kid, key=OTHER_KEY.verifying_key, member_id="mem_other")}
    refusals = [
        refusal(request(f"{HEAD}.{PAYLOAD}.{_flip(SIGNATURE, 5)}")),
        refusal(request(token(key=OTHER_KEY))),
        refusal(request(), table={}),
        refusal(request(token(None, header(kid=OTHER_KEY.kid), key=OTHER_KEY)), table=other),
        refusal(request(token(claims(iss="mem_unknown")))),
        refusal(request(token(claims(iss=MEMBER.upper())))),
        refusal(request(token(claims(iss=[MEMBER])))),
        refusal(request(token(claims(iss=None)))),
        refusal(request(), table={KEY.kid: registered(state="pending")}),
        refusal(request(), table={KEY.kid: registered(state="something_new")}),
        refusal(request(), table={KEY.kid: registered(key=OTHER_KEY.verifying_key)}),
        refusal(request(token(None, header(kid="x")))),
    ]
    assert {(r.code, r.fields, r.retry_after, tuple(r.extra), str(r)) for r in refusals} == {
        ("signature_invalid", (), None, (), "signature_invalid")
    }


def test_a_mixed_up_key_table_fails_closed() -> None:
    """The row under one kid holds another key: even that key's true signature is refused."""
    received = request(token(None, header(kid=OTHER_KEY.kid)))
    assert code(received, table={OTHER_KEY.kid: registered(kid=OTHER_KEY.kid)}) == "signature_invalid"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"state": "revoked"}, "key_revoked", id="revoked"),
        pytest.param({"state": "revoked", "expires_at": NOW - 1}, "key_revoked", id="revoked-and-past"),
        pytest.param({"state": "expired"}, "key_expired", id="expired"),
        pytest.param({"expires_at": NOW}, "key_expired", id="ends-now"),
        pytest.param({"state": "retiring", "expires_at": NOW - 1}, "key_expired", id="retiring-and-past"),
    ],
)
def test_key_state(change: dict[str, Any], expected: str) -> None:
    assert code(request(), table={KEY.kid: registered(**change)}) == expected


def test_key_state_is_told_only_to_who_holds_the_key() -> None:
    forged = request(f"{HEAD}.{PAYLOAD}.{_flip(SIGNATURE, 1)}")
    assert code(forged, table={KEY.kid: registered(state="revoked")}) == "signature_invalid"


def test_key_state_comes_before_the_claims() -> None:
    assert code(request(token(b"[]")), table={KEY.kid: registered(state="revoked")}) == "key_revoked"


def test_a_key_that_ends_one_second_later_still_signs() -> None:
    assert gate(request(), table={KEY.kid: registered(expires_at=NOW + 1)}).kid == KEY.kid


# Claims


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "iat", "exp", "jti", "htm", "htu", "ver", "cdg"])
def test_each_missing_claim(name: str) -> None:
    refused = refusal(request(token(claims(**{name: ABSENT}))))
    assert (refused.code, refused.extra) == ("claim_missing", {"claim": name})


def test_a_query_string_needs_htq() -> None:
    refused = refusal(request(raw_query=b"dry_run=true"))
    assert (refused.code, refused.extra) == ("claim_missing", {"claim": "htq"})


NOT_INTEGERS: Final = {
    "string": b'"1800000000"',
    "float": b"1800000000.0",
    "fraction": b"1800000000.5",
    "exponent": b"18e8",
    "true": b"true",
    "null": b"null",
    "list": b"[1800000000]",
    "nan": b"NaN",
    "infinity": b"Infinity",
    "minus-infinity": b"-Infinity",
    "1e400": b"1e400",
    "2-to-the-63": b"9223372036854775808",
    "300-digits": b"1" * 300,
    "leading-zero": b"01800000000",
    "plus": b"+1800000000",
    "hexadecimal": b"0x6B49D200",
}


@pytest.mark.parametrize("name", ["iat", "exp", "nbf"])
@pytest.mark.parametrize("spelled", NOT_INTEGERS.values(), ids=NOT_INTEGERS)
def test_times_are_integers(name: str, spelled: bytes) -> None:
    payload = spell(claims(**{name: "@"})).replace(b'"@"', spelled)
    assert code(request(token(payload))) == "token_malformed"


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param({"iat": -1, "exp": 59}, "token_expired", id="negative-iat"),
        pytest.param({"exp": -1}, "token_expired", id="negative-exp"),
        pytest.param({"exp": NOW}, "token_expired", id="ends-when-it-begins"),
        pytest.param({"exp": NOW - 1}, "token_expired", id="ends-before-it-begins"),
        pytest.param({"exp": NOW + 121}, "lifetime_too_long", id="121-seconds"),
        pytest.param({"exp": 2**53 - 1}, "lifetime_too_long", id="for-ever"),
        pytest.param({"iat": NOW - 1000, "exp": NOW + 60}, "lifetime_too_long", id="old-and-long"),
        pytest.param({"iat": NOW + 86_400, "exp": NOW + 86_460}, "token_not_yet_valid", id="a-day-ahead"),
        pytest.param({"nbf": NOW + 31}, "token_not_yet_valid", id="nbf-ahead"),
    ],
)
def test_times(times: dict[str, object], expected: str) -> None:
    refused = refusal(request(token(claims(**times))))
    assert (refused.code, refused.extra) == (expected, {"server_time": NOW})


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(NOW - 31, "token_not_yet_valid", id="31-s-before-iat"),
        pytest.param(NOW - 30, None, id="30-s-before-iat"),
        pytest.param(NOW + 59, None, id="last-second"),
        pytest.param(NOW + 60, None, id="at-exp"),
        pytest.param(NOW + 89, None, id="29-s-after-exp"),
        pytest.param(NOW + 90, "token_expired", id="30-s-after-exp"),
        pytest.param(NOW + 91, "token_expired", id="31-s-after-exp"),
    ],
)
def test_clock_skew_edges(now: int, expected: str | None) -> None:
    if expected is None:
        assert gate(request(), now=now).kid == KEY.kid
        return
    refused = refusal(request(), now=now)
    assert (refused.code, refused.extra) == (expected, {"server_time": now})


@pytest.mark.parametrize(("nbf", "accepted"), [(NOW + 30, True), (NOW + 31, False)], ids=["30-s", "31-s"])
def test_nbf_skew_edges(*, nbf: int, accepted: bool) -> None:
    received = request(token(claims(nbf=nbf)))
    if accepted:
        assert gate(received).kid == KEY.kid
    else:
        assert code(received) == "token_not_yet_valid"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"aud": [ISSUER]}, "aud_mismatch", id="aud-list"),
        pytest.param({"aud": [ISSUER, "https://other.example"]}, "aud_mismatch", id="aud-list-of-two"),
        pytest.param({"aud": ISSUER[:-1]}, "aud_mismatch", id="aud-prefix"),
        pytest.param({"aud": ISSUER + ".evil.example"}, "aud_mismatch", id="aud-suffix"),
        pytest.param({"aud": ISSUER.upper()}, "aud_mismatch", id="aud-case"),
        pytest.param({"aud": ISSUER + "/"}, "aud_mismatch", id="aud-trailing-slash"),
        pytest.param({"aud": ISSUER + ":443"}, "aud_mismatch", id="aud-default-port"),
        pytest.param({"aud": "http://cs.example"}, "aud_mismatch", id="aud-other-scheme"),
        pytest.param({"aud": "*"}, "aud_mismatch", id="aud-star"),
        pytest.param({"aud": ""}, "aud_mismatch", id="aud-empty"),
        pytest.param({"aud": None}, "aud_mismatch", id="aud-null"),
        pytest.param({"sub": ""}, "token_malformed", id="sub-empty"),
        pytest.param({"sub": "a" * 65}, "token_malformed", id="sub-65"),
        pytest.param({"sub": "a b"}, "token_malformed", id="sub-space"),
        pytest.param({"sub": "a\n"}, "token_malformed", id="sub-newline"),
        pytest.param({"sub": "\u5f20\u4e09"}, "token_malformed", id="sub-a-name"),
        pytest.param({"sub": 7}, "token_malformed", id="sub-number"),
        pytest.param({"sub": None}, "token_malformed", id="sub-null"),
        pytest.param({"jti": "a" * 15}, "token_malformed", id="jti-15"),
        pytest.param({"jti": "a" * 65}, "token_malformed", id="jti-65"),
        pytest.param({"jti": "a" * 15 + "."}, "token_malformed", id="jti-other-character"),
        pytest.param({"jti": JTI + "\n"}, "token_malformed", id="jti-newline"),
        pytest.param({"jti": [JTI]}, "token_malformed", id="jti-list"),
        pytest.param({"ver": "2"}, "token_malformed", id="ver-2"),
        pytest.param({"ver": 1}, "token_malformed", id="ver-number"),
        pytest.param({"ver": "1.0"}, "token_malformed", id="ver-1.0"),
        pytest.param({"htm": "post"}, "method_mismatch", id="htm-lower-case"),
        pytest.param({"htm": "GET"}, "method_mismatch", id="htm-other"),
        pytest.param({"htm": ["POST"]}, "method_mismatch", id="htm-list"),
        pytest.param({"htu": ISSUER + "/v1/records/"}, "uri_mismatch", id="htu-trailing-slash"),
        pytest.param({"htu": ISSUER + "/v1/record"}, "uri_mismatch", id="htu-prefix"),
        pytest.param({"htu": ISSUER + "/v1/records?x=1"}, "uri_mismatch", id="htu-with-query"),
        pytest.param({"htu": ISSUER + "/v1/records#x"}, "uri_mismatch", id="htu-with-fragment"),
        pytest.param({"htu": ISSUER + ":443/v1/records"}, "uri_mismatch", id="htu-default-port"),
        pytest.param({"htu": "http://cs.example/v1/records"}, "uri_mismatch", id="htu-other-scheme"),
        pytest.param({"htu": "HTTPS://CS.EXAMPLE/v1/records"}, "uri_mismatch", id="htu-upper-case"),
        pytest.param({"htu": "https://evil.example/v1/records"}, "uri_mismatch", id="htu-other-host"),
        pytest.param({"htu": "https://u@cs.example/v1/records"}, "uri_mismatch", id="htu-user"),
        pytest.param({"htu": "https://c\u0455.example/v1/records"}, "uri_mismatch", id="htu-homograph-host"),
        pytest.param({"htu": ISSUER + "/v1/rec\u043erds"}, "uri_mismatch", id="htu-homograph-path"),
        pytest.param({"htu": ISSUER + "/v1/%72ecords"}, "uri_mismatch", id="htu-percent"),
        pytest.param({"htu": ISSUER + "/v1/x/../records"}, "uri_mismatch", id="htu-dot-segments"),
        pytest.param({"htu": "/v1/records"}, "uri_mismatch", id="htu-relative"),
        pytest.param({"htu": None}, "uri_mismatch", id="htu-null"),
        pytest.param({"htq": b64url_encode(hashlib.sha256(b"").digest())}, "query_mismatch", id="htq-of-nothing"),
        pytest.param({"htq": ""}, "query_mismatch", id="htq-empty"),
        pytest.param({"htq": None}, "query_mismatch", id="htq-null"),
        pytest.param({"idk": "k"}, "header_mismatch", id="idk-without-header"),
        pytest.param({"idk": ""}, "header_mismatch", id="idk-empty-without-header"),
        pytest.param({"idk": None}, "header_mismatch", id="idk-null"),
        pytest.param({"ifm": '"1"'}, "header_mismatch", id="ifm-without-header"),
        pytest.param({"ifm": 1}, "header_mismatch", id="ifm-number"),
        pytest.param({"cdg": content_digest(b"other")}, "digest_mismatch", id="cdg-of-another-body"),
        pytest.param({"cdg": content_digest(b"")}, "digest_mismatch", id="cdg-of-nothing"),
        pytest.param({"cdg": content_digest(BODY) + ", sha-512=:AAAA:"}, "digest_mismatch", id="cdg-extra-algorithm"),
        pytest.param({"cdg": "bogus=:AA==:, " + content_digest(BODY)}, "digest_mismatch", id="cdg-bogus-algorithm"),
        pytest.param({"cdg": content_digest(BODY).upper()}, "digest_mismatch", id="cdg-upper-case"),
        pytest.param({"cdg": content_digest(BODY).replace("PE=", "PF=")}, "digest_mismatch", id="cdg-trailing-bits"),
        pytest.param({"cdg": hashlib.sha256(BODY).hexdigest()}, "digest_mismatch", id="cdg-hexadecimal"),
        pytest.param({"cdg": [content_digest(BODY)]}, "digest_mismatch", id="cdg-list"),
        pytest.param({"cdg": None}, "digest_mismatch", id="cdg-null"),
    ],
)
def test_claims(change: dict[str, object], expected: str) -> None:
    assert code(request(token(claims(**change)))) == expected


# The request around the token


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"method": "GET"}, "method_mismatch", id="method-changed"),
        pytest.param({"method": "HEAD"}, "method_mismatch", id="head"),
        pytest.param({"method": "post"}, "method_mismatch", id="method-lower-case"),
        pytest.param({"raw_path": b"/v1/queries"}, "uri_mismatch", id="path-changed"),
        pytest.param({"raw_path": b"/v1/records/"}, "uri_mismatch", id="path-trailing-slash"),
        pytest.param({"raw_path": b"/v1/Records"}, "uri_mismatch", id="path-case"),
        pytest.param({"raw_path": b""}, "uri_mismatch", id="path-empty"),
        pytest.param({"raw_path": b"*"}, "uri_mismatch", id="path-star"),
        pytest.param({"raw_query": b"x=1"}, "claim_missing", id="query-added"),
        pytest.param({"body": BODY + b" "}, "digest_mismatch", id="body-one-byte-more"),
        pytest.param({"body": BODY[:-1]}, "digest_mismatch", id="body-one-byte-less"),
        pytest.param({"body": b"\xef\xbb\xbf" + BODY}, "digest_mismatch", id="body-bom-added"),
        pytest.param({"body": b""}, "digest_mismatch", id="body-emptied-with-cdg"),
        pytest.param({"content_encoding": b"gzip"}, "unsupported_media_type", id="gzip"),
        pytest.param({"content_encoding": b"identity, gzip"}, "unsupported_media_type", id="identity-and-gzip"),
        pytest.param({"content_encoding": b""}, "unsupported_media_type", id="empty-encoding"),
        pytest.param({"idempotency_key": b"k-1"}, "header_mismatch", id="idempotency-key-added"),
        pytest.param({"idempotency_key": b""}, "header_mismatch", id="empty-idempotency-key-added"),
        pytest.param({"if_match": b'"1"'}, "header_mismatch", id="if-match-added"),
    ],
)
def test_a_request_changed_on_the_way(change: dict[str, Any], expected: str) -> None:
    assert code(request(**change)) == expected


@pytest.mark.parametrize(
    ("claim", "sent", "accepted"),
    [
        pytest.param("k-1", b"k-1", True, id="equal"),
        pytest.param('"k-1"', b'"k-1"', True, id="quoted"),
        pytest.param("k-1", b'"k-1"', False, id="quotes-added"),
        pytest.param("k-1", b"K-1", False, id="case"),
        pytest.param("k-1", b"k-1 ", False, id="space"),
        pytest.param("k-1", None, False, id="header-removed"),
        pytest.param("\u00e9", b"\xe9", False, id="latin-1"),
        pytest.param("\u00e9", b"\xc3\xa9", False, id="utf-8"),
        pytest.param("k-\u0661", b"k-1", False, id="other-digit"),
    ],
)
@pytest.mark.parametrize(("name", "field"), [("idk", "idempotency_key"), ("ifm", "if_match")])
def test_bound_headers(*, name: str, field: str, claim: str, sent: bytes | None, accepted: bool) -> None:
    received = request(token(claims(**{name: claim})), **{field: sent})
    if accepted:
        assert gate(received).kid == KEY.kid
    else:
        assert code(received) == "header_mismatch"


@pytest.mark.parametrize(
    ("query", "accepted"),
    [
        pytest.param(b"a=1&b=2", True, id="as-signed"),
        pytest.param(b"b=2&a=1", False, id="other-order"),
        pytest.param(b"a=1&b=2&a=3", False, id="more"),
        pytest.param(b"a=%31&b=2", False, id="percent"),
        pytest.param(b"a=1&b=2#x", False, id="fragment"),
        pytest.param(b"", False, id="removed"),
    ],
)
def test_query(*, query: bytes, accepted: bool) -> None:
    bearer = token(claims(htq=b64url_encode(hashlib.sha256(b"a=1&b=2").digest())))
    if accepted:
        assert gate(request(bearer, raw_query=query)).kid == KEY.kid
    else:
        assert code(request(bearer, raw_query=query)) == "query_mismatch"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/v1/%72ecords", id="percent-encoded-letter"),
        pytest.param("/v1/records%2F", id="percent-encoded-slash"),
        pytest.param("/v1/%2e%2e/records", id="percent-encoded-dots"),
        pytest.param("/v1/records%00", id="percent-encoded-nul"),
        pytest.param("//v1/records", id="double-slash-first"),
        pytest.param("/v1//records", id="double-slash"),
        pytest.param("/v1/records//", id="double-slash-last"),
        pytest.param("//", id="two-slashes"),
        pytest.param("/v1/./records", id="dot"),
        pytest.param("/v1/../v1/records", id="dot-dot"),
        pytest.param("/v1/records/..", id="dot-dot-last"),
        pytest.param("/v1/records/.", id="dot-last"),
        pytest.param("/..", id="dot-dot-alone"),
        pytest.param("/v1\\records", id="backslash"),
        pytest.param("/v1/records\n", id="newline"),
        pytest.param("/v1/rec ords", id="space"),
        pytest.param("/v1/records\0", id="nul"),
        pytest.param("/v1/rec\u043erds", id="homograph"),
        pytest.param("/v1/records?x", id="question-mark"),
        pytest.param("v1/records", id="no-slash"),
        pytest.param("", id="empty"),
    ],
)
def test_paths_with_two_readings_are_refused_even_when_signed(path: str) -> None:
    received = request(token(claims(htu=ISSUER + path)), raw_path=path.encode())
    assert code(received) == "uri_mismatch"
    with pytest.raises(Malformed):
        sign_request(KEY, issuer=ISSUER, member_id=MEMBER, sub="s", method="GET", path=path, iat=NOW, jti=JTI)


def test_a_lower_case_method_is_refused_even_when_signed() -> None:
    assert code(request(token(claims(htm="post")), method="post")) == "method_mismatch"


@pytest.mark.parametrize(
    ("cdg", "expected"),
    [
        (ABSENT, "claim_missing"),
        ("", "digest_mismatch"),
        ("x", "digest_mismatch"),
        (content_digest(BODY) + ",", "digest_mismatch"),
    ],
)
def test_a_body_that_follows_needs_a_digest_of_the_right_form(cdg: object, expected: str) -> None:
    assert code(request(token(claims(cdg=cdg)), body=b"", body_follows=True)) == expected


def test_a_body_that_follows_is_compared_later() -> None:
    passed = gate(request(body=b"", body_follows=True))
    check_digest(passed.claims.cdg, content_digest(BODY))
    with pytest.raises(Refused) as caught:
        check_digest(passed.claims.cdg, content_digest(BODY + b" "))
    assert caught.value.code == "digest_mismatch"


def test_an_empty_body_with_a_digest_is_refused() -> None:
    assert code(request(token(claims(cdg=content_digest(b""))), body=b"")) == "digest_mismatch"


def test_a_compressed_body_is_refused_even_with_the_right_digest() -> None:
    body = b"\x1f\x8b\x08\x00"
    received = request(token(claims(cdg=content_digest(body))), body=body, content_encoding=b"gzip")
    assert code(received) == "unsupported_media_type"


def test_nothing_else_of_the_request_reaches_the_gate() -> None:
    assert [field.name for field in dataclasses.fields(Received)] == [
        "method",
        "raw_path",
        "raw_query",
        "authorization",
        "body",
        "idempotency_key",
        "if_match",
        "content_encoding",
        "body_follows",
    ]


def test_secrets_and_bodies_hide_in_repr() -> None:
    received = request()
    shown = repr((received, parse(received), gate(received)))
    assert SIGNATURE not in shown
    assert "hello" not in shown


# Order


@pytest.mark.parametrize(
    ("bearer", "expected"),
    [
        pytest.param(token(b"[]", header(jku="x", alg="none", typ="JWT", kid="x")), "header_not_allowed", id="members"),
        pytest.param(token(b"[]", header(alg="none", typ="JWT", kid="x")), "alg_not_allowed", id="alg"),
        pytest.param(token(b"[]", header(typ="JWT", kid="x")), "typ_mismatch", id="typ"),
        pytest.param(token(b"[]", header(kid="x")), "signature_invalid", id="kid"),
        pytest.param(token(b"[]"), "token_malformed", id="payload"),
        pytest.param(token(claims(iss="x", sub=ABSENT, aud="x", exp=0)), "claim_missing", id="presence"),
        pytest.param(token(claims(iss="x", ver="2", aud="x", exp=0)), "signature_invalid", id="owner"),
        pytest.param(token(claims(aud="x", exp=0, htm="x")), "aud_mismatch", id="audience"),
        pytest.param(token(claims(exp=0, htm="x", htu="x")), "token_expired", id="time"),
        pytest.param(token(claims(htm="x", htu="x", htq="x")), "method_mismatch", id="method"),
        pytest.param(token(claims(htu="x", htq="x", idk="x")), "uri_mismatch", id="address"),
        pytest.param(token(claims(htq="x", idk="x", cdg="x")), "query_mismatch", id="query"),
        pytest.param(token(claims(idk="x", cdg="x")), "header_mismatch", id="headers"),
        pytest.param(token(claims(cdg="x")), "digest_mismatch", id="body"),
    ],
)
def test_the_first_wrong_thing_gives_the_code(bearer: str, expected: str) -> None:
    assert code(request(bearer)) == expected


def test_nothing_is_verified_for_an_unregistered_key(monkeypatch: pytest.MonkeyPatch) -> None:
    unverified = parse(request())
    monkeypatch.setattr("hashlib.sha256", None)
    with pytest.raises(Refused):
        authenticate(unverified, request(GOOD), registered=None, issuer=ISSUER, now=NOW)


# Signing


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"lifetime": 0}, id="no-life"),
        pytest.param({"lifetime": 121}, id="long-life"),
        pytest.param({"sub": "a b"}, id="sub"),
        pytest.param({"jti": "short"}, id="jti"),
        pytest.param({"method": "get"}, id="method"),
        pytest.param({"path": "/a?b"}, id="query-in-path"),
        pytest.param({"idempotency_key": "k" * 5000}, id="too-long"),
        pytest.param({"iat": 2**60}, id="iat-too-large"),
    ],
)
def test_what_the_gate_would_refuse_is_not_signed(change: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"sub": "s", "method": "GET", "path": "/v1/me", "iat": NOW, "jti": JTI, **change}
    with pytest.raises(Malformed):
        sign_request(KEY, issuer=ISSUER, member_id=MEMBER, **arguments)


def test_python_ecdsa_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("python-ecdsa was used")

    keys = importlib.import_module("ecdsa.keys")
    for owner in (keys.VerifyingKey, keys.SigningKey):
        for name in [name for name in vars(owner) if not name.startswith("__") or name == "__init__"]:
            monkeypatch.setattr(owner, name, fail)
    arguments: dict[str, Any] = {"sub": "s", "method": "POST", "path": PATH, "body": BODY, "iat": NOW, "jti": JTI}
    assert gate(request(sign_request(KEY, issuer=ISSUER, member_id=MEMBER, **arguments))).kid == KEY.kid


# Anything at all


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=400), st.binary(max_size=400).map(lambda b: b"Bearer " + b)), max_size=2))
def test_random_headers_yield_only_our_refusals(values: list[bytes]) -> None:
    refusal(request(authorization=tuple(values)))


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.sampled_from(["replace", "insert", "delete"]))
def test_a_mutated_token_is_never_authenticated(at: int, byte: int, how: str) -> None:
    raw = GOOD.encode()
    changed = {
        "replace": raw[:at] + bytes([byte]) + raw[at + 1 :],
        "insert": raw[:at] + bytes([byte]) + raw[at:],
        "delete": raw[:at] + raw[at + 1 :],
    }[how]
    if changed != raw:
        refusal(request(changed))


@settings(max_examples=200)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_truly_signed_random_bytes_yield_only_our_refusals(head: bytes, payload: bytes) -> None:
    refusal(request(token(payload, head)))
    refusal(request(token(payload)))


JSON: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=300)
@given(st.sampled_from([*claims(), "nbf", "htq", "idk", "ifm"]), JSON)
def test_any_value_in_any_claim_yields_only_our_refusals(name: str, value: object) -> None:
    if name == "sub" and isinstance(value, str):
        return
    if value != claims().get(name, ABSENT) and not (name == "nbf" and type(value) is int):
        refusal(request(token(claims(**{name: value}))))


@settings(max_examples=200)
@given(st.sampled_from(["alg", "typ", "kid", "crit"]), JSON)
def test_any_value_in_any_header_member_yields_only_our_refusals(name: str, value: object) -> None:
    refusal(request(token(None, header(**{name: value}))))


@settings(max_examples=200)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "method": st.text(max_size=8),
            "raw_path": st.binary(max_size=30),
            "raw_query": st.binary(min_size=1, max_size=30),
            "body": st.binary(max_size=30),
            "idempotency_key": st.binary(max_size=10),
            "if_match": st.binary(max_size=10),
            "content_encoding": st.binary(max_size=10),
        },
    )
)
def test_any_request_around_a_token_yields_only_our_refusals(change: dict[str, Any]) -> None:
    if change:
        refusal(request(GOOD, **change))
