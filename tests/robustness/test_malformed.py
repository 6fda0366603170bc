"""Ten thousand malformed requests over bare sockets: no 5xx, nothing hangs, and the process does not grow.

Each request comes from its number and the seed alone, so a failure is repeated by its number. A few hundred run with
every test run; `make robustness` sends all of them.
"""

import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest
from tests.fixtures.processes import Serving, serving
from tests.fixtures.service import RunningService

from creditshare.client.core import Identity
from creditshare.wire.requests import sign_request

SEED: Final = 20_260_504
FEW: Final = 400
ALL: Final = 10_000
PATIENCE_S: Final = 20.0
GROWTH_MB: Final = 50
SETTINGS: Final = {
    "member_requests_per_s": "100000",
    "member_burst_requests": "100000",
    "stranger_failures_per_minute": "100000",
    "header_time_limit_s": "0.3",
    "body_time_limit_s": "0.3",
}
PATHS: Final = (
    "/v1/me",
    "/v1/queries",
    "/v1/records",
    "/v1/consents",
    "/v1/tokens/evaluate",
    "/v1/members",
    "/log/v1/checkpoint",
    "/audit/v1/proof/inclusion",
    "/.well-known/creditshare",
    "/v1/members/mem_00000000-0000-0000-0000-000000000000/keys",
)
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
ODD: Final = (
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\r",
    b"\n",
    b"%",
    b"%00",
    b"%2e%2e",
    b"//",
    b" ",
    b"\t",
    b"\x7f",
    "㍿".encode(),
)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who signs, for which service."""

    issuer: str
    lender: Identity

    def token(self, method: str, path: str, body: bytes, key: str | None, number: int) -> str:
        """Return a good token for these bytes, so that what is wrong lies behind the gate."""
        return sign_request(
            self.lender.key,
            issuer=self.issuer,
            member_id=self.lender.member_id,
            sub="test",
            method=method,
            path=path.partition("?")[0],
            query=path.partition("?")[2].encode(),
            body=body,
            iat=int(time.time()),
            jti=f"malformed-{number:012d}",
            idempotency_key=key,
        )


Maker = Callable[[random.Random, Sender, int], bytes]


def message(line: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Put a request together, whatever its parts are."""
    return line + b"\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n" + body


def spoiled(chance: random.Random, data: bytes) -> bytes:
    """Change a few bytes: one replaced, one inserted, a stretch removed or repeated."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.randint(1, 20))
        data = chance.choice(
            (
                data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :],
                data[:at] + chance.choice(ODD) + data[at:],
                data[:at] + data[end:],
                data[:end] + data[at:end] * chance.randint(1, 50) + data[end:],
            )
        )
    return data


def request_line(chance: random.Random, sender: Sender, number: int) -> bytes:
    """A request line that is none, or one with an odd method, address or version."""
    del sender, number
    method = chance.choice((*METHODS, "get", "G E T", "", "X" * 300, "CONNECT", "TRACE", "PRI")).encode()
    path = spoiled(chance, chance.choice(PATHS).encode()) * chance.choice((1, 1, 1, 40))
    version = chance.choice((b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"HTTP", b"", b"ICY"))
    return message(method + b" " + path + b" " + version, [(b"Host", b"x")], b"")


def headers(chance: random.Random, sender: Sender, number: int) -> bytes:
    """Headers without names, with control characters, twice, contradicting each other, or very many."""
    del sender, number
    path = chance.choice(PATHS).encode()
    known = (
        b"Host", b"Authorization", b"Content-Length", b"Transfer-Encoding", b"Content-Type", b"Content-Encoding",
        b"Idempotency-Key", b"If-Match", b"X-Request-Id", b"Accept-Language", b"Expect", b"Upgrade", b"Connection",
    )  # fmt: skip
    values = (
        b"", b"0", b"-1", b"1e3", b"99999999999999999999", b"chunked", b"chunked, chunked", b"gzip", b"zh", b"h2c",
        b"websocket", b"100-continue", b"Bearer ", b"Bearer a.b.c", b"application/json", b"x" * 2_000,
    )  # fmt: skip
    listed = []
    for _ in range(chance.choice((1, 3, 8, 200))):
        name = chance.choice(known) if chance.random() < 0.7 else spoiled(chance, chance.choice(known))
        value = chance.choice(values) if chance.random() < 0.6 else spoiled(chance, chance.choice(values))
        listed.append((name, value))
    return message(chance.choice((b"GET ", b"POST ")) + path + b" HTTP/1.1", listed, b"{}")


def chunks(chance: random.Random, sender: Sender, number: int) -> bytes:
    """A chunked body with sizes that lie, extensions, trailers, or no end."""
    del sender, number
    sizes = (b"0", b"5", b"5;x=y", b"-5", b"g", b"ffffffffffffffffff", b" 5", b"5 ", b"0x5", b"", b"00000000000000005")
    parts = b"".join(
        chance.choice(sizes) + chance.choice((b"\r\n", b"\n", b"")) + b"hello" + b"\r\n"
        for _ in range(chance.randint(1, 6))
    )
    end = chance.choice((b"0\r\n\r\n", b"0\r\nX-Trailer: 1\r\n\r\n", b"", b"0\r\n", b"0\r\n\0\r\n\r\n"))
    line = b"POST " + chance.choice(PATHS).encode() + b" HTTP/1.1"
    return message(line, [(b"Host", b"x"), (b"Transfer-Encoding", b"chunked")], parts + end)


def tokens(chance: random.Random, sender: Sender, number: int) -> bytes:
    """A good token that is then spoiled, repeated, cut or sent under another scheme."""
    path = "/v1/me"
    good = sender.token("GET", path, b"", None, number).encode()
    bad = chance.choice((spoiled(chance, good), good[: chance.randrange(len(good))], good + b"." + good, good * 8))
    scheme = chance.choice((b"Bearer ", b"bearer ", b"DPoP ", b"", b"Bearer\t", b"Bearer  "))
    listed = [(b"Host", b"x"), (b"Authorization", scheme + bad)] * chance.choice((1, 1, 2))
    return message(b"GET " + path.encode() + b" HTTP/1.1", listed, b"")


def bodies(chance: random.Random, sender: Sender, number: int) -> bytes:
    """A well-signed body that is no JSON, or JSON of a shape, depth, size or spelling that nobody asked for."""
    path = chance.choice(PATHS[1:6])
    value = _value(chance, depth=chance.choice((1, 3, 6)))
    data = json.dumps(value).encode()
    body = chance.choice(
        (
            data,
            spoiled(chance, data),
            b"[" * chance.choice((15, 17, 5_000)),
            b'{"a":' * 20 + b"1" + b"}" * 20,
            b'{"subject": {"element": "' + b"A" * chance.choice((10, 44, 9_000)) + b'"}}',
            b"\xef\xbb\xbf{}",
            b'{"a":1,"a":2}',
            b'"\\ud800"',
            b"1" * chance.choice((1, 400, 6_000)),
            b"-0.0e999999",
            b"NaN",
            chance.randbytes(chance.randint(1, 300)),
        )
    )
    return _signed(chance, sender, "POST", path, body, number)


def queries(chance: random.Random, sender: Sender, number: int) -> bytes:
    """A well-signed address with odd parameters and ids."""
    ids = ("rec_", "qry_x", "mem_00000000-0000-7000-8000-000000000000", "0", "a" * 200, "rec_..", "~", "*")
    path = chance.choice(("/v1/records/", "/v1/queries/", "/v1/consents/", "/v1/members/")) + chance.choice(ids)
    query = chance.choice(
        ("", "?", "?limit=-1", "?limit=a&limit=2", "?cursor=%00", "?since=" + "9" * 40, "?&&=", "?a[]=1")
    )
    method = chance.choice(METHODS)
    return _signed(chance, sender, method, path + query, b"", number)


def noise(chance: random.Random, sender: Sender, number: int) -> bytes:
    """A good request spoiled anywhere, or no request at all."""
    if chance.random() < 0.3:
        return chance.randbytes(chance.randint(1, 2_000))
    return spoiled(chance, _signed(chance, sender, "POST", "/v1/queries", b'{"purpose":"pre_loan"}', number))


MAKERS: Final[tuple[Maker, ...]] = (request_line, headers, chunks, tokens, bodies, queries, noise)


def _value(chance: random.Random, *, depth: int) -> object:
    plain = (None, True, 0, -1, 2**53, 1.5, "", "x" * 300, "\0", "'; DROP TABLE member", "2026-02-31", "P9999999Y")
    if depth == 0 or chance.random() < 0.2:
        return chance.choice(plain)
    if chance.random() < 0.3:
        return [_value(chance, depth=depth - 1) for _ in range(chance.randint(0, 4))]
    names = (
        "subject",
        "element",
        "suite",
        "key_version",
        "consent_id",
        "purpose",
        "scopes",
        "blinded",
        "region",
        "jwk",
        "",
    )
    return {chance.choice(names): _value(chance, depth=depth - 1) for _ in range(chance.randint(0, 6))}


def _signed(chance: random.Random, sender: Sender, method: str, path: str, body: bytes, number: int) -> bytes:
    key = f"malformed-{number}" if chance.random() < 0.9 else None
    token = sender.token(method, path, body, key, number)
    listed = [
        (b"Host", b"x"),
        (b"Authorization", b"Bearer " + token.encode()),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", str(len(body)).encode()),
    ]
    if key is not None:
        listed.append((b"Idempotency-Key", key.encode()))
    return message(f"{method} {path} HTTP/1.1".encode(), listed, body)


@pytest.fixture(scope="module")
def target(shared_service: RunningService) -> Iterator[tuple[Serving, Sender]]:
    lender = shared_service.admit("Lender", region="US").identity
    assert lender is not None
    with serving(shared_service, **SETTINGS) as started:
        yield started, Sender(shared_service.url, lender)


def send(url: str, data: bytes) -> bytes:
    """Send bytes and return the first of the answer; empty where the service hung up. Raises if it does neither."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=PATIENCE_S) as connection:
        try:
            connection.sendall(data)
            return connection.recv(65_536)
        except (ConnectionResetError, BrokenPipeError):
            return b""


def resident_mb(pid: int) -> float:
    """Return the memory that a process holds (RSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def bombard(target: tuple[Serving, Sender], numbers: range) -> dict[str, int]:
    """Send these requests and return how often each status came; any 5xx fails and names its number."""
    started, sender = target

    def one(number: int) -> tuple[int, str]:
        chance = random.Random(f"{SEED}-{number}")  # noqa: S311  a request repeatable by its number
        try:
            answer = send(started.url, MAKERS[number % len(MAKERS)](chance, sender, number))
        except TimeoutError:
            return number, "hangs"
        return number, answer.split(b" ", 2)[1].decode() if answer.startswith(b"HTTP/") else "none"

    counts: dict[str, int] = {}
    with ThreadPoolExecutor(16) as pool:
        for number, status in pool.map(one, numbers):
            assert not status.startswith("5"), f"request {number} was answered {status}"
            assert status != "hangs", f"request {number} was neither answered nor cut"
            counts[status] = counts.get(status, 0) + 1
    assert httpx.get(started.url + "/healthz").status_code == 200
    return counts


def test_malformed_requests_are_refused_and_nothing_breaks_or_hangs(target: tuple[Serving, Sender]) -> None:
    counts = bombard(target, range(FEW))
    assert counts.get("400", 0) > FEW / 20
    assert counts.get("401", 0) > FEW / 20
    assert counts.get("422", 0) > 0
    assert counts.get("none", 0) < FEW / 4


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a /proc to read the memory of a process")
def test_ten_thousand_malformed_requests_leave_the_process_as_large_as_before(target: tuple[Serving, Sender]) -> None:
    pid = target[0].process.pid
    bombard(target, range(FEW, 2 * FEW))  # caches and pools are full by then
    before = resident_mb(pid)
    bombard(target, range(2 * FEW, ALL))
    assert resident_mb(pid) - before < GROWTH_MB
