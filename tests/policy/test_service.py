"""Which row of law holds on which day, in which jurisdiction."""

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.policy.service import Policy, Rule

FIRST, LAST = date(2024, 2, 29), date(2025, 12, 31)
DAY = timedelta(days=1)
STRICT = Rule("*", "window", "28", "house", date(2000, 1, 1), None)
OLD = Rule("CN", "window", "15", "art. 15", FIRST, LAST)
NEW = Rule("CN", "window", "20", "art. 15, amended", LAST + DAY, None)


def test_a_row_holds_from_its_first_day_to_its_last_both_included() -> None:
    policy = Policy([STRICT, OLD])
    assert [policy.number("CN", "window", day) for day in (FIRST - DAY, FIRST, LAST, LAST + DAY)] == [28, 15, 15, 28]


def test_a_later_row_takes_over_on_its_first_day() -> None:
    assert [Policy([NEW, STRICT, OLD]).number("CN", "window", day) for day in (LAST, LAST + DAY)] == [15, 20]
    unended = replace(OLD, valid_to=None)
    assert [Policy([NEW, unended]).number("CN", "window", day) for day in (LAST, LAST + DAY)] == [15, 20]


def test_a_jurisdiction_without_a_row_is_judged_by_the_strictest() -> None:
    policy = Policy([STRICT, OLD])
    assert policy.rule("FR", "window", FIRST) == STRICT
    assert policy.rule("CN", "window", FIRST) == OLD


@pytest.mark.parametrize(("name", "day"), [("lapse", FIRST), ("window", date(1999, 12, 31))])
def test_no_row_at_all_is_an_error_and_never_a_default(name: str, day: date) -> None:
    with pytest.raises(LookupError, match=name):
        Policy([STRICT, OLD]).rule("CN", name, day)


def test_values_are_read_as_what_the_rule_is() -> None:
    rows = [
        replace(STRICT, name=name, value=value)
        for name, value in [("a", "yes"), ("b", "no"), ("timezone", "Asia/Shanghai")]
    ]
    policy = Policy([*rows, STRICT])
    assert policy.requires("CN", "a", FIRST)
    assert not policy.requires("CN", "b", FIRST)
    assert policy.text("CN", "window", FIRST) == "28"
    assert policy.timezone("CN", FIRST).utcoffset(datetime(2024, 7, 1, tzinfo=UTC)) == timedelta(hours=8)


CHANGED: dict[str, Any] = {
    "jurisdiction": "US",
    "name": "lapse",
    "value": "16",
    "article": "art. 16",
    "valid_from": FIRST - DAY,
    "valid_to": None,
}


def test_the_version_names_exactly_these_rows_whatever_their_order() -> None:
    version = Policy([STRICT, OLD, NEW]).version
    assert Policy([NEW, OLD, STRICT]).version == version
    assert {field.name for field in fields(Rule)} == set(CHANGED)
    others = [Policy([STRICT, replace(OLD, **{name: value}), NEW]).version for name, value in CHANGED.items()]
    others += [Policy([STRICT, OLD]).version, Policy([STRICT, OLD, NEW, NEW]).version]
    assert len({version, *others}) == len(others) + 1


@given(st.dates(), st.lists(st.dates(), min_size=1, max_size=6, unique=True))
def test_of_rows_that_follow_each_other_the_last_begun_holds(day: date, starts: list[date]) -> None:
    rows = [replace(STRICT, value=str(start.toordinal()), valid_from=start) for start in starts]
    begun = [start for start in starts if start <= day]
    if begun:
        assert Policy(rows).number("CN", "window", day) == max(begun).toordinal()
    else:
        with pytest.raises(LookupError):
            Policy(rows).rule("CN", "window", day)
