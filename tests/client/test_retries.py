"""What is tried again, with what, and after how long: the flows driven by hand, so that no test has to wait."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.fixtures.simulated_service import ISSUER, MEMBER, SimulatedService, refusal, without_signature

from creditshare.client.core import Identity
from creditshare.client.flow import Done, Flow, Received, Step, Told, Wait, advance
from creditshare.client.problems import ConsentRefused, InvalidRequest, NotAuthenticated, Problem, Throttled
from creditshare.client.session import RETRIES, Session
from creditshare.crypto.jws import SigningKey
from creditshare.errors import Unavailable, VerificationFailed

BUSY = (503, refusal("unavailable"), {"retry-after": "2"})


class Driver:
    """A transport that never sleeps and remembers what it should have waited."""

    def __init__(self, simulated: SimulatedService) -> None:
        self.simulated = simulated
        self.waited: list[float] = []
        self.session = Session(Identity(MEMBER, SigningKey.generate()))

    def run(self, flow: Flow[Any]) -> Any:
        step = advance(flow, None)
        while not isinstance(step, Done):
            step = advance(flow, self.do(step))
        return step.value

    def do(self, step: Step) -> Told:
        if isinstance(step, Wait):
            self.waited.append(step.seconds)
            return None
        request = httpx.Request(step.method, ISSUER + step.target, headers=dict(step.headers), content=step.body)
        try:
            got = self.simulated.answer(request)
        except httpx.TransportError:
            return Unavailable("the connection broke")
        return Received(got.status_code, dict(got.headers), got.content)

    def call(self, method: str, path: str, **more: Any) -> Any:
        return self.run(self.session.call(method, path, **more))


@pytest.fixture
def driver() -> Driver:
    return Driver(SimulatedService())


def test_a_retry_keeps_the_idempotency_key_and_makes_a_new_jti(driver: Driver) -> None:
    driver.simulated.results = [BUSY, httpx.ReadError("gone"), BUSY]
    assert driver.call("POST", "/v1/queries", data={}, key="q-1").status == 200
    claims = driver.simulated.claims
    assert [c["idk"] for c in claims] == ["q-1"] * 4
    assert [r.headers["idempotency-key"] for r in driver.simulated.requests] == ["q-1"] * 4
    assert len({c["jti"] for c in claims}) == 4
    assert {c["cdg"] for c in claims} == {claims[0]["cdg"]}
    assert driver.waited == [2, 0.2, 2]


def test_without_a_key_given_all_retries_share_one_that_was_made(driver: Driver) -> None:
    driver.simulated.results = [BUSY]
    driver.call("POST", "/v1/queries", data={})
    first, second = driver.simulated.claims
    assert first["idk"] == second["idk"]


def test_a_longer_wait_than_half_a_minute_is_left_to_the_caller(driver: Driver) -> None:
    driver.simulated.results = [(429, refusal("quota_exhausted"), {"retry-after": "3600"})]
    with pytest.raises(Throttled) as caught:
        driver.call("POST", "/v1/queries", data={})
    assert caught.value.retry_after == 3600
    assert driver.waited == []


def test_it_gives_up_after_its_retries(driver: Driver) -> None:
    driver.simulated.results = [BUSY] * (RETRIES + 1)
    with pytest.raises(Problem, match="unavailable"):
        driver.call("GET", "/v1/me")
    assert len(driver.waited) == RETRIES
    assert not driver.simulated.results


def test_an_evaluation_whose_answer_is_lost_is_not_repeated_because_it_would_count_twice(driver: Driver) -> None:
    def lose(_: Received) -> Received:
        raise httpx.ReadError("gone")

    driver.simulated.twist = lose
    with pytest.raises(Unavailable):
        driver.run(driver.session.tokenise(["91999999DEM000014G"]))
    assert len(driver.simulated.requests) == 1


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_that_lost_the_service_is_tried_again(driver: Driver, status: int) -> None:
    page = Received(status, {}, b"<html>bad gateway</html>")
    came = iter([page, None])

    def between(got: Received) -> Received:
        return next(came) or got

    driver.simulated.twist = between
    assert driver.call("GET", "/v1/me").status == 200


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "consent_revoked", ConsentRefused),
        (403, "role_forbidden", Problem),
        (422, "validation_failed", InvalidRequest),
        (401, "key_revoked", NotAuthenticated),
        (409, "state_conflict", Problem),
    ],
)
def test_a_refusal_that_stays_is_raised_at_once_as_its_kind(
    driver: Driver, status: int, code: str, kind: type[Problem]
) -> None:
    driver.simulated.results = [(status, refusal(code), {})]
    with pytest.raises(Problem) as caught:
        driver.call("POST", "/v1/queries", data={})
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.signed
    assert driver.waited == []


def test_a_time_refusal_names_the_services_clock(driver: Driver) -> None:
    driver.simulated.results = [(401, refusal("token_expired", server_time=1234), {})]
    with pytest.raises(NotAuthenticated) as caught:
        driver.call("GET", "/v1/me")
    assert caught.value.server_time == 1234


def test_an_enrolment_whose_answer_is_lost_is_sent_again_byte_for_byte(driver: Driver) -> None:
    driver.simulated.results = [httpx.ReadError("gone"), (201, {"kid": "k"}, {})]
    assert driver.run(driver.session.enrol("code")) == {"kid": "k"}
    first, second = driver.simulated.requests
    assert first.content == second.content
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_an_enrolment_is_believed_only_with_the_services_signature(driver: Driver) -> None:
    driver.simulated.twist = without_signature
    with pytest.raises(VerificationFailed, match="without a signature"):
        driver.run(driver.session.enrol("code"))
    driver.simulated.twist = lambda got: replace(got, body=got.body + b" ")
    with pytest.raises(VerificationFailed, match="cdg"):
        driver.run(driver.session.enrol("code"))


def test_identifiers_go_in_batches_of_the_published_size(driver: Driver) -> None:
    tokens = driver.run(driver.session.tokenise(["91999999DEM000014G"] * 257))
    assert len(tokens) == 257
    assert len({t["element"] for t in tokens}) == 1
    sizes = [len(json.loads(r.content)["blinded"]) for r in driver.simulated.requests]
    assert sizes == [256, 1]


def test_an_address_that_is_no_creditshare_says_so() -> None:
    session = Session(None)
    flow = session.connect()
    next(flow)
    flow.send(Received(200, {}, b"{}"))
    with pytest.raises(Unavailable, match="does not describe itself"):
        flow.send(Received(200, {}, b'{"keys": []}'))
