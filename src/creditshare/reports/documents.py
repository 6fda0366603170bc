"""What is told of a part: rows with the numbers that are shown, kept as a document that is never changed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from creditshare.reports.cells import Key

Status = Literal["s", "u", "x"]
"""``s`` told, ``u`` withheld for what it is, ``x`` withheld so that others stay withheld. What is absent is nought."""


@dataclass(frozen=True, slots=True)
class Row:
    """A cell as it is told: without the numbers that are withheld. ``values`` follow the table's dimensions."""

    table: str
    values: tuple[str, ...]
    status: Status
    sum_status: Status
    borrowers: int | None
    records: int | None
    lenders: int | None
    amount: int | None

    @property
    def key(self) -> Key:
        """The cell's name within its family."""
        return (self.table, *self.values)


@dataclass(frozen=True, slots=True)
class Told:
    """A family's rows of one part.

    ``units`` are the periods of it that were told: what is not among their rows is nought. ``held`` are those of them
    whose changes since are held back.
    """

    rows: tuple[Row, ...] = ()
    held: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as a document to be kept."""
        return {
            "held": list(self.held),
            "rows": [
                [
                    one.table,
                    list(one.values),
                    one.status,
                    one.sum_status,
                    one.borrowers,
                    one.records,
                    one.lenders,
                    one.amount,
                ]
                for one in self.rows
            ],
            "units": list(self.units),
        }

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> "Told":
        """Read a document of ``as_json``."""
        rows = (Row(row[0], tuple(row[1]), *row[2:]) for row in document["rows"])
        return cls(tuple(rows), tuple(document["held"]), tuple(document["units"]))
