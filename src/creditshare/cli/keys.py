"""Keys of a member, made and kept by the member; keys of the service, by its operator."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from creditshare.cli import service_keys
from creditshare.cli.options import AsJson, DataFolder, ServiceUrl, show, write_private
from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.crypto.jws import SigningKey
from creditshare.settings import Settings

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


keys.command("status")(service_keys.status)
keys.command("retire")(service_keys.retire)
keys.command("seal")(service_keys.seal)


@keys.command("rotate")
def rotate(data: DataFolder = Path("creditshare-data"), as_json: AsJson = False) -> None:
    """Make a new key-encryption key and wrap every borrower's key by it. Resumable; the service may run on.

    After an interruption the same command finishes first, without another version. Older keys stay in the file,
    because backups are wrapped by them, until `keys retire`.
    """
    os.environ["CREDITSHARE_DATA"] = str(data)
    version, rewrapped = service_keys.rotate_wrapping_key(Settings())
    show(
        {"kek": version, "rewrapped": rewrapped},
        as_json=as_json,
        line=f"key-encryption key version {version}; {rewrapped} borrower keys wrapped anew",
    )
