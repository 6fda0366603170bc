"""The pages of documentation need no internet, run no foreign script, and say everything in both languages."""

import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final

import httpx
import pytest
from tests.fixtures.browser import Browser, asked_by
from tests.fixtures.service import RunningService

from creditshare.api.openapi import DESCRIPTION
from creditshare.api.problem_page import Language, language_of, problem_page
from creditshare.api.problems import STATUS
from creditshare.api.routes.documentation import ASSETS, OWN
from creditshare.wire.reasons import REASONS

PAGES: Final = ("/docs", "/docs/problems", "/docs/problems?lang=zh")
ATTRIBUTES: Final = frozenset({"src", "href", "action", "data", "poster", "srcset", "formaction"})


class Page(HTMLParser):
    """What a page refers to, and what of it a strict policy would not run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        given = {name: value or "" for name, value in attrs}
        self.references += [value for name, value in given.items() if name in ATTRIBUTES]
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        self.ids += [given["id"]] if "id" in given else []

    def handle_data(self, data: str) -> None:
        if self._tag in {"script", "style"} and data.strip():
            self.inline.append(self._tag)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002  the name that html.parser gives it
        self._tag = ""


@pytest.fixture(scope="module")
def http(shared_service: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_service.url) as client:
        yield client


@pytest.mark.parametrize("path", PAGES)
def test_a_page_refers_only_to_its_own_origin_and_runs_nothing_inline(http: httpx.Client, path: str) -> None:
    got = http.get(path)
    assert got.status_code == 200
    page = Page(got.text)
    assert page.references
    assert [ref for ref in page.references if not re.match(r"/(?!/)|#|data:,$", ref)] == []
    assert page.inline == []
    for reference in page.references:
        if reference.startswith("/docs/assets/"):
            assert http.get(reference).status_code == 200


@pytest.mark.parametrize("path", [*PAGES, *(f"/docs/assets/{name}" for name in ASSETS)])
def test_a_page_is_sent_with_a_strict_policy(http: httpx.Client, path: str) -> None:
    headers = http.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("name", [name for name in ASSETS if name.endswith(".css")])
def test_a_style_sheet_loads_nothing(http: httpx.Client, name: str) -> None:
    text = http.get(f"/docs/assets/{name}").text
    assert "@import" not in text
    assert [url for url in re.findall(r"url\(\s*[\"']?([^)]{0,40})", text) if not url.startswith(("data:", "#"))] == []


def test_our_script_asks_for_nothing_but_the_document() -> None:
    text = (OWN / "docs.js").read_text()
    assert re.findall(r"[\"'](?:https?:)?/[^\"']*", text) == ['"/openapi.json']
    # Sending needs a signature that no page can make, and the public validator is somebody else's service.
    assert "supportedSubmitMethods: []" in text
    assert "validatorUrl: null" in text


def test_the_script_that_shows_the_api_knows_our_version_of_the_document() -> None:
    text = ASSETS["swagger-ui-bundle.js"][0].read_text()
    found = re.search(r'PACKAGE_VERSION:"([0-9]+)\.[0-9]+\.[0-9]+"', text)
    assert found is not None
    assert int(found[1]) >= 5, "swagger-ui shows OpenAPI 3.1 from version 5 on"


def test_an_asset_that_is_not_named_does_not_exist(http: httpx.Client) -> None:
    for name in ("README.md", "..%2fproblem_page.py", "%2e%2e%2f%2e%2e%2fapp.py", "nothing"):
        assert http.get(f"/docs/assets/{name}").status_code == 404


def test_the_page_says_how_to_call(http: httpx.Client) -> None:
    assert "creditshare call METHOD PATH" in http.get("/docs").text
    assert "creditshare call METHOD PATH" in DESCRIPTION


# Problem codes


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_code_has_its_anchor_status_and_texts(language: Language) -> None:
    text = problem_page(language)
    assert sorted(Page(text).ids) == sorted(REASONS)
    for code, reason in REASONS.items():
        section = text.partition(f'<section id="{code}">')[2].partition("</section>")[0]
        for words in (reason.title, reason.when, reason.detail):
            assert _escaped(words.zh if language == "zh" else words.en) in section
        assert f"<dd>{STATUS[code]}</dd>" in section
        assert ("Yes." in section or "可以。请" in section) == reason.retry


def test_neither_language_leaves_words_of_the_other() -> None:
    english, chinese = problem_page("en"), problem_page("zh")
    assert re.findall(r"[\u4e00-\u9fff]+", english) == ["中文"]
    for entry in re.findall(r"<d[td]>([^<]+)</d[td]>", chinese):
        assert entry.isdecimal() or re.search(r"[\u4e00-\u9fff]", entry), entry


def test_the_reader_chooses_the_language(http: httpx.Client) -> None:
    assert http.get("/docs/problems", headers={"Accept-Language": "zh-CN,zh;q=0.9"}).headers["Content-Language"] == "zh"
    assert http.get("/docs/problems", headers={"Accept-Language": "de"}).headers["Content-Language"] == "en"
    asked = http.get("/docs/problems?lang=zh", headers={"Accept-Language": "en"})
    assert (asked.headers["Content-Language"], asked.headers["Vary"]) == ("zh", "Accept-Language")
    assert '<html lang="zh-Hans">' in asked.text
    assert language_of("en", "zh") == "en"


def test_the_type_of_a_problem_leads_to_its_anchor(http: httpx.Client) -> None:
    problem = http.get("/v1/me").json()
    page, _, anchor = problem["type"].partition("#")
    assert anchor == "token_missing"
    assert anchor in Page(http.get(page).text).ids


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;")


# In a real browser


@pytest.mark.slow
def test_a_browser_shows_all_operations_without_error_or_foreign_request(
    shared_service: RunningService, http: httpx.Client, browser: Browser
) -> None:
    browser.open(shared_service.url + "/docs")
    operations = sum(len(item) for item in http.get("/openapi.json").json()["paths"].values())
    deadline = time.monotonic() + 30
    while browser.run("return document.querySelectorAll('.opblock').length") < operations:
        assert time.monotonic() < deadline, "the page does not show all operations"
        time.sleep(0.1)
    # One operation opened: its example is there, and nothing that would send it.
    browser.run("document.querySelector('#operations-queries-run_query .opblock-summary-control').click()")
    deadline = time.monotonic() + 30
    while not browser.run("return document.querySelector('#operations-queries-run_query .opblock-body')?.innerText"):
        assert time.monotonic() < deadline, "the operation does not open"
        time.sleep(0.1)
    assert browser.run("return document.querySelectorAll('.try-out, .authorize, .execute').length") == 0
    assert [entry for entry in browser.log("browser") if entry["level"] in {"SEVERE", "WARNING"}] == []
    asked = asked_by(browser, shared_service.url + "/")
    assert asked
    assert [url for url in asked if not url.startswith(shared_service.url + "/")] == []


@pytest.mark.slow
def test_a_browser_shows_the_problem_page(shared_service: RunningService, browser: Browser) -> None:
    browser.open(shared_service.url + "/docs/problems?lang=zh#consent_missing")
    # The page follows its fragment once it is laid out, a moment after it is loaded.
    deadline = time.monotonic() + 30
    while not -5 <= browser.run("return document.querySelector('#consent_missing').getBoundingClientRect().top") < 700:
        assert time.monotonic() < deadline, "the page does not go to the problem that its address names"
        time.sleep(0.1)
    assert [entry for entry in browser.log("browser") if entry["level"] in {"SEVERE", "WARNING"}] == []
