"""Connections whose header comes too slowly or grows too large are cut, before anything of a request is known.

The server has a limit for idle connections, none for the time and size of a header; a client that sends one byte
every few seconds would keep its connection for ever.

A connection whose request is refused before its body was read is drained for a moment before it is closed (RFC 9112
section 9.6): closed at once, it would be reset, and a client that is still sending would lose the refusal.
"""

import asyncio
import logging
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from creditshare.telemetry import REFUSALS

TOO_LARGE: Final = b"The header of the request is too large."
FAULTS: Final = logging.getLogger("uvicorn.error.connection")
FAULTS.setLevel(logging.ERROR)
"""The server would write a line for each request that is no HTTP, so that anyone could fill the operator's disk, or
stop the service where nobody reads what it writes. They are counted instead."""

LINE_BYTES: Final = 4
"""What stands around a header's name and value: colon, space, carriage return, line feed."""

LINGER_S: Final = 2.0
LINGER_BYTES: Final = 16 * 1024 * 1024
"""How long, and for how many bytes, an ended connection is read for nothing."""


class BoundedProtocol(HttpToolsProtocol):
    """The server's own protocol with a time limit and a size limit for each request's header."""

    def __init__(self, *args: Any, header_time_limit_s: float, max_header_bytes: int, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.logger = FAULTS
        self._time_limit_s = header_time_limit_s
        self._max_bytes = max_header_bytes
        self._deadline: asyncio.TimerHandle | None = None
        self._in_header = True
        self._header_bytes = 0
        self._undecided_bytes = 0
        self._in_body = False
        self._lingers: asyncio.TimerHandle | None = None
        self._drained_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the server's own
        """Begin to wait for the first header."""
        super().connection_made(transport)
        self._wait_for_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time limits."""
        self._header_is_complete()
        if self._lingers is not None:
            self._lingers.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and cut a connection whose header is too large without having ended."""
        if self._lingers is not None:
            self._drained_bytes += len(data)
            if self._drained_bytes > LINGER_BYTES:
                self.transport.close()
            return
        if getattr(self.cycle, "response_complete", True):  # there is no cycle before the first request
            self._wait_for_header()
        self._undecided_bytes += len(data)
        super().data_received(data)
        if self._deadline is None:
            self._undecided_bytes = 0
        elif self._undecided_bytes > self._max_bytes and not self.transport.is_closing():
            self._refuse_header()

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._in_header = True
        self._header_bytes = 0
        self._wait_for_header()

    def on_url(self, url: bytes) -> None:
        """Count the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        if self._in_header:  # what comes behind a body (RFC 9110 section 6.5) was signed by nobody and is no header
            self._count(len(name) + len(value) + LINE_BYTES)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End the time limit: from here the time limits of body and request hold."""
        self._in_header = False
        self._in_body = True
        self._header_is_complete()
        super().on_headers_complete()
        self.cycle.transport = Lingering(self)  # type: ignore[assignment]  # all of a transport that a cycle uses

    def on_message_complete(self) -> None:
        """Note that nothing of the request is still to come."""
        self._in_body = False
        super().on_message_complete()

    def end(self) -> None:
        """Close the connection after an answer; if the request's body is still coming, not before the client's end."""
        if not self._in_body or self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
        elif self._lingers is None:
            self.transport.write_eof()
            self._lingers = self.loop.call_later(LINGER_S, self.transport.close)
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless it was answered as too large already."""
        if self._header_bytes > self._max_bytes:
            self._refuse_header()
        elif not self.transport.is_closing():
            REFUSALS.labels(code="not_http").inc()
            super().send_400_response(msg)

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self._max_bytes:
            raise ValueError("header too large")  # the parser stops, and ``send_400_response`` is called

    def _wait_for_header(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._time_limit_s, self.transport.close)

    def _header_is_complete(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse_header(self) -> None:
        REFUSALS.labels(code="header_too_large").inc()
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(TOO_LARGE), TOO_LARGE)
        )
        self.transport.close()


class Lingering:
    """The connection as the cycle of one request sees it, which closes it when its answer is complete."""

    def __init__(self, connection: BoundedProtocol) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        """Send."""
        self._connection.transport.write(data)

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._connection.transport.is_closing()

    def close(self) -> None:
        """End the connection."""
        self._connection.end()
