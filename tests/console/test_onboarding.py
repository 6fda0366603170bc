"""Onboarding step by step: an error names its field, what was entered stays, and the last step signs all of it."""

import json
import re
from collections.abc import Iterator
from html import unescape

import httpx
import pytest
from tests.fixtures.pages import OPENED, Visitor, fields_of, words_of
from tests.fixtures.service import RunningService

from creditshare.console.onboarding import STEPS

WHOLE = {
    "name": "Lakeside <Microloans>",
    "role": "regulator",
    "region": "US-CA",
    "jurisdictions": "us ca",
    "licence_no": "L-7",
    "contact_business": "Wu",
    "contact_technical": "ops@bank.example",
    "contact_data_protection": "",
    "key_thumbprint": "A" * 43,
}
PAGE = "/console/desk/members/new"


@pytest.fixture
def visitor(shared_service: RunningService) -> Iterator[Visitor]:
    yield Visitor(shared_service).sign_in(shared_service.desk[0])
    while OPENED:
        OPENED.pop().close()


def at(answer: httpx.Response) -> str:
    """Return the name of the step that a page shows."""
    done = answer.text.count('class="done"')
    assert answer.text.count('aria-current="step"') == 1
    return STEPS[done].name


def wrong_fields(answer: httpx.Response) -> list[str]:
    return re.findall(r'<input id="([a-z_]+)"[^>]*aria-invalid="true"', answer.text)


def step(visitor: Visitor, form: dict[str, str], go: int) -> httpx.Response:
    return visitor.post(PAGE, {**form, "go": str(go)})


def test_what_is_entered_travels_to_what_is_signed(visitor: Visitor) -> None:
    shown, form = visitor.get(PAGE), {}
    for number, one in enumerate(STEPS):
        assert at(shown) == one.name
        form = fields_of(shown.text) | {name: WHOLE[name] for name in one.fields}
        shown = step(visitor, form, number + 1) if one.fields else shown
    assert fields_of(shown.text) == WHOLE
    signed = visitor.post("/console/confirm/propose_member", form)
    document = json.loads(unescape(signed.text.partition("<pre>")[2].partition("</pre>")[0]))
    assert document["terms"] == {
        "name": "Lakeside <Microloans>",
        "role": "regulator",
        "region": "US-CA",
        "jurisdictions": ["CA", "US"],
        "licence_no": "L-7",
        "key_thumbprint": "A" * 43,
        "contacts": {"business": "Wu", "technical": "ops@bank.example"},
    }


@pytest.mark.parametrize("go", range(len(STEPS)))
def test_going_to_any_step_loses_nothing(visitor: Visitor, go: int) -> None:
    shown = step(visitor, WHOLE, go)
    assert (shown.status_code, at(shown), fields_of(shown.text)) == (200, STEPS[go].name, WHOLE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""),
        ("name", "x" * 129),
        ("region", "China"),
        ("jurisdictions", "China"),
        ("licence_no", "x" * 129),
        ("contact_technical", "x" * 201),
        ("key_thumbprint", "short"),
    ],
)
def test_what_is_wrong_is_shown_where_it_is_and_all_is_kept(visitor: Visitor, name: str, value: str) -> None:
    form = {**WHOLE, name: value}
    (place,) = (number for number, one in enumerate(STEPS) if name in one.fields)
    answers = [step(visitor, form, place + 1), step(visitor, form, 4)]
    answers.append(visitor.post("/console/confirm/propose_member", form))  # who leaves the steps out
    for shown in answers:
        assert (shown.status_code, at(shown), wrong_fields(shown)) == (422, STEPS[place].name, [name])
        assert fields_of(shown.text) == form
    back = step(visitor, form, max(0, place - 1))
    assert (back.status_code, fields_of(back.text)) == (200, form)


def test_what_is_wrong_is_said_in_the_readers_language(visitor: Visitor) -> None:
    form = {**WHOLE, "region": "China"}
    said = {
        language: words_of(visitor.post(f"{PAGE}?lang={language}", {**form, "go": "2"}).text)
        for language in ("en", "zh")
    }
    assert "Not in the form that is said below" in said["en"]
    assert "格式与下方说明不符" in said["zh"]
    assert "Not in the form" not in said["zh"]


@pytest.mark.parametrize("go", ["", "5", "-1", "x", "1 "])
def test_a_step_that_there_is_not_is_the_first(visitor: Visitor, go: str) -> None:
    assert at(visitor.post(PAGE, {**WHOLE, "go": go})) == ("place" if go == "1 " else "institution")
