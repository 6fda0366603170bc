"""Our own parts against the bare operation and against the usual library, in one process, one after the other."""

import base64
import secrets
import time
from collections.abc import Callable

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from creditshare.crypto import oprf
from creditshare.crypto.jws import SigningKey, split
from creditshare.crypto.sealing import Box, Place
from creditshare.wire.requests import Received, RegisteredKey, authenticate, parse, sign_request

ISSUER = "https://bench.example"
NOW = 1_000_000
BODY = b'{"subject":{"suite":"P256-SHA256","key_version":1,"element":"' + b"A" * 44 + b'"},"purpose":"pre_loan"}'


def cost(act: Callable[[], object], *, seconds: float) -> float:
    """Return the CPU microseconds of one call, the best of five rounds, which disturbs the ratio least."""
    best = float("inf")
    for _ in range(5):
        count, began = 0, time.process_time()
        while time.process_time() - began < seconds / 5:
            for _ in range(20):
                act()
            count += 20
        best = min(best, (time.process_time() - began) / count * 1e6)
    return best


def signed_request() -> tuple[SigningKey, str, Received, RegisteredKey]:
    """Return a member's key, its token for a question, the request with it, and the key as the service knows it."""
    key = SigningKey.generate()
    token = sign_request(
        key,
        issuer=ISSUER,
        member_id="mem_1",
        sub="bench",
        method="POST",
        path="/v1/queries",
        body=BODY,
        iat=NOW,
        jti=secrets.token_urlsafe(18),
        idempotency_key="k",
    )
    received = Received("POST", b"/v1/queries", b"", (b"Bearer " + token.encode(),), BODY, b"k")
    return key, token, received, RegisteredKey(key.kid, "mem_1", key.verifying_key, "active", 2 * NOW)


def measure(seconds: float) -> dict[str, tuple[float, str]]:
    """Return figures of the gate, sealing and the oblivious function."""
    key, token, received, registered = signed_request()

    def gate() -> object:
        return authenticate(parse(received), received, registered=registered, issuer=ISSUER, now=NOW)

    compact = split(token)
    jwk = key.public_jwk
    numbers = ec.EllipticCurvePublicNumbers(*(int.from_bytes(_b64(jwk[c]), "big") for c in ("x", "y")), ec.SECP256R1())
    public, algorithm = numbers.public_key(), ec.ECDSA(hashes.SHA256())
    r, s = (int.from_bytes(part, "big") for part in (compact.signature[:32], compact.signature[32:]))

    def raw_verify() -> None:
        public.verify(encode_dss_signature(r, s), compact.signing_input, algorithm)

    secret, plain = secrets.token_bytes(32), secrets.token_bytes(500)
    box, place, fernet, bare = (
        Box.of(secret, key_id=b"12345678"),
        Place("t", "c", b"0" * 16),
        Fernet(Fernet.generate_key()),
        AESGCM(secret),
    )
    ours = cost(lambda: box.open(place, box.seal(place, plain)), seconds=seconds)
    theirs = cost(lambda: fernet.decrypt(fernet.encrypt(plain)), seconds=seconds)
    nonce = secrets.token_bytes(12)
    raw = cost(lambda: bare.decrypt(nonce, bare.encrypt(nonce, plain, None), None), seconds=seconds)

    tokeniser = oprf.SecretKey.generate()
    blinded = [oprf.blind(f"creditshare/v1|uscc|{n:018d}".encode()).element for n in range(256)]
    batch = cost_of_batch(lambda: oprf.evaluate(tokeniser, blinded))
    gate_us, verify_us = cost(gate, seconds=seconds), cost(raw_verify, seconds=seconds)
    return {
        "gate_vs_raw_verify": (
            gate_us / verify_us,
            f"gate {gate_us:.0f} us, one raw ES256 verification {verify_us:.0f} us",
        ),
        "seal_ops_vs_fernet": (
            theirs / ours,
            f"seal and open 500 bytes: ours {ours:.1f} us, Fernet {theirs:.1f} us, bare AES-GCM {raw:.1f} us",
        ),
        "voprf_evaluations_per_s_core": (256 / batch, "batches of 256 with one proof, one core"),
        "raw_verify_us": (verify_us, "one raw ES256 verification"),
        "raw_sign_us": (_sign_cost(key, seconds), "one ES256 signature"),
    }


def cost_of_batch(act: Callable[[], object]) -> float:
    """Return the best CPU seconds of three calls."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        act()
        best = min(best, time.process_time() - began)
    return best


def _sign_cost(key: SigningKey, seconds: float) -> float:
    private, algorithm = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())
    del key
    return cost(lambda: private.sign(b"x" * 400, algorithm), seconds=seconds)


def _b64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")
