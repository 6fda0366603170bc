"""Pages where they are served by a name over TLS: the session's cookie is bound to exactly that host."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fixtures.browser import open_browser
from tests.fixtures.loopback import localhost_context
from tests.fixtures.pages import OPENED, Visitor, link_for, sign_in
from tests.fixtures.service import RunningService, running_service

from creditshare.client.bank import trusted_authorities
from creditshare.storage.embedded import EmbeddedPostgres

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(
    postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    localhost_context(file, days=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SSL_CERT_FILE", str(file))  # what clients trust, which a process reads once
        trusted_authorities.cache_clear()
        with running_service(postgres, template, certificate=file) as running:
            yield running
            while OPENED:
                OPENED.pop().close()
    trusted_authorities.cache_clear()


def test_the_cookie_is_secure_and_of_this_host_alone(service: RunningService) -> None:
    bank = service.admit("A bank")
    link = link_for(bank)
    assert link.startswith(f"{service.url}/console/login#")
    visitor = Visitor(service)
    answer = visitor.enter(link.partition("#")[2])
    name, *flags = answer.headers["set-cookie"].split(";")
    assert name.startswith("__Host-creditshare=")
    assert {flag.strip().lower() for flag in flags} == {"httponly", "secure", "samesite=strict", "path=/"}
    assert visitor.get("/console/bank").status_code == 200


def test_a_cookie_without_the_prefix_is_none(service: RunningService) -> None:
    """A neighbour's page, or one over plain HTTP, may set a cookie of any other name."""
    visitor = Visitor(service)
    secret = visitor.enter(link_for(service.admit("Another bank")).partition("#")[2]).cookies["__Host-creditshare"]
    planted = Visitor(service)
    assert planted.get("/console/bank", Cookie=f"creditshare={secret}").headers["location"] == "/console/login"
    assert planted.get("/console/bank", Cookie=f"__Host-creditshare={secret}").status_code == 200


def test_a_browser_keeps_it_and_signs_in(service: RunningService, tmp_path: Path) -> None:
    bank = service.admit("A bank with a browser")
    with open_browser(tmp_path) as browser:
        sign_in(browser, bank)
        assert browser.path() == "/console/bank"
        (cookie,) = (
            one
            for one in browser.devtools("Network.getCookies", urls=[service.url])["cookies"]
            if one["name"] == "__Host-creditshare"
        )
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["domain"]) == (
            True,
            True,
            "Strict",
            "localhost",
        )
        assert browser.run("return document.cookie") == ""
