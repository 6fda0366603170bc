"""Primary and complementary suppression, and the audit, until nothing is found."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from creditshare.disclosure.audit import Finding, Kind, examine
from creditshare.disclosure.cells import Name, Status, System
from creditshare.disclosure.component import components
from creditshare.disclosure.movement import Partners
from creditshare.disclosure.pattern import Measure, Pattern, counts, sums
from creditshare.disclosure.rules import Rules
from creditshare.errors import Unprotectable


@dataclass(frozen=True, slots=True)
class Protection:
    """Each cell's status, for its counts and for its sum. A cell without a sum has no status of one."""

    counts: Mapping[Name, Status]
    sums: Mapping[Name, Status]


def protect(
    system: System,
    rules: Rules,
    *,
    known: Collection[Name] = (),
    withheld: Collection[Name] = (),
    withheld_sums: Collection[Name] = (),
) -> Protection:
    """Decide what is published of a release, so that nothing of the rest can be worked back.

    ``known`` is what everybody knows from before, unchanged, so that nothing is gained by withholding it.
    ``withheld`` and ``withheld_sums`` an earlier release of the same cells withheld: that stays so (``retelling``).
    Raises ``Unprotectable`` if what is known gives away a cell; without anything known there is always a way.
    """
    told = _complete(counts(system, rules), known, withheld, system)
    hidden = {name for name, status in told.items() if status in {"u", "x"}}
    amounts = _complete(sums(system, rules), known, hidden.union(withheld_sums), system)
    return Protection(told, {name: status for name, status in amounts.items() if system.cells[name].summed})


def audit(system: System, rules: Rules, protection: Protection) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """What can be worked back of a release's counts and of its sums, were it published like this."""
    withheld = {name for name, status in protection.counts.items() if status in {"u", "x"}}
    return (
        _findings(counts(system, rules), protection.counts, set()),
        _findings(sums(system, rules), protection.sums, withheld),
    )


def _findings(measure: Measure, statuses: Mapping[Name, Status], must: Collection[Name]) -> tuple[Finding, ...]:
    pattern = Pattern(measure)
    for i, name in enumerate(measure.names):
        if statuses[name] in {"u", "x"}:
            pattern.hide(i, statuses[name])
    found: dict[int, Kind] = {
        i: "unsafe"
        for i, name in enumerate(measure.names)
        if pattern.status[i] == "s" and (i in measure.primary or name in must)
    }
    for number in pattern.unsafe_rows():
        hidden = [i for i in measure.rows[number].cells if pattern.status[i] != "s"]
        found[min(hidden, key=lambda i: (measure.values[i], i))] = "remainder"
    found |= _pass(pattern, set())
    return tuple(Finding(measure.names[i], found[i]) for i in sorted(found))


def _complete(
    measure: Measure, known: Collection[Name], withheld: Collection[Name], system: System
) -> dict[Name, Status]:
    pattern = Pattern(measure, known={i for i, name in enumerate(measure.names) if name in known})
    for i, name in enumerate(measure.names):
        if i in measure.primary:
            pattern.hide(i, "u")
        elif name in withheld:
            pattern.hide(i, "x")
    pattern.complete()
    times: Counter[int] = Counter()
    proven: set[int] = set()
    # At the end once more from the beginning, as an audit does.
    while found := _pass(pattern, proven) or _pass(pattern, set()):
        proven.difference_update(found)
        times.update(found.keys())
        _reinforce(pattern, found, times)
        pattern.complete()
    statuses: dict[Name, Status] = dict.fromkeys(system.cells, "z")
    statuses.update(zip(measure.names, pattern.status, strict=True))
    return statuses


def _pass(pattern: Pattern, proven: set[int]) -> dict[int, Kind]:
    found: dict[int, Kind] = {}
    for component in components(pattern):
        found |= examine(pattern, component, proven)
    return found


def _reinforce(pattern: Pattern, found: Mapping[int, Kind], times: Mapping[int, int]) -> None:
    """Give each finding the partners that let it move at the least loss. They hide it from who looks, not yet for sure.

    Where that is nothing new for any, each gets the nearest one, twice as large as the last time.
    """
    partners, helped = Partners(pattern), False
    ordered = sorted(found, key=lambda i: (pattern.measure.values[i], i))
    for i in ordered:
        for partner in partners.of(i):
            pattern.hide(partner, "x")
            helped = True
    if not helped:
        _widen(pattern, ordered, times)


def _widen(pattern: Pattern, found: Sequence[int], times: Mapping[int, int]) -> None:
    """Give each finding one partner more, unless one of this round's already stands in its relations."""
    helped: set[int] = set()
    for i in found:
        near = pattern.rows_of[i]
        if helped.intersection(near):
            continue
        partner = _nearest(pattern, i, pattern.width(i) << (times[i] - 1))
        if partner is not None:
            pattern.hide(partner, "x")
            helped.update(pattern.rows_of[partner])
    if not helped:
        raise Unprotectable("what is known gives a cell away")


def _nearest(pattern: Pattern, i: int, need: int) -> int | None:
    """The smallest fitting cell in this cell's relations, or else in its neighbours' relations, and so on."""
    rows, seen = set(pattern.rows_of[i]), set[int]()
    while rows:
        seen |= rows
        members = {member for number in rows for member in pattern.measure.rows[number].cells}
        partner = pattern.smallest(members, need)
        if partner is not None:
            return partner
        rows = {number for member in members for number in pattern.rows_of[member]} - seen
    return None
