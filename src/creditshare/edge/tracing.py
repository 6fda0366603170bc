"""The names by which a caller finds its request again: ``X-Request-Id`` and W3C Trace Context's ``traceparent``.

Both are echoed, and both stand in the audit event. Neither is signed, so a machine between may set them; neither
decides anything. What is not of the agreed form is not repeated.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Final

from fastapi import Request

from creditshare.crypto.encoding import b64url_encode

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# W3C Trace Context, section 3.2: version 00; neither id may be all zeros.
TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Trace:
    """How a request is known: by the caller's number or one of ours, and by the caller's trace, if any."""

    request_id: str
    traceparent: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell it back."""
        echoed = {"traceparent": self.traceparent} if self.traceparent else {}
        return {"X-Request-Id": self.request_id, **echoed}


def trace_of(request: Request) -> Trace:
    """Return how a request is known, the same whoever asks. ``x-fapi-interaction-id`` is another ``X-Request-Id``."""
    known: Trace | None = getattr(request.state, "trace", None)
    if known is None:
        headers = request.headers
        given = headers.get("x-request-id") or headers.get("x-fapi-interaction-id") or ""
        number = given if REQUEST_ID.fullmatch(given) else b64url_encode(secrets.token_bytes(12))
        traceparent = headers.get("traceparent", "")
        known = request.state.trace = Trace(number, traceparent if TRACEPARENT.fullmatch(traceparent) else "")
    return known
