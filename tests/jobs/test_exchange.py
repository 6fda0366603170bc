"""One request and its limits: the time is for all of it, the body is bounded, whatever the other side sends."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.fixtures.loopback import listening, localhost_context

from creditshare.errors import Malformed
from creditshare.jobs.exchange import exchange

MOST = 1_000


class Echo(BaseHTTPRequestHandler):
    """Answers what was posted, with the path and one header before it."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.end_headers()
        self.wfile.write(f"{self.path} {self.headers['Content-Type']} ".encode() + body)

    def log_message(self, *_: object) -> None:
        pass


def test_status_and_body_come_back() -> None:
    with listening(Echo) as url:
        got = exchange("POST", f"{url}/a?b=c", b"body", headers={"Content-Type": "x/y"}, timeout_s=5, most=MOST)
        assert got == (201, b"/a?b=c x/y body")
        exactly = exchange("POST", url, b"x" * 10, timeout_s=5, most=len("/ None ") + 10)
        assert exactly == (201, b"/ None " + b"x" * 10)
        with pytest.raises(Malformed, match="more than"):
            exchange("POST", url, b"x" * 11, timeout_s=5, most=len("/ None ") + 10)


def test_over_tls_only_a_certificate_of_that_name_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = localhost_context(tmp_path / "both.pem", days=1)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(65_536)
            secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsafe")

    def asked(host: str) -> tuple[int, bytes]:
        with speaking(answer) as port:
            return exchange("GET", f"https://{host}:{port}/", timeout_s=5, most=MOST)

    with pytest.raises(ssl.SSLCertVerificationError):
        asked("localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "both.pem"))
    assert asked("localhost") == (200, b"safe")
    with pytest.raises(ssl.SSLCertVerificationError):
        asked("127.0.0.1")


@contextlib.contextmanager
def speaking(say: Callable[[socket.socket], None]) -> Iterator[int]:
    """Take one connection and speak as a test says; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    say(connection)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert not thread.is_alive()


def dripping(begin: bytes) -> Callable[[socket.socket], None]:
    """Say something and then one byte every now and then, for some seconds or until the line is cut."""

    def say(connection: socket.socket) -> None:
        connection.sendall(begin)
        for _ in range(100):
            connection.sendall(b"a")
            time.sleep(0.05)

    return say


def silent(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


BEGUN = b"HTTP/1.1 200 OK\r\n"
SLOW = {
    "says nothing": ("http", silent),
    "drips its header": ("http", dripping(BEGUN + b"X-Slow: ")),
    "drips its body": ("http", dripping(BEGUN + b"Content-Length: 900\r\n\r\n")),
    "drips a body that ends with the line": ("http", dripping(b"HTTP/1.0 200 OK\r\n\r\n")),
    "never shakes hands": ("https", silent),
    # The head of a record of 16 kB, which then drips in.
    "drips its handshake": ("https", dripping(b"\x16\x03\x03\x40\x00")),
}


@pytest.mark.parametrize("how", SLOW)
def test_whoever_is_slow_is_cut_off_when_the_time_is_over(how: str) -> None:
    scheme, say = SLOW[how]
    with speaking(say) as port:
        began = time.monotonic()
        with pytest.raises((OSError, HTTPException)):
            exchange("POST", f"{scheme}://127.0.0.1:{port}/", b"x", timeout_s=0.5, most=MOST)
        assert time.monotonic() - began < 3


def test_nobody_there_and_nothing_sensible_are_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        exchange("POST", f"http://127.0.0.1:{port}/", b"x", timeout_s=1, most=MOST)
    with speaking(lambda connection: connection.sendall(b"no HTTP\r\n\r\n")) as port, pytest.raises(HTTPException):
        exchange("GET", f"http://127.0.0.1:{port}/", timeout_s=1, most=MOST)


def test_the_time_is_for_all_addresses_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = [socket.create_server(("127.0.0.1", 0), backlog=0) for _ in range(3)]
    full = [contextlib.closing(socket.socket()) for _ in range(12)]
    names = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", one.getsockname()) for one in silent]
    with contextlib.ExitStack() as opened:
        for number, waiting in enumerate(full):  # so that none of them takes another
            sock = opened.enter_context(waiting)
            sock.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                sock.connect(silent[number % 3].getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: names)
        began = time.monotonic()
        with pytest.raises(OSError, match="timed out"):
            exchange("GET", "http://many.example/", timeout_s=1, most=MOST)
        assert time.monotonic() - began < 2
        for one in silent:
            one.close()
