"""Adding rows to the policy table, for migrations alone: each row's seal covers the whole set, so all get new ones."""

from collections.abc import Iterable, Sequence
from datetime import date

from sqlalchemy import Connection, select

from creditshare.crypto.rowseals import RowSeals
from creditshare.errors import IntegrityError
from creditshare.policy.models import policy_rule
from creditshare.policy.service import Rule, digest, sealed_columns


def add_rules(connection: Connection, seals: RowSeals, rules: Sequence[Rule]) -> None:
    """Add the rules that are not there yet; ``IntegrityError`` if those that are were changed by anyone else.

    A step down leaves rows where they are, so that the code of before reads a set whose seals hold.
    """
    found = {_identity(rule): (rule, seal) for rule, seal in _rows(connection)}
    whole = digest(_ordered(rule for rule, _ in found.values()))
    for rule, seal in found.values():
        if not seals.holds(policy_rule.name, sealed_columns(rule, whole), seal):
            raise IntegrityError(f"the policy row {rule.name} of {rule.jurisdiction} does not match its seal")
    new = [rule for rule in rules if _identity(rule) not in found]
    everything = _ordered([*(rule for rule, _ in found.values()), *new])
    whole = digest(everything)
    for rule in everything:
        seal = seals.seal(policy_rule.name, sealed_columns(rule, whole))
        if _identity(rule) in found:
            named = (
                policy_rule.c.jurisdiction == rule.jurisdiction,
                policy_rule.c.rule == rule.name,
                policy_rule.c.valid_from == rule.valid_from,
            )
            connection.execute(policy_rule.update().where(*named).values(seal=seal))
        else:
            connection.execute(policy_rule.insert().values(**_columns(rule), seal=seal))


def _rows(connection: Connection) -> list[tuple[Rule, bytes]]:
    return [
        (Rule(row.jurisdiction, row.rule, row.value, row.article, row.valid_from, row.valid_to), bytes(row.seal))
        for row in connection.execute(select(policy_rule))
    ]


def _identity(rule: Rule) -> tuple[str, str, date]:
    return rule.jurisdiction, rule.name, rule.valid_from


def _ordered(rules: Iterable[Rule]) -> list[Rule]:
    return sorted(rules, key=_identity)


def _columns(rule: Rule) -> dict[str, str | date | None]:
    return {
        "jurisdiction": rule.jurisdiction,
        "rule": rule.name,
        "valid_from": rule.valid_from,
        "valid_to": rule.valid_to,
        "value": rule.value,
        "article": rule.article,
    }
