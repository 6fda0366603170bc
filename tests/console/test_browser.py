"""The pages in a real browser: signing in once, both languages, two persons with passkeys, nothing foreign, axe."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.browser import Browser, asked_by, open_browser
from tests.fixtures.pages import link_for, make_passkey, origin_of, sign_in
from tests.fixtures.service import RunningService
from tests.fixtures.warrants import known_borrower, warrant_of

from creditshare.client.bank import Client

pytestmark = pytest.mark.slow

AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
PAGES = {
    "operator": (
        "/console/desk",
        "/console/desk/members",
        "/console/desk/members/new",
        "/console/desk/erasures",
        "/console/desk/jobs",
        "/console/desk/health",
        "/console/passkeys",
    ),
    "regulator": (
        "/console/oversight",
        "/console/warrants/new",
        "/console/passkeys",
        "/console/reports",
        "/console/reports/defaults",
        "/console/log",
        "/console/reading",
    ),
    "lender": ("/console/bank", "/console/bank/inquiries", "/console/bank/consents", "/console/bank/keys"),
}
READS = ("", "/records", "/inquiries")
EXPECTED_WORD = {"en": "Sign out", "zh": "退出"}


@pytest.fixture(scope="module")
def clients(shared_service: RunningService) -> dict[str, Client]:
    return {
        "operator": shared_service.desk[0],
        "regulator": shared_service.admit("A regulator", role="regulator", region="US"),
        "lender": shared_service.admit("A lender", region="US"),
    }


@pytest.fixture(scope="module")
def warrants(shared_service: RunningService, clients: dict[str, Client]) -> dict[str, str]:
    """A warrant that waits for its second operator, and one that is in force."""
    record = known_borrower(clients["lender"], shared_service.admit("An asking lender", region="US"))
    regulator = clients["regulator"]
    return {
        name: warrant_of(shared_service, regulator, record, approvals=approvals)
        for name, approvals in (("half", 1), ("whole", 2))
    }


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all pages, which take turns in it."""
    with open_browser(tmp_path_factory.mktemp("profile")) as made:
        made.devtools("Network.enable")
        yield made


def enter(browser: Browser, client: Client) -> None:
    browser.devtools("Network.clearBrowserCookies")
    sign_in(browser, client)


def faults(browser: Browser) -> list[str]:
    return [entry["message"] for entry in browser.log("browser") if entry["level"] in {"SEVERE", "WARNING"}]


def findings(browser: Browser) -> list[dict[str, Any]]:
    """Return what axe calls serious or critical of the page that is shown."""
    browser.devtools("Runtime.evaluate", expression=AXE.read_text())
    expression = "axe.run().then((found) => JSON.stringify(found.violations))"
    said = browser.devtools("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
    found: list[dict[str, Any]] = json.loads(said["result"]["value"])
    return [
        {"rule": one["id"], "where": [node["html"][:160] for node in one["nodes"]]}
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]


def test_a_link_signs_in_once_and_leaves_nothing_in_the_address(
    shared_service: RunningService, clients: dict[str, Client], visitor: Browser
) -> None:
    visitor.devtools("Network.clearBrowserCookies")
    link = link_for(clients["lender"])
    visitor.open(link)
    visitor.wait("location.pathname === '/console/bank'")
    assert visitor.run("return location.hash + document.cookie") == ""
    visitor.devtools("Network.clearBrowserCookies")
    visitor.open(f"{origin_of(shared_service)}/console/assets/icon.svg")
    visitor.open(link)
    visitor.wait("document.body?.innerText.includes('console_code_invalid')")
    assert link.partition("#")[2] not in visitor.run("return location.href")


@pytest.mark.parametrize("role", PAGES)
def test_each_page_in_both_languages_wide_and_narrow(
    shared_service: RunningService,
    clients: dict[str, Client],
    warrants: dict[str, str],
    visitor: Browser,
    role: str,
) -> None:
    enter(visitor, clients[role])
    visitor.log("browser"), visitor.log("performance")
    origin = origin_of(shared_service)
    member = clients["lender"].session.signer.member_id
    about = f"/console/desk/members/{member}"
    more = {
        "operator": ("/console/warrants", f"/console/warrants/{warrants['half']}", about, f"{about}/restriction"),
        "regulator": ("/console/warrants", *(f"/console/warrants/{warrants['whole']}{what}" for what in READS)),
        "lender": (),
    }
    for path in (*PAGES[role], *more[role]):
        for language, width, scheme in (("en", 1280, "light"), ("zh", 390, "dark")):
            media = [{"name": "prefers-color-scheme", "value": scheme}]
            visitor.devtools("Emulation.setEmulatedMedia", features=media)
            visitor.resize(width)
            visitor.open(f"{origin}{path}?lang={language}")
            assert EXPECTED_WORD[language] in visitor.text(), path
            wider = visitor.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wider <= 0, (path, width)
            assert findings(visitor) == [], (path, language)
    assert faults(visitor) == []
    asked = asked_by(visitor, origin)
    assert asked
    assert [url for url in asked if not url.startswith(origin + "/")] == []


def test_the_keyboard_reaches_the_content_first(
    shared_service: RunningService, clients: dict[str, Client], visitor: Browser
) -> None:
    enter(visitor, clients["lender"])
    visitor.open(f"{origin_of(shared_service)}/console/bank")
    for kind in ("keyDown", "keyUp"):
        visitor.devtools("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert visitor.run("return document.activeElement.className") == "skip"
    assert visitor.run("return document.activeElement.getBoundingClientRect().left") >= 0


def test_two_persons_admit_a_member_with_their_passkeys(
    shared_service: RunningService, tmp_path_factory: pytest.TempPathFactory
) -> None:
    origin = origin_of(shared_service)
    first, second = shared_service.desk
    with (
        open_browser(tmp_path_factory.mktemp("first")) as one,
        open_browser(tmp_path_factory.mktemp("second")) as other,
    ):
        for browser, client, label in ((one, first, "Li"), (other, second, "Wang")):
            browser.add_authenticator()
            sign_in(browser, client)
            make_passkey(browser, client, label)
        one.open(f"{origin}/console/desk/members/new")
        one.type("#name", "Riverside Bank")
        for step in range(5):
            one.wait(f"document.querySelectorAll('.steps .done').length === {step}")
            one.click("main form .main")
        confirm(one)
        assert "Riverside Bank" in one.text("h1 ~ .lead, .lead")
        one.open(f"{origin}/console/desk")
        assert "another operator decides" in one.text()
        other.open(f"{origin}/console/desk")
        other.click("form[action$=approve_member] button")
        confirm(other)
        code = other.text(".note-box code")
        assert len(code) >= 27
    (member,) = (found for found in first.pages("/v1/members") if found["name"] == "Riverside Bank")
    assert member["status"] == "certified"


def test_a_regulator_asks_and_reads_and_two_operators_approve_with_their_passkeys(
    shared_service: RunningService, clients: dict[str, Client], visitor: Browser
) -> None:
    """All three with passkeys of a real authenticator, one after the other in the same browser."""
    origin, regulator = origin_of(shared_service), clients["regulator"]
    record = known_borrower(clients["lender"], shared_service.admit("Who asks", region="US"))
    visitor.resize(1280)
    visitor.add_authenticator()
    enter(visitor, regulator)
    make_passkey(visitor, regulator, "Zhou")
    visitor.open(f"{origin}/console/warrants/new?lang=en")
    for name, value in (("named", record), ("reference", "2026-CV-99"), ("reason", "double pledging")):
        visitor.type(f"#{name}", value)
    visitor.click("main form button[type=submit]")
    confirm(visitor)
    visitor.click("a[href*='/console/warrants/wrt_']")
    page = visitor.path()
    assert "two operators must approve" in visitor.text()
    for operator in shared_service.desk:
        enter(visitor, operator)
        make_passkey(visitor, operator, "an operator")
        visitor.open(origin + page)
        visitor.type("#reference", "2026-CV-99")
        visitor.click("form[action$=approve_warrant] button")
        confirm(visitor)
    enter(visitor, regulator)
    visitor.open(origin + page)
    visitor.click("a[href$='/records']")
    visitor.wait("document.querySelector('h1')?.innerText === 'Records'")
    assert "98,000.00 USD" in visitor.text()


def confirm(browser: Browser) -> None:
    """Have the authenticator sign what the page shows."""
    browser.wait("document.querySelector('form[data-passkey=sign]')")
    browser.click("form[data-passkey=sign] button")
    browser.wait("location.pathname.endsWith('/confirmations') && document.querySelector('h1')?.innerText === 'Done'")
