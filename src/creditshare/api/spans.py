"""A span for each request, in the caller's own trace, sent as OTLP to the operator's collector. Off unless chosen.

Ours, and not the framework's instrumentation, because that notes paths and addresses: a path can name a borrower's
record, and the collector is one more place that would keep it. What a span says is what the log's line says.
Where it is sent, sampled and named is said by the standard variables (``OTEL_EXPORTER_OTLP_ENDPOINT``,
``OTEL_TRACES_SAMPLER``, ``OTEL_RESOURCE_ATTRIBUTES``; OpenTelemetry specification, SDK configuration).
"""

import importlib
from collections.abc import Mapping
from typing import Any, Final

from starlette.types import Scope

from creditshare.edge.tracing import TRACEPARENT

SERVER_ERROR: Final = 500
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
    """Makes spans of the server's kind; the request log begins and ends them.

    Attributes are those of the semantic conventions for HTTP, without path, query and addresses, and the fields of the
    log's line. 5xx is an error (conventions, section "Status").
    """

    def __init__(self, provider: Any) -> None:
        self._tracer = provider.get_tracer("creditshare")
        self._api: Any = importlib.import_module("opentelemetry.trace")
        self._context: Any = importlib.import_module("opentelemetry.trace.propagation.tracecontext")

    def begin(self, scope: Scope) -> Any:
        """Begin the span of a request, in the trace that its caller names. One that is never ended is never sent."""
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == HEADER), "")
        # The library reads what follows version 00 as well; only the form that is echoed and logged is taken up.
        carrier = {"traceparent": given} if TRACEPARENT.fullmatch(given) else {}
        parent = self._context.TraceContextTextMapPropagator().extract(carrier)
        return self._tracer.start_span("request", context=parent, kind=self._api.SpanKind.SERVER)

    def end(self, span: Any, scope: Scope, *, status: int, told: Mapping[str, str]) -> None:
        """End a span with what is told of its request."""
        method = scope["method"]  # one of those that the server's parser knows
        route = getattr(scope.get("route"), "path", None)
        span.update_name(f"{method} {route}" if route else method)
        span.set_attributes({"http.request.method": method, "http.response.status_code": status})
        span.set_attributes({f"creditshare.{name}": value for name, value in told.items()})
        if route:
            span.set_attribute("http.route", route)
        if status >= SERVER_ERROR:
            span.set_attribute("error.type", str(status))
            span.set_status(self._api.StatusCode.ERROR)
        span.end()
