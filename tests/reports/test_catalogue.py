"""What reports say about themselves: in both languages, for every column, and drawn whatever its rows are."""

import csv
import io
import re
from typing import Any
from uuid import uuid4

import openpyxl
import pytest

from creditshare.api.codelists import CODE_LISTS
from creditshare.reports.catalogue import KINDS, LABELS, STATUSES, Kind, Text
from creditshare.reports.charts import SENTINEL, make_chart
from creditshare.reports.conduct import cut
from creditshare.reports.documents import Row
from creditshare.reports.files import make_csv
from creditshare.reports.pack import dictionary
from creditshare.reports.pdf import page_of
from creditshare.reports.tables import ACTIVITY
from creditshare.reports.words import BASES, VALUES
from creditshare.reports.workbook import make_workbook

HOSTILE = "=cmd|' /C calc'!A0 <script>alert(1)</script>"
CHINESE = range(0x4E00, 0xA000)


def texts() -> list[Text]:
    return [*LABELS.values(), *STATUSES.values(), *(t for kind in KINDS.values() for t in (kind.title, kind.method))]


def test_every_text_is_there_in_both_languages() -> None:
    for text in texts():
        assert text.en
        assert any(ord(character) in CHINESE for character in text.zh), text.en
        assert not any(ord(character) in CHINESE for character in text.en)
        assert text.of("zh") == text.zh
        assert text.of("fr") == text.en


def test_each_code_has_words_in_both_languages() -> None:
    codes = {
        "purpose": CODE_LISTS["query_purposes"],
        "size": (*CODE_LISTS["size_classes"], "unknown"),
        "from": CODE_LISTS["buckets"],
        "to": CODE_LISTS["life_events"],
        "reason": CODE_LISTS["error_codes"],
    }
    assert {name: set(known) - VALUES[name].keys() for name, known in codes.items()} == {name: set() for name in codes}
    for told in (*VALUES.values(), {basis: Text(basis, zh) for basis, zh in BASES.items()}):
        for code, text in told.items():
            assert any(ord(character) in CHINESE for character in text.zh), code
            assert not any(ord(character) in CHINESE for character in text.en), code


def test_a_chinese_file_says_codes_and_bases_in_chinese() -> None:
    kind = KINDS["roll_rates"]
    report = a_report(kind, "year,from,to", rows_of(kind, "year,from,to"))
    report["rows"][0] |= {"from": "d120", "to": "settled_full"}
    report["rules"] = [{"rule": "reports.min_borrowers", "value": "5", "basis": next(iter(BASES))}]
    page = page_of([report], "zh")
    for told in ("逾期 120 天起", "全额结清", "本系统规则"):
        assert told in page, told
    assert not re.search("d120|settled_full|house rule", page)
    assert "d120" in make_csv([report], "zh").decode()
    book = openpyxl.load_workbook(io.BytesIO(make_workbook([report], "zh")))
    cells = [str(cell) for sheet in book for row in sheet.iter_rows(values_only=True) for cell in row]
    assert "逾期 120 天起" in cells
    assert not [cell for cell in cells if re.search("d120|settled_full|house rule", cell)]


def test_every_column_has_a_name_and_every_name_a_column() -> None:
    used = {name for kind in KINDS.values() for view in kind.views.values() for name in view}
    used |= {name for kind in KINDS.values() for name in kind.measures}
    assert used == LABELS.keys()
    for name in used:
        assert f",{name}," in dictionary().decode()


def test_a_report_that_lenders_may_read_names_them_in_a_view() -> None:
    for kind in KINDS.values():
        assert kind.own == any("lender" in view for view in kind.views.values()), kind.name


def test_refusals_of_questions_are_told_and_no_others() -> None:
    lender = str(uuid4())
    acts = (("run_query", "consent_missing"), ("view_page", "not_found"), ("confirm_passkey", "passkey_invalid"))
    rows = [Row("", (*act, "", "working", lender), "s", "s", None, 1, 1, None) for act in acts]
    told = cut("inquiries", ("month", "reason"), {(ACTIVITY, "2026-01"): rows})
    assert told == {("2026-01", "consent_missing"): {"asked": 1, "refused": 1}}


def a_report(kind: Kind, view: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    columns = [{"name": n, "title": LABELS[n].en, "kind": "dimension"} for n in kind.views[view]]
    columns += [{"name": n, "title": LABELS[n].en, "kind": "measure"} for n in kind.measures]
    return {
        "report": kind.name,
        "title": kind.title.en,
        "by": view,
        "period": {"from": None, "to": None},
        "filters": {},
        "columns": columns,
        "rows": rows,
        "statuses": {name: text.en for name, text in STATUSES.items()},
        "held": [],
        **({"lenders": {"<b>x</b>": HOSTILE}} if "lender" in kind.views[view] else {}),
        "method": kind.method.en,
        "sources": list(kind.sources),
        "rules": [],
        "release": None,
        "waiting": 0,
        "digest": "sha-256=:x:",
        "signature": "x",
    }


def rows_of(kind: Kind, view: str) -> list[dict[str, Any]]:
    """One row that is told, and one that is withheld where cells may be."""
    values = {"month": "2025-01", "year": "2025", "opened": "2020", "age": "03", "lender": "<b>x</b>"}
    row: dict[str, Any] = {name: values.get(name, "A&B<") for name in kind.views[view]}
    told = row | dict.fromkeys(kind.measures, 7) | ({"exposure": "7.00"} if "exposure" in kind.measures else {})
    if kind.of_conduct or not kind.views[view]:
        return [told]
    told |= {"status": "s"} | ({"exposure_status": "s"} if "exposure" in kind.measures else {})
    later = {name: "2026" + value[4:] if name in ("month", "year", "opened") else value for name, value in row.items()}
    withheld = later | dict.fromkeys(kind.measures) | {"status": "u", "exposure_status": "u"}
    return [told, {name: value for name, value in withheld.items() if name in told}]


@pytest.mark.parametrize(("name", "view"), [(kind.name, view) for kind in KINDS.values() for view in kind.views])
def test_each_view_is_drawn_and_written(name: str, view: str) -> None:
    kind = KINDS[name]
    for rows in ([], rows_of(kind, view)):
        report = a_report(kind, view, rows)
        page = page_of([report], "en")
        assert "<script>" not in page
        assert "<b>x</b>" not in page
        assert make_workbook([report], "zh").startswith(b"PK")
        assert make_csv([report], "en").decode().count("\n") == 1 + len(rows)
        for theme in ("light", "dark"):
            svg = make_chart(report, theme=theme)
            assert (svg is None) == (not rows or not kind.views[view])
            if svg is not None:
                assert SENTINEL not in svg
                assert "<script" not in svg


def test_what_is_withheld_is_hatched_and_never_drawn_as_a_number() -> None:
    kind = KINDS["defaults"]
    report = a_report(kind, "month,region", rows_of(kind, "month,region"))
    svg = make_chart(report)
    assert svg is not None
    assert "url(#withheld)" in svg
    drawn = make_chart(a_report(kind, "month,region", report["rows"][:1]))
    assert drawn is not None
    assert 'url(#withheld)"' not in drawn.replace('id="withheld"', "")


@pytest.mark.parametrize("sign", "=+-@\uff1d\uff0b\uff0d\uff20")
def test_a_name_is_no_formula_in_a_file(sign: str) -> None:
    kind = KINDS["member_quality"]
    report = a_report(kind, "month,lender", rows_of(kind, "month,lender"))
    report["lenders"] = dict.fromkeys(report["lenders"], f"{sign}cmd")
    written = list(csv.DictReader(io.StringIO(make_csv([report], "en").decode())))
    assert {row["lender_name"] for row in written} == {f"'{sign}cmd"}
