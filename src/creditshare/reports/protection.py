"""Disclosure control of the reports' cells, by the numbers of the policy table (stub)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from creditshare.policy.service import STRICTEST, Policy
from creditshare.reports.cells import Cell
from creditshare.reports.tables import Name, Relation
from creditshare.reports.telling import Protected, Series


@dataclass(frozen=True, slots=True)
class DisclosureRules:
    min_borrowers: int
    min_lenders: int

    @classmethod
    def of(cls, policy: Policy, on: date) -> "DisclosureRules":
        return cls(
            policy.number(STRICTEST, "reports.min_borrowers", on), policy.number(STRICTEST, "reports.min_lenders", on)
        )

    def may_retell(self, borrowers: int, lenders: int) -> bool:
        return borrowers >= self.min_borrowers and lenders >= self.min_lenders

    def protect(self, cells: Mapping[Name, Cell], relations: Sequence[Relation], known: Collection[Name]) -> Protected:
        counts = {
            name: "s" if self.may_retell(cell.borrowers, len(cell.lenders)) else "u" for name, cell in cells.items()
        }
        return Protected(counts, counts)

    def thin(self, series: Series) -> Series:
        return series
