"""Reports for regulators, operators, and lenders about themselves: list, read, keep as files, check."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from creditshare.cli.options import (
    AsJson,
    KeyFile,
    ServiceUrl,
    client,
    out,
    parse_json,
    printable,
    read_bytes,
    read_text,
    show,
)
from creditshare.client.bank import Client
from creditshare.client.core import parse_jwks
from creditshare.errors import ConfigurationError, VerificationFailed
from creditshare.reports.catalogue import KINDS
from creditshare.reports.files import CSV, PDF, XLSX, make_csv
from creditshare.reports.pack import SUMS, files_of, pack_files
from creditshare.wire.instants import spell_instant
from creditshare.wire.reports import verify_report

FORMATS: Final = {"json": "application/json", "csv": CSV, "xlsx": XLSX, "pdf": PDF}
MOST_SHOWN: Final = 40
WITHHELD: Final = "·"

First = Annotated[str | None, typer.Option("--from", help="First month, YYYY-MM; default all.", show_default=False)]
Last = Annotated[str | None, typer.Option("--to", help="Last month, YYYY-MM; default all.", show_default=False)]
Language = Annotated[str, typer.Option("--lang", help="en or zh.")]

report = typer.Typer(no_args_is_help=True, help="Reports over sealed records: counts and sums, never a record.")


@report.command("list")
def list_reports(
    key_file: KeyFile = None, url: ServiceUrl = None, lang: Language = "en", as_json: AsJson = False
) -> None:
    """List the reports that you may read, their views, and the periods of which something was told."""
    with client(url, key_file) as service:
        listed = service.call("GET", "/v1/reports", language=_language(lang)).data
    if as_json:
        typer.echo(json.dumps(listed))
        return
    for one in listed["data"]:
        told = f"{one['first']} – {one['last']}" if one["first"] else "nothing told yet"
        out.print(f"[bold]{one['report']}[/]  {one['title']} · {told}", highlight=False)
        for view in one["views"]:
            out.print(f"    --by {view['by']}", highlight=False)
    release = listed["release"]
    line = "nothing was told yet" if release is None else f"release {release['number']} of {release['made_at']}"
    if release is not None and release["log"]["unreadable"]:
        line += f"; {release['log']['unreadable']:,} entries of the log could not be opened and are in no number"
    waiting = "" if listed["waiting"] is None else f"; {listed['waiting']:,} events wait to be counted"
    out.print(f"{line}{waiting}", highlight=False)


@report.command("run")
def run(
    name: Annotated[str, typer.Argument(help="A report, as `report list` names it.")],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    first: First = None,
    last: Last = None,
    by: Annotated[str | None, typer.Option(help="A view of `report list`; its first one by default.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Only rows with a value: region=US-CA. May be repeated.")
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="table, json, csv, xlsx or pdf.")] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; needed for xlsx and pdf.", dir_okay=False)
    ] = None,
    lang: Language = "en",
) -> None:
    """Read a report. Withheld numbers are shown as · with a status: u for what they are, x to protect others."""
    media_type = FORMATS.get("json" if file_format == "table" else file_format)
    if media_type is None:
        raise ConfigurationError(f"--format is one of table, {', '.join(FORMATS)}")
    if output is None and file_format in {"xlsx", "pdf"}:
        raise ConfigurationError(f"say where to write the {file_format}: --output FILE")
    query = _query(first, last, by, where or [])
    with client(url, key_file) as service:
        answer = service.call(
            "GET", _path(name), query=query, accept=f"{media_type}, application/json;q=0.1", language=_language(lang)
        )
    if output is not None:
        output.write_bytes(answer.body)
        out.print(f"{output}: {len(answer.body):,} bytes", highlight=False, soft_wrap=True)
    elif file_format == "table":
        _print(answer.data)
    else:
        typer.echo(answer.body, nl=False)


@report.command("pack")
def pack(
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must not exist yet.", file_okay=False)],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    first: First = None,
    last: Last = None,
    lang: Language = "en",
    as_json: AsJson = False,
) -> None:
    """Make one folder of all reports: PDF, workbook, signed JSON, CSV, what each column means, checksums.

    Files are drawn on this machine from documents whose signatures were checked; it needs creditshare[reports].
    """
    if folder.exists():
        raise ConfigurationError(f"{folder} exists already; name another folder")
    language = _language(lang)
    with (
        client(url, key_file) as service,
        Progress(
            TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), console=out, disable=as_json
        ) as progress,
    ):
        names = [one["report"] for one in service.call("GET", "/v1/reports", language=language).data["data"]]
        task = progress.add_task("reading", total=len(names) + files_of(len(names)))
        reports = []
        for name in names:
            progress.update(task, description=name)
            reports.append(_checked(service, name, first, last, language))
            progress.advance(task)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # What is half done when something fails goes with it.
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as aside:
            draft = Path(aside) / folder.name
            draft.mkdir()
            for file, content in pack_files(reports, language):
                progress.update(task, description=file)
                (draft / file).write_bytes(content)
                progress.advance(task)
            draft.rename(folder)
    show({"folder": str(folder), "reports": names}, as_json=as_json, line=f"{folder}: {len(names)} reports")


@report.command("verify")
def verify(
    place: Annotated[Path, typer.Argument(help="A report's JSON, or the folder of a pack.", exists=True)],
    keys: Annotated[Path, typer.Option(help="The service's public keys: its /.well-known/jwks.json.", exists=True)],
    issuer: Annotated[str, typer.Option(help="The service's address, as its answers name it.")],
    as_json: AsJson = False,
) -> None:
    """Check offline that reports say what the service signed, and that a pack's tables say the same.

    PDF and workbook are drawn from them and not signed: compare what matters with the JSON or the CSV.
    """
    known = parse_jwks(parse_json(read_text(keys), of=str(keys)))
    files = [place] if place.is_file() else sorted(place.glob("*.json"))
    if place.is_dir():
        _check_sums(place)
    signed = {}
    for file in files:
        document = parse_json(read_text(file), of=str(file))
        at = verify_report(document, known, issuer=issuer)
        table = file.with_suffix(".csv")
        if place.is_dir() and make_csv([document], "en") != read_bytes(table):
            raise VerificationFailed(f"{table.name} does not say what {file.name} says")
        signed[file.name] = spell_instant(datetime.fromtimestamp(at, UTC))
    if not signed:
        raise VerificationFailed(f"there is no report in {place}")
    lines = "\n".join(f"{name}: signed {at}" for name, at in signed.items())
    show({"verified": signed}, as_json=as_json, line=f"{lines}\nwhat these reports say was signed by the service")


def _check_sums(folder: Path) -> None:
    lines = (line.partition("  ") for line in read_text(folder / SUMS).splitlines())
    listed = {name: digest for digest, _, name in lines}
    there = {file.name for file in folder.iterdir()} - {SUMS}
    if listed.keys() != there:
        raise VerificationFailed(f"{SUMS} lists other files than there are: {sorted(listed.keys() ^ there)}")
    for name, digest in listed.items():
        if hashlib.sha256(read_bytes(folder / name)).hexdigest() != digest:
            raise VerificationFailed(f"{name} is not the file of {SUMS}")


def _checked(service: Client, name: str, first: str | None, last: str | None, language: str) -> dict[str, Any]:
    """Return a report that says what the service signed, and that is the one that was asked for."""
    query = _query(first, last, None, [])
    document: dict[str, Any] = service.call("GET", _path(name), query=query, language=language).data
    verify_report(document, service.session.service.keys, issuer=service.session.service.issuer)
    if name not in KINDS or document["report"] != name:
        raise VerificationFailed(f"the report {name} was asked for, and another came")
    if document["period"] != {"from": first, "to": last}:
        raise VerificationFailed(f"the report {name} is of another period than was asked for")
    return document


def _path(name: str) -> str:
    return f"/v1/reports/{quote(name, safe='')}"


def _query(first: str | None, last: str | None, by: str | None, where: list[str]) -> str:
    chosen = {"from": first, "to": last, "by": by}
    for one in where:
        name, separator, value = one.partition("=")
        if not separator:
            raise ConfigurationError(f"--where {one}: a name and a value, such as region=US-CA")
        chosen[name] = value
    return urlencode({name: value for name, value in chosen.items() if value is not None}, safe=",")


def _language(lang: str) -> str:
    if lang not in {"en", "zh"}:
        raise ConfigurationError("--lang is en or zh")
    return lang


def _print(document: dict[str, Any]) -> None:
    table = Table(title=document["title"], caption=f"{document['by']} · {document['digest']}", title_justify="left")
    for column in document["columns"]:
        table.add_column(column["title"], justify="left" if column["kind"] == "dimension" else "right")
    lenders = document.get("lenders", {})
    with_status = bool(document["rows"]) and "status" in document["rows"][0]
    if with_status:
        table.add_column("")
    for row in document["rows"][-MOST_SHOWN:]:
        cells = [_cell(row[column["name"]], lenders) for column in document["columns"]]
        table.add_row(*cells, *([row["status"].replace("s", "")] if with_status else []))
    out.print(table)
    left = len(document["rows"]) - MOST_SHOWN
    if left > 0:
        out.print(f"{left:,} earlier rows: --from, --to, --where, or --format csv", highlight=False)
    out.print(printable(document["method"]), markup=False, highlight=False)


def _cell(value: object, lenders: dict[str, str]) -> str:
    if value is None:
        return WITHHELD
    if isinstance(value, int):
        return f"{value:,}"
    return escape(printable(lenders.get(str(value), str(value))))
