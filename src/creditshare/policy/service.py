"""Reading the policy table: one frozen value, loaded at start, asked by jurisdiction, rule and day."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import select

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
        self._rules = sorted(rules, key=lambda rule: (rule.jurisdiction, rule.name, rule.valid_from))
        rows = [
            [r.jurisdiction, r.name, r.value, r.article, r.valid_from.isoformat(), str(r.valid_to)] for r in self._rules
        ]
        self.version = "pol-" + hashlib.sha256(canonical(rows)).hexdigest()[:12]

    def rule(self, jurisdiction: str, name: str, on: date) -> Rule:
        """Return the row that holds on a day; a jurisdiction without one is judged by the strictest."""
        for scope in (jurisdiction, STRICTEST):
            for rule in reversed(self._rules):
                within = rule.valid_from <= on and (rule.valid_to is None or on <= rule.valid_to)
                if rule.jurisdiction == scope and rule.name == name and within:
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


async def load_policy(session: ReadSession) -> Policy:
    """Read all rows."""
    rows = await session.execute(select(policy_rule))
    return Policy(Rule(r.jurisdiction, r.rule, r.value, r.article, r.valid_from, r.valid_to) for r in rows)
