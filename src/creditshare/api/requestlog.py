"""One line and one measurement for every request, and a span where they are chosen: what was asked, what came of it,
for which member, how long it took.

The route's name stands for the path, because a path can name a borrower's record. What only the edge knows, the member,
the request's number and a refusal's code, it leaves in the request's state. Polls of health and metrics are measured
but not written down.
"""

import time
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from creditshare.api.spans import SERVER_ERROR, Spans
from creditshare.edge.tracing import Trace
from creditshare.telemetry import REFUSALS, REQUESTS, quick_logger

log = quick_logger(__name__)

POLLED: Final = frozenset({"is_alive", "is_ready", "show_metrics"})
UNMATCHED: Final = "unmatched"


class RequestLog:
    """Wraps the application. Costs one line per request; no body and no header is looked at."""

    def __init__(self, app: ASGIApp, *, spans: Spans | None = None) -> None:
        self._app = app
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on and note what was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        state: dict[str, Any] = scope.setdefault("state", {})
        status = SERVER_ERROR
        span = None if self._spans is None else self._spans.begin(scope)

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            told = _measure(action_of(scope), state, status, time.perf_counter() - began)
            if self._spans is not None and told is not None:
                self._spans.end(span, scope, status=status, told=told)


def action_of(scope: Scope) -> str:
    """Return the name of the matched route, which is the action's name."""
    return str(getattr(scope.get("route"), "name", UNMATCHED))


def _measure(action: str, state: dict[str, Any], status: int, seconds: float) -> dict[str, str] | None:
    """Measure a request and write its line; return the line's texts, or None for a poll, which has no line."""
    code = state.get("code")
    REQUESTS.labels(action, str(status)).observe(seconds)
    if code is not None:
        REFUSALS.labels(code=code).inc()
    if action in POLLED and status < SERVER_ERROR:
        return None
    trace: Trace | None = state.get("trace")
    fields = {
        "code": code,
        "request_id": None if trace is None else trace.request_id,
        "member_id": state.get("member_id"),
    }
    told = {name: value for name, value in fields.items() if value is not None}
    log.info("request", action=action, status=status, duration_ms=round(seconds * 1000, 1), **told)
    return {"action": action, **told}
