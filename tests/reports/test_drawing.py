"""A file or a chart of a report is drawn while no transaction is open, and told once its event is in the log."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.fixtures.pages import OPENED, Visitor
from tests.fixtures.service import RunningService

from creditshare.client.bank import Client
from creditshare.client.problems import Problem
from creditshare.console.routes import reports as pages
from creditshare.errors import ConfigurationError
from creditshare.reports import files
from creditshare.reports.files import CSV, FILES, PANGO, FileKind, lacking


class Pen:
    """Draws when it is let, and says that it began."""

    def __init__(self, service: RunningService) -> None:
        self._service = service
        self._began, self._let = threading.Event(), threading.Event()

    def draw(self, *_: Any, **__: Any) -> bytes:
        self._began.set()
        assert self._let.wait(20)
        return b"drawn"

    def held_while_drawing(self, ask: Callable[[], Any]) -> tuple[int, Any]:
        """Return how many transactions of the service stay open while it draws, and what comes in the end."""
        open_ones = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = 'creditshare_app'"
            " AND state = 'idle in transaction'"
        )
        with ThreadPoolExecutor(1) as beside, self._service.superuser() as database:
            answer = beside.submit(ask)
            assert self._began.wait(20)
            for _ in range(30):  # what the service looks at by itself is open for a moment, too
                row = database.execute(open_ones, [self._service.database]).fetchone()
                if row == (0,):
                    break
                time.sleep(0.1)
            self._let.set()
            assert row is not None
            return row[0], answer.result(20)


@pytest.fixture
def regulator(shared_service: RunningService) -> Client:
    return shared_service.admit("Regulator who draws", role="regulator", region="US")


@pytest.fixture
def visitor(shared_service: RunningService, regulator: Client) -> Iterator[Visitor]:
    yield Visitor(shared_service).sign_in(regulator)
    while OPENED:
        OPENED.pop().close()


def events(service: RunningService) -> int:
    with service.superuser() as database:
        row = database.execute("SELECT count(*) FROM audit_event").fetchone()
    assert row is not None
    return int(row[0])


def test_a_signed_answer(shared_service: RunningService, regulator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    pen, before = Pen(shared_service), events(shared_service)
    monkeypatch.setitem(FILES, CSV, FileKind("csv", pen.draw))
    held, answer = pen.held_while_drawing(lambda: regulator.call("GET", "/v1/reports/consents", accept=CSV))
    assert held == 0
    assert answer.body == b"drawn"
    assert answer.log_entry is not None
    assert events(shared_service) == before + 1


def test_what_cannot_be_drawn_is_refused_as_ever(
    shared_service: RunningService, regulator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: Any) -> bytes:
        raise ConfigurationError("install creditshare[reports]")

    before = events(shared_service)
    monkeypatch.setitem(FILES, CSV, FileKind("csv", lacking))
    with pytest.raises(Problem) as refused:
        regulator.call("GET", "/v1/reports/consents", accept=f"{CSV}, application/json;q=0.1")
    assert refused.value.code == "not_acceptable"
    assert events(shared_service) == before + 1


def test_a_file_of_a_page(shared_service: RunningService, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    pen, before = Pen(shared_service), events(shared_service)
    monkeypatch.setitem(FILES, CSV, FileKind("csv", pen.draw))
    held, answer = pen.held_while_drawing(lambda: visitor.get("/console/reports/consents/file.csv"))
    assert held == 0
    assert (answer.status_code, answer.content) == (200, b"drawn")
    assert 'filename="consents.csv"' in answer.headers["content-disposition"]
    assert events(shared_service) == before + 1


def test_a_chart_of_a_page(shared_service: RunningService, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    pen, before = Pen(shared_service), events(shared_service)
    monkeypatch.setattr(pages, "make_chart", pen.draw)
    held, answer = pen.held_while_drawing(lambda: visitor.get("/console/reports/consents/chart/light.svg"))
    assert held == 0
    assert (answer.status_code, answer.content) == (200, b"drawn")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert events(shared_service) == before + 1


@pytest.mark.parametrize(
    ("without", "lacks"),
    [(set(), ()), ({"vl_convert"}, ("svg",)), ({"weasyprint", "xlsxwriter"}, ("xlsx", "pdf")), ({PANGO}, ("pdf",))],
)
def test_what_cannot_be_drawn_is_known(
    monkeypatch: pytest.MonkeyPatch, without: set[str], lacks: tuple[str, ...]
) -> None:
    there = lambda name: None if name in without else name  # noqa: E731  stands for both ways to look
    monkeypatch.setattr(files, "find_spec", there)
    monkeypatch.setattr(files, "find_library", there)
    assert lacking.__wrapped__() == lacks
