"""*Consented*, under pressure: parallel questions share no use, and nothing that changes in between is missed."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client, Problem
from creditshare.sharing.repository import Questions

BORROWER = "91999999DEM000022B"


class Interfering:
    """The two statements, with something happening once between them; counts how often each ran."""

    def __init__(self, inner: Questions, act: Callable[[], Awaitable[Any]] | None = None) -> None:
        self._inner = inner
        self._act = act
        self.reads = self.writes = 0

    async def read(self, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        self.reads += 1
        return await self._inner.read(parameters)

    async def write(self, parameters: Mapping[str, Any]) -> None:
        act, self._act = self._act, None
        if act is not None:
            await act()
        self.writes += 1
        await self._inner.write(parameters)


def prepared(service: RunningService, **terms: Any) -> tuple[Client, Client, dict[str, Any], str, str]:
    lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
    (subject,) = lender.tokenise([BORROWER])
    asker.tokenise([BORROWER])
    record = lender.call("POST", "/v1/records", data=record_body(subject, "A-1")).data["record_id"]
    consent = asker.grant_consent(
        subject, kind="query", purposes=["pre_loan"], scopes=["defaults", "amounts"], document=b"signed", **terms
    )
    return lender, asker, subject, str(record), str(consent["consent_id"])


def ask(asker: Client, subject: dict[str, Any], consent: str) -> str:
    try:
        asker.query(subject, purpose="pre_loan", consent_id=consent)
    except Problem as problem:
        return problem.code
    return "answered"


def test_64_parallel_questions_share_ten_uses_exactly(service: RunningService) -> None:
    _, asker, subject, _, consent = prepared(service, max_uses=10)
    with ThreadPoolExecutor(64) as pool:
        outcomes = Counter(pool.map(lambda _: ask(asker, subject, consent), range(64)))
    assert outcomes == {"answered": 10, "consent_exhausted": 54}
    assert asker.call("GET", f"/v1/consents/{consent}").data["uses"] == 10
    with service.superuser() as database:
        (told,) = database.execute("SELECT count(*) FROM query_answer").fetchone() or (None,)
    assert told == 10


def test_a_question_takes_exactly_two_statements(service: RunningService) -> None:
    _, asker, subject, _, consent = prepared(service)
    counted = Interfering(service.services.sharing._questions)
    service.services.sharing._questions = counted  # type: ignore[assignment]
    assert ask(asker, subject, consent) == "answered"
    assert (counted.reads, counted.writes) == (1, 1)


@pytest.mark.parametrize("interference", ["correction", "revocation", "withdrawal", "erasure", "suspension"])
def test_what_changes_between_the_statements_is_never_missed(service: RunningService, interference: str) -> None:
    lender, asker, subject, record, consent = prepared(service)
    statements = {
        "erasure": "UPDATE subject SET state = 'erased', dek = NULL, version = version + 1",
    }
    calls: dict[str, Callable[[], Any]] = {
        "correction": lambda: lender.call(
            "POST",
            f"/v1/records/{record}/corrections",
            data={"reason": "wrong_amount", "changes": {"outstanding_principal": "77.00"}},
        ),
        "withdrawal": lambda: lender.call(
            "POST", f"/v1/records/{record}/withdrawal", data={"reason": "reported_in_error"}
        ),
        "revocation": lambda: asker.call("POST", f"/v1/consents/{consent}/revocation", data={}),
    }

    def by_administrator() -> None:
        if interference == "suspension":
            service.rewrite("UPDATE member SET status = 'suspended' WHERE name = 'Asker'")
            return
        with service.superuser() as database:
            database.execute(statements[interference])

    act = calls.get(interference, by_administrator)

    async def interfere() -> None:
        await asyncio.to_thread(act)

    watched = Interfering(service.services.sharing._questions, interfere)
    service.services.sharing._questions = watched  # type: ignore[assignment]

    def ask_all() -> Any:
        return asker.query(subject, purpose="pre_loan", consent_id=consent, scopes=["defaults", "amounts"]).data

    if interference in {"correction", "withdrawal"}:
        answer = ask_all()
        shown = [row["amounts"]["outstanding_principal"] for row in answer["records"]]
        assert shown == (["77.00"] if interference == "correction" else [])
    else:
        expected = {"revocation": "consent_revoked", "erasure": "consent_missing", "suspension": "member_suspended"}
        with pytest.raises(Problem) as caught:
            ask_all()
        assert caught.value.code == expected[interference]
        with service.superuser() as database:
            assert database.execute("SELECT count(*) FROM query_answer").fetchone() == (0,)
    assert watched.reads == 2
