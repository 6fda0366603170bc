"""T2, an enumerating member: a lender that wants to know which of the country's firms are in default.

It has valid keys, the public register of firms, and patience. It must not get: more evaluations than two operators
granted it, by whatever parallelism; a store of tokens of firms that it never does business with; a borrower's standing
without a consent; more borrowers named than evaluated; an element whose order betrays the key.

Not here, because not built yet: alarms on miss rates, canary borrowers.
"""

import random
import re
import secrets
from collections import Counter

import httpx
import pytest
from tests.fixtures.attack import BORROWER, UNKNOWN, at_once, attempt, look
from tests.fixtures.processes import another_process
from tests.fixtures.service import RunningService, record_body

from creditshare.cli.demo.story import synthetic_uscc
from creditshare.client.bank import Client
from creditshare.crypto import oprf, p256
from creditshare.crypto.encoding import b64url_encode
from creditshare.subjects.rules import PER_BORROWER_A_DAY, WHOLE_DAYS

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


def question(element: str) -> dict[str, object]:
    return {
        "subject": {**SUITE, "element": element},
        "purpose": "pre_loan",
        "consent_id": "cns_01900000-0000-7000-8000-000000000000",
        "scopes": ["defaults"],
    }


def test_a_dictionary_ends_after_a_few_days_whatever_else_is_sent(service: RunningService) -> None:
    scanner = service.admit("Scanner", region="US", evaluations_per_day=20)
    for _ in range(WHOLE_DAYS):
        assert evaluate(scanner, 20) == "done"
        service.advance(days=1)
    assert evaluate(scanner, 1) == "enumeration_suspected"
    # Questions under no consent name nobody, and waiting alone does not help.
    for _ in range(5):
        assert attempt(scanner, "POST", "/v1/queries", question(point())) == "consent_missing"
    service.advance(days=30)
    assert evaluate(scanner, 1) == "enumeration_suspected"
    # A few borrowers named, each a report or consent in the log, are worth a few evaluations a day.
    for number in range(2):
        body = record_body({**SUITE, "element": point()}, f"E-{number}")
        assert attempt(scanner, "POST", "/v1/records", body) == "done"
    service.advance(days=1)
    assert evaluate(scanner, 2 * PER_BORROWER_A_DAY + 1) == "enumeration_suspected"
    assert evaluate(scanner, 2 * PER_BORROWER_A_DAY) == "done"
    assert evaluate(scanner, 1) == "enumeration_suspected"
    # The alarm rings, and the log will tell whose it was in one event for each minute.
    counted = re.search(
        r'creditshare_refusals_total\{code="enumeration_suspected"\} (\S+)', httpx.get(service.url + "/metrics").text
    )
    assert counted is not None
    assert float(counted[1]) > 0
    with service.superuser() as database:
        tallied = database.execute("SELECT count FROM refusal_tally WHERE code = 'enumeration_suspected'").fetchall()
    assert 1 <= len(tallied) <= 2
    assert sum(count for (count,) in tallied) == 4
    # An operator looks, finds a reason, and two of them agree on more.
    service.agree(scanner, evaluations_per_day=40)
    assert evaluate(scanner, 1) == "done"


def test_a_lenders_import_is_not_taken_for_a_dictionary(service: RunningService) -> None:
    """Two trial runs, the import, its next part a day later, and then everyone looked after each day."""
    lender = service.admit("Importer", region="US", evaluations_per_day=60)
    source = random.Random(7)  # noqa: S311  the same borrowers each time
    files = [[synthetic_uscc(source) for _ in range(60)] for _ in range(2)]
    for _ in range(2):
        lender.tokenise(files[0])
        service.advance(days=1)
    for number, names in enumerate(files):
        tokens = lender.tokenise(names)
        batch = lender.records.submit_batch(
            [record_body(token, f"I-{number}-{row}") for row, token in enumerate(tokens)]
        )
        assert batch.job["accepted"] == 60
        service.advance(days=1)
    for _ in range(5):
        lender.tokenise(files[1])
        service.advance(days=1)
    told = lender.call("GET", "/v1/me/quota").data
    assert (told["evaluations_unnamed"], told["evaluations_unnamed_at_most"]) == (0, WHOLE_DAYS * 60)


def test_two_processes_together_answer_no_more_questions_than_the_day_has(service: RunningService) -> None:
    scanner = service.admit("Scanner", queries_per_day=50)
    body = question(point())
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
