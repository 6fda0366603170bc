"""When a cell is unsafe in itself, and how wide the uncertainty about a withheld number must stay.

The rules of Hundepool et al., *Statistical Disclosure Control* (2012), chapter 4: a minimum frequency, (n,k)-dominance
and p %. A lender is a contributor, a borrower a respondent. The numbers come from the policy table.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from creditshare.disclosure.cells import Cell


@dataclass(frozen=True, slots=True)
class Rules:
    """Fewer than ``min_borrowers`` or ``min_lenders`` are too few; ``dominance`` holds pairs (n, k %)."""

    min_borrowers: int
    min_lenders: int
    dominance: tuple[tuple[int, int], ...]
    p_percent: int

    def __post_init__(self) -> None:
        if self.min_borrowers < 1 or self.min_lenders < 1:
            raise ValueError("a minimum frequency is one or more")
        if not 0 <= self.p_percent <= 100 or any(n < 1 or not 0 < k <= 100 for n, k in self.dominance):  # noqa: PLR2004
            raise ValueError("n is one or more, and percents are up to a hundred")


def few(borrowers: int, lenders: int, rules: Rules) -> bool:
    """The threshold rule: some stand behind the number, and too few of them. Nobody is not few."""
    return 0 < borrowers < rules.min_borrowers or (borrowers > 0 and lenders < rules.min_lenders)


def concentrated(amounts: Iterable[int], rules: Rules) -> bool:
    """(n,k)-dominance, or the p % rule: the second largest lender could estimate the largest too closely."""
    return _exposed(amounts, rules) > 0


def count_unsafe(cell: Cell, rules: Rules) -> bool:
    """Whether the number of records or borrowers is a primary suppression."""
    return few(cell.borrowers, len(cell.lenders), rules)


def sum_unsafe(cell: Cell, rules: Rules) -> bool:
    """Whether the sum is a primary suppression, apart from its count being suppressed."""
    return count_unsafe(cell, rules) or concentrated(cell.lenders.values(), rules)


def count_width(cell: Cell, rules: Rules) -> int:
    """The protection width of a count: p % of it, and never narrower than from one to the threshold."""
    return max(1, rules.min_borrowers - 2, _ceil_percent(cell.records, rules.p_percent))


def sum_width(cell: Cell, rules: Rules) -> int:
    """The protection width of a sum: p % of it, or what it takes for the rule that it breaks no longer to be broken."""
    return max(1, _ceil_percent(cell.total, rules.p_percent), _exposed(cell.lenders.values(), rules))


def _exposed(amounts: Iterable[int], rules: Rules) -> int:
    """By how much a sum would have to be larger to break no rule of concentration; not above zero if it breaks none."""
    falling = sorted(amounts, reverse=True)
    total = sum(falling)
    first, second = (*falling, 0, 0)[:2]
    lacking = [_ceil_percent(first, rules.p_percent) - (total - first - second)]
    lacking += [-(-100 * sum(islice(falling, n)) // k) - total for n, k in rules.dominance]
    return max(lacking)


def _ceil_percent(amount: int, percent: int) -> int:
    return -(-amount * percent // 100)
