"""Keys of a member, made and kept by the member; keys of the service, by its operator."""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from creditshare.app import build_services, embedded_postgres, keyring_file
from creditshare.audit.service import Entry
from creditshare.cli.options import AsJson, DataFolder, ServiceUrl, show, write_private
from creditshare.cli.service import prepare
from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.crypto.jws import SigningKey
from creditshare.keys.keyring import key_id
from creditshare.settings import Settings

REWRAP_BATCH: Final = 500

keys = typer.Typer(no_args_is_help=True, help="Make, enrol and look after keys.")


@keys.command("new")
def new(
    file: Annotated[Path, typer.Option("--out", help="Where to write the private key (mode 0600).")],
    as_json: AsJson = False,
) -> None:
    """Make a P-256 key. The file never leaves you; its kid is what the operator may be told."""
    key = SigningKey.generate()
    write_private(file, key.private_jwk())
    show({"kid": key.kid, "file": str(file)}, as_json=as_json, line=f"key {key.kid} in {file}")


@keys.command("enrol")
def enrol(
    file: Annotated[Path, typer.Option("--key", help="Your key file.")],
    code: Annotated[str, typer.Option(help="The one-time enrolment code. Prefer --code - and standard input.")],
    member: Annotated[str, typer.Option(help="Your member id.")],
    url: ServiceUrl,
    as_json: AsJson = False,
) -> None:
    """Register your first key, proving that you hold it. The key file then names its member."""
    secret = typer.get_text_stream("stdin").readline().strip() if code == "-" else code
    identity = Identity.from_file(file, member_id=member)
    with Client(url, identity) as client:
        enrolled = client.enrol(secret)
    stored = {k: v for k, v in json.loads(file.read_text()).items() if k != "creditshare_member_id"}
    write_private(file, {**stored, "creditshare_member_id": member}, replace=True)
    show(enrolled, as_json=as_json, line=f"key {enrolled['kid']} is {enrolled['status']} for {member}")


@keys.command("status")
def status(data: DataFolder = Path("creditshare-data"), as_json: AsJson = False) -> None:
    """Show the versions of the service's own keys; never a secret."""
    os.environ["CREDITSHARE_DATA"] = str(data)
    keyring = keyring_file(Settings()).load()
    names = (
        "kek",
        "pepper",
        "tokeniser",
        "signing",
        "log",
        "log_opening",
        "service",
        "handle",
        "reference",
        "fingerprint",
    )
    versions = {name: {"current": keyring.current(name), "kept": keyring.versions(name)} for name in names}
    lines = "\n".join(f"{name}: version {v['current']} of {', '.join(v['kept'])}" for name, v in versions.items())
    show(versions, as_json=as_json, line=lines)


@keys.command("rotate")
def rotate(data: DataFolder = Path("creditshare-data"), as_json: AsJson = False) -> None:
    """Make a new key-encryption key and wrap every borrower's key by it. Resumable; the service may run on.

    Older keys stay in the file, because backups are wrapped by them.
    """
    os.environ["CREDITSHARE_DATA"] = str(data)
    settings = Settings()
    file = keyring_file(settings)
    started = prepare(settings)
    try:
        with file.locked():
            file.replace(file.load().with_new_version("kek"))
        version = file.load().current("kek")
        rewrapped = asyncio.run(_rewrap_all(settings, key_id("kek", version)))
    finally:
        if started:
            embedded_postgres(settings).stop()
    show(
        {"kek": version, "rewrapped": rewrapped},
        as_json=as_json,
        line=f"key-encryption key version {version}; {rewrapped} borrower keys wrapped anew",
    )


async def _rewrap_all(settings: Settings, current: bytes) -> int:
    services = await build_services(settings)
    total = 0
    try:
        while True:
            async with services.database.writing() as session:
                done = await services.subjects.rewrap(session, current=current, limit=REWRAP_BATCH)
                if not done:
                    entry = Entry("rotate_kek", details={"rewrapped": total})
                    await services.audit.record_own_act(session, entry, sub="keys rotate", now=services.clock.now())
                    await session.commit()
                    return total
                await session.commit()
                total += done
    finally:
        await services.database.close()
