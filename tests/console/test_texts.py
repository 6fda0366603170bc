"""Every word that a page uses is there in both languages, and none is left over."""

import re

import pytest

from creditshare.console.onboarding import STEPS
from creditshare.console.render import FOLDER, TABS
from creditshare.console.routes import (
    bank,
    confirming,
    desk,
    entrance,
    erasures,
    oversight,
    passkeys,
    reports,
    warrants,
)
from creditshare.console.texts import TEXTS
from creditshare.console.visits import PageRoute
from creditshare.wire.actions import EXCHANGES

FAMILIES = {"ago", "change", "contact", "ended", "lifecycle", "lifecycle_note", "proposal", "purpose", "quota", "role"}
FAMILIES |= {"state", "term", "touched", "action", "restrict", "asked", "wrong", "page"}
FAMILIES |= {
    "contact_kind",
    "route",
    "warrant_state",
    "basis",
    "scope",
    "record_state",
    "product",
    "part",
    "class",
    "bucket",
    "amount",
    "erasure_state",
}
"""Whose keys are put together with a code of ours."""
PAGE = re.compile(r'shows="([a-z_]+)"')
COMPOSED = {f"new.role_{role}" for role in TABS} | {f"new.step_{step.name}" for step in STEPS}


def used() -> set[str]:
    found = {key for tabs in TABS.values() for _, key in tabs}
    for file in (FOLDER / "templates").rglob("*.html"):
        found |= set(re.findall(r"""\bt\(['"]([a-z_.]+)['"][,)]""", file.read_text()))
    return found


def test_no_text_is_missing_and_none_is_left() -> None:
    left = {key for key in TEXTS if key.partition(".")[0] not in FAMILIES} - COMPOSED
    assert used() - TEXTS.keys() == set()
    assert left - used() == set()


def test_each_act_that_a_member_finds_in_the_log_has_words() -> None:
    signed = {f"action.{name}" for name in EXCHANGES} | {"action.enrol_first_key", "action.view_page"}
    assert signed - TEXTS.keys() == set()


def test_each_page_that_a_regulator_or_lender_sees_has_words() -> None:
    routes = [file for file in (FOLDER / "routes").glob("*.py") if file.stem not in {"desk", "erasures"}]
    shown = {name for file in [*routes, FOLDER / "warrant_actions.py"] for name in PAGE.findall(file.read_text())}
    as_acts = {"report", "warrant", "warrant_records", "warrant_inquiries"}  # told as what they are, not as pages
    assert shown - as_acts == {key.removeprefix("page.") for key in TEXTS if key.startswith("page.")}


def test_each_route_that_may_refuse_a_look_has_words() -> None:
    """Also those of operators' pages, which are no pages to the others."""
    routers = (bank, confirming, desk, entrance, erasures, oversight, passkeys, reports, warrants)
    named = {f"route.{one.name}" for module in routers for one in module.router.routes if isinstance(one, PageRoute)}
    assert len(named) > 20
    assert named == {key for key in TEXTS if key.startswith("route.")}


@pytest.mark.parametrize("key", TEXTS)
def test_each_text_is_in_both_languages(key: str) -> None:
    text = TEXTS[key]
    assert text.en
    assert re.findall(r"\{\w+\}", text.en) == re.findall(r"\{\w+\}", text.zh) or sorted(
        re.findall(r"\{\w+\}", text.en)
    ) == sorted(re.findall(r"\{\w+\}", text.zh))
    technical = key in {"frame.other_language", "health.stamped_note", "ago.seconds"}
    assert technical or re.search(r"[\u4e00-\u9fff]", text.zh)
    assert key == "frame.other_language" or not re.search(r"[\u4e00-\u9fff]", text.en)


def test_no_template_runs_or_styles_anything_inline() -> None:
    for file in (FOLDER / "templates").rglob("*.html"):
        text = file.read_text()
        assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|\|\s*safe\b|javascript:", text) == [], (
            file
        )
