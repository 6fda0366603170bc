"""docs/protocol.md says what the code does, where a machine can compare the two."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from creditshare.api.codelists import CODE_LISTS
from creditshare.api.problems import STATUS
from creditshare.records.grid import bucket, tier
from creditshare.wire import answers, consent_receipt, registration, requests
from creditshare.wire.actions import AGAIN, EXCHANGES, OWN_ACTS
from creditshare.wire.leaf import LogEntry
from creditshare.wire.reasons import REASONS

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "protocol.md").read_text(encoding="utf-8")
VECTORS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (DOCS / "vectors").glob("*.json")}


def section(number: int) -> str:
    """Return the text of a numbered section."""
    found = re.search(rf"^## {number}\. .*?(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, number
    return found[0]


def first_column(text: str) -> set[str]:
    """Return the code-formatted names in the first column of the tables of a text."""
    cells = re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def block(name: str) -> str:
    """Return what stands between the comments of a checked block."""
    found = re.search(rf"<!-- {name} -->\n?(.*?)<!-- /{name.split(':', maxsplit=1)[0]} -->", TEXT, re.DOTALL)
    assert found, name
    return found[1].strip()


def codes_table() -> str:
    rows = [
        # The sentence may come in several languages; the document is in English.
        f"| `{code}` | {STATUS[code]} | {'yes' if reason.retry else ''} | {getattr(reason.when, 'en', reason.when)} |"
        for code, reason in sorted(REASONS.items(), key=lambda item: STATUS[item[0]])
    ]
    return "\n".join(["| code | status | retry | when |", "|---|---|---|---|", *rows])


def grid_table() -> str:
    rows: list[tuple[int, str, str]] = []
    for days in range(1000):
        place = (bucket(days, written_off=False), tier(days, written_off=False))
        if not rows or rows[-1][1:] != place:
            rows.append((days, *place))
    ends: list[int | None] = [start - 1 for start, _, _ in rows[1:]]
    spans = [
        f"{start}–{end}" if end is not None and end > start else f"{start} and more" if end is None else str(start)
        for (start, _, _), end in zip(rows, [*ends, None], strict=True)
    ]
    lines = [f"| {span} | `{name}` | `{klass}` |" for span, (_, name, klass) in zip(spans, rows, strict=True)]
    for label, written_off in (("not given", False), ("written off", True)):
        lines.append(
            f"| {label} | `{bucket(None, written_off=written_off)}` | `{tier(None, written_off=written_off)}` |"
        )
    return "\n".join(["| days past due | bucket | classification |", "|---|---|---|", *lines])


def dpv_table() -> str:
    rows = [f"| `{code}` | `{term}` |" for code, term in consent_receipt.DPV_PURPOSES.items()]
    return "\n".join(["| purpose | dpv |", "|---|---|", *rows])


@pytest.mark.parametrize(("name", "expected"), [("codes", codes_table()), ("grid", grid_table()), ("dpv", dpv_table())])
def test_tables_are_the_codes(name: str, expected: str) -> None:
    assert block(name) == expected


@pytest.mark.parametrize("name", re.findall(r"<!-- list: (\w+) -->", TEXT))
def test_vocabularies_are_the_published_ones(name: str) -> None:
    assert re.findall(r"`(\w+)`", block(f"list: {name}")) == CODE_LISTS[name]


def test_the_claims_of_a_request() -> None:
    named = first_column(section(4))
    assert named == {field.name for field in dataclasses.fields(requests.RequestClaims)}
    assert f"`typ` = `{requests.TYP}`" in section(4)
    for number in (requests.MAX_TOKEN, requests.MAX_PAYLOAD, requests.MAX_LIFETIME, requests.SKEW):
        assert str(number) in section(4)


def test_the_claims_of_an_answer_a_proof_and_a_receipt() -> None:
    assert first_column(section(6)) == {field.name for field in dataclasses.fields(answers.AnswerClaims)}
    assert f"`typ` = `{answers.TYP}`" in section(6)
    assert f"`{registration.TYP}`" in section(3)
    assert f"`typ` = `{consent_receipt.TYP}`" in section(9)
    proof = json.loads(VECTORS["03-enrolment"]["request"]["proof"]["payload"])
    assert first_column(section(3)) == {*proof, "typ"}
    receipt = json.loads(VECTORS["08-consent"]["receipt"]["payload"])
    assert first_column(section(9).partition("<!-- dpv")[0]) == set(receipt)


def test_the_members_of_log_and_of_the_evidence_package() -> None:
    assert first_column(section(13)) == {field.name for field in dataclasses.fields(LogEntry)}
    assert first_column(section(15)) == set(VECTORS["14-evidence"])


def action_rows() -> dict[str, tuple[set[str], set[str]]]:
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|$", block("actions"), re.MULTILINE)
    return {name: (set(re.findall(r"`(\w+)`", a)), set(re.findall(r"`(\w+)`", b))) for name, a, b in rows}


def test_the_actions_and_what_they_say() -> None:
    assert action_rows().keys() == {*EXCHANGES, *OWN_ACTS, "run_query" + AGAIN}
    groups: dict[str, Any]
    for name in ("03-enrolment", "05-evaluate", "08-consent", "09-record", "10-query", "11-query-again"):
        groups = VECTORS[name]["event"]["commitments"]
        meta = json.loads(groups["meta"]["payload"])
        references = json.loads(groups["subj"]["payload"]) if "subj" in groups else {}
        assert action_rows()[meta["action"]] == (set(meta["details"]), set(references) - {"subject"})


def test_the_payloads_of_a_leaf() -> None:
    groups = VECTORS["10-query"]["event"]["commitments"]
    rows = dict(re.findall(r"^\| `(meta|subj|body)` \| ([^|]*) \|", section(12), re.MULTILINE))
    for group in ("meta", "body"):
        assert set(json.loads(groups[group]["payload"])) <= set(re.findall(r"`(\w+)`", rows[group])), group


@pytest.mark.parametrize(("where", "shown"), re.findall(r"<!-- vector: (.*?) -->\n```\w*\n(.*?)```", TEXT, re.DOTALL))
def test_examples_are_those_of_the_vectors(where: str, shown: str) -> None:
    file, path = where.split(" ")
    value: Any = VECTORS[file]
    for step in path.split("."):
        value = value[step]
    if value.startswith("{"):
        value = json.dumps(json.loads(value), indent=2) + "\n"
    assert shown == value


def test_every_vector_is_explained_and_every_link_leads_somewhere() -> None:
    assert set(re.findall(r"`(\d\d-[\w-]+)`", TEXT.partition("## 1.")[0])) == set(VECTORS)
    headings = {
        re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert target[1:] in headings if target.startswith("#") else (DOCS / target).exists(), target
