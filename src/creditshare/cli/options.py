"""Options that many commands share, and how results are printed."""

import json
import os
import secrets
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.client.profile import Profile
from creditshare.errors import ConfigurationError

DATA_VARIABLE: Final = "CREDITSHARE_DATA"
DataFolder = Annotated[
    Path, typer.Option("--data", help="Folder of keyring and embedded database.", envvar=DATA_VARIABLE)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]
KeyFile = Annotated[
    Path | None, typer.Option("--as", help="Your key file (a private JWK that names its member).", show_default=False)
]
ServiceUrl = Annotated[str | None, typer.Option("--url", help="The service's public address.", show_default=False)]

PROFILE_VARIABLE: Final = "CREDITSHARE_PROFILE"
"""Set by ``creditshare --profile`` or by the user."""

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNVERIFIED: Final = 3
EXIT_UNAVAILABLE: Final = 4

out = Console()


def show(result: dict[str, Any], *, as_json: bool, line: str) -> None:
    """Print a result as JSON for scripts or as a sentence for people, whose ids and codes stay whole when copied."""
    if as_json:
        typer.echo(json.dumps(result))
    else:
        out.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return a text for a terminal, without control and direction characters but line feed and tab.

    Much of what is printed comes from the other side, or from a machine between, and shall not steer the terminal.
    """
    return "".join(c if c in "\n\t" or not _steers(c) else "\N{REPLACEMENT CHARACTER}" for c in text)


def _steers(character: str) -> bool:
    category = unicodedata.category(character)
    return category.startswith("C") or category in {"Zl", "Zp"}


def client(url: str | None, key_file: Path | None, *, sub: str = "cli") -> Client:
    """Open a client for ``--as`` and ``--url``, or for the profile named before the command."""
    name = os.environ.get(PROFILE_VARIABLE)
    if key_file is not None and url is not None:
        return Client(url, Identity.from_file(key_file, sub=sub))
    if name is None:
        raise ConfigurationError("say who you are and where: --as KEYFILE --url URL, or creditshare --profile NAME …")
    profile = Profile.load(name)
    profile = replace(profile, url=url or profile.url, key_file=key_file or profile.key_file)
    return Client(profile.url, profile.identity(), pins=profile.pins, on_first_use=profile.remember)


def read_json(path: Path) -> Any:
    """Read a JSON file that the user names."""
    return parse_json(read_text(path), of=str(path))


def parse_json(text: str, *, of: str) -> Any:
    """Read JSON that the user gave; ``ConfigurationError`` names where it came from, never its content."""
    try:
        return json.loads(text)
    except ValueError:
        raise ConfigurationError(f"{of} is not JSON") from None


def read_text(path: Path) -> str:
    """Read a text file that the user names."""
    try:
        return path.read_text()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not text in UTF-8") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


def read_bytes(path: Path) -> bytes:
    """Read a file that the user names."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


def write_private(path: Path, content: dict[str, Any], *, replace: bool = False) -> None:
    """Write a private file, mode 0600; an existing one is never overwritten unless asked.

    Replacing writes beside and renames: no crash loses the only key, no link is followed, and no mode is inherited.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}") if replace else path
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists already and is not overwritten; name another file") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(content, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    if replace:
        draft.replace(path)
