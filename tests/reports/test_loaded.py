"""Reports over loans that lenders loaded through the API, against an oracle that reads the file itself."""

import csv
import importlib
import io
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pypdf
import pytest
from tests.fixtures import loan_oracle as oracle
from tests.fixtures.loans import Hidden, Loaded, adding_up, keep, load, made_up, numbers
from tests.fixtures.processes import command
from tests.fixtures.report_cells import cells_of
from tests.fixtures.service import running_service
from tests.fixtures.tables import recovered

from creditshare.cli.options import write_private
from creditshare.client.bank import Client
from creditshare.client.problems import Problem
from creditshare.disclosure.cells import Name, Relation
from creditshare.errors import VerificationFailed
from creditshare.reports.cells import UNIT
from creditshare.reports.files import PDF, XLSX
from creditshare.reports.tables import DEFAULTS, ROLLS, VINTAGES
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.wire.reports import verify_report

LENDERS = 8
LOANS = 1_000


@pytest.fixture(scope="module")
def loaded(postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    # Told once, after the last loan: half of a market would be held as its past.
    with running_service(postgres, template, reports_every_s=0.2, reports_told_every_s=100 * 86_400) as service:
        loans = made_up(LENDERS, LOANS)
        yield load(service, loans, tmp_path_factory.mktemp("loans"), lenders=LENDERS, after_days=101)


@pytest.mark.slow
def test_every_cell_of_defaults_is_what_the_file_says(loaded: Loaded) -> None:
    expected = oracle.defaults(loaded.loans)
    found = cells_of(loaded.service, DEFAULTS)
    assert {key: numbers(cell) for key, cell in found.items()} == {key: one.numbers for key, one in expected.items()}
    assert len({key[0] for key in found}) == 9
    for key, cell in found.items():
        held = {
            loaded.lenders[lender]: (one.records, Decimal(one.amount) / UNIT) for lender, one in cell.lenders.items()
        }
        assert held == expected[key].lenders


@pytest.mark.slow
@pytest.mark.parametrize(("family", "of_file"), [(VINTAGES, oracle.vintages), (ROLLS, oracle.rolls)])
def test_every_cell_of_vintages_and_rolls_is_what_the_file_says(
    loaded: Loaded, family: str, of_file: Callable[..., dict[tuple[str, ...], oracle.Expected]]
) -> None:
    expected = {key: one.numbers[:3] for key, one in of_file(loaded.loans).items()}
    assert expected
    assert {key: numbers(cell)[:3] for key, cell in cells_of(loaded.service, family).items()} == expected


@pytest.fixture(scope="module")
def regulator(loaded: Loaded) -> Client:
    return loaded.service.admit("Regulator", role="regulator", region="US")


@pytest.mark.slow
def test_what_is_told_is_what_was_counted_and_nothing_else(loaded: Loaded, regulator: Client) -> None:
    expected = oracle.defaults(loaded.loans)
    told = 0
    for view in {key[0] for key in expected}:
        for row in regulator.call("GET", "/v1/reports/defaults", query=f"by={view}")["rows"]:
            key = (view, row["currency"], *(row[name] for name in view.split(",")))
            borrowers, records, lenders, amount = expected.pop(key).numbers
            if row["status"] == "s":
                told += 1
                assert (row["borrowers"], row["records"], row["lenders"]) == (borrowers, records, lenders)
            else:
                assert (row["borrowers"], row["records"], row["lenders"]) == (None, None, None)
            assert row["exposure"] == (f"{amount:.2f}" if row["exposure_status"] == "s" else None)
            assert row["exposure_status"] != "s" or row["status"] == "s"
    assert told > 50
    assert expected == {}  # each cell was told or shown to be withheld


@pytest.mark.slow
def test_ends_of_months_are_told_as_the_file_says(loaded: Loaded, regulator: Client) -> None:
    expected = oracle.stocks(loaded.loans)
    rows = regulator.call("GET", "/v1/reports/multi_lender")["rows"]
    assert rows
    for row in rows:
        assert row["borrowers"] == expected[row["month"], row["at_lenders"]]


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["records", "exposure"])
def test_nobody_works_out_what_is_withheld_from_all_that_is_told(
    loaded: Loaded, regulator: Client, measure: str
) -> None:
    """All tables at once, subtracted from each other by exact linear algebra that shares no code with the service."""
    values: dict[Hidden, int] = {}
    hidden: set[Hidden] = set()
    for view in ("month", "month,region", "month,industry", "month,size", "year", "year,region", "year,industry"):
        keep(values, hidden, regulator, "defaults", view, measure)
    for view in ("year,size", "year,region,industry"):
        keep(values, hidden, regulator, "defaults", view, measure)
    if measure == "records":
        for view in ("year", "year,from", "year,to", "year,from,to"):
            keep(values, hidden, regulator, "roll_rates", view, measure)
    assert len(hidden) > 100
    sums = list(adding_up({*values, *hidden}))
    truth = {key: one.numbers for key, one in oracle.defaults(loaded.loans).items()}
    for relation in sums:  # the attacker's sums are right, or the attack would prove nothing
        ((_, *whole),), parts = relation
        if tuple(whole) in truth and all(tuple(part[1:]) in truth for part in parts):
            assert truth[tuple(whole)][1] == sum(truth[tuple(part[1:])][1] for part in parts)
    assert recovered([Relation(*relation) for relation in sums], dict[Name, int](values.items()), {*hidden}) == {}


@pytest.mark.slow
def test_between_two_told_ends_of_months_nobody_moved_or_enough(loaded: Loaded, regulator: Client) -> None:
    rows = regulator.call("GET", "/v1/reports/multi_lender")["rows"]
    ends = sorted({row["month"] for row in rows})
    assert ends
    moves = oracle.moves(loaded.loans)
    for first, last in itertools.pairwise(ends):
        for number in range(1, 5):
            between = [who for month, lenders, who in moves if first < month <= last and lenders == number]
            assert len(between) == 0 or len(between) >= 5
    for row in rows:
        assert row["borrowers"] == 0 or row["borrowers"] >= 5


@pytest.mark.slow
def test_a_report_is_signed_and_says_how_it_was_made(loaded: Loaded, regulator: Client) -> None:
    report = regulator.call("GET", "/v1/reports/defaults", query="by=year&from=2004-01&to=2006-12&currency=USD").data
    service = regulator.session.service
    assert verify_report(report, service.keys, issuer=service.issuer) > 0
    assert {row["year"] for row in report["rows"]} == {"2004", "2005", "2006"}
    assert report["release"]["log"]["checkpoint"].startswith(loaded.service.services.log_verifier.name)
    assert {rule["rule"]: rule["value"] for rule in report["rules"]}["reports.min_borrowers"] == "5"
    changes: list[dict[str, Any]] = [{"rows": report["rows"][1:]}, {"by": "month"}, {"filters": {}}, {"held": ["2004"]}]
    for change in changes:
        with pytest.raises(VerificationFailed):
            verify_report(report | change, service.keys, issuer=service.issuer)
    with pytest.raises(VerificationFailed):
        verify_report(report, service.keys, issuer="http://elsewhere.example")
    assert verify_report(report | {"title": "in another language"}, service.keys, issuer=service.issuer) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("by=lender", "/query/by"),
        ("by=month&region=US-CA", "/query/region"),
        ("from=2005-02&to=2005-01", "/query/to"),
        ("from=2005", "/query/from"),
        ("purpose=pre_loan", "/query/purpose"),
        ("colour=red", "/query/colour"),
    ],
)
def test_what_a_report_does_not_have_is_named(regulator: Client, query: str, pointer: str) -> None:
    with pytest.raises(Problem) as refused:
        regulator.call("GET", "/v1/reports/defaults", query=query)
    assert refused.value.code == "validation_failed"
    assert [field["pointer"] for field in refused.value.fields] == [pointer]


@pytest.mark.slow
def test_a_lender_reads_its_own_rows_and_no_others(loaded: Loaded) -> None:
    lender = loaded.service.admit("Curious", region="US")
    own = lender.session.signer.member_id
    assert {one["report"] for one in lender.call("GET", "/v1/reports")["data"]} == {
        "member_quality",
        "inquiries",
        "consents",
    }
    assert lender.call("GET", "/v1/reports/member_quality")["rows"] == []
    for asked, code in (
        ("/v1/reports/defaults", "role_forbidden"),
        ("/v1/reports/multi_lender", "role_forbidden"),
        ("/v1/reports/inquiries?by=month,purpose", "role_forbidden"),  # a view that names no lender
        ("/v1/reports/nothing", "not_found"),
    ):
        path, _, query = asked.partition("?")
        with pytest.raises(Problem) as refused:
            lender.call("GET", path, query=query)
        assert refused.value.code == code
    for one in lender.call("GET", "/v1/reports")["data"]:
        assert all("lender" in view["by"] for view in one["views"]), one
        assert lender.call("GET", f"/v1/reports/{one['report']}")["by"] == one["views"][0]["by"]
    other = next(str(member) for member in loaded.lenders)
    rows = lender.call("GET", "/v1/reports/inquiries", query=f"by=month,lender&lender=mem_{other}")["rows"]
    assert all(row["lender"] == own for row in rows)


@pytest.mark.slow
def test_what_lenders_did_is_counted_by_lender(loaded: Loaded, regulator: Client) -> None:
    reported = Counter(loan["lender"] for loan in loaded.loans)
    rows = regulator.call("GET", "/v1/reports/member_quality", query="by=year,lender").data
    names = {f"mem_{member}": name for member, name in loaded.lenders.items()}
    assert {names[row["lender"]]: row["records"] for row in rows["rows"] if row["records"]} == reported
    assert set(rows["lenders"]) == {row["lender"] for row in rows["rows"]}
    asked = regulator.call("GET", "/v1/reports/inquiries", query="by=month,purpose")["rows"]
    assert {row["purpose"] for row in asked} == {"post_loan_monitoring"}
    consents = regulator.call("GET", "/v1/reports/consents")["rows"]
    assert sum(row["granted"] for row in consents) == sum(row["asked"] for row in asked) > 0


@pytest.mark.slow
def test_the_logs_health_is_told_as_it_is(regulator: Client) -> None:
    (row,) = regulator.call("GET", "/v1/reports/log_health")["rows"]
    assert row["entries"] > 1_000
    assert row["held"] == 0
    assert row["oldest_waiting_s"] < 60


@pytest.mark.slow
def test_reading_a_report_is_an_event(regulator: Client) -> None:
    answer = regulator.call("GET", "/v1/reports/erasures", query="from=2026-01")
    assert answer.log_entry is not None
    meta = json.loads(answer.log_entry.meta)
    assert meta["action"] == "show_report"
    assert meta["details"] == {"report": "erasures", "by": "month", "from": "2026-01", "to": ""}


@pytest.mark.slow
def test_as_csv_it_says_the_same(regulator: Client) -> None:
    report = regulator.call("GET", "/v1/reports/defaults", query="by=year,region").data
    answer = regulator.call("GET", "/v1/reports/defaults", query="by=year,region", accept="text/csv")
    assert answer.headers["content-type"] == "text/csv"
    lines = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [{name: value or None for name, value in line.items()} for line in lines] == [
        {name: None if value is None else str(value) for name, value in row.items()} for row in _ordered(report)
    ]


@pytest.mark.slow
def test_as_a_workbook_it_says_the_same(regulator: Client) -> None:
    report = regulator.call("GET", "/v1/reports/defaults", query="by=year,region", language="zh").data
    answer = regulator.call("GET", "/v1/reports/defaults", query="by=year,region", accept=XLSX, language="zh")
    book = openpyxl.load_workbook(io.BytesIO(answer.body))
    rows, method = book.worksheets
    assert method.title == "方法"
    assert [cell.value for cell in rows[4]][:4] == ["币种", "年份", "地区", "借款人"]
    for row, cells in zip(report["rows"], rows.iter_rows(min_row=5, values_only=True), strict=True):
        told = row["records"] is not None
        assert cells[:3] == (row["currency"], row["year"], row["region"])
        assert cells[4] == (row["records"] if told else "·")
        assert cells[6] == ("·" if row["exposure"] is None else pytest.approx(float(row["exposure"])))
    digest = rows["A2"].value.rpartition(" ")[2]
    assert digest.startswith("sha-256=:")
    assert digest in {cell.value for line in method.iter_rows() for cell in line}


@pytest.mark.slow
@pytest.mark.parametrize(("language", "heading"), [("en", "Defaults and exposure"), ("zh", "违约与敞口")])
def test_as_a_pdf_it_can_be_read(regulator: Client, language: str, heading: str) -> None:
    require_pango()
    answer = regulator.call("GET", "/v1/reports/defaults", query="by=year", accept=PDF, language=language)
    text = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(answer.body)).pages)
    assert heading in text
    for row in regulator.call("GET", "/v1/reports/defaults", query="by=year")["rows"]:
        if row["exposure"] is not None:
            assert f"{Decimal(row['exposure']):,.2f}" in text


def require_pango() -> None:
    """Skip where the system has no Pango, which WeasyPrint sets text with."""
    try:
        importlib.import_module("weasyprint")
    except OSError:
        pytest.skip("a PDF needs Pango, a library of the system (Debian: libpangoft2-1.0-0)")


def _ordered(report: dict[str, Any]) -> list[dict[str, Any]]:
    names = [*(column["name"] for column in report["columns"]), "status", "exposure_status"]
    return [{name: row[name] for name in names} for row in report["rows"]]


@pytest.mark.slow
def test_the_command_makes_a_pack_that_verifies(loaded: Loaded, regulator: Client, tmp_path: Path) -> None:
    require_pango()
    key = tmp_path / "regulator.jwk.json"
    signer = regulator.session.signer
    write_private(key, {**signer.key.private_jwk(), "creditshare_member_id": signer.member_id})
    who = ["--as", str(key), "--url", loaded.service.url]
    folder = tmp_path / "2005"
    made = command(
        loaded.service,
        "report",
        "pack",
        str(folder),
        *who,
        "--from",
        "2005-01",
        "--to",
        "2005-12",
        "--lang",
        "zh",
        "--json",
    )
    names = json.loads(made.stdout)["reports"]
    assert {file.name for file in folder.iterdir()} == {
        "SHA256SUMS",
        "dictionary.csv",
        "reports.pdf",
        "reports.xlsx",
        *(f"{name}.{suffix}" for name in names for suffix in ("json", "csv")),
    }
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps(regulator.session.service.jwks))
    check = ["report", "verify", str(folder), "--keys", str(keys), "--issuer", loaded.service.url]
    assert command(loaded.service, *check).returncode == 0
    assert command(loaded.service, "report", "pack", str(folder), *who).returncode == 2  # nothing is overwritten
    report = folder / "defaults.json"
    report.write_text(report.read_text().replace('"2005-12"', '"2006-12"', 1))
    assert command(loaded.service, *check).returncode == 3
    whole = ["report", "verify", str(report), *check[3:]]
    assert "does not say what was signed" in command(loaded.service, *whole).stderr


@pytest.mark.slow
def test_the_command_tells_in_a_table_and_as_a_file(loaded: Loaded, regulator: Client, tmp_path: Path) -> None:
    key = tmp_path / "regulator.jwk.json"
    signer = regulator.session.signer
    write_private(key, {**signer.key.private_jwk(), "creditshare_member_id": signer.member_id})
    who = ["--as", str(key), "--url", loaded.service.url]
    listed = command(loaded.service, "report", "list", *who).stdout
    assert "multi_lender" in listed
    assert "year,region,industry" in listed
    table = command(loaded.service, "report", "run", "defaults", *who, "--by", "year", "--where", "currency=USD").stdout
    assert "Exposure" in table
    assert "2006" in table
    file = tmp_path / "defaults.csv"
    command(loaded.service, "report", "run", "defaults", *who, "--by", "year", "--format", "csv", "--output", str(file))
    assert file.read_text().startswith("currency,year,borrowers")
    assert command(loaded.service, "report", "run", "defaults", *who, "--format", "pdf").returncode == 2
    wrong = command(loaded.service, "report", "run", "defaults", *who, "--by", "lender")
    assert wrong.returncode == 1
    assert "/query/by" in wrong.stderr
