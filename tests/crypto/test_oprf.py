"""RFC 9497 appendix A for P256-SHA256 (modes 0 and 1), and what a wrong key or a tampered proof must not get past."""

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from creditshare.crypto import oprf
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.p256 import P, add, decode_point, encode_point, multiply, multiply_base, negate
from creditshare.errors import Malformed, VerificationFailed

FILE = Path(__file__).parent / "vectors" / "rfc9497-p256.json"
GROUPS: list[dict[str, Any]] = json.loads(FILE.read_text())
CASES = [(group, vector) for group in GROUPS for vector in group["vectors"]]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"mode-{group['mode']}")
def test_key_derivation(group: dict[str, Any]) -> None:
    seed, info = bytes.fromhex(group["seed"]), bytes.fromhex(group["keyInfo"])
    assert oprf.derive_key(seed, info, mode=group["mode"]).to_bytes().hex() == group["skSm"]


@pytest.mark.parametrize(("group", "vector"), CASES, ids=[f"mode-{g['mode']}-{i}" for i, (g, _) in enumerate(CASES)])
def test_vectors(group: dict[str, Any], vector: dict[str, Any]) -> None:
    key = oprf.SecretKey.from_bytes(bytes.fromhex(group["skSm"]))
    inputs = [bytes.fromhex(text) for text in vector["Input"].split(",")]
    scalars = [int(text, 16) for text in vector["Blind"].split(",")]
    blinded = [
        oprf.blind(data, scalar=scalar, mode=group["mode"]) for data, scalar in zip(inputs, scalars, strict=True)
    ]
    assert [one.element.hex() for one in blinded] == vector["BlindedElement"].split(",")
    points = [decode_point(one.element) for one in blinded]
    evaluated = [multiply(key.scalar, point) for point in points]
    assert [encode_point(point).hex() for point in evaluated] == vector["EvaluationElement"].split(",")
    outputs = [
        oprf.finalize(data, oprf.unblind(one, encode_point(point))).hex()
        for data, one, point in zip(inputs, blinded, evaluated, strict=True)
    ]
    assert outputs == vector["Output"].split(",")
    if group["mode"] == oprf.MODE_VOPRF:
        proof = oprf.prove(key, points, evaluated, nonce=int(vector["Proof"]["r"], 16))
        assert proof.hex() == vector["Proof"]["proof"]
        oprf.verify(
            key.public_key, [one.element for one in blinded], [encode_point(point) for point in evaluated], proof
        )


def test_the_committed_vectors_are_the_published_ones() -> None:
    published = Path(__file__).parents[3] / "shared" / "vectors" / "rfc9497.json"
    if not published.exists():
        pytest.skip("the published vector file is not beside this checkout; its committed part is used above")
    wanted = [
        group
        for group in json.loads(published.read_text())
        if group["identifier"] == oprf.SUITE and group["mode"] in {0, 1}
    ]
    assert wanted == GROUPS


def test_a_whole_batch_gives_what_each_input_gives_alone() -> None:
    key = oprf.SecretKey.generate()
    inputs = [secrets.token_bytes(20) for _ in range(32)]
    blinded = [oprf.blind(data) for data in inputs]
    evaluated, proof = oprf.evaluate(key, [one.element for one in blinded])
    elements = oprf.open_evaluation(key.public_key, blinded, evaluated, proof)
    for data, element in zip(inputs[:3], elements[:3], strict=True):
        alone = oprf.blind(data)
        (result,), its_proof = oprf.evaluate(key, [alone.element])
        assert oprf.open_evaluation(key.public_key, [alone], [result], its_proof) == [element]


def test_a_wrong_tokeniser_is_refused() -> None:
    honest, other = oprf.SecretKey.generate(), oprf.SecretKey.generate()
    blinded = [oprf.blind(b"one"), oprf.blind(b"two")]
    elements = [one.element for one in blinded]
    evaluated, proof = oprf.evaluate(honest, elements)
    wrong, its_proof = oprf.evaluate(other, elements)
    attempts = {
        "another key": (wrong, its_proof),
        "another key under the honest proof": (wrong, proof),
        "one element under another key": ([evaluated[0], wrong[1]], proof),
        "swapped": (evaluated[::-1], proof),
        "flipped challenge": (evaluated, bytes((proof[0] ^ 1,)) + proof[1:]),
        "flipped response": (evaluated, proof[:-1] + bytes((proof[-1] ^ 1,))),
        "short proof": (evaluated, proof[:-1]),
        "one element less": (evaluated[:1], proof),
    }
    accepted = []
    for name, (results, claimed) in attempts.items():
        try:
            oprf.open_evaluation(honest.public_key, blinded, results, claimed)
        except VerificationFailed:
            continue
        accepted.append(name)
    assert accepted == []


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(33), id="infinity"),
        pytest.param(b"\x04" + bytes(64), id="uncompressed"),
        pytest.param(b"\x02" + bytes(31), id="short"),
        pytest.param(b"\x05" + multiply_base(7)[0].to_bytes(32, "big"), id="prefix"),
        pytest.param(b"\x02" + P.to_bytes(32, "big"), id="x-is-p"),
        pytest.param(b"\x02" + (5).to_bytes(32, "big")[:-1] + b"\x01", id="off-curve"),
    ],
)
def test_malformed_elements_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_point(data)


def test_rotation_by_a_factor_gives_the_new_keys_element() -> None:
    old, new = oprf.SecretKey.generate(), oprf.SecretKey.generate()

    def element(key: oprf.SecretKey) -> bytes:
        blinded = oprf.blind(b"borrower")
        evaluated, proof = oprf.evaluate(key, [blinded.element])
        return oprf.open_evaluation(key.public_key, [blinded], evaluated, proof)[0]

    assert oprf.rotate(element(old), oprf.delta(old, new)) == element(new)


def test_products_agree_with_addition() -> None:
    point = multiply_base(secrets.randbelow(P))
    running = add(point, point)
    for k in range(2, 12):
        assert multiply(k, point) == running
        running = add(running, point)
    assert add(point, negate(point)) is None


def test_secrets_hide_in_their_repr() -> None:
    key = oprf.SecretKey.generate()
    blinded = oprf.blind(b"x")
    assert str(key.scalar) not in repr(key)
    assert str(blinded.blind) not in repr(blinded)
    assert b64url_encode(key.to_bytes()) not in repr(key)


@pytest.mark.parametrize("position", [0, 2])
def test_a_bad_element_is_named_by_its_position(position: int) -> None:
    elements = [oprf.blind(b"x").element for _ in range(3)]
    elements[position] = b"\x02" + P.to_bytes(32, "big")
    with pytest.raises(Malformed, match=f"element {position}: "):
        oprf.evaluate(oprf.SecretKey.generate(), elements)


def test_a_batch_has_1_to_256_elements() -> None:
    key = oprf.SecretKey.generate()
    blinded = [oprf.blind(b"%d" % i) for i in range(oprf.MAX_BATCH)]
    elements = [one.element for one in blinded]
    evaluated, proof = oprf.evaluate(key, elements)
    assert len(set(oprf.open_evaluation(key.public_key, blinded, evaluated, proof))) == oprf.MAX_BATCH
    for wrong in ([], [*elements, elements[0]]):
        with pytest.raises(Malformed, match="1 to 256"):
            oprf.evaluate(key, wrong)


def test_each_element_under_its_own_key_is_refused() -> None:
    honest, other = oprf.SecretKey.generate(), oprf.SecretKey.generate()
    blinded = [oprf.blind(b"one"), oprf.blind(b"two")]
    elements = [one.element for one in blinded]
    mixed = [oprf.evaluate(honest, elements[:1])[0][0], oprf.evaluate(other, elements[1:])[0][0]]
    points, results = [decode_point(one) for one in elements], [decode_point(one) for one in mixed]
    for key in (honest, other):
        forged = oprf.prove(key, points, results, nonce=oprf.random_scalar())
        with pytest.raises(VerificationFailed):
            oprf.open_evaluation(key.public_key, blinded, mixed, forged)


@pytest.mark.parametrize(
    "proof", [bytes(64), bytes(32) + b"\x01" * 32, b"\x01" * 32 + bytes(32)], ids=["00", "0s", "c0"]
)
def test_a_proof_of_zeros_is_refused(proof: bytes) -> None:
    key, one = oprf.SecretKey.generate(), oprf.blind(b"x")
    evaluated, _ = oprf.evaluate(key, [one.element])
    with pytest.raises(VerificationFailed):
        oprf.open_evaluation(key.public_key, [one], evaluated, proof)


def test_stored_elements_rotate_together_as_they_do_alone() -> None:
    elements = [oprf.blind(b"%d" % i).element for i in range(5)]
    assert oprf.rotate_all(elements, 7) == [oprf.rotate(element, 7) for element in elements]
