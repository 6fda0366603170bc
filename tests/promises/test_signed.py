"""*Signed*: what does not carry the one right signature does nothing, and every answer to a member is signed.

The gate's own tests (``wire/test_requests.py``) are exhaustive and pure. These send the same attacks over real sockets,
where a server, a framework and a database could each undo what the gate decided.
"""

import base64
import contextlib
import gzip
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.fixtures.commands import command_line
from tests.fixtures.postgres import open_folder
from tests.fixtures.service import RunningService, wait_for

from creditshare.cli.demo.stage import wait_until_ready
from creditshare.client.bank import Client
from creditshare.client.core import Identity, build_request, parse_jwks
from creditshare.crypto.digests import content_digest, sha256_b64url
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.jws import SigningKey
from creditshare.wire.answers import sign_answer, verify_answer
from creditshare.wire.registration import make_proof

ABSENT: Final = object()
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PATH: Final = "/v1/tokens/evaluate"
ELEMENT: Final = "A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW"
BODY: Final = json.dumps({"suite": "P256-SHA256", "key_version": 1, "blinded": [ELEMENT]}).encode()
COPIES: Final = 64
REVOCATION_LIMIT_S: Final = 2.0


@dataclass
class Sent:
    """A request as it goes out, byte for byte; ``token`` is what an answer must name."""

    token: str
    method: str = "POST"
    path: str = PATH
    query: str = ""
    body: bytes | Iterator[bytes] = BODY
    headers: list[tuple[str, str]] = field(default_factory=list)
    authorization: list[str] | None = None


@dataclass
class World:
    """Two lenders of one service, and the means to sign anything in the first one's name."""

    service: RunningService
    me: Identity
    other: Identity
    http: httpx.Client
    jwks: dict[str, Any]

    @property
    def issuer(self) -> str:
        return self.service.url

    def claims(self, **changes: object) -> dict[str, object]:
        now = int(time.time())
        members: dict[str, object] = {
            "iss": self.me.member_id,
            "sub": "marked-officer-of-test",
            "aud": self.issuer,
            "iat": now,
            "exp": now + 60,
            "jti": f"marked-{uuid4().hex}",
            "htm": "POST",
            "htu": self.issuer + PATH,
            "cdg": content_digest(BODY),
            "ver": "1",
            **changes,
        }
        return {name: value for name, value in members.items() if value is not ABSENT}

    def token(self, head: dict[str, object] | None = None, *, key: SigningKey | None = None, **changes: Any) -> str:
        """Return a token that says this, truly signed by ``key``."""
        signer = key or self.me.key
        members = {"alg": "ES256", "typ": "cs-req+jwt", "kid": self.me.key.kid, **(head or {})}
        first = {name: value for name, value in members.items() if value is not ABSENT}
        text = ".".join(b64url_encode(json.dumps(part).encode()) for part in (first, self.claims(**changes)))
        return f"{text}.{b64url_encode(signer._key.sign(text.encode()))}"

    def send(self, sent: Sent) -> httpx.Response:
        shown = [f"Bearer {sent.token}"] if sent.authorization is None else sent.authorization
        headers = [("Content-Type", "application/json"), *(("Authorization", one) for one in shown), *sent.headers]
        target = self.issuer + sent.path + (f"?{sent.query}" if sent.query else "")
        body = None if sent.body == b"" else sent.body
        return self.http.request(sent.method, target, headers=headers, content=body)

    def signature_of(self, sent: Sent, answer: httpx.Response) -> None:
        """Check that the service signed exactly this answer to exactly this request."""
        verify_answer(
            answer.headers["cs-signature"],
            keys=parse_jwks(self.jwks),
            issuer=self.issuer,
            audience=self.me.member_id,
            rqh=sha256_b64url(sent.token.encode()),
            status=answer.status_code,
            body=answer.content,
        )


@pytest.fixture(scope="module")
def world(shared_service: RunningService) -> Iterator[World]:
    me, other = (shared_service.admit(name, region="US").identity for name in ("Me", "Other"))
    assert me is not None
    assert other is not None
    with httpx.Client(timeout=30) as http:
        jwks = http.get(shared_service.url + "/.well-known/jwks.json").json()
        yield World(shared_service, me, other, http, jwks)


def hs256(world: World, secret: bytes) -> str:
    head = {"alg": "HS256", "typ": "cs-req+jwt", "kid": world.me.key.kid}
    text = ".".join(b64url_encode(json.dumps(part).encode()) for part in (head, world.claims()))
    return f"{text}.{b64url_encode(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def pem(world: World) -> bytes:
    numbers = {name: int.from_bytes(b64url_decode(world.me.key.public_jwk[name]), "big") for name in ("x", "y")}
    public = ec.EllipticCurvePublicNumbers(numbers["x"], numbers["y"], ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def answer_token(world: World) -> str:
    """Return an answer's token, signed by the attacker's own good key."""
    return sign_answer(
        world.me.key,
        issuer=world.me.member_id,
        audience=world.issuer,
        iat=int(time.time()),
        jti=uuid4().hex,
        rqh=sha256_b64url(b""),
        status=200,
        body=BODY,
        log=None,
    )


def proof_token(world: World) -> str:
    return make_proof(
        world.me.key, member_id=world.me.member_id, issuer=world.issuer, iat=int(time.time()), jti=uuid4().hex
    )


def now(offset: int) -> int:
    return int(time.time()) + offset


def twin(token: str) -> str:
    """Return the other signature that ECDSA gives away with every one: (r, n - s)."""
    head, payload, signature = token.split(".")
    raw = b64url_decode(signature)
    other = ORDER - int.from_bytes(raw[32:], "big")
    return f"{head}.{payload}.{b64url_encode(raw[:32] + other.to_bytes(32, 'big'))}"


def other_last_bit(token: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


Build = Callable[[World], Sent]
EVIL: Final = "http://127.0.0.1:9/jwks.json"


def case(name: str, build: Build, code: str, status: int = 401) -> Any:
    return pytest.param(build, status, code, id=name)


def head_case(name: str, code: str, **members: object) -> Any:
    return case(name, lambda w: Sent(w.token(dict(members))), code)


def claim_case(name: str, code: str, **claims: Any) -> Any:
    return case(name, lambda w: Sent(w.token(**claims)), code)


UNAUTHENTICATED: Final = [
    case("no-authorization", lambda w: Sent(w.token(), authorization=[]), "token_missing"),
    case("basic", lambda w: Sent(w.token(), authorization=["Basic dXNlcjpwYXNz"]), "token_missing"),
    case(
        "two-authorizations",
        lambda w: Sent(t := w.token(), authorization=[f"Bearer {t}", f"Bearer {t}"]),
        "token_malformed",
    ),
    case(
        "bearer-and-basic",
        lambda w: Sent(t := w.token(), authorization=[f"Bearer {t}", "Basic eA=="]),
        "token_malformed",
    ),
    case("one-segment", lambda _: Sent("x"), "token_malformed"),
    case("jwe", lambda w: Sent(w.token() + ".YQ.YQ"), "token_malformed"),
    case("no-signature", lambda w: Sent(w.token().rpartition(".")[0] + "."), "signature_invalid"),
    case("trailing-bits", lambda w: Sent(other_last_bit(w.token())), "token_malformed"),
    case("padding", lambda w: Sent(w.token() + "=="), "token_malformed"),
    case("too-long", lambda _: Sent("a" * 9_000), "token_malformed"),
    *(head_case(f"alg-{alg}", "alg_not_allowed", alg=alg) for alg in ("none", "None", "nOnE", "RS256", "ES384")),
    case("hs256-pem", lambda w: Sent(hs256(w, pem(w))), "alg_not_allowed"),
    case("hs256-jwk", lambda w: Sent(hs256(w, json.dumps(dict(w.me.key.public_jwk)).encode())), "alg_not_allowed"),
    case("hs256-x", lambda w: Sent(hs256(w, b64url_decode(w.me.key.public_jwk["x"]))), "alg_not_allowed"),
    case("other-members-kid", lambda w: Sent(w.token({"kid": w.other.key.kid})), "signature_invalid"),
    case(
        "other-members-key-my-name",
        lambda w: Sent(w.token({"kid": w.other.key.kid}, key=w.other.key)),
        "signature_invalid",
    ),
    case("other-members-name", lambda w: Sent(w.token(iss=w.other.member_id)), "signature_invalid"),
    case("unknown-kid", lambda w: Sent(w.token({"kid": sha256_b64url(b"nobody")})), "signature_invalid"),
    head_case("kid-path", "signature_invalid", kid="../../../../dev/null"),
    head_case("kid-sql", "signature_invalid", kid="' OR 1=1 --"),
    head_case("kid-null", "signature_invalid", kid=None),
    head_case("kid-list", "signature_invalid", kid=["a"]),
    head_case("jku", "header_not_allowed", jku=EVIL),
    case("jwk", lambda w: Sent(w.token({"jwk": dict(w.me.key.public_jwk)})), "header_not_allowed"),
    head_case("x5u", "header_not_allowed", x5u=EVIL),
    head_case("x5c", "header_not_allowed", x5c=["YQ=="]),
    head_case("crit", "header_not_allowed", crit=["urn:example:unknown"]),
    head_case("crit-empty", "header_not_allowed", crit=[]),
    head_case("b64-false", "header_not_allowed", b64=False, crit=["b64"]),
    head_case("b64-false-without-crit", "header_not_allowed", b64=False),
    head_case("zip", "header_not_allowed", zip="DEF"),
    head_case("cty", "header_not_allowed", cty="JWT"),
    head_case("typ-missing", "typ_mismatch", typ=ABSENT),
    head_case("typ-jwt", "typ_mismatch", typ="JWT"),
    case("an-answer-as-request", lambda w: Sent(answer_token(w)), "typ_mismatch"),
    case("a-proof-as-request", lambda w: Sent(proof_token(w)), "header_not_allowed"),
    head_case("typ-of-a-proof", "typ_mismatch", typ="cs-keyreg+jwt"),
    *(
        claim_case(f"no-{name}", "claim_missing", **{name: ABSENT})
        for name in ("iss", "sub", "aud", "iat", "exp", "jti", "htm", "htu", "cdg", "ver")
    ),
    claim_case("aud-other", "aud_mismatch", aud="https://other.example"),
    case("aud-list", lambda w: Sent(w.token(aud=[w.issuer])), "aud_mismatch"),
    case("aud-slash", lambda w: Sent(w.token(aud=w.issuer + "/")), "aud_mismatch"),
    claim_case("htm-other", "method_mismatch", htm="GET"),
    claim_case("htm-lower-case", "method_mismatch", htm="post"),
    case("htu-other", lambda w: Sent(w.token(htu=w.issuer + "/v1/records")), "uri_mismatch"),
    case("htu-slash", lambda w: Sent(w.token(htu=w.issuer + PATH + "/")), "uri_mismatch"),
    case(
        "path-with-percent",
        lambda w: Sent(w.token(htu=w.issuer + "/v1/tokens/%65valuate"), path="/v1/tokens/%65valuate"),
        "uri_mismatch",
    ),
    case(
        "percent-path-plain-htu",
        lambda w: Sent(w.token(), path="/v1/tokens/%65valuate"),
        "uri_mismatch",
    ),
    case("query-not-signed", lambda w: Sent(w.token(), query="a=1"), "claim_missing"),
    case("query-other", lambda w: Sent(w.token(htq=sha256_b64url(b"a=2")), query="a=1"), "query_mismatch"),
    case("htq-without-query", lambda w: Sent(w.token(htq=sha256_b64url(b""))), "query_mismatch"),
    case("body-other", lambda w: Sent(w.token(), body=BODY + b" "), "digest_mismatch"),
    case("body-empty", lambda w: Sent(w.token(), body=b""), "digest_mismatch"),
    case("empty-body-with-its-digest", lambda w: Sent(w.token(cdg=content_digest(b"")), body=b""), "digest_mismatch"),
    claim_case("cdg-with-more", "digest_mismatch", cdg=content_digest(BODY) + ", md5=:YQ==:"),
    claim_case("cdg-sha-512", "digest_mismatch", cdg="sha-512=:YQ==:"),
    case("idk-not-signed", lambda w: Sent(w.token(), headers=[("Idempotency-Key", "k-1")]), "header_mismatch"),
    case("idk-other", lambda w: Sent(w.token(idk="k-2"), headers=[("Idempotency-Key", "k-1")]), "header_mismatch"),
    claim_case("idk-not-sent", "header_mismatch", idk="k-1"),
    case("ifm-not-signed", lambda w: Sent(w.token(), headers=[("If-Match", '"1"')]), "header_mismatch"),
    case("expired", lambda w: Sent(w.token(iat=now(-120), exp=now(-60))), "token_expired"),
    case("ends-before-it-begins", lambda w: Sent(w.token(exp=now(-5))), "token_expired"),
    case("future", lambda w: Sent(w.token(iat=now(60), exp=now(120))), "token_not_yet_valid"),
    case("nbf-future", lambda w: Sent(w.token(nbf=now(60))), "token_not_yet_valid"),
    case("too-long-life", lambda w: Sent(w.token(exp=now(200))), "lifetime_too_long"),
    *(
        case(f"exp-{name}", lambda w, value=value: Sent(w.token(exp=value)), "token_malformed")  # type: ignore[misc]
        for name, value in (("text", "9999999999"), ("float", 1e10), ("bool", True), ("nan", float("nan")))
    ),
    claim_case("short-jti", "token_malformed", jti="short"),
    claim_case("version", "token_malformed", ver="2"),
    case(
        "gzip",
        lambda w: Sent(
            w.token(cdg=content_digest(z := gzip.compress(BODY))), body=z, headers=[("Content-Encoding", "gzip")]
        ),
        "unsupported_media_type",
        415,
    ),
    case(
        "forwarded-host-in-the-claims",
        lambda w: Sent(
            w.token(aud="https://evil.example", htu="https://evil.example" + PATH),
            headers=[
                ("X-Forwarded-Host", "evil.example"),
                ("X-Forwarded-Proto", "https"),
                ("Forwarded", "host=evil.example;proto=https"),
                ("Host", "evil.example"),
            ],
        ),
        "aud_mismatch",
    ),
]


def marks(sent: Sent) -> list[str]:
    """Return what of a request an answer could repeat: its token's parts and whatever was said in them."""
    parts = [part for part in sent.token.split(".") if len(part) > 16]
    with contextlib.suppress(ValueError, IndexError):
        claims = json.loads(base64.urlsafe_b64decode(sent.token.split(".")[1] + "=="))
        parts += [str(claims[name]) for name in ("sub", "jti", "cdg") if len(str(claims.get(name, ""))) > 8]
    return [*parts, "evil.example", EVIL, "OR 1=1", "dev/null", ELEMENT]


def counts(world: World) -> dict[str, int]:
    tables = ("replay_guard", "audit_event", "idempotency", "evaluation_budget", "leaf", "pending")
    found = {}
    with world.service.superuser() as connection:
        for table in tables:
            row = connection.execute(
                "SELECT table_schema FROM information_schema.tables WHERE table_name = %s", [table]
            ).fetchone()
            if row:
                query = f'SELECT count(*) FROM "{row[0]}"."{table}"'  # noqa: S608  names of the catalogue
                counted = connection.execute(query.encode()).fetchone()
                found[table] = int(counted[0]) if counted else 0
    return found


@pytest.mark.parametrize(("build", "status", "code"), UNAUTHENTICATED)
def test_what_is_not_authenticated_is_refused_unsigned_and_repeats_nothing(
    world: World, build: Build, status: int, code: str
) -> None:
    sent = build(world)
    answer = world.send(sent)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "cs-signature" not in answer.headers
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("www-authenticate" in answer.headers) == (status == 401)
    shown = answer.text + str(answer.headers)
    assert not [mark for mark in marks(sent) if mark in shown]


def test_refusals_before_authentication_leave_no_row(world: World) -> None:
    time.sleep(0.3)
    before = counts(world)
    assert before
    for parameters in UNAUTHENTICATED:
        world.send(parameters.values[0](world))
    time.sleep(0.3)
    assert counts(world) == before


def chunks() -> Iterator[bytes]:
    for start in range(0, len(BODY), 16):
        yield BODY[start : start + 16]


def me_token(world: World, **changes: Any) -> str:
    return world.token(None, htm="GET", htu=world.issuer + "/v1/me", cdg=ABSENT, **changes)


ACCEPTED: Final = [
    pytest.param(lambda w: Sent(w.token()), id="plain"),
    pytest.param(lambda w: Sent(w.token(), body=chunks()), id="chunked"),
    pytest.param(lambda w: Sent(twin(w.token())), id="malleated-but-new"),
    pytest.param(lambda w: Sent(w.token(trace="x")), id="unknown-claim"),
    pytest.param(
        lambda w: Sent(w.token(), headers=[("X-Forwarded-Host", "evil.example"), ("Host", "evil.example")]),
        id="forwarded-host-has-no-effect",
    ),
    pytest.param(
        lambda w: Sent(w.token(), headers=[("X-HTTP-Method-Override", "DELETE")]), id="method-override-is-ignored"
    ),
    pytest.param(lambda w: Sent(w.token(iat=now(-25), exp=now(35), nbf=now(25))), id="within-the-skew"),
    pytest.param(lambda w: Sent(w.token(exp=now(0) + 110)), id="long-life"),
    pytest.param(lambda w: Sent(me_token(w), method="GET", path="/v1/me", body=b""), id="get"),
]


@pytest.mark.parametrize("build", ACCEPTED)
def test_what_is_authenticated_is_answered_with_a_signature(world: World, build: Build) -> None:
    sent = build(world)
    answer = world.send(sent)
    assert answer.status_code == 200, answer.text
    world.signature_of(sent, answer)
    assert answer.headers["cache-control"] == "no-store, no-transform"
    assert "evil.example" not in answer.text + str(answer.headers)


def with_bom(world: World) -> Sent:
    body = b"\xef\xbb\xbf" + BODY
    return Sent(world.token(cdg=content_digest(body)), body=body)


def on(path: str, body: bytes) -> Build:
    return lambda w: Sent(w.token(htu=w.issuer + path, cdg=content_digest(body)), path=path, body=body)


REFUSED_SIGNED: Final = [
    case("bom", with_bom, "body_malformed", 400),
    case("not-json", on(PATH, b"{"), "body_malformed", 400),
    case("no-idempotency-key", on("/v1/records", b"{}"), "idempotency_key_missing", 400),
    case("wrong-body", on(PATH, b"{}"), "validation_failed", 422),
    case(
        "wrong-role",
        lambda w: Sent(
            w.token(htm="GET", htu=w.issuer + "/v1/members", cdg=ABSENT), method="GET", path="/v1/members", body=b""
        ),
        "role_forbidden",
        403,
    ),
]


@pytest.mark.parametrize(("build", "status", "code"), REFUSED_SIGNED)
def test_authenticated_refusals_are_signed(world: World, build: Build, status: int, code: str) -> None:
    sent = build(world)
    answer = world.send(sent)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    world.signature_of(sent, answer)
    assert not [mark for mark in marks(sent) if mark in answer.text]


@pytest.mark.parametrize("change", [lambda t: t, twin], ids=["copy", "malleated-twin"])
def test_a_used_request_is_refused_signed(world: World, change: Callable[[str], str]) -> None:
    first = Sent(world.token())
    assert world.send(first).status_code == 200
    again = Sent(change(first.token))
    answer = world.send(again)
    assert (answer.status_code, answer.json()["code"]) == (401, "replay_detected")
    world.signature_of(again, answer)


def test_a_refused_request_is_used_up_too(world: World) -> None:
    sent = with_bom(world)
    assert world.send(sent).json()["code"] == "body_malformed"
    assert world.send(sent).json()["code"] == "replay_detected"


@pytest.mark.parametrize("path", ["/v1/tokens/evaluate/", "/v1//tokens/evaluate", "/V1/tokens/evaluate"])
def test_another_spelling_of_the_path_is_no_route_and_no_redirect(world: World, path: str) -> None:
    sent = Sent(world.token(htu=world.issuer + path), path=path)
    answer = world.send(sent)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "location" not in answer.headers


def test_a_head_request_is_not_answered_by_the_get(world: World) -> None:
    token = me_token(world)
    sent = Sent(token, method="HEAD", path="/v1/me", body=b"")
    assert world.send(sent).status_code in {401, 405}


# Real processes


@dataclass
class Deployment:
    """A service of three workers, and the lender that the command line admitted."""

    url: str
    folder: Path
    lender: Identity


def creditshare(*arguments: str) -> dict[str, Any]:
    done = command_line().run(*arguments, "--json", environment=environment())
    done.check_returncode()
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CREDITSHARE_")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with open_folder() as folder, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        data, url, log = folder / "data", f"http://127.0.0.1:{port}", folder / "service.log"
        data.mkdir()
        data.chmod(0o711)
        command = [sys.executable, "-m", "creditshare", "serve", "--data", str(data), "--port", str(port)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--workers", "3", "--with-worker"], stdout=output, stderr=output, env=environment()
            )
            try:
                wait_until_ready(url, process, log)
                first, second = (
                    one["key_file"] for one in creditshare("operator", "bootstrap", "--data", str(data))["operators"]
                )
                asked = ["--name", "Bank", "--role", "lender", "--region", "US", "--url", url]
                member = creditshare("member", "add", "--as", first, *asked)["member_id"]
                code = creditshare("member", "approve", member, "--as", second, "--url", url)["enrolment_code"]
                file = folder / "bank.jwk.json"
                creditshare("keys", "new", "--out", str(file))
                creditshare("keys", "enrol", "--key", str(file), "--code", code, "--member", member, "--url", url)
                yield Deployment(url, folder, Identity.from_file(file))
            finally:
                process.terminate()
                process.wait(timeout=40)


@contextlib.contextmanager
def fresh_connections() -> Iterator[httpx.Client]:
    """Lend a client that opens a connection per request, so that every worker process gets its share."""
    with httpx.Client(limits=httpx.Limits(max_connections=COPIES, max_keepalive_connections=0), timeout=30) as http:
        yield http


@pytest.mark.slow
def test_of_64_parallel_copies_over_three_workers_exactly_one_counts(deployment: Deployment) -> None:
    body = json.loads(BODY)
    request = build_request(
        deployment.lender, issuer=deployment.url, method="POST", path=PATH, data=body, now=int(time.time())
    )
    barrier = threading.Barrier(COPIES)

    def one(_: int) -> tuple[int, str]:
        barrier.wait()
        while True:
            got = http.post(deployment.url + PATH, headers=dict(request.headers), content=request.body)
            # A busy service decides nothing and asks to be asked again; the copy that counted must not be among those.
            if got.status_code != 503:
                return got.status_code, str(got.json().get("code", ""))
            assert got.json()["code"] == "unavailable"
            time.sleep(int(got.headers["Retry-After"]))

    with fresh_connections() as http, ThreadPoolExecutor(COPIES) as pool:
        outcomes = list(pool.map(one, range(COPIES)))
    assert sorted(set(outcomes)) == [(200, ""), (401, "replay_detected")]
    assert outcomes.count((200, "")) == 1


def second_key(deployment: Deployment, client: Client) -> Identity:
    key, member_id = SigningKey.generate(), deployment.lender.member_id
    proof = make_proof(key, member_id=member_id, issuer=deployment.url, iat=int(time.time()), jti=uuid4().hex)
    client.call("POST", f"/v1/members/{member_id}/keys", data={"jwk": dict(key.public_jwk), "proof": proof})
    return Identity(member_id, key, "thief")


@pytest.mark.slow
def test_a_key_revoked_under_load_signs_nothing_two_seconds_later(deployment: Deployment) -> None:
    successes: list[float] = []
    refusals: list[tuple[float, str]] = []
    stop = threading.Event()
    with Client(deployment.url, deployment.lender) as client:
        # Three live keys, because no key revokes the last other one.
        stolen, _ = second_key(deployment, client), second_key(deployment, client)

        def hammer(_: int) -> None:
            while not stop.is_set():
                request = build_request(
                    stolen, issuer=deployment.url, method="GET", path="/v1/me", now=int(time.time())
                )
                with fresh_connections() as http:
                    got = http.get(deployment.url + "/v1/me", headers=dict(request.headers))
                if got.status_code == 200:
                    successes.append(time.monotonic())
                else:
                    refusals.append((time.monotonic(), str(got.json()["code"])))

        with ThreadPoolExecutor(8) as pool:
            running = [pool.submit(hammer, number) for number in range(8)]
            try:
                wait_for(lambda: len(successes) > 20, seconds=30)
                path = f"/v1/members/{stolen.member_id}/keys/{stolen.key.kid}/revocation"
                client.call("POST", path, data={"reason": "rotation"})
                revoked = time.monotonic()
                time.sleep(4)
            finally:
                stop.set()
            for one in running:
                one.result(30)
    delay = max(successes) - revoked
    assert delay <= REVOCATION_LIMIT_S
    late = {code for when, code in refusals if when > revoked + REVOCATION_LIMIT_S}
    assert late == {"key_revoked"}
