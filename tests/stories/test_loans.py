"""The file of real loans, in small: what is loaded, what is not and why, and each question, counted exactly."""

import csv
import json
from pathlib import Path

import pytest
from tests.fixtures.service import RunningService

from creditshare.cli.demo.loans import COLUMNS, load_loans

SHARED = ("91350100M000100Y43", "91999999DEM000014G")
ALONE = "91999999DEM000022B"


def loan(number: int, lender: str, borrower: str, **changes: str) -> dict[str, str]:
    return {
        "loan_id": f"L{number}",
        "borrower_uscc": borrower,
        "lender": lender,
        "state": "CA",
        "naics": "722511",
        "approved_on": "2001-02-03",
        "disbursed_on": "",
        "approved_amount": "50000",
        "disbursed_amount": "",
        "status": "CHGOFF",
        "charged_off_on": "2005-06-07",
        "charged_off_amount": "1234.5",
        "revolving": "N",
        **changes,
    }


@pytest.mark.slow
def test_each_loan_and_each_question_is_accounted_for(
    service: RunningService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loans = [
        loan(1, "North", SHARED[0]),
        loan(2, "South", SHARED[0], status="PIF", charged_off_on="", charged_off_amount=""),
        loan(3, "North", SHARED[1], status="PIF", charged_off_on="", charged_off_amount=""),
        loan(4, "South", SHARED[1], charged_off_on="2000-01-01"),  # before it was opened
        loan(5, "North", ALONE, charged_off_amount=""),
        loan(6, "North", ALONE),
        loan(7, "Left out", SHARED[0]),
    ]
    file = tmp_path / "loans.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        writer.writerows(loans)
    operators = tmp_path / "operator-1.jwk.json", tmp_path / "operator-2.jwk.json"
    for number, path in enumerate(operators):
        service.write_key(number, path)
    load_loans(service.url, operators, tmp_path, file, "2")
    told = capsys.readouterr().out
    for line, count in {
        "charged off in the file": 4,
        "loaded as default records": 2,
        "in the error file": 2,
        "borrowers with several lenders": 2,
        "questions asked": 4,
        "answered with another's default": 1,
        "expected of them from the file": 1,
        "refused": 0,
    }.items():
        assert any(text.split() == [*line.split(), str(count)] for text in told.splitlines()), (line, told)
    assert "WRONG" not in told
    errors = [json.loads(line) for line in (tmp_path / "loan-errors.ndjson").read_text().splitlines()]
    assert {one["loan_id"]: one["reason"] for one in errors} == {
        "L4": "validation_failed /default_on",
        "L5": "no_charge_off_amount",
    }
