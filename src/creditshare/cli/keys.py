"""Keys of a member, made and kept by the member; keys of the service, by its operator.

``rotate`` and ``status`` speak of a member's signing keys where a key file is named, of the service's own keys where a
data folder is: nobody has both.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from creditshare.cli.commands import commands_at
from creditshare.cli.options import (
    DATA_VARIABLE,
    PROFILE_VARIABLE,
    AsJson,
    KeyFile,
    ServiceUrl,
    show,
    write_private,
)
from creditshare.cli.options import client as open_client
from creditshare.cli.profiles import new_profile
from creditshare.client.bank import Client, Problem
from creditshare.client.core import Identity
from creditshare.crypto.jws import SigningKey
from creditshare.errors import ConfigurationError

MEMBER: Final = "A member's signing key"
SERVICE: Final = "The service's key-encryption key"

keys = typer.Typer(
    cls=commands_at(
        {"retire": "creditshare.cli.service_keys:retire", "seal": "creditshare.cli.service_keys:seal"},
    ),
    no_args_is_help=True,
    help="Make, enrol and look after keys.",
)


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
    url: Annotated[str, typer.Option("--url", help="The service's public address.")],
    save_profile: Annotated[
        str | None, typer.Option(help="Also write a profile of this name, with the service's keys pinned.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Register your first key, proving that you hold it. The key file then names its member."""
    secret = typer.get_text_stream("stdin").readline().strip() if code == "-" else code
    identity = Identity.from_file(file, member_id=member)
    profile = None if save_profile is None else new_profile(save_profile, url=url, key_file=file)
    with Client(url, identity, on_first_use=None if profile is None else profile.remember) as client:
        enrolled = client.enrol(secret)
    write_private(file, identity.stored(), replace=True)
    show(enrolled, as_json=as_json, line=f"key {enrolled['kid']} is {enrolled['status']} for {member}")


@keys.command("revoke")
def revoke(
    kid: str,
    reason: Annotated[str, typer.Option(help="rotation, compromise, retired or other.")],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    since: Annotated[
        str | None,
        typer.Option(help="With compromise: also the keys that it registered since, YYYY-MM-DDThh:mm:ssZ."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Revoke one of your keys, everywhere within two seconds.

    A key may revoke itself. It may not revoke the last other live key, so that who stole one cannot lock you out.
    """
    with open_client(url, key_file) as client:
        done = client.keys.revoke(kid, reason=reason, since=since).data
    show(done, as_json=as_json, line=f"key {kid} is {done['status']}")


@keys.command("status")
def status(
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the service's keyring; CREDITSHARE_DATA or creditshare-data.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show your registered keys (--as, --url or a profile), or versions of the service's own (--data); no secret."""
    member = key_file is not None or PROFILE_VARIABLE in os.environ
    if data is not None or not member:
        from creditshare.cli import service_keys  # noqa: PLC0415  the service itself, which a member does not load

        service_keys.status(data, as_json=as_json)
        return
    with open_client(url, key_file) as client:
        registered = client.keys.list()
    lines = "\n".join(f"{k['kid']}  {k['status']:8}  until {k['expires_at']}" for k in registered)
    show({"keys": registered}, as_json=as_json, line=lines)


@keys.command("rotate")
def rotate(
    key: Annotated[
        Path | None, typer.Option(help="Your live key file, which signs for the new one.", rich_help_panel=MEMBER)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the new key.", rich_help_panel=MEMBER)] = None,
    url: Annotated[str | None, typer.Option(help="The service's public address.", rich_help_panel=MEMBER)] = None,
    data: Annotated[
        Path,
        typer.Option(help="Folder of keyring and embedded database.", rich_help_panel=SERVICE, envvar=DATA_VARIABLE),
    ] = Path("creditshare-data"),
    as_json: AsJson = False,
) -> None:
    """Replace a key while the old one still works.

    A member: `keys rotate --key LIVE --out NEW --url URL` makes a key and registers it, signed for by the live one.
    Both work from then on, the live one for seven more days, so that all your systems can change over. A new key of an
    operator or regulator waits for another operator first: the same command again then retires the live one.

    The operator: `keys rotate --data DIR` makes a new key-encryption key and wraps every borrower's key by it. After an
    interruption the same command finishes first, without another version; the service may run on. Older versions stay
    in the file, because backups are wrapped by them, until `keys retire`.
    """
    if key is None and out is None and url is None:
        from creditshare.cli import service_keys  # noqa: PLC0415  the service itself, which a member does not load

        service_keys.rotate(data, as_json=as_json)
    elif key is None or out is None or url is None:
        raise ConfigurationError("a member's rotation needs --key, --out and --url; the operator's takes --data alone")
    else:
        _rotate_member(key, out, url, as_json=as_json)


def _rotate_member(file: Path, out: Path, url: str, *, as_json: bool) -> None:
    identity = Identity.from_file(file)
    with Client(url, identity) as client:
        registered = _waited(client, identity, out) if out.exists() else _registered(client, identity, out)
        waits = registered["status"] == "pending"
        ends = None if waits else client.keys.retire(identity.key.kid).data["expires_at"]
    kid, old = registered["kid"], identity.key.kid
    approve = f"another operator must approve it; then run this again, and {old} ends"
    then = approve if waits else f"{old} ends at {ends}"
    show(
        {**registered, "file": str(out), "signed_by": old, "old_key_ends": ends},
        as_json=as_json,
        line=f"key {kid} in {out} is {registered['status']}; {then}",
    )


def _registered(client: Client, identity: Identity, out: Path) -> dict[str, Any]:
    new = SigningKey.generate()
    # Written first: a key that is registered and lost could not even be revoked by itself.
    write_private(out, replace(identity, key=new).stored())
    try:
        registered: dict[str, Any] = client.keys.register(new).data
    except Problem:
        out.unlink()  # refused, so nobody knows this key
        raise
    return registered


def _waited(client: Client, identity: Identity, out: Path) -> dict[str, Any]:
    """Return the key of an earlier run that waited for a second person, where the old one has not been retired yet."""
    known = {key["kid"]: key for key in client.keys.list()}
    new = known.get(Identity.from_file(out).key.kid, {"status": "unknown"})
    if new["status"] not in {"active", "pending"} or known[identity.key.kid]["status"] != "active":
        raise ConfigurationError(f"{out} exists already and is not overwritten; name another file")
    return new
