"""*Consented*: a random year of five lenders, every answer and every refusal compared with what the design says.

The other half is ``fixtures/consent_oracle.py``, which knows nothing of the service's rules. A failure names the seed;
set it in ``CREDITSHARE_ORACLE_SEED`` to see the same year again.
"""

import json
import os
import random
import secrets
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import httpx
from tests.fixtures.consent_oracle import (
    CHINA,
    PAID,
    STEPS,
    SUMS,
    Book,
    Consent,
    Loan,
    Question,
    Step,
    edges,
    visible_from,
)
from tests.fixtures.service import RunningService, wait_for

from creditshare.client.bank import Client, Problem
from creditshare.client.core import SignedAnswer
from creditshare.crypto.digests import content_digest

SEED = "CREDITSHARE_ORACLE_SEED"
ACTS = 350
MOST_ACTS = 2_000
HOMES = {"Ant": "CN", "Bee": "CN", "Cat": "US", "Dog": "US", "Elk": "DE"}
REGIONS = {
    "CN": {"scheme": "GB/T 2260", "code": "350100"},
    "US": {"scheme": "ISO 3166-2", "code": "US-CA"},
    "DE": {"scheme": "ISO 3166-2", "code": "DE-BE"},
}
BORROWERS = ["91999999DEM000006M", "91999999DEM000014G", "91999999DEM000022B"]
PURPOSES = ["pre_loan", "post_loan_monitoring", "guarantor_check", "restructuring"]
SCOPES = ["defaults", "amounts", "history", "legal", "inquiries"]
MONEY = [
    "0",
    "9999.99",
    "10000.00",
    "49999.9999",
    "50000",
    "199999.99",
    "200000.00",
    "1000000",
    "5000000.0",
    "20000000",
]
DAYS = [91, 119, 120, 149, 150, 179, 180, 270, 271, 360, 361, 4000]
MUST_SEE = {
    *("answered", "consent_missing", "consent_not_yet_valid", "consent_paused", "consent_revoked", "consent_expired"),
    *("consent_exhausted", "consent_scope", "purpose_not_allowed", "member_suspended", "state_conflict", "not_found"),
    *("validation_failed", "notice_required", "jurisdiction_not_admitted", "past", "retold", "corrected", "withdrawn"),
    *("pending hidden", "paid in time", "own", "two lenders", "amounts", "withheld", "ended"),
}


class Year:
    """The service, the book that predicts it, and the dice."""

    def __init__(self, service: RunningService, seed: int) -> None:
        self.service = service
        self.dice = random.Random(seed)  # noqa: S311  reproducible choices, no secrets
        bands = httpx.get(f"{service.url}/v1/code-lists").json()["amount_bands"]
        self.book = Book([name for name in bands if name not in {"none", "mixed_currencies"}])
        self.clients: dict[str, Client] = {name: service.admit(name, region=home) for name, home in HOMES.items()}
        self.tokens: dict[str, dict[str, Any]] = {}
        for client in self.clients.values():
            self.tokens = dict(zip(BORROWERS, client.tokenise(BORROWERS), strict=True))
        self.numbers = count(1)
        self.ahead = timedelta()
        self.quiet: list[datetime] = []
        self.answers: list[tuple[Question, datetime, str, SignedAnswer]] = []
        self.handles: dict[tuple[str, str], str] = {}
        self.seen: Counter[str] = Counter()

    # Time

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def skip(self, days: float) -> None:
        """Let business time run ahead, in the whole seconds that the service counts."""
        step = timedelta(seconds=round(days * 86_400))
        self.service.advance(seconds=step.total_seconds())
        self.ahead += step

    def pass_time(self) -> None:
        """Let minutes, hours or days go by, and stop a minute clear of everything that changes by itself."""
        minutes, hours, days = self.dice.uniform(2, 15), self.dice.uniform(1, 9), self.dice.uniform(0.5, 3)
        (step,) = self.dice.choices([minutes / 1440, hours / 24, days], [20, 6, 3])
        self.skip(step)
        while any(abs((edge - self.now()).total_seconds()) < 60 for edge in [*edges(self.book), *self.midnights()]):
            self.skip(1 / 720)
        self.quiet.append(self.now() - timedelta(seconds=30))

    def midnights(self) -> list[datetime]:
        return [
            self.now().astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=d)
            for zone in (UTC, CHINA)
            for d in (0, 1)
        ]

    # Calling and comparing

    def call(self, who: str, method: str, path: str, data: object = None, key: str | None = None) -> SignedAnswer | str:
        """Return the answer, or the code of the refusal."""
        try:
            return self.clients[who].call(method, path, data=data, key=key)
        except Problem as problem:
            return problem.code

    def same(self, expected: object, got: SignedAnswer | str) -> Any:
        """Compare a refusal code, or the absence of one (None); return the data of what was answered."""
        code = got if isinstance(got, str) else None
        assert code == expected, f"expected {expected or 'an answer'}, got {code or 'an answer'}"
        self.seen[code or "done"] += 1
        return None if isinstance(got, str) else got.data

    def pick_lender(self) -> str:
        return self.dice.choice(list(HOMES))

    def someone(self, owner: str) -> str:
        """The owner, or now and then another."""
        return owner if self.dice.random() < 0.9 else self.pick_lender()

    # Consents

    def grant(self) -> None:
        dice, now = self.dice, self.now().replace(microsecond=0)
        kind = dice.choices(["query", "provide"], [4, 1])[0]
        begins = now + dice.choice([timedelta(days=-3), timedelta(hours=-1), timedelta(hours=5), timedelta(days=2)])
        consent = Consent(
            owner=self.pick_lender(),
            borrower=dice.choice(BORROWERS),
            kind=kind,
            purposes=dice.sample(PURPOSES, dice.randint(1, 4)),
            scopes=dice.sample(SCOPES, dice.randint(3, 5)),
            valid_from=begins,
            valid_until=max(now, begins) + timedelta(hours=dice.choice([30, 300, 900, 2000])),
            max_uses=dice.choice([None, None, 1, 2, 5]),
            frequency=dice.choice([None, None, (1, "day"), (2, "day"), (3, "month")]),
        )
        signed_at, fault = now - timedelta(days=dice.uniform(0, 29.9)), dice.random()
        if fault < 0.03:
            consent.valid_until = begins
        elif fault < 0.06:
            consent.valid_from, consent.valid_until = now - timedelta(days=9), now - timedelta(minutes=5)
        elif fault < 0.09:
            signed_at = now + dice.choice([timedelta(minutes=5), timedelta(days=-30, minutes=-5)])
        data: dict[str, Any] = {
            "kind": kind,
            "subject": self.tokens[consent.borrower],
            "purposes": consent.purposes,
            "scopes": consent.scopes,
            "valid_from": spelled(consent.valid_from),
            "valid_until": spelled(consent.valid_until),
            "evidence": {
                "digest": content_digest(str(next(self.numbers)).encode()),
                "channel": "paper",
                "signed_at": spelled(signed_at),
            },
        }
        if consent.max_uses is not None:
            data["max_uses"] = consent.max_uses
        if consent.frequency is not None:
            data["frequency"] = dict(zip(("uses", "per"), consent.frequency, strict=True))
        expected = "member_suspended" if consent.owner in self.book.suspended else "validation_failed"
        wrong = expected == "member_suspended" or fault < 0.09
        told = self.same(expected if wrong else None, self.call(consent.owner, "POST", "/v1/consents", data))
        if told is not None:
            consent.public_id = told["consent_id"]
            self.book.consents.append(consent)
            assert told["status"] == consent.status(self.now())

    def change_consent(self) -> None:
        if not self.book.consents:
            return
        consent = self.dice.choice(self.book.consents)
        who = self.someone(consent.owner)
        (change,) = self.dice.choices(["pause", "resumption", "revocation"], [4, 4, 1])
        if change == "resumption" and who in self.book.suspended:
            expected: str | None = "member_suspended"
        elif who != consent.owner:
            expected = "not_found"
        else:
            fits = {"pause": not consent.paused, "resumption": consent.paused, "revocation": True}[change]
            expected = None if fits and not consent.revoked else "state_conflict"
        told = self.same(expected, self.call(who, "POST", f"/v1/consents/{consent.public_id}/{change}", {}))
        if told is not None:
            consent.paused = change == "pause" if change != "revocation" else consent.paused
            consent.revoked = change == "revocation"
            assert told["status"] == consent.status(self.now())

    def show_consent(self) -> None:
        if not self.book.consents:
            return
        consent = self.dice.choice(self.book.consents)
        who = self.someone(consent.owner)
        told = self.same(
            None if who == consent.owner else "not_found", self.call(who, "GET", f"/v1/consents/{consent.public_id}")
        )
        if told is not None:
            assert (told["uses"], told["status"]) == (len(consent.used), consent.status(self.now()))

    # Records

    def submit(self) -> None:
        dice, now = self.dice, self.now()
        lender, borrower = self.pick_lender(), dice.choice(BORROWERS)
        expected: str | None = None
        facts = self.new_facts(lender)
        body = {**facts, "subject": self.tokens[borrower]}
        fault = dice.random()
        if fault < 0.05:
            foreign = dice.choice([home for home in REGIONS if home != HOMES[lender]])
            body["region"], expected = REGIONS[foreign], "jurisdiction_not_admitted"
        elif fault < 0.16 and visible_from(facts) is not None:
            del body["notice"]
            expected = "notice_required"
        elif fault < 0.20 and visible_from(facts) is not None:
            age = dice.choice([-2, 93])  # two days ahead or three too old: clear of every time zone
            body["notice"] = {**facts["notice"], "sent_on": (now.date() - timedelta(days=age)).isoformat()}
            expected = "validation_failed"
        elif fault < 0.24:
            body |= dice.choice([{"days_past_due": 90, "default_reason": "both"}, {"opened_on": "2099-01-01"}])
            expected = "validation_failed"
        elif fault < 0.34 and self.book.consents:
            consent = dice.choice(self.book.consents)
            fits = consent.owner == lender and consent.borrower == borrower and consent.kind == "provide"
            body["provide_consent_id"] = consent.public_id
            expected = consent.trouble(now) if fits else "consent_missing"
        elif fault < 0.44 and self.book.loans:
            twin = dice.choice(self.book.loans)
            names = ("owner", "borrower", "facts", "withdrawn_at")
            lender, borrower, old, free = (getattr(twin, name) for name in names)
            facts = self.new_facts(lender) | {"account_ref": old["account_ref"], "role": old["role"]}
            body = {**facts, "subject": self.tokens[borrower]}
            taken = any(
                x.owner == lender and x.facts["account_ref"] == old["account_ref"] and x.withdrawn_at is None
                for x in self.book.loans
            )
            expected = "state_conflict" if taken else None
            assert taken or free is not None
        if lender in self.book.suspended:
            expected = "member_suspended"
        told = self.same(expected, self.call(lender, "POST", "/v1/records", body))
        if told is None:
            return
        seen_from, stored = visible_from(facts), datetime.fromisoformat(told["visible_from"])
        assert stored == seen_from if seen_from else now - timedelta(seconds=1) <= stored <= self.now()
        loan = Loan(lender, borrower, facts, now, stored, told["record_id"])
        self.book.loans.append(loan)
        assert told["status"] == ("pending_notice" if stored > self.now() else loan.status())

    def new_facts(self, lender: str) -> dict[str, Any]:
        """A default that its lender may report."""
        dice, number, today = self.dice, next(self.numbers), self.now().date()
        home = HOMES[lender]
        default_on = today - timedelta(days=300 + 2 * number)
        facts: dict[str, Any] = {
            "role": dice.choice(["borrower", "guarantor"]),
            "account_ref": f"account {number}",
            "product": dice.choice(["term_loan", "lease", "card"]),
            "currency": dice.choices([{"CN": "CNY", "US": "USD", "DE": "EUR"}[home], "USD"], [1, 2])[0],
            "original_amount": dice.choice(MONEY),
            "opened_on": (default_on - timedelta(days=2000)).isoformat(),
            "default_on": default_on.isoformat(),
            "region": REGIONS[home],
            "default_reason": dice.choice(["days_past_due", "unlikely_to_pay"]),
        }
        if facts["default_reason"] == "days_past_due":
            facts |= {"days_past_due": dice.choice(DAYS), dice.choice(SUMS[1:4]): dice.choice(MONEY)}
        else:
            facts["cause"] = "cash_flow"
        if dice.random() < 0.3:
            facts["size_class"] = "small"
        if dice.random() < 0.3:
            facts |= {name: dice.choice(MONEY) for name in SUMS[1:4]}
        if dice.random() < 0.2:
            facts |= {"written_off_on": default_on.isoformat(), "written_off_amount": dice.choice(MONEY)}
        if dice.random() < 0.3:
            return facts | {"lawful_basis": "public_record", "public_ref": f"case {number}"}
        sent_on = today - timedelta(days=dice.choice([1, 5, 12, 20, 60]))
        notice = {"sent_on": sent_on.isoformat(), "channel": "post", "evidence_digest": content_digest(b"notice")}
        return facts | {"lawful_basis": "legal_duty", "notice": notice}

    def pick_loan(self) -> tuple[Loan, str, str | None]:
        """A loan, who acts on it, and why that must fail if it must."""
        loan = self.dice.choice(self.book.loans)
        who = self.someone(loan.owner)
        return loan, who, None if who == loan.owner else "not_found"

    def advance(self) -> None:
        if not self.book.loans:
            return
        loan, who, expected = self.pick_loan()
        kind = self.dice.choice([*sorted(STEPS), "written_off", "written_off"])
        pending = [x for x in self.book.loans if self.now() < x.visible_from and x.end() is None]
        if pending and self.dice.random() < 0.3:
            loan, expected = self.dice.choice(pending), None
            who, kind = loan.owner, self.dice.choice(sorted(PAID))
        on = self.now().date() - timedelta(days=self.dice.randint(0, 40))
        if expected is None and not loan.may_become(kind):
            expected = "state_conflict"
        elif expected is None and self.dice.random() < 0.1:
            on = datetime.fromisoformat(loan.facts["opened_on"]).date() - timedelta(days=1)
            expected = "validation_failed"
        at = self.now()
        told = self.same(
            expected,
            self.call(who, "POST", f"/v1/records/{loan.public_id}/events", {"kind": kind, "on": on.isoformat()}),
        )
        if told is not None:
            loan.steps.append(Step(kind, on, at))
            self.same_own_view(loan, told)

    def correct(self) -> None:
        if not self.book.loans:
            return
        loan, who, expected = self.pick_loan()
        facts, dice = loan.facts, self.dice
        default_on = datetime.fromisoformat(facts["default_on"]).date()
        changes: dict[str, Any] = dice.choice(
            [
                {"original_amount": dice.choice(MONEY)},
                {"outstanding_principal": dice.choice(MONEY)},
                {"default_on": (default_on - timedelta(days=next(self.numbers) * 2 + 1)).isoformat()},
                {"written_off_on": self.now().date().isoformat(), "written_off_amount": dice.choice(MONEY)},
                {"written_off_on": None, "written_off_amount": None},
                {"days_past_due": dice.choice(DAYS)},
            ]
        )
        opened_on = datetime.fromisoformat(facts["opened_on"]).date()
        if changes.get("default_on", facts["default_on"]) < opened_on.isoformat():
            return
        if expected is None and loan.withdrawn_at is not None:
            expected = "state_conflict"
        elif expected is None and dice.random() < 0.15:
            changes = dice.choice([{"opened_on": "2099-01-01"}, {"default_reason": "both", "days_past_due": 90}])
            expected = "validation_failed"
        at = self.now()
        body = {"reason": "other", "changes": changes}
        told = self.same(expected, self.call(who, "POST", f"/v1/records/{loan.public_id}/corrections", body))
        if told is not None:
            loan.facts = {**facts, **changes}
            loan.corrected_at.append(at)
            self.same_own_view(loan, told)

    def withdraw(self) -> None:
        if not self.book.loans:
            return
        loan, who, expected = self.pick_loan()
        if expected is None and loan.withdrawn_at is not None:
            expected = "state_conflict"
        at = self.now()
        body = {"reason": "reported_in_error"}
        if self.same(expected, self.call(who, "POST", f"/v1/records/{loan.public_id}/withdrawal", body)) is not None:
            loan.withdrawn_at = at

    def same_own_view(self, loan: Loan, told: dict[str, Any]) -> None:
        pending = self.now() < loan.visible_from and loan.end() is None
        expected = ("pending_notice" if pending else loan.status(), *loan.grid(None))
        assert (told["status"], told["bucket"], told["classification"]) == expected

    # Questions

    def choose_consent(self, now: datetime) -> Consent | None:
        """Mostly one that is good for an answer, else one of any other kind, rare kinds as often as common ones."""
        kinds: dict[str, list[Consent | None]] = {"unknown": [None]}
        for consent in self.book.consents:
            name = consent.status(now) if consent.kind == "query" else consent.kind
            if consent.owner in self.book.suspended:
                name = "suspended"
            kinds.setdefault(name, []).append(consent)
        good = kinds.pop("active", [])
        return self.dice.choice(good if good and self.dice.random() < 0.7 else self.dice.choice(list(kinds.values())))

    def choose_question(self) -> Question:
        dice, now = self.dice, self.now()
        consent = self.choose_consent(now)
        asker = self.someone(consent.owner) if consent else self.pick_lender()
        borrower = consent.borrower if consent and dice.random() < 0.95 else dice.choice(BORROWERS)
        purposes, offered = (consent.purposes, consent.scopes) if consent else (PURPOSES, SCOPES)
        purpose = dice.choice(purposes if dice.random() < 0.9 else PURPOSES)
        pool = [scope for scope in (offered if dice.random() < 0.96 else SCOPES) if scope != "defaults"]
        scopes = ["defaults", *dice.sample(pool, dice.randint(0, len(pool)))]
        as_of = None
        if dice.random() < (0.7 if "history" in scopes else 0.04):
            # Between two acts, or to the millisecond at an end of a notice window.
            turns = [x.visible_from for x in self.book.loans if x.visible_from.microsecond == 0]
            instants = [*self.quiet, *turns, *(turn - timedelta(milliseconds=1) for turn in turns)]
            as_of = dice.choice([instant for instant in instants if instant < now])
            as_of = as_of.replace(microsecond=as_of.microsecond // 1000 * 1000)
        return Question(asker, borrower, consent, purpose, scopes, as_of)

    def ask(self, question: Question | None = None) -> None:
        question = question or self.choose_question()
        body: dict[str, Any] = {
            "subject": self.tokens[question.borrower],
            "purpose": question.purpose,
            "consent_id": question.consent.public_id if question.consent else f"cns_{UUID(int=next(self.numbers))}",
            "scopes": question.scopes,
        }
        if question.as_of is not None:
            body["as_of"] = spelled(question.as_of)
        now, key = self.now(), f"key-{next(self.numbers)}"
        got = self.call(question.asker, "POST", "/v1/queries", body, key=key)
        data = self.same(self.book.refusal(question, now), got)
        if data is None or question.consent is None or isinstance(got, str):
            return
        question.consent.used.append(now)
        self.answers.append((question, now, key, got))
        self.same_answer(question, now, data)

    def same_answer(self, question: Question, now: datetime, data: dict[str, Any]) -> None:
        expected = self.book.answer(question, now)
        rows = sorted(data["records"], key=lambda row: str(row["default_on"]))
        handles = [row.pop("handle") for row in rows]
        assert {**{name: data[name] for name in expected}, "records": rows} == expected
        assert set(data) == {*expected, "as_of", "consent", "policy_version", "query_id"}
        assert data["consent"] == {"id": question.consent.public_id if question.consent else None}
        if question.as_of is not None:
            assert data["as_of"] == spelled(question.as_of)
        for handle, loan in zip(handles, self.in_order(question, now), strict=True):
            # One lender's name for a record never changes, and no other lender has it.
            assert self.handles.setdefault((question.asker, loan.public_id), handle) == handle
        assert len(set(self.handles.values())) == len(self.handles)
        self.note(question, now, expected)

    def in_order(self, question: Question, now: datetime) -> list[Loan]:
        return sorted(self.book.shown(question, now), key=lambda loan: str(loan.facts["default_on"]))

    def note(self, question: Question, now: datetime, expected: dict[str, Any]) -> None:
        """Remember what this answer was a case of."""
        about = [loan for loan in self.book.loans if loan.borrower == question.borrower and loan.withdrawn_at is None]
        at = question.as_of or now
        cases = {
            "answered": True,
            "past": question.as_of is not None and bool(expected["records"]),
            "own": any(row["own"] for row in expected["records"]),
            "two lenders": expected["summary"]["lenders"] > 1,
            "amounts": any("amounts" in row for row in expected["records"]),
            "withheld": bool(expected["withheld"]),
            "ended": any(row["amount_band"] == "none" for row in expected["records"]),
            "pending hidden": any(loan.told_at <= at < loan.visible_from for loan in about),
            "paid in time": any(
                loan.visible_from <= at
                and (end := loan.end(question.as_of))
                and end.kind in PAID
                and end.at < loan.visible_from
                for loan in about
            ),
        }
        self.seen.update(name for name, holds in cases.items() if holds)

    def ask_again(self) -> None:
        """A retry with the same key gets the same bytes and uses nothing, whatever became of the consent."""
        recent = [told for told in self.answers if self.now() - told[1] < timedelta(hours=70)]
        if not recent:
            return
        question, _, key, first = self.dice.choice(recent)
        got = self.call(question.asker, "POST", "/v1/queries", json.loads(first.request.body), key=key)
        self.same("member_suspended" if question.asker in self.book.suspended else None, got)
        if not isinstance(got, str):
            assert got.body == first.body
            assert got.headers["idempotent-replayed"] == "true"
            self.seen["retold"] += 1

    def read_again(self) -> None:
        """What was told is readable by whom it was told, and says whether it still holds."""
        if not self.answers:
            return
        question, asked_at, _, first = self.dice.choice(self.answers)
        who = self.someone(question.asker)
        expected = "member_suspended" if who in self.book.suspended else None
        if expected is None and who != question.asker:
            expected = "not_found"
        got = self.call(who, "GET", f"/v1/queries/{first.data['query_id']}")
        self.same(expected, got)
        if isinstance(got, str):
            return
        names = {
            name for (asker, name), handle in self.handles.items() if asker == who and handle in first.body.decode()
        }
        told = [loan for loan in self.book.loans if loan.public_id in names]
        superseded = None
        if any(at > asked_at for loan in told for at in loan.corrected_at):
            superseded = "corrected"
        if any(loan.withdrawn_at is not None and loan.withdrawn_at > asked_at for loan in told):
            superseded = "withdrawn"
        assert (got.body, got.headers.get("cs-superseded")) == (first.body, superseded)
        self.seen.update([superseded] if superseded else [])

    # Members

    def suspend_or_lift(self) -> None:
        """Suspend a lender, whose very next question is refused; or lift it by two people."""
        who = next(iter(self.book.suspended), None) or self.pick_lender()
        member_id = self.clients[who].call("GET", "/v1/me").data["member_id"]
        first, second = (self.service.client(operator) for operator in self.service.operators)
        if who in self.book.suspended:
            path, lift = f"/v1/members/{member_id}", {"action": "lift_suspension"}
            seen = first.call("GET", path).version
            seen = first.call("POST", f"{path}/proposals", data=lift, if_match=seen).version
            second.call("POST", f"{path}/approvals", data=lift, if_match=seen)
            self.book.suspended.remove(who)
        else:
            first.call("POST", f"/v1/members/{member_id}/suspension", data={"reason": "review"})
            self.book.suspended.add(who)
            mine = [consent for consent in self.book.consents if consent.owner == who]
            consent = self.dice.choice([*mine, None])
            self.ask(Question(who, self.dice.choice(BORROWERS), consent, "pre_loan", ["defaults"], None))
        status = "suspended" if who in self.book.suspended else "active"
        wait_for(lambda: bool(self.clients[who].call("GET", "/v1/me").data["status"] == status))


def spelled(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_every_answer_and_refusal_of_a_random_year_is_what_the_design_says(service: RunningService) -> None:
    seed = int(os.environ.get(SEED) or secrets.randbelow(2**32))
    year = Year(service, seed)
    acts: dict[Callable[[], None], int] = {
        year.ask: 40,
        year.grant: 14,
        year.submit: 12,
        year.change_consent: 8,
        year.advance: 8,
        year.correct: 6,
        year.show_consent: 4,
        year.ask_again: 4,
        year.read_again: 4,
        year.withdraw: 2,
        year.suspend_or_lift: 2,
    }
    for number in range(MOST_ACTS):
        if number >= ACTS and set(year.seen) >= MUST_SEE:
            return
        (act,) = year.dice.choices(list(acts), list(acts.values()))
        if year.book.suspended and year.dice.random() < 0.1:
            act = year.suspend_or_lift
        try:
            year.pass_time()
            act()
        except AssertionError as error:
            raise AssertionError(f"{SEED}={seed}, act {number}, {act.__name__}: {error}") from error
    raise AssertionError(f"{SEED}={seed}: a year without {MUST_SEE - set(year.seen)} shows too little")
