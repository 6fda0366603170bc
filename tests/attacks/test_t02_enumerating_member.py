"""T2, an enumerating member: a lender that wants to know which of the country's firms are in default.

It has valid keys, the public register of firms, and patience. It must not get: more evaluations than two operators
granted it, by whatever parallelism; a borrower's standing without a consent; more borrowers named than evaluated; an
element whose order betrays the key.

Not here, because not built yet: alarms on miss rates, canary borrowers.
"""

import secrets
from collections import Counter

import pytest
from tests.fixtures.attack import BORROWER, UNKNOWN, at_once, attempt, look
from tests.fixtures.processes import another_process
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client
from creditshare.crypto import oprf, p256
from creditshare.crypto.encoding import b64url_encode

SUITE = {"suite": oprf.SUITE, "key_version": 1}


def point() -> str:
    return b64url_encode(p256.encode_point(p256.multiply_base(1 + secrets.randbelow(p256.N - 1))))


def used(client: Client) -> int:
    return int(client.call("GET", "/v1/me/quota")["evaluations_used_today"])


def evaluate(client: Client, count: int) -> str:
    data = {**SUITE, "blinded": [point() for _ in range(count)]}
    request = client.sign("POST", "/v1/tokens/evaluate", data=data)
    return str(client.send(request).data.get("code", "done"))


def test_parallel_batches_never_exceed_the_budget(service: RunningService) -> None:
    scanner = service.admit("Scanner", evaluations_per_day=60)
    assert Counter(at_once(12, lambda _: evaluate(scanner, 16))) == {"done": 3, "quota_exhausted": 9}
    assert used(scanner) == 48
    assert evaluate(scanner, 13) == "quota_exhausted"
    assert used(scanner) == 48, "a batch that does not fit is evaluated in no part"
    assert evaluate(scanner, 12) == "done"
    assert evaluate(scanner, 1) == "quota_exhausted"


def test_two_processes_together_answer_no_more_questions_than_the_day_has(service: RunningService) -> None:
    scanner = service.admit("Scanner", queries_per_day=50)
    body = {
        "subject": {**SUITE, "element": point()},
        "purpose": "pre_loan",
        "consent_id": "cns_01900000-0000-7000-8000-000000000000",
        "scopes": ["defaults"],
    }
    with another_process(service) as url, Client(url, scanner.identity) as elsewhere:
        doors = (scanner, elsewhere)
        told = at_once(8, lambda number: [attempt(doors[number % 2], "POST", "/v1/queries", body) for _ in range(10)])
    assert Counter(code for codes in told for code in codes) == {"consent_missing": 50, "quota_exhausted": 30}


def test_one_who_is_refused_is_told_nothing_of_the_elements(service: RunningService) -> None:
    scanner = service.admit("Scanner", evaluations_per_day=1)
    request = scanner.sign("POST", "/v1/tokens/evaluate", data={**SUITE, "blinded": [point(), point()]})
    answer = scanner.send(request)
    assert answer.status == 429
    assert "evaluated" not in answer.data
    assert used(scanner) == 0


def test_without_a_consent_a_known_borrower_looks_like_any_other(shared_service: RunningService) -> None:
    lender, scanner = shared_service.admit("Lender", region="US"), shared_service.admit("Scanner", region="US")
    known, unknown = scanner.tokenise([BORROWER, UNKNOWN])
    lender.tokenise([BORROWER])
    lender.call("POST", "/v1/records", data=record_body(known, "A-1"))
    looks = []
    for subject in (known, unknown):
        body = {
            "subject": subject,
            "purpose": "pre_loan",
            "consent_id": "cns_01900000-0000-7000-8000-000000000000",
            "scopes": ["defaults"],
        }
        looks.append(look(scanner.send(scanner.sign("POST", "/v1/queries", data=body))))
    assert looks[0] == looks[1]
    assert looks[0][2]["code"] == "consent_missing"


def test_registering_a_known_borrower_looks_like_registering_a_new_one(shared_service: RunningService) -> None:
    lender, scanner = shared_service.admit("Lender 2", region="US"), shared_service.admit("Scanner 2", region="US")
    known, unknown = scanner.tokenise([BORROWER, UNKNOWN])
    lender.tokenise([BORROWER])
    lender.call("POST", "/v1/records", data=record_body(known, "B-1"))
    looks = []
    for subject in (known, unknown):
        answer = scanner.grant_consent(
            subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed"
        )
        looks.append((answer.status, sorted(answer.headers), sorted(answer.data)))
    assert looks[0] == looks[1]


def test_nobody_names_more_borrowers_than_it_had_evaluated(shared_service: RunningService) -> None:
    scanner = shared_service.admit("Inventor", region="US")
    scanner.tokenise([BORROWER])
    invented = [{**SUITE, "element": point()} for _ in range(6)]

    def name(number: int) -> str:
        return attempt(scanner, "POST", "/v1/records", record_body(invented[number], f"I-{number}"))

    assert Counter(at_once(6, name)) == {"done": 1, "quota_exhausted": 5}


OFF_CURVE = next(x for x in range(99) if pow(x**3 - 3 * x + p256.B, (p256.P - 1) // 2, p256.P) == p256.P - 1)
BAD = {
    "the identity": b"\x00",
    "33 zeros": bytes(33),
    "off the curve": b"\x02" + OFF_CURVE.to_bytes(32, "big"),
    "x beyond the field": b"\x02" + (p256.P + 5).to_bytes(32, "big"),
    "hybrid prefix": b"\x06" + (3).to_bytes(32, "big"),
    "too short": b"\x02" + bytes(31),
}


@pytest.mark.parametrize("name", BAD)
def test_an_element_of_another_group_never_meets_the_key(shared_service: RunningService, name: str) -> None:
    scanner = shared_service.admit(f"Prober {name}", region="US")
    element = b64url_encode(BAD[name])
    for data in ({**SUITE, "blinded": [element]}, {**SUITE, "blinded": [point(), element]}):
        assert attempt(scanner, "POST", "/v1/tokens/evaluate", data) == "element_invalid"
    record = record_body({**SUITE, "element": element}, "A-1")
    assert attempt(scanner, "POST", "/v1/records", record) == "element_invalid"
    assert used(scanner) == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"suite": "ristretto255-SHA512"}, "suite_unknown"),
        ({"suite": "p256-sha256"}, "suite_unknown"),
        ({"key_version": 2}, "key_version_retired"),
    ],
    ids=str,
)
def test_no_weaker_suite_or_other_key_can_be_chosen(
    shared_service: RunningService, change: dict[str, object], code: str
) -> None:
    scanner = shared_service.admit(f"Downgrader {change}", region="US")
    assert attempt(scanner, "POST", "/v1/tokens/evaluate", {**SUITE, "blinded": [point()], **change}) == code
