"""The demonstration: the main job as a story, told with real processes and real requests.

Everything goes through the public API as partners would call it. Borrowers are synthetic: identifiers are
generated with valid check digits of a region that does not exist. With ``--loans`` the lenders, loans and
defaults are those of a public file instead (``demo_loans``).
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from stdnum.cn import uscc

from creditshare.cli.admission import admit
from creditshare.cli.options import out
from creditshare.cli.sandbox_seed import Seeded, seed
from creditshare.client.bank import Client, Problem
from creditshare.client.core import Identity, SignedRequest
from creditshare.crypto.digests import content_digest
from creditshare.errors import ConfigurationError, CreditshareError, VerificationFailed

START_TIMEOUT_S: Final = 60.0
SEED: Final = 7
LENDERS: Final = ("Harbour Bank", "Valley Credit Union", "Meridian Finance", "Stone Bridge Bank", "Lotus Rural Bank")
ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part: two operators, the lenders by name, a regulator."""

    url: str
    operators: tuple[Identity, Identity]
    lenders: dict[str, Identity]
    regulator: Identity


def synthetic_uscc(source: random.Random) -> str:
    """Return an identifier with valid check digits in region 999999, which does not exist."""
    head = "91999999" + "".join(source.choice(ALPHABET) for _ in range(9))
    return head + uscc.calc_check_digit(head)


@contextlib.contextmanager
def service(data: Path, port: int) -> Iterator[str]:
    """Run the service and its worker as processes of their own until the block ends."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "creditshare", "serve", "--data", str(data), "--port", str(port), "--with-worker"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CREDITSHARE_")}
    with (data / "service.log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)  # noqa: S603  our own command
        try:
            wait_until_ready(url, process, data / "service.log")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the service says that it is ready; say why if it ends before."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ConfigurationError(f"the service did not start; the end of {log}:\n{log.read_text()[-2000:]}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url + "/readyz").status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise ConfigurationError(f"the service was not ready within {START_TIMEOUT_S:.0f} s; see {log}")


def run_demo(*, data: Path, port: int, once: bool, reset: bool, loans: Path | None, lenders: str) -> None:
    """Run the story, or load real loans; then serve on unless ``once``."""
    from creditshare.cli.demo_loans import load_loans, require_file  # noqa: PLC0415  only where a file is loaded

    if loans is not None:
        require_file(loans)
    data = reachable(data.resolve())
    if reset and data.exists():
        stop_leftovers(data)
        shutil.rmtree(data)
    data.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with service(data, port) as url:
        out.print(f"[bold]creditshare[/bold] serves at {url} after {time.monotonic() - began:.1f} s", highlight=False)
        operators = operators_of(data)
        if loans is not None:
            load_loans(url, operators, data, loans, lenders)
            return
        cast = admit_cast(url, operators, data)
        with Client(url, operators[0]) as first, Client(url, operators[1]) as second:
            seeded = seed((first, second), data / "sandbox")
        step(f"{len(seeded.scenarios)} fixed identifiers are seeded for trying things out")
        tell_story(cast, data)
        out.print(f"\nthe story took {time.monotonic() - began:.1f} s in all", highlight=False)
        if not once:
            keep_serving(cast, data, seeded)


def reachable(data: Path) -> Path:
    """Return a folder that the embedded server's user can reach; as root that may need to be another one."""
    closed = [p for p in data.parents if p.exists() and not p.stat().st_mode & 0o001]
    if os.geteuid() != 0 or not closed:
        return data
    other = Path(tempfile.gettempdir()) / "creditshare-demo"
    out.print(f"{closed[0]} is closed to the database's user, so the demo's data lies in {other}", markup=False)
    return other


def stop_leftovers(data: Path) -> None:
    """Stop an embedded database that an interrupted demo left running."""
    from creditshare.app import embedded_postgres  # noqa: PLC0415  needed only after an interruption
    from creditshare.settings import Settings  # noqa: PLC0415

    with contextlib.suppress(CreditshareError):
        embedded_postgres(Settings(data=data)).stop()


def operators_of(data: Path) -> tuple[Identity, Identity]:
    """Bootstrap the two operators, or find those of an earlier demo."""
    files = [data / f"operator-{n}.jwk.json" for n in (1, 2)]
    if not all(file.exists() for file in files):
        command = [sys.executable, "-m", "creditshare", "operator", "bootstrap", "--data", str(data), "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  our own command
    first, second = (Identity.from_file(file, sub="demo") for file in files)
    return first, second


def admit_cast(url: str, operators: tuple[Identity, Identity], data: Path) -> Cast:
    """Admit five lenders and a regulator through the API."""
    keys = data / "members"
    with Client(url, operators[0]) as first, Client(url, operators[1]) as second:
        lenders = {
            name: admit((first, second), name, "lender", "CN", keys / f"{name.replace(' ', '-').lower()}.jwk.json")
            for name in LENDERS
        }
        regulator = admit((first, second), "Financial Regulator", "regulator", "CN", keys / "regulator.jwk.json")
    step(f"two operators admitted {len(lenders)} lenders and a regulator, each by two people, each with its own key")
    return Cast(url, operators, lenders, regulator)


def step(text: str) -> None:
    """Print one step of the story."""
    out.print(f"  [green]✓[/green] {text}", highlight=False)


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
    source = random.Random(f"{SEED}-{time.time_ns()}")  # noqa: S311  synthetic borrowers, not secrets
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


def keep_serving(cast: Cast, data: Path, seeded: Seeded) -> None:
    """Print where to go next and serve until interrupted."""
    python = "python -m creditshare"
    bank = data / "members" / "harbour-bank.jwk.json"
    regulator = data / "members" / "regulator.jwk.json"
    out.print(f"\nserving at {cast.url} (Ctrl-C stops; all data is synthetic). One command for each of you:")
    for who, command in {
        "bank": f"{python} call GET /v1/me --as {bank} --url {cast.url} --explain",
        "regulator": f"{python} call GET /v1/me --as {regulator} --url {cast.url}",
        "operator": f"{python} member list --as {data / 'operator-1.jwk.json'} --url {cast.url}",
        "sandbox": seeded.command(cast.url, python),
        "anyone": f"{python} verify-evidence {data / 'evidence.json'}",
    }.items():
        out.print(f"  {who:10} {command}", markup=False, highlight=False, soft_wrap=True)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
