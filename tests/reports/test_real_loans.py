"""The reports over the whole file of real loans, loaded by all its lenders: minutes, so left to a run of its own."""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

import pytest
from tests.fixtures import loan_oracle as oracle
from tests.fixtures.loans import Hidden, Loaded, adding_up, keep, load, numbers
from tests.fixtures.report_cells import cells_of
from tests.fixtures.service import running_service
from tests.fixtures.tables import recovered

from creditshare.client.bank import Client
from creditshare.disclosure.cells import Name, Relation
from creditshare.reports.tables import DEFAULTS, ROLLS, VINTAGES
from creditshare.storage.embedded import EmbeddedPostgres

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(not oracle.REAL.exists(), reason=oracle.WHY_NOT_REAL),
]
VIEWS = ("month", "month,region", "month,industry", "month,size", "year", "year,region", "year,industry", "year,size")


@pytest.fixture(scope="module")
def loaded(postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    loans = oracle.read(oracle.REAL)
    lenders = len({loan["lender"] for loan in loans})
    # Told once, after the last loan: the file is the past of a market.
    with running_service(
        postgres,
        template,
        reports_every_s=0.5,
        reports_told_every_s=100 * 86_400,
        member_requests_per_s=10_000,
        member_burst_requests=10_000,
    ) as service:
        folder = tmp_path_factory.mktemp("loans")
        yield load(service, loans, folder, lenders=lenders, after_days=101, patience_s=900)


@pytest.fixture(scope="module")
def regulator(loaded: Loaded) -> Client:
    return loaded.service.admit("Regulator", role="regulator", region="US")


def test_every_cell_is_what_the_file_says(loaded: Loaded) -> None:
    for family, of_file in ((DEFAULTS, oracle.defaults), (VINTAGES, oracle.vintages), (ROLLS, oracle.rolls)):
        expected = {key: one.numbers for key, one in of_file(loaded.loans).items()}
        found = {key: numbers(cell) for key, cell in cells_of(loaded.service, family).items()}
        print(f"{family}: {len(found):,} cells")  # noqa: T201  the run's figures
        if family != DEFAULTS:  # their sums are not kept
            expected = {key: (*one[:3], Decimal(0)) for key, one in expected.items()}
        assert found == expected


def test_nobody_works_out_what_is_withheld(loaded: Loaded, regulator: Client) -> None:
    expected = oracle.defaults(loaded.loans)
    for measure in ("records", "exposure"):
        values: dict[Hidden, int] = {}
        hidden: set[Hidden] = set()
        for view in (*VIEWS, "year,region,industry"):
            keep(values, hidden, regulator, "defaults", view, measure)
        assert len(values) + len(hidden) == len(expected)
        if measure == "records":
            assert all(value == expected[name[1:]].numbers[1] * 100 for name, value in values.items())
            for view in ("year", "year,from", "year,to", "year,from,to"):
                keep(values, hidden, regulator, "roll_rates", view, measure)
        by_year: dict[str, set[Hidden]] = defaultdict(set)
        for name in {*values, *hidden}:
            by_year[name[3][:4] if name[0] == "defaults" else name[2]].add(name)
        found: dict[Name, int] = {}
        for names in by_year.values():  # nothing is told of several years together
            sums = [Relation(*relation) for relation in adding_up(names)]
            found |= recovered(sums, dict[Name, int](values.items()), {*(hidden & names)})
        print(f"{measure}: {len(values):,} told, {len(hidden):,} withheld, {len(found)} recovered")  # noqa: T201  the run's figures
        assert found == {}


def test_ends_of_months_are_what_the_file_says(loaded: Loaded, regulator: Client) -> None:
    expected = oracle.stocks(loaded.loans)
    rows = regulator.call("GET", "/v1/reports/multi_lender")["rows"]
    print(f"multi_lender: {len(rows)} rows")  # noqa: T201  the run's figures
    assert all(row["borrowers"] == expected[row["month"], row["at_lenders"]] for row in rows)
