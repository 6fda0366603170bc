"""What may be reported, what may follow what, and what a list of events amounts to."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditshare.errors import Refused
from creditshare.policy.service import Policy, Rule
from creditshare.records.rules import (
    ENDING,
    LIFE_EVENTS,
    Coded,
    Happened,
    LifeEvent,
    RecordState,
    Report,
    check,
    check_correction,
    check_step,
    fold,
    jurisdiction,
    looks_like_identifier,
    shown,
)

TODAY = date(2026, 3, 15)
DAY, INSTANT = timedelta(days=1), timedelta(microseconds=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy(
    [
        Rule("*", "default.days_past_due", "90", "house", date(2000, 1, 1), None),
        Rule("JP", "default.days_past_due", "30", "test", date(2000, 1, 1), TODAY - DAY),
    ]
)
REPORT = Report(
    role="borrower",
    account_ref="A-1",
    product="term_loan",
    currency="USD",
    original_amount=Decimal("150000.00"),
    outstanding_principal=Decimal("98000.00"),
    opened_on=date(2020, 1, 1),
    due_on=date(2027, 1, 1),
    first_overdue_on=date(2025, 3, 1),
    default_on=date(2025, 6, 30),
    default_reason="days_past_due",
    days_past_due=91,
    region=Coded("GB/T 2260", "350100"),
    lawful_basis="legal_duty",
)


def errors(report: Report = REPORT, **changes: Any) -> set[tuple[str, str]]:
    """Return pointer and code of everything that is wrong with a report."""
    try:
        check(replace(report, **changes), policy=POLICY, today=TODAY)
    except Refused as refusal:
        assert refusal.code == "validation_failed"  # noqa: PT017  the happy path returns below
        return {(field.pointer, field.code) for field in refusal.fields}
    return set()


PUBLIC: dict[str, Any] = {"public_ref": "case 1"}


@pytest.mark.parametrize(
    ("right", "wrong", "pointer", "code"),
    [
        # the reason
        ({"days_past_due": 91}, {"days_past_due": 90}, "/days_past_due", "below_default"),
        ({"days_past_due": 91}, {"days_past_due": None}, "/days_past_due", "below_default"),
        (
            {"default_reason": "both", "days_past_due": 91, "cause": "fraud"},
            {"default_reason": "both", "days_past_due": 90, "cause": "fraud"},
            "/days_past_due",
            "below_default",
        ),
        (
            {"default_reason": "unlikely_to_pay", "cause": "fraud", "days_past_due": 0},
            {"default_reason": "unlikely_to_pay", "cause": None, "days_past_due": 0},
            "/cause",
            "required",
        ),
        ({"default_reason": "both", "cause": "fraud"}, {"default_reason": "both"}, "/cause", "required"),
        ({"default_reason": "legal", **PUBLIC}, {"default_reason": "legal"}, "/public_ref", "required"),
        *(
            ({"outstanding_principal": None, name: Decimal(0)}, {"outstanding_principal": None}, *expected)
            for name in ("overdue_principal", "overdue_interest", "outstanding_principal")
            for expected in [("/outstanding_principal", "required")]
        ),
        # the basis
        (
            {"lawful_basis": "consent", "provide_consent_id": "cns_x"},
            {"lawful_basis": "consent"},
            "/provide_consent_id",
            "required",
        ),
        ({"lawful_basis": "public_record", **PUBLIC}, {"lawful_basis": "public_record"}, "/public_ref", "required"),
        # the write-off
        (
            {"written_off_on": TODAY, "written_off_amount": Decimal(1)},
            {"written_off_on": TODAY},
            "/written_off_amount",
            "required",
        ),
        ({}, {"written_off_amount": Decimal(1)}, "/written_off_on", "required"),
        # the dates: a day ahead is allowed, two are not
        ({"default_on": TODAY + DAY}, {"default_on": TODAY + 2 * DAY}, "/default_on", "in_future"),
        (
            {"written_off_on": TODAY + DAY, "written_off_amount": Decimal(1)},
            {"written_off_on": TODAY + 2 * DAY, "written_off_amount": Decimal(1)},
            "/written_off_on",
            "in_future",
        ),
        # the dates: each after the one before
        (
            {"first_overdue_on": None, "default_on": REPORT.opened_on},
            {"first_overdue_on": None, "default_on": REPORT.opened_on - DAY},
            "/default_on",
            "before_opened_on",
        ),
        ({"due_on": REPORT.opened_on}, {"due_on": REPORT.opened_on - DAY}, "/due_on", "before_opened_on"),
        (
            {"first_overdue_on": REPORT.opened_on},
            {"first_overdue_on": REPORT.opened_on - DAY},
            "/first_overdue_on",
            "before_opened_on",
        ),
        (
            {"first_overdue_on": REPORT.default_on},
            {"first_overdue_on": REPORT.default_on + DAY},
            "/first_overdue_on",
            "after_default_on",
        ),
        (
            {"written_off_on": REPORT.default_on, "written_off_amount": Decimal(1)},
            {"written_off_on": REPORT.default_on - DAY, "written_off_amount": Decimal(1)},
            "/written_off_on",
            "before_default_on",
        ),
        # references
        ({"account_ref": "loan 7"}, {"account_ref": "91350100M000100Y43"}, "/account_ref", "identifier"),
        ({"public_ref": "case 7"}, {"public_ref": "91350100M000100Y43"}, "/public_ref", "identifier"),
    ],
)
def test_each_rule_on_both_sides_of_its_edge(
    right: dict[str, Any], wrong: dict[str, Any], pointer: str, code: str
) -> None:
    assert errors(**right) == set()
    assert errors(**wrong) == {(pointer, code)}


@pytest.mark.parametrize("name", ["opened_on", "first_overdue_on"])
def test_what_comes_before_a_default_is_no_later_than_it(name: str) -> None:
    days: dict[str, Any] = {"first_overdue_on": None, "default_on": TODAY + DAY, name: TODAY + DAY}
    assert errors(**days) == set()
    days = {"first_overdue_on": None, "default_on": TODAY + 2 * DAY, name: TODAY + 2 * DAY}
    assert errors(**days) == {(f"/{name}", "in_future"), ("/default_on", "in_future")}


def test_all_wrong_fields_are_named_at_once() -> None:
    wrong = errors(days_past_due=1, lawful_basis="public_record", due_on=date(2019, 1, 1), written_off_on=TODAY)
    assert wrong == {
        ("/days_past_due", "below_default"),
        ("/public_ref", "required"),
        ("/due_on", "before_opened_on"),
        ("/written_off_amount", "required"),
    }


def test_the_threshold_is_the_jurisdictions_row_of_today() -> None:
    japan = Coded("ISO 3166-2", "JP-13")
    check(replace(REPORT, region=japan, days_past_due=31), policy=POLICY, today=TODAY - DAY)
    with pytest.raises(Refused):
        check(replace(REPORT, region=japan, days_past_due=31), policy=POLICY, today=TODAY)


@pytest.mark.parametrize(
    ("region", "country"),
    [(("GB/T 2260", "350100"), "CN"), (("ISO 3166-2", "US-CA"), "US"), (("ISO 3166-2", "CN"), "CN")],
)
def test_the_region_gives_the_jurisdiction(region: tuple[str, str], country: str) -> None:
    assert jurisdiction(Coded(*region)) == country


@pytest.mark.parametrize(
    "text",
    [
        "91350100M000100Y43",  # 统一社会信用代码
        "91350100m000100y43",
        " 9135 0100 M000 100Y 43\t",
        "９１３５０１００Ｍ０００１００Ｙ４３",  # full width
        "91350100-M000100Y43",
        "360426199101010071",  # 身份证号
        "36042619910101007 1",
        "213800KUD8LAJWSQ9D15",  # LEI
        "213800kud8lajwsq9d15",
    ],
)
def test_an_identifier_is_recognised_however_it_is_spaced(text: str) -> None:
    assert looks_like_identifier(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "loan-2024-000123",
        "91350100M000100Y44",  # wrong check digit
        "360426199101010072",
        "213800KUD8LAJWSQ9D16",
        "L000123",
        "（2024）闽01民初123号",
        "000",
        "LOAN15",  # fits the check digits of a LEI, as one text in 97 does
    ],
)
def test_a_reference_is_left_alone(text: str) -> None:
    assert not looks_like_identifier(text)


# Life


def at(days: float) -> datetime:
    return START + timedelta(days=days)


def submitted(**changes: Any) -> Happened:
    return Happened("submitted", START, report=replace(REPORT, **changes))


def corrected(day: float, **changes: Any) -> Happened:
    return Happened("corrected", at(day), report=replace(REPORT, **changes), reason="other")


def step(kind: str, day: float) -> Happened:
    return Happened(kind, at(day), on=at(day).date())


def state_of(*events: Happened, until: datetime | None = None) -> RecordState:
    state = fold(events, until=until)
    assert state is not None
    return state


WRITTEN_OFF: dict[str, Any] = {"written_off_on": date(2025, 12, 1), "written_off_amount": Decimal(5)}
EVERY: set[str] = set(LIFE_EVENTS)
STANDINGS: dict[str, tuple[RecordState, set[str]]] = {
    "default": (state_of(submitted()), EVERY - {"default"}),
    "forbearance": (state_of(submitted(), step("forbearance", 1)), EVERY),
    "legal": (state_of(submitted(), step("legal", 1)), EVERY),
    "written off": (
        state_of(submitted(**WRITTEN_OFF)),
        {"legal", "recovered", "settled_full", "settled_partial", "sold"},
    ),
    "written off later": (
        state_of(submitted(), step("written_off", 1)),
        {"legal", "recovered", "settled_full", "settled_partial", "sold"},
    ),
    "written off, in court": (
        state_of(submitted(**WRITTEN_OFF), step("legal", 1)),
        {"legal", "recovered", "settled_full", "settled_partial", "sold"},
    ),
    "cured": (state_of(submitted(), step("cured", 1)), set()),
    "settled": (state_of(submitted(), step("settled_full", 1)), set()),
    "settled in part": (state_of(submitted(), step("settled_partial", 1)), {"recovered"}),
    "recovered": (state_of(submitted(**WRITTEN_OFF), step("recovered", 1)), {"recovered"}),
    "sold": (state_of(submitted(), step("sold", 1)), set()),
    "withdrawn": (state_of(submitted(), step("withdrawn", 1)), set()),
}


@pytest.mark.parametrize("standing", STANDINGS)
@pytest.mark.parametrize("kind", LIFE_EVENTS)
def test_what_may_follow_what(standing: str, kind: LifeEvent) -> None:
    state, following = STANDINGS[standing]
    if kind in following:
        check_step(state, kind, TODAY)
        return
    with pytest.raises(Refused) as caught:
        check_step(state, kind, TODAY)
    assert caught.value.code == "state_conflict"


def test_the_life_events_are_listed_once_each() -> None:
    assert get_args(LifeEvent) == LIFE_EVENTS
    assert set(LIFE_EVENTS) >= ENDING


@pytest.mark.parametrize("kind", LIFE_EVENTS[2:])
def test_no_step_lies_before_the_default_save_measures_and_proceedings(kind: LifeEvent) -> None:
    state, _ = STANDINGS["default"]
    name = "opened_on" if kind in {"forbearance", "legal"} else "default_on"
    floor: date = getattr(REPORT, name)
    check_step(state, kind, floor)
    with pytest.raises(Refused) as caught:
        check_step(state, kind, floor - DAY)
    assert [(field.pointer, field.code) for field in caught.value.fields] == [("/on", f"before_{name}")]


def test_a_correction_is_checked_like_a_report_and_its_errors_point_into_its_own_body() -> None:
    state, _ = STANDINGS["default"]
    check_correction(state, replace(REPORT, days_past_due=91), policy=POLICY, today=TODAY)
    with pytest.raises(Refused) as caught:
        check_correction(state, replace(REPORT, days_past_due=90), policy=POLICY, today=TODAY)
    assert [(f.pointer, f.code) for f in caught.value.fields] == [("/changes/days_past_due", "below_default")]


def test_a_correction_cannot_move_the_default_past_its_end() -> None:
    ended, _ = STANDINGS["cured"]
    assert ended.ended_on is not None
    check_correction(ended, replace(REPORT, default_on=ended.ended_on), policy=POLICY, today=TODAY)
    with pytest.raises(Refused) as caught:
        check_correction(ended, replace(REPORT, default_on=ended.ended_on + DAY), policy=POLICY, today=TODAY)
    assert [(f.pointer, f.code) for f in caught.value.fields] == [("/changes/default_on", "after_end")]


def test_what_was_withdrawn_is_not_corrected() -> None:
    with pytest.raises(Refused) as caught:
        check_correction(STANDINGS["withdrawn"][0], REPORT, policy=POLICY, today=TODAY)
    assert caught.value.code == "state_conflict"


# Folding


def test_nothing_was_reported_before_the_report() -> None:
    assert fold([]) is None
    assert fold([submitted()], until=START - INSTANT) is None
    assert state_of(submitted(), until=START).status == "default"
    assert state_of(submitted(**WRITTEN_OFF)).status == "written_off"


def test_a_step_counts_from_its_own_instant() -> None:
    events = [submitted(), step("forbearance", 1), step("settled_full", 2)]
    assert [state_of(*events, until=at(2) - i).status for i in (INSTANT, timedelta(0))] == [
        "forbearance",
        "settled_full",
    ]
    assert state_of(*events, until=at(2) - INSTANT).open
    assert not state_of(*events).open


def test_a_past_date_never_brings_back_what_was_wrong() -> None:
    events = [submitted(), step("forbearance", 1), corrected(5, days_past_due=120), step("withdrawn", 9)]
    before = state_of(*events[:3], until=START)
    assert (before.report.days_past_due, before.status, before.corrected) == (120, "default", True)
    assert state_of(*events, until=START).withdrawn


def test_a_correction_of_an_amount_leaves_the_life_as_it_is() -> None:
    for kind in ("written_off", "forbearance", "legal", "settled_partial", "cured"):
        after = state_of(submitted(), step(kind, 1), corrected(2, outstanding_principal=Decimal(1)))
        assert after.status == kind
        assert after.written_off == (kind == "written_off")


def test_a_correction_can_say_that_it_was_or_was_not_written_off() -> None:
    assert state_of(submitted(), corrected(1, **WRITTEN_OFF)).status == "written_off"
    undone = state_of(submitted(**WRITTEN_OFF), corrected(1))
    assert (undone.status, undone.written_off) == ("default", False)
    in_court = state_of(submitted(**WRITTEN_OFF), step("legal", 1), corrected(2))
    assert (in_court.status, in_court.written_off) == ("legal", False)


@pytest.mark.parametrize("kind", sorted(ENDING))
def test_an_end_ends_it_on_its_legal_day(kind: str) -> None:
    ended = state_of(submitted(), step(kind, 3))
    assert (ended.status, ended.lifecycle, ended.open) == (kind, "ended", False)
    assert (ended.ended_on, ended.ended_at) == (at(3).date(), at(3))


def test_money_that_comes_later_does_not_start_retention_anew() -> None:
    later = state_of(submitted(), step("settled_partial", 3), step("recovered", 900))
    assert (later.status, later.ended_on) == ("recovered", at(3).date())
    assert later.last_recorded_at == at(900)


@pytest.mark.parametrize("kind", [kind for kind in LIFE_EVENTS if kind not in ENDING])
def test_other_steps_do_not_end_it(kind: str) -> None:
    state = state_of(submitted(), step(kind, 3))
    assert (state.status, state.lifecycle, state.ended_on) == (kind, "live", None)


def test_withdrawing_stands_above_everything() -> None:
    for events in ([submitted()], [submitted(), step("cured", 1)]):
        state = state_of(*events, step("withdrawn", 2))
        assert (state.status, state.lifecycle, state.open, state.withdrawn) == ("withdrawn", "withdrawn", False, True)


kinds = st.sampled_from([*LIFE_EVENTS, "corrected", "withdrawn"])


@given(st.lists(kinds, max_size=8), st.integers(min_value=0, max_value=9))
def test_the_past_is_what_the_events_until_then_amount_to_with_the_report_of_today(later: list[str], day: int) -> None:
    events = [submitted()]
    for number, kind in enumerate(later, start=1):
        known = state_of(*events)
        if kind == "corrected":
            events.append(corrected(number, days_past_due=91 + number))
        elif not known.withdrawn and (kind == "withdrawn" or known.open):
            events.append(step(kind, number))
    past, now = state_of(*events, until=at(day)), state_of(*events)
    told_then = [e for e in events if e.recorded_at <= at(day) or e.kind in {"corrected", "withdrawn"}]
    assert past == state_of(*told_then)
    assert past.report == now.report
    assert past.withdrawn == now.withdrawn
    assert past.corrected == now.corrected
    assert state_of(*events, until=events[-1].recorded_at) == now


def test_a_record_is_shown_from_its_instant_on_unless_paid_before_it() -> None:
    open_, paid, sold = (STANDINGS[name][0] for name in ("default", "cured", "sold"))
    assert shown(open_, visible_from=at(5), at=at(5))
    assert not shown(open_, visible_from=at(5), at=at(5) - INSTANT)
    assert shown(paid, visible_from=at(1), at=at(5))
    assert not shown(paid, visible_from=at(1) + INSTANT, at=at(5))
    assert shown(sold, visible_from=at(1) + INSTANT, at=at(5))
    assert not shown(STANDINGS["withdrawn"][0], visible_from=START, at=at(5))
