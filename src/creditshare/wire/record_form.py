"""The form of a default record: checked by its lender before sending, decided by the service.

Patterns are for whole texts. Fields are named as in the API. Left to the service: its lists of codes, its dated policy
(days past due, notice) and its data (consents).
"""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any, Final

from creditshare.errors import FieldError

AMOUNT: Final = r"(0|[1-9][0-9]{0,15})(\.[0-9]{1,4})?"
CODE: Final = r"[A-Za-z0-9.-]{1,16}"
"""A code of an industry or a region."""
CURRENCY: Final = r"[A-Z]{3}"
DAY: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
REGION_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {"GB/T 2260": r"[0-9]{6}", "ISO 3166-2": r"[A-Z]{2}(-[A-Z0-9]{1,3})?"}
)
"""What a region's code looks like, by its scheme; other schemes are none."""
_DIVISION: Final = (
    r"(0[1-35-9]|[12][0-9]|3[0-35-9]|4[1-35-79]|5[0-35689]|6[0-689]|7[0-57-9]|8[0-24-8]|9[0-9])(\.?[0-9]{1,2})?"
)
INDUSTRY_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "GB/T 4754-2017": r"[A-T]|[A-T]?(0[1-9]|[1-8][0-9]|9[0-7])[0-9]{0,2}",
        "NAICS": r"(11|2[1-3]|3[1-3]|4[1-689]|5[1-6]|6[12]|7[12]|81|9[1-3])[0-9]{0,4}",
        "NACE": f"[A-V]|[A-V]?{_DIVISION}",
        "ISIC": f"[A-V]|[A-V]?{_DIVISION}",
    }
)
"""What an industry's code looks like, by its scheme, down to the sectors or divisions that there are.

Reports have a cell for each, which costs others their cells: one that nobody can be in is refused.
"""
_CURRENCIES: Final = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF"
    " CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD"
    " HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD"
    " MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN"
    " PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY"
    " TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG"
)
CURRENCIES: Final = tuple(_CURRENCIES.split())
"""Currencies of ISO 4217 that debts are in: no metals, funds or test codes."""
LONGEST_REFERENCE: Final = 128
MOST_DAYS_PAST_DUE: Final = 20_000

DATES: Final = ("opened_on", "due_on", "first_overdue_on", "default_on", "written_off_on")
HAPPENED: Final = ("opened_on", "first_overdue_on", "default_on", "written_off_on")
NOT_BEFORE: Final = (
    ("due_on", "opened_on"),
    ("first_overdue_on", "opened_on"),
    ("default_on", "opened_on"),
    ("written_off_on", "default_on"),
)


def contradictions(dates: Mapping[str, date], today: date) -> list[FieldError]:
    """Return what is wrong with the dates that a record gives, by field name; an absent one contradicts nothing.

    A day ahead is allowed, because the reporting place may be east of whoever checks.
    """
    latest = today + timedelta(days=1)
    wrong = [
        FieldError(f"/{name}", "in_future", "a day not after today")
        for name in HAPPENED
        if name in dates and dates[name] > latest
    ]
    wrong += [
        FieldError(f"/{name}", f"before_{floor}", f"a day not before {floor}")
        for name, floor in NOT_BEFORE
        if name in dates and floor in dates and dates[name] < dates[floor]
    ]
    if "first_overdue_on" in dates and "default_on" in dates and dates["first_overdue_on"] > dates["default_on"]:
        wrong.append(FieldError("/first_overdue_on", "after_default_on", "a day not after default_on"))
    return wrong


def lacking(given: Mapping[str, Any]) -> list[FieldError]:
    """Return which fields a record lacks, because its reason, its basis or another field asks for them.

    ``given`` holds the fields that have a value.
    """
    reason, basis = given.get("default_reason"), given.get("lawful_basis")
    overdue = reason in {"days_past_due", "both"}
    no_amount = not any(name in given for name in ("outstanding_principal", "overdue_principal", "overdue_interest"))
    write_off = "written_off_on and written_off_amount together"
    asked = (
        ("days_past_due", overdue, "the days past due, for this reason"),
        ("outstanding_principal", overdue and no_amount, "an overdue or outstanding amount, for this reason"),
        ("cause", reason in {"unlikely_to_pay", "both"}, "a cause where the borrower is judged unlikely to pay"),
        (
            "public_ref",
            reason == "legal" or basis == "public_record",
            "where the public can find the fact, for this reason or basis",
        ),
        ("provide_consent_id", basis == "consent", "the borrower's consent to provide, for this basis"),
        ("written_off_amount", "written_off_on" in given, write_off),
        ("written_off_on", "written_off_amount" in given, write_off),
    )
    return [
        FieldError(f"/{name}", "required", detail) for name, needed, detail in asked if needed and name not in given
    ]


def misspelt_industry(scheme: str, code: str) -> list[FieldError]:
    """Return the error of an industry whose code is none of its scheme's."""
    form = INDUSTRY_CODES.get(scheme)
    if form is None or re.fullmatch(form, code):
        return []
    detail = "such as C1311 for GB/T 4754-2017, 722511 for NAICS, G47.11 for NACE and ISIC"
    return [FieldError("/industry/code", "unknown_code", detail)]


def misspelt_region(scheme: str, code: str) -> list[FieldError]:
    """Return the error of a region whose code is none of its scheme's."""
    form = REGION_CODES.get(scheme)
    if form is None or re.fullmatch(form, code):
        return []
    return [FieldError("/region/code", "format", "six digits for GB/T 2260, such as US-CA for ISO 3166-2")]
