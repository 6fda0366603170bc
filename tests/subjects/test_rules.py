"""How evaluations for nobody pile up and wear off."""

from datetime import UTC, datetime

import pytest

from creditshare.errors import Refused
from creditshare.subjects.budgets import NOTHING_USED, Used, more
from creditshare.subjects.rules import PER_BORROWER_A_DAY, WHOLE_DAYS, left_over, most_unnamed

NOW = datetime(2026, 5, 4, 18, tzinfo=UTC)
BUDGET = 2_000


def days(*, evaluated: int, named_each_day: int, count: int) -> int:
    """Return on which day a member is stopped that does the same every day; 0 if never."""
    unnamed, named = 0, 0
    for day in range(1, count + 1):
        try:
            unnamed = more(Used(0, unnamed), evaluated, per_day=BUDGET, now=NOW).unnamed
        except Refused:  # never for the day's budget, which is not used up here
            return day
        named += named_each_day
        unnamed = left_over(unnamed, named=named)
    return 0


def test_one_who_names_nobody_has_a_few_whole_days() -> None:
    assert days(evaluated=BUDGET, named_each_day=0, count=400) == WHOLE_DAYS + 1
    assert days(evaluated=BUDGET // 10, named_each_day=0, count=400) == 10 * WHOLE_DAYS + 1


@pytest.mark.parametrize(
    ("evaluated", "named_each_day"),
    [
        (BUDGET, BUDGET),  # a file of records, a budget of it each day
        (BUDGET, BUDGET // 2),  # applicants, half of whom consent
        (BUDGET, BUDGET // 20),  # as many trial runs as it likes, but some business
        (40, 1),  # a small lender that evaluates each applicant many times
    ],
)
def test_one_who_does_business_is_never_stopped(evaluated: int, named_each_day: int) -> None:
    assert days(evaluated=evaluated, named_each_day=named_each_day, count=3_650) == 0


def test_named_borrowers_account_for_what_they_can_and_for_no_credit() -> None:
    assert left_over(100, named=10) == 100 - 10 * PER_BORROWER_A_DAY
    assert left_over(100, named=100) == 0
    assert left_over(100, named=0) == 100


def test_the_day_is_looked_at_first_and_then_the_pile() -> None:
    assert more(NOTHING_USED, BUDGET, per_day=BUDGET, now=NOW) == Used(BUDGET, BUDGET)
    full = Used(0, most_unnamed(BUDGET))
    with pytest.raises(Refused, match="enumeration_suspected") as caught:
        more(full, 1, per_day=BUDGET, now=NOW)
    assert caught.value.retry_after is None, "waiting alone changes nothing"
    with pytest.raises(Refused, match="quota_exhausted"):
        more(full, BUDGET + 1, per_day=BUDGET, now=NOW)
