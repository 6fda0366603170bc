"""docs/vectors, re-derived by a client of another hand; and the proof that the project's own code still makes them."""

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.fixtures import foreign
from tests.fixtures.foreign import b64u, canonical, compress, decompress, digest_string, times, unb64u
from typer.testing import CliRunner

from creditshare.cli import app

FOLDER = Path(__file__).parents[2] / "docs" / "vectors"
EXCHANGES = ("03-enrolment", "05-evaluate", "08-consent", "09-record", "10-query", "11-query-again", "12-query-refused")


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return document


KEYS = load("01-keys")
SERVICE = KEYS["jwks"]["keys"][0]


def owner(claims: dict[str, Any]) -> dict[str, Any]:
    """Return the member of the story that a token names."""
    return next(member for member in KEYS["members"].values() if member["member_id"] == claims["iss"])


def rederive_jws(document: dict[str, Any], jwk: dict[str, Any]) -> dict[str, Any]:
    """Make a token anew from its texts and the private key, and check it like a stranger's; return its claims."""
    header, payload = json.loads(document["header"]), json.loads(document["payload"])
    assert canonical(header).decode() == document["header"]
    assert canonical(payload).decode() == document["payload"]
    made = foreign.make_jws(foreign.private_key(jwk), header, payload)
    assert made == document["compact"]
    assert made == f"{document['signing_input']}.{document['signature']}"
    return foreign.open_jws(jwk, made, header["typ"])


def check_request(request: dict[str, Any]) -> None:
    """Check each claim against what travelled."""
    claims = rederive_jws(request["jws"], owner(json.loads(request["jws"]["payload"]))["private_jwk"])
    body, headers = request["body"].encode(), request["headers"]
    assert set(json.loads(request["jws"]["header"])) == {"alg", "kid", "typ"}
    expected = {
        "iss": claims["iss"],
        "sub": "credit-desk.7",
        "aud": KEYS["issuer"],
        "iat": claims["iat"],
        "exp": claims["iat"] + 60,
        "jti": claims["jti"],
        "htm": request["method"],
        "htu": KEYS["issuer"] + request["path"],
        "ver": "1",
        **({"htq": b64u(hashlib.sha256(request["query"].encode()).digest())} if request["query"] else {}),
        **({"cdg": digest_string(body)} if body else {}),
        **({"idk": headers["Idempotency-Key"]} if "Idempotency-Key" in headers else {}),
        **({"ifm": headers["If-Match"]} if "If-Match" in headers else {}),
    }
    assert claims == expected
    assert request["rqh"] == b64u(hashlib.sha256(request["jws"]["compact"].encode()).digest())


@pytest.mark.parametrize("who", ["asker", "reporter", "service"])
def test_keys_and_thumbprints(who: str) -> None:
    key = KEYS["service"] if who == "service" else KEYS["members"][who]
    jwk = key["private_jwk"]
    x, y = times(foreign.private_key(jwk), foreign.G)
    assert (jwk["x"], jwk["y"]) == (b64u(x.to_bytes(32, "big")), b64u(y.to_bytes(32, "big")))
    assert b64u(hashlib.sha256(key["thumbprint_input"].encode()).digest()) == key["kid"] == foreign.thumbprint(jwk)


def test_the_service_publishes_the_public_halves_of_its_keys() -> None:
    assert {**SERVICE, "d": KEYS["service"]["private_jwk"]["d"]} == KEYS["service"]["private_jwk"]
    tokeniser, log = KEYS["tokeniser"], KEYS["log"]
    assert b64u(compress(times(int(tokeniser["secret_key"], 16), foreign.G))) == tokeniser["public_key"]
    public = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(log["secret_key"])).public_key().public_bytes_raw()
    assert public.hex() == log["public_key"]
    key_id = hashlib.sha256(log["origin"].encode() + b"\n\x01" + public).digest()[:4].hex()
    assert key_id == log["key_id"]
    assert log["vkey"] == f"{log['origin']}+{key_id}+{base64.b64encode(bytes([1]) + public).decode()}"
    assert log["origin"] == KEYS["issuer"].removeprefix("https://") + "/log"


@pytest.mark.parametrize("case", load("02-canonical-json")["cases"], ids=lambda case: case["bytes"][:12])
def test_canonical_json(case: dict[str, Any]) -> None:
    assert canonical(case["value"]).decode() == case["bytes"]


def test_enrolment_proof() -> None:
    request = load("03-enrolment")["request"]
    body = json.loads(request["body"])
    asker = KEYS["members"]["asker"]
    claims = rederive_jws(request["proof"], asker["private_jwk"])
    assert json.loads(request["proof"]["header"]) == {"alg": "ES256", "jwk": body["jwk"], "typ": "cs-keyreg+jwt"}
    assert (claims["iss"], claims["aud"], claims["jkt"]) == (asker["member_id"], KEYS["issuer"], asker["kid"])
    assert claims["exp"] - claims["iat"] == 120
    assert body["proof"] == request["proof"]["compact"]
    assert request["rqh"] == b64u(hashlib.sha256(body["proof"].encode()).digest())


@pytest.mark.parametrize("name", [name for name in EXCHANGES if name != "03-enrolment"])
def test_requests(name: str) -> None:
    check_request(load(name)["request"])


@pytest.mark.parametrize("request_", load("15-request-forms")["requests"].values())
def test_request_forms(request_: dict[str, Any]) -> None:
    check_request(request_)


@pytest.mark.parametrize("name", EXCHANGES)
def test_answers_and_their_receipts(name: str) -> None:
    document = load(name)
    request, answer, event = document["request"], document["answer"], document["event"]
    rederive_jws(answer["jws"], KEYS["service"]["private_jwk"])
    log = _check(document)
    assert log == {
        "event_id": event["event_id"],
        "leaf": event["leaf"],
        "leaf_hash": event["leaf_hash"],
        "meta": event["commitments"]["meta"]["payload"],
        "mmd": 60,
        "s_body": event["commitments"]["body"]["salt"],
        "s_meta": event["commitments"]["meta"]["salt"],
    }
    claims = json.loads(request["jws"]["payload"]) if "jws" in request else {"sub": "", "iss": _asker()}
    meta = json.loads(log["meta"])
    assert (meta["actor"], meta["sub"]) == (claims["iss"], claims["sub"])
    assert meta["outcome"] == ("ok" if answer["status"] < 400 else json.loads(answer["body"])["code"])


def _asker() -> str:
    member_id: str = KEYS["members"]["asker"]["member_id"]
    return member_id


def _check(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    request, answer = document["request"], document["answer"]
    member_id = json.loads(answer["jws"]["payload"])["aud"]
    exchange = {
        "issuer": KEYS["issuer"],
        "member_id": member_id,
        "rqh": request["rqh"],
        "status": answer["status"],
        "request_body": request["body"].encode(),
        "answer_body": answer["body"].encode(),
        **changes,
    }
    log = foreign.check_answer(SERVICE, answer["jws"]["compact"], **exchange)
    assert log is not None
    return log


@pytest.mark.parametrize(
    "change", [{"request_body": b"{}"}, {"answer_body": b"{}"}, {"rqh": "x"}, {"status": 201}, {"member_id": "mem_x"}]
)
def test_an_answer_to_another_exchange_is_noticed(change: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        _check(load("10-query"), **change)


@pytest.mark.parametrize("name", EXCHANGES)
def test_leaves_commit_to_their_openings(name: str) -> None:
    event = load(name)["event"]
    leaf = json.loads(event["leaf"])
    assert canonical(leaf).decode() == event["leaf"]
    assert list(leaf) == ["at", "c_body", "c_meta", "c_subj", "id", "v"]
    assert b64u(foreign.leaf_hash(event["leaf"].encode())) == event["leaf_hash"]
    opened = event["commitments"]
    assert leaf["c_subj"] == "" or "subj" in opened
    for group, opening in opened.items():
        assert canonical(json.loads(opening["payload"])).decode() == opening["payload"]
        made = foreign.commitment(group, opening["salt"], opening["payload"].encode())
        assert made == opening["commitment"] == leaf[f"c_{group}"]


def test_blinding() -> None:
    document = load("04-blind")
    assert bytes.fromhex(document["domain_separation_tag"]) == b"HashToGroup-" + foreign.CONTEXT
    for one in document["inputs"]:
        assert one["input"] == f"creditshare/v1|{one['id_type']}|{one['identifier']}"
        data, tag = one["input"].encode(), b"HashToGroup-" + foreign.CONTEXT
        assert foreign.expand(data, tag, 96).hex() == one["expanded"]
        u = foreign.hash_to_field(data, tag, 2, foreign.P)
        assert [f"{number:064x}" for number in u] == one["u"]
        assert [compress(foreign.map_to_curve(number)).hex() for number in u] == one["q"]
        point = foreign.hash_to_curve(data)
        assert compress(point).hex() == one["point"]
        assert compress(times(int(one["blind"], 16), point)).hex() == one["blinded"]


def test_evaluation_and_proof() -> None:
    document, exchange = load("06-proof"), load("05-evaluate")
    secret, public = int(KEYS["tokeniser"]["secret_key"], 16), bytes.fromhex(document["public_key"])
    assert b64u(public) == KEYS["tokeniser"]["public_key"]
    blinded = [bytes.fromhex(one["blinded"]) for one in load("04-blind")["inputs"]]
    evaluated = [compress(times(secret, decompress(element))) for element in blinded]
    asked, told = json.loads(exchange["request"]["body"]), json.loads(exchange["answer"]["body"])
    assert asked["blinded"] == [b64u(element) for element in blinded]
    assert told["evaluated"] == [b64u(element) for element in evaluated]
    assert [bytes.fromhex(one) for one in document["blinded"] + document["evaluated"]] == blinded + evaluated

    factors = foreign.weights(public, blinded, evaluated)
    m, z = foreign.weighted(factors, blinded), foreign.weighted(factors, evaluated)
    nonce = int(document["nonce"], 16)
    t2, t3 = times(nonce, foreign.G), times(nonce, m)
    c = foreign.challenge(public, m, z, t2, t3)
    s = (nonce - c * secret) % foreign.N
    assert document["weights"] == [f"{factor:064x}" for factor in factors]
    assert document["composites"] == {"m": compress(m).hex(), "z": compress(z).hex()}
    assert document["commitments"] == {"t2": compress(t2).hex(), "t3": compress(t3).hex()}
    assert (document["challenge"], document["response"]) == (f"{c:064x}", f"{s:064x}")
    assert document["proof"] == f"{c:064x}{s:064x}" == unb64u(told["proof"]).hex()

    proof = bytes.fromhex(document["proof"])
    assert foreign.proof_holds(public, blinded, evaluated, proof)
    assert not foreign.proof_holds(public, blinded, evaluated[::-1], proof)
    assert not foreign.proof_holds(compress(foreign.G), blinded, evaluated, proof)


def test_tokens() -> None:
    secret, evaluated = int(KEYS["tokeniser"]["secret_key"], 16), load("06-proof")["evaluated"]
    inputs, tokens = load("04-blind")["inputs"], load("07-token")["tokens"]
    for one, element, token in zip(inputs, evaluated, tokens, strict=True):
        opened = foreign.unblind(int(one["blind"], 16), bytes.fromhex(element))
        assert opened.hex() == token["element"]
        assert opened == compress(times(secret, foreign.hash_to_curve(token["input"].encode())))
        assert token["subject"] == {"suite": "P256-SHA256", "key_version": 1, "element": b64u(opened)}
    for name in ("08-consent", "09-record", "10-query"):
        assert json.loads(load(name)["request"]["body"])["subject"] == tokens[0]["subject"]


def test_consent_receipt() -> None:
    document = load("08-consent")
    asked, told = json.loads(document["request"]["body"]), json.loads(document["answer"]["body"])
    claims = rederive_jws(document["receipt"], KEYS["service"]["private_jwk"])
    assert told["consent_receipt"] == document["receipt"]["compact"]
    assert json.loads(document["receipt"]["header"])["typ"] == "cs-consent+jwt"
    assert (claims["consent_id"], claims["recipient"]) == (told["consent_id"], _asker())
    assert [purpose["code"] for purpose in claims["purposes"]] == asked["purposes"]
    assert digest_string(bytes.fromhex(document["evidence"]["salt_and_document"])) == asked["evidence"]["digest"]
    assert claims["evidence_digest"] == asked["evidence"]["digest"] == document["evidence"]["digest"]


def test_the_story_holds_together() -> None:
    consent, query = (json.loads(load(name)["answer"]["body"]) for name in ("08-consent", "10-query"))
    assert query["consent"]["id"] == consent["consent_id"]
    assert query["match"] == "records"
    assert canonical(query).decode() == load("10-query")["answer"]["body"] == load("11-query-again")["answer"]["body"]
    assert load("11-query-again")["answer"]["headers"]["Idempotent-Replayed"] == "true"
    first, again = (json.loads(load(name)["request"]["jws"]["payload"]) for name in ("10-query", "11-query-again"))
    assert first["idk"] == again["idk"]
    assert first["jti"] != again["jti"]
    refusal = load("12-query-refused")["answer"]
    assert (refusal["status"], json.loads(refusal["body"])["code"]) == (403, "purpose_not_allowed")


def test_the_log() -> None:
    log = load("13-log")
    events = {load(name)["event"]["leaf"] for name in EXCHANGES}
    assert {leaf["leaf"] for leaf in log["leaves"]} == events
    hashes = [foreign.leaf_hash(leaf["leaf"].encode()) for leaf in log["leaves"]]
    assert [leaf["leaf_hash"] for leaf in log["leaves"]] == [b64u(one) for one in hashes]
    assert log["roots"] == {str(size): b64u(foreign.root(hashes[:size])) for size in range(len(hashes) + 1)}
    for size, note in log["checkpoints"].items():
        expected = (KEYS["log"]["origin"], int(size), foreign.root(hashes[: int(size)]))
        assert foreign.open_checkpoint(note, log["vkey"]) == expected
        signer = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(KEYS["log"]["secret_key"]))
        text = note.rpartition("\n\n")[0] + "\n"
        blob = base64.b64encode(bytes.fromhex(KEYS["log"]["key_id"]) + signer.sign(text.encode())).decode()
        assert note == f"{text}\n\N{EM DASH} {KEYS['log']['origin']} {blob}\n"


def test_inclusion_and_consistency() -> None:
    log = load("13-log")
    hashes = [unb64u(leaf["leaf_hash"]) for leaf in log["leaves"]]
    proof, query = log["inclusion"], load("10-query")["event"]
    assert (proof["event_id"], proof["leaf_hash"]) == (query["event_id"], query["leaf_hash"])
    assert proof["hashes"] == [b64u(one) for one in foreign.inclusion_path(proof["index"], hashes)]
    assert proof["checkpoint"] == log["checkpoints"]["7"]
    foreign.check_inclusion(proof, log["vkey"], query["leaf"])
    with pytest.raises(AssertionError):
        foreign.check_inclusion({**proof, "index": proof["index"] ^ 1}, log["vkey"], query["leaf"])
    lines = "".join(base64.b64encode(unb64u(one)).decode() + "\n" for one in proof["hashes"])
    assert log["inclusion_text"] == f"c2sp.org/tlog-proof@v1\nindex 4\n{lines}\n{proof['checkpoint']}"
    between = log["consistency"]
    assert (between["from"], between["to"]) == (3, 7)
    assert between["hashes"] == [b64u(one) for one in foreign.consistency_path(3, hashes)]


def test_the_evidence_package() -> None:
    package, query = load("14-evidence"), load("10-query")
    assert package["kind"] == "creditshare-evidence/v1"
    assert package["request"]["jws"] == query["request"]["jws"]["compact"]
    assert base64.b64decode(package["request"]["body"]) == query["request"]["body"].encode()
    assert package["answer"]["jws"] == query["answer"]["jws"]["compact"]
    assert base64.b64decode(package["answer"]["body"]) == query["answer"]["body"].encode()
    assert package["proof"] == load("13-log")["inclusion"]
    assert package["service_jwks"] == KEYS["jwks"]
    assert foreign.thumbprint(package["member_jwk"]) == KEYS["members"]["asker"]["kid"]
    shown = CliRunner().invoke(app, ["verify-evidence", str(FOLDER / "14-evidence.json"), "--json"])
    assert json.loads(shown.stdout)["holds"] is True


def test_the_project_still_makes_these_files() -> None:
    checked = CliRunner().invoke(app, ["vectors", "export", "--folder", str(FOLDER), "--check"])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("spoil", ["change", "remove", "add"])
def test_a_drift_is_noticed(tmp_path: Path, spoil: str) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "vectors")
    file = folder / "07-token.json"
    match spoil:
        case "change":
            file.write_text(file.read_text().replace('"key_version": 1', '"key_version": 2', 1))
        case "remove":
            file.unlink()
        case "add":
            (folder / "99-more.json").write_text("{}")
    checked = CliRunner().invoke(app, ["vectors", "export", "--folder", str(folder), "--check"])
    assert checked.exit_code == 1
    assert ("99-more" if spoil == "add" else "07-token") in checked.stdout.replace("\n", "")
