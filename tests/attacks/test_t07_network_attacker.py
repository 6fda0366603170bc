"""T7, a network attacker: a machine between bank and service that reads, changes, holds back and adds.

It must not get: another meaning into a request or an answer that is believed; a second request smuggled behind a first;
headers or log lines of its own making; the terminal of whoever runs the commands.

Elsewhere: ``promises/test_signed.py`` (each claim and header member changed), ``client/test_tampered_answers.py`` (each
part of an answer changed), ``client/test_trust.py`` (other keys), ``test_t08_replay.py``.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from tests.fixtures.attack import BORROWER, on_the_wire, statuses
from tests.fixtures.commands import command_line
from tests.fixtures.loopback import listening
from tests.fixtures.service import RunningService, record_body

from creditshare.cli.options import printable
from creditshare.client.bank import Client
from creditshare.client.core import SignedRequest

Change = Callable[[SignedRequest], SignedRequest]


@pytest.fixture(scope="module")
def lender(shared_service: RunningService) -> Client:
    return shared_service.admit("Lender", region="US")


def report(lender: Client) -> SignedRequest:
    (subject,) = lender.tokenise([BORROWER])
    return lender.sign("POST", "/v1/records", data=record_body(subject, "A-1"))


CHANGES: dict[str, tuple[Change, str]] = {
    "another body": (lambda r: replace(r, body=r.body.replace(b"98000.00", b"98000.01")), "digest_mismatch"),
    "a space in the body": (lambda r: replace(r, body=r.body + b" "), "digest_mismatch"),
    "no body": (lambda r: replace(r, body=b""), "digest_mismatch"),
    "another method": (lambda r: replace(r, method="PUT"), "method_not_allowed"),
    "another path": (lambda r: replace(r, path="/v1/consents"), "uri_mismatch"),
    "a query": (lambda r: replace(r, query="dry_run=true"), "claim_missing"),
    "another idempotency key": (
        lambda r: replace(r, headers={**r.headers, "Idempotency-Key": "mine"}),
        "header_mismatch",
    ),
    "no idempotency key": (
        lambda r: replace(r, headers={k: v for k, v in r.headers.items() if k != "Idempotency-Key"}),
        "header_mismatch",
    ),
    "a precondition": (lambda r: replace(r, headers={**r.headers, "If-Match": '"7"'}), "header_mismatch"),
    "a content encoding": (
        lambda r: replace(r, headers={**r.headers, "Content-Encoding": "gzip"}),
        "unsupported_media_type",
    ),
}


def test_whatever_is_changed_is_refused_and_uses_nothing_up(lender: Client) -> None:
    request = report(lender)
    for name, (change, code) in CHANGES.items():
        got = lender.transmit(change(request))
        assert got.status >= 400, name
        assert json.loads(got.body)["code"] == code, name
        assert "cs-signature" not in got.headers, name
    assert lender.send(request).status == 201


def wire(
    request: SignedRequest,
    *,
    start: str | None = None,
    extra: bytes = b"",
    body: bytes | None = None,
    keep: bool = False,
) -> bytes:
    """Spell a request as bytes, with whatever else; ``keep`` asks for the connection to stay open."""
    lines = [start or f"{request.method} {request.target} HTTP/1.1", "Host: evil.example"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    lines += [] if keep else ["Connection: close"]
    sent = request.body if body is None else body
    if request.body and b"ransfer-" not in extra:
        lines.append(f"Content-Length: {len(sent)}")
    return "\r\n".join(lines).encode() + b"\r\n" + extra + b"\r\n" + sent


def chunked(body: bytes, trailer: bytes = b"") -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n" + trailer + b"\r\n"


def me(lender: Client) -> SignedRequest:
    return lender.sign("GET", "/v1/me")


def answer_to(lender: Client, data: bytes) -> list[int]:
    return statuses(on_the_wire(lender.issuer, data))


def test_the_address_is_what_was_signed_whatever_the_request_line_says(lender: Client) -> None:
    assert answer_to(lender, wire(me(lender))) == [200]
    assert answer_to(lender, wire(me(lender), start="GET /v1/me HTTP/1.0")) == [200]
    accepted_or_refused = {
        "GET http://evil.example/v1/me HTTP/1.1": {200},  # RFC 9112 section 3.2.2: the host in it counts for nothing
        "GET //v1/me HTTP/1.1": {400, 401, 404},
        "GET /v1/me/ HTTP/1.1": {401, 404},
        "GET /v1/%6de HTTP/1.1": {401, 404},
        "GET /v1/../v1/me HTTP/1.1": {401, 404},
        "GET /v1/me?x HTTP/1.1": {401},
        "GET /v1/me#x HTTP/1.1": {200, 400, 401, 404},
        "GET v1/me HTTP/1.1": {400, 401, 404},
        "CONNECT evil.example:443 HTTP/1.1": {400, 404, 405},
        "HEAD /v1/me HTTP/1.1": {401, 405},
        "OPTIONS * HTTP/1.1": {400, 404, 405},
        "GET /v1/me HTTP/9.9": {400},
    }
    for start, allowed in accepted_or_refused.items():
        got = answer_to(lender, wire(me(lender), start=start))
        assert len(got) == 1, (start, got)
        assert got[0] in allowed, (start, got)


SMUGGLED = b"GET /v1/code-lists HTTP/1.1\r\nHost: evil.example\r\n\r\n"


@pytest.mark.parametrize(
    "extra",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity, chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"X-Ransfer-\r\n Transfer-Encoding: chunked\r\n",
    ],
    ids=["both", "both-turned", "identity", "space", "unknown", "folded"],
)
def test_no_second_request_hides_behind_a_first(lender: Client, extra: bytes) -> None:
    """Two machines that disagree about a body's end would take the rest for a request of its own."""
    request = report(lender)
    data = wire(request, extra=extra, body=b"0\r\n\r\n" + SMUGGLED, keep=True)
    got = statuses(on_the_wire(lender.issuer, data, seconds=1))
    assert len(got) <= 1, got
    assert not got or got[0] >= 400


@pytest.mark.parametrize("extra", [b"Content-Length: 1\r\n", b"Authorization: Bearer x\r\n", b"Idempotency-Key: x\r\n"])
def test_a_header_given_twice_never_counts_twice(lender: Client, extra: bytes) -> None:
    """A doubled idempotency key is harmless, because only the one that was signed is read."""
    got = answer_to(lender, wire(report(lender), extra=extra))
    expected = {409, 201} if extra.startswith(b"Idem") else {400, 401}
    assert len(got) == 1
    assert got[0] in expected


def test_what_comes_behind_the_body_is_no_header(lender: Client) -> None:
    request = lender.sign("POST", "/v1/consents", data={})
    trailer = f"Authorization: {request.headers['Authorization']}\r\nIdempotency-Key: x\r\n".encode()
    late = replace(request, headers={k: v for k, v in request.headers.items() if k != "Authorization"})
    extra = b"Transfer-Encoding: chunked\r\n"
    assert answer_to(lender, wire(late, extra=extra, body=chunked(request.body, trailer))) == [401]
    assert answer_to(lender, wire(request, extra=extra, body=chunked(request.body, trailer))) == [422]


@pytest.mark.parametrize(
    "given",
    ["x\ty", "a b", "<script>", "\u00e9", "x" * 65, '{"level":"error"}', "../../etc/passwd", "%0d%0aSet-Cookie"],
)
def test_a_request_id_is_harmless_or_replaced(lender: Client, given: str) -> None:
    raw = given.encode()
    for method, path in (("GET", "/v1/me"), ("POST", "/v1/members/x/keys"), ("GET", "/nowhere")):
        got = httpx.request(method, lender.issuer + path, headers=[(b"X-Request-Id", raw)])
        shown = got.headers["x-request-id"]
        assert shown.encode() != raw
        assert shown.replace("-", "").replace("_", "").isalnum()
        assert raw not in got.content


@contextmanager
def between(url: str, document: dict[str, object], status: int) -> Iterator[str]:
    """Run a machine that lets discovery through and answers everything else itself."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body, number = json.dumps(document, ensure_ascii=False).encode(), status
            if self.path.startswith("/.well-known/"):
                body, number = httpx.get(url + self.path).content, 200
            self.send_response(number)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815  the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with listening(Handler) as address:
        yield address


@pytest.mark.slow
def test_a_refusal_made_between_does_not_steer_the_terminal(shared_service: RunningService, tmp_path: Path) -> None:
    key = shared_service.write_key(0, tmp_path / "operator.jwk.json")
    evil = "\u001b]0;owned\u0007\u001b[2J\u009b31m\u202edecivres"
    document: dict[str, object] = {"code": "unavailable" + evil, "detail": evil, "retryable": False}
    with between(shared_service.url, document, 401) as url:
        for words in (["member", "list"], ["call", "GET", "/v1/me", "--explain"]):
            done = command_line().run(*words, "--as", str(key), "--url", url, environment=os.environ)
            assert done.returncode == 1, done.stderr
            assert not set("\u001b\u0007\u009b\u202e") & set(done.stderr), words
            if words[0] == "member":
                assert "decivres" in done.stderr, "the text itself is shown"


def test_only_line_feed_and_tab_steer_what_is_printed() -> None:
    assert printable("征信 é\tx\ny") == "征信 é\tx\ny"
    for character in "\u001b\r\b\u0007\u0000\u007f\u0085\u009b\u200b\u202e\u2066\u2028\ufeff\ue000":
        assert character not in printable(f"a{character}b")
