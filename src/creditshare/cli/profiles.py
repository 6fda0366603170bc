"""Profiles: who you are, where the service is, and which of its keys you trust."""

from pathlib import Path
from typing import Annotated

import typer

from creditshare.cli.options import AsJson, show
from creditshare.client.bank import Client
from creditshare.client.pins import Pins
from creditshare.client.profile import Profile, profile_path
from creditshare.errors import ConfigurationError

profile = typer.Typer(
    no_args_is_help=True,
    help="Name a service, your key and the service's pinned keys once; then `creditshare --profile NAME …`.",
)
Name = Annotated[str, typer.Argument(help="A name, or the path of a .toml file.")]


def new_profile(name: str, *, url: str, key_file: Path) -> Profile:
    """Return a profile that does not exist yet."""
    path = profile_path(name)
    if path.exists():
        raise ConfigurationError(f"there is a profile {path} already; remove it, or choose another name")
    return Profile(path=path, url=url, key_file=key_file.resolve(), sub="cli")


@profile.command("add")
def add(
    name: Name,
    key_file: Annotated[Path, typer.Option("--as", help="Your key file; it stays where it is.")],
    url: Annotated[str, typer.Option("--url", help="The service's public address.")],
    as_json: AsJson = False,
) -> None:
    """Write a profile and pin the keys that the service shows now. Compare them with what its operator published."""
    made = new_profile(name, url=url, key_file=key_file)
    identity = made.identity()
    with Client(url, identity, on_first_use=made.remember):
        pass
    show({"profile": str(made.path)}, as_json=as_json, line=f"profile {made.path} written")


@profile.command("show")
def show_profile(name: Name, as_json: AsJson = False) -> None:
    """Show a profile and its pins; the key file is named, not read."""
    found = Profile.load(name)
    described = {"profile": str(found.path), "url": found.url, "key_file": str(found.key_file), "pins": None}
    show({**described, "pins": _described(found.pins)}, as_json=as_json, line=found.path.read_text())


@profile.command("trust")
def trust(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Accept; without this only the difference is shown.")] = False,
    as_json: AsJson = False,
) -> None:
    """Accept the keys that the service shows now in place of the pinned ones.

    Do it only after comparing them with what the operator published by another way: from then on whoever holds these
    keys is the service to you.
    """
    found = Profile.load(name)
    with Client(found.url, None) as client:
        shown = Pins.of(client.discovery, client.service_jwks)
    before = found.pins
    changes = ["nothing was pinned yet"] if before is None else before.differences(shown) + before.additions(shown)
    if yes:
        found.trusting(shown).save()
    lines = [*(changes or ["nothing has changed"]), "accepted" if yes else "not accepted; repeat with --yes"]
    show({"changes": changes, "accepted": yes, "shown": _described(shown)}, as_json=as_json, line="\n".join(lines))
    if changes and not yes:
        raise typer.Exit(1)


def _described(pins: Pins | None) -> dict[str, object] | None:
    if pins is None:
        return None
    return {
        "issuer": pins.issuer,
        "service_keys": list(pins.service_keys),
        "tokeniser": dict(pins.tokeniser),
        "log_vkey": pins.log_vkey,
    }
