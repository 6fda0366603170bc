"""Reading what is sent, within limits of size and time."""

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from creditshare.errors import Refused


def check_length(request: Request, *, limit: int) -> None:
    """Refuse a body that says of itself that it is too large, before any of it is read."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
        raise Refused("content_too_large")


def media_type(request: Request) -> str:
    """Return the body's media type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, *, limit: int, time_limit_s: float) -> bytes:
    """Read a body of at most ``limit`` bytes in at most this time; more is refused before it is held in memory."""
    try:
        async with asyncio.timeout(time_limit_s):
            return await _read_body(request, limit)
    except TimeoutError:
        raise Refused("request_timeout", retry_after=1) from None
    except ClientDisconnect:  # no fault of ours, and no reason for a stranger's line in the log
        raise Refused("body_malformed") from None


async def _read_body(request: Request, limit: int) -> bytes:
    check_length(request, limit=limit)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise Refused("content_too_large")
        parts.append(part)
    body = b"".join(parts)
    # The framework keeps what `body()` once read; giving it the bytes spares it a stream that is used up.
    request._body = body  # noqa: SLF001
    return body
