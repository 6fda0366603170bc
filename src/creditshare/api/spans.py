"""A span for each request, in the caller's own trace, sent as OTLP to the operator's collector. Off unless chosen.

Ours, and not the framework's instrumentation, because that notes paths and addresses: a path can name a borrower's
record, and the collector is one more place that would keep it. What a span says is what the log's line says.
Where it is sent, sampled and named is said by the standard variables (``OTEL_EXPORTER_OTLP_ENDPOINT``,
``OTEL_TRACES_SAMPLER``, ``OTEL_RESOURCE_ATTRIBUTES``; OpenTelemetry specification, SDK configuration).
"""

import importlib
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from creditshare.api.requestlog import POLLED, SERVER_ERROR, action_of
from creditshare.api.tracing import TRACEPARENT, Trace

HEADER: Final = b"traceparent"


def trace_provider() -> Any:
    """Return a provider that sends spans as OTLP over HTTP, in the background. ``startup`` saw that it is installed."""
    sdk: Any = importlib.import_module("opentelemetry.sdk.trace")
    batches: Any = importlib.import_module("opentelemetry.sdk.trace.export")
    resources: Any = importlib.import_module("opentelemetry.sdk.resources")
    otlp: Any = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": "creditshare"}))
    provider.add_span_processor(batches.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    return provider


class Spans:
    """Wraps the application; each request but the polls becomes a span of the server's kind.

    Attributes are those of the semantic conventions for HTTP, without path, query and addresses, and the action's name,
    the refusal's code, the member and the request's number. 5xx is an error (conventions, section "Status").
    """

    def __init__(self, app: ASGIApp, *, provider: Any) -> None:
        self._app = app
        self._tracer = provider.get_tracer("creditshare")
        self._api: Any = importlib.import_module("opentelemetry.trace")
        self._context: Any = importlib.import_module("opentelemetry.trace.propagation.tracecontext")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, within a span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == HEADER), "")
        # The library reads what follows version 00 as well; only the form that is echoed and logged is taken up.
        carrier = {"traceparent": given} if TRACEPARENT.fullmatch(given) else {}
        parent = self._context.TraceContextTextMapPropagator().extract(carrier)
        span = self._tracer.start_span("request", context=parent, kind=self._api.SpanKind.SERVER)
        status = SERVER_ERROR

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            action = action_of(scope)
            if action not in POLLED or status >= SERVER_ERROR:
                self._tell(span, scope, action, status)
                span.end()

    def _tell(self, span: Any, scope: Scope, action: str, status: int) -> None:
        state: dict[str, Any] = scope.get("state", {})
        trace: Trace | None = state.get("trace")
        method = scope["method"]  # one of those that the server's parser knows
        route = getattr(scope.get("route"), "path", None)
        told = {
            "http.request.method": method,
            "http.response.status_code": status,
            "http.route": route,
            "creditshare.action": action,
            "creditshare.code": state.get("code"),
            "creditshare.member_id": state.get("member_id"),
            "creditshare.request_id": None if trace is None else trace.request_id,
        }
        span.update_name(f"{method} {route}" if route else method)
        span.set_attributes({name: value for name, value in told.items() if value is not None})
        if status >= SERVER_ERROR:
            span.set_attribute("error.type", str(status))
            span.set_status(self._api.StatusCode.ERROR)
