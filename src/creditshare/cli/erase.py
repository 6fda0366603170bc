"""Erasures: an operator asks, another approves, the eraser carries it out. What is erased cannot be brought back."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from creditshare.approvals.repository import ProposalRows
from creditshare.approvals.rules import Proposal
from creditshare.cli.members import reject
from creditshare.cli.options import AsJson, DataFolder, KeyFile, ServiceUrl, client, printable, show
from creditshare.cli.service import prepared, settings_of
from creditshare.composition import build_services, database_url, keyring_file
from creditshare.erasures.carrying import Carrying, Left
from creditshare.erasures.rules import terms_of
from creditshare.errors import ConfigurationError
from creditshare.ids import spell
from creditshare.keys.tombstones import Tombstones
from creditshare.records.erasure import Erasure
from creditshare.settings import Settings
from creditshare.sharing.service import empty_answers
from creditshare.storage.engine import Database

ErasureId = Annotated[str, typer.Argument(help="The erasure's id, prp_…, as `erase list` shows it.")]

Sure = Annotated[bool, typer.Option("--yes", help="Do it; without this only what would happen is said.")]
TERMS = ("named", "whole_borrower", "legal_basis", "reason")
WHY_LEFT: Final[Mapping[Left, str]] = {
    "gone": "what it names is gone, not by this order",
    "may_not_order": "one of the two who ordered it is no active operator any more",
}

erase = typer.Typer(
    no_args_is_help=True,
    help="Make a record or a borrower unreadable for ever: one operator asks, another approves, then it is carried out"
    " on the service's own machine.",
)


@erase.command("request")
def request(
    named: Annotated[str, typer.Argument(help="A record (rec_…); with --whole-borrower also a consent (cns_…).")],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    legal_basis: Annotated[str, typer.Option(help="A code of erasure_bases in /v1/code-lists.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept when all else is gone, so name no borrower.")],
    whole_borrower: Annotated[
        bool, typer.Option("--whole-borrower", help="Everything about its borrower, not the one record.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for an erasure. Nothing is erased before another operator approved it."""
    body = {"named": named, "whole_borrower": whole_borrower, "legal_basis": legal_basis, "reason": reason}
    with client(url, key_file) as service:
        made = service.call("POST", "/v1/erasures", data=body).data
    line = f"{made['erasure_id']} asked for; another operator must approve it until {made['expires_at']}"
    show(made, as_json=as_json, line=line)


@erase.command("list")
def list_erasures(key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """List erasures, newest first, whatever became of them."""
    with client(url, key_file) as service:
        found = service.pages("/v1/erasures")
    lines = [f"{one['erasure_id']}  {one['status']:11}  {_what(one)}  {one['legal_basis']}" for one in found]
    show({"data": found}, as_json=as_json, line="\n".join(lines) or "no erasures")


@erase.command("approve")
def approve(
    erasure_id: ErasureId,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Approve what another operator asked for: what it says is shown, asked about, and signed with your approval."""
    with client(url, key_file) as service:
        asked = service.call("GET", f"/v1/erasures/{erasure_id}").data
        typer.echo(printable("\n".join(f"{name:14} {asked[name]}" for name in (*TERMS, "requested_by"))), err=True)
        if not yes and not sys.stdin.isatty():
            raise ConfigurationError("to approve this, repeat with --yes")
        if not yes:
            typer.confirm("approve it?", abort=True, err=True)
        body = {name: asked[name] for name in TERMS}
        done = service.call("POST", f"/v1/erasures/{erasure_id}/approvals", data=body).data
    line = f"{erasure_id} is {done['status']}; `creditshare erase carry-out` on the service's machine erases it"
    show(done, as_json=as_json, line=line)


erase.command("reject")(reject)


@erase.command("carry-out")
def carry_out(data: DataFolder = Path("creditshare-data"), yes: Sure = False, as_json: AsJson = False) -> None:
    """Erase all that two operators ordered and that is not erased yet. May be interrupted and run again.

    Status 1 where an order is left, because one of its operators may not order any more or because what it names is
    gone by something else. `erase reject` ends such an order.
    """
    settings = settings_of(data)
    if not settings.keyring_path.exists():
        raise ConfigurationError(f"there is no service in {data}: {settings.keyring_path} is missing")
    with prepared(settings):
        orders, left = asyncio.run(_run(settings, yes=yes))
    lines = [f"{one['erasure_id']}  {_what(one)}" for one in orders]
    if orders and not yes:
        typer.echo("\n".join([*lines, "these are erased for ever; repeat with --yes"]), err=True)
        raise typer.Exit(1)
    told = "\n".join(["erased:", *lines]) if lines else "nothing is ordered" if not left else "nothing was erased"
    show({"erased": orders, "left": left}, as_json=as_json, line=told)
    for one in left:
        typer.echo(f"left: {one['erasure_id']}  {_what(one)}: {WHY_LEFT[one['why']]}", err=True)
    if left:
        raise typer.Exit(1)


def _what(one: dict[str, Any]) -> str:
    return f"{'the whole borrower of ' if one['whole_borrower'] else ''}{one['named']}"


async def _run(settings: Settings, *, yes: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    services = await build_services(settings)
    database = Database(database_url(settings, "eraser"), role="creditshare_eraser", pool_size=1)

    async def oversees(member_id: UUID) -> bool:
        async with services.database.reading() as session:
            return await services.members.role_of(session, member_id) == "operator"

    carrying = Carrying(
        database=database,
        rows=ProposalRows(keyring_file(settings).load().row_seals()),
        erasure=Erasure(subjects=services.subjects, audit=services.audit, empty_answers=empty_answers),
        tombstones=Tombstones(settings.tombstones_path),
        oversees=oversees,
        clock=services.clock.now,
    )
    try:
        if not yes:
            return [_said(order) for order in await carrying.ordered()], []
        done = [one async for one in carrying.carry_out()]
    finally:
        await database.close()
        await services.database.close()
    left = [{**_said(one.order), "why": one.left} for one in done if one.left is not None]
    return [_said(one.order) for one in done if one.left is None], left


def _said(order: Proposal) -> dict[str, Any]:
    terms = terms_of(order)
    return {"erasure_id": spell("prp", order.proposal_id)} | {name: getattr(terms, name) for name in TERMS}
