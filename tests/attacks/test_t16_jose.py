"""T16, a forger of tokens: knows every weakness that JOSE libraries ever had, and holds tokens made for other purposes.

It must not get: a token accepted as what it was not signed for; a key registered that is no key, is somebody else's, or
has two names.

Elsewhere: ``promises/test_signed.py`` runs the whole list of algorithms, headers, claims and spellings over a socket;
``wire/test_requests.py``, ``wire/test_registration.py`` and ``crypto/test_jws.py`` below it. Here: tokens of one kind
used as another, and keys.
"""

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.fixtures.attack import BORROWER, attempt
from tests.fixtures.service import RunningService

from creditshare.client.bank import Client
from creditshare.crypto import p256
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.jws import SigningKey
from creditshare.wire.registration import make_proof

Jwk = dict[str, Any]


@pytest.fixture(scope="module")
def lender(shared_service: RunningService) -> Client:
    return shared_service.admit("Lender", region="US")


def as_request(lender: Client, token: str) -> tuple[int, str]:
    got = httpx.get(lender.issuer + "/v1/me", headers={"Authorization": f"Bearer {token}"})
    return got.status_code, got.json()["code"]


def test_no_token_of_another_kind_is_a_request(lender: Client) -> None:
    (subject,) = lender.tokenise([BORROWER])
    granted = lender.grant_consent(
        subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed"
    )
    kinds = {
        "proof of a key": lender.session.proof_for(lender.session.signer.key),
        "answer of the service": granted.headers["cs-signature"],
        "receipt of a consent": str(granted["consent_receipt"]),
    }
    for kind, token in kinds.items():
        status, code = as_request(lender, token)
        assert (status, code in {"typ_mismatch", "header_not_allowed"}) == (401, True), (kind, code)


def test_a_request_proves_no_key(lender: Client) -> None:
    new = SigningKey.generate()
    request = lender.sign("GET", "/v1/me")
    for proof in (request.token, lender.session.proof_for(lender.session.signer.key)):
        body = {"jwk": dict(new.public_jwk), "proof": proof}
        assert attempt(lender, "POST", keys_of(lender), body) == "proof_invalid"


def keys_of(client: Client) -> str:
    return f"/v1/members/{client.session.signer.member_id}/keys"


def proved(lender: Client, key: SigningKey, jwk: Jwk) -> dict[str, Any]:
    """Return a registration of ``jwk``, with a proof truly signed by ``key`` whose header repeats it."""
    claims = {
        "iss": lender.session.signer.member_id,
        "aud": lender.issuer,
        "iat": int(time.time()),
        "exp": int(time.time()) + 60,
        "jti": secrets.token_urlsafe(18),
        "jkt": key.kid,
    }
    return {"jwk": jwk, "proof": key.sign({"typ": "cs-keyreg+jwt", "jwk": jwk}, json.dumps(claims).encode())}


def plus_p(coordinate: str) -> str:
    """Return the same coordinate plus the field's prime: another spelling of the same point, where it fits."""
    return b64url_encode(((int.from_bytes(b64url_decode(coordinate), "big") + p256.P) % 2**256).to_bytes(32, "big"))


def p384() -> Jwk:
    numbers = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    return {
        "kty": "EC",
        "crv": "P-384",
        "use": "sig",
        "x": b64url_encode(numbers.x.to_bytes(48, "big")),
        "y": b64url_encode(numbers.y.to_bytes(48, "big")),
    }


BAD_KEYS: dict[str, Callable[[SigningKey], Jwk]] = {
    "with its private part": lambda key: key.private_jwk(),
    "symmetric": lambda _: {"kty": "oct", "k": "c2VjcmV0", "use": "sig"},
    "rsa": lambda _: {"kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "sig"},
    "P-384": lambda _: p384(),
    "P-384 called P-256": lambda _: {**p384(), "crv": "P-256"},
    "off the curve": lambda key: {**key.public_jwk, "y": key.public_jwk["x"]},
    "the origin": lambda _: {"kty": "EC", "crv": "P-256", "use": "sig", "x": "A" * 43, "y": "A" * 43},
    "beyond the field": lambda key: {**key.public_jwk, "x": plus_p(key.public_jwk["x"])},
    "padded": lambda key: {**key.public_jwk, "x": key.public_jwk["x"] + "="},
    "for encryption": lambda key: {**key.public_jwk, "use": "enc"},
    "without a use": lambda key: {n: v for n, v in key.public_jwk.items() if n != "use"},
    "another kid": lambda key: {**key.public_jwk, "kid": "A" * 43},
    "another alg": lambda key: {**key.public_jwk, "alg": "ES384"},
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_what_is_no_good_key_is_not_registered(lender: Client, name: str) -> None:
    key = SigningKey.generate()
    body = proved(lender, key, dict(BAD_KEYS[name](key)))
    assert attempt(lender, "POST", keys_of(lender), body) == "validation_failed"


def test_a_key_belongs_to_one_member_for_ever(shared_service: RunningService, lender: Client) -> None:
    other = shared_service.admit("Other", region="US")
    mine = lender.session.signer.key
    proof = make_proof(
        mine,
        member_id=other.session.signer.member_id,
        issuer=other.issuer,
        iat=int(time.time()),
        jti=secrets.token_urlsafe(18),
    )
    assert attempt(other, "POST", keys_of(other), {"jwk": dict(mine.public_jwk), "proof": proof}) == "key_exists"
    stranger = proved(other, mine, dict(mine.public_jwk))
    stolen_name = {**stranger, "jwk": {**stranger["jwk"], "ext": "true"}}
    assert attempt(other, "POST", keys_of(other), stolen_name) == "proof_invalid"


def test_unknown_keys_and_strange_owners_are_one_answer(shared_service: RunningService, lender: Client) -> None:
    """Neither the words nor the headers tell whether a key, a member or the pair of them exists."""
    other = shared_service.admit("Other 2", region="US")
    good = lender.sign("GET", "/v1/me").token
    head, payload, _ = good.split(".")
    strangers = [
        f"{head}.{payload}.{b64url_encode(bytes(64))}",
        f"{head}.{payload}.{b64url_encode(secrets.token_bytes(64))}",
        SigningKey.generate().sign(json.loads(b64url_decode(head)), b64url_decode(payload)),
        other.session.signer.key.sign(
            {"typ": "cs-req+jwt", "kid": other.session.signer.key.kid}, b64url_decode(payload)
        ),
        SigningKey.generate().sign({"typ": "cs-req+jwt", "kid": "A" * 43}, b64url_decode(payload)),
    ]
    seen = []
    for token in strangers:
        got = httpx.get(lender.issuer + "/v1/me", headers={"Authorization": f"Bearer {token}"})
        document = {n: v for n, v in got.json().items() if n not in {"request_id", "instance"}}
        seen.append((got.status_code, sorted(got.headers), document, len(got.content)))
    assert seen[0][2]["code"] == "signature_invalid"
    assert all(one == seen[0] for one in seen)
