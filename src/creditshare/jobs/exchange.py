"""One request over HTTP to somebody else's program, and no more time or memory for it than was set aside.

Blocking, for a thread. Nothing is followed, no proxy is asked, nothing is kept open.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from creditshare.errors import Malformed

PORTS: Final = {"http": 80, "https": 443}


def exchange(
    method: str,
    url: str,
    body: bytes | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_s: float,
    most: int,
) -> tuple[int, bytes]:
    """Send one request and return status and body.

    The time limit is for all of it, from the connection to the last byte: whoever sends a byte now and then is cut off
    like whoever sends none. Only looking up the name is the resolver's own time. Raises ``OSError`` or
    ``http.client.HTTPException`` where there is no answer, ``Malformed`` for a body of more than ``most`` bytes.
    """
    at = urlsplit(url)
    host, port, secure = at.hostname or "", at.port or PORTS[at.scheme], at.scheme == "https"
    deadline = time.monotonic() + timeout_s
    with contextlib.closing(_connected(host, port, deadline)) as plain:
        plain.settimeout(_left(deadline))  # a handshake keeps to it as a whole
        sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if secure else plain
        with contextlib.closing(sock), _cut_off(sock, _left(deadline)):
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            with contextlib.closing(kind(host, port)) as connection:
                connection.sock = sock
                target = at.path + (f"?{at.query}" if at.query else "")
                connection.request(
                    method, target or "/", body=body, headers={"User-Agent": "creditshare", **(headers or {})}
                )
                with connection.getresponse() as answer:
                    read = answer.read(most + 1)
    if len(read) > most:
        raise Malformed(f"an answer of more than {most} bytes")
    return answer.status, read


def _connected(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first address of a name that answers; all of them together have the time that is left."""
    last: OSError = TimeoutError("the name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(_left(deadline))
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            last = error
        else:
            return sock
    raise last


def _left(deadline: float) -> float:
    """Return how many seconds are left; never none, because a socket takes that for no limit."""
    return max(deadline - time.monotonic(), 0.001)


@contextlib.contextmanager
def _cut_off(sock: socket.socket, after_s: float) -> Iterator[None]:
    """End a connection when the time is over, whoever waits on it: the socket's own limit begins anew at each byte.

    A body cut short is an error too, though a body of no known length looks whole when the line ends.
    """
    over = threading.Event()

    def cut() -> None:
        over.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    end = threading.Timer(after_s, cut)
    end.start()
    try:
        yield
    finally:
        end.cancel()
    if over.is_set():
        raise TimeoutError("the answer took longer than it may")
