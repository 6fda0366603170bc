"""What a lender's own page says that it is asked for: of its keys, its state, its tier; and nothing once it is done."""

import re
import time
from typing import LiteralString
from urllib.parse import urlencode

import pytest
from tests.fixtures.pages import OPENED, Visitor, fields_of, problem, words_of
from tests.fixtures.service import RunningService

from creditshare.client.bank import Client
from creditshare.client.problems import Problem
from creditshare.crypto.jwe import OpeningKey
from creditshare.wire.reasons import REASONS

NOTHING = "Nothing is asked of you."
LIMITED, KEY, TIER, HAND_BACK = (
    "You are limited",
    "Replace it before",
    "Your answers are shorter",
    "Name a key to which",
)


def asked(service: RunningService, bank: Client) -> list[str]:
    visitor = Visitor(service).sign_in(bank)
    page = visitor.get("/console/bank")
    assert page.status_code == 200
    while OPENED:
        OPENED.pop().close()
    return [one for one in (LIMITED, KEY, TIER, HAND_BACK, NOTHING) if one in words_of(page.text)]


def test_nothing_once_a_key_for_the_hand_back_is_named(shared_service: RunningService) -> None:
    bank = shared_service.admit("A lender that is asked")
    assert asked(shared_service, bank) == [HAND_BACK]
    bank.call("POST", "/v1/me/hand-back-key", data={"jwk": dict(OpeningKey.generate().public_jwk)})
    assert asked(shared_service, bank) == [NOTHING]


def test_each_report_on_its_page_is_one_that_it_may_read(shared_service: RunningService) -> None:
    visitor = Visitor(shared_service).sign_in(shared_service.admit("A lender that reads"))
    links = re.findall(r'href="(/console/reports/[a-z_]+)"', visitor.get("/console/bank").text)
    assert len(links) == 3
    shown = {link: visitor.get(link) for link in links}
    assert {link: page.status_code for link, page in shown.items()} == dict.fromkeys(links, 200)
    assert all("purpose" not in page.text.partition("<select")[2].partition("</select")[0] for page in shown.values())
    while OPENED:
        OPENED.pop().close()


@pytest.mark.parametrize(
    ("asked", "wrong", "said"),
    [
        ({"from": "banana", "to": ""}, ["from"], "Not in the form that is said below"),
        ({"from": "2026-01", "to": "2026-13"}, ["to"], "Not in the form that is said below"),
        ({"from": "banana", "to": "2026-13"}, ["from", "to"], "Not in the form that is said below"),
        ({"from": "2026-05", "to": "2026-04"}, ["to"], "Before the beginning"),
    ],
)
def test_a_period_that_is_none_is_told_beside_its_field(
    shared_service: RunningService, asked: dict[str, str], wrong: list[str], said: str
) -> None:
    visitor = Visitor(shared_service).sign_in(shared_service.admit("A lender that mistypes"))
    query = f"{urlencode(asked)}&by=year,lender"
    page = visitor.get(f"/console/reports/member_quality?{query}")
    assert page.status_code == 422
    assert re.findall(r'<input id="([a-z]+)"[^>]*aria-invalid="true"', page.text) == wrong
    assert fields_of(page.text) == asked
    assert said in words_of(page.text)
    assert "Method" not in words_of(page.text)  # no report
    assert '"year,lender" selected' in page.text
    for file in ("file.csv", "chart/light.svg"):
        assert problem(visitor.get(f"/console/reports/member_quality/{file}?{query}")) == "validation_failed"
    while OPENED:
        OPENED.pop().close()


def test_refusals_of_pages_are_none_of_questions(shared_service: RunningService) -> None:
    bank = shared_service.admit("A lender that looks around")
    (subject,) = bank.tokenise(["91999999DEM000006M"])
    visitor = Visitor(shared_service).sign_in(bank)
    assert visitor.get("/console/reports/defaults").status_code != 200
    with pytest.raises(Problem) as refused:
        bank.query(subject, purpose="pre_loan", consent_id="cns_01900000-0000-7000-8000-000000000000")
    deadline, told = time.monotonic() + 10, ""
    while (title := REASONS[refused.value.code].title.en) not in told and time.monotonic() < deadline:
        told = words_of(visitor.get("/console/bank/inquiries").text).partition("Refused, by reason")[2]
    by_reason = told.partition("The newest")[0]
    assert title in by_reason
    assert REASONS["not_found"].title.en not in by_reason
    assert "Looked at a page · a report " in told
    assert "查看页面 · 报表 " in words_of(visitor.get("/console/bank/inquiries?lang=zh").text)
    while OPENED:
        OPENED.pop().close()


STATES: dict[str, LiteralString] = {
    LIMITED: "UPDATE member SET status = 'limited' WHERE member_id = %s",
    TIER: "UPDATE member SET tier = 'basic' WHERE member_id = %s",
    KEY: "UPDATE member_key SET expires_at = now() + interval '6 days' WHERE member_id = %s",
}


@pytest.mark.parametrize("said", STATES)
def test_each_thing_is_said_where_it_is_so(shared_service: RunningService, said: str) -> None:
    bank = shared_service.admit("A lender of its state")
    assert said not in asked(shared_service, bank)
    shared_service.rewrite(STATES[said], bank.session.signer.member_id.removeprefix("mem_"))
    assert said in asked(shared_service, bank)
