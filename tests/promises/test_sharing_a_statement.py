"""Questions and reports that share a statement: each is answered for itself, whoever stands beside it (decision 17)."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.fixtures.service import RunningService, record_body

from creditshare.cli.demo.story import synthetic_uscc
from creditshare.client.bank import Client, Problem
from creditshare.storage.gathering import Gathering

BORROWERS = tuple(synthetic_uscc(random.Random(number)) for number in range(6))  # noqa: S311  reproducible, not secret


@contextlib.contextmanager
def held_together(gathering: "Gathering[Any, Any]", *, wait: int) -> Iterator[list[int]]:
    """Hold the first statement up until so many requests are there; yield the sizes of the groups."""
    sizes: list[int] = []
    together, lanes = gathering._together, gathering._lanes

    async def noting(group: Sequence[Any]) -> Sequence[Any]:
        sizes.append(len(group))
        async with asyncio.timeout(30):
            while sum(sizes) + len(gathering._waiting) < wait:  # noqa: ASYNC110  nobody tells when one more waits
                await asyncio.sleep(0.01)
        return await together(group)

    gathering._together, gathering._lanes = noting, 1
    yield sizes
    gathering._together, gathering._lanes = together, lanes


def outcome(call: Any) -> Any:
    try:
        return call()
    except Problem as problem:
        return problem.code


@pytest.fixture
def borrowers(service: RunningService) -> dict[str, Any]:
    """Two askers; borrower number n has n records of another lender; every second consent of the second is revoked."""
    lender = service.admit("Lender", region="US")
    askers = [service.admit(name, region="US") for name in ("First", "Second")]
    tokens = lender.tokenise(BORROWERS)
    for number, token in enumerate(tokens):
        for record in range(number):
            lender.call("POST", "/v1/records", data=record_body(token, f"A-{number}-{record}"))
    consents: dict[tuple[int, int], str] = {}
    for which, asker in enumerate(askers):
        asker.tokenise(BORROWERS)
        for number, token in enumerate(tokens):
            granted = asker.grant_consent(
                token, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed", max_uses=2
            )
            consents[which, number] = str(granted["consent_id"])
            if which and number % 2:
                asker.call("POST", f"/v1/consents/{granted['consent_id']}/revocation", data={})
    return {"lender": lender, "askers": askers, "tokens": tokens, "consents": consents}


def test_each_question_gets_its_own_answer_and_no_other(service: RunningService, borrowers: dict[str, Any]) -> None:
    askers, tokens, consents = borrowers["askers"], borrowers["tokens"], borrowers["consents"]

    def ask(which: int, number: int, consent: str) -> Any:
        asker: Client = askers[which]
        got = outcome(lambda: asker.query(tokens[number], purpose="pre_loan", consent_id=consent).data)
        return got if isinstance(got, str) else (got["consent"]["id"], len(got["records"]))

    # Each consent twice, which is all it has, and once more; and each lender under the other's consent.
    wanted = [(which, number, consents[which, number]) for which in (0, 1) for number in range(1, 6)] * 3
    wanted += [(which, number, consents[1 - which, number]) for which in (0, 1) for number in range(1, 6)]
    questions = service.services.sharing._questions
    with ThreadPoolExecutor(len(wanted)) as pool, held_together(questions._reads, wait=len(wanted)) as groups:
        asked = [pool.submit(ask, *one) for one in wanted]
        found = [one.result(30) for one in asked]
    counted = {
        key: Counter(got for one, got in zip(wanted, found, strict=True) if one == key) for key in dict.fromkeys(wanted)
    }
    for (which, number, consent), outcomes in counted.items():
        if consent != consents[which, number]:
            assert outcomes == {"consent_missing": 1}
        elif which and number % 2:
            assert outcomes == {"consent_revoked": 3}
        else:
            assert outcomes == {(consent, number): 2, "consent_exhausted": 1}
    assert max(groups) > len(wanted) // 2
    told = service.services.sharing
    with service.superuser() as database:
        rows = database.execute("SELECT query_id, member_id, consent_id FROM query_answer").fetchall()
    assert len(rows) == 2 * (5 + 2)
    for query_id, _, _ in rows:  # each opens under its own borrower's key and says what it said

        async def rebuilt(query_id: Any = query_id) -> tuple[bytes, bytes]:
            async with service.services.database.reading() as session:
                return await told.rebuild(session, query_id)

        stored, again = service.run(rebuilt())
        assert stored == again


def test_reports_of_two_lenders_in_one_transaction_are_each_their_own(service: RunningService) -> None:
    lenders = [service.admit(name, region="US") for name in ("First", "Second")]
    poor = service.admit("Poor", region="US", evaluations_per_day=1)
    tokens = lenders[0].tokenise(BORROWERS)
    lenders[1].tokenise(BORROWERS)
    poor.tokenise(BORROWERS[:1])

    def report(lender: Client, number: int, account: str, **changes: Any) -> Any:
        return outcome(
            lambda: str(
                lender.call("POST", "/v1/records", data=record_body(tokens[number], account, **changes)).data[
                    "record_id"
                ]
            )
        )

    calls: list[tuple[Client, int, str, dict[str, Any]]]
    calls = [(lender, number, f"{who}-{number}", {}) for who, lender in enumerate(lenders) for number in range(6)]
    calls += [(lenders[0], 0, "0-0", {})]  # an account twice, under another key
    calls += [(lenders[0], 1, "bad", {"days_past_due": 3})]  # refused by a rule
    calls += [(poor, 1, "P-1", {}), (poor, 2, "P-2", {})]  # names two borrowers, and had one evaluation
    submissions = service.services.records._submissions
    with ThreadPoolExecutor(len(calls)) as pool, held_together(submissions, wait=len(calls)) as groups:
        sent = [pool.submit(report, *one[:3], **one[3]) for one in calls]
        found = [one.result(30) for one in sent]
    assert max(groups) > 3
    records = [one for one in found if one.startswith("rec_")]
    assert len(set(records)) == len(records)
    assert sorted(one for one in (found[0], found[12]) if not one.startswith("rec_")) == ["state_conflict"]
    assert found[13] not in records
    assert sorted(one if one == "quota_exhausted" else "taken in" for one in found[14:]) == [
        "quota_exhausted",
        "taken in",
    ]
    for (lender, number, account, _), record in zip(calls, found, strict=True):
        if record in records:
            shown = lender.call("GET", f"/v1/records/{record}").data
            assert (shown["account_ref"], shown["record_id"]) == (account, record), number
    with service.superuser() as database:
        introduced = dict(
            database.execute(
                "SELECT m.name, b.introduced FROM member_budget b JOIN member m USING (member_id)"
            ).fetchall()
        )
        indexes = database.execute("SELECT count(*), count(DISTINCT subject_id) FROM subject_index").fetchone()
    assert introduced == {"First": 6, "Second": 6, "Poor": 1}
    assert indexes == (6, 6)
