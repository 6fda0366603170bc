"""Seeding a sandbox: the steps of ``sandbox_scenarios.toml``, sent through the public API by admitted lenders.

Nothing here knows an identifier. What was done is kept in ``scenarios.json`` beside the lenders' key files,
step by step, so that a second run sends nothing and an interrupted one goes on where it stopped.
"""

import json
import tomllib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from creditshare.cli.admission import admit
from creditshare.cli.options import write_private
from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.crypto.digests import content_digest
from creditshare.errors import ConfigurationError

DONE_FILE: Final = "scenarios.json"
CONSENT_DAYS: Final = 3650  # so that moving the clock does not end them
NOTICE_DAYS: Final = 20  # the window of 15 days is over
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seeded:
    """What a sandbox was seeded with, and where the asker's key lies."""

    scenarios: tuple[Json, ...]
    asker: Path

    def consent_of(self, scenario: Json) -> str | None:
        """Return the consent under which the asker asks in a scenario, if it has one."""
        return next((str(done["consent_id"]) for done in scenario["done"] if "consent_id" in done), None)

    def document(self) -> Json:
        """Return all of it for scripts."""
        return {
            "asker_key_file": str(self.asker),
            "scenarios": [
                {
                    **{name: scenario[name] for name in ("identifier", "name", "expect")},
                    "consent_id": self.consent_of(scenario),
                    "later": scenario.get("later"),
                    "done": scenario["done"],
                }
                for scenario in self.scenarios
            ],
        }

    def lines(self) -> list[str]:
        """Say for people what each identifier shows, and plainly what it does not show yet."""
        said = []
        for scenario in self.scenarios:
            consent = self.consent_of(scenario)
            under = f"ask under {consent}" if consent else "ask under any of your consents"
            later = f" NOT YET: {scenario['later']}." if "later" in scenario else ""
            said.append(f"{scenario['identifier']}  {scenario['name']}; {under}.{later}")
        return said

    def arguments(self, url: str) -> list[str]:
        """Return the arguments of one ready command that asks about an identifier which has an answer."""
        chosen = next(s for s in self.scenarios if s["expect"].get("match") == "records")
        question = ["query", "run", "--uscc", chosen["identifier"], "--consent", str(self.consent_of(chosen))]
        return [*question, "--as", str(self.asker), "--url", url]


def require_sandbox(service: Client) -> None:
    """Refuse before anything is sent that a production service must not do."""
    if service.discovery.get("environment") != "sandbox":
        raise ConfigurationError(f"{service.issuer} runs in production mode, which has none of the sandbox's commands")


def load_table() -> Json:
    """Return the table of scenarios that comes with this version."""
    return tomllib.loads(files("creditshare.cli").joinpath("sandbox_scenarios.toml").read_text(encoding="utf-8"))


def seed(operators: tuple[Client, Client], folder: Path) -> Seeded:
    """Admit the sandbox's lenders and send every step that was not sent yet."""
    require_sandbox(operators[0])
    table = load_table()
    kept = _Kept.open(folder / DONE_FILE, operators[0])
    identities = {
        key: admit(operators, name, "lender", "CN", folder / f"{name.replace(' ', '-').lower()}.jwk.json")
        for key, name in {**table["lenders"], "asker": table["asker"]}.items()
    }
    if any(len(kept.done(s["identifier"])) < len(s["steps"]) for s in table["scenario"]):
        _send(operators[0].issuer, identities, table["scenario"], kept)
    asker = folder / f"{table['asker'].replace(' ', '-').lower()}.jwk.json"
    return Seeded(tuple({**s, "done": kept.done(s["identifier"])} for s in table["scenario"]), asker)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The file of what was done, for this service only."""

    file: Path
    content: Json

    @classmethod
    def open(cls, file: Path, service: Client) -> "_Kept":
        vkey = str(service.discovery["log"]["vkey"])
        if not file.exists():
            return cls(file, {"service": vkey, "day": service.business_time().date().isoformat(), "done": {}})
        content: Json = json.loads(file.read_text())
        if content.get("service") != vkey:
            raise ConfigurationError(f"{file.parent} was seeded for another service: choose another folder")
        return cls(file, content)

    @property
    def day(self) -> date:
        return date.fromisoformat(self.content["day"])

    def done(self, identifier: str) -> list[Json]:
        found: list[Json] = self.content["done"].setdefault(identifier, [])
        return found

    def add(self, identifier: str, result: Json) -> None:
        self.done(identifier).append(result)
        write_private(self.file, self.content, replace=True)

    def key(self, identifier: str) -> str:
        """Return the idempotency key of the next step: the same for a retry after an interruption."""
        name = f"{self.content['service']}|{self.content['day']}|{identifier}|{len(self.done(identifier))}"
        return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def _send(issuer: str, identities: Mapping[str, Identity], scenarios: list[Json], kept: _Kept) -> None:
    identifiers = [scenario["identifier"] for scenario in scenarios]
    clients = {key: Client(issuer, identity) for key, identity in identities.items()}
    try:
        tokens = {key: dict(zip(identifiers, c.tokenise(identifiers), strict=True)) for key, c in clients.items()}
        for number, scenario in enumerate(scenarios):
            identifier = scenario["identifier"]
            for step in scenario["steps"][len(kept.done(identifier)) :]:
                actor = step.get("by", "asker")
                turn = _Turn(clients[actor], tokens[actor][identifier], kept, identifier, number)
                kept.add(identifier, _STEPS[step["do"]](turn, step))
    finally:
        for client in clients.values():
            client.close()


@dataclass(frozen=True, slots=True)
class _Turn:
    """One step's actor, and what stands before it in its scenario."""

    client: Client
    subject: Json
    kept: _Kept
    identifier: str
    number: int

    def before(self, position: int) -> Json:
        return self.kept.done(self.identifier)[position]

    def ago(self, days: int) -> str:
        return (self.kept.day - timedelta(days=days)).isoformat()

    def post(self, path: str, body: Json) -> Json:
        answered: Json = self.client.call("POST", path, data=body, key=self.kept.key(self.identifier)).data
        return answered


def _consent(turn: _Turn, _: Json) -> Json:
    granted = turn.client.grant_consent(
        turn.subject,
        kind="query",
        purposes=["pre_loan"],
        scopes=["defaults", "amounts", "history"],
        document=b"synthetic consent of a sandbox",
        valid_days=CONSENT_DAYS,
    )
    return {"consent_id": granted["consent_id"]}


def _report(turn: _Turn, step: Json) -> Json:
    overdue = int(step["overdue_days"])
    body = {
        "subject": turn.subject,
        "role": "borrower",
        "account_ref": f"sandbox-{turn.number}-{len(turn.kept.done(turn.identifier))}",
        "product": "term_loan",
        "currency": "CNY",
        "original_amount": "2000000.00",
        "outstanding_principal": step["outstanding"],
        "opened_on": turn.ago(overdue + 600),
        "first_overdue_on": turn.ago(overdue),
        "default_on": turn.ago(overdue - 91),
        "days_past_due": overdue,
        "default_reason": "days_past_due",
        "cause": "cash_flow",
        "size_class": "small",
        "region": {"scheme": "GB/T 2260", "code": "350100"},
        "lawful_basis": "legal_duty",
        "notice": {
            "sent_on": turn.ago(NOTICE_DAYS),
            "channel": "electronic",
            "evidence_digest": content_digest(b"synthetic notice of a sandbox"),
        },
    }
    return {"record_id": turn.post("/v1/records", body)["record_id"]}


def _ask(turn: _Turn, _: Json) -> Json:
    consent = next(str(done["consent_id"]) for done in turn.kept.done(turn.identifier) if "consent_id" in done)
    key = turn.kept.key(turn.identifier)
    answer = turn.client.query(turn.subject, purpose="pre_loan", consent_id=consent, key=key)
    return {"query_id": answer.data["query_id"]}


def _correct(turn: _Turn, step: Json) -> Json:
    record = turn.before(step["record"])["record_id"]
    changes = {"outstanding_principal": step["outstanding"]}
    turn.post(f"/v1/records/{record}/corrections", {"reason": "wrong_amount", "changes": changes})
    return {"corrected": record}


def _settle(turn: _Turn, step: Json) -> Json:
    record = turn.before(step["record"])["record_id"]
    turn.post(f"/v1/records/{record}/events", {"kind": "settled_full", "on": turn.ago(step["days"])})
    return {"settled": record}


def _revoke(turn: _Turn, step: Json) -> Json:
    consent = turn.before(step["consent"])["consent_id"]
    turn.post(f"/v1/consents/{consent}/revocation", {})
    return {"revoked": consent}


_STEPS: Final[Mapping[str, Callable[[_Turn, Json], Json]]] = {
    "consent": _consent,
    "report": _report,
    "ask": _ask,
    "correct": _correct,
    "settle": _settle,
    "revoke": _revoke,
}
