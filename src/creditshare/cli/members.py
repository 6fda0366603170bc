"""Membership, for operators."""

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from creditshare.app import database_url, embedded_postgres, keyring_file, public_address
from creditshare.audit.service import Audit, Entry
from creditshare.cli.options import AsJson, DataFolder, KeyFile, ServiceUrl, client, show, write_private
from creditshare.cli.service import prepare
from creditshare.crypto.jws import SigningKey
from creditshare.ids import spell
from creditshare.members.service import bootstrap_operators
from creditshare.settings import Settings
from creditshare.storage.engine import Database

MemberId = Annotated[str, typer.Argument(help="The institution's id, mem_…, as `member list` shows it.")]

operator = typer.Typer(no_args_is_help=True, help="The operator's own people.")
member = typer.Typer(no_args_is_help=True, help="Institutions: propose, approve, suspend, list.")


@operator.command("bootstrap")
def bootstrap(data: DataFolder = Path("creditshare-data"), as_json: AsJson = False) -> None:
    """Make the first two operators, once. Give one key file to each of two different people."""
    os.environ["CREDITSHARE_DATA"] = str(data)
    settings = Settings()
    started = prepare(settings)
    try:
        keys = [SigningKey.generate(), SigningKey.generate()]
        made = asyncio.run(_bootstrap(settings, keys))
    finally:
        if started:
            embedded_postgres(settings).stop()
    operators = []
    for number, (key, member_id) in enumerate(zip(keys, made, strict=True), start=1):
        file = data / f"operator-{number}.jwk.json"
        write_private(file, {**key.private_jwk(), "creditshare_member_id": member_id}, replace=True)
        operators.append({"member_id": member_id, "key_file": str(file), "kid": key.kid})
    issuer = public_address(settings)
    lines = "\n".join(f"operator {o['member_id']}: key {o['key_file']}" for o in operators)
    show({"operators": operators, "issuer": issuer}, as_json=as_json, line=lines)


async def _bootstrap(settings: Settings, keys: list[SigningKey]) -> list[str]:
    database = Database(database_url(settings, "app"), role="creditshare_app", pool_size=1)
    audit = Audit(opening_box=keyring_file(settings).load().box("log_opening"), merge_delay_s=settings.merge_delay_s)
    try:
        async with database.writing() as session:
            now = datetime.now(UTC)
            made = await bootstrap_operators(
                session,
                [key.verifying_key for key in keys],
                production=settings.mode == "production",
                evaluations_per_day=settings.evaluations_per_day,
                now=now,
            )
            members = [spell("mem", member_id) for member_id in made]
            entry = Entry("bootstrap_operators", references={f"member_{i}": m for i, m in enumerate(members, start=1)})
            await audit.record_own_act(session, entry, sub="operator bootstrap", now=now)
            await session.commit()
            return members
    finally:
        await database.close()


@member.command("add")
def add(
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    name: Annotated[str, typer.Option(help="The institution's name.")],
    role: Annotated[str, typer.Option(help="lender, regulator or operator.")],
    region: Annotated[str, typer.Option(help="ISO 3166-2 code, such as US-CA or CN.")],
    jurisdiction: Annotated[list[str] | None, typer.Option(help="Countries it may report in; default its own.")] = None,
    key_thumbprint: Annotated[str | None, typer.Option(help="The kid that alone may enrol.")] = None,
    as_json: AsJson = False,
) -> None:
    """Propose an institution. A second operator must approve it."""
    body: dict[str, Any] = {"name": name, "role": role, "region": region}
    if jurisdiction:
        body["jurisdictions"] = jurisdiction
    if key_thumbprint:
        body["key_thumbprint"] = key_thumbprint
    with client(url, key_file) as service:
        added = service.call("POST", "/v1/members", data=body).data
    show(added, as_json=as_json, line=f"{added['member_id']} proposed; another operator must approve it")


@member.command("approve")
def approve(
    member_id: MemberId,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    action: Annotated[str, typer.Option(help="admission, quotas, lift_suspension or recovery.")] = "admission",
    as_json: AsJson = False,
) -> None:
    """Approve what another operator proposed."""
    with client(url, key_file) as service:
        done = service.call("POST", f"/v1/members/{member_id}/approvals", data={"action": action}).data
    code = done.get("enrolment_code")
    line = f"{member_id} is {done['status']}" + (f"; enrolment code (72 h, once): {code}" if code else "")
    show(done, as_json=as_json, line=line)


@member.command("quotas")
def quotas(
    member_id: MemberId,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    evaluations_per_day: Annotated[int, typer.Option(help="Blind evaluations a day.")],
    as_json: AsJson = False,
) -> None:
    """Propose another budget; another operator approves it with `member approve --action quotas`."""
    body = {"evaluations_per_day": evaluations_per_day}
    with client(url, key_file) as service:
        done = service.call("POST", f"/v1/members/{member_id}/quotas", data=body).data
    show(done, as_json=as_json, line="proposed; another operator must approve it")


@member.command("suspend")
def suspend(
    member_id: MemberId,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the log.")],
    as_json: AsJson = False,
) -> None:
    """Suspend a member at once."""
    with client(url, key_file) as service:
        done = service.call("POST", f"/v1/members/{member_id}/suspension", data={"reason": reason}).data
    show(done, as_json=as_json, line=f"{member_id} is {done['status']}")


@member.command("propose")
def propose(
    member_id: MemberId,
    action: Annotated[
        str, typer.Argument(help="lift_suspension, or recovery (a new enrolment code after a lost key).")
    ],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    as_json: AsJson = False,
) -> None:
    """Propose what takes two people; another operator approves it with `member approve --action ACTION`."""
    with client(url, key_file) as service:
        done = service.call("POST", f"/v1/members/{member_id}/proposals", data={"action": action}).data
    show(done, as_json=as_json, line=f"{action} of {member_id} proposed until {done['expires_at']}")


@member.command("show")
def show_member(member_id: MemberId, key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """Show an institution, for operators."""
    with client(url, key_file) as service:
        found = service.call("GET", f"/v1/members/{member_id}").data
    show(found, as_json=as_json, line=json.dumps(found, indent=2, ensure_ascii=False))


@member.command("list")
def list_members(key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """List institutions."""
    with client(url, key_file) as service:
        page = service.call("GET", "/v1/members", query="limit=500").data
    lines = "\n".join(f"{m['member_id']}  {m['role']:9}  {m['status']:9}  {m['name']}" for m in page["data"])
    show(page, as_json=as_json, line=lines)
