"""Breaking changes are named, harmless ones are not called breaking."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from creditshare.api.openapi_diff import diff
from creditshare.app import openapi_document
from creditshare.cli import app
from creditshare.errors import ConfigurationError

Document = dict[str, Any]
DOCUMENT: Document = openapi_document()


def _schema(document: Document, name: str) -> Document:
    found: Document = document["components"]["schemas"][name]
    return found


def _operation(document: Document) -> Document:
    found: Document = document["paths"]["/v1/queries"]["post"]
    return found


def _new_required_parameter(document: Document) -> None:
    parameter = {"name": "Trace", "in": "header", "required": True, "schema": {"type": "string"}}
    _operation(document)["parameters"].append(parameter)


BREAKING: list[tuple[str, Callable[[Document], object]]] = [
    ("operation removed", lambda d: d["paths"].pop("/v1/queries")),
    ("operation removed", lambda d: d["paths"]["/v1/members"].pop("get")),
    ("field removed", lambda d: _schema(d, "RecordOut")["properties"].pop("bucket")),
    ("field removed", lambda d: _schema(d, "RecordIn")["properties"].pop("cause")),
    ("field may now be missing", lambda d: _schema(d, "RecordOut")["required"].remove("bucket")),
    ("field is now required", lambda d: _schema(d, "RecordIn")["required"].append("cause")),
    (
        "required field added",
        lambda d: (
            _schema(d, "QueryIn")["properties"].update(branch={"type": "string"}),
            _schema(d, "QueryIn")["required"].append("branch"),
        ),
    ),
    ("value borrower removed", lambda d: _schema(d, "RecordIn")["properties"]["role"]["enum"].remove("borrower")),
    ("values are now limited", lambda d: _schema(d, "SubjectIn")["properties"]["suite"].update(enum=["P256-SHA256"])),
    ("type integer removed", lambda d: _schema(d, "SubjectIn")["properties"]["key_version"].update(type="string")),
    (
        "type null added",
        lambda d: _schema(d, "MemberOut")["properties"].update(name={"anyOf": [{"type": "string"}, {"type": "null"}]}),
    ),
    (
        "maxLength changed from 128 to 64",
        lambda d: _schema(d, "RecordIn")["properties"]["account_ref"].update(maxLength=64),
    ),
    ("pattern changed", lambda d: _schema(d, "RecordIn")["properties"]["currency"].update(pattern="^[A-Z]{4}$")),
    ("required parameter Trace (header) added", _new_required_parameter),
    ("media type text/plain removed", lambda d: d["paths"]["/metrics"]["get"]["responses"]["200"].update(content={})),
    ("answer 200 removed", lambda d: _operation(d)["responses"].pop("200")),
    ("header CS-Signature removed", lambda d: _operation(d)["responses"]["200"]["headers"].pop("CS-Signature")),
    ("a way to authenticate was removed", lambda d: d["paths"]["/healthz"]["get"].update(security=[{"CSR-1": []}])),
    (
        "a way to authenticate was removed",
        lambda d: d["paths"]["/v1/members/{member_id}/keys"]["post"].update(security=[{"CSR-1": []}]),
    ),
    (
        "body is now required",
        lambda d: d["paths"]["/v1/members/{member_id}/approvals"]["post"]["requestBody"].update(required=True),
    ),
]
HARMLESS: list[tuple[str, Callable[[Document], object]]] = [
    ("operation added", lambda d: d["paths"].update({"/v1/new": {"get": _operation(d)}})),
    ("field added", lambda d: _schema(d, "RecordOut")["properties"].update(new={"type": "string"})),
    ("field added", lambda d: _schema(d, "RecordIn")["properties"].update(new={"type": "string"})),
    ("value lessee added", lambda d: _schema(d, "RecordIn")["properties"]["role"]["enum"].append("lessee")),
    (
        "open value lessee added",
        lambda d: _schema(d, "RecordOut")["properties"]["role"]["x-extensible-enum"].append("lessee"),
    ),
    (
        "maxLength changed from 128 to 256",
        lambda d: _schema(d, "RecordIn")["properties"]["account_ref"].update(maxLength=256),
    ),
    ("code key_limit added", lambda d: _operation(d)["responses"]["403"]["x-codes"].append("key_limit")),
    ("answer 451 added", lambda d: _operation(d)["responses"].update({"451": {"description": "x"}})),
]


def _changed(change: Callable[[Document], object]) -> Document:
    document = deepcopy(DOCUMENT)
    change(document)
    assert document != DOCUMENT, "the change of this test changes nothing"
    return document


@pytest.mark.parametrize(("what", "change"), BREAKING)
def test_what_breaks_a_client_is_named(what: str, change: Callable[[Document], object]) -> None:
    found = diff(DOCUMENT, _changed(change))
    assert [c for c in found if c.breaking and what in c.what], found


@pytest.mark.parametrize(("what", "change"), HARMLESS)
def test_what_breaks_nobody_is_an_addition(what: str, change: Callable[[Document], object]) -> None:
    found = diff(DOCUMENT, _changed(change))
    assert [c for c in found if what in c.what], found
    assert not [c for c in found if c.breaking], found


def test_equal_documents_have_no_difference() -> None:
    assert diff(DOCUMENT, deepcopy(DOCUMENT)) == []


def test_the_command_says_so_with_its_status(tmp_path: Path) -> None:
    old, same, grown, broken = (tmp_path / f"{name}.json" for name in ("old", "same", "grown", "broken"))
    old.write_text(json.dumps(DOCUMENT))
    same.write_text(json.dumps(DOCUMENT))
    grown.write_text(json.dumps(_changed(HARMLESS[0][1])))
    broken.write_text(json.dumps(_changed(BREAKING[0][1])))
    run = CliRunner().invoke
    assert run(app, ["openapi", "diff", str(old), str(same)]).exit_code == 0
    added = run(app, ["openapi", "diff", str(old), str(grown)])
    assert (added.exit_code, "GET /v1/new: operation added" in added.output) == (0, True)
    breaking = run(app, ["openapi", "diff", str(old), str(broken), "--json"])
    assert (breaking.exit_code, json.loads(breaking.output)["breaking"]) == (1, True)


def test_what_is_no_document_is_refused_clearly(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("{}")
    result = CliRunner().invoke(app, ["openapi", "diff", str(file), str(file)])
    assert isinstance(result.exception, ConfigurationError)
