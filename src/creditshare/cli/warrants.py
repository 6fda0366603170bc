"""Warrants: a regulator asks and reads, two operators approve, one ends it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from creditshare.cli.options import AsJson, KeyFile, ServiceUrl, client, printable, show
from creditshare.client.bank import Client
from creditshare.wire.instants import spell_instant

WarrantId = Annotated[str, typer.Argument(help="The warrant's id, wrt_…, as `warrant list` shows it.")]
TERMS = ("regulator_id", "named", "legal_basis", "reference", "reason", "scopes", "ends_at")

warrant = typer.Typer(no_args_is_help=True, help="Reading about one borrower, for a regulator, by two operators' word.")


@warrant.command("request")
def request(
    named: Annotated[str, typer.Argument(help="A record, question or consent of the borrower: rec_…, qry_… or cns_….")],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    legal_basis: Annotated[str, typer.Option(help="A code of warrant_bases in /v1/code-lists.")],
    reference: Annotated[str, typer.Option(help="The number of the order or file; it names no borrower.")],
    reason: Annotated[str, typer.Option(help="Why; it names no borrower.")],
    scope: Annotated[list[str] | None, typer.Option(help="records, inquiries; default both.")] = None,
    days: Annotated[float, typer.Option(help="How long from now.")] = 14,
    until: Annotated[str | None, typer.Option(help="Until which instant (RFC 3339), instead of --days.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask to read about one borrower. Nothing can be read before two operators approved it."""
    ends_at = until or spell_instant(datetime.now(UTC) + timedelta(days=days))
    body = {
        "named": named,
        "legal_basis": legal_basis,
        "reference": reference,
        "reason": reason,
        "scopes": scope or ["records", "inquiries"],
        "ends_at": ends_at,
    }
    with client(url, key_file) as service:
        made = service.call("POST", "/v1/warrants", data=body).data
    line = f"{made['warrant_id']} asked for until {made['ends_at']}; two operators must approve it"
    show(made, as_json=as_json, line=line)


@warrant.command("list")
def list_warrants(key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """List warrants, newest first: a regulator its own, an operator all."""
    with client(url, key_file) as service:
        found = service.pages("/v1/warrants")
    lines = [
        f"{one['warrant_id']}  {one['status']:9}  of {one['regulator_id']}  until {one['ends_at']}" for one in found
    ]
    show({"data": found}, as_json=as_json, line="\n".join(lines) or "no warrants")


@warrant.command("show")
def show_warrant(
    warrant_id: WarrantId, key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False
) -> None:
    """Show what a warrant says, and who approved it."""
    with client(url, key_file) as service:
        found = service.call("GET", f"/v1/warrants/{warrant_id}").data
    show(found, as_json=as_json, line=_said(found))


@warrant.command("approve")
def approve(
    warrant_id: WarrantId,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    reference: Annotated[str, typer.Option(help="The number of the order or file that you saw yourself.")],
    as_json: AsJson = False,
) -> None:
    """Approve a request whose order you saw: what it says is shown, and signed with your approval."""
    with client(url, key_file) as service:
        asked = service.call("GET", f"/v1/warrants/{warrant_id}").data
        typer.echo(_said(asked), err=True)
        body = {name: asked[name] for name in TERMS} | {"reference": reference}
        done = service.call("POST", f"/v1/warrants/{warrant_id}/approvals", data=body).data
    line = f"{warrant_id} is {done['status']}; approved by {len(done['approved_by'])} of 2"
    show(done, as_json=as_json, line=line)


@warrant.command("revoke")
def revoke(
    warrant_id: WarrantId,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    reason: Annotated[str, typer.Option(help="Why; the log keeps it for ever, so name no borrower.")],
    as_json: AsJson = False,
) -> None:
    """End a warrant, or a request for one, at once."""
    with client(url, key_file) as service:
        done = service.call("POST", f"/v1/warrants/{warrant_id}/revocation", data={"reason": reason}).data
    show(done, as_json=as_json, line=f"{warrant_id} is {done['status']}")


@warrant.command("read")
def read(
    warrant_id: WarrantId,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    inquiries: Annotated[bool, typer.Option("--inquiries", help="Who asked, instead of the records.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read the borrower's records, or who asked about it. Each reading is recorded."""
    with client(url, key_file) as service:
        found = _read(service, warrant_id, "inquiries" if inquiries else "records")
    lines = [_asked(one) for one in found["inquiries"]] if inquiries else [_told(one) for one in found["records"]]
    lines += [f"withheld: {one['what']} ({one['why']})" for one in found["withheld"]]
    show(found, as_json=as_json, line=printable("\n".join(lines)) or "nothing")


def _read(service: Client, warrant_id: str, what: str) -> dict[str, Any]:
    found: dict[str, Any] = service.call("GET", f"/v1/warrants/{warrant_id}/{what}").data
    return found


def _said(found: dict[str, Any]) -> str:
    return printable("\n".join(f"{name:13} {_text(found[name])}" for name in ("status", *TERMS, "approved_by")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _told(one: dict[str, Any]) -> str:
    amounts = "  ".join(f"{name} {value}" for name, value in one["amounts"].items())
    return f"{one['record_id']}  {one['lender']['name']}  {one['status']}  since {one['default_on']}  {amounts}"


def _asked(one: dict[str, Any]) -> str:
    return f"{one['asked_at']}  {one['lender']['name']}  {one['purpose'] or 'purpose not kept'}"
