"""Bad input is refused by name of the field, repeated nowhere, stored nowhere, and never breaks the service."""

import copy
import json
import random
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
from tests.fixtures.service import RunningService, record_body

from creditshare.client.core import Identity, SignedAnswer, SignedRequest, check_answer, parse_jwks
from creditshare.wire.requests import sign_request

MARK: Final = "MARKER-9f3c-never-told"
BORROWER: Final = "91999999DEM000014G"
LOGGED: Final = frozenset(
    {"audit_event", "audit_opening", "audit_pending", "audit_leaf", "audit_tile", "audit_checkpoint", "replay_guard"}
    | {"daily_quota"}  # a question counts whatever it says
)
CASES: Final = 300
Path = tuple[str | int, ...]


@dataclass
class World:
    """A service with one lender, one record, one consent: enough that every body below is valid."""

    service: RunningService
    lender: Identity
    http: httpx.Client
    jwks: dict[str, Any]
    bodies: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    def who(self, route: str) -> Identity:
        return self.service.operators[0] if route in {"members", "quotas", "suspension"} else self.lender

    def post(
        self, route: str, body: bytes, *, content_type: str = "application/json", key: bool = True, accept: str = "*/*"
    ) -> SignedAnswer:
        """Sign and send these bytes as they are; return the checked answer."""
        identity, path = self.who(route), self.bodies[route][0]
        named = str(uuid4()) if key and route != "evaluate" else None
        request = signed(identity, self.service.url, path, body, named)
        headers = {**request.headers, "Content-Type": content_type, "Accept": accept}
        got = self.http.post(self.service.url + path, headers=headers, content=body)
        return check_answer(
            request,
            status=got.status_code,
            headers={name.lower(): value for name, value in got.headers.items()},
            body=got.content,
            issuer=self.service.url,
            member_id=identity.member_id,
            keys=parse_jwks(self.jwks),
        )

    def rows(self) -> dict[str, int]:
        """Count every table of ours but those that the log of the attempt itself fills."""
        with self.service.superuser() as connection:
            names = connection.execute(
                "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
                "AND table_schema NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
            found = {}
            for schema, table in names:
                if (
                    table in LOGGED
                    or "leaf" in table
                    or "opening" in table
                    or "pending" in table
                    or "log" in table
                    or "tile" in table
                    or "checkpoint" in table
                    or "node" in table
                    or table.startswith("report_")  # which count the log
                ):
                    continue
                query = f'SELECT count(*) FROM "{schema}"."{table}"'  # noqa: S608  names of the catalogue
                counted = connection.execute(query.encode()).fetchone()
                found[str(table)] = int(counted[0]) if counted else 0
        return found


def signed(identity: Identity, issuer: str, path: str, body: bytes, key: str | None) -> SignedRequest:
    """Sign exactly these bytes, which may be no JSON at all."""
    token = sign_request(
        identity.key,
        issuer=issuer,
        member_id=identity.member_id,
        sub="test",
        method="POST",
        path=path,
        body=body,
        iat=int(time.time()),
        jti=secrets.token_urlsafe(18),
        idempotency_key=key,
    )
    headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {})
    return SignedRequest("POST", path, "", headers, body, token)


ROUTES: Final = (
    "evaluate",
    "consents",
    "records",
    "events",
    "corrections",
    "withdrawal",
    "queries",
    "members",
    "quotas",
    "suspension",
    "revocation",
)


@pytest.fixture(scope="module")
def world(shared_service: RunningService) -> Iterator[World]:
    client = shared_service.admit("Lender", region="US", evaluations_per_day=100_000)
    assert client.identity is not None
    (subject,) = client.tokenise([BORROWER])
    record = client.call("POST", "/v1/records", data=record_body(subject, "A-1")).data["record_id"]
    consent = client.grant_consent(subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"x")
    today = datetime.now(UTC).date().isoformat()
    instant = f"{today}T00:00:00Z"
    digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
    me = client.identity.member_id
    region = {"scheme": "ISO 3166-2", "code": "US-CA"}
    frequency = {"uses": 3, "per": "day"}
    evidence = {"digest": digest, "channel": "paper", "signed_at": instant}
    with httpx.Client(timeout=30) as http:
        made = World(shared_service, client.identity, http, client.service_jwks)
        made.bodies = {
            "evaluate": (
                "/v1/tokens/evaluate",
                {"suite": subject["suite"], "key_version": 1, "blinded": [subject["element"]]},
            ),
            "consents": (
                "/v1/consents",
                {
                    "kind": "query",
                    "subject": subject,
                    "purposes": ["pre_loan"],
                    "scopes": ["defaults"],
                    "valid_from": instant,
                    "valid_until": "2099-01-01T00:00:00Z",
                    "max_uses": 3,
                    "frequency": frequency,
                    "evidence": evidence,
                },
            ),
            "records": ("/v1/records", record_body(subject, "A-2", region=region)),
            "events": (f"/v1/records/{record}/events", {"kind": "recovered", "on": today, "amount": "1.00"}),
            "corrections": (
                f"/v1/records/{record}/corrections",
                {"reason": "wrong_amount", "changes": {"outstanding_principal": "1.00", "days_past_due": 120}},
            ),
            "withdrawal": (f"/v1/records/{record}/withdrawal", {"reason": "duplicate"}),
            "queries": (
                "/v1/queries",
                {
                    "subject": subject,
                    "purpose": "pre_loan",
                    "consent_id": consent["consent_id"],
                    "scopes": ["defaults"],
                },
            ),
            "members": ("/v1/members", {"name": "Bank", "role": "lender", "region": "US", "jurisdictions": ["US"]}),
            "quotas": (f"/v1/members/{me}/quotas", {"evaluations_per_day": 10}),
            "suspension": (f"/v1/members/{me}/suspension", {"reason": "theft"}),
            "revocation": (
                f"/v1/members/{me}/keys/{client.identity.key.kid}/revocation",
                {"reason": "rotation", "since": instant},
            ),
        }
        yield made


ALSO: Final = frozenset(
    {"validation_failed", "element_invalid", "suite_unknown", "key_version_retired", "consent_missing"}
)
OPTIONAL: Final = frozenset(
    {
        "evaluations_per_day",  # or another quota
        "max_uses",
        "frequency",
        "jurisdictions",
        "since",
        "amount",
        "public_ref",
        "outstanding_principal",
        "first_overdue_on",
        "days_past_due",
    }
)


def places(value: object, at: Path = ()) -> Iterator[Path]:
    """Yield where every member and item of a body stands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*at, name)
            yield from places(inner, (*at, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield (*at, index)
            yield from places(inner, (*at, index))


def at_place(body: dict[str, Any], path: Path) -> Any:
    value: Any = body
    for part in path:
        value = value[part]
    return value


def changed(body: dict[str, Any], path: Path, value: object) -> bytes:
    made = copy.deepcopy(body)
    at_place(made, path[:-1])[path[-1]] = value
    return json.dumps(made).encode()


def wrong_values(value: object) -> list[object]:
    """Return values that no field of this kind takes."""
    common: list[object] = [{MARK: 1}, [[MARK]], True, 1.5]
    if isinstance(value, str):
        return [*common, f"{MARK}\x00", MARK * 40, 7]
    if isinstance(value, int):
        return [*common, MARK, -1, 2**53 - 1, "7"]
    return [MARK, 7, True]


def check(answer: SignedAnswer, route: str, path: Path, *, parent: bool = False) -> None:
    document = answer.data
    assert answer.status in {422, 403}, (route, path, answer.body)
    assert document["code"] in ALSO, (route, path, answer.body)
    assert MARK not in answer.body.decode() + str(answer.headers), (route, path, answer.body)
    assert answer.claims is not None
    if document["code"] == "validation_failed":
        named = [str(one["pointer"]) for one in document["errors"]]
        wanted = "".join(f"/{part}" for part in (path[:-1] if parent else path))
        assert any(one == wanted or (not parent and one.startswith(wanted + "/")) for one in named) or (
            isinstance(path[-1], int) and "".join(f"/{part}" for part in path[:-1]) in named
        ), (route, path, named)


@pytest.mark.parametrize("route", ROUTES)
def test_each_field_wrong_in_turn_is_named_and_never_repeated_or_stored(world: World, route: str) -> None:
    body = world.bodies[route][1]
    before = world.rows()
    assert before
    for path in places(body):
        for value in wrong_values(at_place(body, path)):
            check(world.post(route, changed(body, path, value)), route, path)
        if isinstance(path[-1], str) and path[-1] not in OPTIONAL:
            check(world.post(route, changed(body, path, None)), route, path)
            without = copy.deepcopy(body)
            del at_place(without, path[:-1])[path[-1]]
            if route != "corrections" or len(path) == 1:
                check(world.post(route, json.dumps(without).encode()), route, path)
    for path in [(), *(p for p in places(body) if isinstance(at_place(body, p), dict))]:
        check(world.post(route, changed(body, (*path, MARK), MARK)), route, (*path, MARK), parent=True)
    assert world.rows() == before


BYTES: Final = [
    pytest.param(b'{"a":"' + b"x" * 300_000 + b'"}', 413, "content_too_large", id="too-large"),
    pytest.param(b"[" * 40 + b"]" * 40, 400, "body_malformed", id="too-deep"),
    pytest.param(b'{"suite":"\xff\xfe"}', 400, "body_malformed", id="not-utf-8"),
    pytest.param(b'{"reason":"a","reason":"b"}', 400, "body_malformed", id="name-twice"),
    pytest.param(b'\xef\xbb\xbf{"reason":"a"}', 400, "body_malformed", id="bom"),
    pytest.param(b'{"key_version":NaN}', 400, "body_malformed", id="nan"),
    pytest.param(b'{"key_version":1e400}', 400, "body_malformed", id="infinite"),
    pytest.param(b'{"key_version":' + b"9" * 5000 + b"}", 400, "body_malformed", id="huge-number"),
    pytest.param(b'{"reason":"\\ud800"}', 400, "body_malformed", id="lone-surrogate"),
    pytest.param(b"[]", 422, "validation_failed", id="a-list"),
    pytest.param(b"null", 422, "validation_failed", id="null"),
    pytest.param(b"", 422, "validation_failed", id="nothing"),
]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("body", "status", "code"), BYTES)
def test_bytes_that_are_no_such_body(world: World, route: str, body: bytes, status: int, code: str) -> None:
    answer = world.post(route, body)
    assert (answer.status, answer.data["code"]) == (status, code)


@pytest.mark.parametrize("route", ROUTES)
def test_another_media_type_and_a_missing_key_are_refused(world: World, route: str) -> None:
    body = json.dumps(world.bodies[route][1]).encode()
    for media_type in ("text/plain", "application/xml", "application/x-www-form-urlencoded"):
        answer = world.post(route, body, content_type=media_type)
        assert (answer.status, answer.data["code"]) == (415, "unsupported_media_type")
    answer = world.post(route, body, accept="application/xml, text/*")
    assert (answer.status, answer.data["code"]) == (406, "not_acceptable")
    if route != "evaluate":
        answer = world.post(route, body, key=False)
        assert (answer.status, answer.data["code"]) == (400, "idempotency_key_missing")


@pytest.mark.parametrize(
    "amount", ["1e3", "-1", " 1", "1 ", "+1", "01", "1,000", "NaN", "Infinity", "1.00000", "٣", ""]
)
def test_amounts_have_one_spelling(world: World, amount: str) -> None:
    for route, path in (("records", ("original_amount",)), ("events", ("amount",))):
        check(world.post(route, changed(world.bodies[route][1], path, amount)), route, path)


@pytest.mark.parametrize("day", ["2024-02-30", "2024-13-01", "0000-01-01", "20240101", "2024-W01-1", "٢٠٢٤-01-01", ""])
def test_days_exist(world: World, day: str) -> None:
    for route, path in (("records", ("default_on",)), ("events", ("on",))):
        check(world.post(route, changed(world.bodies[route][1], path, day)), route, path)


def anything(source: random.Random, depth: int = 0) -> Any:
    """Return a random value of JSON, unfriendly ones first."""
    plain = [None, True, 0, -1, 2**53 - 1, 1.5, -0.0, "", "\x00", "\u202e", "😀" * 9, "a" * 999, "' OR 1=1 --", MARK]
    if depth > 3 or source.random() < 0.6:
        return source.choice(plain)
    if source.random() < 0.5:
        return [anything(source, depth + 1) for _ in range(source.randrange(4))]
    return {str(source.choice(["", "a", "~/", "\x00", MARK])): anything(source, depth + 1) for _ in range(3)}


def test_random_bodies_never_break_the_service(world: World) -> None:
    source = random.Random(20_261_124)  # noqa: S311  the same cases each time
    safe = [route for route in ROUTES if route not in {"suspension", "revocation", "withdrawal"}]
    for number in range(CASES):
        route = source.choice(safe)
        body = world.bodies[route][1]
        if number % 3:
            path = source.choice(list(places(body)))
            sent = changed(body, path, anything(source))
        else:
            sent = json.dumps(anything(source)).encode()
        answer = world.post(route, sent)
        assert answer.status < 500, (route, sent, answer.body)
