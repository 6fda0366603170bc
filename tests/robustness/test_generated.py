"""Requests that Schemathesis makes up from the OpenAPI document, each well signed: no 5xx, no undocumented answer.

Half of them name a borrower, a consent, a record and a member that exist, so that what is made up reaches beyond
"not found". The service under test holds every answer against the document (``fixtures/contract.py``), and Schemathesis
does so with its own reading of it. A few requests for each operation run with every test run;
``make robustness`` makes many more.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.fixtures.service import RunningService, record_body

from creditshare.app import openapi_document
from creditshare.client.core import Identity
from creditshare.errors import Malformed
from creditshare.wire.requests import sign_request

SEED: Final = 20_260_504
FEW: Final = 3
MANY: Final = 60
CHECKS: Final = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
Operation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[Any]


def _operations() -> dict[str, Operation]:
    found = schemathesis.openapi.from_dict(openapi_document()).get_all_operations()
    return {str(one.ok().definition.raw["operationId"]): one.ok() for one in found if isinstance(one, Ok)}


OPERATIONS: Final = _operations()
LEFT_OUT: Final = frozenset({"advance_clock"})
"""Time that a generated request moved by years would make every later one meet nothing but expired things."""


@dataclass
class World:
    """A service where one of everything exists."""

    service: RunningService
    lender: Identity
    regulator: Identity
    http: requests.Session
    ids: dict[str, str]
    real: dict[str, Any]
    seen: dict[int, int] = field(default_factory=dict)

    def caller(self, operation: Operation) -> Identity:
        """Return somebody whom the operation admits."""
        role = operation.definition.raw.get("x-caller", {}).get("role")
        return {"operator": self.service.operators[0], "regulator": self.regulator}.get(str(role), self.lender)

    def send(self, case: AnyCase, *, real: bool) -> requests.Response:
        """Sign a generated request as it will be sent, and send it."""
        given = case.as_transport_kwargs(self.service.url)
        if real and isinstance(given.get("json"), dict):
            given["json"] = {name: self.real.get(name, value) for name, value in given["json"].items()}
        prepared = self.http.prepare_request(requests.Request(**given))
        prepared.headers.pop("Authorization", None)
        if "x-caller" in case.operation.definition.raw:
            try:
                token = self._token(case, prepared)
            except Malformed:  # an address that no client can sign; it must be refused, not break anything
                token = "unsigned"
            prepared.headers["Authorization"] = f"Bearer {token}"
        return self.http.send(prepared, timeout=30, allow_redirects=False)

    def _token(self, case: AnyCase, prepared: requests.PreparedRequest) -> str:
        identity, where = self.caller(case.operation), urlsplit(str(prepared.url))
        body = prepared.body if isinstance(prepared.body, bytes) else str(prepared.body or "").encode()
        key = prepared.headers.get("Idempotency-Key")
        return sign_request(
            identity.key,
            issuer=self.service.url,
            member_id=identity.member_id,
            sub="test",
            method=str(prepared.method),
            path=where.path,
            query=where.query.encode(),
            body=body,
            iat=int(time.time()),
            jti=secrets.token_urlsafe(18),
            idempotency_key=None if key is None else str(key),
        )


@pytest.fixture(scope="module")
def world(shared_service: RunningService) -> Iterator[World]:
    lender = shared_service.admit("Lender", region="US", evaluations_per_day=1_000_000)
    other = shared_service.admit("Other", region="US").identity
    assert lender.identity is not None
    assert other is not None
    regulator = shared_service.admit("Regulator", role="regulator", region="US")
    assert regulator.identity is not None
    (subject,) = lender.tokenise(["91999999DEM000014G"])
    record = lender.call("POST", "/v1/records", data=record_body(subject, "A-1")).data["record_id"]
    granted = lender.grant_consent(subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"x")
    consent = granted.data["consent_id"]
    asked = {"subject": subject, "consent_id": consent, "purpose": "pre_loan", "scopes": ["defaults"]}
    query = lender.call("POST", "/v1/queries", data=asked).data["query_id"]
    warrant = {"named": record, "legal_basis": "court_order", "reference": "17", "reason": "pledges"}
    warrant |= {
        "scopes": ["records"],
        "ends_at": (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    ids = {
        "record_id": record,
        "consent_id": consent,
        "query_id": query,
        "member_id": other.member_id,
        "kid": other.key.kid,
        "warrant_id": regulator.call("POST", "/v1/warrants", data=warrant).data["warrant_id"],
    }
    real = {
        "named": record,
        "subject": subject,
        "consent_id": consent,
        "region": {"scheme": "ISO 3166-2", "code": "US-CA"},
    }
    with requests.Session() as http:
        yield World(shared_service, lender.identity, regulator.identity, http, ids, real)


def make_up(world: World, operation: Operation, examples: int) -> None:
    """Send generated requests for an operation; any fault of the service fails with the request that caused it."""
    parameters = {one.name for one in operation.path_parameters}
    known = {name: world.ids[name] for name in parameters & set(world.ids)}
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        for real in (True, False):
            strategy = operation.as_strategy(mode, path_parameters=known if real and known else None)
            if mode is GenerationMode.NEGATIVE and not parameters - set(known) and not operation.body:
                continue  # nothing of it could be wrong

            def run(case: AnyCase, real: bool = real) -> None:  # noqa: FBT001  bound now; the loop goes on
                answer = world.send(case, real=real)
                world.seen[answer.status_code] = world.seen.get(answer.status_code, 0) + 1
                case.validate_response(answer, checks=CHECKS)

            _generated(strategy, run, examples)


def _generated(strategy: Any, run: Callable[[AnyCase], None], examples: int) -> None:
    settings = hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @hypothesis.seed(SEED)
    @settings
    @hypothesis.given(strategy)
    def generated(case: AnyCase) -> None:
        run(case)

    try:
        generated()
    except Unsatisfiable:
        return  # there is no request of this kind for this operation


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - LEFT_OUT))
def test_no_generated_request_meets_a_fault_or_an_undocumented_answer(world: World, name: str) -> None:
    make_up(world, OPERATIONS[name], FEW)


def test_generated_requests_reached_more_than_the_gate(world: World) -> None:
    for name in ("show_me", "show_record", "run_query", "grant_consent"):
        make_up(world, OPERATIONS[name], FEW)
    assert {200, 422} <= set(world.seen), world.seen


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - LEFT_OUT))
def test_no_request_of_many_meets_a_fault_or_an_undocumented_answer(world: World, name: str) -> None:
    make_up(world, OPERATIONS[name], MANY)
