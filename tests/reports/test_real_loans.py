"""Reports over loans that lenders loaded through the API, against an oracle that reads the file itself."""

import asyncio
import csv
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest
from stdnum.cn import uscc
from tests.fixtures import loan_oracle as oracle
from tests.fixtures.service import RunningService, running_service, wait_for

from creditshare.cli.demo.loans import COLUMNS, load_loans
from creditshare.composition import cell_store
from creditshare.ids import parse
from creditshare.reports.cells import UNIT, Cell, Cells
from creditshare.reports.repository import CellStore
from creditshare.reports.tables import DEFAULTS, ROLLS, VINTAGES
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import Database, WriteSession

T = TypeVar("T")

LENDERS = 8
LOANS = 1_500


@dataclass(frozen=True)
class Loaded:
    """A service in which lenders reported a file of loans, all of which are counted."""

    service: RunningService
    loans: list[Mapping[str, str]]
    lenders: Mapping[UUID, str]

    def run(self, work: Callable[[CellStore, WriteSession], Awaitable[T]]) -> T:
        """Do something as the worker would, in a transaction that ends without a trace."""

        async def done() -> T:
            address = self.service.postgres.url("worker", self.service.database)
            database = Database(address, role="creditshare_worker", pool_size=1)
            try:
                async with database.writing() as session:
                    return await work(cell_store(self.service.settings), session)
            finally:
                await database.close()

        return asyncio.run(done())

    def cells(self, family: str) -> Cells:
        """Return all cells of a family as the worker keeps them, opened."""

        async def load(store: CellStore, session: WriteSession) -> Cells:
            position = await store.position(session)
            assert position is not None
            found: Cells = {}
            for part in position.parts:
                if part[0] == family:
                    found |= await store.load(session, part)
            return found

        return self.run(load)


def made_up(lenders: int, loans: int) -> list[dict[str, str]]:
    """A file in the form of the real one: a few lenders have most loans, and some borrowers several lenders."""
    draw = random.Random(20_261_127)  # noqa: S311  test data, the same each time
    stems = [f"91999999{number:09}" for number in range(loans * 9 // 10)]
    borrowers = [stem + uscc.calc_check_digit(stem) for stem in stems]
    rows = []
    for number in range(loans):
        opened = date(2003, 1, 1) + timedelta(days=draw.randrange(1_400))
        off = opened + timedelta(days=draw.randrange(30, 2_200))
        rows.append(
            {
                "loan_id": f"L{number:06}",
                "borrower_uscc": draw.choice(borrowers),
                "lender": f"Lender {min(int(draw.paretovariate(0.9)), lenders)}",
                "state": draw.choices(("CA", "TX", "NY", "VT", ""), (50, 30, 15, 4, 1))[0],
                "naics": draw.choices(("722511", "441110", "238220", "0"), (40, 30, 20, 10))[0],
                "approved_on": opened.isoformat(),
                "disbursed_on": draw.choice(("", opened.isoformat())),
                "approved_amount": "90000.00",
                "disbursed_amount": "",
                "status": "CHGOFF" if draw.random() < 0.9 else "PIF",
                "charged_off_on": off.isoformat() if draw.random() < 0.99 else "",
                "charged_off_amount": f"{draw.randrange(100, 9_000_000) / 100:.2f}",
                "revolving": "N",
            }
        )
    return rows


def load(service: RunningService, loans: list[dict[str, str]], folder: Path, *, lenders: int) -> Loaded:
    file = folder / "loans.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(loans)
    operators = folder / "operator-1.jwk.json", folder / "operator-2.jwk.json"
    for number, path in enumerate(operators):
        service.write_key(number, path)
    load_loans(service.url, operators, folder, file, str(lenders))
    counted = Counter(loan["lender"] for loan in loans)
    names = sorted(counted, key=lambda name: (-counted[name], name))[:lenders]
    keys = [json.loads((folder / f"loan-members/{number:04}.jwk.json").read_text()) for number in range(len(names))]
    members = {parse("mem", key["creditshare_member_id"]): name for key, name in zip(keys, names, strict=True)}
    with service.superuser() as database:
        waiting = "SELECT NOT EXISTS (SELECT FROM report_due) AND EXISTS (SELECT FROM report_release)"
        wait_for(lambda: database.execute(waiting).fetchone() == (True,), seconds=60)
    return Loaded(service, oracle.loaded([loan for loan in loans if loan["lender"] in names]), members)


@pytest.fixture(scope="module")
def loaded(postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    with running_service(postgres, template, reports_every_s=0.2, reports_told_every_s=0) as service:
        yield load(service, made_up(LENDERS, LOANS), tmp_path_factory.mktemp("loans"), lenders=LENDERS)


def numbers(cell: Cell) -> tuple[int, int, int, Decimal]:
    return cell.borrowers, cell.records, len(cell.lenders), Decimal(cell.amount) / UNIT


@pytest.mark.slow
def test_every_cell_of_defaults_is_what_the_file_says(loaded: Loaded) -> None:
    expected = oracle.defaults(loaded.loans)
    found = loaded.cells(DEFAULTS)
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
    assert {key: numbers(cell)[:3] for key, cell in loaded.cells(family).items()} == expected
