"""The first operators, made on the service's own machine."""

import asyncio
from pathlib import Path

import typer

from creditshare.audit.service import Audit, Entry
from creditshare.cli.options import AsJson, DataFolder, show, write_private
from creditshare.cli.service import prepared, settings_of
from creditshare.client.core import Identity
from creditshare.clock import SystemClock
from creditshare.composition import database_url, keyring_file, public_address
from creditshare.crypto.jws import SigningKey
from creditshare.ids import spell
from creditshare.members.service import bootstrap_operators
from creditshare.settings import Settings
from creditshare.storage.engine import Database

operator = typer.Typer(no_args_is_help=True, help="The operator's own people.")


@operator.command("bootstrap")
def bootstrap(data: DataFolder = Path("creditshare-data"), as_json: AsJson = False) -> None:
    """Make the first two operators, once. Give one key file to each of two different people."""
    settings = settings_of(data)
    keys = [SigningKey.generate(), SigningKey.generate()]
    with prepared(settings):
        made = asyncio.run(first_operators(settings, keys))
    operators = []
    for number, (key, member_id) in enumerate(zip(keys, made, strict=True), start=1):
        file = data / f"operator-{number}.jwk.json"
        write_private(file, Identity(member_id, key).stored(), replace=True)
        operators.append({"member_id": member_id, "key_file": str(file), "kid": key.kid})
    issuer = public_address(settings)
    lines = "\n".join(f"operator {o['member_id']}: key {o['key_file']}" for o in operators)
    show({"operators": operators, "issuer": issuer}, as_json=as_json, line=lines)


async def first_operators(settings: Settings, keys: list[SigningKey]) -> list[str]:
    """Make an operator of each key, in a database that has none; return their ids."""
    database = Database(database_url(settings, "app"), role="creditshare_app", pool_size=1)
    keyring = keyring_file(settings).load()
    audit = Audit(opening_box=keyring.box("log_opening"), merge_delay_s=settings.merge_delay_s)
    try:
        async with database.writing() as session:
            now = SystemClock().now()
            made = await bootstrap_operators(
                session,
                [key.verifying_key for key in keys],
                seals=keyring.row_seals(),
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
