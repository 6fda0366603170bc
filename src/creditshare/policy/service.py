"""Reading the policy table: one frozen value, loaded at start, asked by jurisdiction, rule and day.

Each row's seal (``crypto/rowseals.py``) covers the row and the digest of the whole set, so that no row can be edited,
added or taken away. Only a migration changes the set, and seals it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import select

from creditshare.crypto.rowseals import RowSeals
from creditshare.errors import IntegrityError
from creditshare.policy.models import policy_rule
from creditshare.storage.engine import ReadSession
from creditshare.wire.strict_json import canonical

STRICTEST: Final = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: its value as text, the article it rests on, and the days from and until which it holds."""

    jurisdiction: str
    name: str
    value: str
    article: str
    valid_from: date
    valid_to: date | None


class Policy:
    """The policy rows in force. ``version`` names exactly these rows and goes into every answer."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = sorted(rules, key=lambda rule: (rule.jurisdiction, rule.name, rule.valid_from))
        self.version = "pol-" + digest(self.rules).hex()[:12]
        self._named: dict[tuple[str, str], list[Rule]] = {}
        for rule in reversed(self.rules):
            self._named.setdefault((rule.jurisdiction, rule.name), []).append(rule)

    def rule(self, jurisdiction: str, name: str, on: date) -> Rule:
        """Return the row that holds on a day; a jurisdiction without one is judged by the strictest."""
        for scope in (jurisdiction, STRICTEST):
            for rule in self._named.get((scope, name), ()):
                if rule.valid_from <= on and (rule.valid_to is None or on <= rule.valid_to):
                    return rule
        raise LookupError(f"the policy table has no row for {name}")

    def text(self, jurisdiction: str, name: str, on: date) -> str:
        """Return a rule's value as text."""
        return self.rule(jurisdiction, name, on).value

    def number(self, jurisdiction: str, name: str, on: date) -> int:
        """Return a rule's value as a whole number (days, years; the rule's name says which)."""
        return int(self.rule(jurisdiction, name, on).value)

    def requires(self, jurisdiction: str, name: str, on: date) -> bool:
        """Return whether a yes-or-no rule says yes."""
        return self.rule(jurisdiction, name, on).value == "yes"

    def timezone(self, jurisdiction: str, on: date) -> ZoneInfo:
        """Return the zone in which the jurisdiction's legal days begin."""
        return ZoneInfo(self.text(jurisdiction, "timezone", on))


def digest(rules: Iterable[Rule]) -> bytes:
    """Return the SHA-256 of a whole set of rows, in order."""
    rows = [[r.jurisdiction, r.name, r.value, r.article, r.valid_from.isoformat(), str(r.valid_to)] for r in rules]
    return hashlib.sha256(canonical(rows)).digest()


async def load_policy(session: ReadSession, seals: RowSeals) -> Policy:
    """Read all rows; ``IntegrityError`` if they are not the ones that a migration wrote."""
    rows = (await session.execute(select(policy_rule))).all()
    policy = Policy(Rule(r.jurisdiction, r.rule, r.value, r.article, r.valid_from, r.valid_to) for r in rows)
    whole = digest(policy.rules)
    for row, rule in zip(sorted(rows, key=lambda r: (r.jurisdiction, r.rule, r.valid_from)), policy.rules, strict=True):
        if not seals.holds(policy_rule.name, sealed_columns(rule, whole), bytes(row.seal)):
            raise IntegrityError(f"the policy row {rule.name} of {rule.jurisdiction} does not match its seal")
    return policy


def sealed_columns(rule: Rule, whole: bytes) -> dict[str, str | bytes | date | None]:
    """Return what a row's seal covers: its columns, and the digest of the set that it belongs to."""
    return {
        "jurisdiction": rule.jurisdiction,
        "rule": rule.name,
        "valid_from": rule.valid_from,
        "valid_to": rule.valid_to,
        "value": rule.value,
        "article": rule.article,
        "set": whole,
    }
