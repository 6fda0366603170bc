"""Disclosure control of the reports' cells, by the numbers of the policy table."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from creditshare.policy.service import STRICTEST, Policy
from creditshare.reports.cells import Cell
from creditshare.reports.tables import Name, Relation
from creditshare.reports.telling import Protected, Series


@dataclass(frozen=True, slots=True)
class DisclosureRules:
    """The numbers in force. A system with an unsafe cell is withheld whole: then nothing can be subtracted."""

    min_borrowers: int
    min_lenders: int

    @classmethod
    def of(cls, policy: Policy, on: date) -> "DisclosureRules":
        """Return the rules of a day."""
        return cls(
            policy.number(STRICTEST, "reports.min_borrowers", on), policy.number(STRICTEST, "reports.min_lenders", on)
        )

    def may_retell(self, borrowers: int, lenders: int) -> bool:
        """Whether a change by so many may be seen."""
        return borrowers >= self.min_borrowers and lenders >= self.min_lenders

    def protect(self, cells: Mapping[Name, Cell], relations: Sequence[Relation], known: Collection[Name]) -> Protected:
        """Return each cell's status."""
        del relations, known
        safe = all(self.may_retell(cell.borrowers, len(cell.lenders)) for cell in cells.values())
        statuses = dict.fromkeys(cells, "s" if safe else "u")
        return Protected(statuses, statuses)  # type: ignore[arg-type]

    def thin(self, series: Series) -> Series:
        """Return the months' ends that may be told: since the last one told, nobody moved or enough did."""
        told = []
        moved: dict[str, int] = {}
        for month, stocks in series:
            for number, stock in stocks.items():
                moved[number] = moved.get(number, 0) + stock.moved
            small = any(0 < stock.borrowers < self.min_borrowers for stock in stocks.values())
            if not small and all(count == 0 or count >= self.min_borrowers for count in moved.values()):
                told.append((month, stocks))
                moved = {}
        return told
