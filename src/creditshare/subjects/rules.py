"""When evaluations look like guessing borrowers. Pure, on plain numbers; the numbers and their reasons stand here.

An honest lender evaluates whom it then names, in a consent or a report, and whom it named before. Who works through a
list of firms evaluates many and names few. So evaluations pile up; on each day on which a member evaluates, first what
the borrowers that it has named so far account for is taken off; beyond a few whole days of its budget there is no more
(decision 15). Days without evaluations take nothing off, or waiting would help.
"""

from typing import Final

PER_BORROWER_A_DAY: Final = 4
"""A borrower asked about by its identifier is evaluated for the consent and for the question, and once more for each
repetition: twice a day with everything is plenty."""
WHOLE_DAYS: Final = 3
"""Three days' budgets for nobody: a lender tries its first import, mends the file, tries again, and then reports."""


def left_over(unnamed: int, *, named: int) -> int:
    """Return what is left on a new day of evaluations for nobody, with so many borrowers named until then."""
    return max(0, unnamed - PER_BORROWER_A_DAY * named)


def most_unnamed(per_day: int) -> int:
    """Return how many evaluations may pile up for a member with this budget of the day."""
    return WHOLE_DAYS * per_day
