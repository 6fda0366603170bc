"""A caller finds its request again: the names it gave are told back and stand in the log's event."""

import json
from dataclasses import replace

import httpx
import pytest
from tests.fixtures.service import RunningService

from creditshare.client.bank import Client
from creditshare.client.core import SignedAnswer

TRACEPARENT = "00-4c6a1d0e9b5f48d2a6f4c0e8b1d29753-5a1e9c7b3d2f4806-01"


@pytest.fixture(scope="module")
def lender(shared_service: RunningService) -> Client:
    return shared_service.admit("Traced Bank")


def refused(client: Client, **headers: str) -> SignedAnswer:
    """Send something that is refused and therefore an event, with further headers that nobody signs."""
    request = client.sign("POST", "/v1/tokens/evaluate", data={})
    answer = client.send(replace(request, headers={**request.headers, **headers}))
    assert answer.status == 422
    return answer


def meta(answer: SignedAnswer) -> dict[str, object]:
    assert answer.log_entry is not None
    said: dict[str, object] = json.loads(answer.log_entry.meta)
    return said


@pytest.mark.parametrize("name", ["X-Request-Id", "x-fapi-interaction-id"])
def test_the_callers_number_and_trace_are_echoed_and_logged(lender: Client, name: str) -> None:
    answer = refused(lender, traceparent=TRACEPARENT, **{name: "desk_7-42"})
    assert answer.headers["traceparent"] == meta(answer)["traceparent"] == TRACEPARENT
    assert answer.headers["x-request-id"] == meta(answer)["request_id"] == "desk_7-42"
    assert answer.data["request_id"] == "desk_7-42"


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(TRACEPARENT.upper(), id="upper-case"),
        pytest.param("ff" + TRACEPARENT[2:], id="version-ff"),
        pytest.param("00-" + "0" * 32 + TRACEPARENT[35:], id="no-trace"),
        pytest.param(TRACEPARENT[:36] + "0" * 16 + "-01", id="no-parent"),
        pytest.param(TRACEPARENT + "-more", id="longer"),
        pytest.param("91350100M000100Y43", id="an-identifier"),
    ],
)
def test_a_trace_of_another_form_is_left_out(lender: Client, wrong: str) -> None:
    answer = refused(lender, traceparent=wrong)
    assert "traceparent" not in answer.headers
    assert meta(answer)["traceparent"] == ""


@pytest.mark.parametrize("wrong", ["with space", "x" * 65, "a/b"])
def test_a_number_of_another_form_is_replaced(lender: Client, wrong: str) -> None:
    answer = refused(lender, **{"X-Request-Id": wrong})
    assert answer.headers["x-request-id"] == meta(answer)["request_id"] == answer.data["request_id"] != wrong


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/me", 401),
        ("GET", "/v1/nothing-here", 404),
        ("DELETE", "/v1/me", 405),
        ("POST", "/v1/members/mem_x/keys", 415),
    ],
)
def test_an_unsigned_refusal_has_the_same_names(
    shared_service: RunningService, method: str, path: str, status: int
) -> None:
    got = httpx.request(
        method, shared_service.url + path, headers={"X-Request-Id": "desk-1", "traceparent": TRACEPARENT}
    )
    assert (got.status_code, got.headers["traceparent"], got.headers["x-request-id"]) == (status, TRACEPARENT, "desk-1")
    assert got.json()["request_id"] == "desk-1"
    assert got.headers["cache-control"] == "no-store, no-transform"
    assert ("allow" in got.headers) == (status == 405)
