"""Disclosure control of a system of cells, now and beside what was told before (decision 26). Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from creditshare.disclosure import cells as disclosure
from creditshare.disclosure.protect import Protection, protect
from creditshare.disclosure.retelling import Change, may_retell, retold
from creditshare.disclosure.rules import Rules
from creditshare.errors import Unprotectable
from creditshare.policy.service import STRICTEST, Policy
from creditshare.reports.cells import Cell
from creditshare.reports.tables import DEFAULTS, Name, Relation

Touched = Mapping[str, Collection[UUID]]
"""Who changed a cell since it was told, each with the lenders whose records did."""


@dataclass(frozen=True, slots=True)
class System:
    """Cells that are told together, and how they add up. Those of which nothing is left are among ``touched`` still."""

    cells: Mapping[Name, Cell]
    relations: Sequence[Relation]
    touched: Mapping[Name, Touched]

    @classmethod
    def of(cls, families: Mapping[str, Mapping[tuple[str, ...], Cell]], add_up: Iterable[Relation]) -> "System":
        """Make a system of the cells of families."""
        named = {(family, *key): cell for family, cells in families.items() for key, cell in cells.items()}
        return cls(
            {name: cell for name, cell in sorted(named.items()) if cell.records},
            tuple(add_up),
            {name: cell.touched for name, cell in named.items() if cell.touched},
        )


@dataclass(frozen=True, slots=True)
class Before:
    """What was told before of the cells of a system: shown, withheld, and withheld sums.

    ``covered`` are the cells of which anything was told, those among them that were nought and so not listed.
    """

    told: Collection[Name] = ()
    withheld: Collection[Name] = ()
    withheld_sums: Collection[Name] = ()
    covered: Collection[Name] = ()


def rules_of(policy: Policy, on: date) -> Rules:
    """Return the numbers in force on a day."""

    def number(name: str) -> int:
        return policy.number(STRICTEST, f"reports.{name}", on)

    return Rules(
        min_borrowers=number("min_borrowers"),
        min_lenders=number("min_lenders"),
        dominance=((1, number("dominance_percent.1")), (2, number("dominance_percent.2"))),
        p_percent=number("p_percent"),
    )


def decide(system: System, before: Before, rules: Rules) -> Protection | None:
    """Return what of a system may be told, or nothing where it may not be told anew yet."""
    untouched = {name for name in before.told if name in system.cells and name not in system.touched}
    # A withheld cell in which enough changed says nothing of what it helped to hide, so it is free to be told.
    kept = {name for name in system.cells if not _grown(system.touched.get(name, {}), rules)}
    try:
        protection = protect(
            _as_disclosed(system),
            rules,
            known=untouched,
            withheld=kept & set(before.withheld),
            withheld_sums=kept & set(before.withheld_sums),
        )
    except Unprotectable:
        return None
    following = Before(before.told, kept & set(before.withheld), before.withheld_sums, before.covered)
    return protection if _may_follow(system, following, protection, rules) else None


def of_changes(rules: Rules) -> Rules:
    """Return the rules for what changed between two releases: enough borrowers are enough.

    That one lender's file came in between is told by the report of its quality anyway; and a market waits for ever for
    three lenders to change something in each old month.
    """
    return replace(rules, min_lenders=1)


def _grown(touched: Touched, rules: Rules) -> bool:
    """Whether enough changed in a cell that what it was cannot be told from what it is."""
    return bool(touched) and may_retell([change_of([touched])], of_changes(rules))


def _may_follow(system: System, before: Before, protection: Protection, rules: Rules) -> bool:
    """Whether the difference to what was told before tells nothing of few."""
    covered = set(before.covered)
    if not covered:
        return True
    shown = {name for name in system.cells if protection.counts[name] not in {"u", "x"}}
    now = (shown | (system.touched.keys() - system.cells.keys())) & covered
    told_then = covered - set(before.withheld)
    changes: dict[disclosure.Name, Change] = {name: change_of([system.touched.get(name, {})]) for name in now}
    remainders = []
    for relation in system.relations:
        members = (relation.total, *relation.parts)
        if all(name in covered for name in members):
            rest = [system.touched.get(name, {}) for name in members if name not in now]
            remainders.append(change_of(rest))
    return retold(told_then, now, changes, remainders, of_changes(rules))


def change_of(touched: Iterable[Touched]) -> Change:
    """Return how many distinct borrowers changed something, at how many lenders."""
    who: set[str] = set()
    lenders: set[UUID] = set()
    for one in touched:
        who.update(one)
        lenders.update(*one.values())
    return Change(len(who), len(lenders))


def may_be_seen(changes: Iterable[Change], rules: Rules) -> bool:
    """Whether all of these changes are nothing, or of enough."""
    return may_retell(changes, of_changes(rules))


def _as_disclosed(system: System) -> disclosure.System:
    return disclosure.System(
        {
            name: disclosure.Cell(
                cell.borrowers,
                cell.records,
                {lender.hex: one.amount for lender, one in cell.lenders.items()},
                summed=name[0] == DEFAULTS,
            )
            for name, cell in system.cells.items()
        },
        tuple(disclosure.Relation((one.total,), one.parts) for one in system.relations),
    )
