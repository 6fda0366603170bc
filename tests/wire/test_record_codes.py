"""Codes of industries and currencies: those that there are, so that nobody makes up a cell of a report."""

import re
import string

import pytest

from creditshare.wire.record_form import CODE, CURRENCIES, CURRENCY, INDUSTRY_CODES, misspelt_industry

MOST_SECTORS = {"GB/T 4754-2017": 20 + 97, "NAICS": 29, "NACE": 22 + 88, "ISIC": 22 + 88}


@pytest.mark.parametrize(
    ("scheme", "code"),
    [
        ("NAICS", "722511"),
        ("NAICS", "11"),
        ("NAICS", "484"),
        ("NACE", "G47.11"),
        ("NACE", "47"),
        ("ISIC", "4711"),
        ("ISIC", "A01"),
        ("GB/T 4754-2017", "C1311"),
        ("GB/T 4754-2017", "5137"),
        ("GB/T 4754-2017", "T"),
    ],
)
def test_codes_of_industries_that_there_are(scheme: str, code: str) -> None:
    assert misspelt_industry(scheme, code) == []


@pytest.mark.parametrize(
    ("scheme", "code"),
    [
        ("NAICS", "991110"),
        ("NAICS", "G47"),
        ("NAICS", "7225111"),
        ("NACE", "Z47"),
        ("NACE", "g47"),
        ("NACE", "04"),
        ("ISIC", "00"),
        ("GB/T 4754-2017", "98"),
        ("GB/T 4754-2017", "U01"),
        ("GB/T 4754-2017", "C13.11"),
    ],
)
def test_codes_that_nobody_can_be_in_are_refused(scheme: str, code: str) -> None:
    (wrong,) = misspelt_industry(scheme, code)
    assert (wrong.pointer, wrong.code) == ("/industry/code", "unknown_code")


@pytest.mark.parametrize("scheme", INDUSTRY_CODES)
def test_a_lender_can_make_up_no_more_sectors_than_there_are(scheme: str) -> None:
    """Reports tell an industry by its first letter, or else by its first two digits."""
    letters = [letter for letter in string.ascii_letters if not misspelt_industry(scheme, letter)]
    divisions = [f"{number:02}" for number in range(100) if not misspelt_industry(scheme, f"{number:02}")]
    assert len(letters) + len(divisions) <= MOST_SECTORS[scheme]
    assert all(re.fullmatch(CODE, code) for code in (*letters, *divisions))


def test_currencies_are_listed_once_and_spelt_alike() -> None:
    assert len(set(CURRENCIES)) == len(CURRENCIES)
    assert all(re.fullmatch(CURRENCY, one) for one in CURRENCIES)
    assert {"CNY", "USD", "EUR"} <= set(CURRENCIES)
    assert not {"XXX", "XTS", "XAU"} & set(CURRENCIES)
