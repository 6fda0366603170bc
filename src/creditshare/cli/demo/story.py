"""The main job as a story: every line printed is a real exchange that was checked.

Borrowers are synthetic and deterministic: identifiers with valid check digits of a region that does not exist.
"""

import json
import random
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from stdnum.cn import uscc

from creditshare.cli.admission import admit
from creditshare.cli.demo.stage import step
from creditshare.cli.options import out
from creditshare.client.bank import Client, Problem
from creditshare.client.core import Identity, SignedRequest
from creditshare.crypto.digests import content_digest
from creditshare.errors import VerificationFailed

SEED: Final = 7
LENDERS: Final = ("Harbour Bank", "Valley Credit Union", "Meridian Finance", "Stone Bridge Bank", "Lotus Rural Bank")
ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part besides the operators: the lenders by name, and a regulator."""

    url: str
    lenders: dict[str, Identity]
    regulator: Identity


def synthetic_uscc(source: random.Random) -> str:
    """Return an identifier with valid check digits in region 999999, which does not exist."""
    head = "91999999" + "".join(source.choice(ALPHABET) for _ in range(9))
    return head + uscc.calc_check_digit(head)


def admit_cast(url: str, operators: tuple[Path, Path], data: Path) -> Cast:
    """Admit five lenders and a regulator through the API."""
    keys = data / "members"
    one, other = (Identity.from_file(file, sub="demo") for file in operators)
    with Client(url, one) as first, Client(url, other) as second:
        lenders = {
            name: admit((first, second), name, "lender", "CN", keys / f"{name.replace(' ', '-').lower()}.jwk.json")
            for name in LENDERS
        }
        regulator = admit((first, second), "Financial Regulator", "regulator", "CN", keys / "regulator.jwk.json")
    step(f"two operators admitted {len(lenders)} lenders and a regulator, each by two people, each with its own key")
    return Cast(url, lenders, regulator)


def expect_refusal(code: str, act: Any) -> None:
    """Do something that must be refused with exactly this code."""
    try:
        act()
    except Problem as problem:
        if problem.code == code:
            return
        raise
    raise VerificationFailed(f"expected the refusal {code}, but the request was answered")


def tell_story(cast: Cast, data: Path) -> None:
    """Tell the main job in steps; every line printed is a real exchange that was checked."""
    source = random.Random(f"{SEED}-{story_number(data)}")  # noqa: S311  synthetic borrowers, not secrets
    borrower, other = synthetic_uscc(source), synthetic_uscc(source)
    out.print(f"\n[bold]The story[/bold], with a synthetic borrower {borrower} that does not exist:", highlight=False)
    harbour, valley = cast.lenders["Harbour Bank"], cast.lenders["Valley Credit Union"]
    with Client(cast.url, harbour) as reporter, Client(cast.url, valley) as asker:
        today = reporter.business_time().date()  # a sandbox's clock may have been moved since the last demo
        (told_by_reporter,) = reporter.tokenise([borrower])
        (told_by_asker, stranger) = asker.tokenise([borrower, other])
        if told_by_reporter != told_by_asker:
            raise VerificationFailed("two lenders made different tokens of one borrower")
        step("both lenders made the same blind token; the service saw neither identifier nor token while it was made")
        provide = reporter.grant_consent(
            told_by_reporter,
            kind="provide",
            purposes=["default_reporting"],
            scopes=["defaults"],
            document=b"synthetic consent to report",
        )
        step("Harbour Bank registered the borrower's consent to report, and holds a signed receipt")
        record = reporter.call(
            "POST", "/v1/records", data=example_record(told_by_reporter, today, str(provide["consent_id"]), source)
        ).data
        step(f"Harbour Bank reported a default: {record['status']}, class {record['classification_zh']}")
        consent = asker.grant_consent(
            told_by_asker,
            kind="query",
            purposes=["pre_loan"],
            scopes=["defaults"],
            document=b"synthetic consent to ask",
        )
        consent_id = str(consent["consent_id"])
        answer = asker.query(told_by_asker, purpose="pre_loan", consent_id=consent_id)
        summary = answer.data["summary"]
        step(f"Valley Credit Union asked with consent and learned: {json.dumps(summary)}; not who reported it")
        expect_refusal("consent_missing", lambda: asker.query(stranger, purpose="pre_loan", consent_id=consent_id))
        step("asked about another borrower under the same consent: refused, consent_missing")
        refuse_tampering(asker, told_by_asker, consent_id)
        asker.call("POST", f"/v1/consents/{consent_id}/revocation", data={})
        expect_refusal("consent_revoked", lambda: asker.query(told_by_asker, purpose="pre_loan", consent_id=consent_id))
        step("the consent was revoked; the very next question was refused, consent_revoked")
        evidence_file = data / "evidence.json"
        asker.evidence(answer).save(evidence_file)
    verify_offline(evidence_file)


def story_number(data: Path) -> int:
    """Count the stories told on this data: each has a borrower of its own, the same on every machine."""
    file = data / "stories"
    number = int(file.read_text()) + 1 if file.exists() else 1
    file.write_text(f"{number}\n")
    return number


def refuse_tampering(asker: Client, subject: dict[str, Any], consent_id: str) -> None:
    """Send a changed copy and a second copy of a signed request; both must be refused."""
    body = {"subject": subject, "purpose": "pre_loan", "consent_id": consent_id, "scopes": ["defaults"]}
    signed = asker.sign("POST", "/v1/queries", data=body)
    changed = SignedRequest(
        signed.method,
        signed.path,
        signed.query,
        signed.headers,
        signed.body.replace(b"pre_loan", b"pre-loan"),
        signed.token,
    )
    if asker.send(changed).data["code"] != "digest_mismatch":
        raise VerificationFailed("a changed body was not noticed")
    step("a body changed on its way: refused, digest_mismatch")
    if asker.send(signed).status != httpx.codes.OK or asker.send(signed).data["code"] != "replay_detected":
        raise VerificationFailed("a copy of a request was not noticed")
    step("the same signed request sent twice: answered once, then refused, replay_detected")


def verify_offline(evidence_file: Path) -> None:
    """Verify the evidence package in a process of its own that talks to nobody."""
    command = [sys.executable, "-m", "creditshare", "verify-evidence", str(evidence_file), "--json"]
    checked = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603  our own command
    for line in checked["shown"]:
        step(f"offline: {line}")


def example_record(subject: dict[str, Any], today: Any, consent_id: str, source: random.Random) -> dict[str, Any]:
    """Return a default as a Chinese lender reports it: noticed 20 days ago, more than 90 days overdue."""
    overdue = today - timedelta(days=120)
    return {
        "subject": subject,
        "role": "borrower",
        "account_ref": f"demo-{source.randrange(10**9):09d}",
        "product": "term_loan",
        "currency": "CNY",
        "original_amount": "500000.00",
        "outstanding_principal": "320000.00",
        "overdue_principal": "90000.00",
        "opened_on": (today - timedelta(days=700)).isoformat(),
        "first_overdue_on": overdue.isoformat(),
        "default_on": (overdue + timedelta(days=91)).isoformat(),
        "days_past_due": 120,
        "default_reason": "days_past_due",
        "cause": "cash_flow",
        "size_class": "small",
        "region": {"scheme": "GB/T 2260", "code": "350100"},
        "lawful_basis": "consent",
        "provide_consent_id": consent_id,
        "notice": {
            "sent_on": (today - timedelta(days=20)).isoformat(),
            "channel": "electronic",
            "evidence_digest": content_digest(b"synthetic notice"),
        },
    }
