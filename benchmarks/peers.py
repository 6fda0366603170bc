"""``make bench-peers``: each part that is ours beside well-kept libraries that do the same, in one process.

A part that is slower than a library of the same strength has no reason to exist. Where the two do not do the same, the
line says in what they differ. The libraries are installed for this run alone (``benchmarks/peers.txt``).
"""

import json
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jwt as pyjwt
import private_set_intersection.python as psi
import pymerkle
import tink
from cryptography.fernet import Fernet
from jose import jwt as jose_jwt
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey
from sqlalchemy import Text
from sqlalchemy_utils import StringEncryptedType
from sqlalchemy_utils.types.encrypted.encrypted_type import AesGcmEngine, FernetEngine
from tink import aead
from voprf import p384, ristretto

from benchmarks.micro import ISSUER, NOW, cost, cost_of_batch, signed_request
from creditshare.crypto import oprf
from creditshare.crypto.sealing import Box, Place
from creditshare.tlog.merkle import Node, fold_proof, inclusion_nodes, leaf_hash, verify_inclusion
from creditshare.tlog.tiles import extend, root_from_edge
from creditshare.wire.requests import authenticate, parse

SECONDS = 1.0
TOKENS = 256
LEAVES = 50_000
SET_SIZE = 2_000


@dataclass(frozen=True, slots=True)
class Line:
    """One part: whose it is, what one operation costs in CPU microseconds, and what it does that others do not."""

    part: str
    who: str
    us: float
    note: str = ""


def main() -> None:
    """Measure and print, each part with its peers below it and their cost as a multiple of ours."""
    ours: dict[str, float] = {}
    for measure in (gate, sealing, tokens, log):
        for line in measure():
            times = line.us / ours.setdefault(line.part, line.us)
            print(f"{line.part:8} {line.who:28} {line.us:10.2f} us  {times:6.2f} x  {line.note}", flush=True)


def gate() -> Iterable[Line]:
    """A signed request: ours also checks method, target, body, idempotency key and age, and each spelling."""
    key, token, received, registered = signed_request()
    jwk: dict[str, Any] = {name: key.public_jwk[name] for name in ("kty", "crv", "x", "y")}
    public = pyjwt.PyJWK({**jwk, "alg": "ES256"}).key
    imported = ECKey.import_key(jwk)
    registry = joserfc_jwt.JWTClaimsRegistry(now=NOW, aud={"essential": True, "value": ISSUER})

    def ours() -> object:
        return authenticate(parse(received), received, registered=registered, issuer=ISSUER, now=NOW)

    def with_pyjwt() -> object:
        # Its clock cannot be passed in, so it does not check the age.
        unaged = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        return pyjwt.decode(token, public, algorithms=["ES256"], audience=ISSUER, options=unaged)

    def with_joserfc() -> None:
        registry.validate(joserfc_jwt.decode(token, imported, algorithms=["ES256"]).claims)

    def with_jose() -> object:
        return jose_jwt.decode(token, jwk, algorithms=["ES256"], audience=ISSUER, options={"verify_exp": False})

    return [
        Line("gate", "creditshare", cost(ours, seconds=SECONDS), "signature, claims, method, target, body, key, age"),
        Line("gate", "PyJWT", cost(with_pyjwt, seconds=SECONDS), "signature and audience; key prepared"),
        Line("gate", "joserfc", cost(with_joserfc, seconds=SECONDS), "signature, audience, age; key prepared"),
        Line("gate", "jose.jwt.decode", cost(with_jose, seconds=SECONDS), "signature and audience; key parsed anew"),
    ]


def sealing() -> Iterable[Line]:
    """Seal and open 500 bytes. Only ours and Tink bind the ciphertext to its place."""
    secret, plain, text = secrets.token_bytes(32), secrets.token_bytes(500), secrets.token_hex(250)
    box, place = Box.of(secret, key_id=b"12345678"), Place("t", "c", b"0" * 16)
    fernet = Fernet(Fernet.generate_key())
    aead.register()
    tinked = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM).primitive(aead.Aead)
    columns = [
        (engine.__name__, StringEncryptedType(Text, secret.hex(), engine)) for engine in (AesGcmEngine, FernetEngine)
    ]

    def in_column(column: "StringEncryptedType[Any]") -> Callable[[], object]:
        # The dialect is not used by a text column.
        return lambda: column.process_result_value(column.process_bind_param(text, None), None)

    return [
        Line("sealing", "creditshare", cost(lambda: box.open(place, box.seal(place, plain)), seconds=SECONDS)),
        Line(
            "sealing",
            "Tink AES256_GCM",
            cost(lambda: tinked.decrypt(tinked.encrypt(plain, b"t"), b"t"), seconds=SECONDS),
        ),
        Line("sealing", "Fernet", cost(lambda: fernet.decrypt(fernet.encrypt(plain)), seconds=SECONDS)),
        *(
            Line("sealing", f"SQLAlchemy-Utils {name}", cost(in_column(column), seconds=SECONDS), "the usual column")
            for name, column in columns
        ),
    ]


def tokens() -> Iterable[Line]:
    """One blind evaluation within a batch of 256 with one proof; for sets, one of the client's elements."""
    names = [f"creditshare/v1|uscc|{n:018d}".encode() for n in range(TOKENS)]
    key = oprf.SecretKey.generate()
    blinded = [oprf.blind(name).element for name in names]
    lines = [
        Line("tokens", "creditshare P-256", _each(lambda: oprf.evaluate(key, blinded)), "verifiable, key can rotate")
    ]
    for curve, module in (("ristretto255", ristretto), ("P-384", p384)):
        server = module.Evaluator(secrets.token_bytes(32))
        asked = [module.Client.blind(name)[1] for name in names]
        note = "verifiable, in Rust; its key cannot rotate"
        lines.append(Line("tokens", f"voprf {curve}", _each(lambda s=server, a=asked: s.evaluate_batch(a)), note))
    # True: the sets themselves are found, not only how large their intersection is.
    server, client = (side.CreateWithNewKey(True) for side in (psi.server, psi.client))  # noqa: FBT003  not our function
    request = client.CreateRequest([name.decode() for name in names])
    setup = [f"member-{n}" for n in range(SET_SIZE)]
    server.CreateSetupMessage(0.001, TOKENS, setup, psi.DataStructure.GCS)
    note = "sets only, no proof; each side learns the other's size"
    lines.append(Line("tokens", "openmined-psi", _each(lambda: server.ProcessRequest(request)), note))
    return lines


def _each(act: Callable[[], object]) -> float:
    return cost_of_batch(act) / TOKENS * 1e6


def log() -> Iterable[Line]:
    """Append leaves and know the root: ours a thousand at a time as the worker does; then one inclusion proof."""
    entries = [json.dumps({"n": n, "pad": "x" * 200}).encode() for n in range(LEAVES)]

    def grow() -> bytes:
        size, edge = 0, ()
        for first in range(0, LEAVES, 1000):
            grown = extend(size, edge, (leaf_hash(entry) for entry in entries[first : first + 1000]))
            size, edge = grown.size, grown.edge
        return root_from_edge(size, edge)

    tree = pymerkle.InmemoryTree(algorithm="sha256")
    began = time.process_time()
    for entry in entries:
        tree.append_entry(entry)
    theirs = (time.process_time() - began) / LEAVES * 1e6
    root = grow()
    if tree.get_root() != root:
        raise AssertionError("two implementations of one tree came to different roots")
    append = cost_of_batch(grow) / LEAVES * 1e6
    return [
        Line("log", "creditshare", append, f"{LEAVES:,} leaves, tiles made"),
        Line("log", "pymerkle in memory", theirs, "whole tree held in memory"),
        Line("proof", "creditshare", _check_of_proof(entries, root)),
        Line("proof", "pymerkle", _their_check(tree, entries, root), "its own form of proof"),
    ]


def _check_of_proof(entries: list[bytes], root: bytes) -> float:
    hashes = [leaf_hash(entry) for entry in entries]
    plan = inclusion_nodes(LEAVES // 3, LEAVES)
    path = fold_proof(plan, {node: _subtree(node, hashes) for node in plan.nodes})

    def check() -> None:
        verify_inclusion(leaf_hash=hashes[LEAVES // 3], index=LEAVES // 3, size=LEAVES, proof=path, root=root)

    return cost(check, seconds=SECONDS)


def _subtree(node: Node, hashes: list[bytes]) -> bytes:
    width = 1 << node.level
    grown = extend(0, (), hashes[node.index * width : (node.index + 1) * width])
    return root_from_edge(grown.size, grown.edge)


def _their_check(tree: "pymerkle.InmemoryTree", entries: list[bytes], root: bytes) -> float:
    proof = tree.prove_inclusion(LEAVES // 3 + 1, LEAVES)
    leaf = leaf_hash(entries[LEAVES // 3])
    return cost(lambda: pymerkle.verify_inclusion(leaf, root, proof), seconds=SECONDS)


if __name__ == "__main__":
    main()
