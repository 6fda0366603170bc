"""A report in a real browser: its files, downloaded by a click, opened and read; and what a phone shows of it."""

import csv
import io
import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pypdf
import pytest
from tests.fixtures.browser import Browser, open_browser
from tests.fixtures.loans import load, made_up
from tests.fixtures.pages import Visitor, origin_of, sign_in, words_of
from tests.fixtures.service import RunningService, running_service

from creditshare.client.bank import Client
from creditshare.console.routes import reports as pages
from creditshare.storage.embedded import EmbeddedPostgres

pytestmark = pytest.mark.slow

LENDERS = 8
LOANS = 500
TITLES = {"en": "Defaults and exposure", "zh": "违约与敞口"}
VIEW = "by=year"


@pytest.fixture(scope="module")
def service(
    postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    with running_service(postgres, template, reports_every_s=0.2, reports_told_every_s=100 * 86_400) as running:
        load(running, made_up(LENDERS, LOANS), tmp_path_factory.mktemp("loans"), lenders=LENDERS, after_days=101)
        yield running


@pytest.fixture(scope="module")
def regulator(service: RunningService) -> Client:
    return service.admit("Regulator", role="regulator", region="US")


@pytest.fixture(scope="module")
def visitor(regulator: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile")) as made:
        sign_in(made, regulator)
        yield made


@pytest.fixture
def rows(regulator: Client) -> list[dict[str, Any]]:
    """What the API tells: some of it, and some withheld."""
    found: list[dict[str, Any]] = regulator.call("GET", "/v1/reports/defaults", query=VIEW)["rows"]
    assert {row["records"] is None for row in found} == {True, False}
    return found


def downloaded(visitor: Browser, service: RunningService, folder: Path, suffix: str, language: str = "en") -> bytes:
    """Click the link of a format on the report's page and return the file that the browser keeps."""
    visitor.devtools("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    visitor.open(f"{origin_of(service)}/console/reports/defaults?{VIEW}&lang={language}")
    visitor.click(f"a[download][href*='.{suffix}']")
    file, deadline = folder / f"defaults.{suffix}", time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < deadline, [one.name for one in folder.iterdir()]
        time.sleep(0.05)
    assert visitor.path() == "/console/reports/defaults"  # nothing was opened in its place
    return file.read_bytes()


def test_json(visitor: Browser, service: RunningService, tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    assert json.loads(downloaded(visitor, service, tmp_path, "json"))["rows"] == rows


def test_csv(visitor: Browser, service: RunningService, tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    lines = list(csv.DictReader(io.StringIO(downloaded(visitor, service, tmp_path, "csv").decode())))
    assert [line["records"] for line in lines] == [
        "" if row["records"] is None else str(row["records"]) for row in rows
    ]
    assert [line["status"] for line in lines] == [row["status"] for row in rows]


@pytest.mark.parametrize("language", TITLES)
def test_on_a_phone_table_and_chart_scroll_in_their_boxes(
    visitor: Browser, service: RunningService, language: str
) -> None:
    visitor.resize(390)
    visitor.open(f"{origin_of(service)}/console/reports/defaults?{VIEW}&lang={language}")
    visitor.wait("document.querySelector('img.chart').complete")
    lines = "[...document.querySelectorAll('.wide thead th')].map(one => one.clientHeight)"
    assert visitor.run(
        f"return Math.max(...{lines}) < 1.5 * parseFloat(getComputedStyle(document.body).lineHeight) + 16"
    )
    for box in (".wide", ".chart-box"):
        scrolls = "one.scrollWidth > one.clientWidth && (one.scrollLeft = 9, one.scrollLeft === 9)"
        assert visitor.run(f"const one = document.querySelector('{box}'); return {scrolls}"), box
        assert visitor.run(f"return getComputedStyle(document.querySelector('{box}')).overflowX") == "auto", box
    assert visitor.run("return document.querySelector('img.chart').clientWidth") >= 600
    assert visitor.run("return document.documentElement.scrollWidth <= innerWidth")
    visitor.resize(1280)


@pytest.mark.parametrize(("language", "sheet"), [("en", "Method"), ("zh", "方法")])
def test_a_workbook(
    visitor: Browser, service: RunningService, tmp_path: Path, rows: list[dict[str, Any]], language: str, sheet: str
) -> None:
    book = openpyxl.load_workbook(io.BytesIO(downloaded(visitor, service, tmp_path, "xlsx", language)))
    table, method = book.worksheets
    assert method.title == sheet
    told = list(table.iter_rows(min_row=5, values_only=True))
    assert [line[3] for line in told] == ["·" if row["records"] is None else row["records"] for row in rows]


@pytest.mark.parametrize("language", TITLES)
def test_a_pdf(
    visitor: Browser, service: RunningService, tmp_path: Path, rows: list[dict[str, Any]], language: str
) -> None:
    content = downloaded(visitor, service, tmp_path, "pdf", language)
    assert content.startswith(b"%PDF-")
    text = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)
    assert TITLES[language] in text
    amounts = [f"{Decimal(row['exposure']):,.2f}" for row in rows if row["exposure"] is not None]
    assert amounts
    assert [amount for amount in amounts if amount not in text] == []


@pytest.mark.parametrize("language", TITLES)
def test_a_chart(visitor: Browser, service: RunningService, regulator: Client, tmp_path: Path, language: str) -> None:
    columns = regulator.call("GET", "/v1/reports/defaults", query=VIEW, language=language)["columns"]
    (drawn_by,) = (column["title"] for column in columns if column["name"] == "records")
    drawn = ET.fromstring(downloaded(visitor, service, tmp_path, "svg", language))  # noqa: S314  our own service's
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert drawn_by in "".join(drawn.itertext())
    assert not [one for one in drawn.iter() if one.tag.endswith(("script", "foreignObject"))]


def test_each_download_is_an_act_of_the_log(service: RunningService, visitor: Browser, tmp_path: Path) -> None:
    def read() -> int:
        visitor.open(f"{origin_of(service)}/console/reading?lang=en")
        return visitor.text().count("Read a report")

    before = read()
    downloaded(visitor, service, tmp_path, "csv")
    assert read() >= before + 2  # the page and the file


def test_what_nothing_here_draws_is_not_offered(
    service: RunningService, regulator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "lacking", lambda: ("svg", "pdf"))
    page = Visitor(service).sign_in(regulator).get(f"/console/reports/defaults?{VIEW}").text
    for suffix, offered in (("csv", True), ("xlsx", True), ("pdf", False), ("svg", False)):
        assert (f".{suffix}?" in page) is offered
    assert "Not drawn here: SVG, PDF" in words_of(page)
