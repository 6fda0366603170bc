"""The 20 % test from statement to answer: over real sockets, by lenders who do not trust each other."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from tests.fixtures.erasures import erase
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, record_body, running_service
from tests.handback.test_hand_back import end

from creditshare.cli.options import write_private
from creditshare.client.bank import Client, Problem
from creditshare.client.core import SignedAnswer
from creditshare.errors import Refused
from creditshare.ids import parse, spell
from creditshare.indebtedness.rules import Debt
from creditshare.sandbox.service import business_time
from creditshare.sharing.service import subject_of_question
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.subjects.service import BorrowerToken

BORROWER = "91999999DEM000022B"
OTHER = "91999999DEM000014G"
FIRM = "91999999DEM000073K"
TOUCHED = "91999999DEM000006M"
CHINA = ZoneInfo("Asia/Shanghai")
PURPOSE = "post_loan_monitoring"
NOWHERE = "01900000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def service(postgres: EmbeddedPostgres, template: str) -> Iterator[RunningService]:
    with running_service(postgres, template) as running:
        yield running


@pytest.fixture(scope="module")
def banks(service: RunningService) -> list[Client]:
    return [service.admit(f"Bank {letter}") for letter in "ABCDEF"]


def now_of(service: RunningService) -> datetime:
    with service.superuser() as database:
        row = database.execute("SELECT creditshare_now()").fetchone()
    assert row is not None
    return row[0].astimezone(CHINA)  # type: ignore[no-any-return]


def go_to(service: RunningService, banks: list[Client], day: int) -> list[Client]:
    """Move business time to noon of a day of next month, in China; return clients that know the new time."""
    now = now_of(service)
    month = (now.replace(day=1) + timedelta(days=31)).replace(day=1)
    target = month.replace(day=day, hour=12, minute=0, second=0, microsecond=0)
    service.advance(seconds=(target - now).total_seconds())
    return knowing(service, banks)


def knowing(service: RunningService, banks: list[Client]) -> list[Client]:
    """Return clients that know the present time."""
    return [service.client(bank.identity) for bank in banks if bank.identity is not None]


def last_month(service: RunningService) -> str:
    return f"{now_of(service).replace(day=1) - timedelta(days=1):%Y-%m}"


def token_of(bank: Client, borrower: str = BORROWER) -> dict[str, Any]:
    (subject,) = bank.tokenise([borrower])
    return dict(subject)


def allowed(bank: Client, subject: dict[str, Any], *, kind: str = "query", **terms: Any) -> str:
    chosen = {"purposes": [PURPOSE, "restructuring"], "scopes": ["defaults"], "valid_days": 400, **terms}
    return str(bank.grant_consent(subject, kind=kind, document=b"signed", **chosen)["consent_id"])


def ask(bank: Client, subject: dict[str, Any], consent: str, *, purpose: str = PURPOSE) -> SignedAnswer:
    return bank.queries.non_performing(subject=subject, consent=consent, purpose=purpose)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(Problem) as caught:
        act()
    return caught.value.code


def test_what_no_bank_can_compute_alone(service: RunningService, banks: list[Client]) -> None:
    """Five lenders state, a sixth has a default on file; one bit and one band are told, to everybody alike."""
    banks = go_to(service, banks, 3)
    month = last_month(service)
    tokens = [token_of(bank) for bank in banks]
    figures = (("400.00", "200.10"), ("300.00", "0.00"), ("200.00", "0"), ("100.00", "0.00"))
    for bank, subject, (total, overdue) in zip(banks, tokens, figures, strict=False):
        done = bank.debts.state(subject=subject, month=month, total=total, overdue=overdue)
        assert (done["month"], done["total_debt"], done["overdue_debt"]) == (month, total, overdue)
    asker, subject = banks[4], tokens[4]
    consent, other = allowed(asker, subject, max_uses=3), allowed(banks[0], tokens[0])
    assert (
        ask(asker, subject, consent).data["reason"] == "too_few_lenders"
    )  # the month before it, of which nothing is on file
    go_to_cut_off(service)

    told = ask(asker, subject, consent, purpose="restructuring")
    assert told.data == {
        "query_id": told.data["query_id"],
        "month": month,
        "as_of": told.data["as_of"],
        "flipped": True,
        "reason": None,
        "coverage": "all",
        "consent": {"id": consent},
        "policy_version": told.data["policy_version"],
    }
    same = ask(banks[0], tokens[0], other).data
    assert {name: told.data[name] for name in ("month", "as_of", "flipped", "coverage")} == {
        name: same[name] for name in ("month", "as_of", "flipped", "coverage")
    }
    # It is a question like others: found by its id, counted against the consent, in the log with its purpose.
    shown = asker.queries.show(told["query_id"])
    assert shown.body == told.body
    assert "cs-superseded" not in shown.headers
    entry = told.log_entry
    assert entry is not None
    meta = json.loads(entry.meta)
    assert (meta["action"], meta["purpose"], meta["details"]) == (
        "run_non_performing_test",
        "restructuring",
        {"month": month},
    )
    ask(asker, subject, consent)
    assert asker.consents.show(consent)["uses"] == 3

    async def who_asked() -> list[tuple[str | None, str]]:
        async with service.services.database.reading() as session:
            about = await subject_of_question(session, parse("qry", told["query_id"]))
            state = await service.services.subjects.read(session, about)
            asked = await service.services.sharing.questions_about(session, state)
            return [(one.purpose, spell("mem", one.member_id)) for one in asked]

    assert ("restructuring", asker.session.signer.member_id) in service.run(who_asked())
    assert code_of(lambda: ask(asker, subject, consent)) == "consent_exhausted"
    service.contract.verify()


def go_to_cut_off(service: RunningService) -> None:
    now = now_of(service)
    assert now.day < 16
    service.advance(seconds=(now.replace(day=16, hour=0, minute=0, second=1) - now).total_seconds())


def test_two_who_collude_search_in_vain(service: RunningService, banks: list[Client]) -> None:
    """They restate as often as they like and ask after each, before the cut-off and behind it: nothing is told."""
    banks = go_to(service, banks, 2)
    month = last_month(service)
    tokens = [token_of(bank, OTHER) for bank in banks]
    for bank, subject in list(zip(banks, tokens, strict=True))[2:]:
        bank.debts.state(subject=subject, month=month, total="250000", overdue="0")
    spies = list(zip(banks[:2], tokens[:2], strict=True))
    consents = [allowed(bank, subject) for bank, subject in spies]

    def asked() -> set[str]:
        answers = [ask(bank, subject, consent).data for (bank, subject), consent in zip(spies, consents, strict=True)]
        return {json.dumps({k: a[k] for k in ("month", "as_of", "flipped", "coverage", "reason")}) for a in answers}

    heard: set[str] = set()
    low, high = 0, 1_000_000
    for _ in range(8):
        middle = (low + high) // 2
        for bank, subject in spies:
            bank.debts.state(subject=subject, month=month, total=str(middle + 1), overdue=str(middle))
        heard |= asked()
        high = middle
    assert len(heard) == 1
    assert json.loads(heard.pop())["month"] < month
    go_to_cut_off(service)
    for bank, subject in spies:
        restating = lambda bank=bank, subject=subject: bank.debts.state(  # noqa: E731
            subject=subject, month=month, total="1", overdue="1"
        )
        assert code_of(restating) == "validation_failed"
        heard |= asked()
    assert len(heard) == 1
    # Of the last figures of both, 7,810 of 1,000,000 and a little are overdue.
    assert json.loads(heard.pop())["flipped"] is False


def test_nothing_comes_on_file_behind_an_answer(service: RunningService, banks: list[Client]) -> None:
    """A statement that began before the cut-off and waited for the borrower's row until after it is too late."""
    banks = go_to(service, banks, 14)
    bank, subject = banks[0], token_of(banks[0])
    month = date.fromisoformat(f"{last_month(service)}-01")
    began = now_of(service).astimezone(UTC)
    go_to_cut_off(service)
    debt = Debt(month, "CNY", Decimal(1), Decimal(1), "legal_duty", None)
    token = BorrowerToken(subject["suite"], subject["key_version"], subject["element"])

    async def late() -> str:
        async with service.services.database.writing() as session:
            member = await service.services.members.get(session, parse("mem", bank.session.signer.member_id))
            assert (await business_time(session)).now > began
            with pytest.raises(Refused) as caught:
                await service.services.indebtedness.state_debt(session, member, token, debt, now=began)
            return ",".join(f"{field.pointer} {field.code}" for field in caught.value.fields)

    assert service.run(late()) == "/month closed"


def test_every_refusal_of_a_test(service: RunningService, banks: list[Client]) -> None:
    banks = go_to(service, banks, 5)
    asker, other = banks[4], banks[5]
    subject = token_of(asker)
    good = allowed(asker, subject)
    body = {"subject": subject, "purpose": PURPOSE, "consent_id": good}

    def refused(bank: Client = asker, **changes: Any) -> str:
        return code_of(lambda: bank.call("POST", "/v1/non-performing-tests", data={**body, **changes}))

    unheard = token_of(asker, "91999999DEM000057X")
    revoked, paused = allowed(asker, subject), allowed(asker, subject)
    asker.consents.revoke(revoked)
    asker.consents.pause(paused)
    provide = allowed(asker, subject, kind="provide")
    assert refused(purpose="pre_loan") == "validation_failed"
    assert refused(subject={**subject, "suite": "P384"}) == "suite_unknown"
    assert refused(subject={**subject, "key_version": 9}) == "key_version_retired"
    assert refused(subject={**subject, "element": "AAAA"}) == "element_invalid"
    assert refused(subject=unheard) == "consent_missing"
    assert refused(consent_id=f"cns_{NOWHERE}") == "consent_missing"
    assert refused(consent_id="no id") == "consent_missing"
    assert refused(other) == "consent_missing"
    assert refused(consent_id=provide) == "consent_missing"
    assert refused(consent_id=revoked) == "consent_revoked"
    assert refused(consent_id=paused) == "consent_paused"
    assert refused(consent_id=allowed(asker, subject, purposes=["pre_loan"])) == "purpose_not_allowed"
    assert refused(consent_id=allowed(asker, subject, scopes=["amounts"])) == "consent_scope"
    assert refused(service.admit("A bank elsewhere", region="US")) == "jurisdiction_not_admitted"
    soon = allowed(asker, subject, valid_days=1)
    service.advance(days=2)
    assert refused(consent_id=soon) == "consent_expired"
    assert asker.consents.show(good)["uses"] == 0


def test_every_refusal_of_a_statement(service: RunningService, banks: list[Client]) -> None:
    banks = go_to(service, banks, 5)
    bank = banks[3]
    subject = token_of(bank)
    body = {
        "subject": subject,
        "month": last_month(service),
        "currency": "CNY",
        "total_debt": "10.00",
        "overdue_debt": "1.00",
        "lawful_basis": "consent",
        "provide_consent_id": allowed(bank, subject, kind="provide"),
    }

    def refused(sender: Client = bank, **changes: Any) -> str:
        with pytest.raises(Problem) as caught:
            sender.call("POST", "/v1/debt-statements", data={**body, **changes})
        fields = caught.value.document.get("errors", [])
        return " ".join([caught.value.code, *(f"{one['pointer']}={one['code']}" for one in fields)])

    assert bank.call("POST", "/v1/debt-statements", data=body).data["lawful_basis"] == "consent"
    this_month = f"{now_of(service):%Y-%m}"
    assert refused(month=this_month) == "validation_failed /month=not_over"
    assert refused(month="2026-01") == "validation_failed /month=closed"
    assert refused(currency="USD") == "validation_failed /currency=unknown_code"
    assert refused(overdue_debt="10.01") == "validation_failed /overdue_debt=above_total"
    assert refused(lawful_basis="legal_duty") == "validation_failed /provide_consent_id=unexpected"
    assert refused(provide_consent_id=None) == "validation_failed /provide_consent_id=required"
    assert refused(provide_consent_id=f"cns_{NOWHERE}") == "consent_missing"
    assert refused(provide_consent_id=allowed(bank, subject)) == "consent_missing"
    assert refused(subject={**subject, "suite": "P384"}) == "suite_unknown"
    assert refused(subject={**subject, "key_version": 9}) == "key_version_retired"
    wrong = "element_invalid /subject/element=element_invalid"
    assert refused(subject={**subject, "element": "AAAA"}) == wrong
    revoked, paused = (allowed(bank, subject, kind="provide") for _ in range(2))
    bank.consents.revoke(revoked)
    bank.consents.pause(paused)
    assert refused(provide_consent_id=revoked) == "consent_revoked"
    assert refused(provide_consent_id=paused) == "consent_paused"
    assert refused(service.admit("A bank elsewhere", region="US")) == "jurisdiction_not_admitted"


def test_parallel_tests_share_no_use_of_a_consent(service: RunningService, banks: list[Client]) -> None:
    asker = go_to(service, banks, 5)[4]
    subject = token_of(asker)
    consent = allowed(asker, subject, max_uses=3)

    def once(_: int) -> str:
        try:
            ask(asker, subject, consent)
        except Problem as problem:
            return problem.code
        return "answered"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(once, range(8)))
    assert outcomes == ["answered"] * 3 + ["consent_exhausted"] * 5


def test_a_statement_that_was_touched_is_noticed(service: RunningService, banks: list[Client]) -> None:
    """One that is changed or taken from between spoils every test of its borrower; the last one taken is for fsck."""
    asker = go_to(service, banks, 5)[4]
    subject = token_of(asker, TOUCHED)
    consent = allowed(asker, subject)
    month = last_month(service)
    first, second, last = (
        parse("dbt", asker.debts.state(subject=subject, month=month, total=total, overdue="0")["statement_id"])
        for total in ("5", "6", "7")
    )
    ask(asker, subject, consent)
    with service.superuser() as database:
        database.execute("ALTER TABLE debt_statement DISABLE TRIGGER ALL")

        def put(column: LiteralString, value: object, statement: UUID) -> None:
            change: LiteralString = f"UPDATE debt_statement SET {column} = %s WHERE statement_id = %s"  # noqa: S608  names of ours
            database.execute(change, [value, statement])

        def spoiled() -> bool:
            return code_of(lambda: ask(asker, subject, consent)) == "internal_error"

        assert asker.identity is not None
        put("member_id", parse("mem", banks[0].session.signer.member_id), first)
        assert spoiled()
        put("member_id", parse("mem", asker.identity.member_id), first)
        for statement, number in ((first, 9), (second, 1), (first, 2)):
            put("number", number, statement)
        assert spoiled()
        for statement, number in ((first, 9), (second, 2), (first, 1)):
            put("number", number, statement)
        ask(asker, subject, consent)
        for statement in (last, first):
            database.execute("DELETE FROM debt_statement WHERE statement_id = %s", [statement])
            database.execute("DELETE FROM debt_statement_lookup WHERE statement_id = %s", [statement])
            if statement == last:
                ask(asker, subject, consent)
        assert spoiled()
        for trigger in ("keeps_rows", "keeps_all"):
            database.execute(f"ALTER TABLE debt_statement ENABLE ALWAYS TRIGGER debt_statement_{trigger}")
    assert asker.consents.show(consent)["uses"] == 3
    told = command(service, "log", "fsck", "--database", "--data", str(service.folder))
    assert "events name debt statements that are not there" in told.stdout
    assert spell("dbt", last) in told.stdout


def test_on_the_command_line_and_in_what_is_handed_back(
    service: RunningService, banks: list[Client], tmp_path: Path
) -> None:
    bank = go_to(service, [service.admit("A bank that leaves")], 5)[0]
    month = last_month(service)
    for other in knowing(service, banks[:3]):
        other.debts.state(subject=token_of(other, FIRM), month=month, total="1000", overdue="0")
    file, key, plain = tmp_path / "bank.jwk.json", tmp_path / "mine.jwk.json", tmp_path / "plain.ndjson"
    assert bank.identity is not None
    write_private(file, bank.identity.stored())
    at = ("--as", str(file), "--url", service.url)
    figures = ("--uscc", FIRM, "--month", month, "--total", "1000.00", "--overdue", "801.00")
    stated = command(service, "debt", "state", *figures, *at, "--json")
    assert json.loads(stated.stdout)["month"] == month, stated.stderr
    go_to_cut_off(service)
    consent = allowed(knowing(service, [bank])[0], token_of(bank, FIRM))
    evidence = tmp_path / "evidence.json"
    question = ("--uscc", FIRM, "--consent", consent, "--evidence", str(evidence))
    asked = command(service, "query", "non-performing", *question, *at)
    assert (
        asked.stdout
        == f"{month}: more than 20 % is overdue: non-performing; of the lenders known, all stated their debt\n"
    )
    assert json.loads(evidence.read_text())["answer"]["status"] == 200

    assert command(service, "hand-back", "key", "--out", str(key)).returncode == 0
    assert command(service, "hand-back", "name", "--key", str(key), *at).returncode == 0
    member = end(service, bank)
    out = tmp_path / "back"
    made = command(service, "member", "hand-back", member, "--out", str(out), "--data", str(service.folder), "--json")
    assert json.loads(made.stdout)["statements"] == 1, made.stderr
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [dict(service.services.signing_key.public_jwk)]}))
    words = (str(out), "--jwks", str(jwks), "--out", str(plain), "--key", str(key))
    assert command(service, "hand-back", "open", *words).returncode == 0
    rows = {row["row"]: row for row in map(json.loads, plain.read_text().splitlines())}
    assert (rows["debt_statement"]["total_debt"], rows["debt_statement"]["month"]) == ("1000.00", month)
    assert rows["question"]["kind"] == "non_performing_test"
    assert "flipped" not in json.dumps(rows)


def test_an_erased_borrower_is_forgotten(service: RunningService, banks: list[Client]) -> None:
    bank = go_to(service, banks, 5)[5]
    american = service.admit("A bank of two countries", region="US")
    subject = token_of(bank, "91999999DEM000065Q")
    record = american.call("POST", "/v1/records", data=record_body(token_of(american, "91999999DEM000065Q"), "A-1"))
    consent = allowed(bank, subject)
    query = ask(bank, subject, consent)
    erase(service, record["record_id"], whole_borrower=True)
    assert code_of(lambda: ask(bank, subject, consent)) == "consent_missing"
    assert code_of(lambda: bank.queries.show(query["query_id"])) == "erased"
