"""One line and one measurement for every request: what was asked, what came of it, for which member, how long it took.

The route's name stands for the path, because a path can name a borrower's record. What only the edge knows, the member
and the refusal's code, it leaves in the request's state. Polls of health and metrics are measured but not written down.
"""

import time
from typing import Any, Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from creditshare.telemetry import REFUSALS, REQUESTS

log = structlog.get_logger()

POLLED: Final = frozenset({"is_alive", "is_ready", "show_metrics"})
UNMATCHED: Final = "unmatched"
SERVER_ERROR: Final = 500


class RequestLog:
    """Wraps the application. Costs one line per request; no body and no header but the request id is looked at."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on and note what was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        state: dict[str, Any] = scope.setdefault("state", {})
        answered: dict[str, Any] = {"status": SERVER_ERROR}

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered["status"] = int(message["status"])
                answered["request_id"] = MutableHeaders(raw=message["headers"]).get("x-request-id")
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            _measure(action_of(scope), state, answered, time.perf_counter() - began)


def action_of(scope: Scope) -> str:
    """Return the name of the matched route, which is the action's name."""
    return str(getattr(scope.get("route"), "name", UNMATCHED))


def _measure(action: str, state: dict[str, Any], answered: dict[str, Any], seconds: float) -> None:
    code = state.get("code")
    REQUESTS.labels(action=action, status=str(answered["status"])).observe(seconds)
    if code is not None:
        REFUSALS.labels(code=code).inc()
    if action in POLLED and answered["status"] < SERVER_ERROR:
        return
    fields = {"code": code, "request_id": answered.get("request_id"), "member_id": state.get("member_id")}
    told = {name: value for name, value in fields.items() if value is not None}
    log.info("request", action=action, status=answered["status"], duration_ms=round(seconds * 1000, 1), **told)
