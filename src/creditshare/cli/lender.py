"""A lender's everyday commands. Identifiers are blinded here and never leave this machine."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from creditshare.cli.options import AsJson, KeyFile, ServiceUrl, client, out, show

consent = typer.Typer(no_args_is_help=True, help="Consents of borrowers.")
record = typer.Typer(no_args_is_help=True, help="Default records.")
query = typer.Typer(no_args_is_help=True, help="Questions about borrowers.")

Uscc = Annotated[str, typer.Option(help="Unified social credit code; - reads it from standard input.")]


def _identifier(text: str) -> str:
    return typer.get_text_stream("stdin").readline().strip() if text == "-" else text


@consent.command("grant")
def grant(
    key_file: KeyFile,
    url: ServiceUrl,
    uscc: Uscc,
    document: Annotated[Path, typer.Option(help="The signed consent; only a salted digest is sent.")],
    kind: Annotated[str, typer.Option(help="query or provide.")] = "query",
    purpose: Annotated[list[str] | None, typer.Option(help="Purposes; default pre_loan.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Scopes; default defaults.")] = None,
    days: Annotated[int, typer.Option(help="Valid for so many days.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Register a consent that the borrower signed."""
    with client(url, key_file) as service:
        (subject,) = service.tokenise([_identifier(uscc)])
        done = service.grant_consent(
            subject,
            kind=kind,
            purposes=purpose or ["pre_loan"],
            scopes=scope or ["defaults"],
            document=document.read_bytes(),
            valid_days=days,
        ).data
    show(done, as_json=as_json, line=f"{done['consent_id']} is {done['status']}")


@consent.command("revoke")
def revoke(consent_id: str, key_file: KeyFile, url: ServiceUrl, as_json: AsJson = False) -> None:
    """Revoke a consent; the very next question is refused."""
    with client(url, key_file) as service:
        done = service.call("POST", f"/v1/consents/{consent_id}/revocation", data={}).data
    show(done, as_json=as_json, line=f"{consent_id} is {done['status']}")


@consent.command("show")
def show_consent(consent_id: str, key_file: KeyFile, url: ServiceUrl, as_json: AsJson = False) -> None:
    """Show a consent."""
    with client(url, key_file) as service:
        done = service.call("GET", f"/v1/consents/{consent_id}").data
    show(done, as_json=as_json, line=json.dumps(done, indent=2))


@record.command("submit")
def submit(
    key_file: KeyFile,
    url: ServiceUrl,
    uscc: Uscc,
    file: Annotated[Path, typer.Option(help="The record as JSON, without its subject.")],
    as_json: AsJson = False,
) -> None:
    """Report a default."""
    body: dict[str, Any] = json.loads(file.read_text())
    with client(url, key_file) as service:
        (subject,) = service.tokenise([_identifier(uscc)])
        done = service.call("POST", "/v1/records", data={**body, "subject": subject}).data
    show(done, as_json=as_json, line=f"{done['record_id']} is {done['status']}, visible from {done['visible_from']}")


@record.command("withdraw")
def withdraw(
    record_id: str,
    key_file: KeyFile,
    url: ServiceUrl,
    reason: Annotated[str, typer.Option(help="A code of withdrawal_reasons.")] = "reported_in_error",
    as_json: AsJson = False,
) -> None:
    """Take a record back."""
    with client(url, key_file) as service:
        done = service.call("POST", f"/v1/records/{record_id}/withdrawal", data={"reason": reason}).data
    show(done, as_json=as_json, line=f"{record_id} is {done['status']}")


@query.command("run")
def run(
    key_file: KeyFile,
    url: ServiceUrl,
    uscc: Uscc,
    consent_id: Annotated[str, typer.Option("--consent", help="The consent that covers it.")],
    purpose: Annotated[str, typer.Option(help="A purpose of the consent.")] = "pre_loan",
    scope: Annotated[list[str] | None, typer.Option(help="Scopes; default defaults.")] = None,
    evidence: Annotated[Path | None, typer.Option(help="Keep the exchange as evidence here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask what other lenders reported about a borrower."""
    with client(url, key_file) as service:
        (subject,) = service.tokenise([_identifier(uscc)])
        answer = service.query(subject, purpose=purpose, consent_id=consent_id, scopes=scope or ["defaults"])
        if evidence is not None:
            service.evidence(answer).save(evidence)
    show(answer.data, as_json=as_json, line=json.dumps(answer.data, indent=2))


def call(
    method: str,
    path: str,
    key_file: KeyFile,
    url: ServiceUrl,
    data: Annotated[str | None, typer.Option("--body", help="JSON body, or @file.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show each thing that was signed and checked.")] = False,
) -> None:
    """Sign and send any request, and check the answer."""
    path, _, query_string = path.partition("?")
    text = Path(data[1:]).read_text() if data and data.startswith("@") else data
    with client(url, key_file) as service:
        request = service.sign(method.upper(), path, query=query_string, data=json.loads(text) if text else None)
        answer = service.send(request)
    if explain:
        out.print(f"signed  {request.method} {request.path} as {service.issuer} will see it", markup=False)
        out.print(f"token   {request.token}", markup=False)
        signed = "signature, digest and log entry hold" if answer.claims else "unsigned: refused before authentication"
        out.print(f"answer  {answer.status}, {signed}", markup=False)
    typer.echo(answer.body.decode())
    if answer.status >= 400:  # noqa: PLR2004
        raise typer.Exit(1)
