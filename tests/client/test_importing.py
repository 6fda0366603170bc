"""Reading rows, mapping columns, checking as the service would, comparing with a record: all without I/O."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from creditshare.api.bodies import field_errors
from creditshare.api.codelists import CODE_LISTS
from creditshare.api.schemas.records import ChangesIn, CodedIn, NoticeIn, RecordIn
from creditshare.api.schemas.tokens import EXAMPLE_SUBJECT
from creditshare.client.core import Identity
from creditshare.client.importing import Digests, Layout, Tally, compare
from creditshare.client.record_form import FIELDS, GROUPS, Row, field_name, nest, read_record
from creditshare.crypto.jws import SigningKey
from creditshare.errors import ConfigurationError, Refused
from creditshare.policy.service import Policy, Rule
from creditshare.records import rules

TODAY = date(2026, 3, 31)
BORROWER = "91999999DEM000014G"
SAMPLES = Path(__file__).parents[2] / "docs" / "samples"
POLICY = Policy([Rule("*", "default.days_past_due", "90", "test", date(2000, 1, 1), None)])
GOOD: Mapping[str, str] = {
    "uscc": BORROWER,
    "role": "borrower",
    "account_ref": "A-1",
    "product": "term_loan",
    "currency": "USD",
    "original_amount": "150000.00",
    "outstanding_principal": "98000.00",
    "overdue_principal": "90000",
    "overdue_interest": "0",
    "opened_on": "2020-02-29",
    "due_on": "2030-01-01",
    "first_overdue_on": "2025-01-01",
    "default_on": "2025-06-01",
    "days_past_due": "200",
    "written_off_on": "2026-01-01",
    "written_off_amount": "12.3456",
    "default_reason": "both",
    "cause": "cash_flow",
    "guarantee": "pledge",
    "size_class": "small",
    "industry.scheme": "NAICS",
    "industry.code": "722511",
    "region.scheme": "ISO 3166-2",
    "region.code": "US-CA",
    "lawful_basis": "public_record",
    "public_ref": "register 1",
    "provide_consent_id": "cns_01900000-0000-7000-8000-000000000000",
    "notice.sent_on": "2026-03-01",
    "notice.channel": "post",
    "notice.evidence_digest": "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
}


def good(**changes: str) -> Row:
    row = read_record(1, {**GOOD, **changes}, lists=CODE_LISTS, today=TODAY)
    assert isinstance(row, Row), row
    return row


def wrong(changes: Mapping[str, str]) -> set[tuple[str, str]]:
    found = read_record(1, {**GOOD, **changes}, lists=CODE_LISTS, today=TODAY)
    return set() if isinstance(found, Row) else {(field_name(one.pointer), one.code) for one in found}


def test_the_fields_are_those_of_the_api() -> None:
    nested: dict[str, type[BaseModel]] = {"industry": CodedIn, "region": CodedIn, "notice": NoticeIn}
    assert set(nested) == set(GROUPS)
    api = {
        one
        for name in RecordIn.model_fields
        for one in ([f"{name}.{inner}" for inner in nested[name].model_fields] if name in nested else [name])
    }
    assert set(FIELDS) == api - {"subject"} == set(GOOD) - {"uscc"}
    for name, field in FIELDS.items():
        top = name.partition(".")[0]
        assert field.required == RecordIn.model_fields[top].is_required(), name
        assert field.correctable == (top in ChangesIn.model_fields), name
        assert field.codes is None or field.codes in CODE_LISTS, name


def test_a_row_becomes_the_body_that_the_api_takes() -> None:
    row = good()
    body = RecordIn.model_validate({**row.body, "subject": EXAMPLE_SUBJECT})
    assert body.region.code == "US-CA"
    assert BORROWER not in json.dumps(row.body) + repr(row)
    assert row.named == set(GOOD) - {"uscc"}


ODD = [
    "",
    "x",
    "-1",
    "0",
    "1",
    "01",
    "1e3",
    "1,00",
    "1.00000",
    "91",
    "20001",
    "٣",
    "2024-02-30",
    "2026-04-01",
    "2026-04-02",
    "2099-01-01",
    "2010-01-01",
    "20240101",
    "usd",
    "EUR",
    "term_loan",
    "both",
    "legal",
    "days_past_due",
    "unlikely_to_pay",
    "consent",
    "legal_duty",
    "GB/T 2260",
    "350100",
    "US",
    "US-CALI",
    "cns_x",
    "sha-256=:AAAA:",
    "line\nbreak",
    "\u202e",
    "a" * 129,
    "a" * 20_000,
    BORROWER,
    "9" * 30,
]


def by_the_service(values: Mapping[str, str]) -> set[str]:
    """Return the fields that the service's own intake would name, its data and dated policy apart."""
    plain: dict[str, Any] = {name: text for name, text in values.items() if text and name != "uscc"}
    if plain.get("days_past_due", "").isdecimal() and plain["days_past_due"].isascii():
        text = plain["days_past_due"]
        plain["days_past_due"] = int(text) if str(int(text)) == text else text
    body = {**nest(plain), "subject": EXAMPLE_SUBJECT}
    try:
        report = RecordIn.model_validate(body).report()
        rules.check(report, policy=POLICY, today=TODAY)
    except ValidationError as error:
        return {field_name(one.pointer) for one in field_errors(error.errors())}
    except Refused as refusal:
        return {
            field_name(one.pointer)
            for one in refusal.fields
            if one.code != "below_default" or not values["days_past_due"]
        }
    return set()


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_each_odd_value_is_judged_as_the_service_would_judge_it(name: str) -> None:
    # Left to the service: how many days are enough, whether a consent or a notice is what it claims.
    judged_there = {"provide_consent_id", "notice.sent_on"}
    for text in ODD:
        ours = {field for field, _ in wrong({name: text})}
        theirs = by_the_service({**GOOD, name: text})
        if name in judged_there:
            assert theirs <= ours, (name, text)
        else:
            assert bool(ours) == bool(theirs), (name, text, ours, theirs)
        if theirs and name not in judged_there:
            tops = {one.partition(".")[0] for one in ours}
            assert {one.partition(".")[0] for one in theirs} <= tops or name in ours, (name, text, ours, theirs)


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"account_ref": ""}, "account_ref", "required"),
        ({"original_amount": "1,5"}, "original_amount", "format"),
        ({"product": "loan"}, "product", "unknown_code"),
        ({"notice.channel": "pigeon"}, "notice.channel", "unknown_code"),
        ({"uscc": ""}, "uscc", "required"),
        ({"uscc": "91999999DEM000014H"}, "uscc", "check_digit"),
        ({"lei": "5493001KJTIIGC8Y1R12"}, "uscc", "ambiguous"),
        ({"cnid": "11010519491231002Y", "uscc": ""}, "cnid", "check_digit"),
        ({"default_on": "2019-01-01", "first_overdue_on": ""}, "default_on", "before_opened_on"),
        ({"first_overdue_on": "2025-06-02"}, "first_overdue_on", "after_default_on"),
        ({"written_off_on": "2026-04-02"}, "written_off_on", "in_future"),
        ({"notice.sent_on": "2026-04-02"}, "notice.sent_on", "in_future"),
        ({"written_off_on": ""}, "written_off_on", "required"),
        ({"written_off_amount": ""}, "written_off_amount", "required"),
        ({"cause": ""}, "cause", "required"),
        ({"days_past_due": ""}, "days_past_due", "required"),
        ({"public_ref": ""}, "public_ref", "required"),
        ({"lawful_basis": "consent", "provide_consent_id": ""}, "provide_consent_id", "required"),
        ({"industry.code": ""}, "industry.code", "required"),
        ({"notice.channel": ""}, "notice.channel", "required"),
        ({"region.code": "350100"}, "region.code", "format"),
        ({"account_ref": BORROWER}, "account_ref", "identifier"),
        ({"account_ref": BORROWER.lower()}, "account_ref", "identifier"),
    ],
)
def test_each_reason_names_its_field(changes: dict[str, str], field: str, code: str) -> None:
    assert wrong(changes) == {(field, code)}


def test_what_is_wrong_is_said_all_at_once_and_without_a_value() -> None:
    found = read_record(7, {"account_ref": "SECRET\x00", "original_amount": "SECRET"}, lists=CODE_LISTS, today=TODAY)
    assert isinstance(found, tuple)
    assert {field_name(one.pointer) for one in found} == {
        "uscc",
        *(name for name, field in FIELDS.items() if field.required),
    }
    assert "SECRET" not in str(found)


def test_a_pilot_region_code_is_taken_and_marked() -> None:
    assert good(uscc="91350100M000100Y42").doubtful_identifier
    assert not good().doubtful_identifier


# Mapping


def test_the_documented_sample_reads_its_file() -> None:
    layout = Layout.parse(tomllib.loads((SAMPLES / "import-mapping.toml").read_text(encoding="utf-8")))
    header, *lines = (line.split(";") for line in (SAMPLES / "import-loans.csv").read_text().splitlines())
    layout.check_columns(header)
    rows = []
    for number, cells in enumerate(lines, start=1):
        values, unread = layout.values(dict(zip(header, cells, strict=True)))
        assert unread == []
        row = read_record(number, values, lists=CODE_LISTS, today=TODAY)
        assert isinstance(row, Row), row
        rows.append(row)
    assert rows[0].body["original_amount"] == "1250000.00"
    assert rows[0].body["opened_on"] == "2023-03-01"
    assert rows[0].body["public_ref"] == "county register L-001"
    assert (rows[1].body["outstanding_principal"], rows[1].body["cause"]) == ("12345.6", "unknown")
    assert rows[1].body["region"] == {"scheme": "ISO 3166-2", "code": "US-NY"}


def one_field(spec: object, text: str) -> str | None:
    """Return what a mapped field makes of a cell; None where it is refused."""
    values, unread = Layout.parse({"fields": {"public_ref": spec}}).values({"c": text})
    assert text == "" or all(text not in str(error) for error in unread)
    return None if unread else values["public_ref"]


@pytest.mark.parametrize(
    ("spec", "text", "expected"),
    [
        ("c", "  padded ", "padded"),
        ({"constant": "k"}, "ignored", "k"),
        ({"column": "c", "default": "d"}, " ", "d"),
        ({"column": "c", "codes": {"Y": "yes"}}, "Y", "yes"),
        ({"column": "c", "codes": {"Y": "yes"}}, "N", None),
        ({"column": "c", "date": "%d/%m/%Y"}, "05/04/2026", "2026-04-05"),
        ({"column": "c", "date": "%d/%m/%Y"}, "2026-04-05", None),
        ({"column": "c", "date": "%Y年%m月%d日"}, "2026年04月05日", "2026-04-05"),
        ({"column": "c", "decimal": ","}, "1.234.567,80", "1234567.80"),
        ({"column": "c", "decimal": ","}, "1\u00a0234,8", "1234.8"),
        ({"column": "c", "decimal": ","}, "12.34", None),
        ({"column": "c", "decimal": "."}, "1,234,567.8", "1234567.8"),
        ({"column": "c", "decimal": "."}, "12,34", None),
        ({"column": "c", "decimal": "."}, "1.234,56", None),
        ({"column": "c", "prefix": "US-"}, "CA", "US-CA"),
        ({"column": "c", "prefix": "US-"}, "", ""),
    ],
)
def test_each_transform(spec: object, text: str, expected: str | None) -> None:
    assert one_field(spec, text) == expected


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({}, "fields"),
        ({"fields": {"acount_ref": "c"}}, "acount_ref"),
        ({"fields": {"region": {"colour": "c"}}}, "region.colour"),
        ({"fields": {"cause": {}}}, "cause"),
        ({"fields": {"cause": {"column": "c", "constant": "d"}}}, "cause"),
        ({"fields": {"cause": {"column": "c", "map": {}}}}, "cause"),
        ({"fields": {"cause": {"column": "c", "codes": {"a": 1}}}}, "cause"),
        ({"fields": {"cause": 7}}, "cause"),
        ({"fields": {"due_on": {"column": "c", "date": "%d/%m"}}}, "due_on"),
        ({"fields": {"due_on": {"column": "c", "date": "%m/%m/%Y"}}}, "due_on"),
        ({"fields": {"original_amount": {"column": "c", "decimal": ";"}}}, "original_amount"),
        ({"fields": {"cause": "c"}, "delimiter": ";;"}, "delimiter"),
        ({"fields": {"cause": "c"}, "seperator": ";"}, "seperator"),
    ],
)
def test_a_mapping_that_is_not_clear_is_refused_by_name(document: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Layout.parse(document)


def test_nested_fields_may_be_written_as_tables() -> None:
    dotted = Layout.parse({"fields": {"region.code": "c", "cause": "d"}})
    assert Layout.parse({"fields": {"region": {"code": "c"}, "cause": "d"}}) == dotted


def test_columns_must_be_there_and_none_may_be_lost_in_silence() -> None:
    with pytest.raises(ConfigurationError, match="loan no"):
        Layout.parse({"fields": {"account_ref": "loan no"}}).check_columns(["loan number"])
    Layout.parse({"fields": {"account_ref": "loan no"}}).check_columns(["loan no", "branch"])
    with pytest.raises(ConfigurationError, match="acount_ref"):
        Layout().check_columns(["uscc", "acount_ref"])
    values, unread = Layout().values({"uscc": BORROWER, "surprise": "1"})
    assert values == {"uscc": BORROWER}
    assert [one.code for one in unread] == ["unknown_field"]


# Comparing


def as_record(row: Row, **changes: Any) -> dict[str, Any]:
    """Return a record as the service shows it, with members that the row does not have."""
    empty = dict.fromkeys(RecordIn.model_fields)
    return {**empty, **row.body, "record_id": "rec_1", "status": "default", "corrected": False, **changes}


def test_an_equal_row_is_no_change_however_amounts_are_spelt() -> None:
    found = compare(good(original_amount="150000"), as_record(good(), original_amount="150000.00"))
    assert (found.changes, found.differences, found.fixed) == ({}, (), ())


def test_each_field_that_differs_is_found_and_the_others_are_left() -> None:
    row = good(days_past_due="231", guarantee="", **{"industry.code": "722512"})
    found = compare(row, as_record(good()))
    assert found.changes == {
        "days_past_due": 231,
        "guarantee": None,
        "industry": {"scheme": "NAICS", "code": "722512"},
    }
    assert [(one.name, one.ours, one.theirs) for one in found.differences] == [
        ("days_past_due", "200", "231"),
        ("guarantee", "pledge", "(empty)"),
        ("industry.code", "722511", "722512"),
    ]
    ChangesIn.model_validate(found.changes)


def test_an_emptied_group_is_emptied_whole() -> None:
    found = compare(good(**{"industry.scheme": "", "industry.code": ""}), as_record(good()))
    assert found.changes == {"industry": None}


def test_what_no_correction_may_touch_is_named() -> None:
    row = good(lawful_basis="legal_duty", **{"region.code": "US-NY", "notice.channel": "sms"})
    assert set(compare(row, as_record(good())).fixed) == {"lawful_basis", "region.code", "notice.channel"}


def test_what_the_file_does_not_speak_of_is_left_as_it_is() -> None:
    values = {name: text for name, text in GOOD.items() if name != "guarantee"}
    row = read_record(1, values, lists=CODE_LISTS, today=TODAY)
    assert isinstance(row, Row)
    assert compare(row, as_record(good())).differences == ()
    assert compare(good(guarantee=""), as_record(good())).changes == {"guarantee": None}


# Names for rows


def test_digests_are_the_members_own_and_tell_rows_apart() -> None:
    identity = Identity("mem_1", SigningKey.generate())
    mine = Digests.of(identity, "https://a")
    row = good()
    assert mine == Digests.of(identity, "https://a")
    others = [
        Digests.of(identity, "https://b"),
        Digests.of(Identity("mem_2", identity.key), "https://a"),
        Digests.of(Identity("mem_1", SigningKey.generate()), "https://a"),
    ]
    assert len({mine.content(row), *(one.content(row) for one in others)}) == 4
    assert mine.content(row) == mine.content(replace(row, number=9, identifier=f" {BORROWER.lower()}"))
    assert mine.content(row) != mine.content(good(overdue_interest="1"))
    assert mine.account(row) == mine.account(good(overdue_interest="1", uscc="91999999DEM000022B"))
    assert mine.account(row) != mine.account(good(account_ref="A-2"))
    assert "secret" not in repr(mine)


def test_an_account_may_have_several_guarantors() -> None:
    digests = Digests(b"k" * 32)
    one, other = good(role="guarantor"), good(role="guarantor", uscc="91999999DEM000022B")
    assert len({digests.account(row) for row in (one, other, good())}) == 3
    assert digests.account(one) == digests.account(good(role="guarantor", cause="fraud"))


def test_the_idempotency_key_follows_everything_that_is_sent() -> None:
    digests = Digests(b"k" * 32)
    rows = [digests.content(good()), digests.content(good(cause="fraud"))]
    key = digests.idempotency_key("run", "suite/1", rows)
    assert key == Digests(b"k" * 32).idempotency_key("run", "suite/1", iter(rows))
    others = [
        digests.idempotency_key("another run", "suite/1", rows),
        digests.idempotency_key("run", "suite/2", rows),
        digests.idempotency_key("run", "suite/1", rows[:1]),
        digests.idempotency_key("run", "suite/1", rows[::-1]),
        Digests(b"l" * 32).idempotency_key("run", "suite/1", rows),
    ]
    assert len({key, *others}) == 6
    assert key.isascii()


def test_the_tally_counts_each_row_once() -> None:
    tally = Tally(read=12, invalid=2, sent=3, done_before=1, unchanged=1, corrected=1, not_confirmed=1, not_sent=1)
    tally.refused.update({"notice_required": 2})
    assert (tally.valid, tally.settled, tally.failed) == (10, 10, 5)
