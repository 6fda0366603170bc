"""Takes the pictures of docs/images: ``python -m tests.console.pictures``. Needs Chromium with its driver."""

import shutil
import sys
import tempfile
from pathlib import Path

from tests.fixtures.browser import Browser, open_browser
from tests.fixtures.pages import make_passkey, origin_of, sign_in
from tests.fixtures.picture_stage import stage
from tests.fixtures.postgres import open_folder
from tests.fixtures.service import KEYRING, TEMPLATE, RunningService

from creditshare.cli.demo.desk import leave_tasks
from creditshare.cli.demo.story import Cast
from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.storage import schema
from creditshare.storage.embedded import EmbeddedPostgres

IMAGES = Path(__file__).parents[2] / "docs" / "images"


class Album:
    """Opens pages and keeps their pictures."""

    def __init__(self, browser: Browser, service: RunningService, folder: Path) -> None:
        self.browser, self.service, self.folder = browser, service, folder

    def take(
        self, name: str, path: str = "", *, width: int = 1280, dark: bool = False, height: int = 800, whole: bool = True
    ) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.browser.devtools("Emulation.setEmulatedMedia", features=[scheme])
        self.browser.resize(width, height)
        if path:
            self.browser.open(origin_of(self.service) + path)
        self.browser.wait("[...document.images].every((one) => one.complete)")
        (self.folder / f"{name}.png").write_bytes(self.browser.picture(whole=whole))

    def enter(self, client: Client) -> None:
        self.browser.devtools("Network.clearBrowserCookies")
        sign_in(self.browser, client)


def take_all(service: RunningService, folder: Path, work: Path) -> None:
    bank = service.client(Identity.from_file(work / "loan-members" / "0000.jwk.json", sub="chen"))
    operator = service.client(Identity(service.operators[0].member_id, service.operators[0].key, "li"))
    regulator = service.admit("Financial Regulator", role="regulator", region="US")
    lenders = {path.stem: Identity.from_file(path, sub="demo") for path in sorted((work / "loan-members").iterdir())}
    with service.superuser() as database:
        rows = database.execute("SELECT record_id FROM record_current ORDER BY record_id LIMIT 2").fetchall()
    assert regulator.identity is not None
    operators = work / "operator-1.jwk.json", work / "operator-2.jwk.json"
    leave_tasks(Cast(service.url, lenders, regulator.identity), operators, [f"rec_{row[0]}" for row in rows])
    with tempfile.TemporaryDirectory() as profile, open_browser(Path(profile)) as browser:
        album = Album(browser, service, folder)
        browser.devtools("Network.enable")
        album.take("login", "/console/login")
        take_of_operator(album, operator, bank)
        take_of_regulator(album, regulator)
        album.enter(bank)
        album.take("bank", "/console/bank")
        album.take("bank-zh", "/console/bank?lang=zh")
        album.take("inquiries", "/console/bank/inquiries?lang=en", whole=False)
        album.take("consents", "/console/bank/consents")


def take_of_operator(album: Album, operator: Client, bank: Client) -> None:
    browser = album.browser
    album.enter(operator)
    browser.add_authenticator()
    make_passkey(browser, operator, "Li, office laptop")
    album.take("passkeys", "/console/passkeys")
    album.take("desk", "/console/desk")
    album.take("desk-phone", "/console/desk", width=390)
    album.take("desk-dark", "/console/desk", dark=True)
    album.take("members", "/console/desk/members")
    member = f"/console/desk/members/{bank.session.signer.member_id}"
    album.take("member", member)
    album.take("restriction", member + "/restriction")
    album.take("onboarding", "/console/desk/members/new")
    album.take("erasures", "/console/desk/erasures")
    album.take("warrants", "/console/warrants")
    browser.click("main a[href^='/console/warrants/wrt_']")
    browser.wait("location.pathname.startsWith('/console/warrants/wrt_')")
    album.take("warrant")
    album.take("jobs", "/console/desk/jobs")
    album.take("health", "/console/desk/health")
    browser.open(origin_of(album.service) + "/console/desk")
    browser.click("form[action$=approve_member] button")
    browser.wait("document.querySelector('form[data-passkey=sign]')")
    album.take("confirm")


def take_of_regulator(album: Album, regulator: Client) -> None:
    browser = album.browser
    album.enter(regulator)
    album.take("oversight", "/console/oversight")
    album.take("asking", "/console/warrants/new")
    for report in ("defaults", "multi_lender", "vintages", "member_quality", "inquiries"):
        album.take(f"report-{report}", f"/console/reports/{report}", height=1000, whole=False)
    album.take("report-zh-phone", "/console/reports/defaults?lang=zh", width=390, height=1000, whole=False)
    album.take("report-dark", "/console/reports/defaults?lang=en", dark=True, height=1000, whole=False)
    album.take("reading", "/console/reading")
    album.take("log", "/console/log")
    with album.service.superuser() as database:
        row = database.execute("SELECT event_id FROM audit_leaf WHERE idx = 37").fetchone()
    assert row is not None
    browser.type("#entry", f"evt_{row[0]}")
    browser.click("form[action='/console/log'] button")
    browser.wait("document.querySelector('ol.path')")
    album.take("proof", height=1000, whole=False)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    with open_folder() as place, open_folder() as work:
        server = EmbeddedPostgres(place / "postgres")
        server.start()
        try:
            server.create_database(TEMPLATE)
            schema.upgrade(server.url("owner", TEMPLATE), seals=KEYRING.row_seals())
            with stage(server, TEMPLATE, work) as service:
                take_all(service, folder, work)
        finally:
            server.stop()
    sys.stdout.write(f"{len(list(folder.glob('*.png')))} pictures in {folder}\n")


if __name__ == "__main__":
    if shutil.which("chromedriver") is None:
        sys.exit("no Chromium with its driver on this machine (Debian: apt-get install chromium chromium-driver)")
    main()
