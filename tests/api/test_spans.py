"""A span for each request reaches the operator's collector, in the caller's trace, and tells nothing of a borrower."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from tests.fixtures.loopback import listening
from tests.fixtures.service import RunningService, record_body, running_service

from creditshare.app import create_app
from creditshare.client.bank import Problem
from creditshare.settings import Settings
from creditshare.storage.embedded import EmbeddedPostgres

WHY = "the extra creditshare[otel] is not installed"
BORROWER = "91999999DEM000022B"
TRACE_ID = "4c6a1d0e9b5f48d2a6f4c0e8b1d29753"
TRACEPARENT = f"00-{TRACE_ID}-5a1e9c7b3d2f4806-01"


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Run an OTLP collector on loopback; yield its address and what it was sent."""
    sent: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the library's
            pass

    with listening(Collector) as url:
        yield url, sent


def spans_of(sent: list[bytes]) -> list[Any]:
    """Read what a collector was sent, in the order in which the requests began."""
    messages = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason=WHY)
    told = [
        span
        for body in sent
        for resource in messages.ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    return sorted(told, key=lambda span: span.start_time_unix_nano)


def attributes(span: Any) -> dict[str, str | int]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def talk(service: RunningService) -> str:
    """Report a default under a trace, be refused, ask for what is not there; return the member's id."""
    lender = service.admit("Traced Bank", region="US")
    assert lender.identity is not None
    (subject,) = lender.tokenise([BORROWER])
    request = lender.sign("POST", "/v1/records", data=record_body(subject, "A-1"))
    assert lender.send(replace(request, headers={**request.headers, "traceparent": TRACEPARENT})).status == 201
    with pytest.raises(Problem):
        lender.call("GET", "/v1/records/rec_01J8ZQ5V7E2W3")
    httpx.get(service.url + f"/v1/unknown/{BORROWER}?of={BORROWER}", headers={"traceparent": "00-nonsense"})
    httpx.get(service.url + "/healthz")
    return lender.identity.member_id


@pytest.mark.slow
def test_a_collector_is_told_what_the_log_is_told(
    postgres: EmbeddedPostgres, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.sdk", reason=WHY)
    with collector() as (address, sent):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        with running_service(postgres, template, traces=True) as service:
            member_id = talk(service)
        # What was not sent when the service ended was sent then.
        report, missing, unmatched = spans_of(sent)[-3:]
    assert report.trace_id.hex() == TRACE_ID
    assert report.parent_span_id.hex() == "5a1e9c7b3d2f4806"
    assert report.name == "POST /v1/records"
    assert report.kind == report.SPAN_KIND_SERVER
    said = attributes(report)
    assert said.pop("creditshare.request_id")
    assert said == {
        "http.request.method": "POST",
        "http.response.status_code": 201,
        "http.route": "/v1/records",
        "creditshare.action": "submit_record",
        "creditshare.member_id": member_id,
    }
    assert missing.name == "GET /v1/records/{record_id}"
    assert attributes(missing)["creditshare.code"] == "not_found"
    assert missing.trace_id.hex() != TRACE_ID
    assert unmatched.name == "GET"
    assert not unmatched.parent_span_id
    everything = b"".join(sent)
    assert BORROWER.encode() not in everything
    assert b"rec_" not in everything
    assert b"127.0.0.1" not in everything
    assert b"healthz" not in everything


@pytest.mark.slow
def test_a_collector_that_is_away_hinders_nobody(
    postgres: EmbeddedPostgres, template: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("opentelemetry.sdk", reason=WHY)
    with collector() as (address, _):
        pass
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with running_service(postgres, template, traces=True) as service:
        talk(service)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines if line.get("action") == "submit_record"] == [201]


def test_no_span_is_made_unless_chosen() -> None:
    layers = {layer.cls.__name__: layer.kwargs for layer in create_app(Settings()).user_middleware}  # type: ignore[attr-defined]
    assert layers["RequestLog"] == {"spans": None}
