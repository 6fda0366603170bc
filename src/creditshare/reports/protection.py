"""Disclosure control of a system of cells, now and beside what was told before (decision 26). Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from creditshare.disclosure import cells as disclosure
from creditshare.disclosure.protect import Protection, protect
from creditshare.disclosure.retelling import Change, may_retell, retold
from creditshare.disclosure.rules import Rules, concentrated
from creditshare.errors import Unprotectable
from creditshare.policy.service import STRICTEST, Policy
from creditshare.reports.cells import Cell, Holding
from creditshare.reports.tables import DEFAULTS, Name, Relation

Touched = Mapping[str, Mapping[UUID, Holding]]
"""Who changed a cell since it was told, each with what that comes to at each lender."""


@dataclass(frozen=True, slots=True)
class System:
    """Cells that are told together, and how they add up. Those of which nothing is left are among ``touched`` still.

    ``moved`` says by how much sums changed at each lender since they were told; ``sums_told`` of which that is.
    """

    cells: Mapping[Name, Cell]
    relations: Sequence[Relation]
    touched: Mapping[Name, Touched]
    moved: Mapping[Name, Mapping[UUID, int]]
    sums_told: Collection[Name]

    @classmethod
    def of(cls, families: Mapping[str, Mapping[tuple[str, ...], Cell]], add_up: Iterable[Relation]) -> "System":
        """Make a system of the cells of families."""
        named = {(family, *key): cell for family, cells in families.items() for key, cell in cells.items()}
        return cls(
            {name: cell for name, cell in sorted(named.items()) if cell.records},
            tuple(add_up),
            {name: cell.touched for name, cell in named.items() if cell.touched},
            {name: cell.moved for name, cell in named.items() if cell.moved},
            {name for name, cell in named.items() if cell.sum_told},
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
    following = replace(before, withheld=kept & set(before.withheld))
    told = _may_follow(system, following, protection, rules) and _sums_may_follow(system, before, protection, rules)
    return protection if told else None


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


def _sums_may_follow(system: System, before: Before, protection: Protection, rules: Rules) -> bool:
    """Whether no sum changes by what one lender, or two, almost alone account for.

    The difference of two told sums is a sum too, and stands under the same rules, over what each lender's part in it
    changed by, up or down. What a relation withholds changes by the rest of what it tells.
    """
    both = told_sums(system, protection) & sums_told_before(system, before)
    moved = [system.moved.get(name, {}) for name in both]
    for relation in system.relations:
        rest = [name for name in relation.parts if name not in both]
        if relation.total in both and set(rest) <= set(before.covered):
            moved.append(_amounts_of(system.touched.get(name, {}) for name in rest))
    return not any(concentrated(map(abs, one.values()), rules) for one in moved)


def told_sums(system: System, protection: Protection) -> set[Name]:
    """Return the sums that are told now; of cells of which nothing is left, that it is nought."""
    told = {name for name in system.cells if protection.sums.get(name, "u") not in {"u", "x"}}
    gone = (system.touched.keys() | system.moved.keys()) - system.cells.keys()
    return told | {name for name in gone if name[0] == DEFAULTS}


def sums_told_before(system: System, before: Before) -> set[Name]:
    """Return the sums that were told last time or ever since then."""
    last = set(before.covered) - set(before.withheld) - set(before.withheld_sums)
    return {name for name in last | set(system.sums_told) if name[0] == DEFAULTS}


def _amounts_of(touched: Iterable[Touched]) -> dict[UUID, int]:
    """Return by how much a sum changed at each lender."""
    amounts: dict[UUID, int] = {}
    for one in touched:
        for change in one.values():
            for lender, held in change.items():
                amounts[lender] = amounts.get(lender, 0) + held.amount
    return amounts


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
