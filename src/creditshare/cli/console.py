"""The pages from the command line: signing in, and signing for a passkey."""

from pathlib import Path
from typing import Annotated

import typer

from creditshare.cli.options import AsJson, ServiceUrl, client, read_json, show
from creditshare.client.confirmations import check_opening

Key = Annotated[Path | None, typer.Option("--key", "--as", help="Your key file (a private JWK that names its member).")]
Sub = Annotated[str, typer.Option(help="Your name inside the member, as the log keeps it.")]
Digest = Annotated[str, typer.Argument(help="As the page shows it, 43 characters.")]

console = typer.Typer(no_args_is_help=True, help="The pages: sign in, sign for a passkey, verify what was confirmed.")


@console.command("login")
def login(key: Key = None, url: ServiceUrl = None, sub: Sub = "cli", as_json: AsJson = False) -> None:
    """Make a link that signs in to the pages: once, and within a minute."""
    with client(url, key, sub=sub) as service:
        made = service.call("POST", "/v1/console-links", data={}).data
    show(made, as_json=as_json, line=f"open this within a minute; it works once:\n{made['url']}")


@console.command("passkey")
def passkey(digest: Digest, key: Key = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """Sign for a passkey that you made on a page a moment ago; it confirms changes there until your key ends."""
    with client(url, key) as service:
        done = service.call("POST", "/v1/me/passkeys", data={"passkey": digest}).data
    show(
        done,
        as_json=as_json,
        line=f"the passkey {done['label']!r} confirms from now on; it ends with your key, at {done['ends_at']}",
    )


@console.command("revoke-passkey")
def revoke_passkey(digest: Digest, key: Key = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """End a passkey for good."""
    with client(url, key) as service:
        done = service.call("POST", f"/v1/me/passkeys/{digest}/revocation", data={}).data
    show(done, as_json=as_json, line=f"the passkey {done['label']!r} is {done['state']}")


@console.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="What `call GET /audit/v1/events/EVENT/opening` answered to who acted.")],
    issuer: Annotated[str, typer.Option(help="The service's public address.")],
    as_json: AsJson = False,
) -> None:
    """Check offline what a person confirmed with a passkey; the checkpoint proves the leaf (`log verify-proof`)."""
    checked = check_opening(read_json(file), issuer=issuer)
    said = checked.confirmation
    told = {"action": said.action, "object": said.object, "terms": dict(said.terms), "by": said.by, "sub": said.sub}
    line = f"{said.by} ({said.sub}) confirmed {said.action} {said.object} with the passkey {checked.passkey}"
    show({**told, "passkey": checked.passkey, "at": said.iat}, as_json=as_json, line=line)
