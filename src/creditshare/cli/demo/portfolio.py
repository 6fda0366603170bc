"""Two years of made-up defaults of the demo's lenders, so that reports and pages have something to show.

All of it goes through the API as the lenders' own systems would send it: files of records, corrections, settlements,
consents and questions. The basis is a public register that does not exist, so that no notice window has to pass.
"""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from creditshare.cli.demo.stage import step
from creditshare.cli.demo.story import Cast, synthetic_uscc
from creditshare.client.bank import Client
from creditshare.errors import Unavailable

BORROWERS: Final = 420
DAYS: Final = 730
YOUNGEST: Final = 60
SHARES: Final = (0.34, 0.26, 0.18, 0.14, 0.08)
"""How the defaults fall on the lenders: a market has large ones and small ones."""
REGIONS: Final = {"350100": 9, "440300": 7, "330100": 5, "510100": 4, "420100": 3, "610100": 2}
INDUSTRIES: Final = {"C13": 6, "F51": 7, "E47": 4, "H61": 3, "G54": 3, "I65": 1}
SIZES: Final = {"micro": 6, "small": 3, "medium": 1}
CAUSES: Final = {"cash_flow": 6, "upstream_nonpayment": 4, "disaster": 1, "unknown": 2}
SEVERAL: Final = 0.18
"""Part of the borrowers that are in default at more than one lender."""
SETTLED: Final = 0.09
ASKED: Final = 6
WAIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Due:
    """A default to be reported: by which lender, of which borrower."""

    lender: str
    uscc: str
    body: Mapping[str, Any]


def report_portfolios(cast: Cast, *, seed: str) -> list[str]:
    """Have the lenders report two years of defaults, correct and settle some, and ask about each other's.

    Return the ids of all records.
    """
    draw = random.Random(seed)  # noqa: S311  synthetic borrowers, not secrets
    began = time.monotonic()
    with Client(cast.url, next(iter(cast.lenders.values()))) as line:
        today = line.business_time().date()
        due = list(_defaults(draw, tuple(cast.lenders), today))
        records: list[tuple[Client, str, Due]] = []
        for name, identity in cast.lenders.items():
            mine = [one for one in due if one.lender == name]
            records += _report(line.acting_for(identity), mine, seed)
        changed = _change(draw, records, today)
        asked = sum(_ask(draw, line.acting_for(cast.lenders[name]), due, name) for name in cast.lenders)
    step(
        f"the lenders reported {len(records)} made-up defaults of two years, changed {changed}, asked {asked} times,"
        f" in {time.monotonic() - began:.1f} s"
    )
    return [record_id for _, record_id, _ in records]


def wait_until_told(cast: Cast) -> None:
    """Wait until the worker has counted what was reported and told it."""
    deadline = time.monotonic() + WAIT_S
    with Client(cast.url, cast.regulator) as regulator:
        while True:
            reports = regulator.call("GET", "/v1/reports").data
            told = {one["report"] for one in reports["data"] if one["first"] is not None}
            if not reports["waiting"] and "defaults" in told:
                break
            if time.monotonic() > deadline:
                raise Unavailable("the worker did not tell the reports in time")
            time.sleep(0.5)
    step(f"the worker opened and counted them: release {reports['release']['number']} of the reports is told")


def _defaults(draw: random.Random, lenders: Sequence[str], today: date) -> Iterator[Due]:
    for number in range(BORROWERS):
        uscc = synthetic_uscc(draw)
        firm = {
            "region": {"scheme": "GB/T 2260", "code": _one(draw, REGIONS)},
            "industry": {"scheme": "GB/T 4754-2017", "code": _one(draw, INDUSTRIES)},
            "size_class": _one(draw, SIZES),
        }
        several = draw.choice((2, 2, 3, 4)) if draw.random() < SEVERAL else 1
        first = YOUNGEST + int(DAYS * draw.betavariate(1.3, 1.6))
        chosen: list[str] = []
        while len(chosen) < several:
            lender = draw.choices(lenders, SHARES[: len(lenders)])[0]
            if lender not in chosen:
                chosen.append(lender)
        for later, lender in enumerate(chosen):
            days_ago = max(YOUNGEST, first - later * draw.randrange(10, 80))
            yield Due(lender, uscc, _record(draw, f"P-{number}-{later}", firm, today - timedelta(days=days_ago)))


def _record(draw: random.Random, account: str, firm: Mapping[str, Any], default_on: date) -> dict[str, Any]:
    amount = round(draw.lognormvariate(12.6, 0.9), -2)
    return {
        "role": "borrower",
        "account_ref": account,
        "product": draw.choice(("term_loan", "revolving", "trade_finance")),
        "currency": "CNY",
        "original_amount": f"{amount:.2f}",
        "outstanding_principal": f"{amount * draw.uniform(0.3, 0.95):.2f}",
        "opened_on": (default_on - timedelta(days=draw.randrange(200, 1_800))).isoformat(),
        "default_on": default_on.isoformat(),
        "days_past_due": draw.choice((92, 96, 118, 124, 155, 190, 260, 340, 410)),
        "default_reason": "days_past_due",
        "cause": _one(draw, CAUSES),
        "lawful_basis": "public_record",
        "public_ref": "a public register that does not exist",
        **firm,
    }


def _report(lender: Client, due: Sequence[Due], seed: str) -> list[tuple[Client, str, Due]]:
    tokens = dict(zip([one.uscc for one in due], lender.tokenise([one.uscc for one in due]), strict=True))
    rows = ({**one.body, "subject": tokens[one.uscc]} for one in due)
    batch = lender.records.submit_batch(rows, key=f"portfolio-{seed}-{lender.session.signer.member_id}")
    if batch.errors:
        raise Unavailable(f"rows of the demo were refused: {batch.errors[:3]}")
    return [(lender, record_id, due[row - 1]) for row, record_id in sorted(batch.record_ids.items())]


def _change(draw: random.Random, records: Sequence[tuple[Client, str, Due]], today: date) -> int:
    chosen = draw.sample(records, int(len(records) * SETTLED))
    for number, (lender, record_id, due) in enumerate(chosen):
        if number % 4:
            how = draw.choice(("settled_full", "settled_full", "cured", "recovered"))
            lender.call("POST", f"/v1/records/{record_id}/events", data={"kind": how, "on": today.isoformat()})
        else:
            less = f"{float(due.body['outstanding_principal']) * 0.9:.2f}"
            change = {"reason": "wrong_amount", "changes": {"outstanding_principal": less}}
            lender.call("POST", f"/v1/records/{record_id}/corrections", data=change)
    return len(chosen)


def _ask(draw: random.Random, lender: Client, due: Sequence[Due], name: str) -> int:
    others = [one.uscc for one in due if one.lender != name]
    subjects = lender.tokenise(draw.sample(others, ASKED))
    questions = []
    for number, subject in enumerate(subjects):
        purpose = ("pre_loan", "post_loan_monitoring", "guarantor_check")[number % 3]
        consent = lender.grant_consent(
            subject, kind="query", purposes=[purpose], scopes=["defaults"], document=b"synthetic consent to ask"
        )
        # Each lender asks once for what its consent does not cover.
        asked = "restructuring" if number == ASKED - 1 else purpose
        questions.append(
            {"subject": subject, "purpose": asked, "consent_id": consent["consent_id"], "scopes": ["defaults"]}
        )
    lender.call("POST", "/v1/query-batches", data={"queries": questions})
    return len(questions)


def _one(draw: random.Random, weights: Mapping[str, int]) -> str:
    return draw.choices(tuple(weights), tuple(weights.values()))[0]
